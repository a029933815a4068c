//! Records and forwards of one's own: links below the state directory, which the name server reads.

use super::super::{Done, OK};
use crate::app::App;
use crate::args::{Add, DnsRm};
use crate::output;
use qiao_core::Refusal;
use qiao_core::name::quoted;
use qiao_dns::records::{TTL, TYPES, data};
use qiao_dns::wire::name;
use qiao_engine::EngineError;
use std::collections::BTreeSet;
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
            if network != "*" && !super::is_network(app, network)? {
                output::note(format!("note: there is no network `{network}` yet"));
            }
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
    let Some((_, words)) = TYPES.iter().find(|(known, _)| *known == rtype) else {
        let all = TYPES.map(|(known, _)| known).join(", ");
        return Err(Refusal::invalid(format!("records of type {} cannot be added", quoted(rtype)))
            .why(format!("{all} can")));
    };
    let what = format!("{} is not the value of a record of type {rtype}", quoted(value));
    Err(Refusal::invalid(what).fix(format!("qiao dns add NAME {rtype} {words}")))
}

/// Adds a value to those that a link has; a forward has one.
fn write(dir: &str, link: &str, value: &str) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let path = format!("{dir}/{link}");
    let known = read(&path)?.filter(|_| link.starts_with("record:"));
    let value = match known {
        Some(known) if known.split('\n').any(|line| line == value) => return Ok(()),
        Some(known) => format!("{known}\n{value}"),
        None => value.to_owned(),
    };
    put(dir, link, &value)
}

fn put(dir: &str, link: &str, value: &str) -> io::Result<()> {
    let temporary = format!("{dir}/.{link}");
    let _ = fs::remove_file(&temporary);
    symlink(value, &temporary)?;
    fs::rename(temporary, format!("{dir}/{link}"))?;
    fs::File::open(dir)?.sync_all()
}

/// Takes a value out of those that a link has, or all of them.
fn cut(dir: &str, link: &str, value: Option<&str>) -> io::Result<()> {
    let path = format!("{dir}/{link}");
    let all = read(&path)?.unwrap_or_default();
    let left: Vec<&str> = all.split('\n').filter(|line| value.is_some_and(|value| value != *line)).collect();
    if left.is_empty() { fs::remove_file(path) } else { put(dir, link, &left.join("\n")) }
}

/// What a link says; none where there is no link.
fn read(path: &str) -> io::Result<Option<String>> {
    match fs::read_link(path) {
        Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Takes what was added for a name away.
pub fn rm(app: &App, args: &DnsRm) -> Done {
    let dir = dir(&app.paths().state);
    let rtype = args.rtype.as_ref().map(|rtype| rtype.to_ascii_uppercase());
    let own = args.name.trim_end_matches('.').to_ascii_lowercase();
    let value = Some(args.value.join(" ")).filter(|value| !value.is_empty());
    let is_it = |row: &[String; 5]| {
        let fits = value.as_ref().is_none_or(|value| *value == row[2]);
        row[0] == own && rtype.as_ref().is_none_or(|rtype| *rtype == row[1]) && fits
    };
    let found: BTreeSet<String> =
        links(&dir).into_iter().filter(|(_, row)| is_it(row)).map(|(link, _)| link).collect();
    for link in &found {
        let fail = |error| EngineError::failed(format!("remove {dir}/{link}"), error);
        cut(&dir, link, value.as_deref()).map_err(fail)?;
    }
    if !found.is_empty() {
        return Ok(OK);
    }
    let what = [Some(own), rtype, value].into_iter().flatten().collect::<Vec<_>>().join(" ");
    Err(Refusal::not_found(format!("nothing like {} was added", quoted(&what))).fix("qiao dns ls").into())
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
        let Ok(Some(value)) = read(&format!("{dir}/{link}")) else { continue };
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
