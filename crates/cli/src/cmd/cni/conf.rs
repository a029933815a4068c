//! The configuration that is written where there is none.

use qiao_core::Subnet;
use serde_json::json;

/// Its name. Runtimes take the first in the order of the alphabet.
pub const NAME: &str = "10-qiao.conflist";

/// A bridge network of this subnet, with published ports.
pub fn text(subnet: Subnet) -> String {
    let list = json!({
        "cniVersion": "1.0.0",
        "name": "qiao",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": subnet}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
            {"type": "firewall"},
        ],
    });
    let mut text = serde_json::to_string_pretty(&list).unwrap_or_default();
    text.push('\n');
    text
}
