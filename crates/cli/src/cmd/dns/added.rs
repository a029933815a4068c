//! Records and forwards of one's own: links below the state directory, which the name server reads.

use super::super::{Done, OK};
use crate::app::App;
use crate::args::{Add, DnsRm};
use qiao_core::Refusal;
use qiao_core::name::quoted;
use qiao_dns::records::{TTL, data};
use qiao_dns::wire::name;
use qiao_engine::EngineError;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};

/// Adds one.
pub fn add(app: &App, args: &Add) -> Done {
    let own = name::key(&args.name).map(|key| name::text(&key));
    let own = own.ok_or_else(|| Refusal::invalid(format!("{} is not a host name", quoted(&args.name))))?;
    let (link, value) = match &args.rtype {
        None => {
            let to: Vec<String> = args.forward.iter().map(ToString::to_string).collect();
            (format!("forward:{own}"), to.join(","))
        }
        Some(rtype) => {
            let (rtype, value) = (rtype.to_ascii_uppercase(), args.value.join(" "));
            check(&rtype, &value)?;
            let network = args.network.as_ref().map_or("*", |network| network.as_str());
            (format!("record:{network}:{rtype}:{own}"), value)
        }
    };
    if link.len() > 255 {
        return Err(Refusal::invalid("the name and the network's are too long together").into());
    }
    let dir = dir(&app.paths().state);
    write(&dir, &link, &value).map_err(|error| EngineError::failed(format!("write {dir}/{link}"), error))?;
    Ok(OK)
}

fn check(rtype: &str, value: &str) -> Result<(), Refusal> {
    if data(rtype, value).is_some() && !value.chars().any(char::is_control) {
        return Ok(());
    }
    let what = format!("{} is not the value of a record {}", quoted(value), quoted(rtype));
    Err(Refusal::invalid(what)
        .why("A IPV4 · AAAA IPV6 · PTR NAME · TXT TEXT · MX PREFERENCE NAME · SRV PRIORITY WEIGHT PORT NAME"))
}

/// Adds a value to those that a link has; a forward has one.
fn write(dir: &str, link: &str, value: &str) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let path = format!("{dir}/{link}");
    let known = read(&path).filter(|_| link.starts_with("record:"));
    let value = match known {
        Some(known) if known.split('\n').any(|line| line == value) => return Ok(()),
        Some(known) => format!("{known}\n{value}"),
        None => value.to_owned(),
    };
    let temporary = format!("{dir}/.{link}");
    let _ = fs::remove_file(&temporary);
    symlink(value, &temporary)?;
    fs::rename(temporary, path)?;
    fs::File::open(dir)?.sync_all()
}

fn read(path: &str) -> Option<String> {
    fs::read_link(path).ok().map(|target| target.to_string_lossy().into_owned())
}

/// Takes what was added for a name away.
pub fn rm(app: &App, args: &DnsRm) -> Done {
    let dir = dir(&app.paths().state);
    let rtype = args.rtype.as_ref().map(|rtype| rtype.to_ascii_uppercase());
    let own = args.name.trim_end_matches('.').to_ascii_lowercase();
    let mut found = false;
    for (link, row) in links(&dir) {
        if row[0] == own && rtype.as_ref().is_none_or(|rtype| *rtype == row[1]) {
            let path = format!("{dir}/{link}");
            fs::remove_file(&path).map_err(|error| EngineError::failed(format!("remove {path}"), error))?;
            found = true;
        }
    }
    if found {
        Ok(OK)
    } else {
        Err(Refusal::not_found(format!("nothing was added for {}", quoted(&own))).into())
    }
}

fn dir(state: &str) -> String {
    format!("{state}/names")
}

/// What was added, as the table shows it.
pub fn rows(state: &str) -> Vec<[String; 5]> {
    links(&dir(state)).into_iter().map(|(_, row)| row).collect()
}

fn links(dir: &str) -> Vec<(String, [String; 5])> {
    let mut links = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let link = entry.file_name().to_string_lossy().into_owned();
        let Some(value) = read(&format!("{dir}/{link}")) else { continue };
        let row = |name: &str, rtype: &str, value: &str, network: &str| {
            (link.clone(), [name, rtype, value, network, &TTL.to_string()].map(str::to_owned))
        };
        match *link.splitn(4, ':').collect::<Vec<_>>() {
            ["forward", domain] => links.push(row(domain, "FORWARD", &value, "*")),
            ["record", network, rtype, name] => {
                links.extend(value.split('\n').map(|value| row(name, rtype, value, network)));
            }
            _ => {}
        }
    }
    links
}
