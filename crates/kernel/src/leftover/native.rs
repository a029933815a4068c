//! What the reference's plugins made with nftables itself: published ports, masquerading, and `macspoofchk`.

use super::iptables::leads_to;
use super::names::{Named, of_instance, of_network};
use super::{Leaving, There, chain, del, del_chains, rules};
use crate::error::KernelError;
use crate::nft::Session;
use qiao_nft::{Change, Family, Query, Rule};

/// `portmap`'s table.
const HOSTPORT: &str = "cni_hostport";
/// The table of `ipMasqBackend: nftables`, the chain that its rules are in, and the one that leads there.
const MASQUERADE: &str = "cni_plugins_masquerade";
const CHECKS: &str = "masq_checks";
const POSTROUTING: &str = "postrouting";
/// The table of `macspoofchk`, which is that of `ebtables` too.
const SPOOF: (Family, &str) = (Family::Bridge, "nat");

/// What to ask for.
pub fn queries(named: Named<'_>) -> Vec<Query> {
    let mut queries = Vec::new();
    if named.plugin.is("portmap") {
        queries
            .extend([Family::Ip, Family::Ip6].map(|family| Query::Table { family, name: HOSTPORT.into() }));
    }
    if named.plugin.masquerades() {
        queries.push(chain(Family::Inet, MASQUERADE, CHECKS));
    }
    queries.extend(checks_of(named).iter().map(|name| chain(SPOOF.0, SPOOF.1, name)));
    queries
}

/// What takes it away.
pub fn changes(session: &mut Session, named: Named<'_>, there: &There) -> Result<Vec<Change>, KernelError> {
    let mut changes = Vec::new();
    for family in [Family::Ip, Family::Ip6].into_iter().filter(|family| there.table(*family, HOSTPORT)) {
        changes.extend(ports(&rules(session, (family, HOSTPORT))?, named.leaving));
    }
    if there.chain(Family::Inet, MASQUERADE, CHECKS) {
        changes.extend(masquerading(&rules(session, (Family::Inet, MASQUERADE))?, named));
    }
    let checks = checks_of(named).into_iter().filter(|name| there.chain(SPOOF.0, SPOOF.1, name));
    let checks: Vec<String> = checks.collect();
    if !checks.is_empty() {
        changes.extend(spoof_checks(&rules(session, SPOOF)?, &checks));
    }
    Ok(changes)
}

/// The rules of a container; of which network the others are is not said there.
fn ports(rules: &[Rule], leaving: Leaving<'_>) -> Vec<Change> {
    let Leaving::One(one) = leaving else { return Vec::new() };
    let its = |rule: &&Rule| rule.comment.as_deref() == Some(one.id);
    rules.iter().filter(its).filter_map(del).collect()
}

/// The rules of containers that leave; with the last one of all the table.
fn masquerading(rules: &[Rule], Named { network, leaving, .. }: Named<'_>) -> Vec<Change> {
    let instance = |tenant| of_instance(network, tenant);
    let is_gone = |rule: &&Rule| {
        let comment = rule.comment.as_deref().unwrap_or_default();
        match leaving {
            Leaving::One(one) => comment.starts_with(&instance((one.id, one.ifname))),
            Leaving::AllBut(valid) => {
                comment.starts_with(&of_network(network))
                    && !valid.iter().any(|tenant| comment.starts_with(&instance(*tenant)))
            }
        }
    };
    let is_left = |rule: &Rule| match rule.chain.as_str() {
        CHECKS => !is_gone(&rule),
        chain => chain != POSTROUTING,
    };
    let changes: Vec<Change> = rules.iter().filter(is_gone).filter_map(del).collect();
    match changes.is_empty() || rules.iter().any(is_left) {
        true => changes,
        false => vec![Change::DelTable { family: Family::Inet, name: MASQUERADE.into() }],
    }
}

/// The chains that see to the hardware address of a container. Which network they are of is not said.
fn checks_of(named: Named<'_>) -> Vec<String> {
    match named.leaving {
        Leaving::One(one) if named.plugin.is("bridge") => {
            let name = format!("cni-br-iface-{}-{}", one.id, one.ifname);
            vec![name.clone(), name + "-mac"]
        }
        _ => Vec::new(),
    }
}

fn spoof_checks(rules: &[Rule], chains: &[String]) -> Vec<Change> {
    let is_ours = |name: &str| chains.iter().any(|chain| chain == name);
    let leads = |rule: &&Rule| leads_to(rule).is_some_and(is_ours) && !is_ours(&rule.chain);
    let mut changes: Vec<Change> = rules.iter().filter(leads).filter_map(del).collect();
    changes.extend(del_chains(SPOOF.0, SPOOF.1, chains.iter().map(String::as_str)));
    changes
}

#[cfg(test)]
mod tests {
    use super::super::{Plugin, Tenant};
    use super::*;

    fn rule(chain: &str, comment: &str) -> Rule {
        let comment = Some(comment.to_owned()).filter(|text| !text.is_empty());
        Rule { comment, handle: Some(7), ..Rule::new(Family::Inet, MASQUERADE, chain) }
    }

    fn named(leaving: Leaving<'_>) -> Named<'_> {
        Named { plugin: Plugin("bridge"), network: "n1", leaving }
    }

    #[test]
    fn the_masquerading_table_goes_with_the_last_rule() {
        let comment = |id, ifname| format!("{}, net: n1, if: {ifname}", of_instance("n1", (id, ifname)));
        let mine = rule(CHECKS, &comment("c1", "eth0"));
        let rules = [rule(POSTROUTING, ""), mine.clone(), rule(CHECKS, &comment("c1", "eth1"))];
        let tenant = Tenant { id: "c1", ifname: "eth0", addresses: &[], links: &[] };
        let one = named(Leaving::One(tenant));
        assert_eq!(masquerading(&rules, one), [del(&mine).unwrap()]);
        let table = Change::DelTable { family: Family::Inet, name: MASQUERADE.into() };
        assert_eq!(masquerading(&rules[..2], one), std::slice::from_ref(&table));
        assert!(masquerading(&rules[..1], one).is_empty());
        let valid = [("c1", "eth1")];
        assert_eq!(masquerading(&rules, named(Leaving::AllBut(&valid))), [del(&mine).unwrap()]);
        assert_eq!(masquerading(&rules, named(Leaving::AllBut(&[]))), [table]);
    }
}
