//! Rules of others in nf_tables, those of `iptables-nft` among them, that let packets through at the forward hook or
//! translate their source. What is read is what a base chain has and what it leads to in any case: rules that are reached
//! under conditions only, as those of firewalld's zones, say little about the host.

use crate::error::KernelError;
use crate::nft::{Session, TABLE};
use qiao_core::forwarding::OtherRule;
use qiao_core::subnet::Family;
use qiao_nft::{
    Chain, ChainType, CmpOp, CtKey, ElementValue, Expr, Hook, MetaKey, NatKind, PayloadBase, Query, Register,
    Reply, Rule, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};

/// How deep chains are followed (`NFT_JUMP_STACK_SIZE`).
const DEEPEST: usize = 16;
/// What chains of ours in tables of others begin with.
const OURS: &str = "QIAO-";

/// The names of interfaces by their indexes.
pub type Names = BTreeMap<u32, String>;

/// The rules of others.
pub fn rules(session: &mut Session, names: &Names) -> Result<Vec<OtherRule>, KernelError> {
    let chains = session.dump(&Query::Chains(None))?;
    let bases: Vec<Chain> = chains.into_iter().filter_map(chain_of).filter(is_base).collect();
    let mut reader = Reader { session, names, known: BTreeSet::new(), found: Vec::new() };
    for base in &bases {
        reader.known.clear();
        reader.follow(base, &base.name)?;
    }
    Ok(reader.found)
}

fn chain_of(reply: Reply) -> Option<Chain> {
    match reply {
        Reply::Chain(chain) => Some(chain),
        _ => None,
    }
}

fn is_base(chain: &Chain) -> bool {
    let is_there = chain.hook.as_ref().is_some_and(|hook| match hook.kind {
        ChainType::Filter => hook.number == Hook::FORWARD,
        ChainType::Nat => hook.number == Hook::POSTROUTING,
        ChainType::Route => false,
    });
    is_there && chain.table != TABLE && !families(chain.family).is_empty()
}

fn family_name(family: qiao_nft::Family) -> &'static str {
    match family {
        qiao_nft::Family::Ip => "ip",
        qiao_nft::Family::Ip6 => "ip6",
        _ => "inet",
    }
}

fn families(family: qiao_nft::Family) -> BTreeSet<Family> {
    match family {
        qiao_nft::Family::Ip => [Family::V4].into(),
        qiao_nft::Family::Ip6 => [Family::V6].into(),
        qiao_nft::Family::Inet => [Family::V4, Family::V6].into(),
        _ => BTreeSet::new(),
    }
}

struct Reader<'s> {
    session: &'s mut Session,
    names: &'s Names,
    /// The chains that were read of a base chain.
    known: BTreeSet<String>,
    found: Vec<OtherRule>,
}

