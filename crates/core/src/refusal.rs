//! Why something was not done: what, because of what, and what to try.

use serde::Serialize;
use std::fmt;

/// What kind of refusal it is. Stable: scripts read it from `--json` and from the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The request makes no sense: a malformed name, an address outside its subnet.
    Invalid,
    /// What is named does not exist.
    NotFound,
    /// Something is in the way: a name, an address, a port, a route.
    Conflict,
    /// There is nothing left to give: addresses, subnets, ports.
    Exhausted,
    /// The process lacks the privilege.
    NotPermitted,
    /// The kernel lacks a feature.
    Unsupported,
}

impl Code {
    /// The process exit code (see `docs/cli.md`).
    pub fn exit(self) -> u8 {
        match self {
            Code::Invalid => 2,
            Code::NotPermitted => 3,
            Code::NotFound => 4,
            Code::Conflict => 5,
            Code::Unsupported => 6,
            Code::Exhausted => 1,
        }
    }
}

/// A request that is refused. Nothing was touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The kind.
    pub code: Code,
    /// What was refused, with the object it was about; complete on its own.
    pub message: String,
    /// A fact that explains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to try: commands that can be pasted, or plain advice.
    pub fix: Vec<String>,
}

impl Refusal {
    /// A refusal of the given kind.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), why: None, fix: Vec::new() }
    }

    /// The request makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::Invalid, message)
    }

    /// What is named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// Something is in the way.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Code::Conflict, message)
    }

    /// Adds the fact that explains the refusal.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Adds something to try.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix.push(fix.into());
        self
    }

    /// Puts the act in front of the message: `cannot attach …: message`.
    #[must_use]
    pub fn context(mut self, act: impl fmt::Display) -> Self {
        self.message = format!("{act}: {}", self.message);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
