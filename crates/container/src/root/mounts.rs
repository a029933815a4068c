//! The overlay, and the file systems that every container has of its own.

use crate::error::ContainerError;
use crate::spec::Spec;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, mount, move_mount,
};

/// What is written inside is kept in memory, and never more than this.
const WRITABLE: &str = "size=512m,mode=755";
/// Any directory that every host has will do: the mount over it is only seen here.
const STAGE: &str = "/tmp";

/// Mounts the overlay of `lower`; gives its root.
pub fn overlay(lower: &str) -> Result<OwnedFd, ContainerError> {
    rustix::process::chdir(lower).map_err(ContainerError::io(format!("enter {lower}")))?;
    let lower_fd = open_dir(".").map_err(ContainerError::io(format!("open {lower}")))?;
    mount(
        "tmpfs",
        STAGE,
        "tmpfs",
        MountFlags::NODEV | MountFlags::NOSUID,
        Some(mount_data(WRITABLE)?.as_c_str()),
    )
    .map_err(ContainerError::io("mount a tmpfs for what is written inside"))?;
    for dir in ["upper", "work", "root"] {
        std::fs::create_dir(format!("{STAGE}/{dir}"))
            .map_err(ContainerError::io("make room for an overlay"))?;
    }
    // The lower directory is the current one: no character in its path can then be taken for an option.
    rustix::process::fchdir(&lower_fd).map_err(ContainerError::io(format!("enter {lower}")))?;
    let overlay = combine().map_err(ContainerError::io(format!("mount an overlay of {lower}")))?;
    let root = format!("{STAGE}/root");
    move_mount(&overlay, "", CWD, root.as_str(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(ContainerError::io("place the overlay"))?;
    open_dir(&root).map_err(ContainerError::io("open the overlay"))
}

fn combine() -> rustix::io::Result<OwnedFd> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&overlay, "source", "qiao")?;
    fsconfig_set_string(&overlay, "lowerdir", ".")?;
    fsconfig_set_string(&overlay, "upperdir", format!("{STAGE}/upper"))?;
    fsconfig_set_string(&overlay, "workdir", format!("{STAGE}/work"))?;
    fsconfig_create(&overlay)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn open_dir(path: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn mount_data(text: &str) -> Result<std::ffi::CString, ContainerError> {
    std::ffi::CString::new(text)
        .map_err(|_| ContainerError::io("mount")(std::io::Error::from(std::io::ErrorKind::InvalidInput)))
}

/// A file system of the container's own: type, where, options.
type Fresh = (&'static str, &'static str, &'static str);

const ALWAYS: [Fresh; 6] = [
    ("proc", "/proc", ""),
    ("tmpfs", "/dev", "mode=755,size=64k"),
    ("devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=0620,gid=5"),
    ("tmpfs", "/dev/shm", "mode=1777,size=64m"),
    ("tmpfs", "/tmp", "mode=1777,size=256m"),
    ("tmpfs", "/run", "mode=755,size=64m"),
];

/// Mounts what every container has of its own.
pub fn fresh(spec: &Spec) -> Result<(), ContainerError> {
    for (kind, at, options) in ALWAYS {
        one((kind, at, options), MountFlags::NOSUID)?;
    }
    // sysfs shows the interfaces of the namespace it was mounted in: the host's are not shown.
    if spec.own_network {
        one(("sysfs", "/sys", ""), MountFlags::NOSUID | MountFlags::RDONLY)?;
    }
    for (link, to) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        std::os::unix::fs::symlink(to, format!("/dev/{link}"))
            .map_err(ContainerError::io(format!("make /dev/{link}")))?;
    }
    Ok(())
}

fn one((kind, at, options): Fresh, flags: MountFlags) -> Result<(), ContainerError> {
    std::fs::create_dir_all(at).map_err(ContainerError::io(format!("make {at}")))?;
    let data = mount_data(options)?;
    // Device files are bound into /dev, each a mount of its own; nothing else may hold any.
    mount(kind, at, kind, flags | limits(at), Some(data.as_c_str()))
        .map_err(ContainerError::io(format!("mount {kind} on {at}")))
}

/// Programs may be run from where users put some; a terminal is a device file.
fn limits(at: &str) -> MountFlags {
    match at {
        "/tmp" => MountFlags::NODEV,
        "/dev/pts" => MountFlags::NOEXEC,
        _ => MountFlags::NODEV | MountFlags::NOEXEC,
    }
}
