//! `qiao check`, `qiao repair` and `qiao gc`.

use super::{Done, OK};
use crate::app::App;
use crate::args::{Check, Repair};
use crate::output::{self, line, plan, print};
use qiao_core::plan::Key;
use qiao_core::render;
use qiao_engine::{Health, Repaired};
use serde_json::json;
use std::process::ExitCode;

/// Looks whether everything is as it must be: exit code 0, or 11 with what is not.
pub fn check(app: &App, args: &Check) -> Done {
    let mut engine = app.engine()?;
    let health = engine.check()?;
    super::attach::tell_notes(&engine);
    if app.global.json {
        let findings: Vec<&str> = health.findings.iter().map(|finding| finding.line.as_str()).collect();
        let operations = plan::json(&health.plan, &health.places);
        line(
            json!({"schema": "qiao.check/1", "ok": findings.is_empty(), "findings": findings, "operations": operations}),
        );
    } else {
        tell(&health, args.verbose);
    }
    Ok(ExitCode::from(if health.findings.is_empty() { 0 } else { 11 }))
}

fn tell(health: &Health, verbose: bool) {
    if health.findings.is_empty() {
        line("everything is as it must be");
        return;
    }
    // A rule set that is damaged or gone is made anew with all its elements: they need no lines of their own.
    let anew = health.plan.keys().any(|key| *key == Key::Ruleset);
    let elements: Vec<String> =
        health.plan.ops().iter().filter(|op| op.key().set().is_some()).map(render::line).collect();
    let hidden = |text: &str| anew && !verbose && elements.iter().any(|element| element == text);
    let (hidden, shown): (Vec<_>, Vec<_>) = health.findings.iter().partition(|finding| hidden(&finding.line));
    shown.iter().for_each(|finding| line(&finding.line));
    if !hidden.is_empty() {
        line(format!("  … and the {} elements of the rule set (-v lists them)", hidden.len()));
    }
    line(format!(
        "\n{} things are not as they must be; `qiao repair` does what is above",
        health.findings.len()
    ));
}

/// Makes everything as it must be.
pub fn repair(app: &App, args: &Repair) -> Done {
    let mut engine = app.engine()?;
    if args.changing.dry_run {
        let health = engine.check()?;
        plan::print_dry(&[health.plan], &health.places, (&args.changing, app.global.json));
        return Ok(OK);
    }
    let repaired = engine.repair()?;
    super::attach::tell_notes(&engine);
    if args.changing.explain && !app.global.json {
        print(&plan::steps(&repaired.plans.iter().collect::<Vec<_>>(), &repaired.places));
    }
    Ok(tell_repaired(app, &repaired))
}

/// Collects what belongs to containers that are gone.
pub fn gc(app: &App) -> Done {
    let mut engine = app.engine()?;
    super::life::tidy(&qiao_container::Containers::of(&app.paths().run), &mut engine);
    let collected = engine.gc()?;
    super::attach::tell_notes(&engine);
    Ok(tell_repaired(app, &collected))
}

/// What was mended and collected, and what was not: then the exit code is 3.
fn tell_repaired(app: &App, repaired: &Repaired) -> ExitCode {
    let lines: Vec<String> = repaired.plans.iter().flat_map(|plan| plan.ops()).map(render::line).collect();
    let gone: Vec<String> = repaired.collected.iter().map(|endpoint| endpoint.id.to_string()).collect();
    let Repaired { claims, left, .. } = repaired;
    let code = ExitCode::from(if left.is_empty() { 0 } else { 3 });
    if app.global.json {
        line(
            json!({"schema": "qiao.repair/1", "operations": lines, "collected": gone, "claims": claims, "left": left}),
        );
        return code;
    }
    lines.iter().for_each(line);
    gone.iter().for_each(|id| line(format!("- endpoint  {id}: its namespace is gone")));
    claims.iter().for_each(|claim| line(format!("- claim     {claim}")));
    if !left.is_empty() {
        output::note(format!("error: not everything could be mended\n  left  {}", left.join("\n        ")));
    }
    code
}
