//! `qiao info` and `qiao version`.

use super::{Done, OK};
use crate::app::App;
use crate::args::Info;
use crate::output::error::chain;
use crate::output::{line, print};
use qiao_core::render;
use serde_json::{Value, json};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version.
pub fn version(app: &App) -> Done {
    if app.global.json {
        line(json!({"schema": "qiao.version/1", "version": VERSION, "ruleset": digest()}));
    } else {
        line(format!("qiao {VERSION}"));
    }
    Ok(OK)
}

fn digest() -> String {
    format!("{:08x}", render::DIGEST)
}

/// What this qiao is, and what it found.
pub fn run(app: &App, args: &Info) -> Done {
    if args.ruleset {
        print(render::RULESET);
        return Ok(OK);
    }
    let info = collect(app)?;
    if app.global.json {
        line(info);
        return Ok(OK);
    }
    for (key, value) in info.as_object().into_iter().flatten().filter(|(key, _)| *key != "schema") {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        line(format!("{:<18} {text}", key.replace('_', " ")));
    }
    Ok(OK)
}

fn collect(app: &App) -> Result<Value, qiao_engine::EngineError> {
    let mut engine = app.engine()?;
    let loopback = match engine.kernel().loopback_way() {
        Ok(way) => way.to_string(),
        Err(error) => format!("none: {}", chain(&error)),
    };
    let paths = app.paths();
    let facts = rustix::system::uname();
    Ok(json!({
        "schema": "qiao.info/1",
        "version": VERSION,
        "kernel": facts.release().to_string_lossy(),
        "state_directory": paths.state,
        "run_directory": paths.run,
        "settings": app.global.config.clone().unwrap_or_else(|| crate::settings::FILE.to_owned()),
        "ruleset": digest(),
        "networks": engine.networks()?.len(),
        "networks_in_use": engine.store().active()?.len(),
        "endpoints": engine.store().endpoints()?.len(),
        "loopback": loopback,
        "labels": engine.settings().labels.join(","),
    }))
}
