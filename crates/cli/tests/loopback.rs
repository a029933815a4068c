//! `qiao attach -p` for clients of 127.0.0.1 and ::1, with the command itself. Each test runs in namespaces of
//! its own; where it uses BPF, in a cgroup of its own.

use std::io::Read;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

const INSIDE: &str = "QIAO_TEST_INSIDE";

/// Runs the test of this name again in new namespaces, with an empty directory.
fn in_host(name: &str, unshare: &[&str], test: impl FnOnce(&mut Host)) {
    if let Ok(dir) = env::var(INSIDE) {
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        test(&mut Host { dir, cgroup: "/nonexistent".into() });
        return;
    }
    let dir = env::temp_dir().join(format!("qiao-test-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&dir); // of a killed test, whose number this process has again
    fs::create_dir(&dir).unwrap();
    let mut command = Command::new("unshare");
    command.args(unshare).args(["--net", "--mount", "--"]).arg(env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
    let output = command.env(INSIDE, &dir).output().unwrap();
    let _ = fs::remove_dir_all(&dir);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "the test did not run: {text}");
}

/// A host in a namespace, with an engine of its own. Unless the test gives it a cgroup, it has none.
struct Host {
    dir: String,
    cgroup: String,
}

impl Host {
    fn setting(&self, loopback: &str) {
        fs::write(format!("{}/qiao.toml", self.dir), format!("loopback = {loopback:?}\n")).unwrap();
    }

    fn run(&self, words: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qiao"));
        command.args(words.split(' ')).env("QIAO_CGROUP", &self.cgroup);
        command.env("QIAO_RUN_DIR", format!("{}/run", self.dir));
        command.env("QIAO_STATE_DIR", format!("{}/state", self.dir));
        command.env("QIAO_CONFIG", format!("{}/qiao.toml", self.dir)).output().unwrap()
    }

    /// The command succeeds; what it prints.
    fn qiao(&self, words: &str) -> String {
        let output = self.run(words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "qiao {words}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The command fails; what it says.
    fn refused(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(!output.status.success(), "qiao {words} succeeded");
        String::from_utf8(output.stderr).unwrap()
    }

    fn way(&self) -> String {
        let info = self.qiao("info");
        let line = info.lines().find(|line| line.starts_with("loopback")).unwrap();
        line.trim_start_matches("loopback").trim().to_owned()
    }

    /// The number of the proxy, as its lock tells it.
    fn proxy(&self) -> u32 {
        let text = fs::read_to_string(format!("{}/run/loopback/lock", self.dir)).unwrap();
        text.trim().parse().unwrap()
    }
}

/// A process in a namespace of its own that answers on TCP port 80 and UDP port 53.
struct Container(Child);

const SERVER: &str = "
import socket, threading
def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 53))
    while True:
        data, peer = s.recvfrom(2000); s.sendto(peer[0].encode(), peer)
threading.Thread(target=udp, daemon=True).start()
s = socket.create_server(('0.0.0.0', 80))
open('/proc/self/comm', 'w').write('ready')
while True:
    c, peer = s.accept(); c.sendall(peer[0].encode()); c.close()
";

impl Container {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "python3", "-c", SERVER]).stdout(Stdio::null());
        let container = Container(command.spawn().unwrap());
        let comm = format!("/proc/{}/comm", container.0.id());
        assert!(within(|| fs::read_to_string(&comm).is_ok_and(|name| name.trim() == "ready")));
        container
    }

    fn netns(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn within(mut what: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if what() {
            return true;
        }
        thread::sleep(Duration::from_millis(2));
    }
    false
}

