//! What the reference's CNI plugins made for a container that ours delete: a node that switches from them has
//! containers that run. Their chains are named after the network and the container, or their rules say so in a comment.
//! It is the one thing of others that is ever deleted, and only when the container that it is for goes.

mod iptables;
mod isolation;
mod link;
mod names;
mod native;

use crate::error::KernelError;
use crate::linux::Linux;
use crate::nft::{Session, Write};
use crate::opening::transact;
use names::{Named, hash};
use qiao_core::IfName;
use qiao_nft::{Change, Family, Query, Reply, Rule};
use std::net::IpAddr;

/// A container that leaves, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Tenant<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its interface.
    pub ifname: &'a str,
    /// Its addresses.
    pub addresses: &'a [IpAddr],
    /// The host's interfaces that are for it.
    pub links: &'a [&'a str],
}

/// Whose.
#[derive(Clone, Copy, Debug)]
pub enum Leaving<'a> {
    /// A container's.
    One(Tenant<'a>),
    /// All of a network's but these: containers, and their interfaces.
    AllBut(&'a [(&'a str, &'a str)]),
}

impl Leaving<'_> {
    fn has(&self, id: &str) -> bool {
        match self {
            Leaving::One(one) => one.id == id,
            Leaving::AllBut(valid) => !valid.iter().any(|(container, _)| *container == id),
        }
    }
}

/// Which plugin is called: each removes what the one of its name has made.
#[derive(Clone, Copy, Debug)]
pub struct Plugin<'a>(pub &'a str);

impl Plugin<'_> {
    fn is(self, name: &str) -> bool {
        self.0 == name || self.0 == "qiao"
    }

    /// Whether it masquerades.
    fn masquerades(self) -> bool {
        self.is("bridge") || self.is("ptp")
    }
}

impl Linux {
    /// Removes the rules that the reference's plugins made for containers of a network that leave.
    pub fn remove_leftovers(
        &mut self,
        plugin: Plugin<'_>,
        (network, leaving): (&str, Leaving<'_>),
    ) -> Result<(), KernelError> {
        if !plugin.masquerades() && !plugin.is("portmap") && !plugin.is("firewall") {
            return Ok(());
        }
        let named = Named { plugin, network, leaving };
        transact(self, &|session| changes(session, named))?;
        if plugin.is("firewall") { isolation::remove(self, leaving) } else { Ok(()) }
    }

    /// Removes the device that the reference's `bandwidth` made for a container.
    pub fn remove_leftover_device(&mut self, network: &str, id: &str) -> Result<(), KernelError> {
        let Ok(name) = IfName::new(&format!("bwp{:.12}", hash(network, id))) else { return Ok(()) };
        link::delete(&mut self.rtnl, &name, &|link| link.kind.as_deref() == Some("ifb"))
    }
}

fn changes(session: &mut Session, named: Named<'_>) -> Result<Vec<Write>, KernelError> {
    let queries = [iptables::queries(named), native::queries(named)].concat();
    let there = There::look(session, queries)?;
    let mut changes = native::changes(session, named, &there)?;
    for family in [Family::Ip, Family::Ip6] {
        changes.extend(iptables::changes(session, family, (named, &there))?);
    }
    Ok(changes.into_iter().map(Write::from).collect())
}

/// The tables and chains that are there, of those that were asked about.
struct There(Vec<Query>);

impl There {
    fn look(session: &mut Session, queries: Vec<Query>) -> Result<Self, KernelError> {
        let replies = session.ask(&queries)?.into_iter();
        let there = queries.into_iter().zip(replies).filter(|(_, reply)| reply.is_ok());
        Ok(Self(there.map(|(query, _)| query).collect()))
    }

    fn table(&self, family: Family, name: &str) -> bool {
        self.0.contains(&Query::Table { family, name: name.into() })
    }

    fn chain(&self, family: Family, table: &str, name: &str) -> bool {
        self.0.contains(&chain(family, table, name))
    }

    /// Which of these chains of a table.
    fn of<'a>(&self, (family, table): (Family, &str), names: &[&'a str]) -> impl Iterator<Item = &'a str> {
        names.iter().copied().filter(move |name| self.chain(family, table, name))
    }
}

fn chain(family: Family, table: &str, name: &str) -> Query {
    Query::Chain { family, table: table.into(), name: name.into() }
}

/// All rules of a table; none where there is no such table.
fn rules(session: &mut Session, (family, table): (Family, &str)) -> Result<Vec<Rule>, KernelError> {
    match session.dump(&Query::Rules { family: Some(family), table: Some(table.into()), chain: None }) {
        Ok(replies) => Ok(replies
            .into_iter()
            .filter_map(|reply| if let Reply::Rule(rule) = reply { Some(rule) } else { None })
            .filter(|rule| rule.table == table)
            .collect()),
        Err(error) if error.is_absent() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn del(rule: &Rule) -> Option<Change> {
    let (family, table, chain) = (rule.family, rule.table.clone(), rule.chain.clone());
    rule.handle.map(|handle| Change::DelRule { family, table, chain, handle })
}

/// Empties chains and deletes them.
fn del_chains<'a>(family: Family, table: &str, names: impl Iterator<Item = &'a str> + Clone) -> Vec<Change> {
    let flush = |name: &str| Change::FlushChain { family, table: table.into(), name: name.into() };
    let del = |name: &str| Change::DelChain { family, table: table.into(), name: name.into() };
    names.clone().map(flush).chain(names.map(del)).collect()
}
