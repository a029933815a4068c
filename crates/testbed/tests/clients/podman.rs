//! Podman, with either of its backends: CNI plugins, or netavark.

use crate::machine::{FILES, Machine};
use qiao_testbed::{Host, Outcome, Place, link_helpers, run};
use std::fs;
use std::process::Command;

/// Podman on a machine of its own.
#[derive(Debug)]
pub struct Podman<'h> {
    pub machine: Machine<'h>,
    backend: Backend,
    /// Who starts it.
    is_root: bool,
}

/// Who makes networks for Podman.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Cni,
    Netavark,
}

/// Where Podman's helpers are.
const HELPERS: &str = "/opt/machine/podman";
/// An ordinary user, and whom else he may be in a namespace of his own.
pub const USER: u32 = 4242;
pub const OTHERS: u32 = 1_000_000;
const HOME: &str = "/opt/home";
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
        Self { machine, backend, is_root: true }.with_image()
    }

    /// For an ordinary user.
    pub fn of_a_user(host: &'h Host, backend: Backend) -> Self {
        let machine = Machine::new(host);
        configure(&machine, backend);
        give_programs(&machine);
        machine.file("storage.conf", "[storage]\ndriver = \"vfs\"\n");
        settle(&machine);
        Self { machine, backend, is_root: false }.with_image()
    }

    fn with_image(self) -> Self {
        run(&format!("tar -C {FILES}/rootfs -cf {FILES}/image.tar ."));
        run(&format!("chmod -R a+rX {FILES}"));
        self.ok(&format!("import {FILES}/image.tar {IMAGE}"));
        self
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
        let mut command = self.machine.command(if self.is_root { "podman" } else { "setpriv" });
        if !self.is_root {
            let user = USER.to_string();
            command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "podman"]).current_dir(HOME);
            command.env("HOME", HOME).env("XDG_RUNTIME_DIR", format!("/run/user/{USER}"));
        }
        command.env("CONTAINERS_CONF", format!("{FILES}/containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", format!("{FILES}/storage.conf"));
        command
    }

    /// Runs it with a line of words.
    pub fn run(&self, line: &str) -> Outcome {
        Outcome::of(self.command().args(line.split_whitespace()).output().expect("start podman"))
    }

    /// Runs it with words that may have blanks in them; it must succeed.
    pub fn words(&self, words: &[&str]) {
        let outcome = Outcome::of(self.command().args(words).output().expect("start podman"));
        assert_eq!(outcome.code, Some(0), "{words:?}: {outcome}");
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

/// Copies of our programs: a user cannot read what links lead to.
fn give_programs(machine: &Machine<'_>) {
    let copy = format!("{FILES}/qiao");
    fs::copy(machine.host.qiao.command().get_program(), &copy).expect("a program");
    run(&format!("mkdir {HELPERS}"));
    let helpers = ["netavark", "aardvark-dns"].map(|name| format!("{HELPERS}/{name}").into());
    let plugins = fs::read_dir(&machine.plugins).expect("plugins").flatten().map(|entry| entry.path());
    let links =
        plugins.filter(|path| path.is_symlink()).inspect(|path| fs::remove_file(path).expect("a link"));
    links.chain(helpers).for_each(|path| fs::hard_link(&copy, path).expect("the same program"));
}

/// An account as Podman without root needs it.
fn settle(machine: &Machine<'_>) {
    let append = |file: &str, line: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        fs::write(file, format!("{text}{line}\n")).unwrap_or_else(|error| panic!("{file}: {error}"));
    };
    append("/etc/passwd", &format!("joe:x:{USER}:{USER}::{HOME}:/bin/sh"));
    append("/etc/group", &format!("joe:x:{USER}:"));
    ["/etc/subuid", "/etc/subgid"].iter().for_each(|file| append(file, &format!("joe:{OTHERS}:65536")));
    run(&format!("install -d -o {USER} -g {USER} -m 700 {HOME} /run/user/{USER}"));
    // His network is behind a tap, which slirp4netns makes.
    run("mount -t tmpfs -o mode=755 tmpfs /dev/net");
    run("mknod -m 666 /dev/net/tun c 10 200");
    run("mount --make-rshared /");
    let text = fs::read_to_string(format!("{FILES}/containers.conf")).expect("a configuration");
    let limits = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]";
    let helpers = format!("\"{HELPERS}\", \"/usr/lib/podman\""); // rootlessport
    machine.file(
        "containers.conf",
        &text
            .replace("[containers]", limits)
            .replace(&format!("\"{HELPERS}\""), &helpers)
            .replace("network_config_dir = \"/etc/cni/net.d\"\n", ""), // he has his own
    );
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
