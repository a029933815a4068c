//! What the reference's CNI plugins made of rules for a container that ours delete: a node that switches from them has
//! containers that run. Their chains are named after the network and the container, or their rules say so in a comment.
//! It is the one thing of others that is ever deleted, and only when the container that it is for goes.

use crate::error::KernelError;
use crate::linux::Linux;
use crate::nft::{Session, Write};
use crate::opening::transact;
use crate::rtnl::{ask_one, link};
use qiao_core::IfName;
use qiao_nft::{Change, ElementValue, Expr, Family, Query, Reply, Rule, Verdict};
use sha2::{Digest, Sha512};
use std::collections::BTreeSet;
use std::net::IpAddr;

const NAT: &str = "nat";
const FILTER: &str = "filter";
/// Chains that all containers share; they go with the last one's.
const SHARED: [&str; 3] = ["CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-SETMARK"];
/// `firewall`'s, and the administrator's, which may have rules of his.
const FORWARD: &str = "CNI-FORWARD";
const ADMIN: &str = "CNI-ADMIN";
/// `portmap`'s table, where its backend is nftables.
const HOSTPORT: &str = "cni_hostport";

/// Whose.
#[derive(Clone, Copy, Debug)]
pub enum Leaving<'a> {
    /// A container's, by its id; its addresses as far as they are known.
    One(&'a str, &'a [IpAddr]),
    /// All of a network's but these.
    AllBut(&'a [&'a str]),
}

impl Leaving<'_> {
    fn has(&self, id: &str) -> bool {
        match self {
            Leaving::One(one, _) => *one == id,
            Leaving::AllBut(valid) => !valid.contains(&id),
        }
    }
}

impl Linux {
    /// Removes the rules that the reference's plugins made for containers of a network that leave.
    pub fn remove_leftovers(
        &mut self,
        plugin: Plugin<'_>,
        (network, leaving): (&str, Leaving<'_>),
    ) -> Result<(), KernelError> {
        if plugin.prefixes().is_empty() && !plugin.is("firewall") {
            return Ok(());
        }
        for family in [Family::Ip, Family::Ip6] {
            transact(self, &|session| changes(session, family, (plugin, network, leaving)))?;
        }
        Ok(())
    }

    /// Removes the device that the reference's `bandwidth` made for a container.
    pub fn remove_leftover_device(&mut self, network: &str, id: &str) -> Result<(), KernelError> {
        let Ok(name) = IfName::new(&format!("bwp{:.12}", hash(network, id))) else { return Ok(()) };
        let found = match ask_one(&mut self.rtnl, &link::get(&name)) {
            Ok(messages) => {
                link::read(&messages).into_iter().find(|link| link.kind.as_deref() == Some("ifb"))
            }
            Err(error) if error.is_absent() => None,
            Err(error) => return Err(error),
        };
        match found.map(|found| ask_one(&mut self.rtnl, &link::delete(found.index))) {
            Some(Err(error)) if !error.is_absent() => Err(error),
            _ => Ok(()),
        }
    }
}

/// `utils.FormatChainName` of containernetworking/plugins: SHA-512 of both names, one behind the other.
fn hash(network: &str, id: &str) -> String {
    let digest = Sha512::new().chain_update(network).chain_update(id).finalize();
    digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// Which plugin is called: each removes what the one of its name has made.
#[derive(Clone, Copy, Debug)]
pub struct Plugin<'a>(pub &'a str);

impl Plugin<'_> {
    fn is(self, name: &str) -> bool {
        self.0 == name || self.0 == "qiao"
    }

    /// How the chains of a container begin that it made: of published ports (`SN` in old versions), of `ipMasq`.
    fn prefixes(self) -> Vec<&'static str> {
        let (ports, masquerade) = (self.is("portmap"), self.is("bridge") || self.is("ptp"));
        let all = [("CNI-DN-", ports), ("CNI-SN-", ports), ("CNI-", masquerade)];
        all.into_iter().filter_map(|(prefix, made)| made.then_some(prefix)).collect()
    }

    /// The chains of a container, 28 characters each.
    fn chains_of(self, network: &str, id: &str) -> Vec<String> {
        let hash = hash(network, id);
        let name = |prefix: &&str| format!("{prefix}{hash}").chars().take(28).collect();
        self.prefixes().iter().map(name).collect()
    }

    /// Whether it made a chain.
    fn made(self, chain: &str) -> bool {
        let ports = ["CNI-DN-", "CNI-SN-"].iter().any(|prefix| chain.starts_with(prefix));
        if ports { self.is("portmap") } else { self.prefixes().contains(&"CNI-") }
    }
}

