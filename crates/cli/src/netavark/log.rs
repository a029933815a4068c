//! The log: lines on standard error as far as `RUST_LOG` asks for them. Podman passes its own level on.

use qiao_core::plan::Op;
use std::fmt::Display;
use std::io::Write;

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "off" => Level::Off,
            "error" => Level::Error,
            "warn" => Level::Warn,
            "info" => Level::Info,
            "debug" => Level::Debug,
            "trace" => Level::Trace,
            _ => return None,
        })
    }
}

/// The level that directives ask for of a target: that of the one that names most of it, and of such the last
/// (`env_logger`: `netavark=info`, `netavark::firewall=debug`, `warn`; a target alone is everything of it).
fn asked(directives: &str, target: &str) -> Level {
    let parse = |directive: &str| match directive.split_once('=') {
        Some((of, level)) => Some((of.trim().to_owned(), Level::parse(level.trim())?)),
        None => match Level::parse(directive) {
            Some(level) => Some((String::new(), level)),
            None => Some((directive.to_owned(), Level::Trace)),
        },
    };
    let all = directives.split('/').next().unwrap_or_default().split(',').map(str::trim);
    let all = all.filter(|directive| !directive.is_empty()).filter_map(parse);
    let about = all.filter(|(of, _)| target.starts_with(of.as_str()));
    about.max_by_key(|(of, _)| of.len()).map_or(Level::Error, |(_, level)| level)
}

fn directives() -> String {
    std::env::var("RUST_LOG").unwrap_or_default()
}

/// The level in words, for the programs that are started.
pub fn level() -> &'static str {
    match asked(&directives(), "netavark") {
        Level::Off => "off",
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

fn line(level: Level, word: &str, (module, text): (&str, &dyn Display)) {
    let target = format!("netavark::{module}");
    if level <= asked(&directives(), &target) {
        let _ = writeln!(std::io::stderr().lock(), "[{word} {target}] {text}");
    }
}

/// Something that the user should know.
pub fn warn(module: &str, text: impl Display) {
    line(Level::Warn, "WARN ", (module, &text));
}

/// Something that is as it should be.
pub fn info(module: &str, text: impl Display) {
    line(Level::Info, "INFO ", (module, &text));
}

/// What was done. Its words are made only for somebody who wants them.
pub fn plan(module: &str, ops: &[Op]) {
    if Level::Debug <= asked(&directives(), &format!("netavark::{module}")) {
        ops.iter().for_each(|op| line(Level::Debug, "DEBUG", (module, &qiao_core::render::line(op))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_as_env_logger_reads_them() {
        let cases = [
            ("", Level::Error),
            ("info", Level::Info),
            ("INFO", Level::Info),
            ("netavark=warn", Level::Warn),
            ("netavark", Level::Trace),
            ("info,netavark=off", Level::Off),
            ("netavark=off,info", Level::Off),
            ("netavark::firewall=debug", Level::Debug),
            ("netavark=info,netavark::firewall=error", Level::Error),
            ("netavark::network=debug", Level::Error),
            ("other=trace", Level::Error),
            ("netavark=x", Level::Error),
            ("netavark=info/a pattern", Level::Info),
            ("warn,info", Level::Info),
        ];
        for (text, level) in cases {
            assert!(asked(text, "netavark::firewall") == level, "{text}");
        }
    }
}
