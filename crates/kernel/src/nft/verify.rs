//! Whether the rule set is whole: compared with what it must be, piece by piece.

use super::ruleset::{TABLE, ruleset};
use super::session::Session;
use super::survey::Contents;
use super::table::FAMILIES;
use crate::error::KernelError;
use qiao_nft::{Chain, Change, Expr, Family, Query, Reply, Rule, Set, Table};
use std::collections::BTreeSet;

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

/// What a look at the rule set has shown.
#[derive(Debug)]
pub struct Look {
    /// The state that it is in.
    pub damage: Damage,
    /// What is not as it must be, in words.
    pub flaws: Vec<String>,
    /// What is in its sets.
    pub contents: Contents,
}

/// Compares the rule set with what it must be, and reads what is in its sets: whatever has an effect on packets, not only
/// what was written. Which elements of ours must be there is not asked: they are objects of their own.
pub fn look(session: &mut Session) -> Result<Look, KernelError> {
    let tables = tables(session)?;
    if tables.is_empty() {
        return Ok(Look { damage: Damage::Absent, flaws: Vec::new(), contents: Contents::default() });
    }
    let mut found = Pieces { tables, ..Pieces::default() };
    found.read(session)?;
    let contents = Contents::read(session)?;
    let mut flaws = differences(&found.sorted(), &wanted());
    flaws.extend(contents.strays().iter().cloned());
    flaws.dedup();
    let damage = if flaws.is_empty() { Damage::None } else { Damage::Some };
    Ok(Look { damage, flaws, contents })
}

/// Those of our tables that there are.
fn tables(session: &mut Session) -> Result<Vec<Table>, KernelError> {
    let mut tables = Vec::new();
    for family in FAMILIES {
        match session.ask(&[Query::Table { family, name: TABLE.to_owned() }])?.pop() {
            Some(Ok(Reply::Table(table))) => tables.push(Table { handle: None, ..table }),
            Some(Err(error)) if !error.is_absent() => return Err(error),
            _ => {}
        }
    }
    Ok(tables)
}

/// The pieces of a rule set, without what the kernel adds to them.
#[derive(Debug, Default, PartialEq)]
struct Pieces {
    tables: Vec<Table>,
    sets: Vec<Set>,
    chains: Vec<Chain>,
    rules: Vec<Rule>,
}

impl Pieces {
    fn read(&mut self, session: &mut Session) -> Result<(), KernelError> {
        for family in self.tables.iter().map(|table| table.family).collect::<Vec<_>>() {
            let table = || Some(TABLE.to_owned());
            for query in [
                Query::Sets { family: Some(family), table: table() },
                Query::Chains(Some(family)),
                Query::Rules { family: Some(family), table: table(), chain: None },
            ] {
                session.dump(&query)?.into_iter().for_each(|reply| self.take(reply));
            }
        }
        Ok(())
    }

    fn take(&mut self, reply: Reply) {
        match reply {
            Reply::Set(set) if set.table == TABLE => self.sets.push(plain_set(set)),
            Reply::Chain(chain) if chain.table == TABLE => self.chains.push(Chain { handle: None, ..chain }),
            Reply::Rule(rule) if rule.table == TABLE => self.rules.push(plain_rule(rule)),
            _ => {}
        }
    }

    /// Rules keep their order within a chain; what chains and sets there are has none.
    fn sorted(mut self) -> Self {
        self.sets.sort_by(|a, b| (a.family as u8, &a.name).cmp(&(b.family as u8, &b.name)));
        self.chains.sort_by(|a, b| (a.family as u8, &a.name).cmp(&(b.family as u8, &b.name)));
        self.rules.sort_by(|a, b| (a.family as u8, &a.chain).cmp(&(b.family as u8, &b.chain)));
        self
    }

    /// How many chains and sets a table has. Flow tables and objects, of which ours have none, the kernel counts too.
    fn uses(&self, of: Family) -> u32 {
        let chains = self.chains.iter().filter(|chain| chain.family == of).count();
        (chains + self.sets.iter().filter(|set| set.family == of).count()) as u32
    }
}

/// What is found and not wanted, or wanted and not found, in words.
fn differences(found: &Pieces, wanted: &Pieces) -> Vec<String> {
    let mut flaws = Vec::new();
    for table in &wanted.tables {
        let name = family_name(table.family);
        let Some(is) = found.tables.iter().find(|is| is.family == table.family) else {
            flaws.push(format!("table `{name} qiao` is not there"));
            continue;
        };
        if is.flags & Table::DORMANT != 0 {
            flaws.push(format!("table `{name} qiao` is dormant: its rules are not in force"));
        } else if (is.flags, &is.comment) != (table.flags, &table.comment) {
            flaws.push(format!("table `{name} qiao` has other flags or another comment"));
        }
        if is.uses != Some(found.uses(table.family)) {
            flaws.push(format!("table `{name} qiao` has objects, flow tables or chains that are not qiao's"));
        }
    }
    flaws.extend(unlike("set", (&found.sets, &wanted.sets), |set| (set.family as u8, set.name.clone())));
    flaws.extend(unlike("chain", (&found.chains, &wanted.chains), |chain| {
        (chain.family as u8, chain.name.clone())
    }));
    let rules = |pieces: &Pieces| {
        let chains = pieces.rules.chunk_by(|a, b| (a.family as u8, &a.chain) == (b.family as u8, &b.chain));
        chains.map(<[Rule]>::to_vec).collect::<Vec<_>>()
    };
    let name = |rules: &Vec<Rule>| {
        rules.first().map_or_else(Default::default, |r| (r.family as u8, r.chain.clone()))
    };
    flaws.extend(unlike("the rules of chain", (&rules(found), &rules(wanted)), name));
    flaws
}

/// The names of what is not alike in two lists.
fn unlike<T: PartialEq>(
    what: &str,
    (found, wanted): (&[T], &[T]),
    name: impl Fn(&T) -> (u8, String),
) -> Vec<String> {
    let names: BTreeSet<_> = found.iter().chain(wanted).map(&name).collect();
    let of = |list: &[T], wanted: &(u8, String)| list.iter().position(|item| name(item) == *wanted);
    let mut flaws = Vec::new();
    for id in names {
        let is_like = match (of(found, &id), of(wanted, &id)) {
            (Some(a), Some(b)) => found[a] == wanted[b],
            _ => false,
        };
        if !is_like {
            let family = Family::try_from(id.0).map_or("", family_name);
            flaws.push(format!("{what} `{family} qiao {}` is not as qiao made it", id.1));
        }
    }
    flaws
}

fn family_name(family: Family) -> &'static str {
    if family == Family::Bridge { "bridge" } else { "inet" }
}

fn wanted() -> Pieces {
    let mut pieces = Pieces::default();
    for change in ruleset() {
        match change {
            Change::NewTable(table) => pieces.tables.push(table),
            Change::NewSet(set) => pieces.sets.push(plain_set(set)),
            Change::NewChain(chain) => pieces.chains.push(chain),
            Change::NewRule(rule) => pieces.rules.push(rule),
            _ => {}
        }
    }
    pieces.sorted()
}

fn plain_set(set: Set) -> Set {
    Set { id: 0, handle: None, ..set }
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
