//! Who else forwards packets on the host: what becomes of the host's settings when no network needs them any more, and
//! of packets that merely pass through.
//!
//! Writing 1 over 1 leaves no trace in the kernel. Other programs that rely on forwarding are known by what they
//! forward with: interfaces, rules, policies of IPsec, and the administrator's configuration.

use crate::name::IfName;
use crate::subnet::Family;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What others have on the host that forwards packets. Nothing of ours is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// Interfaces of the kinds that packets are forwarded between: bridges, pairs, tunnels.
    pub links: Vec<OtherLink>,
    /// All their interfaces but the loopback one, whatever kind they are of; those of hardware have none.
    pub interfaces: Vec<OtherLink>,
    /// Rules that let packets through at the forward hook, or translate their source.
    pub rules: Vec<OtherRule>,
    /// The families in which IPsec has policies for packets that are forwarded.
    pub ipsec: BTreeSet<Family>,
    /// The families in which the administrator's configuration switches forwarding on, and the file that says it.
    pub configured: BTreeMap<Family, String>,
}

/// An interface of another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherLink {
    /// Its name.
    pub name: String,
    /// Its kind: `bridge`, `wireguard`.
    pub kind: String,
}

/// A rule of another program.
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
    /// Whether it is about forwarding between whole networks: it names interfaces or addresses, or has no condition.
    /// Rules about single protocols, such as those of `ufw` for ICMP, are there on hosts that forward nothing.
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
    /// The interface, rule, policy or file that relies on forwarding of a family, in words; none if there is none.
    /// Interfaces that were there `before` we switched it on did without it.
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

/// What of the traffic that merely passes through the host is let through, although forwarding is on by our doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Transit {
    /// The families in which all of it is.
    pub open: BTreeSet<Family>,
    /// Where it comes in and goes out.
    pub pairs: BTreeSet<(Family, IfName, IfName)>,
}

impl Transit {
    /// Everything passes.
    pub fn all() -> Self {
        Self { open: [Family::V4, Family::V6].into(), ..Self::default() }
    }

    /// Whether nothing does.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Packets to and from these kinds pass anyway.
const PASS: [&str; 2] = ["bridge", "veth"];

impl Forwarding {
    /// What others let pass by their own will: where their rules accept what comes in or goes out by an interface, or
    /// translate what goes out by one; everything, where a rule has no condition or the administrator's configuration
    /// switches forwarding on. Rules about addresses are not enough: engines make them for their containers.
    pub fn transit(&self) -> Transit {
        let mut transit = Transit::default();
        for family in [Family::V4, Family::V6] {
            let rules = || self.rules.iter().filter(|rule| rule.is_of(family));
            if self.configured.contains_key(&family) || rules().any(OtherRule::is_always) {
                transit.open.insert(family);
            } else {
                rules().for_each(|rule| self.let_through(family, rule, &mut transit.pairs));
            }
        }
        transit
    }

    fn let_through(&self, family: Family, rule: &OtherRule, pairs: &mut BTreeSet<(Family, IfName, IfName)>) {
        if rule.from.is_none() && rule.to.is_none() {
            return;
        }
        let (from, to) = (self.named(rule.from.as_deref()), self.named(rule.to.as_deref()));
        for from in &from {
            pairs.extend(to.iter().map(|to| (family, from.clone(), to.clone())));
        }
    }

    /// The interfaces that a rule's name means, or all where it names none. One that is named may come later.
    fn named(&self, name: Option<&str>) -> Vec<IfName> {
        let all = self.interfaces.iter().filter(|link| !PASS.contains(&link.kind.as_str()));
        let all = all.map(|link| link.name.as_str());
        let passes = |name: &str| {
            self.interfaces.iter().any(|link| link.name == name && PASS.contains(&link.kind.as_str()))
        };
        let names: Vec<&str> = match name {
            None => all.collect(),
            Some(name) => match name.strip_suffix('*') {
                Some(beginning) => all.filter(|name| name.starts_with(beginning)).collect(),
                None if passes(name) => Vec::new(),
                None => vec![name],
            },
        };
        names.into_iter().filter_map(|name| IfName::new(name).ok()).collect()
    }

    /// Which tunnel or the like may miss that packets pass through the host, in words: none where they pass, or a
    /// rule names it.
    pub fn misses(&self, family: Family, transit: &Transit) -> Option<String> {
        if transit.open.contains(&family) {
            return None;
        }
        let is_named = |name: &str| {
            transit
                .pairs
                .iter()
                .any(|(of, from, to)| *of == family && [from.as_str(), to.as_str()].contains(&name))
        };
        let link =
            self.links.iter().find(|link| !PASS.contains(&link.kind.as_str()) && !is_named(&link.name));
        link.map(|link| format!("the interface `{}` ({})", link.name, link.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str) -> OtherLink {
        OtherLink { name: name.into(), kind: "bridge".into() }
    }

    fn pairs(transit: &Transit) -> Vec<String> {
        transit.pairs.iter().map(|(family, from, to)| format!("{family:?} {from} {to}")).collect()
    }

    /// A host with two interfaces of hardware, a tunnel, a bridge, and this rule of another program.
    fn with(from: Option<&str>, to: Option<&str>) -> Forwarding {
        let link = |name: &str, kind: &str| OtherLink { name: name.into(), kind: kind.into() };
        let (from, to) = (from.map(str::to_owned), to.map(str::to_owned));
        Forwarding {
            interfaces: vec![
                link("eth0", ""),
                link("wlan0", ""),
                link("wg0", "wireguard"),
                link("br0", "bridge"),
            ],
            rules: vec![OtherRule { from, to, ..rule(&[Family::V4]) }],
            ..Forwarding::default()
        }
    }

    #[test]
    fn e3_rules_of_others_let_through_what_they_name() {
        let of = |from, to| pairs(&with(from, to).transit());
        assert_eq!(of(Some("wg0"), None), ["V4 wg0 eth0", "V4 wg0 wg0", "V4 wg0 wlan0"]);
        assert_eq!(of(None, Some("eth0")), ["V4 eth0 eth0", "V4 wg0 eth0", "V4 wlan0 eth0"]);
        assert_eq!(of(Some("eth*"), Some("wg0")), ["V4 eth0 wg0"]);
        assert_eq!(of(Some("tun7"), Some("eth0")), ["V4 tun7 eth0"], "it may come later");
        assert_eq!(of(Some("br0"), None), [""; 0], "bridges pass anyway");
        assert!(with(Some("wg0"), None).transit().open.is_empty());
    }

    #[test]
    fn e3_all_passes_by_a_rule_without_conditions_or_by_configuration() {
        assert_eq!(with(None, None).transit().open, [Family::V4].into());
        let mut addressed = with(None, None);
        addressed.rules[0].addressed = true;
        assert!(addressed.transit().is_none(), "containers of other engines");
        assert_eq!(addressed.misses(Family::V4, &Transit::default()), None);
        addressed.configured.insert(Family::V6, "a file".into());
        assert_eq!(addressed.transit().open, [Family::V6].into());
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
