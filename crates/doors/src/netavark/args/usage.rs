//! What is said about the command line: its help, and what is wrong with it, in the words of netavark's parser (clap 4).

use super::words::Opt;
use std::ffi::OsStr;

/// A subcommand.
#[derive(Debug)]
pub struct Sub {
    pub name: &'static str,
    pub about: &'static str,
    pub options: &'static [Opt],
    /// What the one name behind it is.
    pub name_of: Option<&'static str>,
    /// The lines that explain them.
    pub lines: &'static str,
}

const fn option(short: char, long: &'static str, value: &'static str) -> Opt {
    Opt { short, long, value, is_list: false, is_needed: false }
}

const NONE: char = '\0';

/// The options before the subcommand.
pub const OPTIONS: &[Opt] = &[
    option('f', "file", "FILE"),
    option('r', "rootless", "ROOTLESS"),
    option('c', "config", "CONFIG"),
    option('a', "aardvark-binary", "AARDVARK_BINARY"),
    option(NONE, "firewall-driver", "FIREWALL_DRIVER"),
    Opt { is_list: true, ..option(NONE, "plugin-directory", "PLUGIN_DIRECTORIES") },
];

const PLAIN: Sub =
    Sub { name: "", about: "", options: &[], name_of: None, lines: "Options:\n  -h, --help  Print help\n" };
const OF_NETNS: Sub = Sub {
    name_of: Some("NETWORK_NAMESPACE_PATH"),
    lines: "Arguments:\n  <NETWORK_NAMESPACE_PATH>  Network namespace path\n\nOptions:\n  -h, --help  Print help\n",
    ..PLAIN
};
const SUBS: [Sub; 8] = [
    Sub { name: "create", about: "Create a network config", ..PLAIN },
    Sub {
        name: "setup",
        about: "Configures the given network namespace with the given configuration",
        ..OF_NETNS
    },
    Sub {
        name: "update",
        about: "Updates network dns servers for an already configured network",
        options: &[Opt {
            is_list: true,
            is_needed: true,
            ..option(NONE, "network-dns-servers", "NETWORK_DNS_SERVERS")
        }],
        name_of: Some("NETWORK_NAME"),
        lines: "Arguments:
  <NETWORK_NAME>  Network name to update

Options:
      --network-dns-servers <NETWORK_DNS_SERVERS>  DNS Servers to update for the network
  -h, --help                                       Print help
",
    },
    Sub { name: "teardown", about: "Undo any configuration applied via setup command", ..OF_NETNS },
    Sub { name: "version", about: "Display info about netavark", ..PLAIN },
    Sub {
        name: "dhcp-proxy",
        about: "Start dhcp-proxy",
        options: &[
            option('d', "dir", "DIR"),
            option('u', "uds", "UDS"),
            option('t', "timeout", "TIMEOUT"),
            option('a', "activity-timeout", "ACTIVITY_TIMEOUT"),
        ],
        lines: "Options:
  -d, --dir <DIR>                            where leases are written down [default: /run/podman]
  -u, --uds <UDS>                            directory of the socket, if it is another
  -t, --timeout <TIMEOUT>                    seconds that a server is waited for [default: 8]
  -a, --activity-timeout <ACTIVITY_TIMEOUT>  seconds until it ends when it is idle; 0: never [default: 300]
  -h, --help                                 Print help
  -V, --version                              Print version
",
        ..PLAIN
    },
    Sub {
        name: "firewalld-reload",
        about: "Listen for the firewalld reload event and reload fw rules",
        ..PLAIN
    },
    Sub { name: "firewall-reload", about: "Reload the firewall rules once", ..PLAIN },
];

const OPTION_LINES: &str = "Options:
  -f, --file <FILE>
          Instead of reading from STDIN, read the configuration to be applied from the given file
      --firewall-driver <FIREWALL_DRIVER>
          nftables, firewalld or none [env: NETAVARK_FW]
  -c, --config <CONFIG>
          Folder of what containers have while they run, usually on a tmpfs
  -r, --rootless <ROOTLESS>
          Tells if current netavark invocation is for rootless container [possible values: true, false]
  -a, --aardvark-binary <AARDVARK_BINARY>
          Path to the aardvark-dns binary
      --plugin-directory <PLUGIN_DIRECTORIES>
          Path to netavark plugin directories, can be set multiple times to specify more than one directory
  -h, --help
          Print help
  -V, --version
          Print version
";

/// The subcommand of this name.
pub fn command(name: &OsStr) -> Result<&'static Sub, String> {
    let found = SUBS.iter().find(|sub| name == sub.name);
    found.ok_or_else(|| wrong(&format!("unrecognized subcommand '{}'", name.to_string_lossy()), None))
}

fn usage(sub: Option<&Sub>) -> String {
    let Some(sub) = sub else { return "Usage: netavark [OPTIONS] <COMMAND>".into() };
    let needed = sub.options.iter().filter(|option| option.is_needed).map(Opt::full);
    let optional = sub.options.iter().any(|option| !option.is_needed).then(|| "[OPTIONS]".to_owned());
    let name = sub.name_of.map(|name| format!("<{name}>"));
    let words = needed.chain(optional).chain(name);
    words.fold(format!("Usage: netavark {}", sub.name), |usage, word| format!("{usage} {word}"))
}

/// The help, of a subcommand or of all.
pub fn help(sub: Option<&Sub>) -> String {
    if let Some(sub) = sub {
        return format!("{}\n\n{}\n\n{}", sub.about, usage(Some(sub)), sub.lines);
    }
    let line = |(name, about): (&str, &str)| format!("  {name:16}  {about}\n");
    let last = ("help", "Print this message or the help of the given subcommand(s)");
    let commands: String = SUBS.iter().map(|sub| (sub.name, sub.about)).chain([last]).map(line).collect();
    format!("{}\n\nCommands:\n{commands}\n{OPTION_LINES}", usage(None))
}

const MORE: &str = "\n\nFor more information, try '--help'.\n";

/// Something is wrong with the words of a subcommand, or of those before it.
pub fn wrong(what: &str, sub: Option<&Sub>) -> String {
    format!("error: {what}\n\n{}{MORE}", usage(sub))
}

/// A word that has no place there.
pub fn unexpected(word: &str, sub: Option<&Sub>) -> String {
    wrong(&format!("unexpected argument '{word}' found"), sub)
}

/// A value that is none of those that there are.
pub fn invalid(value: &str, name: &str, why: &str) -> String {
    format!("error: invalid value '{value}' for '{name}'{why}{MORE}")
}

/// A value that is missing.
pub fn no_value(name: &str, possible: &str) -> String {
    format!("error: a value is required for '{name}' but none was supplied{possible}{MORE}")
}

/// Words that a subcommand needs.
pub fn missing(sub: &Sub, options: &[&Opt], name: bool) -> String {
    let name = sub.name_of.filter(|_| name).map(|name| format!("<{name}>"));
    let all = options.iter().map(|option| option.full()).chain(name);
    let what = "the following required arguments were not provided:".to_owned();
    wrong(&all.fold(what, |what, one| format!("{what}\n  {one}")), Some(sub))
}

/// There is no subcommand.
pub fn no_command() -> String {
    let names: Vec<&str> = SUBS.iter().map(|sub| sub.name).chain(["help"]).collect();
    let what = "'netavark' requires a subcommand but one was not provided";
    wrong(&format!("{what}\n  [subcommands: {}]", names.join(", ")), None)
}
