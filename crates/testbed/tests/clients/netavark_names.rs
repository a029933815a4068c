//! Podman on our netavark and our aardvark-dns: names as containers ask for them, and the process that answers.

use crate::machine::{FILES, is_published};
use crate::podman::{Backend, Podman};
use qiao_testbed::names::{Reply, lookup, lookup_tcp};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, eventually, run, stdout};
use std::fs;
use std::net::UdpSocket;
use std::process::{Child, Stdio};
use std::time::Duration;

const A: u16 = 1;
const AAAA: u16 = 28;
const PTR: u16 = 12;
const NOT_THERE: u8 = 3;
const SOON: Duration = Duration::from_secs(10);
/// Where the server's files are.
const FOLDER: &str = "/run/containers/networks/aardvark-dns";
const ONE: &str = "network create --ipv6 --subnet 10.90.1.0/24 --subnet fd00:90:1::/64 one";

fn asked(from: &Place, name: &str, rtype: u16) -> Option<Reply> {
    lookup(from, "10.90.1.1", (name, rtype))
}

fn addresses(reply: Option<Reply>) -> Vec<String> {
    let mut addresses: Vec<_> =
        reply.into_iter().flat_map(|reply| reply.addresses).map(|ip| ip.to_string()).collect();
    addresses.sort();
    addresses
}

/// A container finds an address under a name.
pub fn resolves(from: &Place, (name, server): (&str, &str), to: &str) {
    let said = || addresses(lookup(from, server, (name, A)));
    assert!(eventually(SOON, || said() == [to]), "{name} at {server}: {:?}", said());
}

/// The server's process, by its pid file; none where there is no such file.
fn pid() -> Option<String> {
    fs::read_to_string(format!("{FOLDER}/aardvark.pid")).ok()
}

fn servers() -> usize {
    stdout("ps -eo args=").lines().filter(|line| line.contains("aardvark-dns --config")).count()
}

/// The outside host's name server, which knows one name; it ends when it is dropped.
struct Outside(Child);

