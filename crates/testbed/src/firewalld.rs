//! The real firewalld, with a bus of its own, in the namespaces of a test. Nothing of the machine's configuration counts.

use crate::command::{run, stdout};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const CONFIG: &str = "/etc/firewalld";
/// Who calls whom is not what is tested.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="signal"/><allow receive_type="method_return"/>
<allow receive_type="error"/></policy></busconfig>"#;

/// firewalld. Its default zone lets nobody in but for SSH, and nothing through.
#[derive(Debug)]
pub struct Firewalld {
    bus: Child,
    own: Option<Child>,
}

impl Firewalld {
    /// Starts a bus, and firewalld.
    pub fn start() -> Self {
        let mut new = Self::bus();
        new.begin();
        new
    }

    /// Starts a bus, and nobody on it.
    pub fn bus() -> Self {
        run(&format!("mount -t tmpfs -o mode=755 tmpfs {CONFIG}"));
        fs::write(format!("{CONFIG}/firewalld.conf"), "DefaultZone=public\n").expect("its configuration");
        fs::create_dir_all("/run/dbus").expect("a directory");
        fs::write("/run/dbus/bus.conf", BUS).expect("the bus's configuration");
        let words = ["--config-file=/run/dbus/bus.conf", "--nofork", "--nopidfile"];
        let bus = Command::new("dbus-daemon").args(words).stderr(log("bus")).spawn().expect("dbus-daemon");
        assert!(crate::eventually(PATIENCE, || Path::new("/run/dbus/system_bus_socket").exists()), "no bus");
        Self { bus, own: None }
    }

    /// Starts firewalld as systemd does, and waits until it answers.
    pub fn begin(&mut self) {
        let mut command = Command::new("firewalld");
        command.args(["--nofork", "--nopid", "--log-file", "/run/firewalld.log"]);
        command.stdout(Stdio::null()).stderr(log("firewalld"));
        self.own = Some(command.process_group(0).spawn().expect("firewalld"));
        let answers =
            || Command::new("firewall-cmd").arg("--state").output().is_ok_and(|o| o.status.success());
        assert!(crate::eventually(PATIENCE, answers), "firewalld does not answer");
    }

    /// It ends, and takes its rules along.
    pub fn end(&mut self) {
        let Some(mut own) = self.own.take() else { return };
        run(&format!("kill -TERM {}", own.id()));
        own.wait().expect("firewalld ends");
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.own.as_ref().expect("it runs").id()
    }

    /// `firewall-cmd` with a line of words; what it says.
    pub fn command(&self, line: &str) -> String {
        stdout(&format!("firewall-cmd {line}")).trim().to_owned()
    }

    /// The sources of a zone, in order.
    pub fn sources(&self, zone: &str) -> Vec<String> {
        let text = self.command(&format!("--zone={zone} --list-sources"));
        let mut sources: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        sources.sort();
        sources
    }

    /// The bus ends, and what is on it.
    pub fn end_bus(&mut self) {
        self.end();
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}

fn log(name: &str) -> Stdio {
    File::create(format!("/run/{name}.stderr")).expect("a file").into()
}

impl Drop for Firewalld {
    fn drop(&mut self) {
        if let Some(own) = &mut self.own {
            let _ = own.kill();
            let _ = own.wait();
        }
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}
