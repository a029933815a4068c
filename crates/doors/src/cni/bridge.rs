//! The `bridge` plugin: its settings, and the network that they describe.

use super::answer::Answer;
use super::call::Args;
use super::config::Config;
use super::doc::Doc;
use super::failure::Failure;
use super::main_plugin::{default_route, masquerades, mtu};
use qiao_core::endpoint::{Extras, PortVlans};
use qiao_core::mac::Mac;
use qiao_core::network::{Bridge, Driver, Inline, Pool};
use qiao_core::subnet::Family;
use qiao_core::{IfName, Subnet};
use std::collections::BTreeSet;

/// The settings of a bridge network.
#[derive(Clone, Debug)]
pub struct Settings {
    device: IfName,
    gateway: bool,
    default_gateway: bool,
    masquerade: bool,
    mtu: Option<u32>,
    hairpin: bool,
    isolated: bool,
    mac: Option<Mac>,
    vlan: Option<u16>,
    vlans: Option<PortVlans>,
    down: bool,
}

/// The VLAN that ports of a bridge are in unless somebody says otherwise.
const DEFAULT_VLAN: u16 = 1;

impl Settings {
    /// Reads the settings.
    pub fn parse(config: &Config, args: &Args) -> Result<Self, Failure> {
        let doc = config.doc();
        let device = doc.text("bridge")?.unwrap_or("cni0");
        let default_gateway = doc.is_on("isDefaultGateway")?;
        let hairpin = doc.is_on("hairpinMode")?;
        if hairpin && doc.is_on("promiscMode")? {
            return Err(Failure::config("`hairpinMode` and `promiscMode` exclude one another"));
        }
        // Taken and not needed: see docs/cni.md.
        for key in ["forceAddress", "enabledad"] {
            doc.is_on(key)?;
        }
        if doc.is_on("macspoofchk")? && (config.ipam()?.is_none() || !trunk(doc)?.is_empty()) {
            let without = "true without `ipam`, or with `vlanTrunk`, where there is no guard,";
            return Err(Failure::unsupported("macspoofchk", without));
        }
        let down = doc.is_on("disableContainerInterface")?;
        if down && config.ipam()?.is_some() {
            return Err(Failure::config("`disableContainerInterface` and `ipam` exclude one another"));
        }
        let vlan = doc.number("vlan", 4094)?.filter(|id| *id != 0).map(|id| id as u16);
        let gateway = doc.is_on("isGateway")? || default_gateway;
        if let Some(id) = vlan.filter(|_| gateway) {
            let name = format!("{device}.{id}");
            IfName::new(&name)
                .map_err(|_| Failure::config(format!("`bridge`: the name {name} is too long")))?;
        }
        Ok(Self {
            device: IfName::new(device).map_err(Failure::from)?,
            gateway,
            default_gateway,
            masquerade: masquerades(config)?,
            mtu: mtu(config)?,
            hairpin,
            isolated: doc.is_on("portIsolation")?,
            mac: mac(config, args)?,
            vlan,
            vlans: vlans(doc, vlan)?,
            down,
        })
    }

    /// The bridge.
    pub fn device(&self) -> &IfName {
        &self.device
    }

    /// The hardware address; this one where none is asked for.
    pub fn mac_or(&mut self, mac: Mac) -> Mac {
        *self.mac.get_or_insert(mac)
    }

    /// What is wished for besides: the hardware address, and how the port is.
    pub fn wish(&self, extras: &mut Extras, nameless: bool) -> Option<Mac> {
        (extras.hairpin, extras.isolated, extras.learns) = (self.hairpin, self.isolated, nameless);
        (extras.vlans, extras.down) = (self.vlans.clone(), self.down);
        extras.learns |= self.is_trunk();
        self.mac
    }

