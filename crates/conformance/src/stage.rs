//! The host that a check runs on.

use crate::answer::Answer;
use crate::attachment::Attachment;
use crate::call::Call;
use crate::verdict::{Met, must};
use qiao_testbed::{Place, Snapshot, eventually, stdout};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The version that checks ask for, unless it is their matter.
pub const VERSION: &str = "1.0.0";

/// The host that a check runs on: its own namespaces, with an uplink to a network with an outside host.
#[derive(Debug)]
pub struct Stage {
    /// The outside host, which has routes to the containers.
    pub lan: Place,
    plugins: PathBuf,
    before: Vec<PathBuf>,
    cgroup: Option<String>,
}

impl Stage {
    /// Sets the stage in the namespaces of this process.
    pub fn set(plugins: &Path) -> Self {
        let cgroup = qiao_testbed::namespaces::boot_in_cgroup();
        // Where plugins keep what outlives a reboot: each check has it to itself.
        qiao_testbed::run("mount -t tmpfs -o mode=755 tmpfs /var/lib");
        let lan = qiao_testbed::uplink();
        // An address that is still looked for twice would be another one later.
        for which in ["all", "default"] {
            write(Path::new(&format!("/proc/sys/net/ipv6/conf/{which}/accept_dad")), "0");
        }
        Self { lan, plugins: plugins.to_owned(), before: Vec::new(), cgroup }
    }

    /// The same stage, on which delegates are looked for in this directory first.
    pub fn searching(&self, first: &Path) -> Self {
        let (lan, plugins, cgroup) = (self.lan.clone(), self.plugins.clone(), self.cgroup.clone());
        Self { lan, plugins, before: vec![first.to_owned()], cgroup }
    }

    /// A plugin's path.
    pub fn program(&self, plugin: &str) -> PathBuf {
        let mut found = self.before.iter().map(|dir| dir.join(plugin)).filter(|file| file.exists());
        found.next().unwrap_or_else(|| self.plugins.join(plugin))
    }

    /// Whether there is such a plugin.
    pub fn has(&self, plugin: &str) -> bool {
        self.program(plugin).exists()
    }

    /// The directory of the plugins that are checked.
    pub fn plugins(&self) -> &Path {
        &self.plugins
    }

    /// `CNI_PATH`.
    pub fn search_path(&self) -> String {
        let dirs = self.before.iter().chain([&self.plugins]).map(|dir| dir.display().to_string());
        dirs.collect::<Vec<_>>().join(":")
    }

    /// What plugins need of the environment so that they leave the machine's own cgroup alone.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("QIAO_CGROUP", self.cgroup.clone().unwrap_or_else(|| "/nonexistent".to_owned()))]
    }

    /// A container: a namespace that nothing is attached to.
    pub fn container(&self, name: &str) -> (Place, Attachment) {
        let place = Place::new(name);
        let attachment = Attachment::of(&place);
        (place, attachment)
    }

    /// A call of the plugin that the configuration is for.
    pub fn call(&self, verb: &str, config: &Value, attachment: &Attachment) -> Call {
        Call::new(self, verb, (config, attachment))
    }

    /// Calls a plugin.
    pub fn run(&self, verb: &str, config: &Value, attachment: &Attachment) -> Answer {
        self.call(verb, config, attachment).run()
    }

    /// Adds, and must succeed.
    pub fn add(&self, config: &Value, attachment: &Attachment) -> Met<Value> {
        let result = self.run("ADD", config, attachment).result()?;
        if config["type"] == "bridge" {
            self.is_there(attachment)?;
        }
        Ok(result)
    }

    /// What is said to have been added must be there: else nothing that follows would prove anything.
    pub fn is_there(&self, attachment: &Attachment) -> Met {
        let path = format!("--net={}", attachment.netns);
        let look =
            Command::new("nsenter").args([&path, "ip", "link", "show", "dev", &attachment.ifname]).output();
        let is_there = look.is_ok_and(|output| output.status.success());
        must(is_there, || format!("ADD succeeded, and {} is not in {}", attachment.ifname, attachment.netns))
    }

    /// Deletes, and must succeed without a word.
    pub fn del(&self, config: &Value, attachment: &Attachment) -> Met {
        self.run("DEL", config, attachment).nothing()
    }

    /// The versions that a plugin says it supports.
    pub fn versions(&self, plugin: &str) -> Met<Vec<String>> {
        let attachment = Attachment::nobody();
        let answer = self.run("VERSION", &json!({"cniVersion": VERSION, "type": plugin}), &attachment);
        let result = answer.result()?;
        let list = result["supportedVersions"].as_array().cloned().unwrap_or_default();
        Ok(list.iter().filter_map(|version| version.as_str().map(str::to_owned)).collect())
    }

    /// Everything that a plugin can leave in the kernel, when none of them works in the background any more.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::take("/nonexistent");
        let at_work = format!("process: {}/", self.plugins.display());
        eventually(Duration::from_secs(4), || {
            let idle = snapshot.lines_with(&at_work).is_empty();
            if !idle {
                snapshot = Snapshot::take("/nonexistent");
            }
            idle
        });
        snapshot
    }

    /// All must be as before; what the kernel does in the background is waited for.
    pub fn unchanged(&self, before: &Snapshot, after: &str) -> Met {
        let mut diff = Vec::new();
        eventually(Duration::from_secs(8), || {
            diff = before.diff(&self.snapshot());
            diff.is_empty()
        });
        must(diff.is_empty(), || format!("after {after}: {}", diff.join(" | ")))
    }

    /// Every line of the rule set, by `nft` and by `iptables-save`, that contains a text.
    pub fn rules_with(&self, text: &str) -> Vec<String> {
        let all = ["nft -s list ruleset", "iptables-save", "ip6tables-save"].map(stdout).join("\n");
        all.lines().map(str::trim).filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    /// No rule may contain a text.
    pub fn no_rules_with(&self, text: &str) -> Met {
        let left = self.rules_with(text);
        must(left.is_empty(), || format!("{} rules with {text} are left: {}", left.len(), left[0]))
    }

    /// Some rule must contain a text.
    pub fn some_rule_with(&self, text: &str) -> Met {
        must(!self.rules_with(text).is_empty(), || format!("no rule with {text} was made"))
    }

    /// Writes a file below `/run`; its path.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = Path::new("/run").join(name);
        qiao_testbed::run(&format!("mkdir -p {}", path.parent().unwrap_or(&path).display()));
        write(&path, content);
        path
    }
}

/// Writes a file whose directory is there.
pub fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
