//! Whether the rule set is whole: compared with what it must be, piece by piece.

use super::ruleset::{TABLE, ruleset};
use super::session::Session;
use super::table::FAMILIES;
use crate::error::KernelError;
use qiao_nft::{Chain, Change, Expr, Query, Reply, Rule, Set};

/// The state that a rule set is found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It is as it must be.
    None,
    /// It is not there.
    Absent,
    /// Some of it is missing, or something is in it that is not ours.
    Some,
}

/// Compares the rule set with what it must be. Elements are not looked at: they are objects of their own.
pub fn is_whole(session: &mut Session) -> Result<Damage, KernelError> {
    let mut tables = 0;
    for family in FAMILIES {
        match session.ask(&[Query::Table { family, name: TABLE.to_owned() }])?.pop() {
            Some(Ok(_)) => tables += 1,
            Some(Err(error)) if !error.is_absent() => return Err(error),
            _ => {}
        }
    }
    Ok(match tables {
        0 => Damage::Absent,
        2 if found(session)? == wanted() => Damage::None,
        _ => Damage::Some,
    })
}

/// The pieces of a rule set, without what the kernel adds to them.
#[derive(Debug, Default, PartialEq)]
struct Pieces {
    sets: Vec<Set>,
    chains: Vec<Chain>,
    rules: Vec<Rule>,
}

impl Pieces {
    /// Rules keep their order within a chain; what chains and sets there are has none.
    fn sorted(mut self) -> Self {
        self.sets.sort_by(|a, b| (a.family as u8, &a.name).cmp(&(b.family as u8, &b.name)));
        self.chains.sort_by(|a, b| (a.family as u8, &a.name).cmp(&(b.family as u8, &b.name)));
        self.rules.sort_by(|a, b| (a.family as u8, &a.chain).cmp(&(b.family as u8, &b.chain)));
        self
    }
}

fn wanted() -> Pieces {
    let mut pieces = Pieces::default();
    for change in ruleset() {
        match change {
            Change::NewSet(set) => pieces.sets.push(plain_set(set)),
            Change::NewChain(chain) => pieces.chains.push(chain),
            Change::NewRule(rule) => pieces.rules.push(rule),
            _ => {}
        }
    }
    pieces.sorted()
}

fn found(session: &mut Session) -> Result<Pieces, KernelError> {
    let mut pieces = Pieces::default();
    for family in FAMILIES {
        let table = || Some(TABLE.to_owned());
        for query in [
            Query::Sets { family: Some(family), table: table() },
            Query::Chains(Some(family)),
            Query::Rules { family: Some(family), table: table(), chain: None },
        ] {
            session.dump(&query)?.into_iter().for_each(|reply| take(&mut pieces, reply));
        }
    }
    Ok(pieces.sorted())
}

fn take(pieces: &mut Pieces, reply: Reply) {
    match reply {
        Reply::Set(set) if set.table == TABLE => pieces.sets.push(plain_set(set)),
        Reply::Chain(chain) if chain.table == TABLE => pieces.chains.push(Chain { handle: None, ..chain }),
        Reply::Rule(rule) if rule.table == TABLE => pieces.rules.push(plain_rule(rule)),
        _ => {}
    }
}

fn plain_set(set: Set) -> Set {
    Set { id: 0, handle: None, size: None, ..set }
}

fn plain_rule(rule: Rule) -> Rule {
    let exprs = rule.exprs.into_iter().map(plain_expr).collect();
    Rule { handle: None, position: None, exprs, ..rule }
}

fn plain_expr(expr: Expr) -> Expr {
    match expr {
        Expr::Counter { .. } => Expr::counter(),
        Expr::Lookup { set, sreg, dreg, inverted, .. } => {
            Expr::Lookup { set, set_id: None, sreg, dreg, inverted }
        }
        other => other,
    }
}
