//! What Podman's other configuration files say of its helpers (containers.conf(5)): a list replaces the one of an earlier file,
//! or is added to it.

use qiao_core::Refusal;
use qiao_core::name::quoted;
use std::path::{Path, PathBuf};
use std::{fs, io};
use toml::{Table, Value};

/// Where Podman looks unless told otherwise.
const USUAL: [&str; 4] =
    ["/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman"];
/// What is read before the files of a directory of parts.
const FIRST: [&str; 2] = ["/usr/share/containers/containers.conf", "/etc/containers/containers.conf"];
/// The directory of parts.
const PARTS: &str = "containers.conf.d";
const KEY: &str = "helper_binaries_dir";

/// A file's list of directories.
#[derive(Debug, PartialEq, Eq)]
pub struct List {
    pub dirs: Vec<String>,
    /// Whether it is added to the one before.
    is_more: bool,
}

/// Where Podman looks for its helpers without this file. A file behind it that says so would count instead.
pub fn dirs(file: &Path) -> Result<Vec<String>, Refusal> {
    let mut dirs: Vec<String> = USUAL.map(str::to_owned).into();
    for other in others(file)? {
        let Some(list) = list_of(&other)? else { continue };
        let is_later = other.parent() == file.parent() && other.file_name() > file.file_name();
        if is_later && list.is_more {
            continue;
        }
        if is_later {
            let (other, new) = (quoted(&other.display().to_string()), file.with_file_name("99-qiao.conf"));
            return Err(Refusal::conflict(format!("{other} is read later, and has {KEY} too"))
                .fix(format!("--file {}", new.display())));
        }
        if !list.is_more {
            dirs.clear();
        }
        dirs.extend(list.dirs);
    }
    Ok(dirs)
}

/// The other files that are read, in order. One that is in no directory of parts is read alone.
fn others(file: &Path) -> Result<Vec<PathBuf>, Refusal> {
    let Some(parts) = file.parent().filter(|dir| dir.ends_with(PARTS)) else { return Ok(Vec::new()) };
    let own = parts.parent().map(|dir| dir.join("containers.conf"));
    let mut before: Vec<PathBuf> = FIRST.map(PathBuf::from).into();
    before.extend(own.filter(|own| !FIRST.iter().any(|first| own == Path::new(first))));
    let mut found = match fs::read_dir(parts) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(unreadable(parts, &error)),
    };
    found.retain(|path| path.extension().is_some_and(|end| end == "conf") && path != file);
    found.sort();
    Ok(before.into_iter().chain(found).collect())
}

fn list_of(file: &Path) -> Result<Option<List>, Refusal> {
    match fs::read_to_string(file) {
        Ok(text) => helpers_in(&text).map_err(|why| unreadable(file, &why)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(file, &error)),
    }
}

fn unreadable(file: &Path, why: &dyn std::fmt::Display) -> Refusal {
    let file = quoted(&file.display().to_string());
    Refusal::invalid(format!("cannot read {file}, where Podman may have other helpers")).why(why.to_string())
}

/// The list that a file's text has, if it has one.
pub fn helpers_in(text: &str) -> Result<Option<List>, String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let Some(list) = table.get("engine").and_then(|engine| engine.get(KEY)) else { return Ok(None) };
    let values = list.as_array().ok_or_else(|| format!("{KEY} is no list"))?;
    let is_more = |value: &Value| value.get("append") == Some(&Value::Boolean(true));
    let dirs = values.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(Some(List { dirs, is_more: values.iter().any(is_more) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_replace_or_are_added() {
        let list = |text: &str| helpers_in(text).unwrap();
        assert_eq!(list("[engine]\ncgroup_manager = \"x\""), None);
        let dirs = vec!["/a".to_owned()];
        let text = "[engine]\nhelper_binaries_dir = [\"/a\"]";
        assert_eq!(list(text), Some(List { dirs: dirs.clone(), is_more: false }));
        let text = "[engine]\nhelper_binaries_dir = [\"/a\", {append = true}]";
        assert_eq!(list(text), Some(List { dirs, is_more: true }));
        assert!(helpers_in("[engine").is_err() && helpers_in("[engine]\nhelper_binaries_dir = 5").is_err());
    }
}
