//! What commands that attach have in common.

use clap::Args;
use qiao_core::port::PublishSpec;

/// Not a documentation comment: its brackets would be links.
const PORTS: &str = "Publish a port: [HOST-IP:][HOST-PORT[-PORT]:]PORT[-PORT][/tcp|udp|sctp]";

/// What a container is called on its networks besides its name.
#[derive(Clone, Debug, Default, Args)]
pub struct Naming {
    /// Another name for it on the network
    #[arg(long = "network-alias", visible_alias = "alias", value_name = "NAME")]
    pub alias: Vec<qiao_core::name::Hostname>,
}

/// Ports to publish.
#[derive(Clone, Debug, Default, Args)]
pub struct Publishing {
    /// Publish a port.
    #[arg(short = 'p', long = "publish", value_name = "PORTS", help = PORTS)]
    pub publish: Vec<PublishSpec>,
}
