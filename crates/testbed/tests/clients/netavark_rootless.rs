//! An ordinary user's Podman on our netavark, or on our plugins: in a network namespace of his own behind slirp4netns, where ports are
//! published by `rootlessport`.

use crate::machine::{answers, is_closed};
use crate::podman::{Backend, OTHERS, Podman, USER};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, eventually, run};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

/// His processes, and those of his containers.
fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_his = |pid: &String| {
        let owner = fs::metadata(format!("/proc/{pid}")).map(|found| found.uid());
        let is_alive = fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
        is_alive && owner.is_ok_and(|uid| uid == USER || (OTHERS..OTHERS + 65536).contains(&uid))
    };
    pids.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit())).filter(is_his).collect()
}

fn has(program: &str) -> bool {
    processes().iter().any(|pid| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split('\0').next().unwrap_or_default().ends_with(program)
    })
}

/// The container answers at a port of the host, and gets out.
fn is_reached(host: &Host, podman: &Podman<'_>, (name, port): (&str, u16)) {
    let web = podman.place(name);
    reaches(host, &web, port);
    web.delete(); // the next one of its name has another
}

fn reaches(host: &Host, web: &Place, port: u16) {
    let _server = Service::start(web, Protocol::Tcp, "[::]:80");
    answers(&host.lan, &format!("192.0.2.1:{port}"), web.name());
    answers(&Place::HOST, &format!("127.0.0.1:{port}"), web.name());
    let _outside = Service::start(&host.lan, Protocol::Tcp, "0.0.0.0:99");
    assert_eq!(ask(web, Protocol::Tcp, "192.0.2.100:99").as_deref(), Some("lan 192.0.2.1"));
}

/// A container finds another one by its name, as its own resolver does.
fn finds(podman: &Podman<'_>, (from, name): (&str, &str), ip: &str) {
    let said = || podman.run(&format!("exec {from} /bin/nslookup {name}")).stdout;
    assert!(eventually(SOON, || said().contains(&format!("Address: {ip}"))), "{name}: {}", said());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn networks_names_and_ports_of_an_ordinary_user() {
    on_a_host(|host| {
        let podman = Podman::of_a_user(host, Backend::Netavark);
        let before = podman.machine.snapshot();
        podman.ok("network create --ipv6 --subnet 10.90.1.0/24 --subnet fd00:90:1::/64 one");
        podman.ok("network create --subnet 10.90.2.0/24 two");
        podman.ok("network create --internal --subnet 10.90.3.0/24 in");
        podman.start("web", "--network one --ip 10.90.1.7 -p 8080:80 -p 127.0.0.1:8081:80");
        podman.start("db", "--network one --ip 10.90.1.8 --ip6 fd00:90:1::8");
        podman.start("far", "--network two --ip 10.90.2.9");
        podman.start("inner", "--network in --ip 10.90.3.7");
        is_reached(host, &podman, ("web", 8080));
        is_closed(host, 8081);
        let [web, db, far, inner] = ["web", "db", "far", "inner"].map(|name| podman.place(name));
        let servers = Service::start(&db, Protocol::Tcp, "[::]:80");
        for to in ["10.90.1.8:80", "[fd00:90:1::8]:80"] {
            answers(&web, to, "db");
            assert_eq!(ask(&far, Protocol::Tcp, to), None, "networks are kept apart: {to}");
        }
        let outside = Service::start(&host.lan, Protocol::Tcp, "0.0.0.0:98");
        assert!(ask(&far, Protocol::Tcp, "192.0.2.100:98").is_some(), "the control");
        assert_eq!(ask(&inner, Protocol::Tcp, "192.0.2.100:98"), None, "internal");
        drop((servers, outside));
        [web, db, far, inner].into_iter().for_each(Place::delete);
        finds(&podman, ("web", "db"), "10.90.1.8");
        podman.ok("network connect --ip 10.90.2.7 two web");
        finds(&podman, ("far", "web"), "10.90.2.7");
        for words in ["restart -t 0 web", "network disconnect one web", "network reload -a"] {
            podman.ok(words);
            is_reached(host, &podman, ("web", 8080)); // by what is left
        }
        podman.ok("network connect --ip 10.90.1.7 one web");
        finds(&podman, ("db", "web"), "10.90.1.7");
        assert!(has("slirp4netns") && has("aardvark-dns"), "the control");
        podman.ok("rm -f -t 0 -a");
        is_closed(host, 8080);
        assert!(eventually(SOON, || !has("slirp4netns") && !has("aardvark-dns")), "{:?}", processes());
        podman.machine.assert_like(&before, "an ordinary user's containers");
    });
}

/// The user logs out: his processes are killed, and what he has below `/run` goes. Names, addresses and ports are free.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn who_logs_out_keeps_nothing() {
    on_a_host(|host| {
        let podman = Podman::of_a_user(host, Backend::Netavark);
        podman.ok("network create --subnet 10.90.1.0/24 one");
        podman.start("web", "--network one --ip 10.90.1.7 -p 8080:80");
        podman.start("gone", "--network one --ip 10.90.1.8 -p 8081:80");
        is_reached(host, &podman, ("web", 8080));
        let gone = || {
            processes().iter().for_each(|pid| drop(Command::new("kill").args(["-9", pid]).output()));
            processes().is_empty()
        };
        assert!(eventually(SOON, gone));
        run(&format!("find /run/user/{USER} /dev/shm -mindepth 1 -delete"));
        podman.ok("start web");
        is_reached(host, &podman, ("web", 8080));
        podman.ok("rm gone");
        podman.start("next", "--network one --ip 10.90.1.8 -p 8081:80");
        is_reached(host, &podman, ("next", 8081));
        finds(&podman, ("web", "next"), "10.90.1.8");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn plugins_work_for_an_ordinary_user() {
    on_a_host(|host| {
        let podman = Podman::of_a_user(host, Backend::Cni);
        let before = podman.machine.snapshot();
        podman.ok("network create --subnet 10.90.1.0/24 one");
        podman.start("web", "--network one --ip 10.90.1.7 -p 8080:80");
        podman.start("db", "--network one");
        is_reached(host, &podman, ("web", 8080));
        let places = ["web", "db"].map(|name| podman.place(name));
        let server = Service::start(&places[0], Protocol::Tcp, "0.0.0.0:80");
        answers(&places[1], "10.90.1.7:80", "web");
        drop(server);
        places.into_iter().for_each(Place::delete);
        podman.ok("restart -t 0 web");
        is_reached(host, &podman, ("web", 8080));
        podman.ok("rm -f -t 0 -a");
        is_closed(host, 8080);
        podman.machine.assert_like(&before, "an ordinary user's containers");
    });
}
