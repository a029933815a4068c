//! Where a daemon is asked: a socket that only its owner may use.

use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Listens at a path. A socket that nobody listens at is one that a killed daemon left.
pub fn listen(path: &str) -> io::Result<UnixListener> {
    if let Some(above) = Path::new(path).parent() {
        fs::create_dir_all(above)?;
    }
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match UnixStream::connect(path) {
            Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers there")),
            Err(_) => {
                fs::remove_file(path)?;
                UnixListener::bind(path)
            }
        },
        other => other,
    }
}

/// The socket that systemd listens at for us (sd_listen_fds(3)); none where it does not.
pub fn activated() -> Option<UnixListener> {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) || number("LISTEN_FDS")? < 1 {
        return None;
    }
    qiao_kernel::sandbox::inherited(3).map(UnixListener::from)
}
