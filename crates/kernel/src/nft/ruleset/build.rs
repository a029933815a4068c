//! Collecting a table's sets, chains and rules.

use super::TABLE;
use qiao_nft::{
    Chain, ChainType, Change, DataTypes, Expr, Family, Hook, MapValue, Policy, Rule, Set, SetFlags,
};

/// A table in the making.
pub struct Builder {
    family: Family,
    sets: Vec<Change>,
    chains: Vec<Change>,
    rules: Vec<Change>,
}

impl Builder {
    /// An empty table.
    pub fn new(family: Family) -> Self {
        Self { family, sets: Vec::new(), chains: Vec::new(), rules: Vec::new() }
    }

    /// Sets first, then chains, then rules: what is referred to exists.
    pub fn finish(self) -> Vec<Change> {
        [self.sets, self.chains, self.rules].concat()
    }

    /// A set of exact keys.
    pub fn set(&mut self, name: &str, key: impl Into<DataTypes>) {
        self.push(name, key.into(), (None, false));
    }

    /// A set of intervals.
    pub fn intervals(&mut self, name: &str, key: impl Into<DataTypes>) {
        self.push(name, key.into(), (None, true));
    }

    /// A map from exact keys.
    pub fn map(&mut self, name: &str, key: impl Into<DataTypes>, value: MapValue) {
        self.push(name, key.into(), (Some(value), false));
    }

    /// A map from intervals.
    pub fn interval_map(&mut self, name: &str, key: impl Into<DataTypes>, value: MapValue) {
        self.push(name, key.into(), (Some(value), true));
    }

    fn push(&mut self, name: &str, key: DataTypes, (value, interval): (Option<MapValue>, bool)) {
        let flag = |on: bool, flag: SetFlags| if on { flag } else { SetFlags::default() };
        let flags = flag(value.is_some(), SetFlags::MAP)
            | flag(interval, SetFlags::INTERVAL)
            | flag(interval && key.is_concatenation(), SetFlags::CONCAT);
        let id = self.sets.len() as u32 + 1;
        self.sets.push(Change::NewSet(Set { id, flags, value, ..Set::new(self.family, TABLE, name, key) }));
    }

    /// A chain that packets enter at a hook.
    pub fn base(
        &mut self,
        name: &str,
        kind: ChainType,
        (number, priority): (u32, i32),
        rules: Vec<(Vec<Expr>, &str)>,
    ) {
        let hook = Hook { kind, number, priority, policy: Policy::Accept, device: None };
        self.chain(name, Some(hook), rules);
    }

    /// A chain that rules lead to.
    pub fn regular(&mut self, name: &str, rules: Vec<(Vec<Expr>, &str)>) {
        self.chain(name, None, rules);
    }

    fn chain(&mut self, name: &str, hook: Option<Hook>, rules: Vec<(Vec<Expr>, &str)>) {
        self.chains.push(Change::NewChain(Chain { hook, ..Chain::new(self.family, TABLE, name) }));
        for (exprs, comment) in rules {
            let comment = (!comment.is_empty()).then(|| comment.to_owned());
            self.rules.push(Change::NewRule(Rule { exprs, comment, ..Rule::new(self.family, TABLE, name) }));
        }
    }
}
