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

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some(run) = proxy_directory(&words) {
        return proxy(run);
    }
    match args::parse(words) {
        Ok(cli) => finish(cli),
        Err(error) => {
            // `--help` and `--version` are errors to clap, too.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            let _ = error.print();
            ExitCode::from(code)
        }
    }
}

/// The run directory of `qiao loopback-proxy RUN`, which the engine starts and nobody types: where BPF is
/// forbidden, it serves ports that are published on 127.0.0.1 and ::1.
fn proxy_directory(words: &[OsString]) -> Option<&str> {
    match words {
        [_, command, run] if command == "loopback-proxy" => run.to_str(),
        _ => None,
    }
}

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
