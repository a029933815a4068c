//! Errors: what, because of what, and what to try.

use super::{line, note};
use qiao_core::Refusal;
use qiao_engine::EngineError;
pub use qiao_engine::chain;
use serde::Serialize;
use std::error::Error;
use std::process::ExitCode;

/// An error as it is told.
#[derive(Debug, Serialize)]
struct Told<'a> {
    schema: &'static str,
    code: String,
    exit: u8,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    fix: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: &'a Vec<String>,
}

const NOTHING: &Vec<String> = &Vec::new();

/// Tells an error, and gives the exit code: its own, unless the command has one for all of them.
pub fn report(error: &EngineError, (json, code): (bool, Option<u8>)) -> ExitCode {
    let told = told(error);
    let told = Told { exit: code.unwrap_or(told.exit), ..told };
    if json {
        line(serde_json::to_string(&told).unwrap_or_default());
    } else {
        note(text(&told));
    }
    ExitCode::from(told.exit)
}

fn told(error: &EngineError) -> Told<'_> {
    let exit = error.exit();
    match error {
        EngineError::Refused(refusal) => refused(refusal, exit),
        EngineError::Failed { .. } if error.is_permission() => {
            Told { fix: vec!["run it as root".into()], ..failed(error, "not-permitted", NOTHING) }
        }
        EngineError::Failed { .. } => failed(error, "failed", NOTHING),
        EngineError::Residue { left, .. } => {
            Told { fix: vec!["qiao repair".into()], ..failed(error, "residue", left) }
        }
    }
}

fn refused(refusal: &Refusal, exit: u8) -> Told<'static> {
    let code = serde_json::to_value(refusal.code)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default();
    let (message, why, fix) = (refusal.message.clone(), refusal.why.clone(), refusal.fix.clone());
    Told { schema: "qiao.error/1", code, exit, message, why, fix, left: NOTHING }
}

fn failed<'a>(error: &EngineError, code: &str, left: &'a Vec<String>) -> Told<'a> {
    let why = error.source().map(chain);
    Told {
        schema: "qiao.error/1",
        code: code.to_owned(),
        exit: error.exit(),
        message: error.to_string(),
        why,
        fix: Vec::new(),
        left,
    }
}

fn text(told: &Told<'_>) -> String {
    let mut text = format!("error: {}", told.message);
    if let Some(why) = &told.why {
        text.push_str(&format!("\n  why   {why}"));
    }
    for (at, left) in told.left.iter().enumerate() {
        text.push_str(&format!("\n  {}  {left}", if at == 0 { "left" } else { "    " }));
    }
    for (at, fix) in told.fix.iter().enumerate() {
        text.push_str(&format!("\n  {}   {fix}", if at == 0 { "fix" } else { "   " }));
    }
    text
}
