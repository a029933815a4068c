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
const ITSELF: Whom = ["/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus"];

/// A message's kind (`MESSAGE_TYPE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The answer to a call.
    Return,
    /// A call failed.
    Error,
    /// A signal, or a call of us.
    Other,
}

/// A message that came.
#[derive(Debug)]
pub struct Message {
    pub kind: Kind,
    fields: Vec<u8>,
    body: Vec<u8>,
}

impl Message {
    /// Whether a field of its header is this text.
    pub fn has(&self, text: &str) -> bool {
        let word = [text.as_bytes(), b"\0"].concat();
        self.fields.windows(word.len()).any(|part| part == word)
    }

    /// Its first argument, if that is a text.
    pub fn text(&self) -> String {
        let end = self.body.iter().skip(4).position(|byte| *byte == 0).map_or(self.body.len(), |at| at + 4);
        String::from_utf8_lossy(self.body.get(4..end).unwrap_or_default()).into_owned()
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
        bus.call(ITSELF, "Hello", &[])?;
        Ok(bus)
    }

    /// Wants to get what matches a rule.
    pub fn listen(&mut self, rule: &str) -> io::Result<()> {
        self.call(ITSELF, "AddMatch", &[rule])
    }

    /// Calls a method with texts; the answer comes among the messages.
    pub fn call(&mut self, whom: Whom, method: &str, arguments: &[&str]) -> io::Result<()> {
        self.serial += 1;
        let bytes = message((whom, method), self.serial, arguments);
        self.send(&bytes)
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
        let kind = match head[1] {
            2 => Kind::Return,
            3 => Kind::Error,
            _ => Kind::Other,
        };
        Ok(Message { kind, fields: rest, body })
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
