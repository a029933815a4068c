//! What a container shall be.

use qiao_core::name::quoted;
use qiao_core::{Refusal, SandboxName};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// What a container shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The id: 64 hexadecimal digits.
    pub id: String,
    /// The name.
    pub name: SandboxName,
    /// When it was asked for, in seconds since 1970.
    pub created: u64,
    /// The directory that is the root, or none for the host's own; neither is ever written to.
    pub rootfs: Option<String>,
    /// The command and its words.
    pub command: Vec<String>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// The host name.
    pub hostname: String,
    /// Files and directories of the host that are seen inside.
    pub volumes: Vec<Volume>,
    /// The working directory inside.
    pub workdir: Option<String>,
    /// User and group of the command; none for root.
    pub user: Option<(u32, u32)>,
    /// Whether it has a network of its own, rather than the host's.
    pub own_network: bool,
    /// Whether its record goes with it.
    pub remove: bool,
    /// Whether it runs in the background, with its output kept.
    pub detached: bool,
    /// Whether the terminal is the command's: keys such as Ctrl-C reach it by themselves.
    pub terminal: bool,
}

/// What is known once the network is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// `/etc/hosts`.
    pub hosts: String,
    /// `/etc/resolv.conf`.
    pub resolv: String,
}

/// A file or directory of the host that is seen inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Where it is on the host.
    pub source: String,
    /// Where it is seen inside.
    pub target: String,
    /// Whether it cannot be written to.
    pub read_only: bool,
}

impl FromStr for Volume {
    type Err = Refusal;

    /// `SOURCE:TARGET[:ro|rw]`, both absolute.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let bad = |why: &str| {
            Refusal::invalid(format!("{} is not a volume", quoted(text)))
                .why(why)
                .fix("-v /on/the/host:/inside[:ro]")
        };
        let words: Vec<&str> = text.split(':').collect();
        let (source, target, mode) = match words[..] {
            [source, target] => (source, target, "rw"),
            [source, target, mode] => (source, target, mode),
            _ => return Err(bad("it has two or three parts")),
        };
        if !source.starts_with('/') || !target.starts_with('/') {
            return Err(bad("both paths begin with `/`"));
        }
        if target.split('/').any(|part| part == "..") || target.trim_matches('/').is_empty() {
            return Err(bad("the path inside is a plain one below `/`"));
        }
        let read_only = match mode {
            "ro" => true,
            "rw" => false,
            _ => return Err(bad("the last part is `ro` or `rw`")),
        };
        Ok(Volume { source: source.into(), target: target.into(), read_only })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read() {
        let volume: Volume = "/a:/b/c:ro".parse().unwrap();
        assert_eq!((volume.source.as_str(), volume.target.as_str(), volume.read_only), ("/a", "/b/c", true));
        for bad in ["", "/a", "a:/b", "/a:b", "/a:/b:rx", "/a:/", "/a:/b/../..", "/a:/b:ro:x"] {
            assert!(bad.parse::<Volume>().is_err(), "{bad}");
        }
    }
}
