//! Results, in the shapes of all versions (SPEC.md, section 5). What is not known of a result is kept.

use super::doc::{Doc, wrong};
use super::failure::Failure;
use super::version::Version;
use ipnet::IpNet;
use qiao_core::endpoint::Way;
use qiao_core::plan::RouteId;
use qiao_core::source::Origin;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// An object's keys, known or not.
pub type Fields = Map<String, Value>;

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: Option<String>,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
    /// The path of the namespace it is in; none for the host's.
    pub sandbox: Option<String>,
    /// What else was said.
    pub rest: Fields,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address with its prefix length.
    pub net: IpNet,
    /// Its gateway.
    pub gateway: Option<IpAddr>,
    /// Which interface has it, by its place in the list.
    pub interface: Option<usize>,
    /// What else was said.
    pub rest: Fields,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub dst: IpNet,
    /// The gateway, or none for that of the family's address.
    pub gw: Option<IpAddr>,
    /// Its attributes (`mtu`, `advmss`, `priority`, `table`, `scope`) and what else was said.
    pub rest: Fields,
}

/// The result of ADD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The interfaces.
    pub interfaces: Vec<Interface>,
    /// The addresses.
    pub ips: Vec<Address>,
    /// The routes.
    pub routes: Vec<Route>,
    /// How names are resolved.
    pub dns: Fields,
    /// What else was said.
    pub rest: Fields,
}

impl Answer {
    /// Reads a result of the version it says, or else of `version`.
    pub fn parse(doc: Doc<'_>, version: Version) -> Result<Self, Failure> {
        let written = doc.text("cniVersion")?.and_then(Version::parse).unwrap_or(version);
        let mut answer = Answer {
            dns: doc.object("dns")?.map(|dns| dns.0.clone()).unwrap_or_default(),
            rest: others(doc, &["cniVersion", "interfaces", "ips", "ip4", "ip6", "routes", "dns"]),
            ..Answer::default()
        };
        if written < Version::V030 {
            for key in ["ip4", "ip6"] {
                doc.object(key)?.map_or(Ok(()), |ip| answer.take_old(ip))?;
            }
            return Ok(answer);
        }
        answer.interfaces =
            doc.objects("interfaces")?.into_iter().map(interface).collect::<Result<_, _>>()?;
        answer.ips = doc.objects("ips")?.into_iter().map(address).collect::<Result<_, _>>()?;
        answer.routes = doc.objects("routes")?.into_iter().map(route).collect::<Result<_, _>>()?;
        Ok(answer)
    }

    fn take_old(&mut self, ip: Doc<'_>) -> Result<(), Failure> {
        let net = ip.parsed("ip", "an address with its prefix length")?.ok_or_else(|| missing("ip"))?;
        let gateway = ip.parsed("gateway", "an address")?;
        self.ips.push(Address { net, gateway, interface: None, rest: Fields::new() });
        for entry in ip.objects("routes")? {
            self.routes.push(route(entry)?);
        }
        Ok(())
    }

    /// The result in the shape of a version.
    pub fn to_json(&self, version: Version) -> Result<Value, Failure> {
        let mut object = if version < Version::V030 { self.old()? } else { self.fields(version) };
        object.insert("cniVersion".into(), version.as_str().into());
        if !self.dns.is_empty() || version < Version::V110 {
            object.insert("dns".into(), Value::Object(self.dns.clone()));
        }
        Ok(Value::Object(object))
    }

    fn fields(&self, version: Version) -> Fields {
        let mut object = self.rest.clone();
        let mut put = |key: &str, values: Vec<Value>| {
            if !values.is_empty() {
                object.insert(key.into(), Value::Array(values));
            }
        };
        put("interfaces", self.interfaces.iter().map(|i| i.to_json(version)).collect());
        put("ips", self.ips.iter().map(|ip| ip.to_json(version)).collect());
        put("routes", self.routes.iter().map(Route::to_json).collect());
        object
    }

    /// Before 0.3.0: the first address of each family with the routes of that family.
    fn old(&self) -> Result<Fields, Failure> {
        let mut object = Fields::new();
        for (key, is_v4) in [("ip4", true), ("ip6", false)] {
            let Some(ip) = self.ips.iter().find(|ip| ip.net.addr().is_ipv4() == is_v4) else { continue };
            let routes = self.routes.iter().filter(|route| route.dst.addr().is_ipv4() == is_v4);
            let mut entry = json!({"ip": ip.net});
            if let Some(gateway) = ip.gateway {
                entry["gateway"] = gateway.to_string().into();
            }
            let routes: Vec<Value> = routes.map(Route::to_json).collect();
            if !routes.is_empty() {
                entry["routes"] = routes.into();
            }
            object.insert(key.into(), entry);
        }
        if object.is_empty() {
            return Err(Failure::version("a result without an address has no shape before version 0.3.0"));
        }
        Ok(object)
    }

