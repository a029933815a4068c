//! Questions by UDP.

use super::asked::Came;
use super::batch::{BATCH, Batch};
use super::{Back, Server};
use crate::source::Source;
use std::io;
use std::rc::Rc;

impl<S: Source> Server<S> {
    pub(super) fn answer_datagrams(&mut self, number: u32) -> io::Result<()> {
        let mut batch = self.batch.take().unwrap_or_default();
        let done = self.answer_some(number, &mut batch);
        self.batch = Some(batch);
        done
    }

    /// Answers one batch; others have their turn before the next.
    fn answer_some(&mut self, number: u32, batch: &mut Batch) -> io::Result<()> {
        let Some(listener) = self.listeners.get_mut(number) else { return Ok(()) };
        let (socket, is_v4, full) = (Rc::clone(&listener.udp), listener.address.is_ipv4(), listener.full);
        batch.receive(&socket, is_v4);
        listener.full = if batch.came.len() == BATCH { full.saturating_add(1) } else { 0 };
        if batch.came.is_empty() {
            return Ok(());
        }
        self.refresh()?; // what was written before these questions came is in their answers
        self.answer_batch((number, full), batch);
        if !batch.answers.is_empty() {
            batch.send(&socket);
        }
        Ok(())
    }

    fn answer_batch(&mut self, (number, full): (u32, u32), batch: &mut Batch) {
        let is_free = self.shares.is_free(full);
        let Some(zone) = self.listeners.get(number).map(|listener| listener.zone) else { return };
        for place in 0..batch.came.len() {
            let from = batch.came[place].1;
            let mut may_ask = || self.is_known(zone, from.ip()) && self.shares.may_ask(from.ip());
            if !is_free && !may_ask() {
                continue;
            }
            let start = batch.out.len();
            let (message, out) = batch.parts(place);
            let came = Came { message, zone, source: from.ip(), back: Back::Udp(number, from) };
            if from.port() != 0 && self.answer(&came, out) {
                batch.answers.push((from, start));
            } else {
                batch.out.truncate(start);
            }
        }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}
