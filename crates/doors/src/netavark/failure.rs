//! Errors as Podman decodes them: one text.

use qiao_core::Refusal;
use serde_json::{Value, json};
use std::fmt;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl Failure {
    /// The object that is printed. Podman refuses any other key in it.
    pub fn to_json(&self) -> Value {
        json!({"error": self.0})
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let why = refusal.why.iter().map(|why| format!(": {why}"));
        let fix = refusal.fix.iter().map(|fix| format!("; try: {fix}"));
        Self(why.chain(fix).fold(refusal.message.clone(), |text, more| text + &more))
    }
}

/// Several failures as one, in netavark's words; none of none.
pub fn joined(mut failures: Vec<Failure>) -> Result<(), Failure> {
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        _ => {
            let lines = failures.iter().map(|failure| format!("\n\t- {failure}"));
            Err(Failure(lines.fold("netavark encountered multiple errors:".into(), |all, line| all + &line)))
        }
    }
}
