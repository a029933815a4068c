//! Limits of rates: `ifb` devices, token buckets, and what leads to the former.

use super::host::{Batch, Taken, quiet};
use crate::rtnl::{Mode, ask_one, link, qdisc};
use qiao_core::IfName;
use qiao_core::plan::{Key, Op, Value};

/// Makes an object, or makes it as it shall be.
pub(super) fn make<'a>(batch: &mut Batch<'a>, op: &'a Op, (key, value): (&'a Key, &'a Value)) -> Taken {
    let mode = if matches!(op, Op::Set { .. }) { Mode::Replace } else { Mode::Create };
    match (key, value) {
        (Key::Ifb(name), Value::Ifb { mtu, .. }) if mode == Mode::Create => {
            return new_ifb(batch, op, (name, *mtu));
        }
        (Key::Ifb(name), Value::Ifb { mtu, up }) => {
            batch.push(op, [link::set_mtu(name, *mtu), link::up(name, *up)]);
        }
        (Key::Shape(name), Value::Bucket(bucket)) => match batch.index(name)? {
            Ok(index) => batch.push(op, [qdisc::set_bucket(index, *bucket, mode)]),
            Err(error) => return Ok(Err(error)),
        },
        (Key::Redirect(name), Value::Redirect { to }) => return redirect(batch, op, (name, to)),
        _ => {}
    }
    Ok(Ok(()))
}

fn new_ifb<'a>(batch: &mut Batch<'a>, op: &'a Op, (name, mtu): (&'a IfName, u32)) -> Taken {
    batch.push(op, [link::new_ifb(name, mtu, batch.linux.engine)]);
    // As with a bridge: one that somebody else made since we looked must not get our mark.
    if let Err(error) = batch.send() {
        return Ok(Err(error));
    }
    batch.push(op, [link::mark(name, &op.owner().mark())]);
    batch.push(op, quiet(name, mtu));
    batch.push(op, [link::up(name, true)]);
    Ok(Ok(()))
}

fn redirect<'a>(batch: &mut Batch<'a>, op: &'a Op, (name, to): (&'a IfName, &'a IfName)) -> Taken {
    let (index, to) = match (batch.index(name)?, batch.index(to)?) {
        (Ok(index), Ok(to)) => (index, to),
        (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
    };
    if matches!(op, Op::Set { .. }) {
        let has_place = is_there(ask_one(&mut batch.linux.rtnl, &qdisc::get_incoming(index)))?;
        let ours = qdisc::read_filters(&ask_one(&mut batch.linux.rtnl, &qdisc::get_filters(index))?).ours;
        batch.push(op, (!has_place).then(|| qdisc::new_incoming(index)));
        batch.push(op, ours.map(|_| qdisc::delete_redirect(index)));
    } else {
        batch.push(op, [qdisc::new_incoming(index)]);
    }
    batch.push(op, [qdisc::new_redirect(index, to)]);
    Ok(Ok(()))
}

/// Whether a link has a place for filters of what comes in.
pub(crate) fn is_there(answer: crate::netlink::Answer) -> Result<bool, crate::error::KernelError> {
    match answer {
        Ok(messages) => Ok(qdisc::has_incoming(&messages)),
        // What the kernel keeps where there was one is not told (`tc_qdisc_dump_ignore`).
        Err(error) if error.is_absent() || error.errno() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes an object away. Filters of others keep their place.
pub(super) fn delete<'a>(batch: &mut Batch<'a>, op: &'a Op, key: &'a Key) -> Taken {
    let (Key::Shape(name) | Key::Redirect(name)) = key else { return Ok(Ok(())) };
    let index = match batch.index(name) {
        Err(error) if error.is_absent() => return Ok(Ok(())),
        Err(error) => return Err(error),
        Ok(Err(error)) => return Ok(Err(error)),
        Ok(Ok(index)) => index,
    };
    if matches!(key, Key::Shape(_)) {
        batch.push(op, [qdisc::delete_bucket(index)]);
        return Ok(Ok(()));
    }
    let found = qdisc::read_filters(&ask_one(&mut batch.linux.rtnl, &qdisc::get_filters(index))?);
    batch.push(
        op,
        [if found.foreign { qdisc::delete_redirect(index) } else { qdisc::delete_incoming(index) }],
    );
    Ok(Ok(()))
}
