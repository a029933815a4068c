//! `dhcp`: addresses of the neighbourhood's DHCP server, which the daemon keeps.

use super::door::{Door, failure};
use super::variable;
use crate::app::App;
use crate::args::Global;
use qiao_core::dhcp::{Ask, Over, Tenant, Trouble};
use qiao_dhcp::{Answer, Place, Records, Request};
use qiao_doors::cni::{Answer as Result_, Failure, Verb, dhcp};
use qiao_kernel::NetnsHandle;
use std::process::ExitCode;
use std::time::Duration;

/// How long the daemon may ask servers: it gives up by itself, long before.
const LONG: Duration = Duration::from_secs(3600);
/// How long it may take for anything else.
const SHORT: Duration = Duration::from_secs(5);

/// `dhcp daemon`, as the reference's is started.
pub fn daemon() -> ExitCode {
    let words: Vec<String> = std::env::args_os().skip(2).map(|w| w.to_string_lossy().into_owned()).collect();
    let done = crate::cmd::dhcp::run(&App::new(global()), &words);
    done.unwrap_or_else(|error| crate::output::error::report(&error, (false, None)))
}

fn global() -> Global {
    Global { run_dir: variable("QIAO_RUN_DIR"), ..Global::default() }
}

/// Who asks.
pub fn tenant(door: &Door) -> Tenant {
    let (sandbox, ifname) = door.tenant();
    Tenant { sandbox: sandbox.into(), network: door.config.name.to_string(), ifname: ifname.into() }
}

/// Takes a lease.
pub fn add(door: &Door) -> Result<Result_, Failure> {
    let settings = dhcp::Settings::parse(&door.config, &door.call.args)?;
    let path = door.call.netns.as_deref().unwrap_or_default();
    let sandbox = NetnsHandle::open(path).map_err(|error| failure(error.into()))?.identity().clone();
    let (over, mac) = match &door.over {
        Some((link, mac)) => (Over::Host(link.clone()), Some(*mac)),
        None if door.plugin == "dhcp" => (Over::Sandbox(door.call.ifname.clone()), None),
        None => return Err(Failure::unsupported("ipam.type", format!("dhcp behind {}", door.plugin))),
    };
    let (provide, request) = (settings.provide.clone(), settings.request.clone());
    let ask =
        Ask { tenant: tenant(door), sandbox, over, mac, wish: None, provide, request, only_offer: false };
    match ask_daemon(&settings.socket, &Request::Acquire(ask), LONG)? {
        Answer::Leased(leased) => Ok(settings.answer(&leased.terms)),
        other => Err(Failure::new(999, format!("the DHCP daemon answers {other:?}"))),
    }
}

/// DEL, CHECK, STATUS and GC.
pub fn other(door: &Door) -> Result<(), Failure> {
    match door.call.verb {
        Verb::Del => release(door),
        Verb::Check => check(door),
        Verb::Gc => collect(door),
        Verb::Status => status(door),
        Verb::Add | Verb::Version => Ok(()),
    }
}

/// Gives a lease back. Where no daemon runs its record is removed: the next one does not renew it.
pub fn release(door: &Door) -> Result<(), Failure> {
    release_of(&dhcp::socket(&door.config)?, &tenant(door))
}

fn release_of(socket: &str, tenant: &Tenant) -> Result<(), Failure> {
    match qiao_dhcp::ask(socket, &Request::Release(tenant.clone()), SHORT) {
        Ok(_) => Ok(()),
        Err(Trouble::Silent { .. }) if forget(socket, tenant) => {
            crate::output::note(format!("{tenant}: no DHCP daemon runs, so the server is not told"));
            Ok(())
        }
        Err(trouble) => Err(dhcp::failure(&trouble)),
    }
}

/// Whether no daemon keeps the lease any more.
fn forget(socket: &str, tenant: &Tenant) -> bool {
    let place = Place::at(&App::new(global()).paths().run, socket);
    if !place.has_leases() {
        return !place.is_kept();
    }
    let Ok(Some(records)) = Records::open(&place) else { return false };
    records.forget(tenant).is_ok()
}

fn check(door: &Door) -> Result<(), Failure> {
    let socket = dhcp::socket(&door.config)?;
    let Answer::Leased(leased) = ask_daemon(&socket, &Request::Look(tenant(door)), SHORT)? else {
        return Err(Failure::new(110, format!("{} has no lease", tenant(door))));
    };
    let own = leased.terms.net();
    let said = door.config.prev.iter().flat_map(|prev| &prev.ips).any(|ip| ip.net.addr() == own.addr());
    if said {
        Ok(())
    } else {
        Err(Failure::new(110, format!("the lease is {own}, which the result has not")))
    }
}

fn collect(door: &Door) -> Result<(), Failure> {
    let Some(valid) = door.config.valid()? else { return Ok(()) };
    let socket = dhcp::socket(&door.config)?;
    let network = door.config.name.as_str();
    let lives =
        |t: &Tenant| valid.iter().any(|(sandbox, ifname)| (sandbox, ifname) == (&t.sandbox, &t.ifname));
    let gone = tenants(&socket)?.into_iter().filter(|t| t.network == network && !lives(t));
    // Each as far as it goes.
    gone.map(|tenant| release_of(&socket, &tenant)).fold(Ok(()), Result::and)
}

/// Who has a lease: as the daemon says, or where none runs as it is written down.
fn tenants(socket: &str) -> Result<Vec<Tenant>, Failure> {
    match qiao_dhcp::ask(socket, &Request::List, SHORT) {
        Ok(Answer::Tenants(tenants)) => Ok(tenants.into_iter().map(|(tenant, _)| tenant).collect()),
        Ok(_) => Ok(Vec::new()),
        Err(trouble @ Trouble::Silent { .. }) => written(socket).ok_or_else(|| dhcp::failure(&trouble)),
        Err(trouble) => Err(dhcp::failure(&trouble)),
    }
}

/// The tenants that are written down; none where a daemon keeps them that does not answer.
fn written(socket: &str) -> Option<Vec<Tenant>> {
    let place = Place::at(&App::new(global()).paths().run, socket);
    if !place.has_leases() {
        return (!place.is_kept()).then(Vec::new);
    }
    let records = Records::open(&place).ok()??.all().ok()?;
    Some(records.into_iter().map(|record| record.ask.tenant).collect())
}

fn status(door: &Door) -> Result<(), Failure> {
    let not_now = |failure: Failure| Failure::new(50, failure.msg).because(failure.details);
    let settings = dhcp::Settings::parse(&door.config, &door.call.args).map_err(not_now)?;
    ask_daemon(&settings.socket, &Request::List, SHORT).map(drop).map_err(not_now)
}

fn ask_daemon(socket: &str, request: &Request, patience: Duration) -> Result<Answer, Failure> {
    qiao_dhcp::ask(socket, request, patience).map_err(|trouble| dhcp::failure(&trouble))
}
