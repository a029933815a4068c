//! `qiao dhcp-daemon`, and `dhcp daemon` as the reference's plugin has it: flags as Go writes them.

use super::{Done, OK};
use crate::app::App;
use crate::output::line;
use qiao_core::Refusal;
use qiao_core::name::quoted;
use qiao_dhcp::{Options, Place, Records};
use qiao_engine::EngineError;
use std::time::Duration;

/// What the reference waits for a server in all, for a message's answer, and between messages at most.
const GIVE_UP: Duration = Duration::from_secs(208);
const TIMEOUT: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(62);
/// When a message is sent again for the first time.
const FIRST: Duration = Duration::from_secs(1);

/// What can be typed.
#[derive(Debug)]
struct Flags {
    pidfile: Option<String>,
    engine: Option<String>,
    socket: String,
    prefix: String,
    broadcast: bool,
    timeout: Duration,
    longest: Duration,
    give_up: Duration,
}

impl Flags {
    fn read(words: &[String]) -> Result<Self, Refusal> {
        let mut flags = Self {
            pidfile: None,
            engine: None,
            socket: qiao_dhcp::SOCKET.into(),
            prefix: String::new(),
            broadcast: false,
            timeout: TIMEOUT,
            longest: LONGEST,
            give_up: GIVE_UP,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").or(word.strip_prefix('-')).ok_or_else(|| unknown(word))?;
            let (name, mut value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            if name == "broadcast" {
                flags.broadcast = switch(value.as_deref().unwrap_or("true"))?;
                continue;
            }
            let mut value = || {
                let missing = || Refusal::invalid(format!("-{name} needs a value"));
                value.take().or_else(|| words.next().cloned()).ok_or_else(missing)
            };
            match name {
                "pidfile" => flags.pidfile = Some(value()?),
                "hostprefix" => flags.prefix = value()?,
                "socketpath" => flags.socket = value()?,
                "engine" => flags.engine = Some(value()?),
                "timeout" => flags.timeout = duration(&value()?)?,
                "resendmax" => flags.longest = duration(&value()?)?,
                "resendtimeout" => flags.give_up = duration(&value()?)?,
                _ => return Err(unknown(word)),
            }
        }
        Ok(flags)
    }

    fn options(&self, run: &str) -> Options {
        let place = match &self.engine {
            Some(run) => Place::engines(run),
            None => Place::at(run, &format!("{}{}", self.prefix, self.socket)),
        };
        let ms = |duration: Duration| duration.as_millis() as u64;
        Options {
            place,
            ends: self.engine.is_some(),
            prefix: self.prefix.clone(),
            broadcast: self.broadcast,
            timing: qiao_dhcp::machine::Timing {
                first: ms(FIRST.min(self.timeout)),
                longest: ms(self.longest.min(self.timeout)),
                give_up: ms(self.give_up),
            },
        }
    }
}

/// How it is used.
const USAGE: &str = "\
Usage: qiao dhcp-daemon [-pidfile FILE] [-socketpath PATH] [-hostprefix DIR]
       [-broadcast] [-timeout 10s] [-resendmax 62s] [-resendtimeout 208s]

Keeps the leases of the CNI plugin `dhcp`, which asks it at PATH
[default: /run/cni/dhcp.sock].

  -pidfile FILE        write the number of this process into FILE
  -socketpath PATH     where it is asked
  -hostprefix DIR      stands before PATH, and before the paths of namespaces
  -broadcast           have servers send their answers to everybody
  -timeout T           a message without an answer is sent again after T
                       at the latest
  -resendmax T         the same
  -resendtimeout T     after T without a server it is given up";

/// `qiao dhcp-daemon`.
pub fn run(app: &App, words: &[String]) -> Done {
    if words.iter().any(|word| ["-h", "-help", "--help"].contains(&word.as_str())) {
        line(USAGE);
        return Ok(OK);
    }
    daemon(&app.paths().run, words).map(|()| OK)
}

/// Keeps leases. It returns when it is no daemon any more.
fn daemon(run: &str, words: &[String]) -> Result<(), EngineError> {
    let flags = Flags::read(words)?;
    let options = flags.options(run);
    let act = "keep DHCP leases";
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let Some(records) = Records::open(&options.place)? else {
        if flags.engine.is_some() {
            return Ok(()); // somebody was quicker
        }
        let what = format!("another process keeps the leases in {}", options.place.dir);
        return Err(Refusal::conflict(what).into());
    };
    // Before the socket: whoever waits for that finds the number.
    if let Some(file) = &flags.pidfile {
        std::fs::write(file, format!("{}\n", std::process::id()))
            .map_err(|error| EngineError::failed(format!("write {file}"), error))?;
    }
    let listener = match qiao_dhcp::activated() {
        Some(listener) => listener,
        None => qiao_dhcp::listen(&options.place.socket)
            .map_err(|error| EngineError::failed(format!("listen at {}", options.place.socket), error))?,
    };
    if flags.engine.is_some() {
        qiao_kernel::dhcp::leave_cgroup();
    }
    qiao_dhcp::keep(options, listener, records).map_err(|error| EngineError::failed(act, error))
}

fn unknown(word: &str) -> Refusal {
    Refusal::invalid(format!("{} is no flag of the DHCP daemon", quoted(word))).fix("qiao dhcp-daemon --help")
}

fn switch(word: &str) -> Result<bool, Refusal> {
    match word {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Refusal::invalid(format!("{} is neither true nor false", quoted(word)))),
    }
}

/// `10s`, `1m30s`, `500ms`.
fn duration(text: &str) -> Result<Duration, Refusal> {
    humantime::parse_duration(text)
        .ok()
        .filter(|duration| !duration.is_zero() && *duration < Duration::from_secs(1 << 31))
        .ok_or_else(|| Refusal::invalid(format!("{} is no duration, such as 10s", quoted(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Flags, Refusal> {
        Flags::read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_read_as_go_reads_them() {
        let flags = read("-pidfile=/run/x --socketpath /run/y -broadcast -timeout 1m30s").unwrap();
        assert_eq!(
            (flags.pidfile.as_deref(), &*flags.socket, flags.broadcast),
            (Some("/run/x"), "/run/y", true)
        );
        assert_eq!(flags.timeout, Duration::from_secs(90));
        assert!(!read("-broadcast=false").unwrap().broadcast);
        for bad in ["-pidfile", "-timeout 0s", "-timeout x", "-colour", "word", "-broadcast=maybe"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_socket_is_below_the_prefix() {
        let options = read("-hostprefix /host").unwrap().options("/run/qiao");
        assert_eq!(options.place.socket, "/host/run/cni/dhcp.sock");
        assert_eq!(options.place.dir, "/run/qiao/dhcp/at-host-run-cni-dhcp.sock");
    }
}
