//! Asking the name server: what a container would get, and what is asked now.

use super::super::{Done, OK};
use crate::app::App;
use crate::args::Query;
use crate::output::line;
use qiao_core::name::quoted;
use qiao_core::{Endpoint, Refusal, SandboxName};
use qiao_dns::wire::name;
use qiao_engine::EngineError;
use serde_json::json;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

/// Opens a line to the server.
fn open(app: &App) -> Result<UnixStream, EngineError> {
    let path = format!("{}/names/control", app.paths().run);
    UnixStream::connect(path).map_err(|_| {
        Refusal::not_found("no name server runs")
            .why("the first container on a network with names starts it, and it ends with the last")
            .fix("qiao run -d --network NETWORK …          (starts it)")
            .fix("qiao repair                              (where it was ended)")
            .into()
    })
}

/// Shows every question until the server ends, or the reader.
pub fn log(app: &App) -> Done {
    let mut stream = open(app)?;
    let fail = |error| EngineError::failed("ask the name server", error);
    stream.write_all(b"log\n").map_err(fail)?;
    for told in BufReader::new(stream).lines() {
        line(told.map_err(fail)?);
    }
    Ok(OK)
}

/// Asks for a name.
pub fn query(app: &App, args: &Query) -> Done {
    let from = source(app, args.from.as_ref())?;
    let (name, types) = wanted(args);
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if !plain(&name) || !types.iter().all(|rtype| plain(rtype)) {
        return Err(Refusal::invalid(format!("{} is not a name", quoted(&args.name))).into());
    }
    let mut found = false;
    for rtype in &types {
        let answer = ask(app, &format!("ask {from} {name} {rtype}\n"))?;
        found |= !answer.records.is_empty();
        if app.global.json {
            line(json!({"schema": "qiao.answer/1", "name": name, "type": rtype, "from": from,
                "code": answer.code, "records": answer.records, "why": answer.why}));
        } else {
            answer.records.iter().for_each(line);
            line(format!("# {name} {rtype}: {}, {}", answer.code, answer.why));
        }
    }
    Ok(if found { OK } else { ExitCode::from(4) })
}

/// The name and the types that are asked for. Whoever says an address wants to know whose it is.
fn wanted(args: &Query) -> (String, Vec<String>) {
    let given = args.rtype.as_ref().map(|rtype| vec![rtype.to_ascii_uppercase()]);
    let reversed = args.name.parse().ok().map(|ip| name::text(&name::reversed(ip)));
    match (reversed, given) {
        (Some(name), given) if given.iter().flatten().all(|rtype| rtype == "PTR") => {
            (name, vec!["PTR".into()])
        }
        (_, given) => (args.name.clone(), given.unwrap_or_else(|| vec!["A".into(), "AAAA".into()])),
    }
}

/// What was answered.
#[derive(Debug, Default)]
struct Answer {
    code: String,
    records: Vec<String>,
    why: String,
}

fn ask(app: &App, question: &str) -> Result<Answer, EngineError> {
    let fail = |error| EngineError::failed("ask the name server", error);
    let mut stream = open(app)?;
    stream.set_read_timeout(Some(Duration::from_secs(8))).map_err(fail)?;
    stream.write_all(question.as_bytes()).map_err(fail)?;
    let mut answer = Answer::default();
    for told in BufReader::new(stream).lines() {
        let told = told.map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => Refusal::conflict("the name server does not answer")
                .fix("qiao check          (which process it is)")
                .into(),
            _ => fail(error),
        })?;
        match told.split_once(' ') {
            None if told == "." => break,
            Some(("!", why)) => return Err(Refusal::invalid(format!("cannot ask: {why}")).into()),
            Some(("=", code)) => answer.code = code.to_owned(),
            Some((source, rest)) if source.parse::<IpAddr>().is_ok() && rest.starts_with("query ") => {
                answer.why = rest.splitn(4, ' ').last().unwrap_or_default().to_owned();
            }
            _ => answer.records.push(told),
        }
    }
    Ok(answer)
}

/// The address that a container asks from.
fn source(app: &App, from: Option<&SandboxName>) -> Result<IpAddr, EngineError> {
    let store = app.store()?;
    let named = |endpoint: &&Endpoint| endpoint.wire.as_ref().is_some_and(|wire| wire.extras.names.is_some());
    let endpoints = match from {
        Some(sandbox) => store.sandbox(sandbox)?,
        None => store.endpoints()?,
    };
    let ip =
        endpoints.iter().find(named).and_then(|endpoint| endpoint.addresses().first().map(|net| net.addr()));
    ip.ok_or_else(|| match from {
        Some(sandbox) => Refusal::not_found(format!("`{sandbox}` is on no network with names")).into(),
        None => Refusal::not_found("no container is on a network with names").into(),
    })
}
