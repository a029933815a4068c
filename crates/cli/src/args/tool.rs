//! The commands that look, mend and tell.

use super::option::key_value;
use super::{Attach, Changing, Detach, Network};
use clap::{Args, Subcommand};
use clap_complete::Shell;

/// What a command would do.
#[derive(Debug, Args)]
pub struct Plan {
    /// The command, as it would be typed
    #[command(subcommand)]
    pub command: Planned,
}

/// The commands that can be planned.
#[derive(Debug, Subcommand)]
pub enum Planned {
    /// Attach a network namespace to a network
    Attach(Attach),
    /// Detach it again
    Detach(Detach),
    /// Networks: create, remove, connect, disconnect
    #[command(subcommand, visible_alias = "net")]
    Network(Network),
}

/// Containers and attached namespaces.
#[derive(Debug, Args)]
pub struct Ps {
    /// Also containers that have ended
    #[arg(short, long)]
    pub all: bool,
    /// Only those that match: name=, id=, network=, status=running|exited|created|dead
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub filter: Vec<(String, String)>,
    /// Only names
    #[arg(short, long)]
    pub quiet: bool,
    /// Whole commands, and all ports
    #[arg(long)]
    pub no_trunc: bool,
    /// `json`, `table COLUMN…`, or a template such as '{{.Names}}'
    #[arg(long)]
    pub format: Option<String>,
}

/// Look whether everything is as it must be.
#[derive(Debug, Args)]
pub struct Check {
    /// All findings, also the elements of a rule set that is made anew
    #[arg(short, long)]
    pub verbose: bool,
}

/// Make everything as it must be.
#[derive(Debug, Args)]
pub struct Repair {
    /// Whether to do it, and how much to say.
    #[command(flatten)]
    pub changing: Changing,
}

/// Collect what belongs to containers that are gone.
#[derive(Debug, Args)]
pub struct Gc {}

/// The settings.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print the settings as they are in force
    Show,
    /// Look whether the settings make sense
    Check,
    /// Print the settings that a daemon.json of Docker's amounts to
    Import {
        /// The file
        #[arg(default_value = "/etc/docker/daemon.json")]
        file: String,
    },
}

/// Podman's networks by qiao.
#[derive(Debug, Subcommand)]
pub enum Podman {
    /// Let Podman use qiao's netavark: shows what changes in its configuration, and changes it
    Install(PodmanInstall),
}

/// How Podman is told.
#[derive(Debug, Args)]
pub struct PodmanInstall {
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take it back
    #[arg(long)]
    pub undo: bool,
    /// Where `netavark` is [default: `podman` beside the directory that qiao is in]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<String>,
    /// The file that is written
    #[arg(long, value_name = "FILE", default_value = "/etc/containers/containers.conf.d/50-qiao.conf")]
    pub file: String,
}

/// What this qiao is.
#[derive(Debug, Args)]
pub struct Info {
    /// Print the constant rule set, for `nft -f -`
    #[arg(long)]
    pub ruleset: bool,
}

/// The CNI plugins of this node.
#[derive(Debug, Subcommand)]
pub enum Cni {
    /// Put this program there under the name of every plugin, and keep what was there
    Install(CniPlace),
    /// Put everything back as it was before
    Uninstall(CniPlace),
    /// Which plugins are ours, missing or changed, and whether each answers
    Check(CniDirs),
}

/// Where plugins and configurations are, and whether anything is done.
#[derive(Debug, Args)]
pub struct CniPlace {
    /// Where runtimes look for plugins
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    pub bin_dir: String,
    /// Where they look for configurations
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    pub conf_dir: String,
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Where plugins and configurations are.
#[derive(Debug, Args)]
pub struct CniDirs {
    /// Where runtimes look for plugins
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    pub bin_dir: String,
    /// Where they look for configurations
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    pub conf_dir: String,
}

/// The daemon of the CNI plugin `dhcp`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct DhcpDaemon {
    /// Flags, as the reference's daemon has them: -help lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAG")]
    pub words: Vec<String>,
}

/// Completions.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}

/// Manual pages.
#[derive(Debug, Args)]
pub struct Man {
    /// Write one page a command into this directory instead of printing the first
    #[arg(long, value_name = "DIR")]
    pub dir: Option<String>,
}
