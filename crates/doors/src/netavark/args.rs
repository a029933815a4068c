//! The command line.

use super::VERSION;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What was typed, options first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where the input is; none for standard input.
    pub file: Option<PathBuf>,
    /// Podman's folder for what runs.
    pub config: Option<PathBuf>,
    /// In a user namespace.
    pub rootless: bool,
    /// The DNS server.
    pub aardvark: PathBuf,
    /// The firewall driver, as `NETAVARK_FW` names it.
    pub firewall: Option<String>,
    /// Where plugins are.
    pub plugins: Vec<PathBuf>,
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Attach the namespace at this path.
    Setup(PathBuf),
    /// Detach it.
    Teardown(PathBuf),
    /// Give a network other name servers.
    Update {
        /// The network.
        network: String,
        /// The servers, with commas between them; empty for none.
        servers: String,
    },
    /// Complete the description of a network.
    Create,
    /// Say which version this is.
    Version,
    /// Serve DHCP.
    DhcpProxy(Proxy),
    /// Put the rules in order whenever firewalld has loaded its own.
    FirewalldReload,
    /// Put the rules in order.
    FirewallReload,
}

/// How DHCP is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// Where leases are written down.
    pub dir: Option<String>,
    /// The directory of the socket, where it is another.
    pub uds: Option<String>,
    /// How long a server is waited for, in seconds.
    pub timeout: Option<u32>,
    /// How long it stays without anything to do, in seconds; 0 for ever.
    pub activity: Option<u64>,
}

/// What came of reading the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Do this.
    Run(Box<Line>),
    /// Print this, and be done.
    Print(String),
}

const USAGE: &str = "Usage: netavark [OPTIONS] <COMMAND>";

const HELP: &str = "A container network stack

Usage: netavark [OPTIONS] <COMMAND>

Commands:
  create            Creates a network config
  setup             Configures the given network namespace with the given configuration
  update            Updates network dns servers for an already configured network
  teardown          Undo any configuration applied via setup command
  version           Display info about netavark
  dhcp-proxy        Start the DHCP proxy
  firewalld-reload  Listen for the firewalld reload event and reload fw rules
  firewall-reload   Reload the firewall rules once

Options:
  -f, --file <FILE>                          Instead of reading from STDIN, read the configuration from this file
  -r, --rootless <true|false>                Tell if it is running rootless
  -c, --config <DIR>                         Folder of files while containers run
  -a, --aardvark-binary <PATH>               Path to the aardvark-dns binary
      --plugin-directory <DIR>               Path to plugins; may be repeated
      --firewall-driver <NAME>               nftables, firewalld or none [env: NETAVARK_FW]
  -h, --help                                 Print help
  -V, --version                              Print version
";

/// Reads the words behind the program's name. The error is what is printed before exit code 2.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Parsed, String> {
    let mut words = words.into_iter();
    let mut line = Line {
        file: None,
        config: None,
        rootless: false,
        aardvark: "/usr/libexec/podman/aardvark-dns".into(),
        firewall: None,
        plugins: Vec::new(),
        command: Command::Version,
    };
    while let Some(word) = words.next() {
        let Some((name, value)) = option(&word) else {
            line.command = command(&word, &mut words)?;
            return Ok(Parsed::Run(Box::new(line)));
        };
        match name.as_str() {
            "-h" | "--help" => return Ok(Parsed::Print(HELP.into())),
            "-V" | "--version" => return Ok(Parsed::Print(format!("netavark {VERSION}\n"))),
            _ => set(&mut line, &name, value.or_else(|| words.next()))?,
        }
    }
    Err(format!("error: 'netavark' requires a subcommand but one was not provided\n\n{USAGE}\n\n{MORE}"))
}

const MORE: &str = "For more information, try '--help'.\n";

fn usage(what: impl std::fmt::Display) -> String {
    format!("error: {what}\n\n{USAGE}\n\n{MORE}")
}

