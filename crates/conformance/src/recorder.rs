//! A plugin that writes down how it is called, and answers what it was told to.

use crate::stage::{Stage, write};
use qiao_testbed::run;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const SCRIPT: &str = r#"#!/bin/sh
here=${0%/*}; n=1
while ! mkdir "$here/calls/$n" 2>/dev/null; do n=$((n + 1)); done
env > "$here/calls/$n/env"; cat > "$here/calls/$n/stdin"
echo "the delegate was called" >&2
[ ! -f "$here/$CNI_COMMAND.answer" ] || cat "$here/$CNI_COMMAND.answer"
[ ! -f "$here/$CNI_COMMAND.fails" ]
"#;

/// A recording plugin, in a directory of its own.
#[derive(Debug)]
pub struct Recorder {
    dir: PathBuf,
}

/// A call that it noted.
#[derive(Debug)]
pub struct Recorded {
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// What was on standard input.
    pub config: Value,
}

impl Recorder {
    /// Makes a plugin of this name, which succeeds in silence.
    pub fn new(stage: &Stage, name: &str) -> Self {
        let dir = PathBuf::from(format!("/run/recorder-{name}"));
        let file = stage.file(&format!("recorder-{name}/{name}"), SCRIPT);
        run(&format!("chmod 755 {}", file.display()));
        run(&format!("mkdir {}/calls", dir.display()));
        Self { dir }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// It shall succeed, and print this.
    pub fn answers(&self, verb: &str, answer: &Value) -> &Self {
        self.write(&format!("{verb}.answer"), &answer.to_string())
    }

    /// It shall fail, and print this.
    pub fn fails(&self, verb: &str, answer: &Value) -> &Self {
        self.answers(verb, answer).write(&format!("{verb}.fails"), "")
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        write(&self.dir.join(name), text);
        self
    }

    /// The calls, in order.
    pub fn calls(&self) -> Vec<Recorded> {
        let dirs = (1..).map(|n| self.dir.join("calls").join(n.to_string()));
        dirs.take_while(|dir| dir.is_dir()).map(|dir| recorded(&dir)).collect()
    }

    /// The verbs of the calls, in order.
    pub fn verbs(&self) -> Vec<String> {
        self.calls().iter().map(|call| call.env.get("CNI_COMMAND").cloned().unwrap_or_default()).collect()
    }
}

fn recorded(dir: &Path) -> Recorded {
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
    let env = read("env");
    let pairs = env.lines().filter_map(|line| line.split_once('='));
    Recorded {
        env: pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        config: serde_json::from_str(&read("stdin")).unwrap_or_default(),
    }
}
