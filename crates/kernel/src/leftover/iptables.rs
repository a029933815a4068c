//! What the reference's plugins made with `iptables-nft`.

use super::names::Named;
use super::{Leaving, There, chain, del, del_chains, rules};
use crate::error::KernelError;
use crate::nft::Session;
use qiao_nft::{Change, ElementValue, Expr, Family, Query, Rule, Verdict};
use std::collections::BTreeSet;
use std::net::IpAddr;

const NAT: &str = "nat";
pub const FILTER: &str = "filter";
/// Chains that all containers share; they go with the last one's.
const SHARED: [&str; 3] = ["CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-SETMARK"];
/// `firewall`'s, and the administrator's, which may have rules of his.
const FORWARD: &str = "CNI-FORWARD";
const ADMIN: &str = "CNI-ADMIN";

/// What to ask for: what the plugin makes. Which of the shared there are depends on how it was configured: without `snat`
/// only the first.
pub fn queries(named: Named<'_>) -> Vec<Query> {
    let (ports, filters) = (named.plugin.is("portmap"), named.plugin.is("firewall"));
    let of = |family| {
        let own = chains(named).into_iter().map(move |name| chain(family, NAT, &name));
        let shared = SHARED.iter().filter(move |_| ports).map(move |name| chain(family, NAT, name));
        let filtering = [FORWARD, ADMIN].into_iter().filter(move |_| filters);
        own.chain(filtering.map(move |name| chain(family, FILTER, name))).chain(shared)
    };
    [Family::Ip, Family::Ip6].into_iter().flat_map(of).collect()
}

/// The chains of the container that leaves, where it is one.
fn chains(named: Named<'_>) -> Vec<String> {
    match named.leaving {
        Leaving::One(one) => named.plugin.chains_of(named.network, one.id),
        Leaving::AllBut(_) => Vec::new(),
    }
}

/// What takes it away.
pub fn changes(
    session: &mut Session,
    family: Family,
    (named, there): (Named<'_>, &There),
) -> Result<Vec<Change>, KernelError> {
    let Named { plugin, network, leaving } = named;
    let mut gone: BTreeSet<String> = chains(named).into_iter().collect();
    gone.retain(|name| there.chain(family, NAT, name));
    let mut changes = Vec::new();
    if !gone.is_empty() || matches!(leaving, Leaving::AllBut(_)) {
        let rules = rules(session, (family, NAT))?;
        let told = rules.iter().filter_map(|rule| commented(rule, network, leaving));
        gone.extend(told.filter(|chain| plugin.made(chain)));
        let shared: Vec<&str> = there.of((family, NAT), &SHARED).collect();
        changes.extend(translations(&rules, (family, &gone), &shared));
    }
    if let (true, Leaving::One(one)) = (there.chain(family, FILTER, FORWARD), leaving) {
        let chains: Vec<&str> = there.of((family, FILTER), &[FORWARD, ADMIN]).collect();
        changes.extend(forwards(&rules(session, (family, FILTER))?, (family, &chains), one.addresses));
    }
    Ok(changes)
}

/// The chain that a rule leads to, if its comment says that it is for a container that leaves.
fn commented(rule: &Rule, network: &str, leaving: Leaving<'_>) -> Option<String> {
    let chain = leads_to(rule).filter(|chain| chain.starts_with("CNI-"))?;
    let text = comment(rule)?;
    let (_, rest) = text.split_once(&format!("name: \"{network}\" id: \""))?;
    leaving.has(rest.strip_suffix('"')?).then(|| chain.to_owned())
}

/// The comment, as `nft` keeps it or as `iptables -m comment` does (`struct xt_comment_info`).
pub fn comment(rule: &Rule) -> Option<String> {
    const INFO: u16 = 3;
    let matched = rule.exprs.iter().find_map(|expr| match expr {
        Expr::Unknown { name, attributes } if name == "match" => {
            let value = |of| crate::netlink::attribute::attributes(attributes).find(|(kind, _)| *kind == of);
            value(1).filter(|(_, name)| *name == b"comment\0")?;
            value(INFO).map(|(_, text)| crate::netlink::attribute::text(text))
        }
        _ => None,
    });
    rule.comment.clone().or(matched)
}

pub fn leads_to(rule: &Rule) -> Option<&str> {
    rule.exprs.iter().find_map(|expr| match expr {
        Expr::Immediate {
            value: ElementValue::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain)), ..
        } => Some(chain.as_str()),
        _ => None,
    })
}

