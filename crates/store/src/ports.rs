//! Who has which port of the host, on which of its addresses.
//!
//! `PORT` is a claim that says whose it is and where: `KEY IP IP…`. Most ports have one owner; where there are more,
//! each on addresses of its own, the others are in `PORT.1`, `PORT.2` and so on, without a gap: who looks at a free
//! port looks once. The last takes the place of one that goes, in one step.

use crate::dir::Dir;
use crate::error::StoreError;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;

/// The ports of a protocol.
#[derive(Debug)]
pub(crate) struct Ports(pub(crate) Rc<Dir>);

/// What somebody has of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub owner: String,
    pub addresses: BTreeSet<IpAddr>,
}

impl Holding {
    fn text(&self) -> String {
        self.addresses.iter().fold(self.owner.clone(), |text, ip| format!("{text} {ip}"))
    }

    fn parse(text: &str) -> Self {
        let mut words = text.split(' ');
        let owner = words.next().unwrap_or_default().to_owned();
        Self { owner, addresses: words.filter_map(|word| word.parse().ok()).collect() }
    }
}

fn place(port: u16, at: usize) -> String {
    if at == 0 { port.to_string() } else { format!("{port}.{at}") }
}

impl Ports {
    /// Who has a port.
    pub fn holdings(&self, port: u16) -> Result<Vec<Holding>, StoreError> {
        let mut holdings = Vec::new();
        while let Some(text) = self.0.claimant(&place(port, holdings.len()))? {
            holdings.push(Holding::parse(&text));
        }
        Ok(holdings)
    }

    /// Claims a port on some addresses; the one that somebody has already, if there is one.
    pub fn claim(&self, port: u16, wanted: &Holding) -> Result<Option<IpAddr>, StoreError> {
        if self.0.claim(&place(port, 0), &wanted.text())? {
            return Ok(None);
        }
        let holdings = self.holdings(port)?;
        let mut taken = holdings.iter().flat_map(|holding| &holding.addresses);
        if let Some(ip) = taken.find(|ip| wanted.addresses.contains(ip)) {
            return Ok(Some(*ip));
        }
        match holdings.iter().position(|holding| holding.owner == wanted.owner) {
            Some(at) => {
                let addresses = &holdings[at].addresses | &wanted.addresses;
                let more = Holding { owner: wanted.owner.clone(), addresses };
                self.0.reclaim(&place(port, at), &more.text())?;
            }
            // What cannot be read is in the way of everybody.
            None if !self.0.claim(&place(port, holdings.len()), &wanted.text())? => {
                return Ok(wanted.addresses.first().copied());
            }
            None => {}
        }
        Ok(None)
    }

    /// Gives back what somebody has of a port on some addresses.
    pub fn give(&self, port: u16, given: &Holding) -> Result<(), StoreError> {
        let holdings = self.holdings(port)?;
        let Some(at) = holdings.iter().position(|holding| holding.owner == given.owner) else {
            return Ok(());
        };
        let addresses = &holdings[at].addresses - &given.addresses;
        if addresses.is_empty() {
            return self.remove(port, (at, holdings.len()));
        }
        let rest = Holding { owner: given.owner.clone(), addresses };
        if rest == holdings[at] { Ok(()) } else { self.0.reclaim(&place(port, at), &rest.text()) }
    }

    fn remove(&self, port: u16, (at, count): (usize, usize)) -> Result<(), StoreError> {
        match count - 1 {
            last if last == at => self.0.remove(&place(port, at)).map(|_| ()),
            last => self.0.rename(&place(port, last), &self.0, &place(port, at)),
        }
    }

    /// The ports that somebody has.
    pub fn all(&self) -> Result<Vec<u16>, StoreError> {
        Ok(self.0.names()?.into_iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Takes everything from owners that `known` does not know, and tells what it was.
    pub fn collect(&self, known: &dyn Fn(&str) -> bool) -> Result<Vec<String>, StoreError> {
        let mut collected = Vec::new();
        for port in self.all()? {
            for holding in self.holdings(port)?.into_iter().filter(|holding| !known(&holding.owner)) {
                self.give(port, &holding)?;
                collected.push(format!("{}/{port} of {}", self.0.path(), holding.owner));
            }
        }
        Ok(collected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(owner: &str, addresses: &[&str]) -> Holding {
        Holding { owner: owner.into(), addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect() }
    }

    fn ports(name: &str) -> (Ports, String) {
        let path = format!("{}/ports-{name}-{}", std::env::temp_dir().display(), std::process::id());
        (Ports(Rc::new(Dir::open_root(&path).unwrap())), path)
    }

    #[test]
    fn several_have_a_port_on_addresses_of_their_own() {
        let (ports, path) = ports("several");
        let (a, b, c) = (
            holding("a@eth0", &["10.0.0.1", "::1"]),
            holding("b@eth0", &["10.0.0.2"]),
            holding("c@eth0", &["::2"]),
        );
        for one in [&a, &b, &c] {
            assert_eq!(ports.claim(80, one).unwrap(), None);
        }
        assert_eq!(ports.holdings(80).unwrap(), [a.clone(), b.clone(), c.clone()]);
        let taken = ports.claim(80, &holding("d@eth0", &["10.0.0.3", "10.0.0.2"])).unwrap();
        assert_eq!(taken, Some("10.0.0.2".parse().unwrap()));
        assert_eq!(ports.claim(80, &holding("a@eth0", &["::1"])).unwrap(), Some("::1".parse().unwrap()));
        // The last takes the place of the first; what is not somebody's is not given back.
        ports.give(80, &a).unwrap();
        ports.give(80, &holding("b@eth0", &["::2"])).unwrap();
        assert_eq!(ports.holdings(80).unwrap(), [c.clone(), b.clone()]);
        // More of the same owner's is one claim; a part of it can be given back.
        assert_eq!(ports.claim(80, &holding("b@eth0", &["::7"])).unwrap(), None);
        ports.give(80, &b).unwrap();
        assert_eq!(ports.holdings(80).unwrap(), [c, holding("b@eth0", &["::7"])]);
        assert_eq!(ports.collect(&|owner| owner == "b@eth0").unwrap().len(), 1);
        assert_eq!(ports.holdings(80).unwrap(), [holding("b@eth0", &["::7"])]);
        assert_eq!(ports.collect(&|_| false).unwrap().len(), 1);
        assert_eq!(ports.all().unwrap(), Vec::<u16>::new());
        std::fs::remove_dir(path).unwrap(); // nothing is left in it
    }

    #[test]
    fn what_is_no_claim_is_in_the_way() {
        let (ports, path) = ports("strange");
        std::fs::write(format!("{path}/80"), "").unwrap();
        assert!(ports.claim(80, &holding("a@eth0", &["::1"])).unwrap().is_some());
        std::fs::remove_dir_all(path).unwrap();
    }
}
