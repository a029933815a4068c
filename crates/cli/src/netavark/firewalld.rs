//! `firewalld-reload`: waits for firewalld to say that it has loaded its rules, and puts ours in order then. As much of
//! D-Bus as that takes (D-Bus Specification 0.43, "Message Protocol" and "Authentication Protocol").

use super::call::Call;
use super::log;
use qiao_doors::netavark::Failure;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

const MODULE: &str = "commands::firewalld_reload";
/// Where the system's bus is unless the environment says otherwise.
const BUS: &str = "unix:path=/run/dbus/system_bus_socket";
/// What is waited for.
const MATCH: &str = "type='signal',sender='org.fedoraproject.FirewallD1',interface='org.fedoraproject.FirewallD1',\
    member='Reloaded'";
/// The largest message that the specification allows: 128 megabytes; ours are small, and so is this.
const LARGEST: usize = 1 << 20;
const SIGNAL: u8 = 4;

/// Runs until the bus ends.
pub fn listen(call: &Call) -> Result<(), Failure> {
    let wrong = |error: io::Error| Failure(format!("cannot listen to firewalld: {error}"));
    let mut bus = Bus::connect().map_err(wrong)?;
    log::info(MODULE, "Listening for firewalld's Reloaded signal");
    loop {
        if !bus.is_reload().map_err(wrong)? {
            continue;
        }
        let done = call.engine().and_then(|mut engine| engine.settle().map_err(super::call::failure));
        match done {
            Ok(()) => log::info(MODULE, "rules are in order after firewalld has loaded its own"),
            Err(failure) => log::warn(MODULE, failure),
        }
    }
}

/// A connection to the bus.
struct Bus(BufReader<UnixStream>);

impl Bus {
    fn connect() -> io::Result<Self> {
        let address = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|_| BUS.into());
        let paths = address.split(';').filter_map(|one| one.strip_prefix("unix:path="));
        let path = paths.map(|rest| rest.split(',').next().unwrap_or(rest)).next();
        let path = path.ok_or_else(|| io::Error::other(format!("no socket in the address {address}")))?;
        let mut bus = Self(BufReader::new(UnixStream::connect(path)?));
        bus.authenticate()?;
        bus.send(&message("Hello", 1, None))?;
        bus.send(&message("AddMatch", 2, Some(MATCH)))?;
        Ok(bus)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// As whoever we are: the kernel tells the bus who that is.
    fn authenticate(&mut self) -> io::Result<()> {
        let user = rustix::process::geteuid().as_raw().to_string();
        let hex: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.send(format!("\0AUTH EXTERNAL {hex}\r\n").as_bytes())?;
        let mut answer = String::new();
        (&mut self.0).take(1024).read_line(&mut answer)?;
        if !answer.starts_with("OK ") {
            return Err(io::Error::other(format!("the bus says {:?}", answer.trim())));
        }
        self.send(b"BEGIN\r\n")
    }

    /// Reads a message; whether it is the one that is waited for.
    fn is_reload(&mut self) -> io::Result<bool> {
        let mut head = [0; 16];
        self.0.read_exact(&mut head)?;
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
        self.0.read_exact(&mut rest)?;
        let has = |word: &[u8]| rest[..fields].windows(word.len()).any(|part| part == word);
        Ok(head[1] == SIGNAL && has(b"org.fedoraproject.FirewallD1\0") && has(b"Reloaded\0"))
    }
}

/// A call of a method of the bus itself, with one text or nothing.
fn message(method: &str, serial: u32, argument: Option<&str>) -> Vec<u8> {
    let mut fields = Vec::new();
    field(&mut fields, (1, b'o'), "/org/freedesktop/DBus");
    field(&mut fields, (2, b's'), "org.freedesktop.DBus");
    field(&mut fields, (3, b's'), method);
    field(&mut fields, (6, b's'), "org.freedesktop.DBus");
    let mut body = Vec::new();
    if let Some(text) = argument {
        pad(&mut fields, 8);
        fields.extend([8, 1, b'g', 0, 1, b's', 0]);
        string(&mut body, text);
    }
    let mut message = vec![b'l', 1, 0, 1];
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
