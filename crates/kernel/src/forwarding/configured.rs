//! The settings that an administrator has written down for every boot (sysctl.d(5)): what `sysctl --system` would set.

use qiao_core::subnet::Family;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where files are, the first that has one of a name before the others.
const DIRECTORIES: [&str; 4] =
    ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"];
/// Read last (sysctl(8), `--system`).
const LAST: &str = "/etc/sysctl.conf";

/// The families in which forwarding is configured to be on, and what says it. A file that cannot be read says nothing.
pub fn families() -> BTreeMap<Family, String> {
    let texts: Vec<_> =
        files().into_iter().filter_map(|path| Some((std::fs::read_to_string(&path).ok()?, path))).collect();
    let families = [Family::V4, Family::V6].into_iter();
    families.filter_map(|family| Some((family, said(&texts, family)?))).collect()
}

/// The files in the order in which they are read: by their names, whatever their directories.
fn files() -> Vec<PathBuf> {
    let mut named: BTreeMap<String, PathBuf> = BTreeMap::new();
    for directory in DIRECTORIES {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".conf") {
                named.entry(name).or_insert_with(|| entry.path());
            }
        }
    }
    named.into_values().chain([Path::new(LAST).to_owned()]).collect()
}

/// What says last of a family's forwarding that it is on; none where the last says that it is off.
fn said(texts: &[(String, PathBuf)], family: Family) -> Option<String> {
    let names: &[&str] = match family {
        Family::V4 => &["net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding"],
        Family::V6 => &["net/ipv6/conf/all/forwarding"],
    };
    let mut said = None;
    for (text, path) in texts {
        for (name, value) in text.lines().filter_map(assignment) {
            if names.contains(&name.as_str()) {
                let on = value != "0";
                said = on.then(|| format!("{name} = {value} in {}", path.display()));
            }
        }
    }
    said
}

/// `KEY = VALUE`, with dots or slashes; a `-` before it only means that errors are ignored.
fn assignment(line: &str) -> Option<(String, &str)> {
    let line = line.trim();
    let (key, value) = line.strip_prefix('-').unwrap_or(line).split_once('=')?;
    let is_comment = key.starts_with(['#', ';']);
    (!is_comment).then(|| (key.trim().replace('.', "/"), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_is_said_counts() {
        let said = |texts: &[&str], family| {
            let texts: Vec<_> =
                texts.iter().map(|text| ((*text).to_owned(), PathBuf::from("f.conf"))).collect();
            said(&texts, family)
        };
        let on = "# net.ipv4.ip_forward = 0\n-net.ipv4.ip_forward=1\n; x\nnet/ipv6/conf/all/forwarding = 0";
        assert_eq!(said(&[on], Family::V4).unwrap(), "net/ipv4/ip_forward = 1 in f.conf");
        assert_eq!(said(&[on], Family::V6), None);
        assert_eq!(said(&[on, "net.ipv4.conf.all.forwarding = 0"], Family::V4), None, "a later file");
        assert_eq!(said(&["#net.ipv4.ip_forward=1", "ip_forward=1", ""], Family::V4), None);
    }
}