fn changes(
    session: &mut Session,
    family: Family,
    (plugin, network, leaving): (Plugin<'_>, &str, Leaving<'_>),
) -> Result<Vec<Write>, KernelError> {
    let chain = |table: &str, name: &str| Query::Chain { family, table: table.into(), name: name.into() };
    // Which of these there are depends on how the plugins were configured: without `snat` only the first of the shared.
    let mut queries = vec![Query::Table { family, name: HOSTPORT.into() }];
    queries.extend([chain(FILTER, FORWARD), chain(FILTER, ADMIN)]);
    queries.extend(SHARED.map(|name| chain(NAT, name)));
    let common = queries.len();
    let named = match leaving {
        Leaving::One(id, _) => plugin.chains_of(network, id),
        Leaving::AllBut(_) => Vec::new(),
    };
    queries.extend(named.iter().map(|name| chain(NAT, name)));
    let there: Vec<bool> = session.ask(&queries)?.into_iter().map(|reply| reply.is_ok()).collect();
    let (there, own) = there.split_at(common);
    let present = |names: &[&'static str], there: &[bool]| -> Vec<&'static str> {
        names.iter().zip(there).filter_map(|(name, there)| there.then_some(*name)).collect()
    };
    let mut changes = Vec::new();
    if own.contains(&true) || matches!(leaving, Leaving::AllBut(_)) {
        let rules = rules(session, (family, NAT))?;
        let mut gone: BTreeSet<String> =
            named.into_iter().zip(own).filter_map(|(name, there)| there.then_some(name)).collect();
        let told = rules.iter().filter_map(|rule| commented(rule, network, leaving));
        gone.extend(told.filter(|chain| plugin.made(chain)));
        changes.extend(translations(&rules, (family, &gone), &present(&SHARED, &there[3..])));
    }
    if let (true, Leaving::One(_, addresses)) = (there[1] && plugin.is("firewall"), leaving) {
        let chains = present(&[FORWARD, ADMIN], &there[1..]);
        changes.extend(forwards(&rules(session, (family, FILTER))?, (family, &chains), addresses));
    }
    if there[0] && plugin.is("portmap") {
        let its = |rule: &&Rule| rule.comment.as_deref().is_some_and(|id| !id.is_empty() && leaving.has(id));
        let one = matches!(leaving, Leaving::One(..)); // whose network it is of is not said there
        changes
            .extend(rules(session, (family, HOSTPORT))?.iter().filter(|_| one).filter(its).filter_map(del));
    }
    Ok(changes.into_iter().map(Write::from).collect())
}

/// All rules of a table; none where there is no such table.
fn rules(session: &mut Session, (family, table): (Family, &str)) -> Result<Vec<Rule>, KernelError> {
    match session.dump(&Query::Rules { family: Some(family), table: Some(table.into()), chain: None }) {
        Ok(replies) => Ok(replies
            .into_iter()
            .filter_map(|reply| if let Reply::Rule(rule) = reply { Some(rule) } else { None })
            .filter(|rule| rule.table == table)
            .collect()),
        Err(error) if error.is_absent() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The chain that a rule leads to, if its comment says that it is for a container that leaves.
fn commented(rule: &Rule, network: &str, leaving: Leaving<'_>) -> Option<String> {
    let chain = leads_to(rule).filter(|chain| chain.starts_with("CNI-"))?;
    let text = comment(rule)?;
    let (_, rest) = text.split_once(&format!("name: \"{network}\" id: \""))?;
    leaving.has(rest.strip_suffix('"')?).then(|| chain.to_owned())
}

/// The comment, as `nft` keeps it or as `iptables -m comment` does (`struct xt_comment_info`).
fn comment(rule: &Rule) -> Option<String> {
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

fn leads_to(rule: &Rule) -> Option<&str> {
    rule.exprs.iter().find_map(|expr| match expr {
        Expr::Immediate {
            value: ElementValue::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain)), ..
        } => Some(chain.as_str()),
        _ => None,
    })
}

fn del(rule: &Rule) -> Option<Change> {
    let (family, table, chain) = (rule.family, rule.table.clone(), rule.chain.clone());
    rule.handle.map(|handle| Change::DelRule { family, table, chain, handle })
}

/// Empties chains and deletes them.
fn del_chains<'a>(family: Family, table: &str, names: impl Iterator<Item = &'a str> + Clone) -> Vec<Change> {
    let flush = |name: &str| Change::FlushChain { family, table: table.into(), name: name.into() };
    let del = |name: &str| Change::DelChain { family, table: table.into(), name: name.into() };
    names.clone().map(flush).chain(names.map(del)).collect()
}

/// Takes chains away with what leads to them; with the last ports the chains that all share.
fn translations(
    rules: &[Rule],
    (family, gone): (Family, &BTreeSet<String>),
    shared: &[&'static str],
) -> Vec<Change> {
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
fn forwards(
    rules: &[Rule],
    (family, chains): (Family, &[&'static str]),
    addresses: &[IpAddr],
) -> Vec<Change> {
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
    use super::*;

    #[test]
    fn chains_are_named_as_the_reference_names_them() {
        let names = Plugin("qiao").chains_of("n1", "c1");
        let wanted =
            ["CNI-DN-7be53730afe4dc6eb2178", "CNI-SN-7be53730afe4dc6eb2178", "CNI-7be53730afe4dc6eb2178d03"];
        assert_eq!(names, wanted);
        assert_eq!(Plugin("portmap").chains_of("n1", "c1"), wanted[..2]);
        assert_eq!(Plugin("bridge").chains_of("n1", "c1"), wanted[2..]);
        assert!(Plugin("firewall").chains_of("n1", "c1").is_empty());
        assert!(
            Plugin("ptp").made(wanted[2])
                && !Plugin("ptp").made(wanted[0])
                && !Plugin("portmap").made(wanted[2])
        );
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
        assert_eq!(told(&format!("dnat {mine}"), Leaving::One("c1", &[])).as_deref(), Some("CNI-x"));
        assert_eq!(told(mine, Leaving::AllBut(&["c1"])), None);
        assert_eq!(told("name: \"n2\" id: \"c1\"", Leaving::AllBut(&[])), None);
        assert_eq!(told("name: \"n1\" id: \"c12\"", Leaving::One("c1", &[])), None);
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