    /// Completes what the address management said: the gateways that are the bridge's, and the default routes.
    pub fn complete(&self, ipam: &mut Answer) {
        if !self.gateway {
            return;
        }
        for ip in &mut ipam.ips {
            let first = Subnet::around(ip.net);
            ip.gateway = ip.gateway.or(Some(first.family().address(first.host_range().0)));
        }
        if !self.default_gateway {
            return;
        }
        for family in [Family::V4, Family::V6] {
            let everywhere = family.default_route();
            let gw = ipam.ips.iter().filter_map(|ip| ip.gateway).find(|gw| Family::of(*gw) == family);
            if let Some(gw) = gw.filter(|_| ipam.routes.iter().all(|route| route.dst != everywhere)) {
                ipam.routes.push(default_route(gw));
            }
        }
    }

    /// Whether the container sends tagged frames: whose addresses are in them is not known, so there is no guard.
    pub fn is_trunk(&self) -> bool {
        self.vlans.as_ref().is_some_and(|vlans| !vlans.tagged.is_empty())
    }

    /// The network.
    pub fn driver(&self, ipam: &Answer) -> Driver {
        let mut pools: Vec<Pool> = Vec::new();
        for ip in ipam.ips.iter().filter(|_| self.gateway || self.masquerade) {
            let subnet = Subnet::around(ip.net);
            if pools.iter().all(|pool| pool.subnet != subnet) {
                let own = Pool::new(subnet);
                pools.push(Pool { gateway: ip.gateway.unwrap_or(own.gateway), ..own });
            }
        }
        Driver::Bridge(Bridge {
            device: self.device.clone(),
            pools,
            mtu: self.mtu,
            internal: false,
            host_access: true,
            icc: true,
            isolate: false,
            masquerade: self.masquerade,
            guard: true,
            publish_address: None,
            dns: None,
            vrf: None,
            inline: Some(Inline {
                routed: self.gateway,
                filtering: self.vlans.is_some(),
                vlan: self.vlan,
                ..Inline::default()
            }),
        })
    }
}

/// The hardware address: the runtime's, the user's, that of `CNI_ARGS`.
pub(super) fn mac(config: &Config, args: &Args) -> Result<Option<Mac>, Failure> {
    let given = args.iter().find(|(key, _)| key.eq_ignore_ascii_case("MAC")).map(|(_, mac)| mac.as_str());
    let text = config.runtime()?.text("mac")?.or(config.user()?.text("mac")?).or(given);
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Failure::config(format!("`mac`: {text} is not a hardware address")))
}

/// The VLANs of a port, where any are asked for. The one that is there unasked goes, unless it shall stay.
fn vlans(doc: Doc<'_>, native: Option<u16>) -> Result<Option<PortVlans>, Failure> {
    let tagged = trunk(doc)?;
    if native.is_none() && tagged.is_empty() {
        return Ok(None);
    }
    let keeps = doc.is_on("preserveDefaultVlan")?;
    let unasked = keeps.then_some(DEFAULT_VLAN);
    let untagged: BTreeSet<u16> = native.into_iter().chain(unasked).collect();
    let tagged = tagged.difference(&untagged).copied().collect();
    Ok(Some(PortVlans { native: native.or(unasked), untagged, tagged }))
}

/// The ids of `vlanTrunk`: single ones and ranges.
fn trunk(doc: Doc<'_>) -> Result<BTreeSet<u16>, Failure> {
    let mut ids = BTreeSet::new();
    for entry in doc.objects("vlanTrunk")? {
        let id = |key: &str| match entry.number(key, 4094)? {
            Some(0) => Err(Failure::config(format!("`vlanTrunk`: `{key}`: 0 is no VLAN"))),
            id => Ok(id.map(|id| id as u16)),
        };
        let (one, first, last) = (id("id")?, id("minID")?, id("maxID")?);
        ids.extend(one);
        match (first, last) {
            (Some(first), Some(last)) if first <= last => ids.extend(first..=last),
            (None, None) if one.is_some() => {}
            _ => {
                let what = "`vlanTrunk`: an entry has `id`, or `minID` and `maxID` in this order";
                return Err(Failure::config(what));
            }
        }
    }
    Ok(ids)
}
