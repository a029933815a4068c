//! Errors as CNI has them (SPEC.md, section 5, Error).

use qiao_core::{Code, Refusal};
use serde_json::{Value, json};
use std::fmt;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code: below 100 the specification's, else our own (`docs/cni.md`).
    pub code: u32,
    /// What.
    pub msg: String,
    /// Why, and what to try.
    pub details: String,
}

impl Failure {
    /// A failure of this code.
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// With more words.
    #[must_use]
    pub fn because(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// 1: the version is not supported.
    pub fn version(msg: impl Into<String>) -> Self {
        Self::new(1, msg)
    }

    /// 2: a key that cannot be heeded, with its value.
    pub fn unsupported(key: &str, value: impl fmt::Display) -> Self {
        Self::new(2, format!("`{key}`: {value} is not supported"))
    }

    /// 4: the environment is wrong.
    pub fn environment(msg: impl Into<String>) -> Self {
        Self::new(4, msg)
    }

    /// 7: the configuration makes no sense.
    pub fn config(msg: impl Into<String>) -> Self {
        Self::new(7, msg)
    }

    /// The object that is printed.
    pub fn to_json(&self, version: &str) -> Value {
        let mut object = json!({"cniVersion": version, "code": self.code, "msg": self.msg});
        if !self.details.is_empty() {
            object["details"] = self.details.clone().into();
        }
        object
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.code {
            Code::Invalid => 7,
            Code::Conflict => 100,
            Code::Exhausted => 101,
            Code::NotPermitted => 102,
            Code::Unsupported => 103,
            Code::NotFound => 104,
        };
        let details: Vec<String> = refusal.why.iter().chain(&refusal.fix).cloned().collect();
        Self { code, msg: refusal.message, details: details.join("; ") }
    }
}
