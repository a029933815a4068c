//! What a plugin answered.

use crate::verdict::{Met, failed, must, same};
use serde_json::Value;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;

/// What a plugin answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The exit status; none if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
}

/// An error as a plugin reports it (SPEC.md, "Error").
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The error's number.
    pub code: u64,
    /// All its text.
    pub text: String,
    /// The whole object.
    pub object: Value,
}

impl Answer {
    /// What came of a process.
    pub fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// It must have succeeded, with one document.
    pub fn result(&self) -> Met<Value> {
        must(self.code == Some(0), || self.to_string())?;
        let documents = self.documents()?;
        same("the number of documents on stdout", &documents.len(), &1)?;
        Ok(documents[0].clone())
    }

    /// It must have succeeded, whatever it printed.
    pub fn success(&self) -> Met {
        must(self.code == Some(0), || self.to_string())
    }

    /// It must have succeeded, without a word on standard output.
    pub fn nothing(&self) -> Met {
        self.success()?;
        must(self.stdout.trim().is_empty(), || format!("it printed {}", self.stdout.trim()))
    }

    /// It must have failed, with one error object.
    pub fn refusal(&self) -> Met<Refusal> {
        must(self.code.is_some_and(|code| code != 0), || format!("it did not fail: {self}"))?;
        let documents = self.documents()?;
        must(documents.len() == 1, || format!("{} documents on stdout: {self}", documents.len()))?;
        let object = documents[0].clone();
        let word = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        let Some(code) = object["code"].as_u64() else { return Err(failed(format!("no code: {self}"))) };
        Ok(Refusal { code, text: format!("{} {}", word("msg"), word("details")), object })
    }

    /// It must have failed with one of these codes.
    pub fn refused_with(&self, codes: &[u64]) -> Met<Refusal> {
        let refusal = self.refusal()?;
        must(codes.contains(&refusal.code), || {
            format!("the code is {}, not {codes:?}: {}", refusal.code, refusal.text.trim())
        })?;
        Ok(refusal)
    }

    fn documents(&self) -> Met<Vec<Value>> {
        let stream = serde_json::Deserializer::from_str(&self.stdout).into_iter();
        stream.collect::<Result<_, _>>().map_err(|error| failed(format!("{error} in {self}")))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit {code}")?,
            (None, signal) => write!(f, "signal {}", signal.unwrap_or_default())?,
        }
        let text = format!("{} {}", self.stdout, self.stderr);
        let words: Vec<_> = text.split_whitespace().collect();
        write!(f, ", {}", if words.is_empty() { "silent".to_owned() } else { words.join(" ") })
    }
}
