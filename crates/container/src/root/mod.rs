//! A container's root: an overlay that is thrown away over a directory that is never written to.
//!
//! Everything below is done after the root was changed, so that no link in a foreign directory leads out; what
//! comes from the host is opened before.

mod files;
mod hide;
mod mounts;
mod outside;

use crate::error::ContainerError;
use crate::spec::{Files, Spec};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::process::{chdir, pivot_root};

/// Makes the root and moves into it.
pub fn make(spec: &Spec, files: &Files) -> Result<(), ContainerError> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(ContainerError::io("make the mounts private"))?;
    let outside = outside::open(&spec.volumes)?;
    let rootfs = spec.rootfs.as_deref().unwrap_or("/");
    let root = mounts::overlay(rootfs)?;
    rustix::process::fchdir(&root).map_err(ContainerError::io("enter the container's root"))?;
    pivot_root(".", ".").map_err(ContainerError::io("change the root"))?;
    unmount(".", UnmountFlags::DETACH).map_err(ContainerError::io("leave the host's root"))?;
    chdir("/").map_err(ContainerError::io("enter the container's root"))?;
    mounts::fresh(spec)?;
    outside::place(outside)?;
    if spec.rootfs.is_none() {
        hide::homes()?;
    }
    hide::kernel()?;
    files::write(&spec.hostname, files)
}
