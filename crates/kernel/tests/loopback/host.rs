//! A host in a namespace, with a bridge and a container that answers.

use qiao_core::plan::{Key, Observed, State, Value, diff};
use qiao_core::port::{Backend, HostAddr, Listen, PortRange, Protocol};
use qiao_core::settings::LoopbackMethod;
use qiao_core::{Owner, Plan};
use qiao_kernel::{Kernel, Linux, Places};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

const INSIDE: &str = "QIAO_TEST_INSIDE";
const HIERARCHY: &str = "QIAO_TEST_HIERARCHY";

/// The container's addresses.
pub const V4: &str = "172.31.0.2";
pub const V6: &str = "fd00:31::2";
/// The bridge's, which the container sees as its client's.
pub const BRIDGE4: &str = "172.31.0.1";
pub const BRIDGE6: &str = "fd00:31::1";

/// Runs the test of this name again in new namespaces and in a cgroup of its own, where it runs `test`.
pub fn in_host(name: &str, test: impl FnOnce()) {
    in_host_with(&[], name, test);
}

/// The same where the processes of the machine cannot be seen.
pub fn in_host_of_own_processes(name: &str, test: impl FnOnce()) {
    in_host_with(&["--pid", "--fork", "--kill-child", "--mount-proc"], name, test);
}

fn in_host_with(options: &[&str], name: &str, test: impl FnOnce()) {
    if env::var(INSIDE).is_ok() {
        let cgroup = env::var("QIAO_CGROUP").unwrap();
        fs::write(format!("{cgroup}/cgroup.procs"), "0").unwrap();
        ip("link set lo up");
        test();
        return;
    }
    let cgroup = format!("{}/qiao-test-{}-{}", hierarchy(), std::process::id(), name.replace("::", "-"));
    let _ = fs::remove_dir(&cgroup); // of a killed test, whose number this process has again
    fs::create_dir(&cgroup).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount"]).args(options).arg("--").arg(env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    let output = command.env(INSIDE, "1").env("QIAO_CGROUP", &cgroup).output().unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    remove(&cgroup);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "the test did not run: {text}");
}

/// What the test started is being ended when it returns; the cgroup is busy until it is.
fn remove(cgroup: &str) {
    for _ in 0..200 {
        if fs::remove_dir(cgroup).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{cgroup} is still in use");
}

fn hierarchy() -> String {
    env::var(HIERARCHY).unwrap_or_else(|_| {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("cgroup2 is mounted");
        line.split(' ').nth(4).unwrap().to_owned()
    })
}

/// Runs ip(8).
pub fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A network namespace that a sleeping process keeps.
pub struct Netns(Child);

impl Netns {
    pub fn new() -> Self {
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let child =
            Command::new("unshare").args(["--net", "sleep", "300"]).stdout(Stdio::null()).spawn().unwrap();
        let netns = Netns(child);
        while fs::read_link(netns.path()).is_ok_and(|path| path == own) {
            thread::sleep(Duration::from_millis(1));
        }
        netns.run("link set lo up");
        netns
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Runs `act` in a thread that is inside.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let path = self.path();
        let entered = || {
            let file = File::open(path).unwrap();
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))
                .unwrap();
            act()
        };
        thread::scope(|scope| scope.spawn(entered).join().unwrap())
    }

    /// Runs ip(8) inside.
    pub fn run(&self, words: &str) {
        self.inside(|| ip(words));
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A container on a bridge of the namespace that the calling thread is in.
pub fn container(bridge: &str, (host4, host6): (&str, &str), (v4, v6): (&str, &str)) -> Netns {
    let netns = Netns::new();
    ip(&format!("link add {bridge} type bridge mcast_snooping 0"));
    ip(&format!("addr add {host4}/24 dev {bridge}"));
    ip(&format!("addr add {host6}/64 dev {bridge} nodad"));
    ip(&format!("link add {bridge}p type veth peer name eth0 netns {}", netns.pid()));
    ip(&format!("link set {bridge}p master {bridge}"));
    ip(&format!("link set {bridge}p up"));
    ip(&format!("link set {bridge} up"));
    netns.run(&format!("addr add {v4}/24 dev eth0"));
    netns.run(&format!("addr add {v6}/64 dev eth0 nodad"));
    netns.run("link set eth0 up");
    netns
}

/// The container of most tests.
pub fn usual_container() -> Netns {
    container("br0", (BRIDGE4, BRIDGE6), (V4, V6))
}

/// A server of TCP in a namespace: it says who its client is, then repeats what it hears.
pub fn tcp_server(netns: &Netns, address: &str) {
    let listener = netns.inside(|| TcpListener::bind(address).unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let peer = stream.peer_addr().unwrap();
                let _ = stream.write_all(format!("{}\n", peer.ip()).as_bytes());
                let mut copy = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut stream, &mut copy);
            });
        }
    });
}

