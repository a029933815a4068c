//! A sandbox's side: one message into its namespace.

use super::{failed, vrf};
use crate::error::KernelError;
use crate::kernel::{ApplyError, Places};
use crate::linux::{Linux, Sandbox};
use crate::reap;
use crate::rtnl::child::NewChild;
use crate::rtnl::link::Lone;
use crate::rtnl::route::{Hop, More};
use crate::rtnl::{Mode, Request, address, ask, ask_one, child, link, neighbour, route, rule};
use crate::sys::tun;
use crate::sysctl::{self, has_ipv6};
use ipnet::IpNet;
use qiao_core::plan::{Key, Op, Sysctl, Value};
use qiao_core::route::Attributes;
use qiao_core::{IfName, Mac, SandboxName};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Carries out a group.
pub fn apply(
    linux: &mut Linux,
    group: &[Op],
    (name, places): (&SandboxName, &Places),
) -> Result<(), ApplyError> {
    let Some(first) = group.first() else { return Ok(()) };
    let sandbox = places
        .get(name)
        .map(|netns| linux.sandbox(netns))
        .transpose()
        .map_err(|e| failed(first, e))?
        .flatten();
    let Some(sandbox) = sandbox else {
        // What is in a namespace that is gone is gone with it.
        let gone =
            KernelError::Errno { errno: libc::ENOENT, text: Some("the network namespace is gone".into()) };
        return group
            .iter()
            .find(|op| !matches!(op, Op::Del { .. }))
            .map_or(Ok(()), |op| Err(failed(op, gone)));
    };
    let mut requests = Vec::new();
    for op in group {
        match directly(op, sandbox)
            .and_then(|done| if done { Ok(Vec::new()) } else { requests_for(op, sandbox) })
        {
            Ok(made) => requests.extend(made.into_iter().map(|request| (op, request))),
            // What hung on an interface that is gone, or that its container renamed, is gone with it.
            Err(error) if matches!(op, Op::Del { .. }) && error.is_absent() => {}
            Err(error) => return Err(failed(op, error)),
        }
    }
    let begun = Instant::now();
    loop {
        let refused = send(sandbox, &requests).map_err(|e| failed(first, e))?;
        let Some((first, error)) = refused.first() else { return Ok(()) };
        if !is_leaving(requests[*first].0, error) || begun.elapsed() > LEAVING {
            let (at, error) = refused.into_iter().next().expect("there is a first");
            return Err(failed(requests[at].0, error));
        }
        requests = refused.iter().map(|(at, _)| requests[*at].clone()).collect();
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends requests and tells which were refused. Deleting what is gone already has succeeded.
fn send(
    sandbox: &mut Sandbox,
    requests: &[(&Op, Request)],
) -> Result<Vec<(usize, KernelError)>, KernelError> {
    let answers = ask(&mut sandbox.rtnl, requests.iter().map(|(_, request)| request))?;
    let refused = requests.iter().zip(answers).enumerate().filter_map(|(at, ((op, _), answer))| {
        let error = answer.err().filter(|error| !is_small(op, error))?;
        (!matches!(op, Op::Del { .. }) || !error.is_absent()).then_some((at, error))
    });
    Ok(refused.collect())
}

/// Whether an interface that comes up is too small for IPv6: then it makes no addresses by itself anyway.
fn is_small(op: &Op, error: &KernelError) -> bool {
    matches!(op.key(), Key::SandboxUp(..)) && error.errno() == Some(libc::EAFNOSUPPORT)
}

/// How long the child of a namespace that is being destroyed may be in the way of one with its addresses.
const LEAVING: Duration = Duration::from_secs(1);

/// Whether a sibling has the hardware address (macvlan) or the address (ipvlan). Who has them is decided, so it
/// can only be one that is on its way out.
fn is_leaving(op: &Op, error: &KernelError) -> bool {
    let taken = matches!(error.errno(), Some(libc::EADDRINUSE | libc::EBUSY));
    taken && matches!(op, Op::Add { key: Key::SandboxUp(..) | Key::SandboxAddress(..), .. })
}

/// What is no request to rtnetlink, or must be waited for: whether it was that, and is done.
fn directly(op: &Op, sandbox: &mut Sandbox) -> Result<bool, KernelError> {
    match op {
        Op::Add { key: Key::Child(_, link), object } => make(sandbox, link, &object.value)?,
        Op::Add { key: Key::Lone(_, link), object } => make_lone(sandbox, link, &object.value)?,
        Op::Set { key: Key::Lone(_, link), from, to, .. } if !is_same_tap(from, to) => {
            reap::delete_inside(sandbox, link)?;
            make_lone(sandbox, link, to)?;
        }
        Op::Set { key: Key::Lone(_, link), to, .. } => settle_lone(sandbox, link, to)?,
        Op::Add { key: Key::Vrf(_, link), object } => vrf::make(sandbox, link, &object.value)?,
        Op::Add { key: Key::Master(_, link), object } => vrf::put_behind(sandbox, link, &object.value)?,
        Op::Set { key: Key::Master(_, link), to, .. } => vrf::put_behind(sandbox, link, to)?,
        Op::Del { key: Key::Child(_, link) | Key::Lone(_, link) | Key::Vrf(_, link), .. } => {
            reap::delete_inside(sandbox, link)?
        }
        Op::Add { key: Key::NoAdvertisements(_, link), .. } => accept_ra(sandbox, link, 0)?,
        Op::Del { key: Key::NoAdvertisements(_, link), .. } => match accept_ra(sandbox, link, 1) {
            Err(error) if !error.is_absent() => return Err(error),
            _ => {}
        },
        Op::Add { key: Key::SandboxSysctl(_, path), object } => write(sandbox, path, &object.value)?,
        Op::Set { key: Key::SandboxSysctl(_, path), to, .. } => write(sandbox, path, to)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn write(sandbox: &Sandbox, path: &str, value: &Value) -> Result<(), KernelError> {
    match value {
        Value::Text(text) => sandbox.handle.set_sysctl(path, text),
        _ => Ok(()),
    }
}

/// Makes a child of another interface of the sandbox. What comes behind it may need its name.
fn make(sandbox: &mut Sandbox, link: &IfName, value: &Value) -> Result<(), KernelError> {
    let Value::Child { parent, mode, mac, mtu, broadcasts, .. } = value else { return Ok(()) };
    let parent = sandbox.index(parent)?;
    sandbox.indices.remove(link.as_str());
    let new = NewChild {
        name: link,
        netns: None,
        parent,
        mode: *mode,
        mac: *mac,
        mtu: *mtu,
        broadcasts: *broadcasts,
        engine: sandbox.engine,
    };
    ask_one(&mut sandbox.rtnl, &child::new_child(new)).map(drop)
}

/// Makes an interface by itself. A tap is kept when it bears our mark: who is killed before leaves none.
fn make_lone(sandbox: &mut Sandbox, link: &IfName, value: &Value) -> Result<(), KernelError> {
    sandbox.indices.remove(link.as_str());
    match value {
        Value::Dummy { mac, mtu } => {
            let engine = sandbox.engine;
            ask_one(&mut sandbox.rtnl, &link::new_dummy(link, (*mac, *mtu), engine)).map(drop)
        }
        Value::Tap { tap, .. } => {
            let file = sandbox.handle.inside(|| tun::make(link, tap))?;
            settle_lone(sandbox, link, value)?;
            tun::keep(&file, link)
        }
        _ => Ok(()),
    }
}

fn settle_lone(sandbox: &mut Sandbox, link: &IfName, value: &Value) -> Result<(), KernelError> {
    let (mac, mtu, bridge) = match value {
        Value::Dummy { mac, mtu } => (*mac, *mtu, None),
        Value::Tap { tap, mac, mtu } => (*mac, *mtu, tap.bridge.as_ref()),
        _ => return Ok(()),
    };
    let master = bridge.map(|bridge| sandbox.index(bridge)).transpose()?;
    let lone = Lone { mac, mtu, master, engine: sandbox.engine };
    ask_one(&mut sandbox.rtnl, &link::set_lone(link, lone)).map(drop)
}

/// Whether two taps may be opened by the same: that is settled when one is made.
fn is_same_tap(from: &Value, to: &Value) -> bool {
    match (from, to) {
        (Value::Tap { tap: a, .. }, Value::Tap { tap: b, .. }) => {
            (a.owner, a.group, a.multi_queue) == (b.owner, b.group, b.multi_queue)
        }
        (Value::Dummy { .. }, Value::Dummy { .. }) => true,
        _ => false,
    }
}

fn accept_ra(sandbox: &Sandbox, link: &IfName, value: u32) -> Result<(), KernelError> {
    if !has_ipv6() {
        return Ok(());
    }
    sandbox.handle.inside(|| sysctl::write(&Sysctl::AcceptRa(link.clone()), value))
}

/// The attributes of a route that goes.
fn attributes_of(op: &Op) -> Attributes {
    match op.before().map(|object| object.value) {
        Some(Value::Route { attributes, .. }) => attributes,
        _ => Attributes::default(),
    }
}

/// Runs the pending link event of a sandbox's interface. Until then its queue throws away what is sent.
pub fn activate(
    linux: &mut Linux,
    (name, places): (&SandboxName, &Places),
    link: &IfName,
) -> Result<(), KernelError> {
    let sandbox = places.get(name).map(|netns| linux.sandbox(netns)).transpose()?.flatten();
    sandbox.map_or(Ok(()), |sandbox| sandbox.interfaces.force_link_event(link).map(drop))
}

/// Gives a link a hardware address. The kernel then forgets the link's neighbours, permanent ones too
/// (`neigh_changeaddr`): ours are written down again.
fn set_mac(sandbox: &mut Sandbox, link: &IfName, mac: Mac) -> Result<Vec<Request>, KernelError> {
    let index = sandbox.index(link)?;
    let neighbours = neighbour::read(&ask_one(&mut sandbox.rtnl, &neighbour::get_all())?);
    let ours = neighbours.into_iter().filter(|n| n.index == index && n.ours && n.permanent);
    let again = ours.filter_map(|n| Some(neighbour::set(index, n.ip?, Mac::new(n.mac?).ok()?)));
    Ok([link::set_mac(link, mac)].into_iter().chain(again).collect())
}

/// How a route is made. One to a subnet of the interface's own is beside the one that the kernel made with the address:
/// its gateway, if it has one, is in its destination. IPv6 tells the two by their metrics.
fn mode_of(op: &Op, (net, via): (&IpNet, Option<IpAddr>)) -> Mode {
    let may_be_own = net.addr().is_ipv4() && net.prefix_len() > 0 && via.is_none_or(|via| net.contains(&via));
    match op {
        Op::Set { .. } => Mode::Replace,
        _ if may_be_own => Mode::Beside,
        _ => Mode::Create,
    }
}

fn requests_for(op: &Op, sandbox: &mut Sandbox) -> Result<Vec<Request>, KernelError> {
    if let (Key::SandboxMac(_, link), Some(Value::Mac(mac))) =
        (op.key(), op.after().map(|object| object.value))
    {
        return set_mac(sandbox, link, mac);
    }
    let mut index = |link: &IfName| sandbox.index(link);
    Ok(match (op.key(), op.after().map(|object| object.value)) {
        (Key::SandboxLoopback(_), after) => {
            let lo = IfName::new("lo")
                .map_err(|_| KernelError::Malformed("no name for the loopback interface"))?;
            vec![link::up(&lo, after.is_some())]
        }
        (Key::SandboxUp(_, link), Some(_)) => {
            let quiet = has_ipv6().then(|| link::no_automatic_addresses(link));
            quiet.into_iter().chain([link::up(link, true)]).collect()
        }
        (Key::Tuned(_, link, what), Some(Value::Number(number))) => vec![link::tune(link, what, number)],
        (Key::SandboxUp(_, link), None) => vec![link::up(link, false)],
        (Key::SandboxAddress(_, link, net), Some(_)) => vec![address::add(index(link)?, *net)],
        (Key::SandboxAddress(_, link, net), None) => vec![address::delete(index(link)?, *net)],
        (Key::Child(_, link), Some(Value::Child { mode, mac, mtu, broadcasts, .. })) => {
            child::set_child(link, (mode, broadcasts), (mac, mtu))
        }
        (Key::SandboxNeighbour(_, link, ip), Some(Value::Mac(mac))) => {
            vec![neighbour::set(index(link)?, *ip, mac)]
        }
        (Key::SandboxNeighbour(_, link, ip), None) => vec![neighbour::delete(index(link)?, *ip)],
        (Key::Route(_, net), Some(Value::Route { dev, via, onlink, src, attributes })) => {
            let mode = mode_of(op, (net, via));
            vec![route::set(*net, Hop { index: index(&dev)?, via, onlink, src, attributes }, mode)]
        }
        (Key::Route(_, net), None) => vec![route::delete(*net, attributes_of(op))],
        (
            Key::Way(_, id) | Key::Native(_, _, id),
            Some(Value::Way { dev, via, mtu, advmss, scope, origin }),
        ) => {
            let mode = mode_of(op, (&id.net, via));
            vec![route::set_way(*id, (index(&dev)?, via), (More { mtu, advmss, scope, origin }, mode))]
        }
        (Key::Way(_, id), None) => vec![route::delete_way(*id, None, None)],
        (Key::Native(_, _, id), None) => match op.before().map(|object| object.value) {
            Some(Value::Way { dev, origin, .. }) => {
                vec![route::delete_way(*id, Some(index(&dev)?), origin.protocol)]
            }
            _ => Vec::new(),
        },
        (Key::Vrf(_, link), Some(_)) => vec![link::up(link, true)],
        (Key::Rule(_, selector), Some(_)) => vec![rule::add(*selector)],
        (Key::Rule(_, selector), None) => vec![rule::delete(*selector)],
        _ => Vec::new(),
    })
}