impl Reader<'_> {
    /// Reads a chain, and those that it leads to in any case, each once.
    fn follow(&mut self, base: &Chain, name: &str) -> Result<(), KernelError> {
        if name.starts_with(OURS) || self.known.len() >= DEEPEST || !self.known.insert(name.to_owned()) {
            return Ok(());
        }
        let (family, table) = (Some(base.family), Some(base.table.clone()));
        let replies = match self.session.dump(&Query::Rules { family, table, chain: Some(name.to_owned()) }) {
            Err(error) if error.is_absent() => return Ok(()),
            replies => replies?,
        };
        for reply in replies {
            let Reply::Rule(rule) = reply else { continue };
            if rule.chain != name {
                continue;
            }
            match read(&rule, self.names) {
                (Some(Act::Leads(to)), Conditions { other, .. }) if other.is_always() => {
                    self.follow(base, &to)?
                }
                (Some(Act::Passes), conditions) => self.found.extend(conditions.rule(base, name)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// What a rule does with a packet, as far as it matters here.
enum Act {
    /// It lets it through, or translates its source.
    Passes,
    /// It leads to another chain.
    Leads(String),
}

/// What a rule asks for.
#[derive(Default)]
struct Conditions {
    other: OtherRule,
    /// Whether the first packet of a connection does not fulfil it.
    only_answers: bool,
    /// Which family it is about, where the table has both.
    only: Option<Family>,
}

impl Conditions {
    fn rule(self, base: &Chain, name: &str) -> Option<OtherRule> {
        let of_lo = [&self.other.from, &self.other.to].into_iter().flatten().any(|link| link == "lo");
        if self.only_answers || of_lo {
            return None;
        }
        let mut families = families(base.family);
        families.retain(|family| self.only.is_none_or(|only| only == *family));
        let table = format!("{} {}", family_name(base.family), base.table);
        Some(OtherRule { families, place: format!("chain {name} of table {table}"), ..self.other })
    }
}

/// What was loaded last into a register.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    From,
    To,
    Index(End),
    Family,
    Address,
    State(Option<u32>),
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    From,
    To,
}

impl From<End> for Load {
    fn from(end: End) -> Self {
        match end {
            End::From => Self::From,
            End::To => Self::To,
        }
    }
}

/// The name of an interface that a rule gives by its index, as rules have names.
fn named(value: &[u8], names: &Names) -> Option<Vec<u8>> {
    let name = names.get(&u32::from_ne_bytes(value.try_into().ok()?))?;
    Some([name.as_bytes(), &[0]].concat())
}

fn read(rule: &Rule, names: &Names) -> (Option<Act>, Conditions) {
    let (mut conditions, mut act) = (Conditions::default(), None);
    let mut loaded: Vec<(Register, Load)> = Vec::new();
    for expr in &rule.exprs {
        match expr {
            Expr::Meta { key, dreg } => loaded.push((*dreg, meta(*key))),
            Expr::Payload { base, offset, len, dreg } => {
                loaded.push((*dreg, payload(rule.family, *base, (*offset, *len))))
            }
            Expr::Ct { key: CtKey::State, dreg, .. } => loaded.push((*dreg, Load::State(None))),
            Expr::Bitwise { sreg, dreg, mask, .. } => {
                let load = match last(&loaded, *sreg) {
                    Load::State(_) => Load::State(mask.as_slice().try_into().ok().map(u32::from_ne_bytes)),
                    load => load,
                };
                loaded.push((*dreg, load));
            }
            Expr::Cmp { op, sreg, value } => match last(&loaded, *sreg) {
                Load::Index(load) => match named(value, names) {
                    Some(name) => conditions.compared(load.into(), *op, &name),
                    None => conditions.other.narrow = true,
                },
                load => conditions.compared(load, *op, value),
            },
            Expr::Immediate { dreg: Register::VERDICT, value: ElementValue::Verdict(verdict) } => {
                act = act_of(verdict)
            }
            Expr::Nat { kind: NatKind::Snat, .. } | Expr::Masquerade { .. } => act = Some(Act::Passes),
            Expr::Unknown { name, attributes } if name == "target" => act = target(attributes),
            Expr::Unknown { name, attributes } if name == "match" => conditions.matched(attributes),
            Expr::Counter { .. } | Expr::Log { .. } | Expr::Last { .. } | Expr::Immediate { .. } => {}
            Expr::Lookup { sreg, .. } if last(&loaded, *sreg) == Load::Address => {
                conditions.other.addressed = true
            }
            _ => conditions.other.narrow = true,
        }
    }
    (act, conditions)
}

fn last(loaded: &[(Register, Load)], register: Register) -> Load {
    loaded.iter().rev().find(|(at, _)| *at == register).map_or(Load::Other, |(_, load)| *load)
}

fn meta(key: MetaKey) -> Load {
    match key {
        MetaKey::IifName => Load::From,
        MetaKey::OifName => Load::To,
        MetaKey::Iif => Load::Index(End::From),
        MetaKey::Oif => Load::Index(End::To),
        MetaKey::NfProto => Load::Family,
        _ => Load::Other,
    }
}

/// Source and destination in the headers (RFC 791, RFC 8200).
fn payload(family: qiao_nft::Family, base: PayloadBase, (offset, len): (u32, u32)) -> Load {
    let is_v4 = family != qiao_nft::Family::Ip6 && [12, 16].contains(&offset) && len <= 8;
    let is_v6 = family != qiao_nft::Family::Ip && [8, 24].contains(&offset) && len > 4;
    if base == PayloadBase::Network && (is_v4 || is_v6) { Load::Address } else { Load::Other }
}

fn act_of(verdict: &Verdict) -> Option<Act> {
    match verdict {
        Verdict::Accept => Some(Act::Passes),
        Verdict::Jump(to) | Verdict::Goto(to) => Some(Act::Leads(to.clone())),
        _ => None,
    }
}

impl Conditions {
    fn compared(&mut self, load: Load, op: CmpOp, value: &[u8]) {
        let is_equal = op == CmpOp::Eq;
        match load {
            Load::From if is_equal => self.other.from = Some(name(value)),
            Load::To if is_equal => self.other.to = Some(name(value)),
            Load::From | Load::To => {} // all but one: nothing is named by that
            Load::Family if is_equal => self.only = family(value),
            Load::Address => self.other.addressed = true,
            Load::State(Some(states)) if !is_equal => self.only_answers |= states & NEW == 0,
            Load::State(None) if is_equal => {
                self.only_answers |= value.try_into().is_ok_and(|state| u32::from_ne_bytes(state) & NEW == 0)
            }
            _ => self.other.narrow = true,
        }
    }

    /// A match of `iptables`.
    fn matched(&mut self, attributes: &[u8]) {
        let info = attribute(attributes, INFO).unwrap_or_default();
        match xt_name(attributes).as_str() {
            "conntrack" | "state" => match states(&xt_name(attributes), info) {
                Some(states) => self.only_answers |= states & NEW == 0,
                None => self.other.narrow = true,
            },
            "comment" => {}
            _ => self.other.narrow = true,
        }
    }
}

/// The bit of the first packet of a connection, in nf_tables' words and x_tables' alike.
pub const NEW: u32 = 8;

/// Which states a match of `iptables` lets through: `struct xt_conntrack_mtinfo3` or an earlier one (the flags and the
/// states have one place in all of them), `struct xt_state_info`.
pub fn states(name: &str, info: &[u8]) -> Option<u32> {
    const INVERTED: usize = 148;
    const STATES: usize = 150;
    const OF_STATE: u16 = 1;
    let half = |at: usize| Some(u16::from_ne_bytes(info.get(at..at + 2)?.try_into().ok()?));
    match name {
        "state" => Some(u32::from_ne_bytes(info.get(..4)?.try_into().ok()?)),
        _ if half(INVERTED - 2)? & OF_STATE == 0 => None,
        _ if half(INVERTED)? & OF_STATE != 0 => Some(!u32::from(half(STATES)?)),
        _ => Some(half(STATES)?.into()),
    }
}

fn name(value: &[u8]) -> String {
    let text: Vec<u8> = value.iter().copied().take_while(|byte| *byte != 0).collect();
    let whole = text.len() < value.len();
    format!("{}{}", String::from_utf8_lossy(&text), if whole { "" } else { "*" })
}

fn family(value: &[u8]) -> Option<Family> {
    match value.first().copied().map(libc::c_int::from) {
        Some(libc::NFPROTO_IPV4) => Some(Family::V4),
        Some(libc::NFPROTO_IPV6) => Some(Family::V6),
        _ => None,
    }
}

/// A target of `iptables` that nf_tables has no word for.
fn target(attributes: &[u8]) -> Option<Act> {
    passes(&xt_name(attributes)).then_some(Act::Passes)
}

/// Whether a target of `iptables` translates the source.
pub fn passes(name: &str) -> bool {
    ["MASQUERADE", "SNAT", "NETMAP"].contains(&name)
}

/// `NFTA_MATCH_NAME` and `NFTA_TARGET_NAME`, `NFTA_MATCH_INFO`.
const NAME: u16 = 1;
const INFO: u16 = 3;

fn xt_name(attributes: &[u8]) -> String {
    let name = attribute(attributes, NAME).unwrap_or_default();
    String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()
}

fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    crate::netlink::attribute::attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}
