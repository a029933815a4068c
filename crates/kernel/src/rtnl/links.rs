//! All links of a namespace, also while others come and go.
//!
//! The kernel sends some forty links in a datagram, and reports that a dump was interrupted when any link of the
//! namespace came or went between two of them. On a busy host that may be so each time. So what several dumps told is
//! put together: a link that is there all the time is missing in a dump only if another one of the same bucket of 256
//! goes just between two datagrams (`rtnl_dump_ifinfo` before Linux 6.9; in none since then), and of one that the last
//! dump did not tell of, the kernel is asked by its index.

use super::link::{Link, get_all, get_at, read};
use super::{Request, ask, dump};
use crate::error::KernelError;
use crate::netlink::Socket;
use crate::netlink::patience::{Patience, SHORT};
use std::collections::BTreeMap;

/// Asks for all links.
pub fn all(socket: &mut Socket) -> Result<Vec<Link>, KernelError> {
    let mut seen = Seen::default();
    let mut patience = None;
    loop {
        let found = dump(socket, &get_all())?;
        if found.whole {
            return Ok(read(&found.messages));
        }
        seen.add(read(&found.messages));
        if !patience.get_or_insert_with(|| Patience::of(SHORT)).again() {
            return seen.settled(socket);
        }
    }
}

/// The links of several dumps, the newest state of each link, and the dump that had it.
#[derive(Debug, Default)]
struct Seen {
    links: BTreeMap<u32, (Link, usize)>,
    dumps: usize,
}

impl Seen {
    fn add(&mut self, links: Vec<Link>) {
        self.dumps += 1;
        self.links.extend(links.into_iter().map(|link| (link.index, (link, self.dumps))));
    }

    /// The indices of links that the last dump lacked.
    fn doubtful(&self) -> impl Iterator<Item = u32> {
        self.links.iter().filter(|(_, (_, dump))| *dump < self.dumps).map(|(index, _)| *index)
    }

    /// The links, when the kernel was asked for those.
    fn settled(mut self, socket: &mut Socket) -> Result<Vec<Link>, KernelError> {
        let doubtful: Vec<u32> = self.doubtful().collect();
        let requests: Vec<Request> = doubtful.iter().copied().map(get_at).collect();
        for (index, answer) in doubtful.into_iter().zip(ask(socket, &requests)?) {
            self.settle(index, answer.map(|messages| read(&messages).pop()))?;
        }
        Ok(self.links.into_values().map(|(link, _)| link).collect())
    }

    /// Takes what the kernel says of one of them.
    fn settle(&mut self, index: u32, answer: Result<Option<Link>, KernelError>) -> Result<(), KernelError> {
        match answer {
            Ok(Some(link)) => drop(self.links.insert(index, (link, self.dumps))),
            Ok(None) => drop(self.links.remove(&index)),
            Err(error) if error.is_absent() => drop(self.links.remove(&index)),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str) -> Link {
        Link { index, name: name.into(), ..Link::default() }
    }

    fn names(seen: &Seen) -> Vec<&str> {
        seen.links.values().map(|(link, _)| link.name.as_str()).collect()
    }

    #[test]
    fn g2_dumps_that_were_interrupted_make_one_answer_together() {
        let mut seen = Seen::default();
        seen.add(vec![link(1, "lo"), link(2, "up0"), link(9, "flap")]);
        seen.add(vec![link(1, "lo"), link(3, "eth1"), link(4, "veth0")]);
        seen.add(vec![link(1, "lo"), link(3, "renamed")]);
        assert_eq!(seen.doubtful().collect::<Vec<_>>(), [2, 4, 9]);
        seen.settle(2, Ok(Some(link(2, "up0")))).unwrap();
        seen.settle(9, Err(KernelError::Errno { errno: libc::ENODEV, text: None })).unwrap();
        assert_eq!(names(&seen), ["lo", "up0", "renamed", "veth0"]);
        let failed = KernelError::Errno { errno: libc::ENOMEM, text: None };
        assert!(seen.settle(4, Err(failed)).is_err(), "what could not be asked is no answer");
    }
}
