//! `iptables`' chain FORWARD, where its policy drops (Docker sets it so): in nf_tables a packet that any chain drops is
//! dropped, so ours must be let through there too. For that there is a chain of ours in the table `filter`, which
//! FORWARD leads to at its end: what the rules of others drop stays dropped, only the policy does not get these.
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
use qiao_nft::{Chain, Change, Expr, MetaKey, Policy, Query, Register, Reply, Rule, Verdict};
use std::collections::BTreeMap;

const TABLE: &str = "filter";
const FORWARD: &str = "FORWARD";
const CHAIN: &str = "QIAO-FORWARD";
/// How often it is tried again because others change the rule set meanwhile.
const TRIES: usize = 64;

/// What there is of a family.
#[derive(Debug, Default)]
struct Found {
    /// Whether FORWARD is there, and drops what no rule lets through.
    drops: bool,
    /// The rules of FORWARD that lead to our chain.
    jumps: Vec<u64>,
    /// The rules of our chain.
    rules: Vec<Rule>,
}

/// The families whose FORWARD drops.
pub fn drops(session: &mut Session) -> Result<Vec<Family>, KernelError> {
    let families = [Family::V4, Family::V6];
    let mut found = Vec::new();
    for (family, reply) in families.into_iter().zip(session.ask(&families.map(forward))?) {
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

fn forward(family: Family) -> Query {
    Query::Chain { family: of(family), table: TABLE.into(), name: FORWARD.into() }
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
        let Key::Open(family, device) = key else { continue };
        let found = match looked.remove(family) {
            Some(found) => found,
            None => look(&mut linux.nft, *family)?,
        };
        let own = found.rules.iter().filter(|rule| device_of(rule).as_ref() == Some(device));
        let comments: Vec<Option<&str>> = own.map(|rule| rule.comment.as_deref()).collect();
        let is_open = !found.drops && comments.is_empty() || comments.len() == 2 && !found.jumps.is_empty();
        if is_open {
            let mark = object.owner.mark();
            let comment = comments.first().copied().flatten().unwrap_or(&mark);
            observed.insert(key.clone(), owner_of(Some(comment), Some(&object.owner)), Value::Present);
        }
        looked.insert(*family, found);
    }
    Ok(())
}

/// Every interface that is let through by us.
pub fn survey(session: &mut Session, observed: &mut Observed) -> Result<(), KernelError> {
    for family in [Family::V4, Family::V6] {
        for rule in look(session, family)?.rules {
            if let Some(device) = device_of(&rule) {
                let owner = owner_of(rule.comment.as_deref(), None);
                observed.insert(Key::Open(family, device), owner, Value::Present);
            }
        }
    }
    Ok(())
}

/// Lets an interface through, or no longer.
pub fn apply(linux: &mut Linux, op: &Op) -> Result<(), KernelError> {
    let Key::Open(family, device) = op.key() else { return Ok(()) };
    let owner = op.after().map(|object| object.owner);
    let apply = |linux: &mut Linux, keeps_chain: bool| {
        transact(linux, &|session| {
            let found = look(session, *family)?;
            let mut changes = changes(&found, (*family, device), owner.as_ref());
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

fn look(session: &mut Session, family: Family) -> Result<Found, KernelError> {
    let chain = |name: &str| Query::Chain { family: of(family), table: TABLE.into(), name: name.into() };
    let mut replies = session.ask(&[chain(FORWARD), chain(CHAIN)])?.into_iter();
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
    let leads = Expr::verdict(Verdict::Jump(CHAIN.into()));
    let jumps = rules(session, FORWARD)?.into_iter().filter(|rule| rule.exprs.contains(&leads));
    let jumps = jumps.filter_map(|rule| rule.handle).collect();
    let own = rules(session, CHAIN)?.into_iter().filter(|rule| rule.chain == CHAIN).collect();
    Ok(Found { drops, jumps, rules: own })
}

fn rule_of(reply: Reply) -> Option<Rule> {
    match reply {
        Reply::Rule(rule) => Some(rule),
        _ => None,
    }
}

/// The changes that leave the interface with the rules of this owner, or of nobody.
fn changes(found: &Found, (family, device): (Family, &IfName), owner: Option<&Owner>) -> Vec<Change> {
    let owner = owner.filter(|_| found.drops);
    let (old, rest): (Vec<_>, Vec<_>) =
        found.rules.iter().partition(|rule| device_of(rule).as_ref() == Some(device));
    let del = |chain: &str, handle: u64| Change::DelRule {
        family: of(family),
        table: TABLE.into(),
        chain: chain.into(),
        handle,
    };
    let mut changes: Vec<Change> =
        old.iter().filter_map(|rule| rule.handle).map(|at| del(CHAIN, at)).collect();
    let Some(owner) = owner else {
        // The last one takes the chain along.
        if rest.is_empty() && !old.is_empty() {
            changes.extend(found.jumps.iter().map(|at| del(FORWARD, *at)));
            changes.push(Change::DelChain { family: of(family), table: TABLE.into(), name: CHAIN.into() });
        }
        return changes;
    };
    changes.push(Change::NewChain(Chain::new(of(family), TABLE, CHAIN)));
    if found.jumps.is_empty() {
        changes.push(rule(
            family,
            FORWARD,
            vec![Expr::counter(), Expr::verdict(Verdict::Jump(CHAIN.into()))],
            None,
        ));
    }
    let accept = |conditions: Vec<Expr>| {
        let exprs = conditions.into_iter().chain([Expr::counter(), Expr::verdict(Verdict::Accept)]).collect();
        rule(family, CHAIN, exprs, Some(owner.mark()))
    };
    changes.push(accept([is(MetaKey::OifName, device), vec![answers()]].concat()));
    changes.push(accept(is(MetaKey::IifName, device)));
    changes
}

fn rule(family: Family, chain: &str, exprs: Vec<Expr>, comment: Option<String>) -> Change {
    Change::NewRule(Rule { exprs, comment, ..Rule::new(of(family), TABLE, chain) })
}

const R1: Register = Register::quad(1);

fn is(key: MetaKey, device: &IfName) -> Vec<Expr> {
    let name = [device.as_str().as_bytes(), &[0]].concat();
    vec![Expr::Meta { key, dreg: R1 }, Expr::equal(R1, name)]
}

/// `-m conntrack --ctstate RELATED,ESTABLISHED,DNAT`: `struct xt_conntrack_mtinfo3` (linux/netfilter/xt_conntrack.h).
fn answers() -> Expr {
    const NAME: u16 = 1;
    const REVISION: u16 = 2;
    const INFO: u16 = 3;
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
    let attributes = [(NAME, &b"conntrack\0"[..]), (REVISION, &3u32.to_be_bytes()), (INFO, &info)];
    Expr::Unknown { name: "match".into(), attributes: attributes.into_iter().flat_map(attribute).collect() }
}

/// An attribute (`struct nlattr`).
fn attribute((kind, value): (u16, &[u8])) -> Vec<u8> {
    let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The interface that a rule of ours is about.
fn device_of(rule: &Rule) -> Option<IfName> {
    let name = rule.exprs.iter().find_map(|expr| match expr {
        Expr::Cmp { value, .. } => Some(value),
        _ => None,
    })?;
    IfName::new(std::str::from_utf8(name).ok()?.trim_end_matches('\0')).ok()
}
