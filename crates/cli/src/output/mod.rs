//! Telling what came of it: tables for people, JSON for programs, errors for both.

pub mod error;
pub mod format;
pub mod json;
pub mod plan;
pub mod ports;
pub mod table;
pub mod time;

use std::io::Write;

/// Prints to standard output. A reader that went away (`qiao … | head`) is no error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Prints a line to standard output.
pub fn line(text: impl std::fmt::Display) {
    print(&format!("{text}\n"));
}

/// Prints a line to standard error.
pub fn note(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
