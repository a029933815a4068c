//! `qiao podman …`: whom Podman asks for its networks.

mod conf;

use super::{Done, OK};
use crate::app::App;
use crate::args::{Podman, PodmanInstall};
use crate::output::{line, note};
use conf::{dirs, helpers_in};
use qiao_core::name::quoted;
use qiao_core::{Code, Refusal};
use serde_json::json;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What the file begins with, by which we know it as ours.
const MARK: &str = "# Written by `qiao podman install`; `qiao podman install --undo` takes it back.";

/// Carries out a command about Podman.
pub fn run(app: &App, command: &Podman) -> Done {
    let Podman::Install(args) = command;
    let before = read(&args.file)?;
    if let Some(text) = &before {
        refuse_changed(&args.file, text)?;
    }
    let after = if args.undo { None } else { Some(content(&helpers(args)?, &dirs(Path::new(&args.file))?)) };
    tell(app, args, (before.as_deref(), after.as_deref()));
    if !args.dry_run && before != after {
        write(&args.file, after.as_deref()).map_err(|error| unwritable(&args.file, &error))?;
    }
    Ok(OK)
}

/// What the file says. A link leads to what is somebody else's.
fn read(file: &str) -> Result<Option<String>, Refusal> {
    if fs::symlink_metadata(file).is_ok_and(|found| found.is_symlink()) {
        return Err(Refusal::conflict(format!("{} is a symbolic link", quoted(file))).fix("--file FILE"));
    }
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Refusal::invalid(format!("cannot read {}", quoted(file))).why(error.to_string())),
    }
}

/// Refuses a file that is not as we write it: what somebody else wrote, or added, would be lost.
fn refuse_changed(file: &str, text: &str) -> Result<(), Refusal> {
    if !text.starts_with(MARK) {
        return Err(Refusal::conflict(format!("{} is not ours", quoted(file)))
            .why("it does not begin as what qiao writes")
            .fix("--file FILE"));
    }
    match helpers_in(text) {
        Ok(Some(list)) if render(&list.dirs) == text => Ok(()),
        _ => Err(Refusal::conflict(format!("{} was changed since qiao wrote it", quoted(file)))
            .why("what was added would be lost")
            .fix(format!("mv {file} {file}.old     (keeps it; containers.conf.d holds *.conf only)"))),
    }
}

/// The directory that has our netavark.
fn helpers(args: &PodmanInstall) -> Result<String, Refusal> {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("podman"));
    let dir = args.dir.as_ref().map(PathBuf::from).or_else(beside).unwrap_or_default();
    let has = |dir: &PathBuf| ["netavark", "aardvark-dns"].iter().all(|name| dir.join(name).is_file());
    let found = fs::canonicalize(&dir).ok().filter(has).and_then(|dir| dir.to_str().map(str::to_owned));
    found.ok_or_else(|| {
        let dir = quoted(&dir.display().to_string());
        Refusal::not_found(format!("there are no netavark and aardvark-dns in {dir}"))
            .fix("cargo xtask dist DIR                  (puts them into DIR/podman)")
            .fix("qiao podman install --dir DIR")
    })
}

/// The configuration: ours first, then where Podman would have looked (containers.conf(5)).
fn content(helpers: &str, others: &[String]) -> String {
    let others = others.iter().filter(|dir| *dir != helpers).cloned();
    render(&std::iter::once(helpers.to_owned()).chain(others).collect::<Vec<_>>())
}

fn render(dirs: &[String]) -> String {
    let lines: String = dirs.iter().map(|dir| format!("  {},\n", toml::Value::from(dir.as_str()))).collect();
    format!("{MARK}\n[engine]\nhelper_binaries_dir = [\n{lines}]\n")
}

fn tell(app: &App, args: &PodmanInstall, (before, after): (Option<&str>, Option<&str>)) {
    if app.global.json {
        let changed = before != after;
        line(json!({
            "schema": "qiao.podman-install/1", "file": args.file, "before": before, "after": after,
            "changed": changed && !args.dry_run,
        }));
        return;
    }
    if before == after {
        line(format!("{}: nothing to change", args.file));
        return;
    }
    let name = |text: Option<&str>| text.map_or("/dev/null", |_| &args.file);
    line(format!("--- {}\n+++ {}", name(before), name(after)));
    before.unwrap_or_default().lines().for_each(|text| line(format!("-{text}")));
    after.unwrap_or_default().lines().for_each(|text| line(format!("+{text}")));
    if after.is_some() {
        note(
            "Podman 4 uses netavark where network_backend says so, or its storage is new: podman info | grep networkBackend",
        );
    }
}

/// Beside it first, so that Podman never reads half a file; whatever mask root has, users' Podman reads it too.
fn write(file: &str, text: Option<&str>) -> io::Result<()> {
    let path = Path::new(file);
    let new = path.with_extension("new");
    let Some(text) = text else {
        let _ = fs::remove_file(new); // of an installation that was killed
        return fs::remove_file(path);
    };
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut out = fs::File::create(&new)?;
    out.set_permissions(fs::Permissions::from_mode(0o644))?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(new, path)
}

fn unwritable(file: &str, error: &io::Error) -> Refusal {
    let code = if error.kind() == ErrorKind::PermissionDenied { Code::NotPermitted } else { Code::Conflict };
    Refusal::new(code, format!("cannot write {}", quoted(file)))
        .why(error.to_string())
        .fix("run it as root")
        .fix("--file FILE")
}
