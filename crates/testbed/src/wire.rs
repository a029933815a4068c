//! Raw frames: what is sent and what is seen on a link.

use crate::place::Place;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const SCRIPT: &str = include_str!("../py/packet.py");
/// How long a frame may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A packet socket on a link.
#[derive(Debug)]
pub struct Wire {
    child: Child,
    orders: ChildStdin,
    frames: Receiver<Vec<u8>>,
    sent: Receiver<()>,
}

impl Wire {
    /// Opens a link of a place. It sees every frame from here on, but those that it sends itself.
    pub fn open(place: &Place, link: &str) -> Self {
        let mut command = place.command("python3");
        command.args(["-c", SCRIPT, link]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start python3");
        let orders = child.stdin.take().expect("a pipe");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let ready = lines.next().expect("packet.py says that it is ready");
        assert_eq!(ready.expect("a line"), "ready", "packet.py on {link} of {}", place.name());
        let ((received, frames), (done, sent)) = (channel(), channel());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = match line.as_str() {
                    "sent" => done.send(()).is_ok(),
                    frame => received.send(bytes(frame)).is_ok(),
                };
            }
        });
        Self { child, orders, frames, sent }
    }

    /// Sends a frame. It is on the link when this returns: what is sent elsewhere comes behind it.
    pub fn send(&mut self, frame: &[u8]) {
        let text: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(self.orders, "{text}").expect("packet.py listens");
        let _ = self.sent.recv_timeout(PATIENCE); // one that failed says so in the next call
    }

    /// Every frame up to one that satisfies `last`, which must come.
    pub fn until(&self, last: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let (mut seen, end) = (Vec::new(), Instant::now() + PATIENCE);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(frame) = self.frames.recv_timeout(left) else {
                panic!("the frame that was waited for did not come; these came: {seen:02x?}")
            };
            let done = last(&frame);
            seen.push(frame);
            if done {
                return seen;
            }
        }
    }

    /// Whether a frame comes that is like this.
    pub fn comes(&self, is: impl Fn(&[u8]) -> bool) -> bool {
        let end = Instant::now() + PATIENCE;
        let next = || self.frames.recv_timeout(end.saturating_duration_since(Instant::now())).ok();
        std::iter::from_fn(next).any(|frame| is(&frame))
    }

    /// Every frame that came within this time.
    pub fn within(&self, time: Duration) -> Vec<Vec<u8>> {
        std::thread::sleep(time);
        self.frames.try_iter().collect()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).filter_map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()).collect()
}
