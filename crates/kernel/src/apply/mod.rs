//! Doing what a plan says. Neighbouring operations on one part of the kernel go in one message; the operation
//! stays what is explained, journalled and taken back.

pub(crate) mod foundation;
mod host;
mod nft;
mod ready;
mod sandbox;
pub(crate) mod shape;
pub(crate) mod skip;
mod vrf;

use crate::error::KernelError;
use crate::kernel::{ApplyError, Places};
use crate::linux::Linux;
use crate::{opening, sysctl};
use foundation::Foundation;
use qiao_core::SandboxName;
use qiao_core::plan::{Key, Op, Plan, Value};

/// Which part of the kernel an operation is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Sysctl,
    Nft,
    Host,
    Sandbox(SandboxName),
    Loopback,
    Opening,
}

pub(crate) fn part(op: &Op) -> Part {
    let key = op.key();
    match key {
        Key::Sysctl(_) => Part::Sysctl,
        Key::Ruleset => Part::Nft,
        Key::Loopback(_) => Part::Loopback,
        Key::Open(..) | Key::Names(..) => Part::Opening,
        Key::Child(..) if is_made_outside(op) => Part::Host,
        Key::Lent(..) => Part::Host, // it is wherever it is
        _ if key.set().is_some() => Part::Nft,
        _ => key.sandbox().map_or(Part::Host, |sandbox| Part::Sandbox(sandbox.clone())),
    }
}

/// A child is made from where its parent is.
fn is_made_outside(op: &Op) -> bool {
    match op {
        Op::Add { object, .. } => matches!(object.value, Value::Child { inside: false, .. }),
        _ => false,
    }
}

/// Carries out a plan.
pub fn apply(linux: &mut Linux, plan: &Plan, places: &Places) -> Result<(), ApplyError> {
    let ops = skip::needed(plan);
    if ops.iter().any(|op| matches!(op, Op::Add { key: Key::Loopback(_), .. })) {
        crate::loopback::prepare(linux);
    }
    let done = carry_out(linux, &ops, places);
    crate::loopback::end_preparing(linux);
    done
}

fn carry_out(linux: &mut Linux, ops: &[Op], places: &Places) -> Result<(), ApplyError> {
    match foundation::length(ops) {
        0 => groups(ops).try_for_each(|group| together(linux, group, places))?,
        count => beside(linux, (ops, count), places)?,
    }
    finish(linux, ops, places)
}

fn groups(ops: &[Op]) -> impl Iterator<Item = &[Op]> {
    ops.chunk_by(|a, b| part(a) == part(b))
}

/// Carries out operations, of which the first ones are made beside what follows them.
fn beside(linux: &mut Linux, (ops, count): (&[Op], usize), places: &Places) -> Result<(), ApplyError> {
    std::thread::scope(|scope| {
        let (first, rest) = ops.split_at(count);
        let mut foundation = Foundation::begin(scope, linux, first)?;
        for group in groups(if foundation.is_some() { rest } else { ops }) {
            if group.first().is_some_and(|op| foundation::is_needed_by(&part(op))) {
                foundation.take().map_or(Ok(()), |foundation| foundation.wait(linux))?;
            }
            together(linux, group, places)?;
        }
        foundation.map_or(Ok(()), |foundation| foundation.wait(linux))
    })
}

/// Carries out neighbouring operations on one part of the kernel.
fn together(linux: &mut Linux, group: &[Op], places: &Places) -> Result<(), ApplyError> {
    let Some(first) = group.first() else { return Ok(()) };
    match part(first) {
        Part::Sysctl => group.iter().try_for_each(|op| setting(op).map_err(|e| failed(op, e))),
        Part::Nft => {
            // The last network goes: the hooks of its ports before it, so that the next command finds them
            // if this one is killed.
            let last = group.iter().find(|op| matches!(op, Op::Del { key: Key::Ruleset, .. }));
            last.map_or(Ok(()), |op| crate::loopback::end(linux).map_err(|e| failed(op, e)))?;
            nft::apply(linux, group)
        }
        Part::Host => host::apply(linux, group, places),
        Part::Sandbox(name) => sandbox::apply(linux, group, (&name, places)),
        Part::Loopback => crate::loopback::apply(linux, group),
        Part::Opening => group.iter().try_for_each(|op| opening::apply(linux, op).map_err(|e| failed(op, e))),
    }
}

fn finish(linux: &mut Linux, ops: &[Op], places: &Places) -> Result<(), ApplyError> {
    crate::loopback::settle(linux);
    // The host's end of a link goes up last: only then the sandbox's gets its carrier, and its queue with it.
    ops.iter().try_for_each(|op| match op {
        Op::Add { key: Key::SandboxUp(name, link), .. } => {
            sandbox::activate(linux, (name, places), link).map_err(|e| failed(op, e))
        }
        _ => Ok(()),
    })?;
    let last = ops.last().map(|op| ready::wait(linux, ops, places).map_err(|e| failed(op, e)));
    last.unwrap_or(Ok(()))
}

pub(crate) fn failed(op: &Op, source: KernelError) -> ApplyError {
    ApplyError { op: Box::new(op.clone()), source }
}

fn setting(op: &Op) -> Result<(), KernelError> {
    match (op.key(), op.after().map(|object| object.value)) {
        (Key::Sysctl(setting), Some(Value::Number(value))) => sysctl::write(setting, value),
        _ => Ok(()),
    }
}
