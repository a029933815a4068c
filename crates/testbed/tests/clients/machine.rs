//! A host with a container runtime: directories of its own, a root file system, and plugins.

use crate::plugins::directory;
use qiao_testbed::{Host, Outcome, Place, Protocol, Service, Snapshot, ask, eventually, run, stdout};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where the machine's own files are: not in `/run`, which a reboot empties.
pub const FILES: &str = "/opt/machine";
/// The programs of the root file system, all of them one.
const PROGRAMS: [&str; 6] = ["sh", "sleep", "ip", "true", "cat", "nslookup"];

/// A host with a container runtime.
#[derive(Debug)]
pub struct Machine<'h> {
    pub host: &'h Host,
    /// The plugins' directory.
    pub plugins: PathBuf,
    /// Where plugins may put hooks on sockets.
    cgroup: String,
}

impl<'h> Machine<'h> {
    /// Sets up a host: what runtimes write is in memory, and goes with the test.
    pub fn new(host: &'h Host) -> Self {
        run("mount -t tmpfs -o mode=755 tmpfs /var/lib");
        run("mount -t tmpfs -o mode=755 tmpfs /opt");
        // Podman's locks are there.
        run("mount -t tmpfs -o mode=1777 tmpfs /dev/shm");
        run(&format!("mkdir -p {FILES}/etc {FILES}/work {FILES}/rootfs/bin /opt/cni"));
        run(&format!(
            "mount -t overlay overlay -o lowerdir=/etc,upperdir={FILES}/etc,workdir={FILES}/work /etc"
        ));
        run("mkdir -p /etc/cni/net.d");
        for which in ["all", "default"] {
            // An address that is still looked for twice would be another one later.
            fs::write(format!("/proc/sys/net/ipv6/conf/{which}/accept_dad"), "0").expect("no DAD");
        }
        fill(&Path::new(FILES).join("rootfs"));
        let plugins = directory();
        symlink(&plugins, "/opt/cni/bin").expect("the usual path of plugins");
        Self { host, plugins, cgroup: enter(host.qiao.cgroup(), "first-boot") }
    }

    /// A file of the machine's own; its path.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = format!("{FILES}/{name}");
        fs::write(&path, content).unwrap_or_else(|error| panic!("{path}: {error}"));
        path
    }

    /// What plugins need in their environment here.
    pub fn environment(&self) -> String {
        format!("QIAO_CGROUP={}", self.cgroup)
    }

    /// A program with the environment that plugins need here.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("QIAO_CGROUP", &self.cgroup);
        command
    }

    /// Runs a line of words; the outcome.
    pub fn run(&self, program: &str, line: &str) -> Outcome {
        let output = self.command(program).args(line.split_whitespace()).output();
        Outcome::of(output.unwrap_or_else(|error| panic!("{program}: {error}")))
    }

    /// Runs a line of words, which must succeed; what it prints.
    pub fn ok(&self, program: &str, line: &str) -> String {
        let outcome = self.run(program, line);
        assert_eq!(outcome.code, Some(0), "`{program} {line}`: {outcome}");
        outcome.stdout.trim().to_owned()
    }

    /// What there is now; connections that tests made are none of it.
    pub fn snapshot(&self) -> Snapshot {
        run("conntrack -F");
        self.host.snapshot()
    }

    /// All is as it was.
    pub fn assert_like(&self, before: &Snapshot, after: &str) {
        run("conntrack -F");
        self.host.assert_like(before, after);
    }

    /// The power fails and the machine boots again: no processes, no interfaces but the uplink, no rules, an
    /// empty `/run`, another boot. Disks stay.
    pub fn reboot(&mut self) {
        kill_all();
        // Hooks on the sockets of a cgroup go with it.
        let before = std::mem::replace(&mut self.cgroup, enter(self.host.qiao.cgroup(), "second-boot"));
        let gone = eventually(Duration::from_secs(10), || fs::remove_dir(&before).is_ok());
        assert!(gone || !Path::new(&before).exists(), "{before} is in use");
        for line in
            stdout("ip -o link").lines().filter(|line| !line.contains("up0") && !line.contains(" lo:"))
        {
            let name = line.split([' ', '@']).nth(1).unwrap_or_default().trim_end_matches(':');
            // The other end of a pair goes with the first.
            let _ = Command::new("ip").args(["link", "del", name]).output();
        }
        run("nft flush ruleset");
        empty_run();
        run("umount -l /dev/shm");
        run("mount -t tmpfs -o mode=1777 tmpfs /dev/shm");
        let boot = self.file("boot_id", "11111111-2222-3333-4444-555555555555\n");
        run(&format!("mount --bind {boot} /proc/sys/kernel/random/boot_id"));
    }
}

