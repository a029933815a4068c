//! `core` is pure: nothing that does I/O is among its dependencies, and clippy refuses what the standard
//! library has of it.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros)] // only the tests read and write files

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Everything that `core` may depend on, and why.
const ALLOWED: [&str; 12] = [
    "qiao-core",
    "ipnet",          // prefixes
    "serde",          // records and settings are read and written by others, in these types
    "serde_core",     // of serde
    "serde_derive",   // of serde, at build time
    "thiserror",      // errors
    "thiserror-impl", // of thiserror, at build time
    "proc-macro2",    // of the derives
    "quote",          // of the derives
    "syn",            // of the derives
    "unicode-ident",  // of the derives
    "itoa",
];

/// What must never be there, whatever the list above becomes.
const NEVER: [&str; 14] = [
    "libc",
    "rustix",
    "nix",
    "tokio",
    "mio",
    "socket2",
    "async-std",
    "smol",
    "netlink-sys",
    "rand",
    "getrandom",
    "time",
    "chrono",
    "qiao-kernel",
];

fn dependencies() -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "--package", "qiao-core", "--edges", "normal,build"])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn no_dependency_does_io() {
    let found = dependencies();
    assert!(found.contains("qiao-core") && found.contains("ipnet"), "the tree was read: {found:?}");
    let strangers: Vec<_> = found.iter().filter(|name| !ALLOWED.contains(&name.as_str())).collect();
    assert!(strangers.is_empty(), "not on the list of what core may depend on: {strangers:?}");
    assert!(NEVER.iter().all(|name| !found.contains(*name) && !ALLOWED.contains(name)));
}

/// The paths that the lists of `clippy.toml` name.
fn refused() -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("clippy.toml")).unwrap();
    let paths = text.lines().filter_map(|line| line.trim().strip_prefix("{ path = \""));
    paths.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

/// A use of what a path names.
fn probe(number: usize, path: &str) -> String {
    let last = path.rsplit("::").next().unwrap_or_default();
    match path.strip_prefix("std::") {
        Some("print" | "println" | "eprint" | "eprintln") => {
            format!("pub fn f{number}() {{ {path}!(\"\"); }}")
        }
        Some("dbg") => format!("pub fn f{number}() {{ {path}!(); }}"),
        _ if last.starts_with(char::is_uppercase) => {
            format!("pub type T{number} = {path}<u8{}>;", if last.ends_with("Map") { ", u8" } else { "" })
        }
        Some("env::set_var" | "env::remove_var") => format!(
            "pub fn f{number}() {{ let _: unsafe fn(_{}) = {path}::<&str{}>; }}",
            if last == "set_var" { ", _" } else { "" },
            if last == "set_var" { ", &str" } else { "" }
        ),
        _ => format!("pub fn f{number}() {{ {} }}", call(path, last)),
    }
}

/// A call with arguments that fit; what it is of them is no matter.
fn call(path: &str, last: &str) -> String {
    let arguments = match (path, last) {
        (_, "copy" | "hard_link" | "rename" | "soft_link" | "write") => "\"a\", \"b\"",
        ("std::fs::set_permissions", _) => "\"a\", any()",
        ("std::fs::OpenOptions::open", _) => "&any(), \"a\"",
        ("std::fs::DirBuilder::create", _) => "&any(), \"a\"",
        ("std::net::TcpStream::connect_timeout", _) => "&any(), any()",
        ("std::net::ToSocketAddrs::to_socket_addrs", _) => "&\"a:1\"",
        ("std::process::exit", _) => "1",
        ("std::thread::spawn", _) => "|| ()",
        ("std::thread::scope", _) => "|_| ()",
        (_, "elapsed") => "&any()",
        (_, "sleep" | "park_timeout") => "any()",
        _ if path.starts_with("std::path::Path::") => "std::path::Path::new(\"a\")",
        _ if takes_nothing(path) => "",
        _ => "\"a\"",
    };
    format!("let _ = {path}({arguments});")
}

fn takes_nothing(path: &str) -> bool {
    let last = path.rsplit("::").next().unwrap_or_default();
    let plain = [
        "options",
        "pair",
        "unbound",
        "abort",
        "id",
        "args",
        "args_os",
        "current_dir",
        "current_exe",
        "home_dir",
        "temp_dir",
        "vars",
        "vars_os",
        "stdin",
        "stdout",
        "stderr",
        "available_parallelism",
        "now",
    ];
    plain.contains(&last) || (last == "new" && path != "std::process::Command::new")
}

/// Compiles a use of every path on the lists, and looks that each is refused.
#[test]
fn clippy_refuses_io() {
    let refused = refused();
    assert!(refused.len() > 70, "the lists were read: {refused:?}");
    let mut lines: Vec<String> =
        refused.iter().enumerate().map(|(number, path)| probe(number, path)).collect();
    lines.push("fn any<T>() -> T { panic!() }".into());
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = dir.join("probe.rs");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let driver = Command::new("clippy-driver")
        .env("CLIPPY_CONF_DIR", env!("CARGO_MANIFEST_DIR"))
        .args(["--edition", "2024", "--crate-type", "lib", "--crate-name", "probe", "--emit", "metadata"])
        .args(["-A", "warnings", "-D", "clippy::disallowed_methods", "-D", "clippy::disallowed_macros"])
        .args(["-D", "clippy::disallowed_types", "--error-format", "short", "--out-dir"])
        .args([dir, &file])
        .output();
    let Ok(output) = driver else {
        println!("skipped: there is no clippy-driver");
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr);
    for (number, path) in refused.iter().enumerate() {
        let at = format!("probe.rs:{}:", number + 1);
        let said = text.lines().filter(|line| line.contains(&at)).collect::<Vec<_>>().join("\n");
        assert!(said.contains("disallowed"), "{path} is not refused: {}\n{text}", lines[number]);
    }
}

/// The lists name what is there to do I/O with.
#[test]
fn the_lists_cover_what_there_is() {
    let refused = refused();
    for needed in [
        "std::fs::read",
        "std::fs::write",
        "std::fs::File::open",
        "std::path::Path::exists",
        "std::net::TcpStream::connect",
        "std::net::UdpSocket::bind",
        "std::process::Command::new",
        "std::time::SystemTime::now",
        "std::time::Instant::now",
        "std::env::var",
        "std::thread::spawn",
        "std::println",
    ] {
        assert!(refused.iter().any(|path| path == needed), "{needed}");
    }
}
