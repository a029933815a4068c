//! Carrying commands out.

pub mod attach;
mod check;
mod cni;
mod config;
mod demo;
pub mod dhcp;
mod dns;
mod exec;
mod info;
mod life;
mod logs;
mod man;
mod netns;
mod network;
mod podman;
mod port;
mod ps;
mod run;

use crate::app::App;
use crate::args::{Changing, Cli, Command, Network, Planned};
use qiao_core::Refusal;
use qiao_engine::EngineError;
use std::process::ExitCode;

/// What a command ends with: an exit code, or the error to tell.
pub type Done = Result<ExitCode, EngineError>;

/// Success.
pub const OK: ExitCode = ExitCode::SUCCESS;

pub use demo::{PLAY, play};
pub use dns::serve_names;
pub use exec::enter;

/// Whether something matches all of `--filter`. Each is looked at, so that one that makes no sense is told.
fn matches_all(
    filters: &[(String, String)],
    matches: impl Fn(&str, &str) -> Result<bool, Refusal>,
) -> Result<bool, Refusal> {
    filters.iter().try_fold(true, |all, (key, value)| Ok(matches(key, value)? && all))
}

/// Carries out what was typed.
pub fn run(cli: Cli) -> Done {
    let app = App::new(cli.global);
    dispatch(&app, cli.command)
}

fn dispatch(app: &App, command: Command) -> Done {
    match command {
        Command::Demo => demo::run(),
        Command::Run(args) => run::run(app, &args),
        Command::Exec(args) => exec::exec(app, &args),
        Command::Stop(args) => life::stop(app, &args),
        Command::Rm(args) => life::rm(app, &args),
        Command::Logs(args) => logs::run(app, &args),
        Command::Attach(args) => attach::attach(app, &args),
        Command::Detach(args) => attach::detach(app, &args),
        Command::Network(command) => network::run(app, command),
        Command::Dns(command) => dns::run(app, &command),
        Command::Port(args) => port::run(app, &args),
        Command::Ps(args) => ps::run(app, &args),
        Command::Netns(args) => netns::run(app, &args),
        Command::Plan(args) => plan(app, args.command),
        Command::Check(args) => check::check(app, &args),
        Command::Repair(args) => check::repair(app, &args),
        Command::Gc(_) => check::gc(app),
        Command::Config(command) => config::run(app, &command),
        Command::Podman(command) => podman::run(app, &command),
        Command::Info(args) => info::run(app, &args),
        Command::Version => info::version(app),
        Command::Cni(command) => cni::run(app, &command),
        Command::DhcpDaemon(args) => dhcp::run(app, &args.words),
        Command::Completions(args) => man::completions(&args),
        Command::Man(args) => man::run(&args),
    }
}

/// `qiao plan …` is `… --dry-run`.
fn plan(app: &App, planned: Planned) -> Done {
    let mut command = match planned {
        Planned::Attach(args) => Command::Attach(args),
        Planned::Detach(args) => Command::Detach(args),
        Planned::Network(network) => Command::Network(network),
    };
    match command.changing() {
        Some(changing) => changing.dry_run = true,
        None => {
            return Err(Refusal::invalid("this command changes nothing, so there is nothing to plan").into());
        }
    }
    dispatch(app, command)
}

impl Command {
    /// Where a command that changes something keeps whether it only shall say what it would do.
    fn changing(&mut self) -> Option<&mut Changing> {
        match self {
            Command::Attach(args) => Some(&mut args.changing),
            Command::Detach(args) => Some(&mut args.changing),
            Command::Network(Network::Create(args)) => Some(&mut args.changing),
            Command::Network(Network::Rm(args)) => Some(&mut args.changing),
            Command::Network(Network::Connect(args)) => Some(&mut args.changing),
            Command::Network(Network::Disconnect(args)) => Some(&mut args.changing),
            _ => None,
        }
    }
}
