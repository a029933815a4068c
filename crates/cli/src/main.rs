//! The `qiao` command.
//!
//! What was typed becomes a request (`args`), a command carries it out (`cmd`), and what came of it is told
//! (`output`). Data goes to standard output, everything else to standard error.
#![forbid(unsafe_code)]

mod aardvark;
mod app;
mod args;
mod cmd;
mod cni;
mod firewalld;
mod netavark;
mod output;
mod settings;

use qiao_core::Refusal;
use qiao_engine::EngineError;
use std::process::ExitCode;

#[global_allocator]
static HEAP: qiao_kernel::Heap = qiao_kernel::Heap::new();

/// In which order `cargo xtask dist` has functions linked; named so that another order links anew.
const _: Option<&str> = option_env!("QIAO_LAYOUT");

fn main() -> ExitCode {
    let called =
        cni::called_as_plugin().or_else(netavark::called_as_netavark).or_else(aardvark::called_as_server);
    called.or_else(inside).unwrap_or_else(command)
}

/// What a copy of this program does inside a container; no command is spelt like that.
fn inside() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    match words.next()?.to_str()? {
        qiao_container::init::INIT => Some(qiao_container::init::run(words.next().as_deref()).into()),
        qiao_container::exec::ENTER => Some(cmd::enter()),
        PROXY => Some(proxy(words.next()?.to_str()?)),
        qiao_engine::NAME_SERVER => {
            Some(cmd::serve_names((words.next()?.to_str()?, words.next()?.to_str()?)))
        }
        cmd::PLAY => Some(cmd::play(words.next()?.to_str()?)),
        _ => None,
    }
}

fn command() -> ExitCode {
    match args::parse(std::env::args_os().collect()) {
        Ok(cli) => finish(cli),
        Err(error) => {
            // `--help` and `--version` are errors to clap, too.
            if !error.use_stderr() {
                print_usage(&error);
                return ExitCode::SUCCESS;
            }
            let words: Vec<_> = std::env::args_os().take_while(|word| word != "--").collect();
            let own = words.get(1).is_some_and(|word| word == "run").then_some(OWN_OF_RUN);
            if words.iter().any(|word| word == "--json") {
                return output::error::report(&usage(&error), (true, own));
            }
            print_usage(&error);
            if own.is_some() && error.kind() == clap::error::ErrorKind::UnknownArgument {
                output::note(HINT_OF_RUN);
            }
            ExitCode::from(own.unwrap_or(u8::try_from(error.exit_code()).unwrap_or(2)))
        }
    }
}

/// What `qiao run` ends with where it is not the command that failed, as Docker and Podman do.
const OWN_OF_RUN: u8 = 125;

const HINT_OF_RUN: &str = "\nThe command stands behind `--`: qiao run … -- COMMAND …\n\
    There are no images: what stands before it is a directory that becomes the root.";

/// What the engine starts where BPF is forbidden: it serves ports that are published on 127.0.0.1 and ::1.
const PROXY: &str = qiao_kernel::PROXY_COMMAND;

fn proxy(run: &str) -> ExitCode {
    match qiao_proxy::serve(run, qiao_proxy::Limits::default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(format!("the loopback proxy ended: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What makes no sense, for programs: the first line says what, the others how it would.
fn usage(error: &clap::Error) -> EngineError {
    let text = error.render().to_string();
    let (what, how) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
    let how = how.split_whitespace().collect::<Vec<_>>().join(" ");
    Refusal::invalid(what.trim_start_matches("error: ")).fix(how).into()
}

/// What clap has to say repeats what was typed: no control character of it may reach the terminal.
fn print_usage(error: &clap::Error) {
    let safe = |c: char| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.into() };
    let text: String = error.render().to_string().chars().map(safe).collect();
    if error.use_stderr() { output::note(text.trim_end()) } else { output::print(&text) }
}

fn finish(cli: args::Cli) -> ExitCode {
    let json = cli.global.json;
    let own = matches!(cli.command, args::Command::Run(_)).then_some(OWN_OF_RUN);
    match cmd::run(cli) {
        Ok(code) => code,
        Err(error) => output::error::report(&error, (json, own)),
    }
}
