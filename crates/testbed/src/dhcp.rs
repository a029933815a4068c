//! DHCP servers: dnsmasq, and one that answers whatever a test wants.

use crate::place::Place;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// dnsmasq in a place, at its `eth0`: 192.0.2.150 to 192.0.2.200, two minutes each, to be renewed after two seconds.
#[derive(Debug)]
pub struct Dnsmasq(Child);

const LOG: &str = "/run/dnsmasq.log";
const LEASES: &str = "/run/dnsmasq.leases";

impl Dnsmasq {
    /// Starts it. Leases that it gave before it was ended it knows still.
    pub fn start(place: &Place) -> Self {
        let mut command = place.command("dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0"]);
        command.args([
            "--bind-interfaces",
            "--no-ping",
            "--dhcp-authoritative",
            "--user=root",
            "--pid-file=",
        ]);
        command
            .args(["--dhcp-range=192.0.2.150,192.0.2.200,255.255.255.0,2m", "--dhcp-option=3,192.0.2.100"]);
        command.args(["--dhcp-option=6,192.0.2.53", "--dhcp-option=15,example.test", "--log-dhcp"]);
        command.args(["--dhcp-option=58,2s", "--dhcp-option=59,4s"]);
        command.args([format!("--dhcp-leasefile={LEASES}"), format!("--log-facility={LOG}")]);
        let before = count("DHCP, sockets bound");
        let child = command.stdout(Stdio::null()).spawn().expect("start dnsmasq");
        let ready = crate::eventually(Duration::from_secs(5), || count("DHCP, sockets bound") > before);
        assert!(ready, "dnsmasq is not ready: {}", fs::read_to_string(LOG).unwrap_or_default());
        Self(child)
    }

    /// How often it has said something with these words: a message's kind and the client's address.
    pub fn said(&self, words: &[&str]) -> usize {
        let text = fs::read_to_string(LOG).unwrap_or_default();
        text.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    /// Whether it comes to have said something so many times: what is told to it without an answer (DHCPRELEASE) it
    /// reads after whoever told it has gone on.
    pub fn comes_to_say(&self, words: &[&str], times: usize) -> bool {
        crate::eventually(Duration::from_secs(10), || self.said(words) == times)
    }

    /// The addresses that it has given, each with the name of the client.
    pub fn leases(&self) -> Vec<(String, String)> {
        let mut leases: Vec<_> = whole(LEASES)
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ').skip(2).map(str::to_owned);
                Some((words.next()?, words.next()?))
            })
            .collect();
        leases.sort();
        leases
    }
}

/// A file that its owner empties and writes anew with every change: what it says twice in a row is not half of it.
fn whole(path: &str) -> String {
    let read = || fs::read_to_string(path).unwrap_or_default();
    let mut text = read();
    loop {
        std::thread::sleep(Duration::from_millis(20));
        let again = read();
        if again == text {
            return text;
        }
        text = again;
    }
}

fn count(words: &str) -> usize {
    fs::read_to_string(LOG).unwrap_or_default().matches(words).count()
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a client asks.
#[derive(Clone, Debug)]
pub struct Question {
    /// 1 DISCOVER, 3 REQUEST, 7 RELEASE.
    pub kind: u8,
    /// The whole message.
    pub message: Vec<u8>,
    /// The client's address, where it has one.
    pub ciaddr: Ipv4Addr,
}

impl Question {
    fn read(message: &[u8]) -> Option<Self> {
        let at = message.windows(3).position(|bytes| bytes[..2] == [53, 1])?;
        let four: [u8; 4] = message.get(12..16)?.try_into().ok()?;
        Some(Self { kind: message[at + 2], message: message.to_vec(), ciaddr: four.into() })
    }

    /// An answer of this kind that gives this address, with these options besides, as they stand in a message.
    pub fn answer(&self, kind: u8, ip: [u8; 4], options: &[u8]) -> Vec<u8> {
        let mut answer = self.message[..240].to_vec();
        answer[0] = 2;
        answer[16..20].copy_from_slice(&ip);
        answer.extend([53, 1, kind]);
        answer.extend(options);
        answer.push(255);
        answer
    }
}

/// A server that answers whatever a test wants; it ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves in a place on 192.0.2.0/24. Each question gets all the answers that `answers` makes of it.
    pub fn start(place: &Place, mut answers: impl FnMut(&Question) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = place.inside(move || {
            let socket = UdpSocket::bind("0.0.0.0:67").expect("bind port 67");
            socket.set_broadcast(true).expect("a broadcast");
            socket.set_read_timeout(Some(Duration::from_millis(5))).expect("a time-out");
            std::thread::spawn(move || {
                let mut buffer = [0; 2048];
                while !stopped.load(Ordering::Relaxed) {
                    let Ok((length, _)) = socket.recv_from(&mut buffer) else { continue };
                    let question = Question::read(&buffer[..length]);
                    for answer in question.iter().flat_map(&mut answers) {
                        let _ = socket.send_to(&answer, "192.0.2.255:68");
                    }
                }
            })
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
