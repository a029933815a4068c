//! The same of the legacy `iptables`. A table that is not loaded is not asked for, since the question would load it; one
//! that cannot be read says nothing.

use super::rules::{NEW, passes, states};
use crate::sys::xtables::{self, ACCEPT, Entry, Layout, Table, Target};
use qiao_core::forwarding::OtherRule;
use qiao_core::subnet::Family;

const FAMILIES: [(Family, &str, Layout); 2] = [
    (Family::V4, "/proc/thread-self/net/ip_tables_names", xtables::V4),
    (Family::V6, "/proc/thread-self/net/ip6_tables_names", xtables::V6),
];
/// The tables, the hooks and the chains that matter.
const CHAINS: [(&str, usize, &str); 2] =
    [("filter", xtables::FORWARD, "FORWARD"), ("nat", xtables::POSTROUTING, "POSTROUTING")];
/// How many chains are followed from one.
const DEEPEST: usize = 16;

/// The rules of others.
pub fn rules() -> Vec<OtherRule> {
    let mut found = Vec::new();
    for (family, names, layout) in FAMILIES {
        let names = std::fs::read_to_string(names).unwrap_or_default();
        for (table, hook, chain) in CHAINS {
            if !names.lines().any(|name| name == table) {
                continue;
            }
            let Ok(read) = Table::read(table, layout) else { continue };
            let place = format!("chain {chain} of the legacy {} table {table}", tool(family));
            let rules = of_chain(&read, hook);
            let families = [family];
            found.extend(rules.into_iter().map(|rule| OtherRule {
                families: families.into(),
                place: place.clone(),
                ..rule
            }));
        }
    }
    found
}

fn tool(family: Family) -> &'static str {
    match family {
        Family::V4 => "`iptables`",
        Family::V6 => "`ip6tables`",
    }
}

/// The rules of a hook's chain, and of those that it leads to in any case.
fn of_chain(table: &Table, hook: usize) -> Vec<OtherRule> {
    let Some((begin, policy)) = table.chain(hook) else { return Vec::new() };
    let (mut found, mut chains, mut known) = (Vec::new(), vec![(begin, policy)], Vec::new());
    while let Some((begin, end)) = chains.pop() {
        if known.len() >= DEEPEST || known.contains(&begin) {
            continue;
        }
        known.push(begin);
        let entries = std::iter::successors(table.entry(begin), |entry| table.entry(entry.next));
        for entry in entries.take_while(|entry| entry.at < end) {
            match (entry.target(), read(entry)) {
                (Some(Target::Jump(to)), Some(rule)) if rule.is_always() && to != entry.next => {
                    chains.push((to, usize::MAX));
                }
                (Some(Target::Verdict(ACCEPT)), Some(rule)) => found.push(rule),
                (Some(Target::Other(name)), Some(rule)) if passes(&name) => found.push(rule),
                // The end of a chain that is none of a hook's, or what names the next one.
                (Some(Target::Verdict(xtables::RETURN)), Some(rule))
                    if rule.is_always() && end == usize::MAX =>
                {
                    break;
                }
                (Some(Target::Other(name)), _) if name == "ERROR" => break,
                _ => {}
            }
        }
    }
    found
}

/// What a rule asks for; none where the first packet of a connection does not fulfil it, and for the host's own.
fn read(entry: Entry<'_>) -> Option<OtherRule> {
    let [from, to] = entry.interfaces();
    let narrow = entry.has_protocol();
    let mut rule = OtherRule { from, to, addressed: entry.is_addressed(), narrow, ..OtherRule::default() };
    for (name, info) in entry.matches() {
        match name.as_str() {
            "conntrack" | "state" => match states(&name, info) {
                Some(states) if states & NEW == 0 => return None,
                Some(_) => {}
                None => rule.narrow = true,
            },
            "comment" => {}
            _ => rule.narrow = true,
        }
    }
    let of_lo = [&rule.from, &rule.to].into_iter().flatten().any(|link| link == "lo");
    (!of_lo).then_some(rule)
}
