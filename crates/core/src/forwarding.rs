//! Who else forwards packets on the host: what becomes of the host's settings when no network needs them any more, and
//! of packets that merely pass through.
//!
//! Writing 1 over 1 leaves no trace in the kernel. What tells of others who rely on forwarding is what they forward
//! with: interfaces, rules, policies of IPsec, and the administrator's configuration.

use crate::subnet::Family;
use std::collections::{BTreeMap, BTreeSet};

/// What others have on the host that forwards packets. Nothing of ours is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// Interfaces of the kinds that packets are forwarded between: bridges, pairs, tunnels.
    pub links: Vec<OtherLink>,
    /// Rules that let packets through at the forward hook, or translate their source.
    pub rules: Vec<OtherRule>,
    /// The families in which IPsec has policies for packets that are forwarded.
    pub ipsec: BTreeSet<Family>,
    /// The families in which the administrator's configuration switches forwarding on, and the file that says it.
    pub configured: BTreeMap<Family, String>,
}

/// An interface of somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherLink {
    /// Its name.
    pub name: String,
    /// Its kind: `bridge`, `wireguard`.
    pub kind: String,
}

/// A rule of somebody else's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherRule {
    /// The families that it is about.
    pub families: BTreeSet<Family>,
    /// Where it is: `chain FORWARD of table ip filter`.
    pub place: String,
    /// The interface that packets come in by; with `*` at its end, all whose names begin so.
    pub from: Option<String>,
    /// The interface that they go out by.
    pub to: Option<String>,
    /// Whether it is about addresses.
    pub addressed: bool,
    /// Whether it has conditions of another kind.
    pub narrow: bool,
}

impl OtherRule {
    /// Whether it is about forwarding between whole networks: it names interfaces or addresses, or has no condition. Rules
    /// about single protocols, such as those of `ufw` for ICMP, are there on hosts that forward nothing.
    fn is_broad(&self) -> bool {
        self.from.is_some() || self.to.is_some() || self.addressed || !self.narrow
    }

    /// Whether it has no condition that matters here.
    pub fn is_always(&self) -> bool {
        self.from.is_none() && self.to.is_none() && !self.addressed && !self.narrow
    }

    fn is_of(&self, family: Family) -> bool {
        self.families.contains(&family)
    }
}

impl Forwarding {
    /// Who relies on forwarding of a family, if anybody does, in words. Interfaces that were there `before` we switched it
    /// on did without it.
    pub fn user(&self, family: Family, before: &BTreeSet<String>) -> Option<String> {
        let link = self.links.iter().find(|link| !before.contains(&link.name));
        let rule = || self.rules.iter().find(|rule| rule.is_of(family) && rule.is_broad());
        link.map(|link| format!("the interface `{}` ({})", link.name, link.kind))
            .or_else(|| rule().map(|rule| format!("a rule in {}", rule.place)))
            .or_else(|| {
                self.ipsec.contains(&family).then(|| "policies of IPsec (`ip xfrm policy`)".to_owned())
            })
            .or_else(|| self.configured.get(&family).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str) -> OtherLink {
        OtherLink { name: name.into(), kind: "bridge".into() }
    }

    fn rule(families: &[Family]) -> OtherRule {
        let families = families.iter().copied().collect();
        OtherRule { families, place: "chain FORWARD of table ip filter".into(), ..OtherRule::default() }
    }

    #[test]
    fn e2_interfaces_that_did_without_forwarding_do_not_need_it() {
        let before: BTreeSet<String> = ["br0".to_owned()].into();
        let mut found = Forwarding { links: vec![link("br0")], ..Forwarding::default() };
        assert_eq!(found.user(Family::V4, &before), None);
        found.links.push(link("docker0"));
        assert_eq!(found.user(Family::V6, &before).unwrap(), "the interface `docker0` (bridge)");
    }

    #[test]
    fn e2_rules_count_in_their_family_unless_they_are_about_a_protocol() {
        let mut found = Forwarding { rules: vec![rule(&[Family::V4])], ..Forwarding::default() };
        let none = BTreeSet::new();
        assert!(found.user(Family::V4, &none).unwrap().contains("FORWARD"));
        assert_eq!(found.user(Family::V6, &none), None);
        found.rules[0].narrow = true;
        assert_eq!(found.user(Family::V4, &none), None, "only a protocol");
        for broad in [
            OtherRule { addressed: true, ..found.rules[0].clone() },
            OtherRule { from: Some("wg0".into()), ..found.rules[0].clone() },
            OtherRule { to: Some("wg*".into()), ..found.rules[0].clone() },
        ] {
            let found = Forwarding { rules: vec![broad], ..Forwarding::default() };
            assert!(found.user(Family::V4, &none).is_some(), "{found:?}");
        }
    }

    #[test]
    fn e2_policies_of_ipsec_and_the_configuration_count() {
        let configured = [(Family::V6, "`net.ipv6.conf.all.forwarding = 1` in /etc/sysctl.conf".to_owned())];
        let found =
            Forwarding { ipsec: [Family::V4].into(), configured: configured.into(), ..Forwarding::default() };
        assert!(found.user(Family::V4, &BTreeSet::new()).unwrap().contains("IPsec"));
        assert!(found.user(Family::V6, &BTreeSet::new()).unwrap().contains("/etc/sysctl.conf"));
    }
}
