//! All checks.

mod add;
mod capabilities;
mod chains;
mod check;
mod concurrency;
mod config;
mod del;
mod delegation;
mod environment;
mod errors;
mod gc;
mod host_local;
mod leaks;
mod others;
mod results;
mod status;
mod version;

use crate::check::Check;
use crate::stage::VERSION;
use serde_json::{Value, json};

/// All checks, in the order of the specification.
pub fn all() -> impl Iterator<Item = &'static Check> {
    let groups = [
        version::CHECKS,
        environment::CHECKS,
        config::CHECKS,
        errors::CHECKS,
        results::CHECKS,
        add::CHECKS,
        del::CHECKS,
        check::CHECKS,
        status::CHECKS,
        gc::CHECKS,
        delegation::CHECKS,
        chains::CHECKS,
        capabilities::CHECKS,
        host_local::CHECKS,
        others::CHECKS,
        leaks::CHECKS,
        concurrency::CHECKS,
    ];
    groups.into_iter().flatten()
}

/// A bridge network with IPv4 and IPv6, as its plugin gets it.
fn bridge() -> Value {
    json!({
        "cniVersion": VERSION, "name": "net", "type": "bridge", "bridge": "cni0", "isGateway": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        },
    })
}

/// The same with one address to give away.
fn bridge_with_one_address() -> Value {
    let range = json!([[{"subnet": "10.88.0.0/24", "rangeStart": "10.88.0.7", "rangeEnd": "10.88.0.7"}]]);
    with(&bridge(), "ipam", &json!({"type": "host-local", "ranges": range}))
}

/// `host-local` alone, with one range.
fn host_local(range: &Value) -> Value {
    json!({
        "cniVersion": VERSION, "name": "net", "type": "foreign",
        "ipam": {"type": "host-local", "ranges": [[range]]},
    })
}

/// The same object with a key set.
fn with(object: &Value, key: &str, value: &Value) -> Value {
    let mut object = object.clone();
    object[key] = value.clone();
    object
}

/// The same object without a key.
fn less(object: &Value, key: &str) -> Value {
    let mut members = object.as_object().cloned().unwrap_or_default();
    members.remove(key);
    Value::Object(members)
}

/// The addresses of a result, without the length of the prefix.
fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().cloned().unwrap_or_default();
    let address = |ip: &Value| ip["address"].as_str().and_then(|a| a.split('/').next()).map(str::to_owned);
    ips.iter().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_check_has_a_name_of_its_own_and_a_sentence() {
        let ids: BTreeSet<_> = super::all().map(|check| check.id).collect();
        assert_eq!(ids.len(), super::all().count());
        assert!(super::all().all(|check| check.says.len() > 20 && !check.source.is_empty()));
    }
}
