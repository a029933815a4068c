//! What all networks share: forwarding, and the constant rule set.

use crate::forwarding::Transit;
use crate::name::IfName;
use crate::owner::Owner;
use crate::plan::{Key, Member, State, Sysctl, Value};
use crate::subnet::Family;
use std::collections::BTreeMap;

/// What the networks in use need of the host, and what the host was like before the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNeeds {
    /// The families that some network routes.
    pub forward: Vec<Family>,
    /// The settings as they were before we changed them.
    pub saved: BTreeMap<Sysctl, u32>,
    /// The interfaces whose IPv6 default route came by router advertisement.
    pub advertised: Vec<IfName>,
    /// What else passes through the host.
    pub transit: Transit,
    /// The rule set's digest, where a network needs it.
    pub ruleset: Option<u32>,
}

/// What must exist on the host while a network is in use.
pub fn host(needs: &HostNeeds) -> State {
    let mut state = State::default();
    let mut put = |key, value| state.insert(key, &Owner::Host, value);
    needs.ruleset.into_iter().for_each(|digest| put(Key::Ruleset, Value::Ruleset(digest)));
    for family in &needs.forward {
        let forward = Sysctl::forward(*family);
        if needs.saved.get(&forward) == Some(&0) && !needs.transit.open.contains(family) {
            put(Key::Member(Member::NoTransit(*family)), Value::Present);
            let pairs = needs.transit.pairs.iter().filter(|(of, ..)| of == family);
            pairs.cloned().for_each(|(family, from, to)| {
                put(Key::Member(Member::Transit(family, from, to)), Value::Present);
            });
        }
        put(Key::Sysctl(forward), Value::Number(1));
    }
    if needs.forward.contains(&Family::V6) {
        // A host that forwards ignores router advertisements unless accept_ra is 2 (kernel documentation,
        // networking/ip-sysctl): without this the host would lose its own default route.
        let links = needs.advertised.iter().cloned().map(Sysctl::AcceptRa);
        links.for_each(|sysctl| put(Key::Sysctl(sysctl), Value::Number(2)));
    }
    state
}
