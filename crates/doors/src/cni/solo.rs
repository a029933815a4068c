//! The plugins `dummy`, `tap` and `host-device`: an interface that hangs on nothing of the host's.

use super::bridge;
use super::call::Args;
use super::config::Config;
use super::doc::Doc;
use super::failure::Failure;
use super::main_plugin::mtu;
use qiao_core::mac::Mac;
use qiao_core::network::Driver;
use qiao_core::solo::{Select, Tap};
use qiao_core::{IfName, Solo};

/// The settings of such a network.
#[derive(Clone, Debug)]
pub struct Settings {
    solo: Solo,
    mac: Option<Mac>,
}

impl Settings {
    /// Reads the settings of a plugin.
    pub fn parse(plugin: &str, config: &Config, args: &Args) -> Result<Self, Failure> {
        let doc = config.doc();
        Ok(match plugin {
            "dummy" => Self { solo: Solo::Dummy, mac: None },
            "tap" => Self { solo: Solo::Tap(tap(config, doc)?), mac: mac(config, args)? },
            _ => Self { solo: Solo::Device(device(config, doc)?), mac: None },
        })
    }

    /// The hardware address that is asked for.
    pub fn mac(&self) -> Option<Mac> {
        self.mac
    }

    /// The network.
    pub fn driver(&self) -> Driver {
        Driver::Solo(self.solo.clone())
    }
}

fn mac(config: &Config, args: &Args) -> Result<Option<Mac>, Failure> {
    match bridge::mac(config, args)? {
        Some(mac) => Ok(Some(mac)),
        None => config.doc().parsed("mac", "a hardware address"),
    }
}

fn tap(config: &Config, doc: Doc<'_>) -> Result<Tap, Failure> {
    if let Some(context) = doc.text("selinuxContext")? {
        return Err(Failure::unsupported("selinuxContext", context));
    }
    let number =
        |key| doc.number(key, u64::from(u32::MAX) - 1).map(|number| number.map(|number| number as u32));
    Ok(Tap {
        multi_queue: doc.is_on("multiQueue")?,
        owner: number("owner")?,
        group: number("group")?,
        bridge: name(doc, "bridge")?,
        mtu: mtu(config)?,
    })
}

fn name(doc: Doc<'_>, key: &str) -> Result<Option<IfName>, Failure> {
    let wrong = |refusal: qiao_core::Refusal| Failure::config(format!("`{key}`: {}", refusal.message));
    doc.text(key)?.map(IfName::new).transpose().map_err(wrong)
}

/// What the runtime says comes before what the configuration does, and there a name before an address, a path, a bus.
fn device(config: &Config, doc: Doc<'_>) -> Result<Select, Failure> {
    if let Some(id) = config.runtime()?.text("deviceID")? {
        return bus(id, "deviceID");
    }
    if let Some(name) = name(doc, "device")? {
        return Ok(Select::Name(name));
    }
    if let Some(mac) = doc.parsed("hwaddr", "a hardware address")? {
        return Ok(Select::Mac(mac));
    }
    if let Some(path) = doc.text("kernelpath")? {
        let fine = path.starts_with("/sys/devices/") && !path.split('/').any(|part| part == "..");
        let wrong = || Failure::config(format!("`kernelpath`: {path} is not below /sys/devices"));
        return fine.then(|| Select::Path(path.to_owned())).ok_or_else(wrong);
    }
    match doc.text("pciBusID")? {
        Some(id) => bus(id, "pciBusID"),
        None => Err(Failure::config("`device`, `hwaddr`, `kernelpath` or `pciBusID` is missing")),
    }
}

/// A device of the PCI bus, `0000:00:1f.6`, or of the auxiliary bus.
fn bus(id: &str, key: &str) -> Result<Select, Failure> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '_' | '-');
    if !id.chars().all(is_word) || id.starts_with('.') {
        return Err(Failure::config(format!("`{key}`: {id} is not the name of a device")));
    }
    let hex = |text: &str, digits: usize| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = id.split([':', '.']).collect();
    let is_pci = id.matches(':').count() == 2
        && matches!(parts[..], [a, b, c, d] if a.len() >= 4 && hex(a, a.len()) && hex(b, 2) && hex(c, 2) && hex(d, 1));
    if !is_pci && key == "pciBusID" {
        return Err(Failure::config(format!("`{key}`: {id} is not a PCI address")).because("0000:00:1f.6 is"));
    }
    Ok(if is_pci { Select::Pci(id.to_owned()) } else { Select::Auxiliary(id.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buses_are_told_apart() {
        assert_eq!(bus("0000:00:1f.6", "deviceID").unwrap(), Select::Pci("0000:00:1f.6".into()));
        assert_eq!(bus("mlx5_core.sf.4", "deviceID").unwrap(), Select::Auxiliary("mlx5_core.sf.4".into()));
        for bad in ["../../net", "..", "a/b", "0000:00:1f.6/.."] {
            assert!(bus(bad, "deviceID").is_err(), "{bad}");
        }
        assert!(bus("mlx5_core.sf.4", "pciBusID").is_err());
    }
}
