//! What a server that is confined can still do, and what it cannot. A thread is confined by itself: the others of this
//! program stay as they are.

use qiao_dns::{Files, confine};
use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::process::Command;

type Attempt = (&'static str, Result<(), std::io::Error>);

/// What C libraries make of calls that send several messages at once.
fn send() -> std::io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(socket.local_addr()?)?;
    let (slice, mut nothing) = ([std::io::IoSlice::new(b"x")], Default::default());
    Ok(rustix::net::sendmsg(&socket, &slice, &mut nothing, rustix::net::SendFlags::empty()).map(drop)?)
}

/// Everything that is tried, in this order.
fn attempts(dir: &str, port: u16) -> Vec<Attempt> {
    let inside = |name: &str| format!("{dir}/names/{name}");
    let unit = |result: std::io::Result<_>| result.map(|_: usize| ());
    vec![
        ("make a link", symlink("x", inside("a"))),
        ("rename it", fs::rename(inside("a"), inside("b"))),
        ("read it", fs::read_link(inside("b")).map(drop)),
        ("remove it", fs::remove_file(inside("b"))),
        ("list names", fs::read_dir(inside("")).map(drop)),
        ("list the state", fs::read_dir(format!("{dir}/state")).map(drop)),
        ("read the resolvers", unit(fs::read(format!("{dir}/etc/resolv.conf")).map(|text| text.len()))),
        ("send a message", send()),
        ("a socket", UdpSocket::bind("127.0.0.1:0").map(drop)),
        ("threads of memory", {
            drop(vec![1u8; 1 << 22]);
            Ok(())
        }),
        ("remove the directory", fs::remove_dir(inside(""))),
        ("! write the state", fs::write(format!("{dir}/state/x"), "x")),
        ("! read other files", fs::read("/etc/passwd").map(drop)),
        ("! list other directories", fs::read_dir("/etc").map(drop)),
        ("! write elsewhere", fs::write(format!("{dir}/x"), "x")),
        ("! start a program", Command::new("/bin/true").status().map(drop)),
        (
            "! another kind of socket",
            rustix::net::socket(rustix::net::AddressFamily::NETLINK, rustix::net::SocketType::RAW, None)
                .map(drop)
                .map_err(Into::into),
        ),
        ("! listen elsewhere", TcpListener::bind("127.0.0.1:0").map(drop)),
        ("! connect elsewhere", TcpStream::connect(("127.0.0.1", port)).map(drop)),
        ("! a thread", std::thread::Builder::new().spawn(|| ()).map(drop)),
        ("! another root", rustix::process::chroot("/").map_err(Into::into)),
    ]
}

#[test]
fn a_confined_server_does_what_it_must_and_nothing_else() {
    let dir = std::env::temp_dir().join(format!("qiao-confined-{}", std::process::id()));
    let dir = dir.to_str().unwrap().to_owned();
    for name in ["names", "state", "etc"] {
        fs::create_dir_all(format!("{dir}/{name}")).unwrap();
    }
    fs::write(format!("{dir}/etc/resolv.conf"), "nameserver 192.0.2.1\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let confined = {
        let dir = dir.clone();
        std::thread::spawn(move || {
            let (own, state, resolv) =
                (format!("{dir}/names"), format!("{dir}/state"), format!("{dir}/etc/resolv.conf"));
            let told = confine("test", &Files { own: &own, read: &[&state], resolv: &resolv, port: 53 });
            let status = fs::read_to_string("/proc/thread-self/status");
            (told, attempts(&dir, port), status.is_err())
        })
    };
    let (told, attempts, is_shut) = confined.join().unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert!(told.is_empty(), "this kernel has it all: {told:?}");
    assert!(is_shut, "/proc is not among what it needs");
    for (what, result) in attempts {
        let denied = result.as_ref().err().map(std::io::Error::kind) == Some(ErrorKind::PermissionDenied);
        match what.starts_with('!') {
            true => assert!(denied, "{what}: {result:?}"),
            false => assert!(result.is_ok(), "{what}: {result:?}"),
        }
    }
}
