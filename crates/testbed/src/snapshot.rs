//! Everything that a command could leave behind, as lines that can be compared.

use crate::command::stdout;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What there is on the host: links, addresses, routes, rules, sysctls, connections, files, processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

/// Of the routes, those to anycast addresses are left out: the kernel makes them or not, as forwarding was
/// switched on before or after the address was given.
const LOOKS: &[(&str, &str)] = &[
    ("link", "ip -d -o link"),
    ("address", "ip -o addr"),
    ("route", "ip -o route show table all"),
    ("route6", "ip -o -6 route show table all"),
    ("rule", "ip rule"),
    ("rule6", "ip -6 rule"),
    ("neighbour", "ip neigh show nud permanent"),
    ("fdb", "bridge fdb"),
    ("vlan", "bridge vlan"),
    ("qdisc", "tc qdisc show"),
];

/// Files that hold nothing: the lock, the boot and the engine they belong to, the rule set's last generation and whether
/// anything was deleted since, and where the search for a free address goes on.
const NOTHING: &[&str] = &["lock", "boot", "engine", "deleted", "last4", "last6"];

impl Snapshot {
    /// Looks at everything; the engine's files are below `directory`.
    pub fn take(directory: &str) -> Self {
        let mut lines = BTreeSet::new();
        for (kind, line) in LOOKS {
            let text = stdout(line);
            let kept = text.lines().filter(|line| !line.starts_with("anycast "));
            lines.extend(kept.map(|line| format!("{kind}: {}", without_index(line))));
        }
        lines.extend(rules().into_iter().map(|line| format!("nft: {line}")));
        lines.extend(connections().into_iter().map(|line| format!("conntrack: {line}")));
        lines.extend(processes().into_iter().map(|line| format!("process: {line}")));
        sysctls(Path::new("/proc/sys/net"), &mut lines);
        files(Path::new(directory), &mut lines);
        Self(lines)
    }

    /// What is there now and was not (`+`), and what was and is not (`-`).
    pub fn diff(&self, now: &Self) -> Vec<String> {
        let gone = self.0.difference(&now.0).map(|line| format!("- {line}"));
        let new = now.0.difference(&self.0).map(|line| format!("+ {line}"));
        gone.chain(new).collect()
    }

    /// The lines that contain a text.
    pub fn lines_with(&self, text: &str) -> Vec<&str> {
        self.0.iter().map(String::as_str).filter(|line| line.contains(text)).collect()
    }
}

/// A line of `ip -o` less the number of the link, which a link that is made anew does not keep, and timers.
fn without_index(line: &str) -> String {
    let line =
        line.split_once(": ").filter(|(number, _)| number.parse::<u32>().is_ok()).map_or(line, |x| x.1);
    let words: Vec<_> = line.split_whitespace().collect();
    let is_timer = |at: usize| words[at].ends_with("_timer") || at > 0 && words[at - 1].ends_with("_timer");
    let kept: Vec<_> = (0..words.len()).filter(|at| !is_timer(*at)).map(|at| words[at]).collect();
    kept.join(" ")
}

/// Lines of the rule set, each with the table, chain or set that it is in.
fn rules() -> Vec<String> {
    let (mut within, mut lines) = (Vec::new(), Vec::new());
    for line in stdout("nft -s list ruleset").lines() {
        let line = line.trim();
        lines.push(format!("{} {line}", within.join(" ")));
        if line.ends_with('{') {
            within.push(line.trim_end_matches('{').trim().to_owned());
        } else if line == "}" {
            within.pop();
        }
    }
    lines
}

/// The tuples of tracked connections, without times and states. The kernel itself tells the groups that an
/// interface is in, now and then; those are left out.
fn connections() -> Vec<String> {
    let text = stdout("conntrack -L");
    let keep = |word: &&str| word.contains('=') && !word.starts_with("mark=") && !word.starts_with("use=");
    let lines = text.lines().filter(|line| !["dst=224.", "dst=ff0"].iter().any(|group| line.contains(group)));
    lines.map(|line| line.split_whitespace().filter(keep).collect::<Vec<_>>().join(" ")).collect()
}

/// The programs that run in the test's process namespace, but for those that the test itself started.
fn processes() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter(|e| e.file_name().to_string_lossy().parse::<u32>().is_ok());
    let is_qiao = |line: &String| line.contains("qiao") && !line.contains("deps/");
    numbers.filter_map(|entry| command_line(&entry.path())).filter(is_qiao).collect()
}

/// What a process was started as; none for one that has ended and waits for its parent to look.
fn command_line(process: &Path) -> Option<String> {
    let bytes = fs::read(process.join("cmdline")).ok().filter(|bytes| !bytes.is_empty())?;
    Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
}

/// The settings of all interfaces and of forwarding. The size of tables and buffers is not ours to watch.
fn sysctls(dir: &Path, lines: &mut BTreeSet<String>) {
    for name in ["ipv4/ip_forward", "ipv4/conf", "ipv6/conf", "bridge"] {
        walk(&dir.join(name), &mut |path, content| {
            lines.insert(format!("sysctl: {} = {}", path.display(), content.trim()));
        });
    }
}

fn files(dir: &Path, lines: &mut BTreeSet<String>) {
    walk(dir, &mut |path, content| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !NOTHING.contains(&&*name) {
            lines.insert(format!("file: {} {}", path.display(), content.trim()));
        }
    });
}

/// Visits every file below, with its text or where it leads.
fn walk(path: &Path, visit: &mut dyn FnMut(&Path, &str)) {
    let Ok(kind) = fs::symlink_metadata(path) else { return };
    if kind.is_symlink() {
        let to = fs::read_link(path).map(|to| to.display().to_string()).unwrap_or_default();
        visit(path, &to);
    } else if kind.is_dir() {
        fs::read_dir(path).into_iter().flatten().flatten().for_each(|entry| walk(&entry.path(), visit));
    } else if let Ok(bytes) = fs::read(path) {
        visit(path, &String::from_utf8_lossy(&bytes));
    }
}
