//! Containers that talk at once: a process waits in each namespace, and sends as soon as attaching has succeeded.

use crate::bench::figures::Figures;
use crate::bench::sample::Sample;
use crate::bench::tool::{Kind, Tool};
use crate::bench::world::World;
use anyhow::{Context, Result, bail};
use qiao_testbed::{Place, Protocol, Service};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The network's gateway, where the host answers.
const SERVER: &str = "10.64.0.1:7";
/// An answer that takes longer was lost once, or waited for something that had not happened yet.
const STALL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Measures; a stall is an error.
pub fn measure(world: &World, count: usize, figures: &mut Figures) -> Result<()> {
    let qiao = Tool::new(world, Kind::Qiao)?.context("qiao is there")?;
    let _server = Service::start(&qiao.host, Protocol::Udp, SERVER);
    let mut stalls = 0;
    for number in 0..count {
        let waited = one(world, &qiao.host, number)?;
        stalls += usize::from(waited >= STALL);
        let sample = Sample { wall_us: waited.as_micros() as u64, cpu_us: 0 };
        figures.add(("qiao", "first answer after attach", count), sample);
    }
    println!("{stalls} of {count} containers waited {STALL:?} or longer for their first answer");
    if stalls > 0 { bail!("{stalls} of {count} first packets stalled") } else { Ok(()) }
}

fn one(world: &World, host: &Place, number: usize) -> Result<Duration> {
    let place = world.place(&format!("w{number}"));
    let (ready, go) = channel();
    let (waiting, is_waiting) = channel();
    let talker = place.clone();
    let thread = std::thread::spawn(move || {
        let socket = talker.inside(|| UdpSocket::bind("0.0.0.0:0"));
        let _ = waiting.send(());
        talk(socket, &go)
    });
    is_waiting.recv().context("the container's process waits")?;
    let status = attach(world, host, &place).status().context("start qiao")?;
    let _ = ready.send(());
    if !status.success() {
        bail!("attaching ended with {status}");
    }
    thread.join().map_err(|_| anyhow::anyhow!("the container's process failed"))?.context("talk")
}

fn attach(world: &World, host: &Place, place: &Place) -> Command {
    let mut command = host.command(&world.program("qiao"));
    command.args(["attach", place.name(), "--netns", &place.path(), "--network", "bench"]);
    command.envs(world.env());
    command.stdout(Stdio::null());
    command
}

fn talk(socket: std::io::Result<UdpSocket>, go: &Receiver<()>) -> std::io::Result<Duration> {
    let socket = socket?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let _ = go.recv();
    let begun = Instant::now();
    socket.send_to(b"who", SERVER)?;
    let _ = socket.recv(&mut [0; 64]);
    Ok(begun.elapsed())
}
