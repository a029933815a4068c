//! Macvlan, ipvlan and VLAN networks: the interface of the host that they are on, and what hangs on it.

use crate::address::Given;
use crate::draft::{defaults, gateways};
use crate::error::EngineError;
use crate::session::Session;
use crate::subnets::all_used;
use qiao_core::child::{Broadcasts, Mode, Vlan};
use qiao_core::driver::{Activation, Active};
use qiao_core::endpoint::{Join, Netns, Wire};
use qiao_core::network::check_mtu;
use qiao_core::owner::EndpointId;
use qiao_core::request::{Attach, CreateNetwork, Kind};
use qiao_core::subnet::Family;
use qiao_core::{Child, Code, Driver, Endpoint, IfName, Mac, Network, Refusal, Subnet};
use qiao_kernel::{Facts, HostLink, Kernel};
use std::net::IpAddr;

/// A parent as it is, or will be.
pub(crate) struct Found {
    /// Its hardware address.
    pub mac: Mac,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The VLAN that it is, where that is ours to make.
    pub vlan: Option<Vlan>,
}

impl<K: Kernel> Session<'_, K> {
    /// Decides what a macvlan or ipvlan network will be.
    pub fn design_child(&mut self, request: &CreateNetwork, facts: &Facts) -> Result<Child, EngineError> {
        refuse_options(request)?;
        if request.dhcp {
            refuse_of_dhcp(request)?;
        }
        let mut child = Child {
            parent: parent_of(request, facts)?,
            mode: request.mode.map_or_else(|| default_mode(request.kind), Ok)?,
            pools: Vec::new(),
            mtu: request.options.mtu,
            internal: request.options.internal,
            inside: false,
            broadcasts: Broadcasts::default(),
            dhcp: request.dhcp,
            inline: false,
        };
        let found = self.parent(&child, None)?;
        if child.dhcp {
            child.check()?;
            return Ok(child);
        }
        self.refuse_no_subnet(request, (&child, facts))?;
        for family in [Family::V4, Family::V6] {
            if request.subnets.iter().any(|subnet| subnet.family() == family) {
                child.pools.push(self.pool(family, request, facts)?);
            }
        }
        all_used(request, &child.pools)?;
        child.check()?;
        let has_v6 = child.pools.iter().any(|pool| pool.subnet.family() == Family::V6);
        check_mtu(child.mtu.unwrap_or(found.mtu), has_v6)
            .map_err(|refusal| refusal.fix(format!("ip link set {} mtu 1280", child.parent)))?;
        Ok(child)
    }

    /// The addresses of the neighbourhood are not ours to choose: a free subnet would be nobody's.
    fn refuse_no_subnet(
        &mut self,
        request: &CreateNetwork,
        (child, facts): (&Child, &Facts),
    ) -> Result<(), EngineError> {
        let given = |family| request.subnets.iter().any(|subnet| subnet.family() == family);
        if request.ipv6 == Some(true) && !given(Family::V6) {
            return Err(Refusal::invalid("IPv6 needs a subnet of the neighbourhood")
                .fix("--subnet PREFIX/64")
                .into());
        }
        if given(Family::V6) && !facts.ipv6 {
            return Err(Refusal::new(Code::Unsupported, "this kernel has no IPv6").into());
        }
        if !request.subnets.is_empty() {
            return Ok(());
        }
        let refusal =
            Refusal::invalid(format!("a {} network needs --subnet", child.mode.kind())).why(format!(
                "its containers are hosts of the network that `{}` is on, which has its subnets",
                child.parent
            ));
        let addresses = self.kernel.link(&child.parent)?.map(|link| link.addresses).unwrap_or_default();
        let lan = addresses.into_iter().find(|net| net.addr().is_ipv4()).map(Subnet::around);
        let router = lan.and_then(|lan| router_in(lan, &child.parent, facts));
        let fix = lan.map(|lan| {
            let router = router.map(|router| format!(" --gateway {router}")).unwrap_or_default();
            format!("--subnet {lan}{router} --ip-range PART-THAT-NOBODY-ELSE-GIVES-OUT")
        });
        Err(fix.into_iter().fold(refusal, Refusal::fix).into())
    }

    /// The router of a child's subnet, where the host knows one.
    pub fn router(&self, subnet: Subnet, request: &CreateNetwork, facts: &Facts) -> Option<IpAddr> {
        let parent = parent_of(request, facts).ok().filter(|_| request.kind.is_child())?;
        router_in(subnet, &parent, facts)
    }

    /// The parent of a network: an interface that there is, or a VLAN of one.
    pub fn parent(&mut self, child: &Child, netns: Option<&Netns>) -> Result<Found, EngineError> {
        self.needs_kind(child.mode.kind())?;
        let vlan = Vlan::of_name(&child.parent);
        let there = match netns.filter(|_| child.inside) {
            Some(netns) => self.kernel.link_in(netns, &child.parent)?,
            None => self.kernel.link(&child.parent)?,
        };
        let found = match (there, vlan) {
            (Some(link), vlan) => {
                let ours = link.ours && !child.inside;
                (link, child.parent.clone(), vlan.filter(|_| ours))
            }
            // What the configuration of CNI names is there.
            (None, Some(vlan)) if !child.inline || child.dhcp || !child.pools.is_empty() => {
                let base = self.kernel.link(&vlan.parent)?.ok_or_else(|| no_parent(&vlan.parent))?;
                self.needs_kind("vlan")?;
                (base, vlan.parent.clone(), Some(vlan))
            }
            (None, _) => return Err(no_parent(&child.parent).into()),
        };
        let (link, name, vlan) = found;
        usable(&link, &name, child)?;
        let mac = link.mac.ok_or_else(|| {
            Refusal::invalid(format!("the interface `{name}` has no hardware address"))
                .why("it is no Ethernet")
        })?;
        if let Some(mtu) = child.mtu.filter(|mtu| *mtu > link.mtu) {
            return Err(Refusal::invalid(format!("the MTU {mtu} is more than that of `{}`", child.parent))
                .why(format!("it has {}", link.mtu))
                .into());
        }
        Ok(Found { mac, mtu: link.mtu, vlan })
    }

    /// Refuses a kind of link that this kernel does not know.
    pub fn needs_kind(&mut self, kind: &str) -> Result<(), EngineError> {
        if self.kernel.has_kind(kind)? {
            return Ok(());
        }
        let (what, option, module) = match kind {
            "macvlan" => (kind, "CONFIG_MACVLAN", kind),
            "ipvlan" => (kind, "CONFIG_IPVLAN", kind),
            "dummy" => (kind, "CONFIG_DUMMY", kind),
            "ifb" => (kind, "CONFIG_IFB", kind),
            "vrf" => (kind, "CONFIG_NET_VRF", kind),
            "tun" => ("tap", "CONFIG_TUN", kind),
            "bridge-vlan" => ("VLAN filtering of bridges", "CONFIG_BRIDGE_VLAN_FILTERING", "bridge"),
            _ => (kind, "CONFIG_VLAN_8021Q", "8021q"),
        };
        Err(Refusal::new(Code::Unsupported, format!("this kernel has no {what}"))
            .why(format!("it was built without {option}, or its module `{module}` is not there"))
            .into())
    }

    /// The addresses of the host that containers must not have: those of the parent, or of somebody's bridge.
    pub fn hosts_addresses(
        &mut self,
        network: &Network,
        activation: &Activation,
    ) -> Result<Vec<IpAddr>, EngineError> {
        let asks = match &network.driver {
            Driver::Child(child) => !child.inside,
            _ => network.is_dhcp() || activation.foreign,
        };
        if !asks {
            return Ok(Vec::new());
        }
        let link = self.kernel.link(&activation.device)?;
        Ok(link.map(|link| link.addresses.iter().map(ipnet::IpNet::addr).collect()).unwrap_or_default())
    }

    /// What joins an endpoint to its parent, and the hardware address that its neighbours shall know.
    pub fn child_wire(
        &mut self,
        (network, activation): (&Network, &Activation),
        request: &Attach,
        (id, given, others): (&EndpointId, &[Given], &[Endpoint]),
    ) -> Result<(Wire, Option<Mac>), EngineError> {
        let Some(child) = network.child() else { return Err(Refusal::invalid("it has no parent").into()) };
        refuse_wishes(child.mode, request)?;
        let path = request.netns.as_deref().filter(|_| child.inside);
        let netns = path.map(|path| self.kernel.netns(path)).transpose()?;
        let found = self.parent(child, netns.as_ref())?;
        let passthru = child.mode.is_passthru();
        if passthru && self.txn.claims().count(&network.name)? > 0 {
            let what = format!("network `{}` has a member, and takes no other", network.name);
            return Err(Refusal::conflict(what).why("a passthru child has its parent for itself").into());
        }
        let join = match child.mode {
            Mode::Macvlan(_) => Join::Macvlan,
            Mode::Ipvlan(..) => Join::Ipvlan,
            Mode::Vlan(_) => Join::Vlan,
        };
        let wish = self.leased_mac(&request.wish);
        let mac = if passthru { found.mac } else { self.mac((network, activation), (id, given), &wish)? };
        let mut wire = Wire {
            join,
            host_if: activation.device.clone(),
            mac,
            addresses: given.iter().map(|(net, _)| *net).collect(),
            mtu: child.mtu.unwrap_or(found.mtu),
            gateways: if defaults(request) { gateways(network, others) } else { Vec::new() },
            publish: Vec::new(),
            guard: false,
            allow: Vec::new(),
            extras: Default::default(),
        };
        self.on_lease(&mut wire, others, network);
        Ok((wire, Some(if join == Join::Macvlan { mac } else { found.mac })))
    }

    /// The networks whose interface of the host is there, and what is to be said of the others: nothing of them
    /// can be until it is back.
    pub fn present(&mut self, active: &Active) -> Result<(Active, Vec<String>), EngineError> {
        let (mut present, mut orphans) = (Active::new(), Vec::new());
        for (name, activation) in active {
            match activation.base() {
                Some(base) if self.kernel.link_index(base)?.is_none() => {
                    orphans.push(format!("network `{name}` is on interface `{base}`, which is not there"));
                }
                _ => drop(present.insert(name.clone(), activation.clone())),
            }
        }
        Ok((present, orphans))
    }
}

