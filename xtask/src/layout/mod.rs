//! Where functions lie in the program. What a runtime waits for touches a tenth of it, scattered over all of it:
//! every 64 KiB of it that are touched are a page fault of two microseconds. So the functions that attaching and
//! detaching call are put side by side, behind them those that the doors of other programs call besides. `hot.txt`
//! lists them; whoever is not on it lies somewhere else, and what is on it and not in the program does no harm.
//!
//! `dist` has its program linked by this one ([`link`]), which tells `lld` the order (`--symbol-ordering-file`), where
//! the Rust toolchain has one; else all is as always.

mod record;

pub use record::record;

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Functions by their names in the symbol table, without what differs from build to build.
const HOT: &str = include_str!("hot.txt");
/// Says that this program is started as the linker.
const LINKS: &str = "QIAO_XTASK_LINKS";

/// Has a build for `target` linked by this program.
pub fn arrange(build: &mut Command, target: &str) -> Result<()> {
    let variable = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));
    let own = env::current_exe().context("find the path of this program")?;
    // The program names it too (`main.rs`), which has cargo link it anew when the list is another.
    let mut sum = DefaultHasher::new();
    HOT.hash(&mut sum);
    build.env(variable, own).env(LINKS, "1").env("QIAO_LAYOUT", sum.finish().to_string());
    // Symbols are taken out afterwards: with another profile the compiler inlines otherwise than what was recorded.
    build.env("CARGO_PROFILE_RELEASE_STRIP", "none");
    Ok(())
}

/// Whether this program was started as the linker.
pub fn is_linker() -> bool {
    env::var_os(LINKS).is_some()
}

/// Links as `cc` would, with hot functions side by side.
pub fn link() -> ExitCode {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    let more = order(&words).unwrap_or_else(|error| {
        eprintln!("functions stay where they are: {error:#}");
        Vec::new()
    });
    let error = Command::new("cc").args(&words).args(more).exec();
    eprintln!("error: start `cc`: {error}");
    ExitCode::FAILURE
}

/// What `cc` has to be told besides.
fn order(words: &[OsString]) -> Result<Vec<OsString>> {
    let Some(lld) = lld().filter(|dir| dir.join("ld.lld").exists()) else { return Ok(Vec::new()) };
    let at = words.iter().position(|word| word == "-o").context("nothing is to be linked")?;
    let out = Path::new(words.get(at + 1).context("it has no name")?);
    let objects = words.iter().filter(|word| Path::new(word).extension() == Some(OsStr::new("o")));
    let symbols = objects.map(symbols).collect::<Result<Vec<_>>>()?.concat();
    let mut order = Vec::new();
    for tier in HOT.split("\n\n") {
        let hot: BTreeSet<&str> = tier.lines().collect();
        order.extend(hot.iter().filter(|key| is_whole(key)).map(|key| (*key).to_owned()));
        order.extend(symbols.iter().filter(|symbol| hot.contains(key(symbol).as_str())).cloned());
    }
    let file = out.with_extension("order");
    fs::write(&file, order.join("\n")).with_context(|| format!("write {}", file.display()))?;
    let mut ordering = OsString::from("-Wl,--no-warn-symbol-ordering,--symbol-ordering-file=");
    ordering.push(&file);
    let mut place = OsString::from("-B");
    place.push(lld);
    Ok(vec![place, "-fuse-ld=lld".into(), ordering])
}

/// Where the toolchain has its own `ld.lld`.
fn lld() -> Option<PathBuf> {
    let dir = Command::new("rustc").args(["--print", "target-libdir"]).output().ok()?;
    let dir = PathBuf::from(String::from_utf8(dir.stdout).ok()?.trim());
    Some(dir.parent()?.join("bin/gcc-ld"))
}

/// The functions and objects that a file defines.
fn symbols(object: &OsString) -> Result<Vec<String>> {
    let names = Command::new("nm").args(["--defined-only", "--format=just-symbols"]).arg(object).output();
    let names = names.context("start `nm`")?.stdout;
    Ok(String::from_utf8_lossy(&names).lines().map(str::to_owned).collect())
}

/// Whether a key is a symbol itself: a function of the C library.
fn is_whole(key: &str) -> bool {
    !key.starts_with("_ZN") && !key.starts_with("_R")
}

/// A symbol without what differs from build to build: the hashes of its compilation, which are `17h` and 16 digits at
/// the end of a legacy name, `s` and digits of base 62 behind the `C` of a crate in a new one (rustc book, symbol
/// mangling); the crate that happened to need it first, at the end of a new one; and the number of a clone.
fn key(symbol: &str) -> String {
    const HASH: usize = "17h0123456789abcdefE".len();
    if symbol.starts_with("_ZN") && symbol.len() > HASH {
        return symbol[..symbol.len() - HASH].to_owned();
    }
    if !symbol.starts_with("_R") {
        return symbol.to_owned();
    }
    let (mut key, mut rest) = (String::new(), symbol.split('.').next().unwrap_or(symbol));
    while let Some((before, crate_name)) = rest.split_once("Cs") {
        key += before;
        key += "C";
        // The hash may have `Cs` in it itself.
        rest = crate_name.split_once('_').map_or(crate_name, |(_, rest)| rest);
    }
    key += rest;
    key.truncate(key.len() - first_user(&key).map_or(0, str::len));
    key
}

/// The crate at the end of a name: its own name, or where it was named before.
fn first_user(key: &str) -> Option<&str> {
    let is_name = |text: &str| {
        let name = text.trim_start_matches(|digit: char| digit.is_ascii_digit());
        text[..text.len() - name.len()].parse() == Ok(name.trim_start_matches('_').len())
    };
    let named = key.rfind('C').filter(|at| is_name(&key[at + 1..]));
    let is_back =
        |text: &str| text.strip_suffix('_').is_some_and(|at| at.chars().all(|c| c.is_ascii_alphanumeric()));
    let back = key.rfind('B').filter(|at| is_back(&key[at + 1..]));
    named.or(back).map(|at| &key[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_left_out() {
        assert_eq!(key("_ZN4core3fmt5write17h0123456789abcdefE"), "_ZN4core3fmt5write");
        let (one, other) = ("_RNvNtCsaz6eC2DG7lh_3std2io4read", "_RNvNtCs00000000001_3std2io4read");
        assert_eq!(key(one), key(other));
        assert_ne!(key(one), key("_RNvNtCsaz6eC2DG7lh_3std2io5write"));
        assert_eq!(key(one), key("_RNvNtCsazCsC2DG7lh_3std2io4read"), "a hash with `Cs` in it");
        assert_eq!(key("_RNvMs_NtB4_3VecE4growCsaz6eC2DG7lh_9qiao_core"), "_RNvMs_NtB4_3VecE4grow");
        assert_eq!(key("_RNvMs_NtB4_3VecE4growB1y_"), "_RNvMs_NtB4_3VecE4grow");
        assert_eq!(key("_RNvMs_NtB4_3VecE4grow.1138"), "_RNvMs_NtB4_3VecE4grow");
        assert_eq!(key("_RNvCsaz6eC2DG7lh_4qiao4main"), "_RNvC4qiao4main");
        assert_eq!(key("memcpy"), "memcpy");
    }

    #[test]
    fn the_list_has_keys_only() {
        assert!(HOT.lines().count() > 300);
        assert!(HOT.lines().all(|line| key(line) == line || line.starts_with("_ZN")));
        assert_eq!(HOT.split("\n\n").count(), 2);
    }
}
