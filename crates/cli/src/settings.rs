//! The settings file, and Docker's.

use qiao_core::name::quoted;
use qiao_core::settings::{AddressPool, AutoToggle, MtuSetting, Settings};
use qiao_core::{Code, Refusal, Subnet};
use qiao_doors::json;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;

/// Where the settings are unless told otherwise.
pub const FILE: &str = "/etc/qiao/qiao.toml";

/// Reads the settings. A file that was not asked for need not exist.
pub fn load(path: Option<&str>) -> Result<Settings, Refusal> {
    let file = path.unwrap_or(FILE);
    match std::fs::read_to_string(file) {
        Ok(text) => parse(file, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.is_none() => {
            Ok(Settings::default())
        }
        Err(error) => Err(unreadable(file, &error)),
    }
}

fn parse(file: &str, text: &str) -> Result<Settings, Refusal> {
    let settings: Settings = toml::from_str(text).map_err(|error| {
        let why = error.message().to_owned();
        let line =
            error.span().map_or(1, |span| text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1);
        Refusal::invalid(format!("the settings in {file} make no sense, line {line}")).why(why)
    })?;
    settings.check().map_err(|r| r.context(file))?;
    Ok(settings)
}

fn unreadable(file: &str, error: &std::io::Error) -> Refusal {
    let code = if error.kind() == std::io::ErrorKind::NotFound { Code::NotFound } else { Code::NotPermitted };
    Refusal::new(code, format!("cannot read {}", quoted(file))).why(error.to_string())
}

/// The settings as a file.
pub fn to_toml(settings: &Settings) -> Result<String, Refusal> {
    toml::to_string_pretty(settings)
        .map_err(|e| Refusal::invalid("cannot write the settings").why(e.to_string()))
}

/// What is taken of a daemon.json.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Daemon {
    bip: Option<ipnet::IpNet>,
    default_address_pools: Vec<AddressPool>,
    mtu: Option<u32>,
    dns: Vec<IpAddr>,
    fixed_cidr: Option<Subnet>,
    fixed_cidr_v6: Option<Subnet>,
    icc: Option<bool>,
    ip: Option<IpAddr>,
    ipv6: Option<bool>,
    labels: Vec<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

/// What a daemon.json amounts to.
#[derive(Debug)]
pub struct Imported {
    /// The settings.
    pub settings: Settings,
    /// The keys that mean nothing here.
    pub ignored: Vec<String>,
}

/// Keys that are about the network and need no setting: what they switch on is so here, or never needed.
const NEEDLESS: [&str; 3] = ["userland-proxy", "iptables", "ip6tables"];

/// Reads a daemon.json.
pub fn import(file: &str) -> Result<Imported, Refusal> {
    let mut text = Vec::new();
    let limit = json::LARGEST as u64 + 1;
    let read = std::fs::File::open(file).and_then(|open| open.take(limit).read_to_end(&mut text));
    read.map_err(|error| unreadable(file, &error))?;
    import_text(file, &text)
}

fn import_text(file: &str, text: &[u8]) -> Result<Imported, Refusal> {
    let daemon: Daemon = serde_json::from_slice(text)
        .and_then(|daemon| json::read(text).map(|_| daemon))
        .map_err(|e| Refusal::invalid(format!("{file} makes no sense")).why(e.to_string()))?;
    let ignored = daemon.rest.keys().filter(|key| !NEEDLESS.contains(&key.as_str())).cloned().collect();
    let settings = settings_of(daemon);
    settings.check().map_err(|r| r.context(file))?;
    Ok(Imported { settings, ignored })
}

fn settings_of(daemon: Daemon) -> Settings {
    let mut settings =
        Settings { bip: daemon.bip, dns: daemon.dns, labels: daemon.labels, ..Settings::default() };
    (settings.fixed_cidr, settings.fixed_cidr_v6) = (daemon.fixed_cidr, daemon.fixed_cidr_v6);
    if !daemon.default_address_pools.is_empty() {
        settings.default_address_pools = daemon.default_address_pools;
    }
    // Docker's 0 means "as always".
    settings.mtu = daemon.mtu.filter(|mtu| *mtu > 0).map_or(settings.mtu, MtuSetting::Bytes);
    settings.icc = daemon.icc.unwrap_or(settings.icc);
    settings.publish_address = daemon.ip.unwrap_or(settings.publish_address);
    settings.ipv6 = daemon.ipv6.map_or(settings.ipv6, |on| if on { AutoToggle::On } else { AutoToggle::Off });
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_line() {
        let refusal = parse("x.toml", "icc = true\nbip = \"172.17.0.0/16\"\n").unwrap_err();
        assert!(refusal.message.contains("bip"), "{refusal:?}");
        let refusal = parse("x.toml", "icc = true\ncolour = 1\n").unwrap_err();
        assert!(refusal.message.ends_with("line 2"), "{refusal:?}");
    }

    #[test]
    fn settings_round_trip() {
        let text = to_toml(&Settings::default()).unwrap();
        assert_eq!(parse("x.toml", &text).unwrap(), Settings::default(), "{text}");
    }

    #[test]
    fn what_can_be_understood_in_two_ways_is_refused() {
        let import =
            |text: &str| import_text("daemon.json", text.as_bytes()).map(|imported| imported.ignored);
        assert_eq!(import(r#"{"log-opts": {"a": 1}}"#).unwrap(), ["log-opts"], "the control");
        let deep = format!("{{\"x\": {}{}}}", "[".repeat(64), "]".repeat(64));
        let long = format!("{{\"x\": \"{}\"}}", "x".repeat(json::LARGEST));
        for text in [r#"{"log-opts": {"a": 1, "a": 2}}"#, r#"{"x": 1, "x": 1}"#, "{} {}", &deep, &long] {
            assert_eq!(import(text).unwrap_err().code, Code::Invalid, "{text:.60}");
        }
    }

    const DAEMON: &str = r#"{"bip": "172.26.0.1/16", "fixed-cidr": "172.26.1.0/24", "mtu": 0, "icc": false,
        "default-address-pools": [{"base": "10.0.0.0/8", "size": 24}], "ipv6": true, "ip": "127.0.0.1",
        "dns": ["9.9.9.9"], "iptables": true, "log-driver": "journald"}"#;

    #[test]
    fn a_daemon_json_is_taken_as_far_as_it_is_about_networks() {
        let Imported { settings, ignored } = import_text("daemon.json", DAEMON.as_bytes()).unwrap();
        assert_eq!(settings.bip.unwrap().to_string(), "172.26.0.1/16");
        assert_eq!((settings.mtu, settings.icc, settings.ipv6), (MtuSetting::Auto, false, AutoToggle::On));
        assert_eq!(ignored, ["log-driver"], "`iptables` needs no setting");
    }

    /// Every beginning of a file, and every file with one character changed, is read or refused.
    #[test]
    fn no_file_makes_it_panic() {
        let toml = to_toml(&import_text("daemon.json", DAEMON.as_bytes()).unwrap().settings).unwrap();
        let mut read = 0;
        for text in [DAEMON, &toml] {
            for (at, old) in text.char_indices() {
                let (before, after) = (&text[..at], &text[at + old.len_utf8()..]);
                let changed =
                    ["", "\"", "9", "-", "/", "\0", "é", "{", "]"].map(|new| format!("{before}{new}{after}"));
                for text in changed.iter().map(String::as_str).chain([before]) {
                    read += usize::from(import_text("x", text.as_bytes()).is_ok())
                        + usize::from(parse("x", text).is_ok());
                }
            }
        }
        assert!(read > 0, "some of them make sense");
    }
}
