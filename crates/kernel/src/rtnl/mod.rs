//! rtnetlink: links, addresses, routes, neighbours. Messages are encoded by `netlink-packet-route`; here is which
//! ones we send, and what we read, attribute by attribute, of what comes back.

pub mod address;
pub mod child;
pub mod link;
pub mod links;
pub mod merge;
pub mod neighbour;
pub mod netconf;
pub mod qdisc;
pub mod route;
pub mod rule;
pub mod setting;
pub mod vlan;

use crate::error::KernelError;
use crate::netlink::{Answer, Dump, Reply, Socket, until_whole};
use crate::sysctl::has_ipv6;
use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkHeader, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage as Message;
use qiao_core::subnet::Family;

/// The routing protocol number of our routes and neighbours (`rtm_protocol`, `NDA_PROTOCOL`): `q` in ASCII,
/// which nobody has registered (iproute2's `rt_protos`).
pub const PROTOCOL: u8 = b'q';

/// How a request treats what exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It must not exist.
    Create,
    /// It is made, or made over.
    Replace,
    /// Others that do the same in another way may exist; it comes in front of them.
    Beside,
    /// It must exist.
    Change,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    message: Message,
    flags: u16,
    reply: Reply,
}

impl Request {
    /// A change.
    pub fn change(message: Message, mode: Mode) -> Self {
        let extra = match mode {
            Mode::Create => NLM_F_CREATE | NLM_F_EXCL,
            Mode::Replace => NLM_F_CREATE | NLM_F_REPLACE,
            Mode::Beside => NLM_F_CREATE,
            Mode::Change => 0,
        };
        Self { message, flags: NLM_F_REQUEST | extra, reply: Reply::None }
    }

    /// A question about one object: one message, or an error.
    pub fn get(message: Message) -> Self {
        Self { message, flags: NLM_F_REQUEST, reply: Reply::One }
    }

    /// A question that only who asks to be told what everybody is told gets an answer to, and no answer where there
    /// is nothing to tell: the end of it is acknowledged.
    pub fn echo(message: Message) -> Self {
        Self { message, flags: NLM_F_REQUEST | NLM_F_ECHO | NLM_F_ACK, reply: Reply::End }
    }

    /// A question about all objects.
    pub fn dump(message: Message) -> Self {
        Self { message, flags: NLM_F_REQUEST | NLM_F_DUMP, reply: Reply::End }
    }

    fn is_dump(&self) -> bool {
        self.flags & NLM_F_DUMP == NLM_F_DUMP
    }

    /// Whether it makes something that is not there.
    fn makes(&self) -> bool {
        self.flags & NLM_F_CREATE != 0
    }

    /// Puts the request with its number behind what is in `bytes`. The last change of a datagram is acknowledged:
    /// the kernel carries them out in their order, so that those before it are done then.
    fn encode(&self, number: u32, last: bool, bytes: &mut Vec<u8>) -> Reply {
        let acknowledged = last && self.reply == Reply::None;
        let mut header = NetlinkHeader::default();
        let body = bytes.len() + header.buffer_len();
        let end = body + NetlinkSerializable::buffer_len(&self.message);
        header.length = (end - bytes.len()) as u32;
        header.message_type = self.message.message_type();
        header.flags = if acknowledged { self.flags | NLM_F_ACK } else { self.flags };
        header.sequence_number = number;
        let at = bytes.len();
        bytes.resize(end.next_multiple_of(4), 0);
        header.emit(&mut bytes[at..body]);
        self.message.serialize(&mut bytes[body..end]);
        if acknowledged { Reply::End } else { self.reply }
    }
}

/// As many requests as one datagram carries: the kernel queues the answers to all of them before we read the
/// first, and 212,992 bytes of socket buffer (`net.core.rmem_default`) hold about 270 acknowledgements, but only
/// some 50 links. What does not fit is lost (`ENOBUFS`).
const AT_ONCE: usize = 32;

/// Sends requests, many in one datagram, and gives each one's answer. All are carried out. None is a dump, of which a
/// socket has one at a time.
pub fn ask<'r>(
    socket: &mut Socket,
    requests: impl IntoIterator<Item = &'r Request>,
) -> Result<Vec<Answer>, KernelError> {
    let requests: Vec<&Request> = requests.into_iter().collect();
    let mut answers = Vec::with_capacity(requests.len());
    for chunk in requests.chunks(AT_ONCE) {
        let numbers = socket.numbers(chunk.len() as u32);
        let mut bytes = Vec::with_capacity(256 * chunk.len());
        let last = numbers.end - 1;
        let replies = numbers.clone().zip(chunk);
        let replies: Vec<Reply> =
            replies.map(|(number, request)| request.encode(number, number == last, &mut bytes)).collect();
        answers.extend(socket.exchange_for(&bytes, numbers, &replies)?);
    }
    Ok(answers)
}

/// Sends one request and gives its answer. A dump that others interrupt is asked for again.
pub fn ask_one(socket: &mut Socket, request: &Request) -> Answer {
    if request.is_dump() {
        return until_whole(socket.patience(), || match dump(socket, request)? {
            Dump { messages, whole: true } => Ok(messages),
            _ => Err(KernelError::Interrupted),
        });
    }
    let mut answers = ask(socket, std::slice::from_ref(request))?;
    answers.pop().unwrap_or(Ok(Vec::new()))
}

/// The answer to a question about a family; nothing where the kernel lacks it. What could not be asked is not nothing.
pub fn ask_of(socket: &mut Socket, request: &Request, family: Family) -> Answer {
    if family == Family::V6 && !has_ipv6() {
        return Ok(Vec::new());
    }
    match ask_one(socket, request) {
        // Tables and rules of IPv6 are an option of the kernel of their own.
        Err(error) if matches!(error.errno(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP)) => Ok(Vec::new()),
        answer => answer,
    }
}

/// Sends one request for a dump, once, and gives all that came of it.
fn dump(socket: &mut Socket, request: &Request) -> Result<Dump, KernelError> {
    let number = socket.numbers(1).start;
    let mut bytes = Vec::with_capacity(256);
    request.encode(number, true, &mut bytes);
    socket.dump(&bytes, number)
}
