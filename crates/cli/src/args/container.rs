//! What commands that attach have in common.

use clap::Args;
use qiao_core::port::PublishSpec;

/// Ports to publish.
#[derive(Clone, Debug, Default, Args)]
pub struct Publishing {
    /// Publish a port: [HOST-IP:][HOST-PORT[-PORT]:]PORT[-PORT][/tcp|udp|sctp]
    #[arg(short = 'p', long = "publish", value_name = "PORTS")]
    pub publish: Vec<PublishSpec>,
}
