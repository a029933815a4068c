//! Netavark: this program under the name that Podman starts. One process and one transaction a network; other programs
//! only where a name server or a plugin is to run.

mod bridge;
mod call;
mod create;
mod dns;
mod explain;
mod firewalld;
mod log;
mod plugin;
mod process;
mod proxy;
mod setup;
mod sysctl;
mod teardown;

use call::Call;
use qiao_doors::netavark::{self as door, Command, Failure, Parsed};
use serde_json::Value;
use std::io::Write;
use std::process::ExitCode;
use std::time::SystemTime;

/// What is printed; nothing where there is nothing to say.
type Done = Result<Option<Value>, Failure>;

/// Runs as netavark, if this program was started under that name.
pub fn called_as_netavark() -> Option<ExitCode> {
    let own = std::env::args_os().next()?;
    let name = std::path::Path::new(&own).file_name()?;
    (name == "netavark").then(netavark)
}

fn netavark() -> ExitCode {
    let line = match door::parse(std::env::args_os().skip(1)) {
        Ok(Parsed::Run(line)) => *line,
        Ok(Parsed::Print(text)) => return print(&text),
        Err(usage) => {
            let _ = std::io::stderr().lock().write_all(usage.as_bytes());
            return ExitCode::from(2);
        }
    };
    match run(line) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(answer)) => print(&format!("{answer}\n")),
        Err(failure) => {
            print(&format!("{}\n", failure.to_json()));
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(line: door::Line) -> Done {
    let call = Call::new(line);
    match &call.line.command {
        Command::Setup(netns) => setup::setup(&call, netns).map(Some),
        Command::Teardown(netns) => teardown::teardown(&call, netns).map(|()| None),
        Command::Update { network, servers } => dns::update(&call, network, servers).map(|()| None),
        Command::Create => create::create(&call).map(Some),
        Command::Version => Ok(Some(version())),
        Command::FirewallReload => reload(&call).map(|()| None),
        Command::FirewalldReload => firewalld::listen(&call).map(|()| None),
        Command::DhcpProxy(proxy) => proxy::serve(proxy).map(|()| None),
    }
}

/// Puts rules in order: those that are as they must be stay as they are.
fn reload(call: &Call) -> Result<(), Failure> {
    call.engine()?.settle().map_err(call::failure)
}

fn version() -> Value {
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    let built = std::env::current_exe().and_then(std::fs::metadata).and_then(|file| file.modified());
    serde_json::json!({
        "version": door::VERSION,
        "commit": "",
        "build_time": humantime::format_rfc3339_seconds(built.unwrap_or(SystemTime::UNIX_EPOCH)).to_string(),
        "target": format!("{}-unknown-linux-{libc}", std::env::consts::ARCH),
        "default_fw_driver": "nftables",
    })
}
