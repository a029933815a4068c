//! Where BPF is forbidden: entries for the proxy, and the proxy itself.

use crate::apply::failed;
use crate::error::KernelError;
use crate::kernel::ApplyError;
use crate::sys::process;
use qiao_core::plan::{Key, Object, Op, Ownership, Value};
use qiao_core::port::{Backend, HostAddr, Listen, PortRange, Protocol};
use qiao_proxy::{Entry, Table, Transport};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long the proxy may take to serve what it is told to.
const PATIENCE: Duration = Duration::from_millis(200);
/// The hidden command of `qiao` that is the proxy.
pub const COMMAND: &str = "loopback-proxy";

/// The entry of an object of a plan; none where it has none, or leads nowhere that is known.
pub fn entry(key: &Key, object: &Object) -> Option<Entry> {
    let (backend, held) = match &object.value {
        Value::Backend(backend) => (backend, false),
        Value::Held(backend) => (backend, true),
        _ => return None,
    };
    let Key::Loopback(listen) = key else { return None };
    Some(Entry {
        transport: transport(listen.protocol)?,
        host: listen.host.ip(),
        first: listen.ports.first(),
        last: listen.ports.last(),
        to: SocketAddr::new(backend.ip, backend.port),
        owner: object.owner.mark(),
        held,
    })
}

/// The name of a published port's entry.
pub fn name(listen: Listen) -> String {
    let (first, last) = (listen.ports.first(), listen.ports.last());
    format!("{}:{first}-{last}:{}", listen.protocol, listen.host.ip())
}

fn transport(protocol: Protocol) -> Option<Transport> {
    match protocol {
        Protocol::Tcp => Some(Transport::Tcp),
        Protocol::Udp => Some(Transport::Udp),
        Protocol::Sctp => None,
    }
}

/// How the entries are served.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Whether the process serves them.
    pub running: bool,
    /// Whether the ports that clients hold with sockets of their own are not served, as the proxy must not bind them.
    pub leaves: bool,
}

/// An entry as a plan has it. One that is not served, whatever the reason, is not as it must be; one whose ports
/// somebody else holds cannot be.
pub fn found(table: &Table, entry: &Entry, service: Service) -> Option<(Key, Ownership, Value)> {
    let protocol = match entry.transport {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
    };
    let ports = PortRange::new(entry.first, entry.last).ok()?;
    let listen = Listen { protocol, host: HostAddr::from_ip(entry.host), ports };
    let backend = Backend { ip: entry.to.ip(), port: entry.to.port() };
    let is_served = || service.running && matches!(table.state(entry), Ok(Some(Ok(()))));
    let value = match entry.held {
        true if service.leaves => Value::Held(backend),
        false if is_served() => Value::Backend(backend),
        _ => Value::Present,
    };
    Some((Key::Loopback(listen), crate::nft::owner_of(Some(&entry.owner), None), value))
}

/// Puts entries in, and waits until all are served.
pub fn put(run: &str, entries: &[(&Op, Entry)]) -> Result<(), ApplyError> {
    let Some((first, _)) = entries.first() else { return Ok(()) };
    let plain = |error| failed(first, KernelError::io("tell the loopback proxy what to serve")(error));
    let table = Table::create(run).map_err(plain)?;
    entries.iter().try_for_each(|(_, entry)| table.put(entry)).map_err(plain)?;
    let start = Instant::now();
    entries.iter().filter(|(_, entry)| !entry.held).try_for_each(|(op, entry)| {
        let because = |error| failed(op, KernelError::io("have the loopback proxy serve a port")(error));
        served(&table, (run, entry), start).map_err(because)
    })
}

/// Waits until an entry is served, starting the proxy where none runs.
fn served(table: &Table, (run, entry): (&str, &Entry), start: Instant) -> io::Result<()> {
    let (mut started, mut step) = (None::<Instant>, Duration::from_micros(100));
    loop {
        if table.server()?.is_none() {
            if started.is_none_or(|at| at.elapsed() > PATIENCE / 4) {
                table.clear_states()?; // what a killed one said is no answer of the next one's
                process::start_detached(&[COMMAND, run])?;
                started = Some(Instant::now());
            }
        } else if let Some(state) = table.state(entry)? {
            return state.map_err(io::Error::other);
        }
        if start.elapsed() > PATIENCE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the loopback proxy does not answer"));
        }
        std::thread::sleep(step);
        step = (step * 2).min(Duration::from_millis(2));
    }
}

/// Takes entries out, and waits until their ports are free again.
pub fn take(run: &str, names: &[String]) -> io::Result<()> {
    let Some(table) = Table::open(run)? else { return Ok(()) };
    names.iter().try_for_each(|name| table.take(name))?;
    let start = Instant::now();
    for name in names {
        while table.server()?.is_some() && table.has_state(name)? && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_micros(200));
        }
        table.clear_state(name)?;
    }
    if table.is_empty()? {
        Table::remove(run);
    }
    Ok(())
}
