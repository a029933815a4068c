//! What happened, in the words of the plan.

use qiao_core::{Endpoint, Network, Plan};
use qiao_kernel::Places;

/// An attachment.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Its network.
    pub network: Network,
    /// What was done.
    pub plan: Plan,
    /// Where the sandbox is.
    pub places: Places,
}

/// A detachment.
#[derive(Clone, Debug, Default)]
pub struct Detached {
    /// The endpoints that are gone.
    pub endpoints: Vec<Endpoint>,
    /// What was done, an endpoint a plan.
    pub plans: Vec<Plan>,
    /// Where the sandboxes are.
    pub places: Places,
    /// Leases of DHCP servers that were given back, of attachments that never were.
    pub leases: usize,
    /// Whether a killed command had begun something about it, which was ended first.
    pub ended: bool,
}

impl Detached {
    /// Whether there was nothing to detach.
    pub fn is_nothing(&self) -> bool {
        self.endpoints.is_empty() && self.plans.iter().all(Plan::is_empty) && self.leases == 0 && !self.ended
    }
}

/// A network that was created.
#[derive(Clone, Debug)]
pub struct Created {
    /// The network.
    pub network: Network,
    /// What was done.
    pub plan: Plan,
}

/// A network that was removed.
#[derive(Clone, Debug)]
pub struct Removed {
    /// The network.
    pub network: Network,
    /// What was done.
    pub plan: Plan,
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, as the line of the plan that mends it.
    pub line: String,
}

/// Whether everything is as it must be.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// What is not.
    pub findings: Vec<Finding>,
    /// The plan that mends it.
    pub plan: Plan,
    /// Where the sandboxes are.
    pub places: Places,
}

/// What was mended.
#[derive(Clone, Debug, Default)]
pub struct Repaired {
    /// What was done, a part a plan.
    pub plans: Vec<Plan>,
    /// Where the sandboxes are.
    pub places: Places,
    /// Endpoints whose namespace is gone and which were detached.
    pub collected: Vec<Endpoint>,
    /// Claims that belonged to nobody, and were given back.
    pub claims: Vec<String>,
    /// What could not be mended or collected, and why; with anything here the exit code is 3.
    pub left: Vec<String>,
}
