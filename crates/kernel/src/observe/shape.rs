//! Limits of rates as they are. Neither a bucket nor a filter bears a mark but its number, which is ours; on a link of
//! somebody else's, whatever has another number is his.

use super::{Links, elsewhere};
use crate::apply::shape::is_there;
use crate::error::KernelError;
use crate::linux::Linux;
use crate::netlink::Answer;
use crate::rtnl::link::Link;
use crate::rtnl::{ask_one, qdisc};
use qiao_core::plan::{Found, Key, Object, Observed, Ownership, State, Value};
use qiao_core::shape::Bucket;

/// What there is of what is wanted.
pub fn observe(
    linux: &mut Linux,
    wanted: &State,
    links: &Links,
    observed: &mut Observed,
) -> Result<(), KernelError> {
    for (key, object) in wanted.iter() {
        let (Key::Ifb(name) | Key::Shape(name) | Key::Redirect(name)) = key else { continue };
        let Some(link) = links.get(name) else { continue };
        let found = match (key, &object.value) {
            (Key::Ifb(_), _) => Some(Found {
                owner: links.ownership(link, "ifb", &object.owner),
                value: Value::Ifb { mtu: link.mtu, up: link.up },
            }),
            (Key::Shape(_), Value::Bucket(bucket)) => root(linux, links, (link, object), *bucket)?,
            (Key::Redirect(_), Value::Redirect { .. }) => redirect(linux, (link, object), links)?,
            _ => None,
        };
        if let Some(found) = found {
            observed.insert(key.clone(), found.owner, found.value);
        }
    }
    Ok(())
}

/// What is not ours: on a link of ours it is put right, on another one it stays.
fn other(links: &Links, link: &Link, object: &Object) -> Found {
    let kind = link.kind.as_deref().unwrap_or_default();
    Found { owner: links.hanging(link, kind, &object.owner), value: Value::Present }
}

fn root(
    linux: &mut Linux,
    links: &Links,
    (link, object): (&Link, &Object),
    wanted: Bucket,
) -> Result<Option<Found>, KernelError> {
    let Some(messages) = there(ask_one(&mut linux.rtnl, &qdisc::get_root(link.index)))? else {
        return Ok(None);
    };
    Ok(qdisc::read_root(&messages, wanted).map(|root| match root {
        qdisc::Root::Foreign => other(links, link, object),
        qdisc::Root::Ours(bucket) => {
            Found { owner: Ownership::Marked(object.owner.clone()), value: Value::Bucket(bucket) }
        }
    }))
}

/// A place without any filter does nothing, and is what is left of a command that was killed there.
fn redirect(
    linux: &mut Linux,
    (link, object): (&Link, &Object),
    links: &Links,
) -> Result<Option<Found>, KernelError> {
    if !is_there(ask_one(&mut linux.rtnl, &qdisc::get_incoming(link.index)))? {
        return Ok(None);
    }
    let filters = qdisc::read_filters(&ask_one(&mut linux.rtnl, &qdisc::get_filters(link.index))?);
    if filters.foreign && filters.ours.is_none() {
        return Ok(Some(other(links, link, object)));
    }
    let to = filters.ours.and_then(|index| links.name(index)).cloned().unwrap_or_else(elsewhere);
    Ok(Some(Found { owner: Ownership::Marked(object.owner.clone()), value: Value::Redirect { to } }))
}

fn there(answer: Answer) -> Result<Option<Vec<crate::netlink::Message>>, KernelError> {
    match answer {
        Ok(messages) => Ok(Some(messages)),
        // A link that waits for nothing has nothing to tell (`tc_qdisc_dump_ignore`).
        Err(error) if error.is_absent() || error.errno() == Some(libc::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}
