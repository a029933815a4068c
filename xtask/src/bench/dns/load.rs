//! What a client notices of others: of one that misbehaves, of one that floods, and of names that change all the time.

use super::{Server, member};
use anyhow::Result;
use qiao_testbed::Place;
use qiao_testbed::names::question;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long each is measured.
const LONG: Duration = Duration::from_secs(3);
/// Between questions of the client that is watched.
const PAUSE: Duration = Duration::from_millis(1);
/// Questions on their way at one time while names change.
const WINDOW: usize = 16;
/// How long an answer is waited for before it is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a client noticed.
#[derive(Debug, Default)]
pub struct Noticed {
    times: Vec<Duration>,
    lost: usize,
}

impl Noticed {
    /// As columns of the table, and as members of the document.
    pub fn told(&mut self, name: &str) -> (String, Value) {
        self.times.sort();
        let at = |percent: usize| {
            let time = self.times.get(self.times.len() * percent / 100).copied().unwrap_or_default();
            (time.as_secs_f64() * 1e7).round() / 10.0
        };
        let (asked, lost) = (self.times.len() + self.lost, self.lost);
        let line =
            format!("  {name:8} p50 {:>8.1} us, p99 {:>9.1} us, {lost} of {asked} lost\n", at(50), at(99));
        (line, json!({"p50_us": at(50), "p99_us": at(99), "asked": asked, "lost": lost}))
    }
}

/// What the watched client notices while another does this.
pub fn beside(
    (client, bad): (&Place, &Place),
    gateway: &str,
    act: fn(&str, &AtomicBool) -> Result<()>,
) -> Result<Noticed> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| bad.inside(|| act(gateway, &stop)));
        thread::sleep(Duration::from_millis(300));
        let noticed = client.inside(|| watch(gateway, 1));
        stop.store(true, Ordering::Relaxed);
        other.join().unwrap_or_else(|_| anyhow::bail!("the other client ended"))?;
        noticed
    })
}

/// What the watched client notices while names come and go so often in a second.
pub fn reloading(client: &Place, server: &Server, (count, rate): (usize, u32)) -> Result<(Noticed, u32)> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let changes = scope.spawn(|| change(server, (count, rate), &stop));
        let noticed = client.inside(|| watch(&server.gateway, WINDOW));
        stop.store(true, Ordering::Relaxed);
        let made = changes.join().unwrap_or_else(|_| anyhow::bail!("nothing was changed"))?;
        Ok((noticed?, made))
    })
}

/// Writes the names anew with another one more, and tells the server; how often.
fn change(server: &Server, (count, rate): (usize, u32), stop: &AtomicBool) -> Result<u32> {
    let (text, begun) = (fs::read_to_string(&server.file)?, Instant::now());
    let mut made = 0;
    while !stop.load(Ordering::Relaxed) {
        let new = format!("{}.new", server.file.trim_end_matches("front"));
        fs::write(&new, format!("{text}{}", member(server, (made as usize % 7, count))))?;
        fs::rename(&new, &server.file)?;
        Command::new("kill").args(["-HUP", server.pid.trim()]).status()?;
        made += 1;
        thread::sleep((made * Duration::from_secs(1) / rate).saturating_sub(begun.elapsed()));
    }
    fs::write(&server.file, text)?;
    Ok((f64::from(made) / begun.elapsed().as_secs_f64()).round() as u32)
}

/// Asks for a while, so many at one time.
fn watch(gateway: &str, window: usize) -> Result<Noticed> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect((gateway, 53))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let (mut noticed, begun, mut id) = (Noticed::default(), Instant::now(), 0u16);
    while begun.elapsed() < LONG {
        let sent = Instant::now();
        id = id.wrapping_add(1);
        // One that ended under it refuses them: that is an answer lost, too.
        (0..window).for_each(|_| drop(socket.send(&question(id, "n1", 1))));
        for _ in 0..window {
            match answer(&socket, id) {
                true => noticed.times.push(sent.elapsed()),
                false => noticed.lost += 1,
            }
        }
        if window == 1 {
            thread::sleep(PAUSE);
        }
    }
    Ok(noticed)
}

/// Whether an answer to a question of this number comes in time.
fn answer(socket: &UdpSocket, id: u16) -> bool {
    let mut buffer = [0; 512];
    while let Ok(12..) = socket.recv(&mut buffer) {
        if buffer[..2] == id.to_be_bytes() {
            return buffer[7] > 0;
        }
    }
    false
}

/// 200 idle connections, torn ones, 65,535 octets at once, garbage.
pub fn misbehave(gateway: &str, stop: &AtomicBool) -> Result<()> {
    // One that takes no more connections lets whoever comes wait for two minutes.
    let to = SocketAddr::new(gateway.parse()?, 53);
    let connect = || TcpStream::connect_timeout(&to, 100 * PAUSE);
    let _idle: Vec<_> = (0..200).map_while(|_| connect().ok()).collect();
    let udp = UdpSocket::bind("0.0.0.0:0")?;
    let mut garbage = [0x5a; 700];
    for round in 0u32.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if let Ok(mut large) = connect() {
            large.set_write_timeout(Some(PAUSE))?;
            let _ = large.write_all(&[0xff; 65537]);
        }
        if let Ok(mut torn) = connect() {
            let _ = torn.write_all(&question(1, "n1", 1)[..5]);
        }
        garbage[(round % 700) as usize] ^= round as u8;
        for length in [0, 1, 11, 12, 13, 100, 700] {
            let _ = udp.send_to(&garbage[..length], (gateway, 53));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// As many questions as can be sent, whose answers nobody reads.
pub fn flood(gateway: &str, stop: &AtomicBool) -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect((gateway, 53))?;
    let (message, many) = (question(7, "n1", 1), 0..256);
    while !stop.load(Ordering::Relaxed) {
        many.clone().for_each(|_| drop(socket.send(&message)));
    }
    Ok(())
}