fn parent_of(request: &CreateNetwork, facts: &Facts) -> Result<IfName, Refusal> {
    let uplink = facts.ways.first().map(|(name, _)| name.clone());
    request.parent.clone().or(uplink).ok_or_else(|| {
        Refusal::invalid(format!("a {} network needs a parent", request.kind.as_str()))
            .why("this host has no default route whose interface it could be")
            .fix("-o parent=INTERFACE")
    })
}

fn default_mode(kind: Kind) -> Result<Mode, Refusal> {
    if kind == Kind::Macvlan { Mode::macvlan("bridge") } else { Mode::ipvlan("l2", None) }
}

fn router_in(subnet: Subnet, parent: &IfName, facts: &Facts) -> Option<IpAddr> {
    let routers = facts.ways.iter().filter(|(name, _)| name == parent).filter_map(|(_, via)| *via);
    routers.into_iter().find(|via| subnet.usable(*via))
}

fn no_parent(name: &IfName) -> Refusal {
    Refusal::not_found(format!("there is no interface `{name}`")).fix("ip link").fix("-o parent=INTERFACE")
}

/// A network that others describe may be joined before its parent is up: it is reached from then on.
fn usable(link: &HostLink, name: &IfName, child: &Child) -> Result<(), Refusal> {
    let mode = child.mode;
    if !link.up && (!child.inline || child.dhcp || matches!(mode, Mode::Vlan(_))) {
        return Err(Refusal::conflict(format!("the interface `{name}` is down"))
            .fix(format!("ip link set {name} up")));
    }
    if link.enslaved && !matches!(mode, Mode::Vlan(_)) {
        return Err(Refusal::conflict(format!("the interface `{name}` is a port of a bridge or a bond"))
            .fix("-o parent= with the bridge or the bond itself"));
    }
    if link.wireless && matches!(mode, Mode::Macvlan(_)) {
        return Err(Refusal::conflict(format!("the interface `{name}` is a wireless one"))
            .why("a wireless network lets each station have one hardware address")
            .fix("-d ipvlan"));
    }
    Ok(())
}