/// Whom a server has for its client; none where the connection is refused.
fn tcp(to: &str) -> Option<String> {
    let mut text = String::new();
    let mut stream = TcpStream::connect_timeout(&to.parse().unwrap(), Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

fn udp(from: &str, to: &str) -> Option<String> {
    let (socket, mut buffer) = (UdpSocket::bind(from).ok()?, [0; 64]);
    socket.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    socket.connect(to).ok()?;
    socket.send(b"?").ok()?;
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

fn all_reachable() {
    let bridge = Some("172.17.0.1".to_owned());
    assert_eq!(tcp("127.0.0.1:8080"), bridge);
    assert_eq!(tcp("[::1]:8080"), bridge);
    assert_eq!(udp("0.0.0.0:0", "127.0.0.1:5353"), bridge);
    assert_eq!(udp("[::]:0", "[::1]:5353"), bridge);
}

fn attach(container: &Container) -> String {
    format!("attach web --netns {} -p 8080:80 -p 5353:53/udp", container.netns())
}

#[test]
#[ignore = "needs root"]
fn by_the_proxy_through_its_death() {
    in_host("by_the_proxy_through_its_death", &[], |host| {
        let container = Container::new();
        host.setting("proxy");
        assert_eq!(host.way(), "proxy (not running)");
        host.qiao(&attach(&container));
        all_reachable();
        let first = host.proxy();
        assert_eq!(host.way(), format!("proxy (process {first})"));
        assert!(Command::new("kill").args(["-9", &first.to_string()]).status().unwrap().success());
        assert!(within(|| !fs::exists(format!("/proc/{first}")).unwrap()));
        assert_eq!(tcp("127.0.0.1:8080"), None);
        let check = host.run("check");
        let text = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(
            check.status.code() == Some(11) && text.contains("the loopback proxy does not run"),
            "{text}"
        );
        host.qiao("repair");
        all_reachable();
        assert_ne!(host.proxy(), first);
        host.qiao("check");
        let second = host.proxy();
        host.qiao("detach web");
        assert_eq!(tcp("127.0.0.1:8080"), None);
        let gone = || !fs::exists(format!("/proc/{second}")).unwrap();
        assert!(within(gone), "the proxy ends by itself");
        assert!(!fs::exists(format!("{}/run/loopback", host.dir)).unwrap(), "nothing is left");
    });
}

/// Another process holds the lock and serves nothing: the attachment is taken back, in time.
#[test]
#[ignore = "needs root"]
fn a_proxy_that_does_not_answer() {
    in_host("a_proxy_that_does_not_answer", &[], |host| {
        let container = Container::new();
        host.setting("proxy");
        let dir = format!("{}/run/loopback", host.dir);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(format!("{dir}/state")).unwrap();
        let holder =
            Command::new("flock").args(["--no-fork", &format!("{dir}/lock"), "sleep", "60"]).spawn().unwrap();
        let _holder = Container(holder);
        let lock = format!("{dir}/lock");
        let is_held = || !Command::new("flock").args(["-n", &lock, "true"]).status().unwrap().success();
        assert!(within(is_held), "it is held");
        let start = Instant::now();
        let why = host.refused(&attach(&container));
        assert!(why.contains("the loopback proxy does not answer"), "{why}");
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        assert!(!host.qiao("ps").contains("web"), "it was taken back");
    });
}

/// The root of a user namespace may do everything but BPF.
#[test]
#[ignore = "needs root"]
fn by_the_proxy_where_bpf_is_forbidden() {
    in_host("by_the_proxy_where_bpf_is_forbidden", &["--user", "--map-root-user"], |host| {
        // The machine's own cgroup: nobody in here can attach anything to it, which is what is tested.
        host.cgroup = cgroup2();
        let container = Container::new();
        host.setting("bpf");
        assert!(host.way().contains("Operation not permitted"), "{}", host.way());
        let why = host.refused(&attach(&container));
        assert!(why.contains("BPF is not to be had (Operation not permitted"), "{why}");
        let container = Container::new();
        host.setting("auto");
        host.qiao(&attach(&container));
        assert_eq!(host.way(), format!("proxy (process {})", host.proxy()));
        all_reachable();
        host.qiao("detach web");
    });
}

#[test]
#[ignore = "needs root"]
fn by_bpf_and_moved_when_the_setting_changes() {
    in_host("by_bpf_and_moved_when_the_setting_changes", &[], |host| {
        let cgroup = Cgroup::new(&cgroup2());
        host.cgroup.clone_from(&cgroup.path);
        let container = Container::new();
        host.setting("auto");
        host.qiao(&attach(&container));
        assert_eq!(host.way(), format!("bpf (hooks of {})", cgroup.path));
        all_reachable();
        assert!(!fs::exists(format!("{}/run/loopback", host.dir)).unwrap(), "no proxy");
        for (setting, way) in [("proxy", "proxy (process"), ("bpf", "bpf ("), ("auto", "bpf (")] {
            host.setting(setting);
            host.qiao("repair");
            assert!(host.way().starts_with(way), "{setting}: {}", host.way());
            all_reachable();
            host.qiao("check");
        }
        host.setting("off");
        host.qiao("repair");
        assert_eq!((tcp("127.0.0.1:8080"), tcp("[::1]:8080")), (None, None));
        assert_eq!(tcp("172.17.0.1:8080").as_deref(), Some("172.17.0.1"), "other addresses stay published");
        host.setting("auto");
        host.qiao("repair");
        all_reachable();
        host.qiao("detach web");
        assert_eq!(tcp("127.0.0.1:8080"), None);
        // The hooks wait for the next port as long as a network is in use.
        let noted = format!("{}/run/loopback-hooks", host.dir);
        assert!(fs::symlink_metadata(&noted).is_ok());
        host.qiao("network rm bridge");
        assert!(fs::symlink_metadata(&noted).is_err());
    });
}

/// What cannot be served is refused before anything is touched.
#[test]
#[ignore = "needs root"]
fn what_cannot_be_is_refused() {
    in_host("what_cannot_be_is_refused", &[], |host| {
        let container = Container::new();
        let attach = |publish: &str| format!("attach web --netns {} -p {publish}", container.netns());
        host.setting("proxy");
        for publish in ["127.0.0.1:99:99/sctp", "[::1]:99:99/sctp"] {
            let why = host.refused(&attach(publish));
            assert!(why.contains("no connection of sctp leads from 127.0.0.1"), "{why}");
        }
        host.setting("off");
        let why = host.refused(&attach("127.0.0.1:99:99"));
        assert!(why.contains("`loopback` is \"off\""), "{why}");
        assert!(!fs::exists("/sys/class/net/qiao0").unwrap(), "nothing was touched");
        assert_eq!(host.way(), "off");
        host.setting("proxy");
        let listed = host.qiao(&attach("99:99/sctp"));
        assert!(listed.contains("0.0.0.0:99->99/sctp") && !listed.contains("::1"), "{listed}");
    });
}

fn cgroup2() -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("cgroup2 is mounted");
    line.split(' ').nth(4).unwrap().to_owned()
}

/// A cgroup that the test and all it starts are in.
struct Cgroup {
    path: String,
    root: String,
}

impl Cgroup {
    fn new(root: &str) -> Self {
        let path = format!("{root}/qiao-test-{}", std::process::id());
        let _ = fs::remove_dir(&path); // of a killed test, whose number this process has again
        fs::create_dir(&path).unwrap();
        fs::write(format!("{path}/cgroup.procs"), "0").unwrap();
        Cgroup { path, root: root.to_owned() }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        fs::write(format!("{}/cgroup.procs", self.root), "0").unwrap();
        within(|| fs::remove_dir(&self.path).is_ok());
    }
}
