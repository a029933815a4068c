//! `cargo xtask dist`: one static file, which runs on every Linux of its architecture.

use crate::layout;
use crate::shell::{cargo, find, output, run, top};
use anyhow::{Context, Result, bail};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds a static `qiao` into `dir/bin`, links the CNI plugins in `dir/cni` and Podman's helpers in `dir/podman` to it, and
/// puts units for systemd in `dir/lib/systemd/system`.
pub fn dist(dir: &Path) -> Result<()> {
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("create {}", bin.display()))?;
    let built = build(&["qiao"])?;
    let to = bin.join("qiao");
    install(&built.join("qiao"), &to)?;
    println!("{}", to.display());
    links(&to, &PLUGINS, &dir.join("cni"))?;
    links(&to, &HELPERS, &dir.join("podman"))?;
    units(&to, &dir.join("lib/systemd/system"))
}

/// The services that may flush or replace all rules.
const FIREWALLS: [&str; 2] = ["nftables", "firewalld"];

/// Writes the unit that restores qiao's rules, and what has it started when another firewall changes.
fn units(program: &Path, dir: &Path) -> Result<()> {
    let program = program.canonicalize().with_context(|| format!("find {}", program.display()))?;
    let service = include_str!("../../packaging/systemd/qiao-repair.service");
    let service = service.replace("@QIAO@", &program.display().to_string());
    let write = |file: &Path, text: &str| {
        let parent = file.parent().unwrap_or(dir);
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        fs::write(file, text).with_context(|| format!("write {}", file.display()))
    };
    write(&dir.join("qiao-repair.service"), &service)?;
    for firewall in FIREWALLS {
        let file = dir.join(format!("{firewall}.service.d/qiao.conf"));
        write(&file, include_str!("../../packaging/systemd/after-change.conf"))?;
    }
    println!("{}", dir.display());
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `systemd-analyze` finds no fault with the unit, nor with services of which it has drop-in files.
    #[test]
    fn d7_the_units_are_as_systemd_wants_them() {
        let Some(analyze) = find("systemd-analyze") else {
            eprintln!("there is no systemd-analyze here: the units were not looked at");
            return;
        };
        let dir = env::temp_dir().join(format!("qiao-units-{}", std::process::id()));
        units(Path::new("/bin/true"), &dir).unwrap();
        let firewall =
            "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecReload=/bin/true\n";
        FIREWALLS.iter().for_each(|name| fs::write(dir.join(format!("{name}.service")), firewall).unwrap());
        let verify = |units: &[&str]| {
            let mut command = Command::new(&analyze);
            command.env("SYSTEMD_UNIT_PATH", format!("{}:", dir.display())).args(["--man=no", "verify"]);
            let output = command.args(units).output().unwrap();
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        let all = ["qiao-repair.service", "nftables.service", "firewalld.service"];
        let faults = |text: &str| {
            text.lines().filter(|line| line.contains("qiao")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(faults(&verify(&all)), [""; 0]);
        let drop_in = dir.join("nftables.service.d/qiao.conf");
        fs::write(&drop_in, fs::read_to_string(&drop_in).unwrap().replace("OnSuccess", "OnSuccesses"))
            .unwrap();
        assert!(!faults(&verify(&all)).is_empty(), "the control: a fault is found");
        fs::remove_dir_all(dir).unwrap();
    }
}