/// Moves this process, and all that it will start, into a cgroup below its own; its path.
fn enter(parent: &str, name: &str) -> String {
    let path = format!("{parent}/{name}");
    if Path::new(parent).is_dir() {
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        fs::write(format!("{path}/cgroup.procs"), "0").unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    path
}

/// Everything below `/run` but the namespace that plays the outside host, and what runtimes have mounted.
fn empty_run() {
    let mounts = stdout("findmnt -rno TARGET");
    let below = |path: &&str| {
        let is_kept = ["/run/netns", "/run/netns/lan"].contains(path);
        path.starts_with("/var/lib/") || path.starts_with("/run/") && !is_kept
    };
    let mut paths: Vec<_> = mounts.lines().filter(below).collect();
    paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
    for path in paths {
        // Namespaces that runtimes bind twice are gone with the first.
        let _ = Command::new("umount").args(["-l", path]).output();
    }
    let _ = Command::new("find")
        .args(["/run", "-mindepth", "1", "-not", "-path", "/run/netns*", "-delete"])
        .output();
    let _ = Command::new("find")
        .args(["/run/netns", "-mindepth", "1", "-not", "-name", "lan", "-delete"])
        .output();
}

/// Kills every process of the machine but the test itself, which is its first.
fn kill_all() {
    let others = || {
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
        let is_alive =
            |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
        pids.filter(|pid| *pid != 1).filter(is_alive).collect::<Vec<_>>()
    };
    let gone = eventually(Duration::from_secs(10), || {
        let pids = others();
        pids.iter().for_each(|pid| drop(Command::new("kill").args(["-9", &pid.to_string()]).output()));
        pids.is_empty()
    });
    assert!(gone, "processes that cannot be killed: {:?}", others());
}

fn fill(rootfs: &Path) {
    run(&format!("mkdir -p {0}/proc {0}/sys {0}/dev {0}/etc {0}/tmp", rootfs.display()));
    fs::copy("/bin/busybox", rootfs.join("bin/busybox")).expect("busybox-static is installed");
    PROGRAMS.iter().for_each(|name| symlink("busybox", rootfs.join("bin").join(name)).expect("a link"));
}

/// A client must get an answer of this server.
pub fn answers(from: &Place, to: &str, server: &str) {
    let answer = || ask(from, Protocol::Tcp, to);
    let good = eventually(Duration::from_secs(10), || answer().is_some_and(|text| text.starts_with(server)));
    assert!(good, "{} asks {to}: not {server}, but {:?} answers", from.name(), answer());
}

/// A port that is published leads to the server in a container from outside, from the host, from the container
/// itself; and the container reaches the outside with the host's address.
pub fn is_published(host: &Host, container: &Place, port: u16) {
    let _server = Service::start(container, Protocol::Tcp, "0.0.0.0:80");
    let to = format!("192.0.2.1:{port}");
    for from in [&host.lan, &Place::HOST, container] {
        answers(from, &to, container.name());
    }
    let _outside = Service::start(&host.lan, Protocol::Tcp, "0.0.0.0:99");
    assert_eq!(ask(container, Protocol::Tcp, "192.0.2.100:99").as_deref(), Some("lan 192.0.2.1"));
}

/// Nobody answers at a port of the host.
pub fn is_closed(host: &Host, port: u16) {
    assert_eq!(ask(&host.lan, Protocol::Tcp, &format!("192.0.2.1:{port}")), None);
}

/// The global IPv4 address of an interface.
pub fn address(place: &Place, interface: &str) -> String {
    let text = place.stdout(&format!("ip -o -4 addr show dev {interface} scope global"));
    let word = text.split_whitespace().nth(3).unwrap_or_else(|| panic!("{interface} has no address: {text}"));
    word.split('/').next().unwrap_or_default().to_owned()
}

/// No rule speaks of an address.
pub fn no_rule_has(address: &str) {
    let rules = stdout("nft -s list ruleset");
    let left: Vec<_> = rules.lines().filter(|line| line.contains(address)).collect();
    assert!(left.is_empty(), "{left:?}");
}
