//! `qiao dns …`: what is known, what is asked, and what was added by hand.

mod added;
mod ask;

use super::{Done, OK};
use crate::app::App;
use crate::args::{Dns, DnsLs};
use crate::output::table::Table;
use crate::output::{self, line, print};
use qiao_core::names::Named;
use qiao_core::{NetworkName, Refusal};
use qiao_dns::source::links::Links;
use qiao_dns::{Files, Options, Server, confine, leave_cgroup};
use qiao_engine::EngineError;
use serde_json::json;
use std::io;
use std::process::ExitCode;

/// The port of name servers.
const PORT: u16 = 53;
/// The host's resolvers.
const RESOLV: &str = "/etc/resolv.conf";

/// Carries out a command on names.
pub fn run(app: &App, command: &Dns) -> Done {
    match command {
        Dns::Ls(args) => ls(app, args),
        Dns::Query(args) => ask::query(app, args),
        Dns::Log => ask::log(app),
        Dns::Add(args) => added::add(app, args),
        Dns::Rm(args) => added::rm(app, args),
        Dns::Serve => serve_here(app),
    }
}

/// The same as what the first attachment starts, in the foreground: there must be something to serve, and nobody else
/// who does.
fn serve_here(app: &App) -> Done {
    let (paths, store) = (app.paths(), app.store()?);
    if store.names().keys()?.is_empty() {
        return Err(Refusal::not_found("no container is on a network with names")
            .fix("qiao run -d --network NETWORK …          (starts the server by itself)")
            .into());
    }
    let fail = |error| EngineError::failed("serve names", error);
    if serve((&paths.run, &paths.state), || ()).map_err(fail)? {
        return Ok(OK);
    }
    let number = store.names().process()?.map_or_else(String::new, |number| format!(", process {number}"));
    Err(Refusal::conflict(format!("a name server runs already{number}")).into())
}

/// The process that the first attachment starts: it belongs to nobody's session, and to no container.
pub fn serve_names((run, state): (&str, &str)) -> ExitCode {
    match serve((run, state), leave_cgroup) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(format!("the name server ended: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Serves, unless another process does; `leave` is done when whoever waits for us has been told, and nobody has been heard yet. (Leaving a cgroup
/// alone takes the kernel 13 ms: a grace period of RCU.)
fn serve((run, state): (&str, &str), leave: impl FnOnce()) -> io::Result<bool> {
    let Some(links) = Links::open(run, state)? else { return Ok(false) };
    let own = links.dir().to_owned();
    let control = Some(format!("{own}/control"));
    let options = Options { port: PORT, resolv: RESOLV.into(), alone: false, filter: None, control };
    let mut server = Server::open(links, options)?;
    leave();
    let remarks = confine("qiao-dns", &Files { own: &own, read: &[state], resolv: RESOLV, port: PORT });
    remarks.iter().for_each(output::note);
    server.remark(remarks);
    server.serve().map(|()| true)
}

/// `NAME  TYPE  VALUE  NETWORK  TTL`.
fn ls(app: &App, args: &DnsLs) -> Done {
    let store = app.store()?;
    let names = store.names();
    let mut rows = Vec::new();
    for key in names.keys()? {
        let named = names.line(&key)?.and_then(|text| text.parse::<Named>().ok());
        rows.extend(named.iter().flat_map(rows_of));
    }
    rows.extend(added::rows(&app.paths().state));
    let is_of = |of: &NetworkName| rows.iter().any(|row| row[3] == of.as_str());
    if let Some(of) = args.network.as_ref().filter(|of| !is_of(of))
        && !is_network(app, of.as_str())?
    {
        return Err(Refusal::not_found(format!("there is no network `{of}`")).into());
    }
    rows.retain(|row| args.network.as_ref().is_none_or(|of| [of.as_str(), "*"].contains(&row[3].as_str())));
    rows.sort();
    if app.global.json {
        let row = |row: &[String; 5]| {
            let ttl: u32 = row[4].parse().unwrap_or_default();
            json!({"name": row[0], "type": row[1], "value": row[2], "network": row[3], "ttl": ttl})
        };
        line(json!({"schema": "qiao.names/1", "names": rows.iter().map(row).collect::<Vec<_>>()}));
        return Ok(OK);
    }
    let mut table = Table::new(&["NAME", "TYPE", "VALUE", "NETWORK", "TTL"]);
    rows.into_iter().for_each(|row| table.row(row));
    print(&table.text());
    Ok(OK)
}

/// Whether there is such a network.
fn is_network(app: &App, name: &str) -> Result<bool, EngineError> {
    Ok(app.store()?.networks()?.iter().any(|network| network.name.as_str() == name))
}

fn rows_of(named: &Named) -> Vec<[String; 5]> {
    let rtype = |ip: &std::net::IpAddr| if ip.is_ipv4() { "A" } else { "AAAA" };
    let row = |name: &String, ip: &std::net::IpAddr| {
        [name.clone(), rtype(ip).into(), ip.to_string(), named.network.clone(), "0".into()]
    };
    named.names.iter().flat_map(|name| named.addresses.iter().map(move |ip| row(name, ip))).collect()
}
