//! What the engine needs of a kernel: the seam between deciding and doing.

use crate::error::KernelError;
use crate::facts::Facts;
use crate::netns::OpenError;
use crate::sockets::InTheWay;
use ipnet::IpNet;
use qiao_core::endpoint::{Netns, Way};
use qiao_core::flows::Flows;
use qiao_core::forwarding::Forwarding;
use qiao_core::plan::{Observed, Op, Plan, State, Sysctl};
use qiao_core::port::Listen;
use qiao_core::solo::Select;
use qiao_core::subnet::Family;
use qiao_core::{Endpoint, EngineId, IfName, Mac, SandboxName, Subnet};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use thiserror::Error;

/// Where the sandboxes are.
pub type Places = BTreeMap<SandboxName, Netns>;

/// A plan that could not be carried out. What was done of it is not known: look, and take it back.
#[derive(Debug, Error)]
#[error("cannot carry out `{}`", qiao_core::render::line(.op).split_whitespace().collect::<Vec<_>>().join(" "))]
pub struct ApplyError {
    /// The operation that failed first.
    pub op: Box<Op>,
    /// Why.
    #[source]
    pub source: KernelError,
}

/// Where an announcement goes out.
#[derive(Clone, Copy, Debug)]
pub enum Via<'a> {
    /// At a bridge of the host, to all its ports but the endpoint's own.
    Bridge(&'a IfName),
    /// At the endpoint's own interface, which has this hardware address.
    Itself(Mac),
}

/// An interface that others shall be children of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostLink {
    /// Its hardware address.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// Whether it bears our mark.
    pub ours: bool,
    /// Whether it is a port of a bridge or a bond.
    pub enslaved: bool,
    /// Whether it is a wireless one.
    pub wireless: bool,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// Whether it is a bridge.
    pub is_bridge: bool,
    /// Whether it is one that tells VLANs apart.
    pub filtering: bool,
    /// Whether it is a VRF.
    pub is_vrf: bool,
    /// Its alias.
    pub alias: Option<String>,
}

/// How an interface in a sandbox is that another program made, and how the host reaches it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Its hardware address.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The interface of the host that packets to it leave by.
    pub device: Option<IfName>,
    /// Whether that is a bridge.
    pub by_bridge: bool,
    /// The subnets that are on that link.
    pub link: Vec<Subnet>,
    /// The other end of a pair, if that is on the host.
    pub peer: Option<IfName>,
    /// The other end of a pair, if it is the port of a bridge.
    pub port: Option<IfName>,
    /// Whether that port is kept apart from others like it.
    pub isolated: bool,
    /// Whether a frame may have to leave by that port where it came in (`br_netfilter`), and may not yet.
    pub hairpins: bool,
}

/// How a sandbox routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// Whether the interface that is asked about is there.
    pub is_there: bool,
    /// Whether it is a port of another device.
    pub is_port: bool,
    /// The `vrf` devices, with their tables.
    pub vrfs: BTreeMap<IfName, u32>,
    /// The routes of its, in the main table; those without our mark say whose.
    pub routes: Vec<Way>,
    /// The tables in which somebody has routes, or to which rules lead.
    pub tables: BTreeSet<u32>,
}

/// A kernel, or something that behaves like one.
pub trait Kernel {
    /// The cookie of the host's network namespace: no other has the same until the next boot (`SO_NETNS_COOKIE`).
    fn home(&mut self) -> u64;

    /// Says which engine acts. What another one has created is foreign.
    fn act_for(&mut self, _engine: EngineId) {}

    /// What exists of `wanted`. An object that can bear no mark is taken for its owner's.
    fn observe(&mut self, wanted: &State, places: &Places) -> Result<Observed, KernelError>;

    /// Everything in the host's namespace that bears a mark of ours.
    fn survey(&mut self) -> Result<Observed, KernelError>;

    /// Says that ports will be published soon. What takes long to make for the first of a host, and is nowhere when
    /// it is made, may be begun.
    fn foresee_ports(&mut self) {}

    /// Carries out a plan. On success every operation has been done; on failure some may have been.
    fn apply(&mut self, plan: &Plan, places: &Places) -> Result<(), ApplyError>;

    /// Forgets tracked connections.
    fn forget(&mut self, flows: &BTreeSet<Flows>) -> Result<(), KernelError>;

