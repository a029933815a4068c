//! `qiao cni check`: which plugins are ours, which are missing or changed, and whether each answers.

use super::manifest::Manifest;
use super::place::{Digest, Digests, Place};
use qiao_engine::EngineError;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a plugin may take to say which versions it knows.
const PATIENCE: Duration = Duration::from_secs(5);

/// A plugin as it was found.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub name: &'static str,
    /// Whose it is.
    pub state: &'static str,
    /// What it answers to VERSION: the versions it knows, or why it does not say.
    pub versions: Result<Vec<String>, String>,
}

impl Found {
    /// Whether it is as it must be.
    pub fn is_well(&self) -> bool {
        matches!(self.state, "ours" | "ours, of another qiao") && self.versions.is_ok()
    }
}

/// Looks at every plugin that we are.
pub fn look(place: &Place) -> Result<Vec<Found>, EngineError> {
    let failed = |error| EngineError::failed(format!("look into {}", place.bin_dir), error);
    let manifest = Manifest::read(place)?;
    let digests = Digests::default();
    let own = digests.own().map_err(failed)?;
    let mut found = Vec::new();
    for name in crate::cni::names() {
        let state = state(&place.bin(name), (&digests, &own, manifest.as_ref())).map_err(failed)?;
        let versions =
            if state == "missing" { Err("there is no such file".into()) } else { versions(&place.bin(name)) };
        found.push(Found { name, state, versions });
    }
    Ok(found)
}

fn state(
    path: &str,
    (digests, own, manifest): (&Digests, &Digest, Option<&Manifest>),
) -> std::io::Result<&'static str> {
    let known = manifest.and_then(|manifest| manifest.files.get(path));
    Ok(match digests.of(path)? {
        None => "missing",
        Some(found) if found == *own => "ours",
        Some(found) if known.is_some_and(|known| known.contains(&found)) => "ours, of another qiao",
        Some(_) if known.is_some() => "changed since",
        Some(_) => "of others",
    })
}

/// Asks a plugin for the versions that it knows.
#[allow(clippy::disallowed_methods, reason = "whether a plugin answers can only be asked of it")]
fn versions(path: &str) -> Result<Vec<String>, String> {
    let mut command = Command::new(path);
    command.env_clear().env("CNI_COMMAND", "VERSION").stdin(Stdio::piped()).stdout(Stdio::piped());
    for name in ["CNI_NETNS", "CNI_IFNAME", "CNI_PATH"] {
        command.env(name, "dummy"); // as libcni does
    }
    let mut child = command.stderr(Stdio::null()).spawn().map_err(|error| error.to_string())?;
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(br#"{"cniVersion":"1.1.0"}"#));
    if !ends(&mut child) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("it does not answer within {} s", PATIENCE.as_secs()));
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or(json!(null));
    let versions = said["supportedVersions"].as_array().filter(|_| output.status.success());
    let versions = versions.ok_or("what it answers is no list of versions")?;
    Ok(versions.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn ends(child: &mut Child) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}
