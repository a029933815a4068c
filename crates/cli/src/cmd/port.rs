//! `qiao port`.

use super::{Done, OK};
use crate::app::App;
use crate::args::Port;
use crate::output::table::Table;
use crate::output::{json, line, print};
use qiao_core::{Endpoint, Publish, Refusal};
use serde_json::json;

/// Lists published ports.
pub fn run(app: &App, args: &Port) -> Done {
    let store = app.store()?;
    let endpoints = match &args.name {
        Some(name) => store.sandbox(name)?,
        None => store.endpoints()?,
    };
    if let Some(name) = args.name.as_ref().filter(|_| endpoints.is_empty()) {
        return Err(Refusal::not_found(format!("there is no container `{name}`")).fix("qiao ps").into());
    }
    let ports: Vec<(&Endpoint, Publish)> =
        endpoints.iter().flat_map(|e| e.publish().iter().map(move |p| (e, *p))).collect();
    if app.global.json {
        let wanted = args.port.as_deref().map(with_protocol);
        let is_wanted = |publish: &Publish| {
            wanted.as_ref().is_none_or(|wanted| each(*publish).iter().any(|(port, _)| port == wanted))
        };
        let ports: Vec<_> = ports
            .iter()
            .filter(|(_, publish)| is_wanted(publish))
            .map(|(endpoint, publish)| row(endpoint, publish))
            .collect();
        line(json!({"schema": "qiao.ports/1", "ports": ports}));
    } else if args.name.is_some() {
        return of_one(&ports, args.port.as_deref());
    } else {
        print(&table(&ports));
    }
    Ok(OK)
}

fn row(endpoint: &Endpoint, publish: &Publish) -> serde_json::Value {
    let mut row = json::publish(publish);
    row["container"] = json!(endpoint.sandbox());
    row["network"] = json!(endpoint.network());
    row
}

fn table(ports: &[(&Endpoint, Publish)]) -> String {
    let mut table = Table::new(&["HOST", "CONTAINER", "PORT", "PROTO", "NETWORK"]);
    for (endpoint, Publish { listen, backend }) in ports {
        let last = backend.port + (listen.ports.count() - 1);
        let port = if last == backend.port { last.to_string() } else { format!("{}-{last}", backend.port) };
        let host = format!("{}:{}", listen.host, listen.ports);
        table.row([
            host,
            endpoint.sandbox().to_string(),
            port,
            listen.protocol.to_string(),
            endpoint.network().to_string(),
        ]);
    }
    table.text()
}

/// As `docker port`: `80/tcp -> 0.0.0.0:8080`, or the addresses of one port.
fn of_one(ports: &[(&Endpoint, Publish)], only: Option<&str>) -> Done {
    let pieces = ports.iter().flat_map(|(_, publish)| each(*publish));
    let wanted = only.map(with_protocol);
    let mut found = false;
    for (port, host) in pieces {
        match &wanted {
            Some(wanted) if *wanted == port => line(&host),
            Some(_) => continue,
            None => line(format!("{port} -> {host}")),
        }
        found = true;
    }
    match wanted.filter(|_| !found) {
        Some(port) => Err(Refusal::not_found(format!("no public port `{port}` is published")).into()),
        None => Ok(OK),
    }
}

fn with_protocol(port: &str) -> String {
    if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") }
}

fn each(publish: Publish) -> Vec<(String, String)> {
    let Publish { listen, backend } = publish;
    let pair = |(host, port): (u16, u16)| {
        (format!("{port}/{}", listen.protocol), format!("{}:{host}", json::host(listen.host.ip())))
    };
    listen.ports.ports().zip(backend.port..=u16::MAX).map(pair).collect()
}