/// Takes chains away with what leads to them; with the last ports the chains that all share.
fn translations(rules: &[Rule], (family, gone): (Family, &BTreeSet<String>), shared: &[&str]) -> Vec<Change> {
    let is_gone = |rule: &&Rule| leads_to(rule).is_some_and(|chain| gone.contains(chain));
    let mut changes: Vec<Change> = rules.iter().filter(is_gone).filter_map(del).collect();
    changes.extend(del_chains(family, NAT, gone.iter().map(String::as_str)));
    let had_ports = gone.iter().any(|chain| chain.starts_with("CNI-DN-"));
    let has_ports = rules.iter().any(|rule| rule.chain == SHARED[0] && !is_gone(&rule));
    if had_ports && !has_ports {
        let to_shared = |rule: &&Rule| {
            leads_to(rule).is_some_and(|chain| SHARED.contains(&chain)) && !gone.contains(&rule.chain)
        };
        changes.extend(rules.iter().filter(to_shared).filter_map(del));
        changes.extend(del_chains(family, NAT, shared.iter().copied()));
    }
    changes
}

/// Takes `firewall`'s rules for addresses away; with the last the chains, where the administrator has no rules.
fn forwards(rules: &[Rule], (family, chains): (Family, &[&str]), addresses: &[IpAddr]) -> Vec<Change> {
    let addresses: Vec<Vec<u8>> = addresses.iter().map(octets).collect();
    let is_its = |rule: &&Rule| {
        rule.chain == FORWARD
            && rule
                .exprs
                .iter()
                .any(|expr| matches!(expr, Expr::Cmp { value, .. } if addresses.contains(value)))
    };
    let mut changes: Vec<Change> = rules.iter().filter(is_its).filter_map(del).collect();
    let is_left = |rule: &Rule| match rule.chain.as_str() {
        FORWARD => leads_to(rule) != Some(ADMIN) && !is_its(&rule),
        chain => chain == ADMIN,
    };
    if !changes.is_empty() && !rules.iter().any(is_left) {
        changes.extend(rules.iter().filter(|rule| leads_to(rule) == Some(FORWARD)).filter_map(del));
        changes.extend(del_chains(family, FILTER, chains.iter().copied()));
    }
    changes
}

fn octets(ip: &IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tenant;
    use super::*;

    fn one(id: &str) -> Leaving<'_> {
        Leaving::One(Tenant { id, ifname: "eth0", addresses: &[], links: &[] })
    }

    fn rule(chain: &str, to: &str, comment: &str) -> Rule {
        let exprs = vec![Expr::verdict(Verdict::Jump(to.into()))];
        let comment = Some(comment.to_owned()).filter(|text| !text.is_empty());
        Rule { exprs, comment, handle: Some(7), ..Rule::new(Family::Ip, NAT, chain) }
    }

    #[test]
    fn comments_tell_whose_a_chain_is() {
        let told = |comment: &str, leaving| commented(&rule("POSTROUTING", "CNI-x", comment), "n1", leaving);
        let mine = "name: \"n1\" id: \"c1\"";
        assert_eq!(told(mine, Leaving::AllBut(&[])).as_deref(), Some("CNI-x"));
        assert_eq!(told(&format!("dnat {mine}"), one("c1")).as_deref(), Some("CNI-x"));
        assert_eq!(told(mine, Leaving::AllBut(&[("c1", "eth0")])), None);
        assert_eq!(told("name: \"n2\" id: \"c1\"", Leaving::AllBut(&[])), None);
        assert_eq!(told("name: \"n1\" id: \"c12\"", one("c1")), None);
    }

    #[test]
    fn shared_chains_go_with_the_last_ports() {
        let gone = BTreeSet::from(["CNI-DN-a".to_owned()]);
        let rules = [
            rule("PREROUTING", "CNI-HOSTPORT-DNAT", ""),
            rule("CNI-HOSTPORT-DNAT", "CNI-DN-a", ""),
            rule("CNI-HOSTPORT-DNAT", "CNI-DN-b", ""),
        ];
        let deleted = |rules: &[Rule]| {
            translations(rules, (Family::Ip, &gone), &SHARED)
                .iter()
                .filter(|c| matches!(c, Change::DelChain { .. }))
                .count()
        };
        assert_eq!(deleted(&rules), 1);
        assert_eq!(deleted(&rules[..2]), 4);
    }
}
