//! What a route of a sandbox has besides the way it leads.

use crate::IfName;
use crate::owner::EndpointId;
use crate::plan::{Key, Value};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A route's attributes. None of them: a unicast route with our mark and the kernel's metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attributes {
    /// The metric (`RTA_PRIORITY`): the lowest of a destination counts. None leaves it to the kernel, which
    /// takes 0 for IPv4 and 1024 for IPv6.
    pub metric: Option<u32>,
    /// It is marked as an administrator's (`RTPROT_STATIC`) and not as ours: clients of Podman look for that.
    pub administered: bool,
    /// What becomes of packets.
    pub kind: Kind,
}

/// What becomes of packets to a route's destination (`rtnetlink(7)`, `rtm_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// They are sent on.
    #[default]
    Unicast,
    /// They are dropped, and nobody is told.
    Blackhole,
    /// They are dropped, and the sender is told that there is no such host.
    Unreachable,
    /// They are dropped, and the sender is told that they are prohibited.
    Prohibit,
}

impl Kind {
    /// The kind in `ip`'s words.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Unicast => "unicast",
            Kind::Blackhole => "blackhole",
            Kind::Unreachable => "unreachable",
            Kind::Prohibit => "prohibit",
        }
    }
}

impl Attributes {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A route that is asked for, with its attributes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Static {
    /// The destination.
    pub to: IpNet,
    /// The gateway; none where the kind has none.
    pub via: Option<IpAddr>,
    /// The interface that the gateway is behind, where it is another one of the sandbox's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<IfName>,
    /// The attributes.
    pub attributes: Attributes,
}

impl Static {
    /// The route as an object of an endpoint.
    pub fn object(&self, id: &EndpointId) -> (Key, Value) {
        let value = Value::Route {
            dev: self.dev.as_ref().unwrap_or(&id.ifname).clone(),
            via: self.via,
            onlink: false,
            src: None,
            attributes: self.attributes,
        };
        (Key::Route(id.sandbox.clone(), self.to), value)
    }
}
