//! `iptables`' chain FORWARD, where its policy drops (Docker sets it so): in nf_tables a packet that any chain drops is
//! dropped, so ours must be let through there too. For that there is a chain of ours in the table `filter`, which
//! FORWARD leads to at its end: what the rules of others drop stays dropped, only the policy does not get these. The same
//! for INPUT, where ufw drops what comes in to the host: members of a network ask its gateway for names.
//!
//! The rules are as `iptables-nft` makes them, for it refuses to list a table with anything else. The legacy
//! `iptables` keeps its rules elsewhere, where no part of a table can be changed by itself; they are left alone, and
//! `check` tells of its policy.

use crate::error::KernelError;
use crate::linux::Linux;
use crate::nft::{Session, Write, owner_of};
use crate::sys::xtables;
use qiao_core::plan::{Key, Observed, Op, State, Value};
use qiao_core::subnet::Family;
use qiao_core::{IfName, Owner};
use qiao_nft::{Chain, Change, Expr, MetaKey, PayloadBase, Policy, Query, Register, Reply, Rule, Verdict};
use std::collections::BTreeMap;
use std::net::IpAddr;

const TABLE: &str = "filter";
/// The port at which names are answered.
const DNS: u16 = 53;

/// A chain of `iptables`, and ours that it leads to.
#[derive(Debug)]
pub struct Gate {
    base: &'static str,
    chain: &'static str,
}

/// What the host forwards.
pub const THROUGH: Gate = Gate { base: "FORWARD", chain: "QIAO-FORWARD" };
/// What comes in to it.
pub const IN: Gate = Gate { base: "INPUT", chain: "QIAO-INPUT" };

/// What is let through, at which gate: what comes from an interface and the answers to it, or what asks at an address.
#[derive(Debug)]
struct Opening {
    gate: &'static Gate,
    family: Family,
    device: IfName,
    to: Option<IpAddr>,
}

impl Opening {
    fn of(key: &Key) -> Option<Self> {
        match key {
            Key::Open(family, device) => {
                Some(Self { gate: &THROUGH, family: *family, device: device.clone(), to: None })
            }
            Key::Names(device, ip) => {
                Some(Self { gate: &IN, family: Family::of(*ip), device: device.clone(), to: Some(*ip) })
            }
            _ => None,
        }
    }

    fn is_of(&self, rule: &Rule) -> bool {
        device_of(rule).as_ref() == Some(&self.device) && address_of(rule) == self.to
    }
}
/// How often it is tried again because others change the rule set meanwhile.
const TRIES: usize = 64;

/// What there is of a family.
#[derive(Debug, Default)]
struct Found {
    /// Whether their chain is there, and drops what no rule lets through.
    drops: bool,
    /// The rules of theirs that lead to our chain.
    jumps: Vec<u64>,
    /// The rules of our chain.
    rules: Vec<Rule>,
}

/// The families whose chain drops.
pub fn drops(session: &mut Session, gate: &Gate) -> Result<Vec<Family>, KernelError> {
    let families = [Family::V4, Family::V6];
    let mut found = Vec::new();
    let queries = families.map(|family| chain(family, gate.base));
    for (family, reply) in families.into_iter().zip(session.ask(&queries)?) {
        match reply {
            Ok(Reply::Chain(chain)) if is_dropping(&chain) => found.push(family),
            Err(error) if !error.is_absent() => return Err(error),
            _ => {}
        }
    }
    Ok(found)
}

/// The families in which the legacy FORWARD drops. What cannot be looked at is not told of.
pub fn drops_by_legacy() -> Vec<Family> {
    let families = [
        (Family::V4, "/proc/thread-self/net/ip_tables_names", xtables::V4),
        (Family::V6, "/proc/thread-self/net/ip6_tables_names", xtables::V6),
    ];
    let has_filter = |names: &str| names.lines().any(|name| name == TABLE);
    let drops = families.into_iter().filter(|(_, names, layout)| {
        std::fs::read_to_string(names).is_ok_and(|names| has_filter(&names))
            && xtables::drops_forwarded(*layout).unwrap_or(false)
    });
    drops.map(|(family, ..)| family).collect()
}