impl Outside {
    fn start(host: &Host) -> Self {
        fs::write("/etc/resolv.conf", "nameserver 127.0.0.53\nnameserver 192.0.2.100\nsearch example.test\n")
            .expect("the host's resolv.conf");
        let mut command = host.lan.command("dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]);
        command.args(["--listen-address=192.0.2.100", "--bind-interfaces", "--user=root", "--pid-file="]);
        command.args(["--address=/far.test/203.0.113.9", "--local=/#/"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start dnsmasq");
        let is_up = || lookup(&Place::HOST, "192.0.2.100", ("far.test", A)).is_some();
        assert!(eventually(SOON, is_up), "the outside host's name server");
        Self(child)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a container's own resolver finds, with its own /etc/resolv.conf.
fn inside(podman: &Podman<'_>, container: &str, name: &str) -> String {
    podman.run(&format!("exec {container} /bin/nslookup {name}")).stdout
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn names_and_aliases_of_both_families() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        let _outside = Outside::start(host);
        podman.ok(ONE);
        let before = podman.machine.snapshot();
        podman.start("web", "--network one --network-alias www --ip 10.90.1.77 --ip6 fd00:90:1::77");
        podman.start("friend", "--network one --network-alias www --ip 10.90.1.78");
        let (web, friend) = (podman.place("web"), podman.place("friend"));
        let id = podman.ok("inspect --format {{.Id}} web");
        for name in ["web", "WEB", "web.dns.podman", &id[..12]] {
            assert_eq!(addresses(asked(&friend, name, A)), ["10.90.1.77"], "{name}");
            assert_eq!(addresses(asked(&friend, name, AAAA)), ["fd00:90:1::77"], "{name}");
        }
        assert_eq!(addresses(asked(&web, "www", A)), ["10.90.1.77", "10.90.1.78"], "both are called so");
        assert_eq!(addresses(lookup(&web, "fd00:90:1::1", ("friend", A))), ["10.90.1.78"]);
        assert_eq!(addresses(lookup_tcp(&web, "10.90.1.1", ("friend", A))), ["10.90.1.78"]);
        for gateway in ["10.90.1.1", "fd00:90:1::1"] {
            let said = addresses(lookup(&Place::HOST, gateway, ("web", A)));
            assert_eq!(said, ["10.90.1.77"], "the host asks as its own gateway {gateway}");
        }
        let reverse = asked(&web, "78.1.90.10.in-addr.arpa", PTR).expect("an answer");
        assert!(reverse.bytes.windows(7).any(|name| name == b"\x06friend"), "{reverse:?}");
        // What it is not asked itself.
        assert_eq!(addresses(asked(&web, "far.test", A)), ["203.0.113.9"]);
        let unknown = |name: &str| asked(&web, name, A).map(|reply| reply.code) == Some(NOT_THERE);
        assert!(unknown("nobody.dns.podman") && unknown("nobody") && unknown("nobody.test"));
        let resolv = podman.ok("exec friend /bin/cat /etc/resolv.conf");
        let servers: Vec<_> = resolv.lines().filter_map(|line| line.strip_prefix("nameserver ")).collect();
        // Podman 4.3 adds those of the host that a container could reach.
        assert_eq!(servers, ["10.90.1.1", "fd00:90:1::1", "192.0.2.100"], "{resolv}");
        assert!(resolv.starts_with("search dns.podman example.test\n"), "{resolv}");
        for name in ["web", "far.test"] {
            let said = inside(&podman, "friend", name);
            let ip = if name == "web" { "10.90.1.77" } else { "203.0.113.9" };
            assert!(said.contains(&format!("Address: {ip}")), "{name}: {said}");
        }
        [web, friend].into_iter().for_each(Place::delete);
        ["web", "friend"].iter().for_each(|name| podman.remove(name));
        podman.machine.assert_like(&before, "containers with names");
    });
}

/// Podman writes all gateways of a container into its resolv.conf, the internal network's perhaps first: who has another
/// way out is not told there that nothing else exists.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_internal_network_besides_another_hides_nothing() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        let _outside = Outside::start(host);
        podman.ok(ONE);
        podman.ok("network create --internal --subnet 10.90.2.0/24 inner");
        podman.start("both", "--network inner,one");
        podman.start("shut", "--network inner");
        let (both, shut) = (podman.place("both"), podman.place("shut"));
        for gateway in ["10.90.1.1", "10.90.2.1"] {
            assert_eq!(addresses(lookup(&both, gateway, ("far.test", A))), ["203.0.113.9"], "{gateway}");
        }
        assert!(inside(&podman, "both", "far.test").contains("Address: 203.0.113.9"));
        assert_eq!(addresses(lookup(&shut, "10.90.2.1", ("both", A))).len(), 1, "the control");
        assert_eq!(lookup(&shut, "10.90.2.1", ("far.test", A)).map(|reply| reply.code), Some(NOT_THERE));
        [both, shut].into_iter().for_each(Place::delete);
        ["both", "shut"].iter().for_each(|name| podman.remove(name));
    });
}

/// Names come and go with containers, however they end; nobody waits for them.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn names_follow_containers() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        let _outside = Outside::start(host);
        podman.ok(ONE);
        podman.start("friend", "--network one");
        let friend = podman.place("friend");
        let address_of = |name: &str| podman.ok(&format!("exec {name} /bin/ip -o -4 addr show dev eth0"));
        let is_found = |name: &str| {
            let text = address_of(name);
            let ip =
                text.split_whitespace().nth(3).and_then(|net| net.split('/').next()).expect("an address");
            assert_eq!(addresses(asked(&friend, name, A)), [ip], "at once");
        };
        let is_gone = || {
            for name in ["web", "web.dns.podman"] {
                let code = || asked(&friend, name, A).map(|reply| reply.code);
                assert!(eventually(SOON, || code() == Some(NOT_THERE)), "{name}: {:?}", code());
            }
        };
        podman.start("web", "--network one");
        is_found("web");
        podman.ok("restart -t 0 web");
        is_found("web");
        podman.ok("kill web");
        podman.ok("wait web");
        podman.ok("container cleanup web");
        is_gone();
        podman.start("other", "--network one"); // has web's old address, perhaps
        podman.ok("start web");
        is_found("web");
        is_found("other");
        podman.ok("network disconnect one web");
        is_gone();
        podman.ok("network connect --alias www one web");
        is_found("web");
        assert_eq!(addresses(asked(&friend, "www", A)), addresses(asked(&friend, "web", A)));
        podman.ok("network reload --all");
        is_found("web");
        podman.ok("rm -f -t 0 web");
        is_gone();
        is_found("other");
    });
}

