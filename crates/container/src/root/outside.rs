//! What comes from the host: devices and volumes. Opened before the root is changed, placed after it.

use crate::error::ContainerError;
use crate::spec::Volume;
use qiao_core::Refusal;
use qiao_core::name::quoted;
use rustix::fd::OwnedFd;
use rustix::fs::CWD;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, mount_remount, move_mount, open_tree};
use std::path::Path;

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Something of the host's that is to be seen inside.
#[derive(Debug)]
pub struct Outside {
    tree: OwnedFd,
    target: String,
    is_dir: bool,
    flags: MountFlags,
}

/// Opens what is of the host's.
pub fn open(volumes: &[Volume]) -> Result<Vec<Outside>, ContainerError> {
    let devices = DEVICES.map(|name| format!("/dev/{name}"));
    let mut all = Vec::new();
    for device in &devices {
        all.push(one(device, device, MountFlags::NOSUID | MountFlags::NOEXEC)?);
    }
    for volume in volumes {
        let base = MountFlags::NOSUID | MountFlags::NODEV;
        let flags = if volume.read_only { base | MountFlags::RDONLY } else { base };
        all.push(one(&volume.source, &volume.target, flags)?);
    }
    Ok(all)
}

fn one(source: &str, target: &str, flags: MountFlags) -> Result<Outside, ContainerError> {
    let tree = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, source, tree).map_err(|error| match error {
        rustix::io::Errno::NOENT => ContainerError::Refused(Refusal::not_found(format!(
            "there is no {} to show inside",
            quoted(source)
        ))),
        error => ContainerError::io(format!("open {source}"))(error),
    })?;
    let is_dir = Path::new(source).is_dir();
    Ok(Outside { tree, target: target.to_owned(), is_dir, flags })
}

/// Places it.
pub fn place(all: Vec<Outside>) -> Result<(), ContainerError> {
    for one in all {
        make_target(&one).map_err(ContainerError::io(format!("make {}", one.target)))?;
        let target = one.target.as_str();
        move_mount(&one.tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(ContainerError::io(format!("place {target}")))?;
        mount_remount(target, MountFlags::BIND | one.flags, "")
            .map_err(ContainerError::io(format!("restrict {target}")))?;
    }
    Ok(())
}

fn make_target(one: &Outside) -> std::io::Result<()> {
    let target = Path::new(&one.target);
    if one.is_dir {
        return std::fs::create_dir_all(target);
    }
    target.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::OpenOptions::new().append(true).create(true).open(target).map(|_| ())
}
