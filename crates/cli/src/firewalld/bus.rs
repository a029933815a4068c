//! As much of D-Bus as talking with firewalld takes (D-Bus Specification 0.43, "Message Protocol" and "Authentication
//! Protocol").

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Where the system's bus is unless the environment says otherwise.
const BUS: &str = "unix:path=/run/dbus/system_bus_socket";
/// The largest message that the specification allows: 128 megabytes; ours are small, and so is this.
const LARGEST: usize = 1 << 20;
/// Nobody is started to answer.
const NO_AUTO_START: u8 = 2;

/// Whom a call goes to: the object's path, its interface, who has it.
pub type Whom = [&'static str; 3];

/// The bus itself.
pub const ITSELF: Whom = ["/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus"];

/// A message's kind (`MESSAGE_TYPE`): a call failed.
const ERROR: u8 = 3;
/// The header's field that says which call is answered (`REPLY_SERIAL`), and its type.
const REPLY: [u8; 4] = [5, 1, b'u', 0];

/// A message that came.
#[derive(Debug)]
pub struct Message {
    kind: u8,
    is_big: bool,
    fields: Vec<u8>,
    body: Vec<u8>,
}

impl Message {
    /// Whether a field of its header is this text.
    pub fn has(&self, text: &str) -> bool {
        let word = [text.as_bytes(), b"\0"].concat();
        self.fields.windows(word.len()).any(|part| part == word)
    }

    /// Why the call failed, if it did.
    pub fn error(&self) -> Option<String> {
        (self.kind == ERROR).then(|| self.texts_at(0).into_iter().next().unwrap_or_default())
    }

    /// The texts of a list of them, if that is what it has.
    pub fn texts(&self) -> Vec<String> {
        // Signature `as`: the list's length comes first.
        if self.kind != ERROR && self.has("as") { self.texts_at(4) } else { Vec::new() }
    }

    /// Its arguments where all of them are texts.
    pub fn arguments(&self) -> Vec<String> {
        self.texts_at(0)
    }

    /// Its number, if that is what it has.
    pub fn number(&self) -> Option<u32> {
        Some(self.number_at(&self.body, 0)?).filter(|_| self.kind != ERROR)
    }

    fn texts_at(&self, mut at: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(length) = self.number_at(&self.body, at) {
            let Some(text) = self.body.get(at + 4..at + 4 + length as usize) else { break };
            texts.push(String::from_utf8_lossy(text).into_owned());
            at = (at + 4 + length as usize + 1).next_multiple_of(4);
        }
        texts
    }

    fn number_at(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(if self.is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// Whether it answers a call. Fields begin at multiples of 8.
    fn answers(&self, serial: u32) -> bool {
        let is_reply = |at: &usize| self.fields.get(*at..*at + 4).is_some_and(|field| field == REPLY);
        let at = (0..self.fields.len()).step_by(8).find(is_reply);
        at.and_then(|at| self.number_at(&self.fields, at + 4)) == Some(serial)
    }
}

/// A connection to the bus.
pub struct Bus {
    stream: BufReader<UnixStream>,
    serial: u32,
}

impl Bus {
    /// Connects. Where there is a limit, nothing is waited for any longer.
    pub fn connect(limit: Option<Duration>) -> io::Result<Self> {
        let address = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|_| BUS.into());
        let paths = address.split(';').filter_map(|one| one.strip_prefix("unix:path="));
        let path = paths.map(|rest| rest.split(',').next().unwrap_or(rest)).next();
        let path = path.ok_or_else(|| io::Error::other(format!("no socket in the address {address}")))?;
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(limit)?;
        stream.set_write_timeout(limit)?;
        let mut bus = Self { stream: BufReader::new(stream), serial: 0 };
        bus.authenticate()?;
        bus.ask(ITSELF, "Hello", &[])?;
        Ok(bus)
    }

    /// Wants to get what matches a rule. What comes before the answer is lost.
    pub fn listen(&mut self, rule: &str) -> io::Result<()> {
        self.ask(ITSELF, "AddMatch", &[rule]).map(drop)
    }

    /// Calls a method with texts, and waits for the answer.
    pub fn ask(&mut self, whom: Whom, method: &str, arguments: &[&str]) -> io::Result<Message> {
        self.serial += 1;
        let bytes = message((whom, method), self.serial, arguments);
        self.send(&bytes)?;
        loop {
            let message = self.receive()?;
            if message.answers(self.serial) {
                return Ok(message);
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// As whoever we are: the kernel tells the bus who that is.
    fn authenticate(&mut self) -> io::Result<()> {
        let user = rustix::process::geteuid().as_raw().to_string();
        let hex: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.send(format!("\0AUTH EXTERNAL {hex}\r\n").as_bytes())?;
        let mut answer = String::new();
        (&mut self.stream).take(1024).read_line(&mut answer)?;
        if !answer.starts_with("OK ") {
            return Err(io::Error::other(format!("the bus says {:?}", answer.trim())));
        }
        self.send(b"BEGIN\r\n")
    }

    /// Reads the next message.
    pub fn receive(&mut self) -> io::Result<Message> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        let number = |at: usize| {
            let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
            let number = if head[0] == b'B' { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
            number as usize
        };
        let (body, fields) = (number(4), number(12));
        if body > LARGEST || fields > LARGEST {
            return Err(io::Error::other("a message is too large"));
        }
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        self.stream.read_exact(&mut rest)?;
        let body = rest.split_off(fields.next_multiple_of(8));
        Ok(Message { kind: head[1], is_big: head[0] == b'B', fields: rest, body })
    }
}

/// A call of a method with texts.
fn message(([path, interface, whom], method): (Whom, &str), serial: u32, arguments: &[&str]) -> Vec<u8> {
    let mut fields = Vec::new();
    field(&mut fields, (1, b'o'), path);
    field(&mut fields, (2, b's'), interface);
    field(&mut fields, (3, b's'), method);
    field(&mut fields, (6, b's'), whom);
    let mut body = Vec::new();
    if !arguments.is_empty() {
        pad(&mut fields, 8);
        fields.extend([8, 1, b'g', 0, arguments.len() as u8]);
        fields.extend(arguments.iter().map(|_| b's'));
        fields.push(0);
    }
    for text in arguments {
        pad(&mut body, 4);
        string(&mut body, text);
    }
    let mut message = vec![b'l', 1, NO_AUTO_START, 1];
    message.extend((body.len() as u32).to_le_bytes());
    message.extend(serial.to_le_bytes());
    message.extend((fields.len() as u32).to_le_bytes());
    message.extend(fields);
    pad(&mut message, 8);
    message.extend(body);
    message
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn field(bytes: &mut Vec<u8>, (code, signature): (u8, u8), text: &str) {
    pad(bytes, 8);
    bytes.extend([code, 1, signature, 0]);
    string(bytes, text);
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.bytes().chain([0]));
}
