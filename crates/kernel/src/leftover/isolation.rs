//! `firewall`'s isolation by `iptables`: rules of bridges, which the reference never removes. They go when nobody is on
//! their bridge any more.

use super::iptables::{FILTER, comment, leads_to};
use super::{Leaving, There, chain, del, del_chains, rules};
use crate::error::KernelError;
use crate::linux::Linux;
use crate::nft::Write;
use crate::opening::transact;
use crate::rtnl::links;
use qiao_nft::{Change, Expr, Family, Rule};
use std::collections::BTreeSet;

const STAGES: [&str; 2] = ["CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2"];
const COMMENT: &str = "CNI firewall plugin rules (ingressPolicy: ";

/// Removes the rules of bridges that have no ports but those of the container that leaves.
pub fn remove(linux: &mut Linux, leaving: Leaving<'_>) -> Result<(), KernelError> {
    let families = [Family::Ip, Family::Ip6];
    let queries = families.map(|family| STAGES.map(|name| chain(family, FILTER, name))).concat();
    let there = There::look(&mut linux.nft, queries)?;
    if there.0.is_empty() {
        return Ok(());
    }
    let busy = busy(linux, leaving)?;
    families.into_iter().try_for_each(|family| {
        let stages: Vec<&str> = there.of((family, FILTER), &STAGES).collect();
        transact(linux, &|session| {
            let rules = rules(session, (family, FILTER))?;
            let changes = changes(&rules, (family, &stages), &|bridge| !busy.contains(bridge));
            Ok(changes.into_iter().map(Write::from).collect())
        })
    })
}

/// The bridges that have ports of others.
fn busy(linux: &mut Linux, leaving: Leaving<'_>) -> Result<BTreeSet<String>, KernelError> {
    let links = links::all(&mut linux.rtnl)?;
    let own = |name: &str| matches!(leaving, Leaving::One(one) if one.links.contains(&name));
    let masters: BTreeSet<u32> =
        links.iter().filter(|link| !own(&link.name)).filter_map(|link| link.master).collect();
    Ok(links.into_iter().filter(|link| masters.contains(&link.index)).map(|link| link.name).collect())
}

/// Takes the rules of idle bridges away; with the last the chains, where nobody else has rules in them.
fn changes(
    rules: &[Rule],
    (family, stages): (Family, &[&str]),
    is_idle: &dyn Fn(&str) -> bool,
) -> Vec<Change> {
    let is_staged = |rule: &Rule| STAGES.contains(&rule.chain.as_str());
    let is_made = |rule: &Rule| comment(rule).is_some_and(|text| text.starts_with(COMMENT));
    let is_gone = |rule: &Rule| is_made(rule) && bridge_of(rule).is_some_and(|name| is_idle(&name));
    let gone = rules.iter().filter(|rule| is_staged(rule) && is_gone(rule));
    let mut changes: Vec<Change> = gone.filter_map(del).collect();
    let is_left =
        |rule: &Rule| is_staged(rule) && !is_gone(rule) && !(is_made(rule) && bridge_of(rule).is_none());
    if !changes.is_empty() && !rules.iter().any(is_left) {
        let leads = |rule: &&Rule| leads_to(rule) == Some(STAGES[0]) && !is_staged(rule);
        changes.extend(rules.iter().filter(leads).filter_map(del));
        changes.extend(del_chains(family, FILTER, stages.iter().copied()));
    }
    changes
}

/// The bridge that a rule is about; none of the one that returns at the end.
fn bridge_of(rule: &Rule) -> Option<String> {
    let name = rule.exprs.iter().find_map(|expr| match expr {
        Expr::Cmp { value, .. } => Some(value),
        _ => None,
    })?;
    Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned())
}
