//! The words of a command line, as clap reads them: `--name value`, `--name=value`, `-nvalue`, `--`.

use super::usage::{self, Sub};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// An option that takes a value.
#[derive(Debug)]
pub struct Opt {
    /// Its letter; none has it.
    pub short: char,
    /// Its name.
    pub long: &'static str,
    /// What its value is called.
    pub value: &'static str,
    /// Whether it may be there several times.
    pub is_list: bool,
    /// Whether it must be there.
    pub is_needed: bool,
}

impl Opt {
    /// What it is called in messages.
    pub fn full(&self) -> String {
        format!("--{} <{}>", self.long, self.value)
    }
}

/// A word, or two of them.
pub enum Word {
    Help,
    Version,
    /// An option by its long name, and its value.
    Option(&'static str, OsString),
    Plain(OsString),
}

/// The words that are left.
pub struct Words {
    left: VecDeque<OsString>,
    options: &'static [Opt],
    seen: Vec<&'static str>,
    only_plain: bool,
}

impl Words {
    /// Words with options that may stand among them.
    pub fn new(words: Vec<OsString>, options: &'static [Opt]) -> Self {
        Self { left: words.into(), options, seen: Vec::new(), only_plain: false }
    }

    /// The words that are left are a subcommand's, which has other options.
    pub fn of(self, options: &'static [Opt]) -> Self {
        Self { options, seen: Vec::new(), only_plain: false, ..self }
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// The next word as it is.
    pub fn plain(&mut self) -> Option<OsString> {
        self.left.pop_front()
    }

    /// The next word. Who has no command yet, and `dhcp-proxy`, has a version.
    pub fn next(&mut self, sub: Option<&Sub>) -> Result<Option<Word>, String> {
        let Some(word) = self.left.pop_front() else { return Ok(None) };
        let bytes = word.as_bytes();
        if self.only_plain || !bytes.starts_with(b"-") || bytes == b"-" {
            return Ok(Some(Word::Plain(word)));
        }
        if bytes == b"--" {
            self.only_plain = true;
            return self.next(sub);
        }
        let (name, value) = split(bytes);
        let has_version = sub.is_none_or(|sub| sub.name == "dhcp-proxy");
        match name.as_str() {
            "-h" | "--help" => Ok(Some(Word::Help)),
            "-V" | "--version" if has_version => Ok(Some(Word::Version)),
            _ => self.option(&name, value, sub).map(Some),
        }
    }

    fn option(&mut self, name: &str, value: Option<OsString>, sub: Option<&Sub>) -> Result<Word, String> {
        let is_it = |option: &&Opt| match name.strip_prefix("--") {
            Some(long) => option.long == long,
            None => name.chars().nth(1) == Some(option.short),
        };
        let option = self.options.iter().find(is_it).ok_or_else(|| usage::unexpected(name, sub))?;
        if self.seen.contains(&option.long) && !option.is_list {
            let what = format!("the argument '{}' cannot be used multiple times", option.full());
            return Err(usage::wrong(&what, sub));
        }
        self.seen.push(option.long);
        let is_value = |word: &OsString| !word.as_bytes().starts_with(b"-") || word == "-";
        let value = value.or_else(|| self.left.pop_front().filter(is_value));
        let possible = if option.long == "rootless" { "\n  [possible values: true, false]" } else { "" };
        let value = value.ok_or_else(|| usage::no_value(&option.full(), possible))?;
        Ok(Word::Option(option.long, value))
    }
}

/// An option's name, and its value where it is in the same word.
fn split(bytes: &[u8]) -> (String, Option<OsString>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    if bytes.starts_with(b"--") {
        let at = bytes.iter().position(|b| *b == b'=').unwrap_or(bytes.len());
        return (text(&bytes[..at]), bytes.get(at + 1..).map(value));
    }
    let rest = Some(&bytes[2..]).filter(|rest| !rest.is_empty());
    let rest = rest.map(|rest| rest.strip_prefix(b"=").unwrap_or(rest));
    (text(&bytes[..2]), rest.map(value))
}
