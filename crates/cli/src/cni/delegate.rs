//! Plugins of others that ours ask: the same environment, the same configuration (SPEC.md, section 4).

use super::door::Door;
use qiao_doors::cni::{Answer, Doc, Failure, Verb};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Asks an address management that is not ours; its answer, where the verb has one.
pub fn ask(door: &Door, kind: &str) -> Result<Option<Answer>, Failure> {
    let program = find(door, kind)?;
    let output = run(door, &program, None)
        .map_err(|error| Failure::new(5, format!("cannot run the plugin {program}: {error}")))?;
    let said: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let said = said.as_ref().and_then(Value::as_object).map(Doc);
    if !output.status.success() {
        let code = said.and_then(|doc| doc.number("code", u32::MAX.into()).ok().flatten()).unwrap_or(999);
        let text = |key| said.and_then(|doc| doc.text(key).ok().flatten()).unwrap_or_default().to_owned();
        return Err(Failure::new(code as u32, format!("{kind}: {}", text("msg"))).because(text("details")));
    }
    match (door.call.verb, said) {
        (Verb::Add, Some(doc)) => Answer::parse(doc, door.config.version).map(Some),
        (Verb::Add, None) => {
            Err(Failure::new(6, format!("the plugin {kind} has no result that can be decoded")))
        }
        _ => Ok(None),
    }
}

/// Takes back what an address management gave, after an ADD that came to nothing.
pub fn undo(door: &Door, kind: &str) -> Result<(), Failure> {
    let program = find(door, kind)?;
    let done = run(door, &program, Some("DEL"));
    done.map(drop).map_err(|error| Failure::new(5, format!("cannot run the plugin {program}: {error}")))
}

fn find(door: &Door, kind: &str) -> Result<String, Failure> {
    if kind.contains('/') {
        return Err(Failure::config(format!("`type`: {kind} is not the name of a plugin")));
    }
    // One of ours would read the same configuration, and ask itself again without end.
    if super::names().any(|own| own == kind) {
        return Err(Failure::config(format!("`ipam`: the plugin {kind} gives no addresses")));
    }
    let mut places = door.call.path.iter().filter(|dir| !dir.is_empty()).map(|dir| format!("{dir}/{kind}"));
    places.find(|path| std::path::Path::new(path).is_file()).ok_or_else(|| {
        let where_ = door.call.path.join(":");
        Failure::new(5, format!("there is no plugin {kind} in CNI_PATH"))
            .because(format!("CNI_PATH={where_}"))
    })
}

#[allow(clippy::disallowed_methods, reason = "the configuration names this program")]
fn run(door: &Door, program: &str, verb: Option<&str>) -> std::io::Result<Output> {
    let mut command = Command::new(program);
    command.envs(verb.map(|verb| ("CNI_COMMAND", verb)));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A plugin that does not read to the end may still answer.
        let _ = stdin.write_all(&door.input);
    }
    child.wait_with_output()
}