    /// The interface in the container: the first that has a sandbox.
    pub fn inside(&self) -> Option<(usize, &Interface)> {
        self.interfaces.iter().enumerate().find(|(_, interface)| interface.sandbox.is_some())
    }
}

impl Interface {
    fn to_json(&self, version: Version) -> Value {
        let mut object = self.rest.clone();
        object.insert("name".into(), self.name.clone().into());
        object.extend(self.mac.clone().map(|mac| ("mac".to_owned(), mac.into())));
        object.extend(self.sandbox.clone().map(|path| ("sandbox".to_owned(), path.into())));
        if version >= Version::V110 {
            object.extend(self.mtu.map(|mtu| ("mtu".to_owned(), mtu.into())));
        } else {
            object.retain(|key, _| !["socketPath", "pciID"].contains(&key.as_str()));
        }
        Value::Object(object)
    }
}

impl Address {
    fn to_json(&self, version: Version) -> Value {
        let mut object = self.rest.clone();
        if version < Version::V100 {
            object.insert("version".into(), if self.net.addr().is_ipv4() { "4" } else { "6" }.into());
        }
        object.extend(self.interface.map(|place| ("interface".to_owned(), place.into())));
        object.insert("address".into(), self.net.to_string().into());
        object.extend(self.gateway.map(|ip| ("gateway".to_owned(), ip.to_string().into())));
        Value::Object(object)
    }
}

impl Route {
    /// What it has besides a destination and a gateway; none where there is nothing. `via` is the gateway, once it is
    /// known.
    pub fn way(&self, via: Option<IpAddr>) -> Option<Way> {
        let doc = Doc(&self.rest);
        let number = |key: &str| doc.number(key, u32::MAX.into()).ok().flatten().map(|number| number as u32);
        let (table, priority) = (number("table"), number("priority"));
        let (mtu, advmss) = (number("mtu").unwrap_or(0), number("advmss").unwrap_or(0));
        let scope = number("scope").and_then(|scope| u8::try_from(scope).ok());
        if (mtu, advmss, scope) == (0, 0, None) && table.is_none() && priority.unwrap_or(0) == 0 {
            return None;
        }
        const LINK: u8 = 253;
        let via = via.filter(|_| scope != Some(LINK));
        Some(Way {
            id: RouteId::new(self.dst, (table, priority)),
            via,
            mtu,
            advmss,
            scope,
            origin: Origin::default(),
        })
    }

    fn to_json(&self) -> Value {
        let mut object = self.rest.clone();
        object.insert("dst".into(), self.dst.to_string().into());
        object.extend(self.gw.map(|ip| ("gw".to_owned(), ip.to_string().into())));
        Value::Object(object)
    }
}

fn missing(key: &str) -> Failure {
    Failure::config(format!("`{key}` is missing"))
}

/// The keys that are not among `known`.
fn others(doc: Doc<'_>, known: &[&str]) -> Fields {
    let is_other = |key: &str| known.iter().all(|known| !known.eq_ignore_ascii_case(key));
    doc.0.iter().filter(|(key, _)| is_other(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn interface(doc: Doc<'_>) -> Result<Interface, Failure> {
    let text = |key| doc.text(key).map(|text| text.map(str::to_owned));
    Ok(Interface {
        name: text("name")?.unwrap_or_default(),
        mac: text("mac")?,
        mtu: doc.number("mtu", u32::MAX.into())?.map(|mtu| mtu as u32),
        sandbox: text("sandbox")?,
        rest: others(doc, &["name", "mac", "mtu", "sandbox"]),
    })
}

fn address(doc: Doc<'_>) -> Result<Address, Failure> {
    let place = match doc.get("interface") {
        // The reference writes -1 where an address belongs to no interface that it knows.
        Some(value) if value.as_i64().is_some_and(|place| place < 0) => None,
        _ => doc.number("interface", u16::MAX.into())?,
    };
    Ok(Address {
        net: doc.parsed("address", "an address with its prefix length")?.ok_or_else(|| missing("address"))?,
        gateway: doc.parsed("gateway", "an address")?,
        interface: place.map(|place| place as usize),
        rest: others(doc, &["version", "address", "gateway", "interface"]),
    })
}

/// Reads a route: of a result, or of an address management's configuration.
pub(super) fn route(doc: Doc<'_>) -> Result<Route, Failure> {
    let dst: IpNet = doc.parsed("dst", "a destination")?.ok_or_else(|| missing("dst"))?;
    for key in ["mtu", "advmss", "priority", "table"] {
        doc.number(key, u32::MAX.into())?;
    }
    if doc.number("scope", 255)?.is_none() && doc.get("scope").is_some() {
        return Err(wrong("scope", &Value::Null, "a scope"));
    }
    Ok(Route { dst: dst.trunc(), gw: doc.parsed("gw", "an address")?, rest: others(doc, &["dst", "gw"]) })
}
