//! The host's own resolvers, as `/etc/resolv.conf` has them (resolv.conf(5)), followed while it changes.

use super::watch::Watch;
use crate::zone::Upstreams;
use std::io;
use std::net::IpAddr;
use std::path::Path;
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
    servers: Upstreams,
}

/// How old may be what is known of a file that is not watched.
const AGE: Duration = Duration::from_secs(3);

impl Resolv {
    /// Reads them, and sees when they change.
    pub fn open(path: &str) -> Self {
        let watch = Watch::new().ok();
        let mut resolv = Self { path: path.to_owned(), watch, looked: Instant::now(), servers: [].into() };
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
            Ok(text) => servers(&String::from_utf8_lossy(&text)).into(),
            // It leads where this process may not look: the last that was known is better than nobody.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return,
            Err(_) => [].into(),
        };
    }

    /// The resolvers.
    pub fn servers(&mut self) -> &Upstreams {
        if self.watch.is_none() && self.looked.elapsed() >= AGE {
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

fn servers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let is = words.next() == Some("nameserver");
        words.next().filter(|_| is)?.parse().ok()
    };
    text.lines().filter_map(server).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_as_the_library_does() {
        let text =
            "# nameserver 9.9.9.9\nnameserver 127.0.0.53\n nameserver fd00::1 \nsearch lan\nnameserver x\n";
        assert_eq!(servers(text), [IpAddr::from([127, 0, 0, 53]), "fd00::1".parse().unwrap()]);
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
        assert_eq!(**resolv.servers(), [IpAddr::from([192, 0, 2, 1])]);
        assert!(!resolv.follow().unwrap());
        std::fs::write(&target, "nameserver 192.0.2.2\n").unwrap();
        assert!(resolv.follow().unwrap(), "its target was written over");
        std::fs::write(dir.join("new"), "nameserver 192.0.2.3\n").unwrap();
        std::fs::rename(dir.join("new"), &path).unwrap();
        assert!(resolv.follow().unwrap(), "it was replaced");
        assert_eq!(**resolv.servers(), [IpAddr::from([192, 0, 2, 3])]);
        resolv.watch = None;
        std::fs::write(&path, "nameserver 192.0.2.4\n").unwrap();
        assert_eq!(**resolv.servers(), [IpAddr::from([192, 0, 2, 3])]);
        resolv.looked -= AGE;
        assert_eq!(**resolv.servers(), [IpAddr::from([192, 0, 2, 4])], "without a watch a little later");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
