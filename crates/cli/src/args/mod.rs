//! What can be typed. Nothing here looks at the machine.

mod container;
mod dns;
mod network;
mod option;
mod quick;
mod run;
mod sandbox;
mod tool;

pub use dns::*;
pub use network::*;
pub use option::{ChildOptions, Dns as DnsOption, NetworkOption, OnOff, bridge_options, child_options};
pub use run::*;
pub use sandbox::*;
pub use tool::*;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;

/// Container networks for Linux: namespaces, bridges, addresses, published ports; and why a packet arrives.
#[derive(Debug, Parser)]
#[command(name = "qiao", version, about, disable_help_subcommand = true, after_help = AFTER_HELP, term_width = 80)]
pub struct Cli {
    /// What goes for all commands.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
First steps:
  qiao demo                          see it work; nothing is left behind
  qiao run -d --name web -p 8080:80 -- python3 -m http.server 80
  qiao network create front          a network of your own
  qiao attach web --explain …        each step as its ip or nft command

Exit codes: 0 done · 1 failed, nothing changed · 2 usage · 3 not permitted, or
something remains · 4 not found · 5 in conflict · 6 the kernel lacks something ·
11 `qiao check` found something";

/// What goes for all commands.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// Print one JSON object, with its schema's name and version
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Where networks are kept [default: /var/lib/qiao]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub state_dir: Option<String>,
    /// Where leases and endpoints are kept until the next boot [default: /run/qiao]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub run_dir: Option<String>,
    /// The settings [default: /etc/qiao/qiao.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub config: Option<String>,
}

impl Global {
    /// Takes what was not given from the environment. Clap would do it too, and then show these options as if
    /// they were required.
    fn with_environment(self) -> Self {
        let or = |given: Option<String>, name| {
            given.or_else(|| std::env::var(name).ok().filter(|text| !text.is_empty()))
        };
        Self {
            json: self.json,
            state_dir: or(self.state_dir, "QIAO_STATE_DIR"),
            run_dir: or(self.run_dir, "QIAO_RUN_DIR"),
            config: or(self.config, "QIAO_CONFIG"),
        }
    }
}

/// What goes for commands that change something.
#[derive(Clone, Debug, Default, Args)]
pub struct Changing {
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print each step as the ip or nft command that does the same
    #[arg(long)]
    pub explain: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Networks: create, list, remove, connect
    #[command(subcommand, visible_alias = "net")]
    Network(Network),
    /// Show it all in namespaces of its own, and leave nothing
    Demo,
    /// Run a command in a container of its own
    Run(Box<Run>),
    /// Run another command in a container
    Exec(Exec),
    /// Stop containers
    Stop(Stop),
    /// Remove containers
    Rm(Remove),
    /// Show what a container in the background has said
    Logs(Logs),
    /// Attach a network namespace to a network
    Attach(Attach),
    /// Detach it again
    Detach(Detach),
    /// Names: what is known, what is asked, records of your own
    #[command(subcommand)]
    Dns(Dns),
    /// Published ports
    Port(Port),
    /// Containers and attached namespaces
    Ps(Ps),
    /// Run a command on the host's tools in a container's network
    Netns(Netns),
    /// What a command would do (the same as its --dry-run)
    Plan(Plan),
    /// Look whether everything is as it must be
    Check(Check),
    /// Make everything as it must be
    Repair(Repair),
    /// Collect what belongs to containers that are gone
    Gc(Gc),
    /// The settings
    #[command(subcommand)]
    Config(Config),
    /// Podman's networks by qiao
    #[command(subcommand)]
    Podman(Podman),
    /// What this qiao is, and what it found
    Info(Info),
    /// The version
    Version,
    /// The CNI plugins of this node: install, uninstall, check
    #[command(subcommand)]
    Cni(Cni),
    /// Keep the leases of the CNI plugin `dhcp`
    DhcpDaemon(DhcpDaemon),
    /// Completions for a shell
    Completions(Completions),
    /// The manual pages
    Man(Man),
}

/// Reads what was typed.
pub fn parse(words: Vec<OsString>) -> Result<Cli, clap::Error> {
    let cli = read_plain(&words).map_or_else(|| read_by_clap(words), Ok)?;
    Ok(Cli { global: cli.global.with_environment(), ..cli })
}

/// The plain forms of the two commands that runtimes wait for.
fn read_plain(words: &[OsString]) -> Option<Cli> {
    let (command, rest) = words.get(1..)?.split_first()?;
    let (global, command) = match command.to_str()? {
        "attach" => quick::attach(rest).map(|(global, attach)| (global, Command::Attach(attach)))?,
        "detach" => quick::detach(rest).map(|(global, detach)| (global, Command::Detach(detach)))?,
        _ => return None,
    };
    Some(Cli { global, command })
}

/// Their other forms are read by themselves: building all the others costs more than carrying them out.
fn read_by_clap(words: Vec<OsString>) -> Result<Cli, clap::Error> {
    match words.get(1).and_then(|word| word.to_str()) {
        Some("attach") => one::<Attach>(words, "attach", Command::Attach),
        Some("detach") => one::<Detach>(words, "detach", Command::Detach),
        _ => Cli::try_parse_from(words),
    }
}

fn one<A: Args>(
    mut words: Vec<OsString>,
    name: &'static str,
    make: fn(A) -> Command,
) -> Result<Cli, clap::Error> {
    words.remove(0);
    let about = Cli::command_about(name);
    let command = clap::Command::new(name).bin_name(format!("qiao {name}")).term_width(80);
    let command = Global::augment_args(A::augment_args(command)).about(about);
    let matches = command.try_get_matches_from(words)?;
    Ok(Cli { global: Global::from_arg_matches(&matches)?, command: make(A::from_arg_matches(&matches)?) })
}

impl Cli {
    /// What a command is about, without building all of them.
    fn command_about(name: &str) -> &'static str {
        match name {
            "attach" => "Attach a network namespace to a network",
            _ => "Detach it again",
        }
    }

    /// All of it, for help, completions and manual pages.
    pub fn whole() -> clap::Command {
        Self::command()
    }
}