/// Refuses what a DHCP server decides, and where none can.
fn refuse_of_dhcp(request: &CreateNetwork) -> Result<(), Refusal> {
    if request.kind == Kind::Ipvlan {
        return Err(Refusal::invalid("an ipvlan network has no addresses by DHCP")
            .why("its containers have their parent's hardware address, by which servers tell hosts apart")
            .fix("-d macvlan"));
    }
    let given = [
        (!request.subnets.is_empty(), "--subnet"),
        (!request.gateways.is_empty(), "--gateway"),
        (!request.ranges.is_empty(), "--ip-range"),
        (!request.aux.is_empty(), "--aux-address"),
        (request.ipv6 == Some(true), "--ipv6"),
    ];
    match given.into_iter().find(|(given, _)| *given) {
        Some((_, option)) => {
            Err(Refusal::invalid(format!("{option} makes no sense with `--ipam-driver dhcp`"))
                .why("the addresses are those that the DHCPv4 server of the neighbourhood gives"))
        }
        None => Ok(()),
    }
}

/// Refuses what only the host's rules could do: they do not see these packets.
fn refuse_options(request: &CreateNetwork) -> Result<(), Refusal> {
    let options = &request.options;
    let given = [
        (options.device.is_some(), "name"),
        (options.icc.is_some(), "icc"),
        (options.isolate.is_some(), "isolate"),
        (options.masquerade.is_some(), "masquerade"),
        (options.publish_address.is_some(), "publish-address"),
        (options.host_access.is_some(), "host-access"),
        (options.guard == Some(true), "guard"),
        (options.dns == Some(true), "dns"),
    ];
    let Some((_, name)) = given.into_iter().find(|(given, _)| *given) else { return Ok(()) };
    let refusal =
        Refusal::invalid(format!("`{name}` is not an option of a {} network", request.kind.as_str()))
            .why("its packets do not pass the host's rules");
    Err(if name == "icc" { refusal.fix("-o mode=private keeps members apart") } else { refusal })
}

fn refuse_wishes(mode: Mode, request: &Attach) -> Result<(), Refusal> {
    if let Some(spec) = request.publish.first() {
        return Err(Refusal::invalid(format!("cannot publish {spec}: it is a {} network", mode.kind())).why(
            "its containers are hosts of the neighbourhood: their ports are reached at their own addresses",
        ));
    }
    if request.guard == Some(true) || !request.allow.is_empty() {
        return Err(Refusal::invalid(format!("a {} network has no guard", mode.kind()))
            .why("its packets do not pass the host's rules"));
    }
    if request.wish.mac.is_some() { mode.check_mac() } else { Ok(()) }
}
