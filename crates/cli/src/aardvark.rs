//! This program under the name `aardvark-dns`: the name server of Podman's networks, as its network backend starts
//! it.
//!
//! `aardvark-dns --config DIR -p PORT run` returns once everything is listened on, and leaves a child that serves
//! until the last network is gone. Nobody waits for the child: what it has to be told it has when it begins. It holds a lock (flock(2)) on its pid file for as long as it lives: who wants to
//! signal it can tell whether the number is still its own.
//!
//! Our own netavark starts it before it makes a host's first network, so that it has begun by the time that there are
//! names: with [`EARLY`] set it waits for an octet on its standard input before it reads any, and writes one when it
//! listens, and goes on to serve without a child. Where the input ends first it ends too.

use qiao_dns::source::aardvark::{Folder, PID_FILE};
use qiao_dns::wire::name;
use qiao_dns::{Files, Options, Server, confine, leave_cgroup};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

/// The version of the reference whose behaviour this is.
const VERSION: &str = "2.0.0";
/// The host's resolvers.
const RESOLV: &str = "/etc/resolv.conf";
/// The port unless another is given.
const PORT: u16 = 5533;
/// The variable of who starts it early.
pub const EARLY: &str = "QIAO_AARDVARK_EARLY";
const USAGE: &str = "\
Usage: aardvark-dns [OPTIONS] <COMMAND>

Commands:
  run      Serve the names in the configuration directory
  version  Display info about aardvark

Options:
  -c, --config <DIR>                   Path to configuration directory
  -p, --port <PORT>                    Port to listen on [default: 5533]
  -f, --filter-search-domain <DOMAIN>  A domain that names may have behind them [default: .dns.podman]
  -h, --help                           Print help
  -V, --version                        Print version
";

/// Runs as the server if this program was started under its name.
pub fn called_as_server() -> Option<ExitCode> {
    let own = std::env::args_os().next()?;
    let is = Path::new(&own).file_name()? == "aardvark-dns";
    is.then(|| match parse(std::env::args_os().skip(1)) {
        Ok(Asked::Text(text)) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Asked::Run(run)) => match start(&run) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                let _ = std::io::stderr().write_all(format!("{}\n", why.trim_end()).as_bytes());
                ExitCode::FAILURE
            }
        },
        Err(why) => {
            let _ = std::io::stderr().write_all(format!("error: {why}\n\n{USAGE}").as_bytes());
            ExitCode::from(2)
        }
    })
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// To print this.
    Text(String),
    /// To serve.
    Run(Run),
}

#[derive(Debug, PartialEq, Eq)]
struct Run {
    config: String,
    port: u16,
    filter: String,
}

fn parse(words: impl Iterator<Item = OsString>) -> Result<Asked, String> {
    let mut words = words.map(|word| word.to_string_lossy().into_owned());
    let (mut config, mut port, mut filter) = (None, PORT, ".dns.podman".to_owned());
    let mut command = None;
    while let Some(word) = words.next() {
        let (key, given) = match word.split_once('=') {
            Some((key, value)) if key.starts_with("--") => (key.to_owned(), Some(value.to_owned())),
            _ => (word, None),
        };
        let mut value = || given.clone().or_else(|| words.next()).ok_or(format!("{key} needs a value"));
        match key.as_str() {
            "-c" | "--config" => config = Some(value()?),
            "-p" | "--port" => {
                let text = value()?;
                port = text.parse().map_err(|_| format!("`{text}` is not a port"))?;
            }
            "-f" | "--filter-search-domain" => filter = value()?,
            "-h" | "--help" | "help" => return Ok(Asked::Text(USAGE.to_owned())),
            "-V" | "--version" => return Ok(Asked::Text(format!("aardvark-dns {VERSION}\n"))),
            "run" | "version" if command.is_none() => command = Some(key),
            _ => return Err(format!("unexpected argument `{}`", key.escape_debug())),
        }
    }
    match command.as_deref() {
        Some("version") => Ok(Asked::Text(about())),
        Some(_) => {
            let config = config.ok_or("run needs --config DIR")?;
            // The server leaves the directory that it was started in.
            let whole = std::path::absolute(&config).map(|path| path.to_string_lossy().into_owned());
            let config = whole.unwrap_or(config);
            Ok(Asked::Run(Run { config, port, filter }))
        }
        None => Err("a command is missing".into()),
    }
}