/// An option's name, and its value where it is in the same word.
fn option(word: &OsStr) -> Option<(String, Option<OsString>)> {
    let bytes = word.as_bytes();
    let value = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    if !bytes.starts_with(b"-") || bytes.len() < 2 {
        return None;
    }
    if bytes.starts_with(b"--") {
        let at = bytes.iter().position(|b| *b == b'=').unwrap_or(bytes.len());
        let name = String::from_utf8_lossy(&bytes[..at]).into_owned();
        return Some((name, bytes.get(at + 1..).map(value)));
    }
    let rest = Some(&bytes[2..]).filter(|rest| !rest.is_empty());
    let rest = rest.map(|rest| rest.strip_prefix(b"=").unwrap_or(rest));
    Some((String::from_utf8_lossy(&bytes[..2]).into_owned(), rest.map(value)))
}

fn set(line: &mut Line, name: &str, value: Option<OsString>) -> Result<(), String> {
    let known = [
        "-f",
        "--file",
        "-c",
        "--config",
        "-r",
        "--rootless",
        "-a",
        "--aardvark-binary",
        "--firewall-driver",
        "--plugin-directory",
    ];
    if !known.contains(&name) {
        return Err(usage(format_args!("unexpected argument '{name}' found")));
    }
    let value = value.ok_or_else(|| {
        usage(format_args!("a value is required for '{name} <VALUE>' but none was supplied"))
    })?;
    let text = || value.to_string_lossy().into_owned();
    match name {
        "-f" | "--file" => line.file = Some(value.into()),
        "-c" | "--config" => line.config = Some(value.into()),
        "-a" | "--aardvark-binary" => line.aardvark = value.into(),
        "--firewall-driver" => line.firewall = Some(text()),
        "--plugin-directory" => line.plugins.push(value.into()),
        _ => {
            line.rootless = match text().as_str() {
                "true" => true,
                "false" => false,
                other => {
                    let possible = "  [possible values: true, false]";
                    let what = format!("invalid value '{other}' for '--rootless <ROOTLESS>'");
                    return Err(format!("error: {what}\n{possible}\n\n{MORE}"));
                }
            }
        }
    }
    Ok(())
}

fn command(word: &OsStr, rest: &mut dyn Iterator<Item = OsString>) -> Result<Command, String> {
    let name = word.to_string_lossy();
    let command = match &*name {
        "setup" => Command::Setup(one(&name, "NETWORK_NAMESPACE_PATH", rest)?.into()),
        "teardown" => Command::Teardown(one(&name, "NETWORK_NAMESPACE_PATH", rest)?.into()),
        "update" => return update(rest),
        "create" => Command::Create,
        "version" => Command::Version,
        "dhcp-proxy" => return proxy(rest).map(Command::DhcpProxy),
        "firewalld-reload" => Command::FirewalldReload,
        "firewall-reload" => Command::FirewallReload,
        other => return Err(usage(format_args!("unrecognized subcommand '{other}'"))),
    };
    match rest.next() {
        None => Ok(command),
        Some(more) => Err(usage(format_args!("unexpected argument '{}' found", more.to_string_lossy()))),
    }
}

fn one(name: &str, what: &str, rest: &mut dyn Iterator<Item = OsString>) -> Result<OsString, String> {
    rest.next().ok_or_else(|| {
        format!(
            "error: the following required arguments were not provided:\n  <{what}>\n\n\
             Usage: netavark {name} <{what}>\n\n{MORE}"
        )
    })
}

fn proxy(rest: &mut dyn Iterator<Item = OsString>) -> Result<Proxy, String> {
    let mut proxy = Proxy::default();
    while let Some(word) = rest.next() {
        let unexpected = || usage(format_args!("unexpected argument '{}' found", word.to_string_lossy()));
        let (name, value) = option(&word).ok_or_else(unexpected)?;
        let missing = || usage(format_args!("a value is required for '{name}' but none was supplied"));
        let mut text = || {
            let value = value.clone().or_else(|| rest.next()).ok_or_else(missing)?;
            Ok::<_, String>(value.to_string_lossy().into_owned())
        };
        match name.as_str() {
            "-d" | "--dir" => proxy.dir = Some(text()?),
            "-u" | "--uds" => proxy.uds = Some(text()?),
            "-t" | "--timeout" => proxy.timeout = Some(number(&name, &text()?)?),
            "-a" | "--activity-timeout" => proxy.activity = Some(number(&name, &text()?)?),
            _ => return Err(unexpected()),
        }
    }
    Ok(proxy)
}

