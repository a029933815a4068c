//! `firewalld-reload`: firewalld forgets sources that it was told of, and flushes the rules of others where it is asked to,
//! when it loads its own. This waits for it to say so, or to come, and puts all in order then.

use super::call::Call;
use super::log;
use crate::firewalld::{Bus, Message, NAME};
use qiao_doors::netavark::Failure;
use std::io;

const MODULE: &str = "commands::firewalld_reload";

/// Runs until the bus ends.
pub fn listen(call: &Call) -> Result<(), Failure> {
    let wrong = |error: io::Error| Failure(format!("cannot listen to firewalld: {error}"));
    let mut bus = Bus::connect(None).map_err(wrong)?;
    let reloaded = format!("type='signal',sender='{NAME}',interface='{NAME}',member='Reloaded'");
    bus.listen(&reloaded).map_err(wrong)?;
    let comes =
        format!("type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{NAME}'");
    bus.listen(&comes).map_err(wrong)?;
    log::info(MODULE, "Listening for firewalld's Reloaded signal");
    loop {
        match super::reload(call) {
            Ok(()) => log::info(MODULE, "rules are in order after firewalld has loaded its own"),
            Err(failure) => log::warn(MODULE, failure),
        }
        while !is_new(&bus.receive().map_err(wrong)?) {}
    }
}

/// Whether it has loaded its rules, or has come.
fn is_new(message: &Message) -> bool {
    let came = || message.arguments().get(2).is_some_and(|owner| !owner.is_empty());
    message.has(NAME) && message.has("Reloaded") || message.has("NameOwnerChanged") && came()
}
