//! The process: the keeper of leases on a thread, the socket, and its end.

use crate::cache::Cache;
use crate::grpc;
use crate::service::Service;
use qiao_dhcp::machine::Timing;
use qiao_dhcp::{Place, Records};
use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the records are, and the file of leases.
    pub dir: String,
    /// The socket.
    pub socket: String,
    /// How long a server is waited for.
    pub timeout: Duration,
    /// It ends when nobody has asked for so long and nobody has a lease; 0 for never.
    pub activity: Duration,
}

/// When somebody asked last, in seconds since the start.
#[derive(Debug)]
struct Activity {
    begun: Instant,
    last: AtomicU64,
}

/// Serves until it is told to end, or nobody needs it any more. The keeper is on this thread: it is asked at a socket of
/// its own, and has no other door than that.
pub fn serve(options: &Options) -> io::Result<()> {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let dir = format!("{}/nv-proxy", options.dir);
    let place = Place { socket: format!("{dir}/sock"), dir };
    let records = Records::open(&place).map_err(io::Error::other)?;
    let records = records
        .ok_or_else(|| io::Error::other(format!("another process keeps the leases in {}", place.dir)))?;
    let door = Door::open(&options.socket)?;
    let keeper = qiao_dhcp::listen(&place.socket)?;
    let service = Service::new(place.clone(), options.timeout, Cache::new(&options.dir));
    let activity = Arc::new(Activity { begun: Instant::now(), last: AtomicU64::new(0) });
    end_on_signals(door.own.clone())?;
    let (service, idle) = (Arc::new(service), (options.activity, door.own));
    end_when_idle((Arc::clone(&service), Arc::clone(&activity)), idle);
    thread::spawn(move || {
        service.remember();
        let ended = answer(door.listener, &service, &activity);
        eprintln!("the DHCP proxy ended: {}", ended.err().map(|error| error.to_string()).unwrap_or_default());
        std::process::exit(1);
    });
    qiao_dhcp::keep(keeping(place, options.timeout), keeper, records)
}

/// Where it is asked: systemd's socket, or one of its own, which goes with it.
struct Door {
    listener: UnixListener,
    own: Option<String>,
}

impl Door {
    fn open(socket: &str) -> io::Result<Self> {
        match qiao_dhcp::activated() {
            Some(listener) => Ok(Self { listener, own: None }),
            None => Ok(Self { listener: qiao_dhcp::listen(socket)?, own: Some(socket.to_owned()) }),
        }
    }
}

fn keeping(place: Place, timeout: Duration) -> qiao_dhcp::Options {
    qiao_dhcp::Options {
        place,
        ends: false,
        prefix: String::new(),
        broadcast: false,
        timing: Timing { first: 1000, longest: 10_000, give_up: timeout.as_millis() as u64 },
    }
}

/// How long it is waited before the next connection, where one could not be had.
const BREATH: Duration = Duration::from_millis(20);

fn answer(
    listener: UnixListener,
    service: &Arc<Service>,
    activity: &Arc<Activity>,
) -> io::Result<std::convert::Infallible> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::UnixListener::from_std(listener)?;
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                // Too many are open, or one was closed again: those that are there go on meanwhile.
                Err(_) => {
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            activity.last.store(activity.begun.elapsed().as_secs(), Ordering::Relaxed);
            tokio::spawn(grpc::connection(stream, Arc::clone(service)));
        }
    })
}

/// A socket that is ours goes with us; systemd's stays.
fn end(socket: Option<&str>) -> ! {
    let _ = socket.map(std::fs::remove_file);
    std::process::exit(0)
}

/// Leases stay: their containers run on, and the next proxy goes on with them.
fn end_on_signals(socket: Option<String>) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            end(socket.as_deref());
        }
    });
    Ok(())
}

fn end_when_idle(
    (service, activity): (Arc<Service>, Arc<Activity>),
    (patience, socket): (Duration, Option<String>),
) {
    if patience.is_zero() {
        return;
    }
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(500));
            let last = Duration::from_secs(activity.last.load(Ordering::Relaxed));
            if activity.begun.elapsed().saturating_sub(last) > patience && service.is_idle() {
                end(socket.as_deref());
            }
        }
    });
}
