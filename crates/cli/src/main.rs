//! The `qiao` command.
//!
//! What was typed becomes a request (`args`), a command carries it out (`cmd`), and what came of it is told
//! (`output`). Data goes to standard output, everything else to standard error.
#![forbid(unsafe_code)]

mod app;
mod args;
mod cmd;
mod output;
mod settings;

use std::process::ExitCode;

/// musl's own asks the kernel for memory at every turn: a third of the time that attaching takes.
#[global_allocator]
static MEMORY: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    match args::parse(std::env::args_os().collect()) {
        Ok(cli) => finish(cli),
        Err(error) => {
            // `--help` and `--version` are errors to clap, too.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            print_usage(&error);
            ExitCode::from(code)
        }
    }
}

/// What clap has to say repeats what was typed: no control character of it may reach the terminal.
fn print_usage(error: &clap::Error) {
    let safe = |c: char| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.into() };
    let text: String = error.render().to_string().chars().map(safe).collect();
    if error.use_stderr() { eprint!("{text}") } else { print!("{text}") }
}

fn finish(cli: args::Cli) -> ExitCode {
    let json = cli.global.json;
    match cmd::run(cli) {
        Ok(code) => code,
        Err(error) => output::error::report(&error, json),
    }
}
