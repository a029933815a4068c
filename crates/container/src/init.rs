//! A container's first process: makes the root, gives up its rights, starts the command, and buries the dead.

use crate::control::{Control, Said};
use crate::error::ContainerError;
use crate::exec::{self, Program};
use crate::rights;
use crate::root;
use crate::signals::{HANDED_ON, Inbox, is_key};
use crate::spec::{Files, Spec};
use qiao_kernel::sandbox;
use rustix::event::poll;
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use std::ffi::OsStr;

/// The word that makes this program a container's first process.
pub const INIT: &str = "container-init";

/// What it ends with if it cannot even say why.
const BROKEN: u8 = 125;

/// Becomes the first process; `number` is the descriptor to talk over. Gives the exit code.
pub fn run(number: Option<&OsStr>) -> u8 {
    let number = number.and_then(OsStr::to_str).and_then(|text| text.parse().ok());
    let control = number.and_then(sandbox::inherited).and_then(|fd| Control::of(fd).ok());
    let Some(mut control) = control else { return BROKEN };
    match begin(&mut control) {
        Ok((inbox, main, terminal)) => {
            let _ = control.say(&Said::Started);
            drop(control);
            bury(&inbox, main, terminal)
        }
        Err(error) => {
            let code = if let ContainerError::Init { code, .. } = &error { *code } else { BROKEN };
            let _ = control.say(&Said::Failed { message: error.to_string(), code });
            code
        }
    }
}

fn begin(control: &mut Control) -> Result<(Inbox, Pid, bool), ContainerError> {
    guard_self().map_err(ContainerError::io("guard the container's first process"))?;
    let spec: Spec = heard(control)?;
    sandbox::leave_namespaces(spec.own_network).map_err(ContainerError::io("make new namespaces"))?;
    if spec.own_network {
        // As Docker does it: everybody may ping. A kernel without this setting has nobody but root do so.
        let _ = std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    }
    control.say(&Said::Ready).map_err(ContainerError::io("tell that the namespaces are there"))?;
    let files: Files = heard(control)?;
    root::make(&spec, &files)?;
    rustix::system::sethostname(spec.hostname.as_bytes()).map_err(ContainerError::io("set the host name"))?;
    rights::drop_all_but_kept().map_err(ContainerError::io("drop capabilities"))?;
    let mut signals = HANDED_ON.to_vec();
    signals.push(Signal::CHILD);
    let inbox = Inbox::open(&signals).map_err(ContainerError::io("catch signals"))?;
    let main = exec::start(&Program::of(&spec))?;
    Ok((inbox, Pid::from_child(&main), spec.terminal))
}

/// Nothing inside may look into this process, and it ends with its supervisor.
fn guard_self() -> rustix::io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
}

fn heard<T: serde::de::DeserializeOwned>(control: &mut Control) -> Result<T, ContainerError> {
    let heard = control.hear().map_err(ContainerError::io("listen to `qiao run`"))?;
    heard.ok_or_else(|| ContainerError::Init { message: "`qiao run` has gone".into(), code: BROKEN })
}

/// Hands signals on and waits for whoever ends, until the command does. What still runs then is ended by the
/// kernel, as always when the first process of a PID namespace ends.
fn bury(inbox: &Inbox, main: Pid, terminal: bool) -> u8 {
    loop {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == main {
                return code(status);
            }
        }
        let mut polled: Vec<_> = inbox.polled().collect();
        let _ = poll(&mut polled, None);
        for signal in inbox.take() {
            if signal != Signal::CHILD && !(terminal && is_key(signal)) {
                let _ = kill_process(main, signal);
            }
        }
    }
}

fn code(status: WaitStatus) -> u8 {
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or(signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(BROKEN)
}
