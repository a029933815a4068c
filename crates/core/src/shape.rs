//! How fast endpoints may send and receive. What limits them is on the host's side, where nobody in a container can
//! take it off: a token bucket at the host's end of the pair for what the container receives, and another one at an
//! `ifb` device, which gets what comes in at that end, for what it sends.

use crate::endpoint::{Endpoint, base32};
use crate::name::{IfName, SandboxName};
use crate::owner::fnv;
use crate::plan::{Key, State, Value};
use serde::{Deserialize, Serialize};

/// A rate, and how much may pass at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Bits per second; 8 at least.
    pub rate: u64,
    /// Bits.
    pub burst: u64,
}

/// The limits of an endpoint; none where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// What it receives.
    pub ingress: Option<Rate>,
    /// What it sends.
    pub egress: Option<Rate>,
}

impl Limits {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// How an endpoint is limited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shaping {
    /// The host's end of the pair.
    pub link: IfName,
    /// The `ifb` device, where there is a limit on what the endpoint sends.
    pub ifb: IfName,
    /// The MTU of the link, in bytes.
    pub mtu: u32,
    /// The limits.
    pub limits: Limits,
}

/// A token bucket (tc-tbf(8)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Bytes per second.
    pub rate: u64,
    /// Bytes that may pass at once.
    pub burst: u32,
}

impl Bucket {
    /// How long a packet may wait, in milliseconds: the reference plugin's.
    pub const LATENCY: u64 = 25;

    /// The bucket for a rate on a link. One that holds less than a frame lets none of that length pass: it holds one at
    /// least, with its header and a VLAN's tag.
    pub fn new(rate: Rate, mtu: u32) -> Self {
        const HEADER: u64 = 14 + 4;
        let burst = (rate.burst / 8).max(u64::from(mtu) + HEADER);
        Self { rate: (rate.rate / 8).max(1), burst: u32::try_from(burst).unwrap_or(u32::MAX) }
    }

    /// How many bytes may wait.
    pub fn limit(&self) -> u32 {
        let waiting = u128::from(self.rate) * u128::from(Self::LATENCY) / 1000 + u128::from(self.burst);
        u32::try_from(waiting).unwrap_or(u32::MAX)
    }
}

/// What must exist for an endpoint's limits.
pub(crate) fn state(endpoint: &Endpoint, shaping: &Shaping) -> State {
    let owner = endpoint.owner();
    let mut state = State::default();
    let bucket = |rate| Value::Bucket(Bucket::new(rate, shaping.mtu));
    if let Some(rate) = shaping.limits.ingress {
        state.insert(Key::Shape(shaping.link.clone()), &owner, bucket(rate));
    }
    if let Some(rate) = shaping.limits.egress {
        state.insert(Key::Ifb(shaping.ifb.clone()), &owner, Value::Ifb { mtu: shaping.mtu, up: true });
        state.insert(Key::Shape(shaping.ifb.clone()), &owner, bucket(rate));
        let to = shaping.ifb.clone();
        state.insert(Key::Redirect(shaping.link.clone()), &owner, Value::Redirect { to });
    }
    state
}

/// The name of the device that an endpoint's packets go through: `bwp`, as the reference plugin has it, and twelve
/// digits of a hash.
pub fn ifb(sandbox: &SandboxName, ifname: &IfName) -> IfName {
    let hash = fnv(&format!("{sandbox}@{ifname}"), 0x0069_6662);
    IfName::new(&format!("bwp{}", base32(hash, 12)))
        .expect("15 alphanumeric characters are an interface name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_a_frame_and_stay_in_range() {
        let bucket = |rate, burst| Bucket::new(Rate { rate, burst }, 1500);
        assert_eq!(bucket(8_000_000, 800_000), Bucket { rate: 1_000_000, burst: 100_000 });
        assert_eq!(bucket(8_000_000, 8).burst, 1518);
        assert_eq!(bucket(8_000_000, 800_000).limit(), 125_000);
        let most = bucket(u64::MAX, u64::MAX);
        assert_eq!((most.burst, most.limit()), (u32::MAX, u32::MAX));
        assert_eq!(bucket(1, 1).rate, 1);
    }

    #[test]
    fn devices_are_named_after_their_interface() {
        let name = |ifname: &str| ifb(&"web".parse().unwrap(), &ifname.parse().unwrap());
        assert_eq!(name("eth0").as_str().len(), 15);
        assert_ne!(name("eth0"), name("net1"));
    }
}
