//! Settings of a sandbox that are changed on request: what they were is noted, and comes back with them.

use crate::error::EngineError;
use crate::recover::places;
use crate::session::Session;
use qiao_core::endpoint::{Join, Tunable, Tuned, Wire};
use qiao_core::network::check_mtu;
use qiao_core::plan::{State, Value};
use qiao_core::subnet::Family;
use qiao_core::{Endpoint, Refusal};
use qiao_kernel::Kernel;

impl<K: Kernel> Session<'_, K> {
    /// Notes what is to be changed of an endpoint's sandbox, with what it is now. Of what was changed before, what it
    /// was then counts.
    pub fn tune(&mut self, endpoint: &mut Endpoint, wanted: &[(Tunable, Value)]) -> Result<(), EngineError> {
        let (id, owner, places) = (endpoint.id.clone(), endpoint.owner(), places(endpoint));
        let mut asked = State::default();
        wanted.iter().for_each(|(what, value)| asked.insert(what.key(&id), &owner, value.clone()));
        let found =
            if asked.is_empty() { Default::default() } else { self.kernel.observe(&asked, &places)? };
        let known = endpoint.wire.as_ref().map(|wire| wire.extras.tuned.clone()).unwrap_or_default();
        let mut tuned = Vec::new();
        for (what, after) in wanted {
            let before = known.iter().find(|tuned| tuned.what == *what).map(|tuned| tuned.before.clone());
            let before = before.or_else(|| found.get(&what.key(&id)).map(|found| found.value.clone()));
            let absent =
                || Refusal::not_found(format!("{} is not there", qiao_core::render::noun(&what.key(&id))));
            tuned.push(Tuned {
                what: what.clone(),
                before: before.ok_or_else(absent)?,
                after: after.clone(),
            });
        }
        let mtu = tuned.iter().find_map(|tuned| match (&tuned.what, &tuned.after) {
            (Tunable::Mtu, Value::Number(mtu)) => Some(*mtu),
            _ => None,
        });
        let has_v6 = endpoint.wire.as_ref().is_some_and(|wire| wire.address(Family::V6).is_some());
        mtu.map_or(Ok(()), |mtu| check_mtu(mtu, has_v6))?;
        let mac = tuned.iter().chain(&known).find(|tuned| tuned.what == Tunable::Mac);
        let mac = mac.map(|now| if tuned.contains(now) { now.after.clone() } else { now.before.clone() });
        if let Some(Value::Mac(mac)) = mac {
            self.refuse_new_mac(endpoint, mac)?;
            endpoint.wire.iter_mut().filter(|wire| !is_adopted(wire)).for_each(|wire| wire.mac = mac);
        }
        endpoint.wire.iter_mut().for_each(|wire| wire.extras.tuned.clone_from(&tuned));
        Ok(())
    }
}

fn is_adopted(wire: &Wire) -> bool {
    wire.join == Join::Adopted
}
