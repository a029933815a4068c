//! A plan as the nine steps that every tutorial on container networks takes, and where ours differ.

use super::shell::{Paths, shell_op};
use crate::plan::{Key, Op, Plan, Value};

/// One step: its number, what it does, why, and the commands of a plan that belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// 0 is what the host needs before the first step, 1 to 9 are the tutorial's.
    pub number: usize,
    /// What it does.
    pub title: &'static str,
    /// Why, and where the order differs from a tutorial's.
    pub why: &'static str,
    /// The commands.
    pub commands: Vec<String>,
}

/// The steps' titles and reasons.
pub const STEPS: [(&str, &str); 10] = [
    (
        "prepare the host",
        "forwarding lets the host route; the rule set is constant, containers are elements of its sets",
    ),
    (
        "create the bridge",
        "a switch in software; its hardware address is fixed so that it never changes with its ports",
    ),
    (
        "give the bridge its address",
        "the containers' gateway; the route to the subnet comes with it, no step of its own is needed",
    ),
    ("bring the bridge up", "from here on the host reaches the subnet"),
    (
        "make a pair of interfaces",
        "a cable with two ends; one message does steps 4 and 6, since moving an end later takes 15 to 20 ms",
    ),
    (
        "one end on the bridge",
        "a port that learns nothing: what belongs to it is written down, and it may send nothing else",
    ),
    ("the other end into the container", "it was made there in step 4, under its final name"),
    ("up, with its address", "inside the container's namespace, in one batch"),
    ("the way out", "everything else goes to the gateway"),
    (
        "let packets pass and publish",
        "the host's end comes up last, when everything that guards it stands; then the ports are published",
    ),
];

/// Where a routed network differs.
const ROUTED: [(usize, &str, &str); 3] = [
    (1, "create a device for the gateway", "a bridge without ports: it only carries addresses"),
    (
        5,
        "settle who is behind the host's end",
        "what belongs to it is written down, and it may send nothing else; it heeds no ARP",
    ),
    (
        9,
        "let packets pass, to the container too, and publish",
        "the host's end comes up last, when everything that guards it stands; then there is a route to it",
    ),
];

/// Where a macvlan or ipvlan network differs.
const CHILD: [(usize, &str, &str); 3] = [
    (1, "make the VLAN", "an interface for the frames of one VLAN of another"),
    (
        4,
        "make a child of the host's interface",
        "in the container's namespace and under its final name, at once",
    ),
    (8, "the way out", "everything else goes to the router of the neighbourhood"),
];

/// Where a network differs whose interfaces hang on nothing of the host's.
const SOLO: [(usize, &str, &str); 2] = [
    (
        4,
        "make the interface, or move it in",
        "in the container's namespace and under its final name, at once",
    ),
    (8, "the way out", "where the address management says so"),
];

/// The steps of a kind of network.
fn titles(plan: &Plan) -> [(&'static str, &'static str); 10] {
    let has = |what: fn(&Key, &Value) -> bool| {
        plan.ops().iter().any(|op| op.after().is_some_and(|object| what(op.key(), &object.value)))
    };
    let differing = if has(|_, value| matches!(value, Value::PointToPoint { .. })) {
        &ROUTED[..]
    } else if has(|key, _| matches!(key, Key::Child(..) | Key::Vlan(_))) && !has_bridge(plan) {
        &CHILD[..]
    } else if has(|key, _| matches!(key, Key::Lone(..) | Key::Lent(..))) {
        &SOLO[..]
    } else {
        &[]
    };
    let mut titles = STEPS;
    differing.iter().for_each(|(number, title, why)| titles[*number] = (title, why));
    titles
}

/// Whether a VLAN is one of a bridge of ours: it comes up behind that.
fn has_bridge(plan: &Plan) -> bool {
    plan.keys().any(|key| matches!(key, Key::VlanFiltering(_) | Key::BridgeVlan(..)))
}

/// The plan's commands, sorted into the steps. A step without commands was done before, by another one.
pub fn steps(plan: &Plan, paths: &Paths) -> Vec<Step> {
    let mut steps: Vec<Step> = titles(plan)
        .into_iter()
        .enumerate()
        .map(|(number, (title, why))| Step { number, title, why, commands: Vec::new() })
        .collect();
    for op in plan.ops() {
        let mut commands = shell_op(op, paths);
        if matches!((op, op.key()), (Op::Add { .. }, Key::Veth(_))) && commands.len() > 2 {
            let master = commands.split_off(2);
            steps[5].commands.extend(master);
        }
        let of_bridge = matches!(op.key(), Key::Vlan(_)) && has_bridge(plan);
        steps[if of_bridge { 3 } else { step_of(op.key()) }].commands.extend(commands);
    }
    steps
}

/// The step that an object belongs to.
fn step_of(key: &Key) -> usize {
    match key {
        Key::Sysctl(_) | Key::Ruleset | Key::Member(_) => 0,
        Key::Bridge(_) | Key::BridgeVrf(..) | Key::VlanFiltering(_) | Key::Vlan(_) => 1,
        Key::BridgeAddress(..) => 2,
        Key::OwnFdb(..) | Key::BridgeUp(_) | Key::BridgeVlan(..) | Key::VlanAddress(..) => 3,
        Key::Veth(_) | Key::Child(..) | Key::Lone(..) | Key::Lent(..) => 4,
        Key::Guard(_)
        | Key::Port(_)
        | Key::PortVlans(_)
        | Key::Switch(..)
        | Key::Setting(..)
        | Key::Fdb(..)
        | Key::Ifb(_)
        | Key::Shape(_)
        | Key::Redirect(_)
        | Key::Neighbour(..) => 5,
        Key::NoAdvertisements(..)
        | Key::SandboxSysctl(..)
        | Key::SandboxMac(..)
        | Key::Tuned(..)
        | Key::Vrf(..)
        | Key::Master(..)
        | Key::SandboxLoopback(_)
        | Key::SandboxAddress(..)
        | Key::SandboxUp(..) => 7,
        Key::Route(..) | Key::Way(..) | Key::Native(..) | Key::Rule(..) | Key::SandboxNeighbour(..) => 8,
        Key::HostUp(_) | Key::HostRoute(_) | Key::Publish(_) | Key::Loopback(_) => 9,
        Key::Open(..) | Key::Names(..) => 9,
    }
}