/// A server of UDP: it answers with who its client is, and what it heard.
pub fn udp_server(netns: &Netns, address: &str) {
    let socket = netns.inside(|| UdpSocket::bind(address).unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let text = format!("{} {}", from.ip(), String::from_utf8_lossy(&buffer[..length]));
            let _ = socket.send_to(text.as_bytes(), from);
        }
    });
}

/// Who a server says that its client is.
pub fn greeting(stream: &mut TcpStream) -> IpAddr {
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let (mut text, mut byte) = (String::new(), [0]);
    while stream.read_exact(&mut byte).is_ok() && byte != [b'\n'] {
        text.push(byte[0] as char);
    }
    text.parse::<IpAddr>().unwrap_or_else(|_| panic!("no greeting: {text:?}")).to_canonical()
}

/// Connects, and sees that bytes go both ways; who the server says that its client is.
pub fn talk(to: &str) -> (TcpStream, IpAddr) {
    let to: SocketAddr = to.parse().unwrap();
    let mut stream =
        TcpStream::connect_timeout(&to, Duration::from_secs(3)).unwrap_or_else(|e| panic!("{to}: {e}"));
    let client = greeting(&mut stream);
    stream.write_all(b"hello").unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"hello");
    (stream, client)
}

/// Why a connection cannot be made.
pub fn refusal(to: &str) -> std::io::ErrorKind {
    TcpStream::connect_timeout(&to.parse().unwrap(), Duration::from_secs(3)).unwrap_err().kind()
}

/// A published port.
pub fn publish(protocol: Protocol, host: &str, to: &str) -> (Listen, Backend) {
    let (host, to): (SocketAddr, SocketAddr) = (host.parse().unwrap(), to.parse().unwrap());
    let ports = PortRange::one(host.port()).unwrap();
    let listen = Listen { protocol, host: HostAddr::from_ip(host.ip()), ports };
    (listen, Backend { ip: to.ip(), port: to.port() })
}

pub fn tcp(host: &str, to: &str) -> (Listen, Backend) {
    publish(Protocol::Tcp, host, to)
}

pub fn udp(host: &str, to: &str) -> (Listen, Backend) {
    publish(Protocol::Udp, host, to)
}

pub fn owner() -> Owner {
    Owner::Network("blue".parse().unwrap())
}

pub fn state(entries: &[(Listen, Backend)]) -> State {
    let mut state = State::default();
    entries.iter().for_each(|(listen, backend)| {
        state.insert(Key::Loopback(*listen), &owner(), Value::Backend(*backend));
    });
    state
}

/// The kernel as a new command sees it.
pub fn linux() -> Linux {
    let mut linux = Linux::open().unwrap().serving_loopback(LoopbackMethod::Bpf, "/nonexistent");
    linux.trust(Some(1));
    linux
}

/// Only the entries: the rest of what a survey finds is no matter here.
pub fn survey(linux: &mut Linux) -> Observed {
    let all = linux.survey().unwrap();
    let mut observed = Observed::default();
    for (key, found) in all.iter().filter(|(key, _)| matches!(key, Key::Loopback(_))) {
        observed.insert(key.clone(), found.owner.clone(), found.value.clone());
    }
    observed
}

/// Brings the entries to `wanted`, and sees that they are.
pub fn reach(linux: &mut Linux, wanted: &State) -> Plan {
    let mut observed = survey(linux);
    observed.extend(linux.observe(wanted, &Places::new()).unwrap());
    let plan = diff(&observed, wanted).unwrap();
    linux.apply(&plan, &Places::new()).unwrap();
    let after = linux.observe(wanted, &Places::new()).unwrap();
    assert!(diff(&after, wanted).unwrap().is_empty(), "something is missing afterwards");
    plan
}

/// Publishes ports, and nothing else.
pub fn serve(entries: &[(Listen, Backend)]) -> Linux {
    let mut linux = linux();
    reach(&mut linux, &state(entries));
    linux
}

/// Takes all entries away, and the rule set as when the last network goes.
pub fn end(linux: &mut Linux) {
    reach(linux, &state(&[]));
    linux.trust(None); // else it believes that the rules stand
    let mut rules = State::default();
    rules.insert(Key::Ruleset, &Owner::Host, Value::Ruleset(qiao_core::render::DIGEST));
    let plan = diff(&linux.observe(&rules, &Places::new()).unwrap(), &rules).unwrap();
    linux.apply(&plan, &Places::new()).unwrap();
    let plan = diff(&linux.observe(&rules, &Places::new()).unwrap(), &State::default()).unwrap();
    assert_eq!(plan.ops().len(), 1);
    linux.apply(&plan, &Places::new()).unwrap();
}
