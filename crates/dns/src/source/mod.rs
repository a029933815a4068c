//! Where the names come from.

pub mod aardvark;
pub mod links;
pub mod resolv;
mod watch;

use crate::records::Records;
use crate::zone::Zone;
use rustix::fd::BorrowedFd;
use std::io;
use std::rc::Rc;
use std::time::Instant;

/// Where the names come from, and who is told what became of them.
pub trait Source {
    /// What becomes readable when something has changed.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Whether something has changed since it was asked last. It is asked before every batch of answers: what was
    /// written before a question came is in its answer.
    fn changed(&mut self) -> io::Result<bool>;

    /// The networks as they are now. Those that have not changed are the same as before.
    fn zones(&mut self) -> io::Result<Vec<Rc<Zone>>>;

    /// What was written down besides.
    fn records(&mut self) -> Rc<Records> {
        Rc::default()
    }

    /// Says whether a network's gateways are listened on, or why not.
    fn tell(&mut self, zone: &Zone, state: Result<(), String>);

    /// When it wants to be asked again although nothing has changed.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Whether there is nothing left to serve, now that nothing is.
    fn is_over(&mut self) -> io::Result<bool>;
}
