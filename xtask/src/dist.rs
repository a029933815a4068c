//! `cargo xtask dist`: one static file, which runs on every Linux of its architecture.

use crate::layout;
use crate::shell::{cargo, find, output, run, top};
use anyhow::{Context, Result, bail};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds a static `qiao` into `dir/bin`, and links the CNI plugins in `dir/cni` and Podman's helpers in `dir/podman`
/// to it.
pub fn dist(dir: &Path) -> Result<()> {
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("create {}", bin.display()))?;
    let built = build(&["qiao"])?;
    let to = bin.join("qiao");
    install(&built.join("qiao"), &to)?;
    println!("{}", to.display());
    links(&to, &PLUGINS, &dir.join("cni"))?;
    links(&to, &HELPERS, &dir.join("podman"))
}

/// Puts a program without its symbols somewhere. It is written in one go: what a linker or `strip` writes piece by piece
/// is in small pages, and each few of them that a process touches are a page fault.
fn install(program: &Path, to: &Path) -> Result<()> {
    let stripped = program.with_extension("stripped");
    let done = run(Command::new("strip").arg("-o").arg(&stripped).arg(program));
    let from = if done.is_ok() { &stripped } else { program };
    let _ = fs::remove_file(to); // another program may be running by that name, or be linked to it
    fs::copy(from, to).with_context(|| format!("copy to {}", to.display())).map(drop)
}

/// Builds packages, and puts these programs of theirs side by side, as `dist` would.
pub fn staged(packages: &[&str], programs: &[&str]) -> Result<PathBuf> {
    let built = build(packages)?;
    let dir = built.join("staged");
    fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    programs.iter().try_for_each(|name| install(&built.join(name), &dir.join(name)))?;
    Ok(dir)
}

/// The CNI plugins: the same file under their names.
const PLUGINS: [&str; 19] = [
    "qiao",
    "bridge",
    "ptp",
    "macvlan",
    "ipvlan",
    "vlan",
    "dummy",
    "tap",
    "host-device",
    "host-local",
    "static",
    "dhcp",
    "loopback",
    "portmap",
    "firewall",
    "tuning",
    "bandwidth",
    "sbr",
    "vrf",
];

/// What Podman starts: the same file under its names.
const HELPERS: [&str; 2] = ["netavark", "aardvark-dns"];

/// The same file under other names.
fn links(program: &Path, names: &[&str], dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    for to in names.iter().map(|name| dir.join(name)) {
        if to.exists() {
            fs::remove_file(&to).with_context(|| format!("remove {}", to.display()))?;
        }
        fs::hard_link(program, &to).with_context(|| format!("link {}", to.display()))?;
    }
    println!("{}", dir.display());
    Ok(())
}

/// Builds packages statically; the directory that the programs are in.
pub fn build(packages: &[&str]) -> Result<PathBuf> {
    let (target, flags) = target()?;
    let mut command = cargo();
    command.current_dir(top()).args(["build", "--release", "--target", &target]);
    command.args(packages.iter().flat_map(|package| ["--package", package]));
    match flags {
        Some(flags) => drop(command.env("RUSTFLAGS", flags)),
        None => layout::arrange(&mut command, &target)?,
    }
    run(&mut command)?;
    Ok(target_dir().join(target).join("release"))
}

/// musl, which is made for it, where its library is or can be had; else the C library of this machine.
fn target() -> Result<(String, Option<&'static str>)> {
    let host = host()?;
    let arch = host.split('-').next().unwrap_or("x86_64").to_owned();
    let musl = format!("{arch}-unknown-linux-musl");
    if has_library(&musl)
        || find("rustup").is_some() && run(Command::new("rustup").args(["target", "add", &musl])).is_ok()
    {
        return Ok((musl, None));
    }
    Ok((host, Some("-C target-feature=+crt-static")))
}

fn host() -> Result<String> {
    let text = output(Command::new("rustc").arg("-vV"))?;
    match text.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(host) => Ok(host.to_owned()),
        None => bail!("`rustc -vV` names no host"),
    }
}

fn has_library(target: &str) -> bool {
    output(Command::new("rustc").args(["--print", "target-libdir", "--target", target]))
        .is_ok_and(|dir| Path::new(dir.trim()).is_dir())
}

fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| top().join("target"), PathBuf::from)
}
