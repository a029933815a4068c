//! Podman, with either of its backends: CNI plugins, or netavark.

use crate::machine::{FILES, Machine};
use qiao_testbed::{Host, Outcome, Place, link_helpers, run};
use std::process::Command;

/// Podman on a machine of its own.
#[derive(Debug)]
pub struct Podman<'h> {
    pub machine: Machine<'h>,
    backend: Backend,
}

/// Who makes networks for Podman.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Cni,
    Netavark,
}

/// Where Podman's helpers are.
const HELPERS: &str = "/opt/machine/podman";
const IMAGE: &str = "localhost/busybox";

impl<'h> Podman<'h> {
    /// Podman on CNI plugins.
    pub fn new(host: &'h Host) -> Self {
        Self::on(host, Backend::Cni)
    }

    /// Configures it, and makes an image of the root file system.
    pub fn on(host: &'h Host, backend: Backend) -> Self {
        let machine = Machine::new(host);
        configure(&machine, backend);
        if backend == Backend::Netavark {
            run(&format!("mkdir {HELPERS}"));
            link_helpers(HELPERS.as_ref());
        }
        machine.file(
            "storage.conf",
            "[storage]\ndriver = \"overlay\"\nrunroot = \"/run/containers/storage\"\n\
             graphroot = \"/var/lib/containers/storage\"\n",
        );
        run(&format!("tar -C {FILES}/rootfs -cf {FILES}/image.tar ."));
        let podman = Self { machine, backend };
        podman.ok(&format!("import {FILES}/image.tar {IMAGE}"));
        podman
    }

    /// With a container that stays, and another that has come and gone: what they share is there.
    pub fn inhabited(host: &'h Host) -> Self {
        Self::inhabited_on(host, Backend::Cni)
    }

    /// The same with this backend.
    pub fn inhabited_on(host: &'h Host, backend: Backend) -> Self {
        let podman = Self::on(host, backend);
        podman.start("resident", "-p 8079:80");
        podman.start("rehearsal", "-p 8078:80");
        podman.remove("rehearsal");
        podman
    }

    /// The machine reboots, and Podman is configured again: its cgroup is another.
    pub fn reboot(&mut self) {
        self.machine.reboot();
        configure(&self.machine, self.backend);
    }

    fn command(&self) -> Command {
        let mut command = self.machine.command("podman");
        command.env("CONTAINERS_CONF", format!("{FILES}/containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", format!("{FILES}/storage.conf"));
        command
    }

    /// Runs it with a line of words.
    pub fn run(&self, line: &str) -> Outcome {
        Outcome::of(self.command().args(line.split_whitespace()).output().expect("start podman"))
    }

    /// Runs it with a line of words, which must succeed; what it prints.
    pub fn ok(&self, line: &str) -> String {
        let outcome = self.run(line);
        assert_eq!(outcome.code, Some(0), "`podman {line}`: {outcome}");
        outcome.stdout.trim().to_owned()
    }

    /// Runs a container that sleeps.
    pub fn start(&self, name: &str, options: &str) {
        self.ok(&format!("run -d --name {name} {options} {IMAGE} /bin/sleep 1000"));
    }

    /// A container's namespace, as long as it runs.
    pub fn place(&self, name: &str) -> Place {
        Place::of_process(name, &self.ok(&format!("inspect --format {{{{.State.Pid}}}} {name}")))
    }

    /// Where Podman keeps a container's namespace.
    pub fn netns(&self, name: &str) -> String {
        self.ok(&format!("inspect --format {{{{.NetworkSettings.SandboxKey}}}} {name}"))
    }

    /// Removes a container at once. That a plugin failed Podman only tells in passing.
    pub fn remove(&self, name: &str) {
        self.run(&format!("stop -t 0 {name}"));
        let outcome = self.run(&format!("rm -f -t 0 {name}"));
        assert!(outcome.code == Some(0) && outcome.stderr.is_empty(), "{outcome}");
    }
}

/// Also what plugins need in their environment: when a container ends by itself, its monitor has them called, which
/// passes nothing on.
fn configure(machine: &Machine<'_>, backend: Backend) {
    let (plugins, environment) = (machine.plugins.display(), machine.environment());
    let network = match backend {
        Backend::Cni => format!(
            "network_backend = \"cni\"\ncni_plugin_dirs = [\"{plugins}\"]\n\
             network_config_dir = \"/etc/cni/net.d\"\n[engine]\n"
        ),
        Backend::Netavark => {
            format!("network_backend = \"netavark\"\n[engine]\nhelper_binaries_dir = [\"{HELPERS}\"]\n")
        }
    };
    machine.file(
        "containers.conf",
        &format!(
            "[containers]\ncgroups = \"disabled\"\n[network]\n{network}env = [\"{environment}\"]\ncgroup_manager = \"cgroupfs\"\n\
             events_logger = \"none\"\nruntime = \"crun\"\n",
        ),
    );
}