    /// Tells an endpoint's neighbours where its addresses are now.
    fn announce(&mut self, endpoint: &Endpoint, from: Via<'_>) -> Result<(), KernelError>;

    /// Opens the namespace at a path, and tells which it is.
    fn netns(&mut self, path: &str) -> Result<Netns, OpenError>;

    /// Whether a namespace is still at its path.
    fn is_alive(&mut self, netns: &Netns) -> bool;

    /// The names of the interfaces in a namespace.
    fn links_in(&mut self, netns: &Netns) -> Result<Vec<String>, KernelError>;

    /// The interfaces in a namespace that are children of one of the host's.
    fn children_in(&mut self, netns: &Netns, parent: &IfName) -> Result<Vec<IfName>, KernelError>;

    /// The marks of our pairs that have an end in a namespace.
    fn marks_in(&mut self, netns: &Netns) -> Result<Vec<String>, KernelError>;

    /// The index of the host's interface of this name; none where there is none. Another interface of the name
    /// has another index.
    fn link_index(&mut self, name: &IfName) -> Result<Option<u32>, KernelError>;

    /// The host's interface of this name; none where there is none.
    fn link(&mut self, name: &IfName) -> Result<Option<HostLink>, KernelError>;

    /// The interface of this name in a namespace; none where there is none.
    fn link_in(&mut self, netns: &Netns, name: &IfName) -> Result<Option<HostLink>, KernelError>;

    /// How a namespace routes, and what of that is an interface's.
    fn routing(&mut self, netns: &Netns, name: &IfName) -> Result<Routing, KernelError>;

    /// The name of the host's device that is meant; none where there is none.
    fn device(&mut self, which: &Select) -> Result<Option<IfName>, KernelError>;

    /// The driver that a device is given to, where that is a program's (DPDK): it has no interface then.
    fn program_driver(&mut self, _which: &Select) -> Option<String> {
        None
    }

    /// Whether the kernel can make links of a kind: `macvlan`, `ipvlan`, `vlan`, `dummy`, `tun`; and `bridge-vlan`,
    /// bridges that tell VLANs apart.
    fn has_kind(&mut self, kind: &str) -> Result<bool, KernelError>;

    /// An interface in a sandbox that another program made; none where there is none of the name.
    fn reached(
        &mut self,
        netns: &Netns,
        link: &IfName,
        addresses: &[IpNet],
    ) -> Result<Option<Reached>, KernelError>;

    /// The families in which `iptables` drops what the host forwards unless a rule lets it through.
    fn drops_forwarded(&mut self) -> Result<Vec<Family>, KernelError>;

    /// The same for what comes in to the host.
    fn drops_incoming(&mut self) -> Result<Vec<Family>, KernelError>;

    /// The families in which the legacy `iptables` does, whose rules are left alone.
    fn drops_by_legacy(&mut self) -> Vec<Family> {
        Vec::new()
    }

    /// What is in the way of publishing a port, among the sockets and addresses of the host.
    fn in_the_way(&mut self, listen: Listen) -> Option<InTheWay>;

    /// The ports that are given to those who ask for none, first and last.
    fn ephemeral_ports(&mut self) -> (u16, u16);

    /// The value of a setting; none where the kernel has no such setting.
    fn sysctl(&mut self, sysctl: &Sysctl) -> Result<Option<u32>, KernelError>;

    /// What else must be known of the host to bring a network into use.
    fn facts(&mut self) -> Result<Facts, KernelError>;

    /// What others have on the host that forwards packets.
    fn forwarding(&mut self) -> Result<Forwarding, KernelError>;

    /// What keeps clients of 127.0.0.1 and ::1 from being served, if anything does.
    fn loopback_trouble(&mut self) -> Result<Option<String>, KernelError> {
        Ok(None)
    }

    /// What the user must know about clients of 127.0.0.1 and ::1, and `repair` cannot mend.
    fn loopback_notes(&mut self) -> Result<Vec<String>, KernelError> {
        Ok(Vec::new())
    }

    /// Takes away what engines whose network namespace is gone have left for clients of 127.0.0.1; what it was.
    fn collect_hooks(&mut self) -> Result<Vec<String>, KernelError> {
        Ok(Vec::new())
    }

    /// Every element of the rule set's sets that bears a mark of ours, also where the rule set is not as it must be.
    fn elements(&mut self) -> Result<Observed, KernelError> {
        Ok(Observed::default())
    }

    /// What was not as it must be in the rule set, in words, when it was compared last.
    fn rule_flaws(&self) -> Vec<String> {
        Vec::new()
    }

    /// Says which generation of the firewall is known to be whole.
    fn trust(&mut self, generation: Option<u32>);

    /// Whether the firewall was found at the generation that was trusted: nobody else has changed anything in it.
    fn is_unmoved(&self) -> bool;

    /// The generation of the firewall after our last change to it, if it was whole then.
    fn generation(&self) -> Option<u32>;

    /// Starts this program once more as a process of its own; false where that cannot be.
    fn start_detached(&mut self, _arguments: &[&str]) -> Result<bool, KernelError> {
        Ok(false)
    }

    /// Whether processes can be started.
    fn starts_processes(&self) -> bool {
        false
    }

    /// Says whether the firewall is still busy freeing what was deleted before. The kernel's part of this
    /// process's end is then left to a child, so that nobody waits for it.
    fn expect_freeing(&mut self, _busy: bool) {}

    /// Whether the firewall is busy freeing what was deleted by us, for [`FREED`].
    fn is_freeing(&self) -> bool {
        false
    }
}

/// How long what was deleted from the firewall takes to be freed, at most: grace periods of RCU, 6 to 25 ms here.
pub const FREED: Duration = Duration::from_millis(50);
