//! Packets of the demonstration: a ping and a web client, in a namespace or on the host.

use qiao_kernel::{KernelError, NetnsHandle};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What came of a probe: a remark, or why it failed.
pub type Outcome = io::Result<String>;

const LIMIT: Duration = Duration::from_secs(2);
/// How long silence must last to be believed.
const SILENCE: Duration = Duration::from_millis(300);

/// Makes a socket in a namespace, or here.
fn inside<T>(netns: Option<&NetnsHandle>, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let Some(netns) = netns else { return make() };
    let made = netns.inside(|| Ok::<_, KernelError>(make()));
    made.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Pings (RFC 792).
pub fn ping(netns: Option<&NetnsHandle>, ip: IpAddr) -> Outcome {
    let raw = || Ok(socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP))?);
    let socket = inside(netns, raw)?;
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, Some(LIMIT))?;
    let number = std::process::id() as u16;
    let begun = Instant::now();
    sendto(&socket, &echo_request(number), SendFlags::empty(), &SocketAddr::new(ip, 0))?;
    let mut bytes = [0; 256];
    loop {
        let (count, _) = recv(&socket, &mut bytes[..], RecvFlags::empty())?;
        let header = usize::from(bytes[0] & 0x0f) * 4;
        let answer = bytes.get(header..count).unwrap_or_default();
        if answer.first() == Some(&0) && answer.get(4..6) == Some(&number.to_be_bytes()) {
            return Ok(milliseconds(begun.elapsed()));
        }
    }
}

fn echo_request(number: u16) -> [u8; 8] {
    let mut message = [8, 0, 0, 0, 0, 0, 0, 1];
    message[4..6].copy_from_slice(&number.to_be_bytes());
    // The internet checksum (RFC 1071) of words that cannot overflow twice.
    let sum = 0x0800 + u32::from(number) + 1;
    let sum = !(((sum & 0xffff) + (sum >> 16)) as u16);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// Fetches a page; the remark is what it says.
pub fn get(netns: Option<&NetnsHandle>, (ip, port): (IpAddr, u16)) -> Outcome {
    let begun = Instant::now();
    let mut stream = inside(netns, || TcpStream::connect_timeout(&SocketAddr::new(ip, port), LIMIT))?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(stream, "GET / HTTP/1.0\r\nHost: {ip}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let body = text.split("\r\n\r\n").nth(1).ok_or_else(|| io::Error::other("no web server"))?;
    Ok(format!("{}: {}", milliseconds(begun.elapsed()), body.trim()))
}

/// Nothing must come back.
pub fn silence(netns: &NetnsHandle, (ip, port): (IpAddr, u16)) -> Outcome {
    let connect = || TcpStream::connect_timeout(&SocketAddr::new(ip, port), SILENCE);
    match inside(Some(netns), connect) {
        Ok(_) => Err(io::Error::other("there was an answer")),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok("dropped".into()),
        Err(error) => Err(error),
    }
}

/// The host itself must say that there is nobody.
pub fn refused(netns: &NetnsHandle, (ip, port): (IpAddr, u16)) -> Outcome {
    let connect = || TcpStream::connect_timeout(&SocketAddr::new(ip, port), LIMIT);
    match inside(Some(netns), connect) {
        Ok(_) => Err(io::Error::other("there was an answer")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok("connection refused".into()),
        Err(error) => Err(error),
    }
}

/// A time, as ping says it.
pub fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
