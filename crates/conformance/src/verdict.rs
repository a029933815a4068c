//! What came of a check.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verdict", content = "seen")]
pub enum Verdict {
    /// It is as the sentence says.
    Pass,
    /// It is not; what was seen instead.
    Fail(String),
    /// The sentence does not concern these plugins, and why.
    NotApplicable(String),
}

/// Why a check did not come to its end.
#[derive(Clone, Debug)]
pub enum Unmet {
    /// Something was otherwise.
    Failed(String),
    /// It cannot be asked of these plugins.
    NotApplicable(String),
}

/// What a check, or a part of it, says.
pub type Met<T = ()> = Result<T, Unmet>;

impl From<Met> for Verdict {
    fn from(met: Met) -> Self {
        match met {
            Ok(()) => Self::Pass,
            Err(Unmet::Failed(seen)) => Self::Fail(seen),
            Err(Unmet::NotApplicable(why)) => Self::NotApplicable(why),
        }
    }
}

/// Something must be so; else what was seen.
pub fn must(is_so: bool, seen: impl FnOnce() -> String) -> Met {
    if is_so { Ok(()) } else { Err(failed(seen())) }
}

/// Two things must be the same.
pub fn same<T: PartialEq + fmt::Debug>(what: &str, found: &T, expected: &T) -> Met {
    must(found == expected, || format!("{what} is {found:?}, not {expected:?}"))
}

/// A failure, and what was seen.
pub fn failed(seen: impl Into<String>) -> Unmet {
    Unmet::Failed(seen.into())
}

/// Says of what a failure was, when a check asks for the same of many.
pub fn of<T>(what: &str, met: Met<T>) -> Met<T> {
    met.map_err(|unmet| match unmet {
        Unmet::Failed(seen) => Unmet::Failed(format!("{what}: {seen}")),
        other => other,
    })
}
