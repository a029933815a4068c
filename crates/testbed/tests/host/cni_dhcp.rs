//! The CNI plugin `dhcp` and its daemon: behind the reference's main plugins, as Debian has them, and behind ours.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Dnsmasq, Host, Outcome, Place, eventually, link_plugins, run, stdout};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(15);
/// A client that hears no answer asks its server and then all of them, and then not for a minute: so many renewals
/// there are only where answers are heard.
const RENEWED: usize = 4;
const LATER: Duration = Duration::from_secs(25);
const OURS: &str = "/run/ours";
const REFERENCE: &str = "/usr/lib/cni";

/// The daemon; it is killed when it is dropped.
struct Daemon(Child);

impl Daemon {
    fn start(host: &Host) -> Self {
        Self::with(host, &[])
    }

    fn with(host: &Host, flags: &[&str]) -> Self {
        let mut command = host.qiao.command();
        command.arg("dhcp-daemon").args(flags).stderr(Stdio::null());
        let daemon = Self(command.spawn().expect("start the daemon"));
        let answers = || std::os::unix::net::UnixStream::connect("/run/cni/dhcp.sock").is_ok();
        assert!(eventually(SOON, answers), "the daemon does not answer");
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn config(kind: &str, version: &str, more: &str) -> String {
    let main = if kind == "macvlan" { r#""master":"up0""# } else { r#""bridge":"br0""# };
    format!(
        r#"{{"cniVersion":"{version}","name":"n1","type":"{kind}",{main},"ipam":{{"type":"dhcp"}}{more}}}"#
    )
}

/// Calls a plugin of a directory, with ours as delegates.
fn call(host: &Host, (dir, plugin, verb): (&str, &str, &str), place: (&str, &str), config: &str) -> Outcome {
    let mut command = Command::new(format!("{dir}/{plugin}"));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("QIAO_STATE_DIR", host.qiao.state_dir()).env("QIAO_RUN_DIR", host.qiao.run_dir());
    command.env("CNI_COMMAND", verb).env("CNI_IFNAME", "eth0").env("CNI_PATH", OURS);
    command.env("CNI_CONTAINERID", place.0).env("CNI_NETNS", place.1);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start a plugin");
    child.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
    Outcome::of(child.wait_with_output().unwrap())
}

fn ok(host: &Host, what: (&str, &str, &str), place: &Place, config: &str) -> Outcome {
    let outcome = call(host, what, (place.name(), &place.path()), config);
    assert_eq!(outcome.code, Some(0), "{what:?} {}: {outcome}", place.name());
    outcome
}

fn furnish() {
    std::fs::create_dir_all(OURS).unwrap();
    link_plugins(Path::new(OURS));
}

/// A bridge that the uplink is a port of: containers on it are in the neighbourhood.
fn bridge_to_the_lan() {
    run("ip link add br0 type bridge");
    run("ip link set up0 master br0");
    run("ip link set br0 up");
}

/// What the container has, and what its server says that it has.
fn is_leased(server: &Dnsmasq, place: &Place) -> String {
    let text = place.stdout("ip -o -4 addr show eth0");
    let net =
        text.split_whitespace().skip_while(|word| *word != "inet").nth(1).unwrap_or_default().to_owned();
    let ip = net.trim_end_matches("/24").to_owned();
    assert!(server.leases().iter().any(|(given, _)| *given == ip), "{net}: {:?}", server.leases());
    assert!(place.stdout("ip route").contains("default via 192.0.2.100"), "{}", place.stdout("ip route"));
    ip
}

fn behind(host: &Host, (dir, plugin): (&str, &str)) {
    furnish();
    if plugin == "bridge" {
        bridge_to_the_lan();
    }
    let server = Dnsmasq::start(&host.lan);
    let _daemon = Daemon::start(host);
    let web = host.container("web");
    let (add, version) = ((dir, plugin, "ADD"), "1.0.0");
    let answer = ok(host, add, &web, &config(plugin, version, r#","isDefaultGateway":false"#)).json();
    let ip = is_leased(&server, &web);
    assert_eq!(
        (&answer["ips"][0]["address"], &answer["routes"][0]["dst"]),
        (&format!("{ip}/24").into(), &"0.0.0.0/0".into())
    );
    let renewed = || server.said(&["DHCPACK", &ip]);
    assert!(eventually(LATER, || renewed() > RENEWED), "it is renewed again and again: {}", renewed());
    let checked = config(plugin, version, &format!(r#","prevResult":{answer}"#));
    ok(host, (dir, plugin, "CHECK"), &web, &checked);
    ok(host, (dir, plugin, "DEL"), &web, &config(plugin, version, ""));
    ok(host, (dir, plugin, "DEL"), &web, &config(plugin, version, ""));
    if (dir, plugin) == (REFERENCE, "bridge") {
        // It deletes the interface before it asks: there is nothing left to tell the server with.
        std::thread::sleep(Duration::from_millis(500)); // what is on its way arrives
        let last = renewed();
        std::thread::sleep(Duration::from_secs(4));
        assert_eq!(renewed(), last, "the lease runs out");
        return;
    }
    assert!(server.comes_to_say(&["DHCPRELEASE", &ip], 1), "the server is told");
    assert!(eventually(SOON, || server.leases().is_empty()), "{:?}", server.leases());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn behind_the_references_macvlan() {
    on_a_host(|host| behind(host, (REFERENCE, "macvlan")));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn behind_the_references_bridge() {
    on_a_host(|host| behind(host, (REFERENCE, "bridge")));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn behind_our_bridge() {
    on_a_host(|host| behind(host, (OURS, "bridge")));
}

/// The plugin by itself: an interface that is there already, in every version.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_version_of_the_specification() {
    on_a_host(|host| {
        furnish();
        let _server = Dnsmasq::start(&host.lan);
        let _daemon = Daemon::start(host);
        let web = host.container("web");
        run("ip link add link up0 name eth0 netns web type macvlan mode bridge");
        for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
            let answer = ok(host, (OURS, "dhcp", "ADD"), &web, &config("macvlan", version, "")).json();
            assert_eq!(answer["cniVersion"], version);
            let ip = if version < "0.3.0" { &answer["ip4"]["ip"] } else { &answer["ips"][0]["address"] };
            assert!(ip.as_str().unwrap_or_default().starts_with("192.0.2."), "{answer}");
            assert_eq!(answer["dns"]["nameservers"][0], "192.0.2.53");
            ok(host, (OURS, "dhcp", "DEL"), &web, &config("macvlan", version, ""));
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn options_are_sent_as_the_configuration_says() {
    on_a_host(|host| {
        furnish();
        let server = Dnsmasq::start(&host.lan);
        let _daemon = Daemon::start(host);
        let web = host.container("web");
        run("ip link add link up0 name eth0 netns web type macvlan mode bridge");
        let ipam = r#"{"type":"dhcp","provide":[{"option":"host-name","value":"chosen"},{"option":"vendor-class-identifier","value":"qiao-test"}],
            "request":[{"option":"42"}],"priority":7}"#;
        let text = config("macvlan", "1.1.0", "").replace(r#"{"type":"dhcp"}"#, ipam);
        let answer = ok(host, (OURS, "dhcp", "ADD"), &web, &text).json();
        assert_eq!(answer["routes"][0]["priority"], 7);
        assert_eq!(server.leases()[0].1, "chosen");
        assert!(server.said(&["vendor class: qiao-test"]) > 0);
        assert!(
            server.said(&["requested options", "42:ntp-server"]) > 0 || server.said(&["42:ntp-server"]) > 0
        );
        let bad = text.replace("host-name", "message-type");
        assert_eq!(call(host, (OURS, "dhcp", "ADD"), ("web", &web.path()), &bad).json()["code"], 7);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_a_daemon_or_a_server_it_is_said_and_leaving_works() {
    on_a_host(|host| {
        furnish();
        let web = host.container("web");
        let text = config("macvlan", "1.1.0", "");
        let nobody = call(host, (OURS, "dhcp", "STATUS"), ("", ""), &text).json();
        assert!(nobody["code"] == 50 && nobody["details"].to_string().contains("dhcp-daemon"), "{nobody}");
        run("ip link add link up0 name eth0 netns web type macvlan mode bridge");
        let add = || call(host, (OURS, "dhcp", "ADD"), ("web", &web.path()), &text);
        assert_eq!(add().json()["code"], 11);
        ok(host, (OURS, "dhcp", "DEL"), &web, &text);
        let daemon = Daemon::with(host, &["-resendtimeout", "5s"]);
        ok(host, (OURS, "dhcp", "STATUS"), &web, &text);
        let silent = add().json();
        assert!(silent["msg"].to_string().contains("no server answered within 5 s"), "{silent}");
        assert_eq!(silent["code"], 11);
        // A daemon that is gone keeps nobody from leaving, and the next one does not renew what was left.
        let server = Dnsmasq::start(&host.lan);
        assert_eq!(add().code, Some(0));
        let ip = server.leases()[0].0.clone();
        drop(daemon);
        ok(host, (OURS, "dhcp", "DEL"), &web, &text);
        let _daemon = Daemon::start(host);
        std::thread::sleep(Duration::from_millis(500)); // what is on its way arrives
        let before = server.said(&["DHCPACK", &ip]);
        std::thread::sleep(Duration::from_secs(4));
        assert_eq!(server.said(&["DHCPACK", &ip]), before);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_daemon_that_is_killed_and_started_again_goes_on() {
    on_a_host(|host| {
        furnish();
        let server = Dnsmasq::start(&host.lan);
        let daemon = Daemon::with(host, &["-pidfile", "/run/dhcp.pid"]);
        let pid = std::fs::read_to_string("/run/dhcp.pid").expect("it is there before the socket");
        assert_eq!(pid.trim(), daemon.0.id().to_string());
        let web = host.container("web");
        ok(host, (REFERENCE, "macvlan", "ADD"), &web, &config("macvlan", "1.0.0", ""));
        let ip = is_leased(&server, &web);
        let second = host.qiao.run("dhcp-daemon");
        assert!(second.code == Some(5) && second.stderr.contains("another process"), "{second}");
        drop(daemon); // SIGKILL; its socket stays
        let _daemon = Daemon::start(host);
        let (before, discovered) = (server.said(&["DHCPACK", &ip]), server.said(&["DHCPDISCOVER"]));
        assert!(eventually(LATER, || server.said(&["DHCPACK", &ip]) >= before + RENEWED), "it is renewed");
        assert_eq!(
            (server.said(&["DHCPDISCOVER"]), is_leased(&server, &web)),
            (discovered, ip.clone()),
            "the same lease"
        );
        ok(host, (REFERENCE, "macvlan", "DEL"), &web, &config("macvlan", "1.0.0", ""));
        assert!(server.comes_to_say(&["DHCPRELEASE", &ip], 1), "the server is told");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn gc_gives_back_what_nobody_has() {
    on_a_host(|host| {
        furnish();
        let server = Dnsmasq::start(&host.lan);
        let daemon = Daemon::start(host);
        let places = ["c1", "c2", "c3"].map(|name| host.container(name));
        let text = config("macvlan", "1.1.0", "");
        for place in &places {
            run(&format!("ip link add link up0 name eth0 netns {} type macvlan mode bridge", place.name()));
            ok(host, (OURS, "dhcp", "ADD"), place, &text);
        }
        ok(host, (OURS, "dhcp", "GC"), &places[0], &text);
        assert_eq!(server.leases().len(), 3, "a runtime that does not say which live has nothing collected");
        let valid = r#","cni.dev/valid-attachments":[{"containerID":"c2","ifname":"eth0"}]"#;
        ok(host, (OURS, "dhcp", "GC"), &places[0], &config("macvlan", "1.1.0", valid));
        assert!(eventually(SOON, || server.leases().len() == 1), "{:?}", server.leases());
        let prev =
            |ip: &str| format!(r#","prevResult":{{"cniVersion":"1.1.0","ips":[{{"address":"{ip}/24"}}]}}"#);
        let own = config("macvlan", "1.1.0", &prev(&server.leases()[0].0));
        ok(host, (OURS, "dhcp", "CHECK"), &places[1], &own);
        for (place, ip) in [(&places[0], "192.0.2.150"), (&places[1], "192.0.2.7")] {
            let other = config("macvlan", "1.1.0", &prev(ip));
            let failed: Value =
                call(host, (OURS, "dhcp", "CHECK"), (place.name(), &place.path()), &other).json();
            assert_eq!(failed["code"], 110, "{failed}");
        }
        drop(daemon); // without one they are not renewed, which is all that can be done
        let records = || run_dir_records();
        ok(host, (OURS, "dhcp", "GC"), &places[0], &config("macvlan", "1.1.0", valid));
        assert_eq!(records().len(), 1, "it lives: {:?}", records());
        ok(
            host,
            (OURS, "dhcp", "GC"),
            &places[0],
            &config("macvlan", "1.1.0", r#","cni.dev/valid-attachments":[]"#),
        );
        assert!(records().is_empty(), "{:?}", records());
    });
}

/// The leases that are written down.
fn run_dir_records() -> Vec<String> {
    let found = stdout("find /run -path *dhcp/at-* -name *.json");
    found.lines().map(str::to_owned).collect()
}

/// A machine boots again and somebody kept `/run`: what was leased before is nobody's.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn leases_of_another_boot_are_forgotten() {
    on_a_host(|host| {
        furnish();
        let server = Dnsmasq::start(&host.lan);
        let daemon = Daemon::start(host);
        let web = host.container("web");
        ok(host, (REFERENCE, "macvlan", "ADD"), &web, &config("macvlan", "1.0.0", ""));
        let ip = is_leased(&server, &web);
        let records = || stdout(&format!("find {} -name *.json", host.qiao.run_dir())).lines().count();
        assert_eq!(records(), 1, "the control");
        drop(daemon);
        std::fs::write("/run/boot_id", "11111111-2222-3333-4444-555555555555\n").unwrap();
        run("mount --bind /run/boot_id /proc/sys/kernel/random/boot_id");
        let _daemon = Daemon::start(host);
        // It listens before it has read what is there.
        assert!(eventually(SOON, || records() == 0), "they are not removed");
        std::thread::sleep(Duration::from_millis(500)); // what is on its way arrives
        let before = server.said(&["DHCPACK", &ip]);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(server.said(&["DHCPACK", &ip]), before);
    });
}

/// As in a container that sees the host's files elsewhere, and as systemd starts it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn below_a_prefix_and_started_by_its_socket() {
    on_a_host(|host| {
        furnish();
        let server = Dnsmasq::start(&host.lan);
        let elsewhere = "/run/elsewhere";
        run("mkdir -p /run/elsewhere/run/netns");
        let script = "import os, socket\ns = socket.socket(socket.AF_UNIX)\ns.bind('/run/elsewhere/sock')\ns.listen()\n\
            os.dup2(s.fileno(), 3)\nos.set_inheritable(3, True)\nos.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n\
            os.execv(os.environ['QIAO'], ['dhcp', 'daemon', '-hostprefix', '/run/elsewhere'])";
        let mut command = Command::new("python3");
        command
            .args(["-c", script])
            .env("QIAO", format!("{OURS}/dhcp"))
            .env("QIAO_RUN_DIR", host.qiao.run_dir());
        let _daemon = Daemon(command.spawn().expect("start python3"));
        let socket = format!("{elsewhere}/sock");
        assert!(eventually(SOON, || std::os::unix::net::UnixStream::connect(&socket).is_ok()));
        let ipam = format!(r#"{{"type":"dhcp","daemonSocketPath":"{socket}"}}"#);
        let text = config("macvlan", "1.0.0", "").replace(r#"{"type":"dhcp"}"#, &ipam);
        let web = host.container("web");
        run("mount --rbind /run/netns /run/elsewhere/run/netns");
        ok(host, (REFERENCE, "macvlan", "ADD"), &web, &text);
        let ip = is_leased(&server, &web);
        assert!(
            eventually(LATER, || server.said(&["DHCPACK", &ip]) > RENEWED),
            "it is renewed below the prefix"
        );
        ok(host, (REFERENCE, "macvlan", "DEL"), &web, &text);
        assert!(server.comes_to_say(&["DHCPRELEASE", &ip], 1), "the server is told");
    });
}

/// Whoever is root in the sandbox sees what is asked there, and cannot answer in a server's place.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_sandbox_itself_is_no_server() {
    on_a_host(|host| {
        furnish();
        let _daemon = Daemon::with(host, &["-resendtimeout", "2s"]);
        let web = host.container("web");
        run("ip link add link up0 name eth0 netns web type macvlan mode bridge");
        run("ip -n web link set eth0 up");
        let mut rogue = web.command("python3");
        rogue.args(["-c", ROGUE]).stdout(Stdio::piped());
        let mut rogue = rogue.spawn().expect("start python3");
        assert!(eventually(SOON, || Path::new("/run/rogue").exists()), "it listens");
        let text = config("macvlan", "1.1.0", "");
        let outcome = call(host, (OURS, "dhcp", "ADD"), ("web", &web.path()), &text);
        rogue.kill().unwrap();
        let seen = Outcome::of(rogue.wait_with_output().unwrap()).stdout;
        assert!(seen.starts_with("1\n"), "the control: it saw and answered a DISCOVER: {seen}");
        assert!(!seen.contains('3'), "its offer was taken: {seen}");
        assert!(outcome.json()["msg"].to_string().contains("no server answered"), "{outcome}");
    });
}

/// Prints the kind of every question that leaves by `eth0`, and answers each there.
const ROGUE: &str = r#"
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("eth0", 0))
open("/run/rogue", "w")
def checksum(b):
    n = sum(b[i] << 8 | b[i + 1] for i in range(0, len(b), 2))
    n = (n & 0xffff) + (n >> 16)
    return (~((n & 0xffff) + (n >> 16)) & 0xffff).to_bytes(2, "big")
while True:
    f, a = s.recvfrom(2048)
    if f[34:38] != bytes([0, 68, 0, 67]):
        continue
    print(f[284], flush=True)
    m = bytearray(f[42:282])
    m[0] = 2
    m[16:20] = bytes([192, 0, 2, 66])
    m += bytes([53, 1, 2, 54, 4, 192, 0, 2, 6, 1, 4, 255, 255, 255, 0, 51, 4, 0, 0, 0, 60, 255])
    udp = bytes([0, 67, 0, 68]) + (8 + len(m)).to_bytes(2, "big") + bytes(2) + m
    ip = bytearray([0x45, 0]) + (20 + len(udp)).to_bytes(2, "big") + bytes([0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 6, 255, 255, 255, 255])
    ip[10:12] = checksum(ip)
    s.send(bytes([255] * 6 + [2, 0, 0, 0, 0, 0x66, 8, 0]) + ip + udp)
"#;
