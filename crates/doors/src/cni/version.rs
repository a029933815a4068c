//! Versions of the specification.

use serde_json::{Value, json};

/// A version of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.1.0
    V010,
    /// 0.2.0
    V020,
    /// 0.3.0
    V030,
    /// 0.3.1
    V031,
    /// 0.4.0: CHECK, and `prevResult` for DEL.
    V040,
    /// 1.0.0
    V100,
    /// 1.1.0: STATUS and GC.
    V110,
}

impl Version {
    /// All of them, from the oldest.
    pub const ALL: [Version; 7] = [
        Version::V010,
        Version::V020,
        Version::V030,
        Version::V031,
        Version::V040,
        Version::V100,
        Version::V110,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V010 => "0.1.0",
            Version::V020 => "0.2.0",
            Version::V030 => "0.3.0",
            Version::V031 => "0.3.1",
            Version::V040 => "0.4.0",
            Version::V100 => "1.0.0",
            Version::V110 => "1.1.0",
        }
    }

    /// The version that is written like this; none if there is no such one.
    pub fn parse(text: &str) -> Option<Self> {
        Version::ALL.into_iter().find(|version| version.as_str() == text)
    }
}

/// The answer to VERSION: what is asked for is repeated, whatever it is.
pub fn version_reply(asked: Option<&str>) -> Value {
    let supported = Version::ALL.map(Version::as_str);
    json!({"cniVersion": asked.unwrap_or(Version::V110.as_str()), "supportedVersions": supported})
}
