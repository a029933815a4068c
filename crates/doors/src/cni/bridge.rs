//! The `bridge` plugin: its settings, and the network that they describe.

use super::answer::Answer;
use super::call::Args;
use super::config::Config;
use super::failure::Failure;
use super::main_plugin::{default_route, mtu};
use qiao_core::endpoint::Extras;
use qiao_core::mac::Mac;
use qiao_core::network::{Bridge, Driver, Inline, Pool};
use qiao_core::subnet::Family;
use qiao_core::{IfName, Subnet};

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
}

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
        refuse_rest(config)?;
        Ok(Self {
            device: IfName::new(device).map_err(Failure::from)?,
            gateway: doc.is_on("isGateway")? || default_gateway,
            default_gateway,
            masquerade: doc.is_on("ipMasq")?,
            mtu: mtu(config)?,
            hairpin,
            isolated: doc.is_on("portIsolation")?,
            mac: mac(config, args)?,
        })
    }

    /// What is wished for besides: the hardware address, and how the port is.
    pub fn wish(&self, extras: &mut Extras, nameless: bool) -> Option<Mac> {
        (extras.hairpin, extras.isolated, extras.learns) = (self.hairpin, self.isolated, nameless);
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
            inline: Some(Inline { routed: self.gateway, apart: false }),
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

/// What is not there yet is said, rather than left out.
fn refuse_rest(config: &Config) -> Result<(), Failure> {
    let doc = config.doc();
    if let Some(vlan) = doc.number("vlan", 4094)?.filter(|vlan| *vlan != 0) {
        return Err(Failure::unsupported("vlan", vlan));
    }
    if doc.is_on("disableContainerInterface")? {
        return Err(Failure::unsupported("disableContainerInterface", true));
    }
    for key in ["forceAddress", "enabledad", "macspoofchk", "preserveDefaultVlan"] {
        doc.is_on(key)?;
    }
    match doc.list("vlanTrunk")? {
        [] => Ok(()),
        trunk => Err(Failure::unsupported("vlanTrunk", trunk.len())),
    }
}