fn chain(family: Family, name: &str) -> Query {
    Query::Chain { family: of(family), table: TABLE.into(), name: name.into() }
}

fn of(family: Family) -> qiao_nft::Family {
    match family {
        Family::V4 => qiao_nft::Family::Ip,
        Family::V6 => qiao_nft::Family::Ip6,
    }
}

fn is_dropping(chain: &Chain) -> bool {
    chain.hook.as_ref().is_some_and(|hook| hook.policy == Policy::Drop)
}

/// Which of the wanted interfaces are let through. Where nothing drops, all are.
pub fn observe(linux: &mut Linux, wanted: &State, observed: &mut Observed) -> Result<(), KernelError> {
    let mut looked = BTreeMap::new();
    for (key, object) in wanted.iter() {
        let Some(opening) = Opening::of(key) else { continue };
        let place = (opening.gate.base, opening.family);
        let found = match looked.remove(&place) {
            Some(found) => found,
            None => look(&mut linux.nft, opening.gate, opening.family)?,
        };
        let own = found.rules.iter().filter(|rule| opening.is_of(rule));
        let comments: Vec<Option<&str>> = own.map(|rule| rule.comment.as_deref()).collect();
        let is_open = !found.drops && comments.is_empty() || comments.len() == 2 && !found.jumps.is_empty();
        if is_open {
            let mark = object.owner.mark();
            let comment = comments.first().copied().flatten().unwrap_or(&mark);
            observed.insert(key.clone(), owner_of(Some(comment), Some(&object.owner)), Value::Present);
        }
        looked.insert(place, found);
    }
    Ok(())
}

/// Every interface that is let through by us.
pub fn survey(session: &mut Session, observed: &mut Observed) -> Result<(), KernelError> {
    let families = [Family::V4, Family::V6];
    for (gate, family) in [&THROUGH, &IN].into_iter().flat_map(|gate| families.map(|family| (gate, family))) {
        for rule in look(session, gate, family)?.rules {
            let Some(device) = device_of(&rule) else { continue };
            let owner = owner_of(rule.comment.as_deref(), None);
            let key = match address_of(&rule) {
                Some(ip) => Key::Names(device, ip),
                None => Key::Open(family, device),
            };
            observed.insert(key, owner, Value::Present);
        }
    }
    Ok(())
}

/// Lets an interface through, or no longer.
pub fn apply(linux: &mut Linux, op: &Op) -> Result<(), KernelError> {
    let Some(opening) = Opening::of(op.key()) else { return Ok(()) };
    let owner = op.after().map(|object| object.owner);
    let apply = |linux: &mut Linux, keeps_chain: bool| {
        transact(linux, &|session| {
            let found = look(session, opening.gate, opening.family)?;
            let mut changes = changes(&found, &opening, owner.as_ref());
            changes.retain(|change| !(keeps_chain && matches!(change, Change::DelChain { .. })));
            Ok(changes.into_iter().map(Write::from).collect())
        })
    };
    match apply(linux, false) {
        // A rule of somebody else's leads to our chain: it stays, and is empty.
        Err(error) if error.errno() == Some(libc::EBUSY) => apply(linux, true),
        result => result,
    }
}

/// Makes changes that depend on what is there, and looks again where somebody else was faster.
pub fn transact(
    linux: &mut Linux,
    changes: &dyn Fn(&mut Session) -> Result<Vec<Write>, KernelError>,
) -> Result<(), KernelError> {
    for left in (0..TRIES).rev() {
        let generation = linux.nft.generation()?;
        let changes = changes(&mut linux.nft)?;
        if changes.is_empty() {
            return Ok(());
        }
        match linux.nft.commit(&changes, Some(generation)) {
            Err(error) if error.errno() == Some(libc::ERESTART) && left > 0 => {}
            result => {
                let after = generation.checked_add(1).unwrap_or(1);
                linux.trusted = linux.trusted.filter(|trusted| *trusted == generation).map(|_| after);
                linux.seen = None;
                return result;
            }
        }
    }
    Ok(())
}

