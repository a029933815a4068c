//! Firewalls of the host's that are programs (firewalld): they drop what comes from addresses that they were not told of.

use ipnet::IpNet;
use std::collections::BTreeMap;
use std::fmt;

/// The zone from which everything is let through.
pub const TRUSTED: &str = "trusted";

/// From which addresses packets come that are to pass, and in which zone each is.
pub type Sources = BTreeMap<IpNet, String>;

/// What such a firewall is to let through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whose packets.
    pub sources: Sources,
    /// Of some network in use nobody knows what it is: its addresses stay where they are.
    pub lacks_some: bool,
}

/// What is asked for of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything.
    All,
    /// The subnets of networks, without single addresses: that is quick however many endpoints there are.
    Networks,
}

/// How much is known of such a firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// Nothing.
    None,
    /// Nobody has changed any rule of the host's since a command before, so it has forgotten nothing; and nothing has
    /// changed of single addresses.
    Unmoved,
}

/// Who tells such a firewall.
pub trait Zones: fmt::Debug {
    /// Sees to it that it lets these through, and of what it was told by us nothing else. `wanted` is asked while nobody
    /// else does the same, so that the last one tells what is; where it has no answer, all stays as it is. What cannot be
    /// told hinders nobody.
    fn settle(&mut self, known: Certainty, wanted: &mut dyn FnMut(Part) -> Option<Wanted>);

    /// Which of these it does not let through, in words; nothing where no such firewall runs.
    fn lacking(&mut self, wanted: &Sources) -> Vec<String>;
}
