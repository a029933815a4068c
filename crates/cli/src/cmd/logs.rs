//! `qiao logs`.

use super::{Done, OK};
use crate::app::App;
use crate::args::Logs;
use crate::output::print;
use qiao_container::logs::{Line, Reader};
use qiao_container::{Container, Containers};
use qiao_core::Refusal;
use qiao_engine::EngineError;
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
    let mut over = !args.follow;
    while !over {
        over = !goes_on(app, &container); // asked first: what it said last must not be missed
        show(app, args, &reader.more().map_err(failed)?);
        if !over {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(OK)
}

fn goes_on(app: &App, container: &Container) -> bool {
    Containers::of(&app.paths().run).get(&container.spec.name).is_some_and(|now| now.lives())
}

fn show(app: &App, args: &Logs, lines: &[Line]) {
    for said in lines {
        if app.global.json {
            print(&format!("{}\n", serde_json::to_string(said).unwrap_or_default()));
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
