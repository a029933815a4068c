//! What a container runtime does with chained CNI plugins: which are called, with what.

use anyhow::{Context, Result};
use qiao_conformance::{Attachment, request};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A network's plugins, and where their programs are.
#[derive(Clone, Debug)]
pub struct Chain {
    dir: PathBuf,
    name: String,
    plugins: Vec<Value>,
}

/// A call of one plugin.
#[derive(Debug)]
pub struct Call {
    /// The program.
    pub program: String,
    /// Its environment.
    pub env: Vec<(&'static str, String)>,
    /// Its standard input.
    pub input: String,
}

const VERSION: &str = "0.4.0";

impl Chain {
    /// A network of this name: a bridge with addresses from `host-local`; the rest of the chain as given.
    pub fn new((dir, name): (&Path, &str), rest: &[Value]) -> Self {
        let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.67.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]});
        let bridge =
            json!({"type": "bridge", "bridge": "cni9", "isGateway": true, "ipMasq": true, "ipam": ipam});
        let plugins = std::iter::once(bridge).chain(rest.iter().cloned()).collect();
        Self { dir: dir.to_owned(), name: name.to_owned(), plugins }
    }

    /// The plugin that publishes ports.
    pub fn portmap() -> Value {
        json!({"type": "portmap", "capabilities": {"portMappings": true}})
    }

    /// Adds: every plugin gets what the one before it answered; the last answer.
    pub fn add(
        &self,
        attachment: &Attachment,
        mut run: impl FnMut(&Call) -> Result<String>,
    ) -> Result<Value> {
        let mut result: Option<Value> = None;
        for plugin in &self.plugins {
            let answer = run(&self.call(("ADD", plugin), attachment, result.as_ref()))?;
            let parsed = serde_json::from_str(&answer);
            result = Some(parsed.with_context(|| format!("ADD of {} answered {answer:?}", plugin["type"]))?);
        }
        Ok(result.unwrap_or_default())
    }

    /// Deletes: in reverse, every plugin gets the last answer.
    pub fn del(
        &self,
        (attachment, result): (&Attachment, &Value),
        mut run: impl FnMut(&Call) -> Result<String>,
    ) -> Result<()> {
        self.plugins
            .iter()
            .rev()
            .try_for_each(|plugin| run(&self.call(("DEL", plugin), attachment, Some(result))).map(drop))
    }

    fn call(&self, (verb, plugin): (&str, &Value), attachment: &Attachment, result: Option<&Value>) -> Call {
        let name = plugin["type"].as_str().unwrap_or_default();
        Call {
            program: self.dir.join(name).display().to_string(),
            env: attachment.env(verb, &self.dir.display().to_string()),
            input: request((VERSION, &self.name), plugin, attachment, result).to_string(),
        }
    }
}
