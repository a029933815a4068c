//! The command line.

mod usage;
mod words;

use super::VERSION;
use std::ffi::OsString;
use std::path::PathBuf;
use usage::{OPTIONS, Sub, command};
use words::{Opt, Word, Words};

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
    Setup(String),
    /// Detach it.
    Teardown(String),
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

/// Reads the words behind the program's name. The error is what is printed before exit code 2.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Parsed, String> {
    let mut words = Words::new(words.into_iter().collect(), OPTIONS);
    if words.is_empty() {
        return Err(usage::help(None));
    }
    let mut line = Line {
        file: None,
        config: None,
        rootless: false,
        aardvark: "/usr/libexec/podman/aardvark-dns".into(),
        firewall: None,
        plugins: Vec::new(),
        command: Command::Version,
    };
    while let Some(word) = words.next(None)? {
        match word {
            Word::Help => return Ok(Parsed::Print(usage::help(None))),
            Word::Version => return Ok(Parsed::Print(format!("netavark {VERSION}\n"))),
            Word::Option(name, value) => set(&mut line, name, value)?,
            Word::Plain(word) if word == "help" => return help(&mut words),
            Word::Plain(word) => return Ok(read(command(&word)?, words)?.with(line)),
        }
    }
    Err(usage::no_command())
}

/// What a subcommand's words say.
enum Said {
    Do(Command),
    Print(String),
}

impl Said {
    fn with(self, line: Line) -> Parsed {
        match self {
            Said::Do(command) => Parsed::Run(Box::new(Line { command, ..line })),
            Said::Print(text) => Parsed::Print(text),
        }
    }
}

fn help(words: &mut Words) -> Result<Parsed, String> {
    let sub = match words.plain() {
        Some(word) if word != "help" => Some(command(&word)?),
        _ => None,
    };
    Ok(Parsed::Print(usage::help(sub)))
}

fn set(line: &mut Line, name: &str, value: OsString) -> Result<(), String> {
    let text = || value.to_string_lossy().into_owned();
    match name {
        "file" => line.file = Some(value.into()),
        "config" => line.config = Some(value.into()),
        "aardvark-binary" => line.aardvark = value.into(),
        "firewall-driver" => line.firewall = Some(text()),
        "plugin-directory" => line.plugins.push(value.into()),
        _ => {
            let other = text();
            let bad =
                || usage::invalid(&other, "--rootless <ROOTLESS>", "\n  [possible values: true, false]");
            line.rootless = other.parse().map_err(|_| bad())?;
        }
    }
    Ok(())
}

/// Reads the words behind a subcommand.
fn read(sub: &Sub, words: Words) -> Result<Said, String> {
    let mut words = words.of(sub.options);
    let (mut names, mut options) = (Vec::new(), Vec::<(&str, String)>::new());
    while let Some(word) = words.next(Some(sub))? {
        match word {
            Word::Help => return Ok(Said::Print(usage::help(Some(sub)))),
            Word::Version => return Ok(Said::Print(format!("netavark-{} {VERSION}\n", sub.name))),
            Word::Option(name, value) => options.push((name, value.to_string_lossy().into_owned())),
            Word::Plain(word) if names.is_empty() && sub.name_of.is_some() => names.push(text(sub, word)?),
            Word::Plain(word) => return Err(usage::unexpected(&word.to_string_lossy(), Some(sub))),
        }
    }
    let is_there = |option: &Opt| options.iter().any(|(name, _)| *name == option.long);
    let missing: Vec<_> = sub.options.iter().filter(|option| option.is_needed && !is_there(option)).collect();
    if !missing.is_empty() || names.is_empty() && sub.name_of.is_some() {
        return Err(usage::missing(sub, &missing, names.is_empty()));
    }
    make(sub, names.pop().unwrap_or_default(), &options).map(Said::Do)
}

/// A name that must be a text, and not empty.
fn text(sub: &Sub, word: OsString) -> Result<String, String> {
    let name = sub.name_of.unwrap_or_default();
    match word.into_string() {
        Ok(text) if text.is_empty() => Err(usage::no_value(&format!("<{name}>"), "")),
        Ok(text) => Ok(text),
        Err(_) => Err(usage::wrong("invalid UTF-8 was detected in one or more arguments", Some(sub))),
    }
}

