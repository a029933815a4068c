//! The files that say who and where the container is.

use crate::error::ContainerError;
use crate::spec::Files;
use std::io::ErrorKind;

/// Writes them; a link in a file's place is replaced, not followed.
pub fn write(hostname: &str, files: &Files) -> Result<(), ContainerError> {
    std::fs::create_dir_all("/etc").map_err(ContainerError::io("make /etc"))?;
    one("/etc/hostname", &format!("{hostname}\n"))?;
    one("/etc/hosts", &files.hosts)?;
    one("/etc/resolv.conf", &files.resolv)
}

fn one(path: &str, text: &str) -> Result<(), ContainerError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            return Err(ContainerError::io(format!("replace {path}"))(e));
        }
        _ => {}
    }
    std::fs::write(path, text).map_err(ContainerError::io(format!("write {path}")))
}
