//! Limits of rates as the `ip` and `tc` commands that make them.

use crate::name::IfName;
use crate::plan::{Key, Object, Value};

/// What makes an object.
pub(super) fn add(key: &Key, object: &Object) -> Vec<String> {
    match (key, &object.value) {
        (Key::Ifb(link), Value::Ifb { mtu, .. }) => vec![
            format!("ip link add {link} mtu {mtu} type ifb"),
            format!("ip link set {link} addrgenmode none alias '{}' up", object.owner.mark()),
        ],
        (Key::Shape(link), Value::Bucket(bucket)) => {
            vec![format!("tc qdisc replace dev {link} root handle 71: tbf {}", super::line::tbf(*bucket))]
        }
        (Key::Redirect(link), Value::Redirect { to }) => {
            vec![format!("tc qdisc add dev {link} ingress"), filter(link, to)]
        }
        _ => Vec::new(),
    }
}

/// What makes it as it shall be.
pub(super) fn set(key: &Key, to: &Value) -> Vec<String> {
    match (key, to) {
        (Key::Ifb(link), Value::Ifb { mtu, .. }) => vec![format!("ip link set {link} mtu {mtu} up")],
        (Key::Redirect(link), Value::Redirect { to }) => {
            vec![format!("tc filter del dev {link} ingress pref 113"), filter(link, to)]
        }
        _ => Vec::new(),
    }
}

/// What takes it away.
pub(super) fn del(key: &Key) -> Vec<String> {
    match key {
        Key::Ifb(link) => vec![format!("ip link del {link}")],
        Key::Shape(link) => vec![format!("tc qdisc del dev {link} root")],
        Key::Redirect(link) => vec![format!("tc qdisc del dev {link} ingress")],
        _ => Vec::new(),
    }
}

fn filter(link: &IfName, to: &IfName) -> String {
    format!(
        "tc filter add dev {link} ingress pref 113 protocol all u32 match u32 0 0 action mirred egress redirect dev {to}"
    )
}
