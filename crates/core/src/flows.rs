//! Which tracked connections a change makes wrong, and must be forgotten with it.

use crate::plan::{Key, Op, Plan, Value};
use crate::port::{Listen, Protocol};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Connections to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flows {
    /// Those to or from an address.
    Address(IpAddr),
    /// Those to a port of the host.
    Listen(Listen),
}

/// What a plan makes wrong.
///
/// A released address takes its connections along, translated ones included. A newly published UDP port
/// takes along what came for it before: a client that never pauses would otherwise stay with the host for as
/// long as it sends. TCP needs no such thing, since a refused connection is tracked as closed. A port that is
/// no longer published, or leads elsewhere, takes its connections along unless their address is released too.
pub fn flows(plan: &Plan) -> BTreeSet<Flows> {
    plan.ops().iter().filter_map(|op| flows_of(op, plan)).collect()
}

fn flows_of(op: &Op, plan: &Plan) -> Option<Flows> {
    match (op, op.key()) {
        (Op::Del { .. }, Key::Neighbour(_, ip)) => Some(Flows::Address(*ip)),
        (Op::Add { .. }, Key::Publish(listen)) => {
            (listen.protocol == Protocol::Udp).then_some(Flows::Listen(*listen))
        }
        (Op::Set { .. }, Key::Publish(listen)) => Some(Flows::Listen(*listen)),
        (Op::Del { object, .. }, Key::Publish(listen)) => {
            (!releases(plan, &object.value)).then_some(Flows::Listen(*listen))
        }
        _ => None,
    }
}

/// Whether the plan releases the address that a published port leads to.
fn releases(plan: &Plan, value: &Value) -> bool {
    let Value::Backend(backend) = value else { return false };
    let released =
        |op: &Op| matches!((op, op.key()), (Op::Del { .. }, Key::Neighbour(_, ip)) if *ip == backend.ip);
    plan.ops().iter().any(released)
}
