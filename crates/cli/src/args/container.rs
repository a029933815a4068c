//! What commands that attach have in common.

use clap::Args;
use qiao_core::port::PublishSpec;

/// Not a documentation comment: its brackets would be links.
const PORTS: &str = "Publish a port: [HOST-IP:][HOST-PORT[-PORT]:]PORT[-PORT][/tcp|udp|sctp]";

/// Ports to publish.
#[derive(Clone, Debug, Default, Args)]
pub struct Publishing {
    /// Publish a port.
    #[arg(short = 'p', long = "publish", value_name = "PORTS", help = PORTS)]
    pub publish: Vec<PublishSpec>,
}
