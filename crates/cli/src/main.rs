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

/// musl's own allocator maps and unmaps a page for nearly every object of a short process.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    inside().unwrap_or_else(command)
}

/// What a copy of this program does inside a container; no command is spelt like that.
fn inside() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    match words.next()?.to_str()? {
        qiao_container::init::INIT => Some(qiao_container::init::run(words.next().as_deref()).into()),
        qiao_container::exec::ENTER => Some(cmd::enter()),
        PROXY => Some(proxy(words.next()?.to_str()?)),
        cmd::PLAY => Some(cmd::play(words.next()?.to_str()?)),
        _ => None,
    }
}

fn command() -> ExitCode {
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

/// The word that makes this program the proxy for ports published on 127.0.0.1 and ::1 where BPF is forbidden.
/// The engine starts it with its run directory.
const PROXY: &str = "loopback-proxy";

fn proxy(run: &str) -> ExitCode {
    match qiao_proxy::serve(run, qiao_proxy::Limits::default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(format!("the loopback proxy ended: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn finish(cli: args::Cli) -> ExitCode {
    let json = cli.global.json;
    match cmd::run(cli) {
        Ok(code) => code,
        Err(error) => output::error::report(&error, json),
    }
}
