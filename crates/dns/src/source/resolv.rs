//! The host's own resolvers, as `/etc/resolv.conf` has them (resolv.conf(5)), followed while it changes.

use super::watch::Watch;
use crate::forward::PORT;
use crate::socket::{Transport, socket};
use rustix::net::netdevice::name_to_index;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The most that are used (`MAXNS`, resolv.h).
const MOST: usize = 3;

/// The host's resolvers.
#[derive(Debug)]
pub struct Resolv {
    path: String,
    /// None where the system has no room for one more (`fs.inotify.max_user_instances`): it is looked at now and then.
    watch: Option<Watch>,
    looked: Instant,
    servers: Rc<[SocketAddr]>,
    /// Some are at interfaces that come and go, and have other numbers then.
    moves: bool,
}

/// How old may be what is known of a file that is not watched, and the number of an interface.
const AGE: Duration = Duration::from_secs(3);

impl Resolv {
    /// Reads them, and sees when they change.
    pub fn open(path: &str) -> Self {
        let watch = Watch::new().ok();
        let mut resolv = Self {
            path: path.to_owned(),
            watch,
            looked: Instant::now(),
            servers: Rc::default(),
            moves: false,
        };
        resolv.look();
        resolv
    }

    /// What becomes readable when something has changed.
    pub fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// Where the file is, and where the one is that it links to: either may be replaced.
    fn look(&mut self) {
        let target = std::fs::canonicalize(&self.path).ok();
        for path in [Some(Path::new(&self.path)), target.as_deref()].into_iter().flatten() {
            if let Some(dir) = path.parent().and_then(Path::to_str) {
                let _ = self.watch.as_ref().map(|watch| watch.add(dir)); // without it changes are not seen, and the rest works
            }
        }
        self.servers = match std::fs::read(&self.path) {
            Ok(text) => {
                let text = String::from_utf8_lossy(&text);
                self.moves = text.contains('%');
                servers(&text).into()
            }
            // It leads where this process may not look: the last that was known is better than nobody.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return,
            Err(_) => Rc::default(),
        };
    }

    /// The resolvers.
    pub fn servers(&mut self) -> &Rc<[SocketAddr]> {
        if (self.watch.is_none() || self.moves) && self.looked.elapsed() >= AGE {
            self.looked = Instant::now();
            self.look();
        }
        &self.servers
    }

    /// Reads them again if the file may have changed; whether there are others now.
    pub fn follow(&mut self) -> io::Result<bool> {
        let Some(watch) = &self.watch else { return Ok(false) };
        let seen = watch.read()?;
        let file = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let own =
            [file(Path::new(&self.path)), std::fs::canonicalize(&self.path).ok().as_deref().and_then(file)];
        if !seen.all
            && !seen.gone
            && !seen.names.iter().any(|name| own.iter().flatten().any(|own| own == name))
        {
            return Ok(false);
        }
        let before = self.servers.clone();
        self.look();
        Ok(before != self.servers)
    }
}

fn servers(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let is = words.next() == Some("nameserver");
        server(words.next().filter(|_| is)?)
    };
    text.lines().filter_map(address).take(MOST).collect()
}

/// A resolver's address; a link-local one may have its interface behind it (`fe80::1%eth0`, RFC 4007 section 11).
fn server(text: &str) -> Option<SocketAddr> {
    let Some((ip, interface)) = text.split_once('%') else {
        return Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, PORT));
    };
    let ip: Ipv6Addr = ip.parse().ok()?;
    Some(SocketAddrV6::new(ip, PORT, 0, number(interface)?).into())
}

/// The number of an interface; none while there is no such one.
fn number(interface: &str) -> Option<u32> {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let named = || name_to_index(socket(Transport::Udp, any).ok()?, interface).ok();
    interface.parse().ok().or_else(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_as_the_library_does() {
        let text =
            "# nameserver 9.9.9.9\nnameserver 127.0.0.53\n nameserver fd00::1 \nsearch lan\nnameserver x\n";
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(servers(text), [at("127.0.0.53:53"), at("[fd00::1]:53")]);
        let text =
            "nameserver fe80::1%lo\nnameserver fe80::1%7\nnameserver fe80::2%nowhere\nnameserver 1.1.1.1%lo";
        assert_eq!(servers(text), [at("[fe80::1%1]:53"), at("[fe80::1%7]:53")]);
    }

    /// The file is replaced, written over, and reached by a link whose target changes.
    #[test]
    fn changes_are_followed() {
        let dir = std::env::temp_dir().join(format!("qiao-resolv-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("real")).unwrap();
        let (path, target) = (dir.join("resolv.conf"), dir.join("real/stub.conf"));
        std::fs::write(&target, "nameserver 192.0.2.1\n").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let mut resolv = Resolv::open(path.to_str().unwrap());
        assert_eq!(**resolv.servers(), [SocketAddr::from(([192, 0, 2, 1], 53))]);
        assert!(!resolv.follow().unwrap());
        std::fs::write(&target, "nameserver 192.0.2.2\n").unwrap();
        assert!(resolv.follow().unwrap(), "its target was written over");
        std::fs::write(dir.join("new"), "nameserver 192.0.2.3\n").unwrap();
        std::fs::rename(dir.join("new"), &path).unwrap();
        assert!(resolv.follow().unwrap(), "it was replaced");
        assert_eq!(**resolv.servers(), [SocketAddr::from(([192, 0, 2, 3], 53))]);
        resolv.watch = None;
        std::fs::write(&path, "nameserver 192.0.2.4\n").unwrap();
        assert_eq!(**resolv.servers(), [SocketAddr::from(([192, 0, 2, 3], 53))]);
        resolv.looked -= AGE;
        assert_eq!(
            **resolv.servers(),
            [SocketAddr::from(([192, 0, 2, 4], 53))],
            "without a watch a little later"
        );
        std::fs::remove_dir_all(dir).unwrap();
    }
}
