//! `vrf`: the interface is put behind a `vrf` device of the container.

use super::config::Config;
use super::failure::Failure;
use qiao_core::vrf::Behind;

/// The device that is asked for. The errors are the reference's (plugins/meta/vrf/main.go).
pub fn behind(config: &Config) -> Result<Behind, Failure> {
    let doc = config.doc();
    let name = doc
        .text("vrfname")?
        .ok_or_else(|| Failure::config("configuration is expected to have a valid vrf name"))?;
    let name =
        name.parse().map_err(|_| Failure::config(format!("`vrfname`: {name} is no name of an interface")))?;
    let table =
        doc.number("table", u64::from(u32::MAX))?.map(|table| table as u32).filter(|table| *table != 0);
    match table {
        Some(table @ 253..=255) => {
            Err(Failure::config(format!("`table`: {table} is one of the kernel's own")))
        }
        table => Ok(Behind { name, table }),
    }
}
