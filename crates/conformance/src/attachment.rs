//! An attachment as a runtime knows it.

use qiao_testbed::Place;
use serde_json::{Value, json};

/// A container's interface on a network (SPEC.md, "Parameters").
#[derive(Clone, Debug)]
pub struct Attachment {
    /// `CNI_CONTAINERID`.
    pub id: String,
    /// `CNI_NETNS`: a path, or nothing.
    pub netns: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: String,
    /// What the runtime offers to plugins that declare the capability.
    pub capabilities: Value,
}

impl Attachment {
    /// Of a namespace, whose name is the container's.
    pub fn of(place: &Place) -> Self {
        Self {
            id: place.name().to_owned(),
            netns: place.path(),
            ifname: "eth0".to_owned(),
            args: String::new(),
            capabilities: json!({}),
        }
    }

    /// None: what verbs that are not about an attachment get.
    pub fn nobody() -> Self {
        let nothing = String::new;
        Self { id: nothing(), netns: nothing(), ifname: nothing(), args: nothing(), capabilities: json!({}) }
    }

    /// The same, but for the namespace's path.
    pub fn at(&self, netns: &str) -> Self {
        Self { netns: netns.to_owned(), ..self.clone() }
    }

    /// The same, but for the container's name.
    pub fn named(&self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self.clone() }
    }

    /// The same, but for the interface's name.
    pub fn on(&self, ifname: &str) -> Self {
        Self { ifname: ifname.to_owned(), ..self.clone() }
    }

    /// The same, with arguments.
    pub fn with_args(&self, args: &str) -> Self {
        Self { args: args.to_owned(), ..self.clone() }
    }

    /// The same, with what the runtime offers.
    pub fn offering(&self, capabilities: Value) -> Self {
        Self { capabilities, ..self.clone() }
    }

    /// The environment of a plugin.
    pub fn env(&self, verb: &str, path: &str) -> Vec<(&'static str, String)> {
        let mut env = vec![
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", self.id.clone()),
            ("CNI_NETNS", self.netns.clone()),
            ("CNI_IFNAME", self.ifname.clone()),
            ("CNI_PATH", path.to_owned()),
        ];
        if !self.args.is_empty() {
            env.push(("CNI_ARGS", self.args.clone()));
        }
        env
    }
}
