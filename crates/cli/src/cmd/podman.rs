//! `qiao podman …`: whom Podman asks for its networks.

use super::{Done, OK};
use crate::app::App;
use crate::args::{Podman, PodmanInstall};
use crate::output::{line, note};
use qiao_core::name::quoted;
use qiao_core::{Code, Refusal};
use serde_json::json;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What the file begins with, by which we know it as ours.
const MARK: &str = "# Written by `qiao podman install`; `qiao podman install --undo` takes it back.";
/// Where Podman looks unless told otherwise: the rest of its helpers is there.
const USUAL: [&str; 4] =
    ["/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman"];

/// Carries out a command about Podman.
pub fn run(app: &App, command: &Podman) -> Done {
    let Podman::Install(args) = command;
    let before = read(&args.file)?;
    if before.as_ref().is_some_and(|text| !text.starts_with(MARK)) {
        return Err(Refusal::conflict(format!("{} is not ours", quoted(&args.file)))
            .why("it does not begin as what qiao writes")
            .fix("--file FILE")
            .into());
    }
    let after = if args.undo { None } else { Some(content(&helpers(args)?)) };
    tell(app, args, (before.as_deref(), after.as_deref()));
    if !args.dry_run && before != after {
        write(&args.file, after.as_deref()).map_err(|error| unwritable(&args.file, &error))?;
    }
    Ok(OK)
}

fn read(file: &str) -> Result<Option<String>, Refusal> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Refusal::invalid(format!("cannot read {}", quoted(file))).why(error.to_string())),
    }
}

/// The directory that has our netavark.
fn helpers(args: &PodmanInstall) -> Result<PathBuf, Refusal> {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("podman"));
    let dir = args.dir.as_ref().map(PathBuf::from).or_else(beside).unwrap_or_default();
    let found = fs::canonicalize(&dir).ok().filter(|dir| dir.join("netavark").is_file());
    found.ok_or_else(|| {
        Refusal::not_found(format!("there is no netavark in {}", quoted(&dir.display().to_string())))
            .fix("cargo xtask dist DIR                  (puts it into DIR/podman)")
            .fix("qiao podman install --dir DIR")
    })
}

/// The configuration: ours first, then what Podman would have looked at (containers.conf(5)).
fn content(helpers: &Path) -> String {
    let own = helpers.display().to_string();
    let dirs = std::iter::once(own.as_str()).chain(USUAL).map(|dir| format!("  {},\n", json!(dir)));
    let dirs: String = dirs.collect();
    format!("{MARK}\n[engine]\nhelper_binaries_dir = [\n{dirs}]\n")
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

/// Beside it first, so that Podman never reads half a file.
fn write(file: &str, text: Option<&str>) -> io::Result<()> {
    let Some(text) = text else { return fs::remove_file(file) };
    let path = Path::new(file);
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let new = path.with_extension("new");
    let mut out = fs::File::create(&new)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(new, path)
}

fn unwritable(file: &str, error: &io::Error) -> Refusal {
    let code = if error.kind() == ErrorKind::PermissionDenied { Code::NotPermitted } else { Code::Conflict };
    Refusal::new(code, format!("cannot write {}", quoted(file))).why(error.to_string()).fix("run it as root")
}
