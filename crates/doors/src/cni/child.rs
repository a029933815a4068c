//! The plugins `macvlan`, `ipvlan` and `vlan`: an interface on one of the host's, or of the container's.

use super::answer::Answer;
use super::call::Args;
use super::chain;
use super::config::Config;
use super::doc::Doc;
use super::failure::Failure;
use super::main_plugin::mtu;
use qiao_core::child::{Broadcasts, Child, Mode};
use qiao_core::mac::Mac;
use qiao_core::network::Driver;
use qiao_core::{IfName, Refusal};

/// The settings of such a network.
#[derive(Clone, Debug)]
pub struct Settings {
    parent: Option<IfName>,
    mode: Mode,
    mtu: Option<u32>,
    queue: Option<u32>,
    inside: bool,
    mac: Option<Mac>,
    /// What the plugin before said, where this one takes that for its own.
    prev: Option<Answer>,
}

impl Settings {
    /// Reads the settings of a plugin.
    pub fn parse(plugin: &str, config: &Config, args: &Args) -> Result<Self, Failure> {
        let doc = config.doc();
        let (mut parent, mut prev) = (doc.text("master")?.map(str::to_owned), None);
        if plugin == "ipvlan" {
            prev = config.prev.clone().filter(|prev| !prev.ips.is_empty());
            prev.take_if(|_| config.ipam().is_ok_and(|ipam| ipam.is_some()));
            let first = config.prev.as_ref().and_then(|prev| prev.interfaces.first());
            parent = parent.or_else(|| first.map(|interface| interface.name.clone()));
        }
        let settings = Self {
            parent: parent.map(|name| IfName::new(&name)).transpose().map_err(about("master"))?,
            mode: mode(plugin, doc)?,
            mtu: mtu(config)?,
            queue: doc.number("bcqueuelen", u32::MAX.into())?.map(|length| length as u32),
            inside: doc.is_on("linkInContainer")?,
            mac: if plugin == "macvlan" { chain::mac(config, args)? } else { None },
            prev,
        };
        if settings.parent.is_none() && (settings.inside || plugin == "vlan") {
            return Err(Failure::config("`master` is missing: the interface that it is on"));
        }
        Ok(settings)
    }

    /// Whether the interface that it is on is left to the host: that of its default route.
    pub fn needs_parent(&self) -> bool {
        self.parent.is_none()
    }

    /// Says on which interface it is.
    pub fn set_parent(&mut self, parent: IfName) {
        self.parent = Some(parent);
    }

    /// Takes addresses and routes from the plugin before, where there is no address management.
    pub fn complete(&self, ipam: &mut Answer) {
        if let Some(prev) = &self.prev {
            *ipam = Answer { interfaces: Vec::new(), ..prev.clone() };
        }
    }

    /// The interface of the host that leads to the neighbourhood, for a child with a hardware address of its own.
    pub fn over(&mut self, mac: Mac) -> Option<(IfName, Mac)> {
        let parent = self.parent.clone().filter(|_| !self.inside && matches!(self.mode, Mode::Macvlan(_)))?;
        Some((parent, *self.mac.get_or_insert(mac)))
    }

    /// The hardware address that is asked for.
    pub fn mac(&self) -> Option<Mac> {
        self.mac
    }

    /// The network.
    pub fn driver(&self) -> Result<Driver, Failure> {
        let parent = self.parent.clone().ok_or_else(no_uplink)?;
        let child = Child {
            parent,
            mode: self.mode,
            pools: Vec::new(),
            mtu: self.mtu,
            internal: false,
            inside: self.inside,
            broadcasts: Broadcasts { queue: self.queue, cutoff: None },
            dhcp: false,
            inline: true,
        };
        child.check().map_err(about("master"))?;
        Ok(Driver::Child(child))
    }
}

fn about(key: &'static str) -> impl Fn(Refusal) -> Failure {
    move |refusal| Failure::config(format!("`{key}`: {}", refusal.message))
}

fn no_uplink() -> Failure {
    Failure::config("`master` is missing, and the host has no default route whose interface it could be")
}

fn mode(plugin: &str, doc: Doc<'_>) -> Result<Mode, Failure> {
    let mode = doc.text("mode")?;
    match plugin {
        "macvlan" => Mode::macvlan(mode.unwrap_or("bridge")).map_err(about("mode")),
        "ipvlan" => Mode::ipvlan(mode.unwrap_or("l2"), None).map_err(about("mode")),
        _ => match doc.number("vlanId", 4094)? {
            Some(id) => Ok(Mode::Vlan(id as u16)),
            None => Err(Failure::config("`vlanId` is missing: 0 to 4094")),
        },
    }
}
