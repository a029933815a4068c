//! The log: lines on standard error as far as `RUST_LOG` asks for them. Podman passes its own level on.

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

/// The level that is asked for: of `netavark`, or of everything.
fn asked() -> Level {
    let text = std::env::var("RUST_LOG").unwrap_or_default();
    let directives = || text.split(',').map(str::trim);
    let own = directives().filter_map(|d| d.strip_prefix("netavark=")).find_map(Level::parse);
    own.or_else(|| directives().find_map(Level::parse)).unwrap_or(Level::Error)
}

/// The level in words, for the programs that are started.
pub fn level() -> String {
    let own = std::env::var("RUST_LOG").unwrap_or_default();
    own.rsplit('=').next().unwrap_or_default().to_owned()
}

fn line(level: Level, word: &str, (module, text): (&str, &dyn Display)) {
    if level <= asked() {
        let _ = writeln!(std::io::stderr().lock(), "[{word} netavark::{module}] {text}");
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
