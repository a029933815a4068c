//! `qiao ps`.

use super::{Done, OK};
use crate::app::App;
use crate::args::Ps;
use crate::output::table::{Table, cut};
use crate::output::{format, json, line, print, time};
use qiao_core::{Endpoint, SandboxName};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Lists containers and attached namespaces.
pub fn run(app: &App, args: &Ps) -> Done {
    let store = app.store()?;
    let mut sandboxes: BTreeMap<SandboxName, Vec<Endpoint>> = BTreeMap::new();
    for endpoint in store.endpoints()? {
        sandboxes.entry(endpoint.sandbox().clone()).or_default().push(endpoint);
    }
    let rows: Vec<Value> = sandboxes.iter().map(|(name, endpoints)| row(name, endpoints)).collect();
    if app.global.json {
        line(json!({"schema": "qiao.containers/1", "containers": rows}));
    } else if args.quiet {
        rows.iter().for_each(|row| line(row["Names"].as_str().unwrap_or_default()));
    } else if let Some(format) = &args.format {
        print(&format::rows(format, &rows)?);
    } else {
        print(&table(&rows, args.no_trunc));
    }
    Ok(OK)
}

fn row(name: &SandboxName, endpoints: &[Endpoint]) -> Value {
    let join = |words: Vec<String>, with: &str| words.join(with);
    let networks = endpoints.iter().map(|e| e.network().to_string()).collect();
    let addresses = endpoints.iter().map(json::addresses).filter(|text| !text.is_empty()).collect();
    let ports = endpoints.iter().flat_map(Endpoint::publish).map(ToString::to_string).collect();
    let since = endpoints.iter().map(|e| e.attached).min().unwrap_or(0);
    json!({
        "ID": format!("{:012x}", qiao_core::owner::fnv(name.as_str(), 0) & 0xffff_ffff_ffff),
        "Names": name,
        "Command": "",
        "Networks": join(networks, ","),
        "Addresses": join(addresses, ","),
        "Ports": join(ports, ", "),
        "Status": format!("Attached {}", time::ago(since)),
        "Netns": endpoints.iter().find_map(|e| e.netns.as_ref()).map(|n| n.path.clone()),
    })
}

fn table(rows: &[Value], whole: bool) -> String {
    let mut table = Table::new(&["CONTAINER ID", "NAME", "COMMAND", "NETWORK", "ADDRESS", "PORTS", "STATUS"]);
    for row in rows {
        let cell = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let command = if whole { cell("Command") } else { cut(&cell("Command"), 24) };
        table.row([
            cell("ID"),
            cell("Names"),
            command,
            cell("Networks"),
            cell("Addresses"),
            cell("Ports"),
            cell("Status"),
        ]);
    }
    table.text()
}
