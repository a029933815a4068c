//! Names: what may be called what. Every name is checked when it is made, so nothing later has to. A name is in
//! every mark and key of a plan: copies share its text.

use crate::refusal::Refusal;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest id or name, in bytes (the CNI specification sets no limit; 128 fits every mark we write).
pub const NAME_MAX: usize = 128;
/// The longest interface name, in bytes: `IFNAMSIZ` (`linux/if.h`) less the closing NUL.
pub const IFNAME_MAX: usize = 15;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and makes the name; a refusal says which rule it breaks.
            pub fn new(text: &str) -> Result<Self, Refusal> {
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Refusal;
            fn from_str(text: &str) -> Result<Self, Refusal> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Refusal;
            fn try_from(text: String) -> Result<Self, Refusal> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.as_str().to_owned()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

name_type!(
    /// The name of a network: `[A-Za-z0-9][A-Za-z0-9_.-]{0,127}`.
    NetworkName,
    check_network
);
name_type!(
    /// The name of a sandbox (a container's network namespace): `[A-Za-z0-9][A-Za-z0-9_.-]{0,127}`.
    SandboxName,
    check_sandbox
);
name_type!(
    /// A network's id: 64 lower-case hexadecimal digits.
    NetworkId,
    check_id
);
name_type!(
    /// The name of an interface: 1 to 15 bytes, as the kernel takes it (`dev_valid_name`), without `%`, `:`
    /// or anything that is not printable ASCII.
    IfName,
    check_ifname
);
name_type!(
    /// A host name or the name in `--add-host`: labels of letters, digits, `-` and `_`, each 1 to 63 bytes,
    /// 253 in all (RFC 1123 section 2.1, with the underscore that people use).
    Hostname,
    check_hostname
);

impl NetworkName {
    /// What all networks on a bridge are called together: `on.BRIDGE`. A bridge's name may have more than a network's: its
    /// bytes are written in hexadecimal then, with so many zeros in front that no bridge is called so.
    pub fn of_device(device: &IfName) -> Self {
        let name = format!("on.{device}");
        match check_network(&name) {
            Ok(()) => Self(name.into()),
            Err(_) => {
                let hex: String = device.0.bytes().map(|byte| format!("{byte:02x}")).collect();
                Self(format!("on.{hex:0>width$}", width = 2 * IFNAME_MAX).into())
            }
        }
    }
}

impl NetworkId {
    /// An id from 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>().into())
    }

    /// The first 12 digits, as tables show them.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

fn check_network(text: &str) -> Result<(), Refusal> {
    check_word("network name", text)
}

fn check_sandbox(text: &str) -> Result<(), Refusal> {
    check_word("container name", text)
}

fn check_word(kind: &str, text: &str) -> Result<(), Refusal> {
    let body = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let fine = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(body);
    if fine && text.len() <= NAME_MAX {
        return Ok(());
    }
    Err(Refusal::invalid(format!("{} is not a {kind}", quoted(text)))
        .why(format!("a {kind} is 1 to {NAME_MAX} of A-Z a-z 0-9 _ . - and starts with a letter or a digit")))
}

fn check_id(text: &str) -> Result<(), Refusal> {
    let fine = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if fine { Ok(()) } else { Err(Refusal::invalid(format!("{} is not a network id", quoted(text)))) }
}

fn check_ifname(text: &str) -> Result<(), Refusal> {
    // `all` and `default` are directories of settings: the kernel refuses links of that name.
    let fine = !matches!(text, "" | "." | ".." | "all" | "default")
        && text.len() <= IFNAME_MAX
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%' | b'"' | b'\\'));
    if fine {
        return Ok(());
    }
    Err(Refusal::invalid(format!("{} is not an interface name", quoted(text))).why(format!(
        "an interface name is 1 to {IFNAME_MAX} printable characters without / : % \" \\ or space"
    )))
}

fn check_hostname(text: &str) -> Result<(), Refusal> {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Ok(());
    }
    Err(Refusal::invalid(format!("{} is not a host name", quoted(text)))
        .why("labels of letters, digits, - and _, each 1 to 63 bytes, at most 253 in all"))
}

/// `text` in backquotes, with everything unprintable escaped and cut at 64 characters: safe to print.
pub fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
    let cut = if text.chars().count() > 64 { "…" } else { "" };
    format!("`{shown}{cut}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        for good in ["a", "web", "0", "a.b_c-d", &"x".repeat(128)] {
            assert!(SandboxName::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "a\0", "é", "../x", "a;b", &"x".repeat(129)]
        {
            assert!(SandboxName::new(bad).is_err(), "{bad:?}");
            assert!(NetworkName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn interface_names_follow_the_kernel() {
        for good in ["eth0", "q-web.1", "br-0123456789ab", "a"] {
            assert!(IfName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "eth%d", "a b", "a:1", "0123456789abcdef", "a\n", "a\"", "ö"] {
            assert!(IfName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn d3_every_bridge_has_an_owner_of_its_own() {
        let owner = |device: &str| NetworkName::of_device(&IfName::new(device).unwrap());
        assert_eq!(owner("cni0").as_str(), "on.cni0");
        let devices = ["*", "2a", "a,b", "612c62", "000000000000002", "e;x", "-x", ".x", "0123456789abcd*"];
        let owners: std::collections::BTreeSet<NetworkName> = devices.iter().map(|d| owner(d)).collect();
        assert_eq!(owners.len(), devices.len());
        owners.iter().for_each(|owner| assert!(NetworkName::new(owner.as_str()).is_ok(), "{owner}"));
    }

    #[test]
    fn host_names_follow_rfc_1123() {
        assert!(Hostname::new("db.internal").is_ok());
        for bad in ["", "a..b", "a b", "a\n127.0.0.1 x", &"x".repeat(64)] {
            assert!(Hostname::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn quoting_is_safe_to_print() {
        assert_eq!(quoted("a\nb\u{1b}[31m"), "`a\\nb\\u{1b}[31m`");
        assert!(quoted(&"y".repeat(100)).ends_with("…`"));
    }
}
