//! What is of no business inside: parts of /proc through which a whole host can be changed or seen, and the
//! homes of its users.

use crate::error::ContainerError;
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};
use std::path::Path;

/// As runc's default: seen, not written.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/// As runc's default: not even seen.
const HIDDEN: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/firmware",
];

/// Hides what belongs to the kernel.
pub fn kernel() -> Result<(), ContainerError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for path in READ_ONLY.into_iter().filter(|path| Path::new(path).exists()) {
        mount_bind(path, path)
            .and_then(|()| mount_remount(path, MountFlags::BIND | MountFlags::RDONLY | flags, ""))
            .map_err(ContainerError::io(format!("make {path} read-only")))?;
    }
    for path in HIDDEN.into_iter().filter(|path| Path::new(path).exists()) {
        hide(path).map_err(ContainerError::io(format!("hide {path}")))?;
    }
    Ok(())
}

/// Hides the homes of the host's users: the root of a container may be the host's.
pub fn homes() -> Result<(), ContainerError> {
    for (path, options) in [("/root", c"mode=700,size=64m"), ("/home", c"mode=755,size=64m")] {
        if !Path::new(path).is_dir() {
            continue;
        }
        mount("tmpfs", path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(options))
            .map_err(ContainerError::io(format!("hide {path}")))?;
    }
    Ok(())
}

fn hide(path: &str) -> rustix::io::Result<()> {
    if Path::new(path).is_dir() {
        mount("tmpfs", path, "tmpfs", MountFlags::RDONLY, Some(c"size=0"))
    } else {
        mount_bind("/dev/null", path)
    }
}
