//! Programs that build and look: they must succeed, else the test makes no sense.

use std::process::{Command, Stdio};

/// Runs a line of words; it must succeed.
pub fn run(line: &str) {
    stdout(line);
}

/// What a line of words prints; it must succeed. Words are separated by blanks, there is no quoting.
pub fn stdout(line: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("start `{line}`: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{line}` ended with {}: {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