fn look(session: &mut Session, gate: &Gate, family: Family) -> Result<Found, KernelError> {
    let mut replies = session.ask(&[chain(family, gate.base), chain(family, gate.chain)])?.into_iter();
    let drops = matches!(replies.next(), Some(Ok(Reply::Chain(chain))) if is_dropping(&chain));
    if !drops && !matches!(replies.next(), Some(Ok(Reply::Chain(_)))) {
        return Ok(Found::default());
    }
    let rules = |session: &mut Session, name: &str| {
        let (table, chain) = (Some(TABLE.to_owned()), Some(name.to_owned()));
        match session.dump(&Query::Rules { family: Some(of(family)), table, chain }) {
            Ok(replies) => Ok(replies.into_iter().filter_map(rule_of).collect::<Vec<_>>()),
            Err(error) if error.is_absent() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    };
    let leads = Expr::verdict(Verdict::Jump(gate.chain.into()));
    let jumps = rules(session, gate.base)?.into_iter().filter(|rule| rule.exprs.contains(&leads));
    let jumps = jumps.filter_map(|rule| rule.handle).collect();
    let own = rules(session, gate.chain)?.into_iter().filter(|rule| rule.chain == gate.chain).collect();
    Ok(Found { drops, jumps, rules: own })
}

fn rule_of(reply: Reply) -> Option<Rule> {
    match reply {
        Reply::Rule(rule) => Some(rule),
        _ => None,
    }
}

/// The changes that leave an opening with the rules of this owner, or of nobody.
fn changes(found: &Found, opening: &Opening, owner: Option<&Owner>) -> Vec<Change> {
    let Opening { gate, family, .. } = *opening;
    let owner = owner.filter(|_| found.drops);
    let (old, rest): (Vec<_>, Vec<_>) = found.rules.iter().partition(|rule| opening.is_of(rule));
    let del = |chain: &str, handle: u64| Change::DelRule {
        family: of(family),
        table: TABLE.into(),
        chain: chain.into(),
        handle,
    };
    let mut changes: Vec<Change> =
        old.iter().filter_map(|rule| rule.handle).map(|at| del(gate.chain, at)).collect();
    let Some(owner) = owner else {
        // The last one takes the chain along.
        if rest.is_empty() && !old.is_empty() {
            changes.extend(found.jumps.iter().map(|at| del(gate.base, *at)));
            let name = gate.chain.into();
            changes.push(Change::DelChain { family: of(family), table: TABLE.into(), name });
        }
        return changes;
    };
    changes.push(Change::NewChain(Chain::new(of(family), TABLE, gate.chain)));
    if found.jumps.is_empty() {
        changes.push(rule(
            family,
            gate.base,
            vec![Expr::counter(), Expr::verdict(Verdict::Jump(gate.chain.into()))],
            (None, None),
        ));
    }
    changes.extend(opening.conditions().map(|(conditions, protocol)| {
        let exprs = conditions.into_iter().chain([Expr::counter(), Expr::verdict(Verdict::Accept)]).collect();
        rule(family, gate.chain, exprs, (Some(owner.mark()), protocol))
    }));
    changes
}

impl Opening {
    /// The conditions of its two rules, and the protocol that they are about.
    fn conditions(&self) -> [(Vec<Expr>, Option<u32>); 2] {
        let from = is(MetaKey::IifName, &self.device);
        match self.to {
            None => [([is(MetaKey::OifName, &self.device), vec![answers()]].concat(), None), (from, None)],
            Some(ip) => [(UDP, "udp"), (TCP, "tcp")].map(|(number, name)| {
                let protocol =
                    [Expr::Meta { key: MetaKey::L4Proto, dreg: R1 }, Expr::equal(R1, vec![number])];
                let rest = protocol.into_iter().chain([to_port(name)]);
                let conditions = from.iter().cloned().chain(is_to(ip)).chain(rest);
                (conditions.collect(), Some(number.into()))
            }),
        }
    }
}

const UDP: u8 = 17;
const TCP: u8 = 6;

/// `-d ADDRESS`: where it is in the headers (RFC 791, RFC 8200).
fn is_to(ip: IpAddr) -> Vec<Expr> {
    let (offset, octets) = match ip {
        IpAddr::V4(ip) => (16, ip.octets().to_vec()),
        IpAddr::V6(ip) => (24, ip.octets().to_vec()),
    };
    let (base, len) = (PayloadBase::Network, octets.len() as u32);
    vec![Expr::Payload { dreg: R1, base, offset, len }, Expr::equal(R1, octets)]
}

/// `-m udp --dport 53`: `struct xt_udp` and `struct xt_tcp` (linux/netfilter/xt_tcpudp.h) are alike so far.
fn to_port(name: &str) -> Expr {
    /// Rounded up to eight (`XT_ALIGN`).
    const SIZE: usize = 16;
    let ports: [u16; 4] = [0, u16::MAX, DNS, DNS];
    let mut info: Vec<u8> = ports.iter().flat_map(|port| port.to_ne_bytes()).collect();
    info.resize(SIZE, 0);
    matched(name, 0, &info)
}

/// A match of `iptables`.
fn matched(name: &str, revision: u32, info: &[u8]) -> Expr {
    const NAME: u16 = 1;
    const REVISION: u16 = 2;
    const INFO: u16 = 3;
    let name = [name.as_bytes(), &[0]].concat();
    let attributes = [(NAME, &name[..]), (REVISION, &revision.to_be_bytes()), (INFO, info)];
    Expr::Unknown { name: "match".into(), attributes: attributes.into_iter().flat_map(attribute).collect() }
}

fn rule(
    family: Family,
    chain: &str,
    exprs: Vec<Expr>,
    (comment, compat_protocol): (Option<String>, Option<u32>),
) -> Change {
    Change::NewRule(Rule { exprs, comment, compat_protocol, ..Rule::new(of(family), TABLE, chain) })
}

const R1: Register = Register::quad(1);

fn is(key: MetaKey, device: &IfName) -> Vec<Expr> {
    let name = [device.as_str().as_bytes(), &[0]].concat();
    vec![Expr::Meta { key, dreg: R1 }, Expr::equal(R1, name)]
}

/// `-m conntrack --ctstate RELATED,ESTABLISHED,DNAT`: `struct xt_conntrack_mtinfo3` (linux/netfilter/xt_conntrack.h).
fn answers() -> Expr {
    /// Rounded up to eight (`XT_ALIGN`).
    const SIZE: usize = 168;
    const FLAGS: usize = 146;
    const STATES: usize = 150;
    const ESTABLISHED: u16 = 1 << 1;
    const RELATED: u16 = 1 << 2;
    const DNAT: u16 = 1 << 7;
    let mut info = [0; SIZE];
    info[FLAGS..FLAGS + 2].copy_from_slice(&1u16.to_ne_bytes()); // XT_CONNTRACK_STATE
    info[STATES..STATES + 2].copy_from_slice(&(ESTABLISHED | RELATED | DNAT).to_ne_bytes());
    matched("conntrack", 3, &info)
}

/// An attribute (`struct nlattr`).
fn attribute((kind, value): (u16, &[u8])) -> Vec<u8> {
    let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn compared(rule: &Rule) -> impl Iterator<Item = &Vec<u8>> {
    rule.exprs.iter().filter_map(|expr| match expr {
        Expr::Cmp { value, .. } => Some(value),
        _ => None,
    })
}

/// The address that a rule of ours is about.
fn address_of(rule: &Rule) -> Option<IpAddr> {
    compared(rule).skip(1).find_map(|value| {
        let four = <[u8; 4]>::try_from(&value[..]).map(IpAddr::from);
        four.or_else(|_| <[u8; 16]>::try_from(&value[..]).map(IpAddr::from)).ok()
    })
}

/// The interface that a rule of ours is about.
fn device_of(rule: &Rule) -> Option<IfName> {
    let name = compared(rule).next()?;
    IfName::new(std::str::from_utf8(name).ok()?.trim_end_matches('\0')).ok()
}