/// One process for all networks. It ends with the last container, and whoever kills it does no lasting harm.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_server_comes_and_goes_with_containers() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        podman.ok("network create --subnet 10.90.1.0/24 one");
        podman.ok("network create --subnet 10.90.2.0/24 two");
        podman.start("nameless", "-p 8080:80");
        assert_eq!((pid(), servers()), (None, 0), "the default network has no names");
        podman.start("web", "--network one");
        let first = pid().expect("a pid file");
        assert!(first.bytes().all(|byte| byte.is_ascii_digit()), "{first:?}");
        let line = stdout(&format!("ps -o args= -p {first}"));
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words, ["/opt/machine/podman/aardvark-dns", "--config", FOLDER, "-p", "53", "run"]);
        podman.start("db", "--network two");
        podman.start("both", "--network one --network two");
        assert_eq!((pid(), servers()), (Some(first.clone()), 1));
        resolves(&podman.place("db"), ("both", "10.90.2.1"), &on(&podman, "both", "10.90.2."));
        run(&format!("kill -9 {first}"));
        podman.start("next", "--network one");
        let second = pid().expect("a pid file");
        assert!(first != second && servers() == 1, "it is started again");
        let place = podman.place("next");
        for name in ["web", "both", "next"] {
            resolves(&place, (name, "10.90.1.1"), &on(&podman, name, "10.90.1."));
        }
        ["web", "db", "next"].iter().for_each(|name| podman.remove(name));
        assert_eq!((pid(), servers()), (Some(second), 1), "the control: somebody is there");
        podman.remove("both");
        assert!(eventually(SOON, || pid().is_none() && servers() == 0), "it ends with the last");
        let files: Vec<_> = fs::read_dir(FOLDER).into_iter().flatten().flatten().collect();
        assert!(files.is_empty(), "{files:?}");
        is_published(host, &podman.place("nameless"), 8080);
    });
}

/// An address of a container with this beginning.
fn on(podman: &Podman<'_>, container: &str, prefix: &str) -> String {
    let text = podman.ok(&format!("exec {container} /bin/ip -o -4 addr"));
    let word = text.split_whitespace().find(|word| word.starts_with(prefix));
    word.and_then(|net| net.split('/').next()).unwrap_or_else(|| panic!("{prefix}: {text}")).to_owned()
}

/// A name server that cannot be had fails the container's start, and nothing is left.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_is_in_the_way_is_told() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        podman.ok("network create --subnet 10.90.1.0/24 one");
        let before = podman.machine.snapshot();
        // Somebody else has the port on all addresses.
        let thief = UdpSocket::bind("0.0.0.0:53").expect("port 53");
        let refused = podman.run("run -d --name web --network one localhost/busybox /bin/sleep 1000");
        drop(thief);
        assert!(refused.stderr.contains("10.90.1.1:53"), "{refused}");
        assert_ne!(refused.code, Some(0));
        podman.run("rm -f -t 0 web");
        podman.machine.assert_like(&before, "a server that cannot be had");
        podman.start("web", "--network one"); // the control
        assert!(fs::exists(format!("{FILES}/podman/aardvark-dns")).is_ok_and(|is| is));
    });
}