fn make(sub: &Sub, name: String, options: &[(&str, String)]) -> Result<Command, String> {
    let all = |wanted: &str| -> Vec<String> {
        options.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| value.clone()).collect()
    };
    Ok(match sub.name {
        "setup" => Command::Setup(name),
        "teardown" => Command::Teardown(name),
        "update" => Command::Update { network: name, servers: all("network-dns-servers").join(",") },
        "create" => Command::Create,
        "dhcp-proxy" => Command::DhcpProxy(Proxy {
            dir: all("dir").pop(),
            uds: all("uds").pop(),
            timeout: number("--timeout <TIMEOUT>", all("timeout").pop())?,
            activity: number("--activity-timeout <ACTIVITY_TIMEOUT>", all("activity-timeout").pop())?,
        }),
        "firewalld-reload" => Command::FirewalldReload,
        "firewall-reload" => Command::FirewallReload,
        _ => Command::Version,
    })
}

fn number<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &str,
    text: Option<String>,
) -> Result<Option<T>, String> {
    let parse =
        |text: String| text.parse().map_err(|error| usage::invalid(&text, name, &format!(": {error}")));
    text.map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

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
    fn every_command_explains_itself() {
        let said = |line: &str| match parse(words(line)) {
            Ok(Parsed::Print(text)) => text,
            other => panic!("{line}: {other:?}"),
        };
        let update = "Updates network dns servers for an already configured network\n\nUsage: netavark update \
                      --network-dns-servers <NETWORK_DNS_SERVERS> <NETWORK_NAME>\n";
        for line in ["update -h", "update --help", "help update", "update x -h"] {
            assert!(said(line).starts_with(update), "{line}: {}", said(line));
        }
        for sub in
            ["create", "setup", "teardown", "version", "dhcp-proxy", "firewalld-reload", "firewall-reload"]
        {
            assert!(said(&format!("help {sub}")).contains(&format!("Usage: netavark {sub}")), "{sub}");
            assert!(said("help").contains(&format!("\n  {sub}  ")), "{sub}");
        }
        assert_eq!(said("dhcp-proxy -V"), "netavark-dhcp-proxy 2.1.0\n");
        assert_eq!(parse(words("")), Err(said("-h")));
    }

    #[test]
    fn what_is_wrong_is_told_with_the_commands_own_usage() {
        let wrong = |line: &str, text: &str| {
            let told = parse(words(line)).expect_err(line);
            let text = format!("error: {text}\n\nFor more information, try '--help'.\n");
            assert_eq!(told, text, "{line}");
        };
        let usage = "Usage: netavark setup <NETWORK_NAMESPACE_PATH>";
        wrong("setup a b", &format!("unexpected argument 'b' found\n\n{usage}"));
        wrong("setup -x", &format!("unexpected argument '-x' found\n\n{usage}"));
        let missing = "the following required arguments were not provided:";
        wrong("setup --", &format!("{missing}\n  <NETWORK_NAMESPACE_PATH>\n\n{usage}"));
        let usage = "Usage: netavark update --network-dns-servers <NETWORK_DNS_SERVERS> <NETWORK_NAME>";
        let option = "--network-dns-servers <NETWORK_DNS_SERVERS>";
        wrong("update x", &format!("{missing}\n  {option}\n\n{usage}"));
        wrong("update", &format!("{missing}\n  {option}\n  <NETWORK_NAME>\n\n{usage}"));
        wrong(
            "update x --network-dns-servers",
            &format!("a value is required for '{option}' but none was supplied"),
        );
        let usage = "Usage: netavark [OPTIONS] <COMMAND>";
        let twice = "the argument '--config <CONFIG>' cannot be used multiple times";
        wrong("-c /a --config=/b version", &format!("{twice}\n\n{usage}"));
        let possible = "[possible values: true, false]";
        let value = "a value is required for '--rootless <ROOTLESS>' but none was supplied";
        wrong("-r", &format!("{value}\n  {possible}"));
        wrong("-r no version", &format!("invalid value 'no' for '--rootless <ROOTLESS>'\n  {possible}"));
        let number = "invalid digit found in string";
        wrong("dhcp-proxy -t x", &format!("invalid value 'x' for '--timeout <TIMEOUT>': {number}"));
        assert!(parse([OsString::from("setup"), "".into()]).is_err());
        assert_eq!(run("setup -- -a").command, Command::Setup("-a".into()));
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
