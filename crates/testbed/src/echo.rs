//! Servers that say who they are and who asked, and clients that ask them.

use crate::place::Place;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a client waits: far longer than a packet needs on a busy machine, and shorter than the second after
/// which the kernel asks again for a neighbour or sends again.
const PATIENCE: Duration = Duration::from_millis(800);
/// How often a server looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(2);

/// A protocol of published ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A server; it ends when it is dropped.
#[derive(Debug)]
pub struct Service {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Serves in a place at an address: every question is answered with the place's name and the asker's
    /// address, such as `web 192.0.2.100`.
    pub fn start(place: &Place, protocol: Protocol, at: &str) -> Self {
        let at: SocketAddr = at.parse().unwrap_or_else(|_| panic!("`{at}` is no socket address"));
        let (stop, name) = (Arc::new(AtomicBool::new(false)), place.name().to_owned());
        let stopped = Arc::clone(&stop);
        let bind = move || match protocol {
            Protocol::Tcp => {
                let listener = TcpListener::bind(at).unwrap_or_else(|e| panic!("listen on {at}: {e}"));
                std::thread::spawn(move || tcp(&listener, &name, &stopped))
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind(at).unwrap_or_else(|e| panic!("bind {at}: {e}"));
                std::thread::spawn(move || udp(&socket, &name, &stopped))
            }
        };
        let thread = place.inside(bind);
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tcp(listener: &TcpListener, name: &str, stop: &AtomicBool) {
    listener.set_nonblocking(true).expect("non-blocking");
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, peer)) => {
                drop(stream.write_all(format!("{name} {}", peer.ip().to_canonical()).as_bytes()))
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

fn udp(socket: &UdpSocket, name: &str, stop: &AtomicBool) {
    socket.set_read_timeout(Some(LOOK)).expect("a time-out");
    let mut buffer = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(format!("{name} {}", peer.ip().to_canonical()).as_bytes(), peer);
        }
    }
}

/// Asks from a place; none if nobody answers.
pub fn ask(place: &Place, protocol: Protocol, to: &str) -> Option<String> {
    let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    ask_from(place, protocol, (any, to))
}

/// Asks from an address and port of a place. Only UDP can choose it.
pub fn ask_from(place: &Place, protocol: Protocol, (from, to): (&str, &str)) -> Option<String> {
    let to: SocketAddr = to.parse().unwrap_or_else(|_| panic!("`{to}` is no socket address"));
    place.inside(|| match protocol {
        Protocol::Tcp => {
            let mut stream = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        }
        Protocol::Udp => {
            let socket = UdpSocket::bind(from).unwrap_or_else(|e| panic!("bind {from}: {e}"));
            socket.connect(to).ok()?;
            socket.set_read_timeout(Some(PATIENCE)).ok()?;
            socket.send(b"who").ok()?;
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        }
    })
}
