//! Operations and plans.

use super::{Key, Object, State, Value};
use crate::owner::Owner;
use serde::{Deserialize, Serialize};

/// One reversible change. `Set` and `Del` hold the value they replace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Make an object.
    Add {
        /// Which.
        key: Key,
        /// How.
        object: Object,
    },
    /// Change an object.
    Set {
        /// Which.
        key: Key,
        /// Whose.
        owner: Owner,
        /// How it was.
        from: Value,
        /// How it shall be.
        to: Value,
    },
    /// Take an object away.
    Del {
        /// Which.
        key: Key,
        /// How it was.
        object: Object,
    },
}

impl Op {
    /// The object's key.
    pub fn key(&self) -> &Key {
        match self {
            Op::Add { key, .. } | Op::Set { key, .. } | Op::Del { key, .. } => key,
        }
    }

    /// Whose the object is.
    pub fn owner(&self) -> &Owner {
        match self {
            Op::Add { object, .. } | Op::Del { object, .. } => &object.owner,
            Op::Set { owner, .. } => owner,
        }
    }

    /// Whether the kernel refuses to carry it out (`EEXIST`) where something is there already. What an endpoint
    /// brings along need not be looked for first then.
    pub fn is_exclusive(&self) -> bool {
        matches!(self, Op::Add { key, object } if key.is_made_once(&object.owner))
    }

    /// The operation that takes this one back.
    #[must_use]
    pub fn inverse(&self) -> Op {
        match self.clone() {
            Op::Add { key, object } => Op::Del { key, object },
            Op::Del { key, object } => Op::Add { key, object },
            Op::Set { key, owner, from, to } => Op::Set { key, owner, from: to, to: from },
        }
    }

    /// The object as it was before the operation; none if there was none.
    pub fn before(&self) -> Option<Object> {
        match self {
            Op::Add { .. } => None,
            Op::Set { owner, from, .. } => Some(Object { owner: owner.clone(), value: from.clone() }),
            Op::Del { object, .. } => Some(object.clone()),
        }
    }

    /// The object as it is after the operation; none if there is none.
    pub fn after(&self) -> Option<Object> {
        self.inverse().before()
    }
}

/// What is to be done, in order. It comes from [`super::diff`] only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan(Vec<Op>);

impl Plan {
    pub(super) fn new(ops: Vec<Op>) -> Self {
        Self(ops)
    }

    /// The operations, in order.
    pub fn ops(&self) -> &[Op] {
        &self.0
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The plan that takes this one back.
    #[must_use]
    pub fn inverse(&self) -> Plan {
        Plan(self.0.iter().rev().map(Op::inverse).collect())
    }

    /// The first `count` operations: what has been done when the rest has not.
    #[must_use]
    pub fn prefix(&self, count: usize) -> Plan {
        Plan(self.0.iter().take(count).cloned().collect())
    }

    /// How the plan's objects were before it. Reaching this state again takes the plan back, however much of
    /// it was carried out.
    pub fn before(&self) -> State {
        self.0.iter().filter_map(|op| Some((op.key().clone(), op.before()?))).collect()
    }

    /// The keys of everything the plan touches.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().map(Op::key)
    }
}
