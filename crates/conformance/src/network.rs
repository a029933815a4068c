//! A network of chained plugins, and what a runtime does with it, as `libcni` does.

use crate::answer::Answer;
use crate::attachment::Attachment;
use crate::call::request;
use crate::stage::Stage;
use crate::verdict::{Met, of};
use serde_json::{Value, json};

/// A network's configuration (SPEC.md, "Section 1").
#[derive(Debug)]
pub struct Network<'s> {
    stage: &'s Stage,
    version: String,
    name: String,
    plugins: Vec<Value>,
}

impl<'s> Network<'s> {
    /// A network, with the plugins' objects.
    pub fn new(stage: &'s Stage, (version, name): (&str, &str), plugins: &[Value]) -> Self {
        Self { stage, version: version.to_owned(), name: name.to_owned(), plugins: plugins.to_vec() }
    }

    /// The host that it is on.
    pub fn stage(&self) -> &'s Stage {
        self.stage
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// Adds: every plugin gets what the one before it said.
    pub fn add(&self, attachment: &Attachment) -> Met<Value> {
        let mut result = None;
        for plugin in &self.plugins {
            let answer = self.call("ADD", plugin, (attachment, result.as_ref()));
            result = Some(of(&format!("ADD of {}", plugin["type"]), answer.result())?);
            if plugin["type"] == "bridge" {
                self.stage.is_there(attachment)?;
            }
        }
        Ok(result.unwrap_or_default())
    }

    /// Deletes: in reverse, every plugin gets the last result.
    pub fn del(&self, attachment: &Attachment, result: Option<&Value>) -> Met {
        self.plugins.iter().rev().try_for_each(|plugin| {
            let answer = self.call("DEL", plugin, (attachment, result));
            of(&format!("DEL of {}", plugin["type"]), answer.nothing())
        })
    }

    /// Checks: every plugin gets the last result. The answers, in order.
    pub fn check(&self, attachment: &Attachment, result: &Value) -> Vec<Answer> {
        let call = |plugin| self.call("CHECK", plugin, (attachment, Some(result)));
        self.plugins.iter().map(call).collect()
    }

    /// Collects garbage: all but these attachments.
    pub fn gc(&self, valid: &[&Attachment]) -> Met {
        let list: Vec<_> = valid.iter().map(|a| json!({"containerID": a.id, "ifname": a.ifname})).collect();
        self.plugins.iter().try_for_each(|plugin| {
            let nobody = Attachment::nobody();
            let mut config = request((&self.version, &self.name), plugin, &nobody, None);
            config["cni.dev/valid-attachments"] = json!(list);
            config["cni.dev/attachments"] = json!(list);
            of(&format!("GC of {}", plugin["type"]), self.stage.run("GC", &config, &nobody).nothing())
        })
    }

    fn call(&self, verb: &str, plugin: &Value, given: (&Attachment, Option<&Value>)) -> Answer {
        let config = request((&self.version, &self.name), plugin, given.0, given.1);
        self.stage.run(verb, &config, given.0)
    }
}