fn about() -> String {
    let own = env!("CARGO_PKG_VERSION");
    let about = serde_json::json!({
        "version": VERSION,
        "commit": format!("qiao {own}"),
        "build_time": "",
        "target": format!("{}-unknown-linux", std::env::consts::ARCH),
    });
    format!("{about:#}\n")
}

/// Listens, and leaves a child that serves.
fn start(run: &Run) -> Result<(), String> {
    close_inherited();
    let is_early = std::env::var_os(EARLY).is_some();
    let mut server = prepare(run)?;
    if is_early && !is_wanted() {
        return Ok(());
    }
    let written = |error| format!("cannot write {}/{PID_FILE}: {error}", run.config);
    if !listen(run, &mut server)? {
        return Ok(());
    }
    server.source_mut().take_pid_file().map_err(written)?;
    if is_early {
        server.source().write_pid(std::process::id()).map_err(written)?;
        let _ = rustix::io::write(rustix::stdio::stdout(), b"+");
        return serve(run, server);
    }
    match go_on()? {
        Some(number) => server.source().write_pid(number).map_err(written),
        None => serve(run, server),
    }
}

/// Goes on in a child: its number in the parent.
fn go_on() -> Result<Option<u32>, String> {
    qiao_kernel::sandbox::go_on_in_child().map_err(|error| format!("cannot start the name server: {error}"))
}

/// Waits until somebody says that there are names.
fn is_wanted() -> bool {
    std::io::stdin().lock().read_exact(&mut [0]).is_ok()
}

/// All that can be done before there are names.
fn prepare(run: &Run) -> Result<Server<Folder>, String> {
    let wrong = |error| format!("cannot serve {}: {error}", run.config);
    let folder = Folder::open(&run.config).map_err(wrong)?;
    let options = Options {
        port: run.port,
        resolv: RESOLV.into(),
        alone: std::env::var_os("AARDVARK_NO_PROXY").is_some(),
        filter: name::key(run.filter.trim_start_matches('.')),
        control: None,
    };
    Server::prepare(folder, options).map_err(wrong)
}

/// Listens; whether there is anything to serve.
fn listen(run: &Run, server: &mut Server<Folder>) -> Result<bool, String> {
    server.listen().map_err(|error| format!("cannot serve {}: {error}", run.config))?;
    match server.source().trouble() {
        Some(trouble) => Err(qiao_kernel::holders::explain(trouble)),
        None => Ok(server.is_serving()),
    }
}

/// Whoever started us may wait until the last of what he gave us is closed.
fn close_inherited() {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<i32> = open.filter_map(|fd| fd.file_name().to_str()?.parse().ok()).collect();
    numbers.into_iter().filter(|number| *number > 2).for_each(|fd| drop(qiao_kernel::sandbox::inherited(fd)));
}

/// Serves, as a process that is nobody's.
fn serve(run: &Run, mut server: Server<Folder>) -> Result<(), String> {
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let null = null.map_err(|error| error.to_string())?;
    let _ = rustix::stdio::dup2_stdin(&null);
    let _ = rustix::stdio::dup2_stdout(&null);
    let _ = rustix::stdio::dup2_stderr(&null);
    // Where systemd runs this is a scope of its own.
    if !Path::new("/run/systemd/system").exists() {
        leave_cgroup();
    }
    let files = Files { own: &run.config, read: &[], resolv: RESOLV, port: run.port };
    let remarks = confine("aardvark-dns", &files);
    server.remark(remarks);
    server.serve().map_err(|error| format!("the name server ended: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Asked, String> {
        parse(text.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_are_those_of_the_reference() {
        let run = |config: &str, port, filter: &str| {
            Ok(Asked::Run(Run { config: config.into(), port, filter: filter.into() }))
        };
        assert_eq!(read("--config /d -p 53 run"), run("/d", 53, ".dns.podman"));
        assert_eq!(read("-c /d --port=1053 -f .x run"), run("/d", 1053, ".x"));
        assert_eq!(read("-c /d run"), run("/d", 5533, ".dns.podman"));
        for bad in ["", "run", "-c /d", "-c /d -p x run", "-c /d run run", "-x run", "-c"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(read("--version"), Ok(Asked::Text("aardvark-dns 2.0.0\n".into())));
    }
}
