//! `qiao cni install`, `uninstall` and `check`: this program as a node's CNI plugins.

mod check;
mod conf;
mod install;
mod manifest;
mod place;
mod uninstall;

use super::{Done, OK};
use crate::app::App;
use crate::args::{Cni, CniPlace};
use crate::output::{line, note};
use install::Change;
use manifest::{BACKUP, NAME};
use place::Place;
use qiao_core::request::CreateNetwork;
use qiao_core::{NetworkName, Subnet};
use qiao_engine::EngineError;
use serde_json::json;
use std::process::ExitCode;
use uninstall::Fate;

/// Carries out a command on plugins.
pub fn run(app: &App, command: &Cni) -> Done {
    match command {
        Cni::Install(args) => install(app, &place_of(args), args.dry_run),
        Cni::Uninstall(args) => uninstall(app, &place_of(args), args.dry_run),
        Cni::Check(args) => {
            check(app, &Place { bin_dir: args.bin_dir.clone(), conf_dir: args.conf_dir.clone() })
        }
    }
}

fn place_of(args: &CniPlace) -> Place {
    Place { bin_dir: args.bin_dir.clone(), conf_dir: args.conf_dir.clone() }
}

fn install(app: &App, place: &Place, dry_run: bool) -> Done {
    let plan = install::Plan::make(place, || free_subnet(app))?;
    if app.global.json {
        let plugins: Vec<_> = plan
            .plugins
            .iter()
            .map(|(name, change)| json!({"name": name, "path": place.bin(name), "change": change.word()}))
            .collect();
        let configuration = plan.configuration.as_ref().map(|_| place.conf(conf::NAME));
        let manifest = place.bin(NAME);
        line(
            json!({"schema": "qiao.cni-install/1", "dry_run": dry_run, "plugins": plugins, "configuration": configuration, "manifest": manifest}),
        );
    } else {
        show_install(&plan, place);
    }
    if dry_run || plan.is_empty() {
        return Ok(OK);
    }
    plan.carry_out(place).map(|()| OK)
}

fn show_install(plan: &install::Plan, place: &Place) {
    if plan.is_empty() {
        line(format!("all plugins are in {} already", place.bin_dir));
        return;
    }
    plan.dirs.iter().for_each(|dir| line(format!("+ {dir}/")));
    for (name, change) in &plan.plugins {
        let path = place.bin(name);
        match change {
            Change::None => line(format!("  {path}")),
            Change::Add => line(format!("+ {path}")),
            Change::Update => line(format!("~ {path}      (of another qiao)")),
            Change::Replace => line(format!("~ {path}      (of others; kept as {name}{BACKUP})")),
        }
    }
    match &plan.configuration {
        Some(text) => {
            line(format!("+ {}      (the only one there)", place.conf(conf::NAME)));
            text.lines().for_each(|text| line(format!("+   {text}")));
        }
        None => line(format!("  {}      (has configurations; none is added)", place.conf_dir)),
    }
}

/// A subnet that nothing of the host is in the way of, as a new network would get one.
fn free_subnet(app: &App) -> Result<Subnet, EngineError> {
    let mut request = CreateNetwork::new(NetworkName::new("cni-install")?);
    request.ipv6 = Some(false);
    let planned = app.engine()?.plan_create_network(&request)?;
    let pool = planned.network.pools().first().map(|pool| pool.subnet);
    Ok(pool.unwrap_or_else(qiao_core::settings::default_subnet))
}

fn uninstall(app: &App, place: &Place, dry_run: bool) -> Done {
    let Some(plan) = uninstall::Plan::make(place)? else {
        if !dry_run {
            // One that was killed before its manifest was there.
            place.sweep().map_err(|error| install::failed(&place.bin_dir, error))?;
        }
        match app.global.json {
            true => line(json!({"schema": "qiao.cni-uninstall/1", "dry_run": dry_run, "files": []})),
            false => line(format!("nothing was installed in {}", place.bin_dir)),
        }
        return Ok(OK);
    };
    if app.global.json {
        let files: Vec<_> =
            plan.files.iter().map(|(path, fate)| json!({"path": path, "change": fate.word()})).collect();
        line(json!({"schema": "qiao.cni-uninstall/1", "dry_run": dry_run, "files": files}));
    } else {
        plan.files.iter().for_each(|(path, fate)| match fate {
            Fate::Remove => line(format!("- {path}")),
            Fate::Restore => line(format!("~ {path}      (as it was before)")),
            Fate::Done | Fate::Changed => {}
        });
    }
    if !dry_run {
        plan.carry_out(place)?;
    }
    let left = plan.left();
    if left.is_empty() {
        return Ok(OK);
    }
    let whose = format!("what was there before is beside it, with {BACKUP} behind its name");
    note(format!("changed since, and left as it is; {whose}\n  left  {}", left.join("\n        ")));
    Ok(ExitCode::from(3))
}

fn check(app: &App, place: &Place) -> Done {
    let found = check::look(place)?;
    let is_well = found.iter().all(check::Found::is_well);
    let configurations = place.configurations();
    let configurations: Vec<String> = configurations.unwrap_or_default().into_iter().collect();
    if app.global.json {
        let plugins: Vec<_> = found
            .iter()
            .map(|p| json!({"name": p.name, "path": place.bin(p.name), "state": p.state, "versions": p.versions.as_ref().ok(), "trouble": p.versions.as_ref().err()}))
            .collect();
        line(
            json!({"schema": "qiao.cni-check/1", "ok": is_well, "plugins": plugins, "configurations": configurations}),
        );
    } else {
        for plugin in &found {
            let versions = match &plugin.versions {
                Ok(versions) => format!("answers: {}", versions.join(", ")),
                Err(why) => why.clone(),
            };
            line(format!("{:<12}  {:<22}  {versions}", plugin.name, plugin.state));
        }
        let names = if configurations.is_empty() { "none".to_owned() } else { configurations.join(", ") };
        line(format!("configurations in {}: {names}", place.conf_dir));
    }
    Ok(ExitCode::from(if is_well { 0 } else { 11 }))
}
