//! `qiao ps`.

use super::{Done, OK};
use crate::app::App;
use crate::args::Ps;
use crate::output::table::{Table, cut};
use crate::output::{format, json, line, ports, print, time};
use qiao_container::{Container, Containers, Status};
use qiao_core::{Endpoint, Refusal, SandboxName};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// So many characters of a list of ports are shown, unless all is asked for.
const PORTS: usize = 120;

/// Lists containers and attached namespaces.
pub fn run(app: &App, args: &Ps) -> Done {
    let store = app.store()?;
    let mut all: BTreeMap<SandboxName, Row> = BTreeMap::new();
    for endpoint in store.endpoints()? {
        all.entry(endpoint.sandbox().clone()).or_default().endpoints.push(endpoint);
    }
    for container in Containers::of(&app.paths().run).all() {
        let row = all.entry(container.spec.name.clone()).or_default();
        row.container = Some(container);
    }
    check_filters(&args.filter)?;
    // Who asks for a status gets what has ended, too, as of Docker.
    let ended = args.all || args.filter.iter().any(|(key, _)| key == "status");
    let mut rows: Vec<Value> = Vec::new();
    for (name, row) in all.iter().filter(|(_, row)| ended || row.is_up()) {
        if args.filter.iter().all(|(key, value)| row.matches(name, (key, value))) {
            rows.push(row.json(name));
        }
    }
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

/// Also where there is nothing to show, a filter that makes no sense is told.
fn check_filters(filters: &[(String, String)]) -> Result<(), Refusal> {
    let known = ["name", "id", "network", "status"];
    match filters.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        Some((key, _)) => {
            let what = format!("{} is not a filter of containers", qiao_core::name::quoted(key));
            Err(Refusal::invalid(what).why("name, id, network and status are"))
        }
        None => Ok(()),
    }
}

/// What is known of a name: a container of ours, a namespace that somebody attached, or both.
#[derive(Default)]
struct Row {
    container: Option<Container>,
    endpoints: Vec<Endpoint>,
}

impl Row {
    fn is_up(&self) -> bool {
        self.container.as_ref().is_none_or(Container::lives)
    }

    fn id(&self, name: &SandboxName) -> String {
        self.whole_id(name).chars().take(12).collect()
    }

    fn whole_id(&self, name: &SandboxName) -> String {
        match &self.container {
            Some(container) => container.spec.id.clone(),
            None => format!("{:012x}", qiao_core::owner::fnv(name.as_str(), 0) & 0xffff_ffff_ffff),
        }
    }

    fn status(&self) -> String {
        let Some(container) = &self.container else {
            let since = self.endpoints.iter().map(|e| e.attached).min().unwrap_or(0);
            return format!("Attached {}", time::ago(since));
        };
        match container.state.status {
            Status::Exited { code, at } => format!("Exited ({code}) {} ago", time::ago(at)),
            Status::Created => "Created".into(),
            Status::Running if container.lives() => format!("Up {}", time::ago(container.state.started)),
            Status::Running => "Dead".into(),
        }
    }

    fn matches(&self, name: &SandboxName, (key, value): (&str, &str)) -> bool {
        match key {
            "name" => name.as_str().contains(value),
            "id" => self.whole_id(name).starts_with(value),
            "network" => self.endpoints.iter().any(|endpoint| endpoint.network().as_str() == value),
            _ => self.word() == value,
        }
    }

    /// The status in one word. A namespace that somebody attached runs for all we know.
    fn word(&self) -> &'static str {
        let Some(container) = &self.container else { return "running" };
        match container.state.status {
            Status::Exited { .. } => "exited",
            Status::Created => "created",
            Status::Running if container.lives() => "running",
            Status::Running => "dead",
        }
    }

    fn json(&self, name: &SandboxName) -> Value {
        let endpoints = &self.endpoints;
        let networks: Vec<String> = endpoints.iter().map(|e| e.network().to_string()).collect();
        let addresses: Vec<String> =
            endpoints.iter().map(json::addresses).filter(|text| !text.is_empty()).collect();
        let ports: Vec<_> = endpoints.iter().flat_map(Endpoint::publish).copied().collect();
        let command = self.container.as_ref().map(|c| c.spec.command.join(" ")).unwrap_or_default();
        json!({
            "ID": self.id(name),
            "Names": name,
            "Command": command,
            "Networks": networks.join(","),
            "Addresses": addresses.join(","),
            "Ports": ports::text(&ports),
            "Status": self.status(),
            "Netns": endpoints.iter().find_map(|e| e.netns.as_ref()).map(|n| n.path.clone()),
        })
    }
}

fn table(rows: &[Value], whole: bool) -> String {
    let mut table = Table::new(&["CONTAINER ID", "NAME", "COMMAND", "NETWORK", "ADDRESS", "PORTS", "STATUS"]);
    for row in rows {
        let cell = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let (command, listed) = (cell("Command"), cell("Ports"));
        let command = if whole { command } else { cut(&command, 24) };
        let listed = if whole { listed } else { ports::cut(&listed, PORTS) };
        table.row([
            cell("ID"),
            cell("Names"),
            command,
            cell("Networks"),
            cell("Addresses"),
            listed,
            cell("Status"),
        ]);
    }
    table.text()
}