fn number<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("error: invalid value '{text}' for '{name}': {error}\n\n{MORE}"))
}

fn update(rest: &mut dyn Iterator<Item = OsString>) -> Result<Command, String> {
    let (mut network, mut servers) = (None, Vec::new());
    while let Some(word) = rest.next() {
        match option(&word) {
            None => network = Some(word.to_string_lossy().into_owned()),
            Some((name, value)) if name == "--network-dns-servers" => {
                let value = value.or_else(|| rest.next()).unwrap_or_default();
                servers.push(value.to_string_lossy().into_owned());
            }
            Some((name, _)) => return Err(usage(format_args!("unexpected argument '{name}' found"))),
        }
    }
    let network = network.map_or_else(|| one("update", "NETWORK_NAME", rest).map(|_| String::new()), Ok)?;
    Ok(Command::Update { network, servers: servers.join(",") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn run(line: &str) -> Line {
        match parse(words(line)) {
            Ok(Parsed::Run(line)) => *line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn as_podman_types_it() {
        let line = run("--config /run/n --rootless=false --aardvark-binary=/a setup /run/netns/x");
        assert_eq!(line.config, Some("/run/n".into()));
        assert!(!line.rootless);
        assert_eq!(line.aardvark, PathBuf::from("/a"));
        assert_eq!(line.command, Command::Setup("/run/netns/x".into()));
        let short = run("-c/run/n -r true -a /a --plugin-directory p --plugin-directory=q teardown n");
        assert!(short.rootless && short.plugins.len() == 2 && short.config == Some("/run/n".into()));
    }

    #[test]
    fn paths_of_any_bytes() {
        let path = OsString::from_vec(b"/run/\xff".to_vec());
        let mut both = OsString::from("--config=");
        both.push(&path);
        let Ok(Parsed::Run(line)) = parse([both, "create".into()]) else { panic!() };
        assert_eq!(line.config, Some(path.into()));
    }

    #[test]
    fn update_joins_its_servers() {
        let servers = |line: &str| match run(line).command {
            Command::Update { servers, .. } => servers,
            other => panic!("{other:?}"),
        };
        assert_eq!(servers("-c /n update net --network-dns-servers 1.1.1.1,8.8.8.8"), "1.1.1.1,8.8.8.8");
        assert_eq!(servers("-c /n update net --network-dns-servers="), "");
    }

    #[test]
    fn the_proxy_has_options() {
        let proxy = |line: &str| match run(line).command {
            Command::DhcpProxy(proxy) => proxy,
            other => panic!("{other:?}"),
        };
        assert_eq!(proxy("dhcp-proxy"), Proxy::default());
        let all = proxy("dhcp-proxy -d /a --uds=/b -t 3 --activity-timeout 0");
        assert_eq!((all.dir.as_deref(), all.uds.as_deref()), (Some("/a"), Some("/b")));
        assert_eq!((all.timeout, all.activity), (Some(3), Some(0)));
        for bad in ["dhcp-proxy x", "dhcp-proxy -t", "dhcp-proxy -t x", "dhcp-proxy -q 1"] {
            assert!(parse(words(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn nonsense_is_told_as_clap_does() {
        let text = "error: unrecognized subcommand 'frobnicate'\n\nUsage: netavark [OPTIONS] <COMMAND>\n\n\
                    For more information, try '--help'.\n";
        assert_eq!(parse(words("frobnicate")), Err(text.into()));
        for line in ["", "--nosuch", "--rootless=maybe version", "setup", "setup a b", "-c"] {
            assert!(parse(words(line)).is_err(), "{line}");
        }
    }
}
