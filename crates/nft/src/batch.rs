//! Batches: changes that the kernel makes all together or not at all.

use crate::change::Change;
use crate::error::{DecodeError, EncodeError};
use crate::nft_message::{BATCH_BEGIN, BATCH_END, NFNL_BATCH_GENID};
use crate::wire::message::{
    HEADER, Header, Message, Messages, NFNL_SUBSYS_NFTABLES, NLM_F_ACK, NLM_F_EXCL, NLM_F_REQUEST,
};
use crate::wire::{ALIGNMENT, Value, Writer};

/// Changes to be sent to the kernel in one `sendmsg`, which it makes all together or not at all.
///
/// It answers each message with [`Reply::Ack`](crate::Reply::Ack) or [`Reply::Error`](crate::Reply::Error), all
/// before `sendmsg` returns. If there is any error nothing was changed, for all the acknowledgements. An error of the
/// whole batch has the batch's first sequence number.
///
/// The socket's send buffer must have room for the batch, else `sendmsg` fails with `EMSGSIZE`; its receive buffer
/// for the answers, else those that have no room are lost and `recvmsg` fails with `ENOBUFS`. Linux' usual 212,992
/// bytes are enough for a batch of some 200 KB, and for some 250 answers; [`Batch::acknowledge_last`] makes them few.
#[derive(Clone, Debug)]
pub struct Batch {
    body: Writer,
    first_sequence: u32,
    next_sequence: u32,
    generation: Option<u32>,
    messages: usize,
    /// With [`Batch::acknowledge_last`]: where the last message begins, once there is one.
    only_last: Option<Option<usize>>,
}

/// What most batches fit in.
const ROOM: usize = 2048;
/// The beginning of a batch with a generation, and the end of one without.
const FRAME: usize = 28;

impl Batch {
    /// An empty batch. Its beginning has `first_sequence`, each change one more than what was before.
    pub fn new(first_sequence: u32) -> Self {
        let next_sequence = first_sequence.wrapping_add(1);
        let (generation, only_last) = (None, None);
        Self {
            body: Writer::with_room(ROOM),
            first_sequence,
            next_sequence,
            generation,
            messages: 0,
            only_last,
        }
    }

    /// The kernel is to refuse the batch, with `ERESTART` (85), unless the rule set's generation is this: if nobody
    /// changed it since [`Query::Generation`](crate::Query::Generation) gave this number (`NFNL_BATCH_GENID`).
    #[must_use]
    pub fn generation(mut self, id: u32) -> Self {
        self.generation = Some(id);
        self
    }

    /// The kernel is to acknowledge only the last message, after all errors there are. To be called before the first
    /// change.
    #[must_use]
    pub fn acknowledge_last(mut self) -> Self {
        self.only_last = Some(None);
        self
    }

    /// Appends a change; the result is its sequence number. Elements that need several messages have the same
    /// number in all of them; no elements are no message, which nothing answers.
    ///
    /// # Errors
    /// [`EncodeError`] if the change cannot be written; the batch is then as it was before.
    pub fn push(&mut self, change: &Change) -> Result<u32, EncodeError> {
        self.put(change, 0)
    }

    /// Appends a change that is to fail, with `EEXIST` (17), if what it makes is there already (`NLM_F_EXCL`). Of
    /// use for tables, chains, sets and elements; the same as [`Batch::push`] for other changes.
    ///
    /// # Errors
    /// As [`Batch::push`].
    pub fn push_exclusive(&mut self, change: &Change) -> Result<u32, EncodeError> {
        self.put(change, if change.can_be_exclusive() { NLM_F_EXCL } else { 0 })
    }

    fn put(&mut self, change: &Change, flags: u16) -> Result<u32, EncodeError> {
        let (start, sequence) = (self.body.bytes.len(), self.next_sequence);
        let acknowledge = if self.only_last.is_some() { 0 } else { NLM_F_ACK };
        let starts = change.put(&mut self.body, NLM_F_REQUEST | acknowledge | flags, sequence);
        let starts = starts.inspect_err(|_| self.body.bytes.truncate(start))?;
        self.messages += starts.len();
        if let (Some(last), Some(start)) = (&mut self.only_last, starts.last()) {
            *last = Some(*start);
        }
        self.next_sequence = sequence.wrapping_add(1);
        Ok(sequence)
    }

    /// Appends messages that [`encode`](crate::encode) made; all of them get the sequence number that is the result.
    ///
    /// # Errors
    /// [`EncodeError::NoMessages`] if these bytes are not whole messages; the batch is then as it was before.
    pub fn push_encoded(&mut self, messages: &[u8]) -> Result<u32, EncodeError> {
        let (start, sequence) = (self.body.bytes.len(), self.next_sequence);
        let starts = starts(messages).ok_or(EncodeError::NoMessages)?;
        self.body.bytes.extend_from_slice(messages);
        for at in starts.iter().map(|at| start + at) {
            self.body.set_message_sequence(at, sequence);
            match &mut self.only_last {
                Some(last) => *last = Some(at),
                None => self.body.set_message_flag(at, NLM_F_ACK),
            }
        }
        self.messages += starts.len();
        self.next_sequence = sequence.wrapping_add(1);
        Ok(sequence)
    }

    /// How many messages the changes are.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// How many acknowledgements the kernel gives if all goes well.
    pub fn acknowledgements(&self) -> usize {
        if self.only_last.is_some() { self.messages.min(1) } else { self.messages }
    }

    /// The batch's bytes. One without changes is valid, and changes nothing.
    pub fn finish(mut self) -> Vec<u8> {
        if let Some(Some(last)) = self.only_last {
            self.body.set_message_flag(last, NLM_F_ACK);
        }
        let room = self.body.bytes.len() + 2 * FRAME;
        let mut writer = self.frame((BATCH_BEGIN, room), self.first_sequence, self.generation);
        writer.bytes.extend_from_slice(&self.body.bytes);
        writer.bytes.extend_from_slice(&self.frame((BATCH_END, FRAME), self.next_sequence, None).bytes);
        writer.bytes
    }

    fn frame(&self, (kind, room): (u16, usize), sequence: u32, generation: Option<u32>) -> Writer {
        let resource = NFNL_SUBSYS_NFTABLES;
        let header = Header { kind, flags: NLM_F_REQUEST, sequence, family: 0, resource };
        let mut writer = Writer::with_room(room);
        // 28 bytes cannot be too long.
        let _ = writer.message(header, |writer| generation.put(writer, NFNL_BATCH_GENID));
        writer
    }
}

/// The messages that make changes, one behind the other, for [`Batch::push_encoded`]: what is always the same need be
/// encoded only once, be it when a program is built. Numbers are in the byte order of this machine.
///
/// # Errors
/// [`EncodeError`] if a change cannot be written.
pub fn encode(changes: &[Change]) -> Result<Vec<u8>, EncodeError> {
    let mut writer = Writer::default();
    changes.iter().try_for_each(|change| change.put(&mut writer, NLM_F_REQUEST, 0).map(drop))?;
    Ok(writer.bytes)
}

/// Where each message begins; none if they are not whole.
fn starts(messages: &[u8]) -> Option<Vec<usize>> {
    let mut next = 0;
    let start = |message: Result<Message<'_>, DecodeError>| {
        let start = next;
        next += (HEADER + message.ok()?.body.len()).next_multiple_of(ALIGNMENT);
        Some(start)
    };
    Messages(messages).map(start).collect()
}

#[cfg(test)]
mod tests;
