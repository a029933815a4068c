//! `qiao logs`.

use super::{Done, OK};
use crate::app::App;
use crate::args::Logs;
use crate::output::{line, print};
use qiao_container::logs::{Line, Reader};
use qiao_container::{Container, Containers};
use qiao_core::Refusal;
use qiao_engine::EngineError;
use serde_json::json;
use std::io::Write;
use std::time::Duration;

/// Between two looks at a log that is followed.
const PAUSE: Duration = Duration::from_millis(100);

/// Shows what a container has said.
pub fn run(app: &App, args: &Logs) -> Done {
    let container = Containers::of(&app.paths().run).find(&args.name)?;
    if !container.spec.detached {
        return Err(Refusal::conflict(format!("container `{}` does not run in the background", args.name))
            .why("what it says went to where it was started, and is not kept")
            .into());
    }
    let failed = |error| EngineError::failed(format!("read the log of `{}`", args.name), error);
    let (mut reader, lines) = Reader::open(&container.log()).map_err(failed)?;
    let skipped = args.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
    show(app, args, &lines[skipped..]);
    if !args.follow {
        return Ok(OK);
    }
    loop {
        let over = !goes_on(app, &container);
        show(app, args, &reader.more().map_err(failed)?);
        if over {
            return Ok(OK);
        }
        std::thread::sleep(PAUSE);
    }
}

fn goes_on(app: &App, container: &Container) -> bool {
    Containers::of(&app.paths().run).get(&container.spec.name).is_some_and(|now| now.lives())
}

fn show(app: &App, args: &Logs, lines: &[Line]) {
    for said in lines {
        if app.global.json {
            let Line { log, stream, time } = said;
            line(json!({"schema": "qiao.log/1", "time": time, "stream": stream, "log": log}));
            continue;
        }
        let text = if args.timestamps { format!("{} {}", said.time, said.log) } else { said.log.clone() };
        if said.stream == "stderr" {
            // What ends without a newline must not get one.
            let _ = std::io::stderr().write_all(text.as_bytes());
        } else {
            print(&text);
        }
    }
}
