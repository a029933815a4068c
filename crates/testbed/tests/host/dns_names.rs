//! Names on every network: who finds whom, and who does not (R-DNS 15 and 18).

use qiao_testbed::names::{lookup, lookup_tcp, raw};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, eventually, stdout};
use std::net::IpAddr;
use std::time::Duration;

pub const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;
const SRV: u16 = 33;
pub const FRONT: &str = "172.30.0.1";

pub fn front(host: &Host, options: &str) {
    // Nobody serves names there, and that is said at once.
    let upstream = if options.contains("--dns") { "" } else { "--dns 192.0.2.100" };
    host.ok(&format!("network create front --subnet 172.30.0.0/24 {upstream} {options}"));
}

pub fn found(place: &Place, server: &str, name: &str) -> Vec<String> {
    let reply = lookup(place, server, (name, A)).unwrap_or_else(|| panic!("{server} says nothing of {name}"));
    reply.addresses.iter().map(IpAddr::to_string).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn members_find_one_another() {
    on_a_host(|host| {
        front(host, "--ipv6 --subnet fd00:30::/64");
        let web = host.attached("web", "--network front --alias www -p 8080:80");
        // What is told to be attached has its name at once.
        for number in 0..20 {
            let place = host.attached(&format!("c{number}"), "--network front");
            let ip = format!("172.30.0.{}", number + 3);
            assert_eq!(found(&web, FRONT, &format!("c{number}")), [ip]);
            drop(place);
        }
        for name in ["web", "WWW", "wEb.FronT", "web."] {
            assert_eq!(found(&web, FRONT, name), ["172.30.0.2"], "{name}");
        }
        let v6 = lookup(&web, "fd00:30::1", ("web", AAAA)).expect("asked by IPv6");
        assert_eq!(v6.addresses, ["fd00:30::2".parse::<IpAddr>().unwrap()]);
        let name = lookup(&web, FRONT, ("2.0.30.172.in-addr.arpa", PTR)).unwrap();
        assert!(name.bytes.windows(5).any(|text| text == b"\x03web\0"), "{name:?}");
        let service = lookup(&web, FRONT, ("_80._tcp.web", SRV)).unwrap();
        assert!(service.bytes.windows(6).any(|text| text == b"\0\x50\x03web"), "{service:?}");
        assert_eq!(lookup(&web, FRONT, ("_81._tcp.web", SRV)).unwrap().code, 2, "nobody offers it");
        assert_eq!(lookup_tcp(&web, FRONT, ("web", A)).unwrap().addresses.len(), 1);
        host.ok("detach c7");
        let gone = lookup(&web, FRONT, ("c7", A)).unwrap();
        assert!(gone.addresses.is_empty() && gone.code != 0, "{gone:?}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_other_family_is_no_absence_and_several_take_turns() {
    on_a_host(|host| {
        front(host, "--ipv6=false");
        let one = host.attached("one", "--network front --alias pool");
        host.attached("two", "--network front --network-alias pool");
        let v6 = lookup(&one, FRONT, ("one", AAAA)).unwrap();
        assert_eq!((v6.code, v6.addresses.len()), (0, 0), "there is such a name");
        let firsts: Vec<_> = (0..8).map(|_| found(&one, FRONT, "pool")).collect();
        assert!(firsts.iter().all(|all| all.len() == 2));
        assert!(
            firsts.iter().any(|all| all[0] == "172.30.0.2")
                && firsts.iter().any(|all| all[0] == "172.30.0.3")
        );
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn other_networks_and_the_outside_get_nothing() {
    on_a_host(|host| {
        front(host, "-o masquerade=off"); // its addresses are reached from outside
        host.ok("network create back --subnet 172.30.1.0/24 --dns 192.0.2.100");
        let web = host.attached("web", "--network front");
        let db = host.attached("db", "--network back");
        assert_eq!(found(&web, FRONT, "web"), ["172.30.0.2"]);
        assert_eq!(found(&db, "172.30.1.1", "db"), ["172.30.1.2"]);
        assert_eq!(lookup(&db, "172.30.1.1", ("web", A)).unwrap().addresses.len(), 0);
        assert_eq!(lookup(&db, "172.30.1.1", ("web.front", A)).unwrap().addresses.len(), 0);
        assert!(lookup(&db, FRONT, ("web", A)).is_none(), "by another network's gateway");
        assert!(lookup(&host.lan, FRONT, ("web", A)).is_none(), "from outside");
        assert!(lookup_tcp(&host.lan, FRONT, ("web", A)).is_none(), "from outside by TCP");
        assert!(lookup(&Place::HOST, FRONT, ("web", A)).is_some(), "the host itself may ask");
        // Who is in both sees both.
        host.ok("network connect front db --alias database");
        assert_eq!(found(&db, "172.30.1.1", "web"), ["172.30.0.2"]);
        assert_eq!(found(&web, FRONT, "database"), ["172.30.0.3"]);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_internal_network_has_names_and_asks_nobody() {
    on_a_host(|host| {
        host.ok("network create inner --internal --subnet 172.30.3.0/24 --dns 192.0.2.100");
        front(host, "--dns 192.0.2.100");
        let (inner, outer) = (host.attached("x", "--network inner"), host.attached("y", "--network front"));
        let seen = host.wire(&host.lan, "eth0");
        assert_eq!(found(&inner, "172.30.3.1", "x"), ["172.30.3.2"]);
        assert_eq!(lookup(&inner, "172.30.3.1", ("inside.example", A)).unwrap().code, 3);
        lookup(&outer, FRONT, ("outside.example", A));
        let has = |frames: &[Vec<u8>], text: &[u8]| {
            frames.iter().any(|frame| qiao_testbed::frame::contains(frame, text))
        };
        let frames = seen.until(|frame| qiao_testbed::frame::contains(frame, b"\x07outside"));
        assert!(has(&frames, b"\x07outside"), "the other one's question went out");
        assert!(!has(&frames, b"\x06inside"), "the internal one's did too");
        // Resolvers ask whichever gateway they like: who is in another network too is not told that there is nothing.
        host.ok("network connect inner y");
        let seen = host.wire(&host.lan, "eth0");
        lookup(&inner, "172.30.3.1", ("within.example", A));
        lookup(&outer, "172.30.3.1", ("beyond.example", A));
        let frames = seen.until(|frame| qiao_testbed::frame::contains(frame, b"\x06beyond"));
        assert!(has(&frames, b"\x06beyond"), "who is in both asks by either gateway");
        assert!(!has(&frames, b"\x06within"), "and nobody else does");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn names_hide_nobody_elses() {
    on_a_host(|host| {
        host.ok("network create com --subnet 172.30.0.0/24 --dns 192.0.2.100");
        let google = host.attached("google", "--network com");
        host.attached("my.app", "--network com");
        assert_eq!(found(&google, FRONT, "google"), ["172.30.0.2"]);
        for foreign in ["google.com", "my.app"] {
            assert!(lookup(&google, FRONT, (foreign, A)).unwrap().addresses.is_empty(), "{foreign}");
        }
        host.refused(2, "attach evil --netns /run/netns/google --network com --alias a..b");
        host.ok("network create plain --dns off");
        let refused = host.qiao.run("attach more --netns /run/netns/google --network plain --alias x");
        assert!(refused.stderr.contains("has no names"), "{refused}");
    });
}

/// Answers to answers would never end; what is no question is refused or ignored.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_is_no_question_gets_no_names() {
    on_a_host(|host| {
        front(host, "");
        let web = host.attached("web", "--network front");
        let good = qiao_testbed::names::question(9, "web", A);
        let with = |at: usize, byte: u8| {
            let mut message = good.clone();
            message[at] = byte;
            raw(&web, FRONT, &message)
        };
        assert!(with(2, 1).is_some(), "the question itself");
        assert!(with(2, 0x81).is_none(), "an answer gets no answer");
        assert_eq!(with(2, 0x29).unwrap()[3] & 15, 4, "another operation");
        assert_eq!(with(5, 2).unwrap()[3] & 15, 1, "two questions in one");
        assert_eq!(with(12, 0xc0).unwrap()[3] & 15, 1, "a name that points at itself");
        assert!(raw(&web, FRONT, &good[..11]).is_none(), "shorter than a header");
        assert_eq!(found(&web, FRONT, "web"), ["172.30.0.2"]);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_server_lives_by_itself_and_ends_with_the_last_name() {
    on_a_host(|host| {
        let before = host.snapshot();
        front(host, "");
        let web = host.attached("web", "--network front");
        let server = || {
            stdout("ps -eo pid,ppid,args")
                .lines()
                .find(|line| line.contains("name-server"))
                .map(str::to_owned)
        };
        // It is out of sight before its files are closed: the lock tells.
        let lock = format!("{}/names/lock", host.qiao.run_dir());
        let killed =
            || std::process::Command::new("flock").args(["-n", &lock, "true"]).status().unwrap().success();
        let first = server().expect("the first attachment starts it");
        let pid: i32 = first.split_whitespace().next().unwrap().parse().unwrap();
        let cgroups = || std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        // Only this hierarchy is mounted here; the attachment itself was in a cgroup below its root.
        let left = || cgroups().lines().any(|line| line == "0::/");
        assert!(eventually(Duration::from_secs(2), left), "{}", cgroups());
        qiao_testbed::run(&format!("kill -9 {pid}"));
        assert!(eventually(Duration::from_secs(10), killed), "killed");
        assert!(lookup(&web, FRONT, ("web", A)).is_none(), "it is gone");
        host.ok("repair");
        assert_eq!(found(&web, FRONT, "web"), ["172.30.0.2"]);
        let again = server().expect("it was started again");
        qiao_testbed::run(&format!("kill -9 {}", again.split_whitespace().next().unwrap()));
        assert!(eventually(Duration::from_secs(10), killed), "killed");
        host.attached("db", "--network front");
        assert_eq!(found(&web, FRONT, "db"), ["172.30.0.3"], "the next attachment starts it, too");
        host.ok("detach web");
        host.ok("detach db");
        assert!(eventually(Duration::from_secs(10), || server().is_none()), "it ends with the last");
        host.ok("network rm front");
        web.delete();
        stdout("ip netns del db");
        host.assert_like(&before, "the last name");
    });
}

/// What is said of names that are not as they must be, and what mends them.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn names_that_are_not_answered_are_found_and_mended() {
    on_a_host(|host| {
        front(host, "");
        let web = host.attached("web", "--network front");
        let names = format!("{}/names", host.qiao.run_dir());
        let server = || {
            let all = stdout("ps -eo pid,args");
            let line = all.lines().find(|line| line.contains("name-server"));
            line.and_then(|line| line.split_whitespace().next()).unwrap_or_default().to_owned()
        };
        let finds = |what: &str| {
            let check = host.qiao.run("check");
            assert!(check.code == Some(11) && check.stdout.contains(what), "{what}: {check}");
        };
        host.ok("check");
        assert_eq!(std::fs::read_to_string(format!("{names}/lock")).unwrap(), server());
        qiao_testbed::run(&format!("kill -9 {}", server()));
        assert!(eventually(Duration::from_secs(5), || server().is_empty()));
        finds("! no name server runs for front");
        host.ok("repair");
        host.ok("check");
        let line = std::fs::read_link(format!("{names}/web@eth0")).unwrap();
        std::fs::remove_file(format!("{names}/web@eth0")).unwrap();
        std::os::unix::fs::symlink(line, format!("{names}/ghost@eth0")).unwrap();
        finds("! the name server is not told of web@eth0");
        finds("! the name server is told of ghost@eth0, which is not there");
        host.ok("repair");
        host.ok("check");
        assert_eq!(found(&web, FRONT, "web"), ["172.30.0.2"]);
        // One that hangs is as good as none, and cannot be mended by asking it.
        let hangs = server();
        qiao_testbed::run(&format!("kill -STOP {hangs}"));
        let silent = format!("the name server does not answer: `kill -9 {hangs}`");
        finds(&silent);
        // Whoever comes when its backlog is full would wait for ever.
        let connect = || std::os::unix::net::UnixStream::connect(format!("{names}/control")).unwrap();
        let _pending: Vec<_> = (0..8).map(|_| connect()).collect();
        finds(&silent);
        let left = host.qiao.run("repair");
        assert!(left.code == Some(3) && left.stderr.contains(&format!("kill -9 {hangs}")), "{left}");
        host.ok("network create back --subnet 172.30.1.0/24");
        let refused = host.qiao.run(&qiao_testbed::attach_line(&host.container("db"), "--network back"));
        assert!(refused.code == Some(5) && refused.stderr.contains(&format!("kill -9 {hangs}")), "{refused}");
        qiao_testbed::run(&format!("kill -9 {hangs}"));
        // In the foreground it is the same.
        let mut own = host.qiao.command();
        let mut own = own.args(["dns", "serve"]).spawn().unwrap();
        assert!(eventually(Duration::from_secs(5), || lookup(&web, FRONT, ("web", A)).is_some()));
        own.kill().unwrap();
        own.wait().unwrap();
        host.ok("repair");
        host.ok("check");
        assert_eq!(found(&web, FRONT, "web"), ["172.30.0.2"]);
    });
}

/// R-INP 33, in `/proc/PID/status`: a seccomp filter, no way to new rights, and of capabilities that of binding port 53.
pub fn assert_confined(pid: &str) {
    const BIND: u64 = 1 << 10;
    // It is told that names are served before that, so that nobody waits for it.
    let status = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let has =
        |line: &str| status().lines().any(|of| of.split_whitespace().collect::<Vec<_>>().join(" ") == line);
    assert!(eventually(Duration::from_secs(2), || has("Seccomp: 2")), "{}", status());
    assert!(has("NoNewPrivs: 1"), "{}", status());
    for (set, most) in [("CapEff", BIND), ("CapPrm", BIND), ("CapInh", 0), ("CapAmb", 0)] {
        assert!(has(&format!("{set}: {most:016x}")), "{set}: {}", status());
    }
}

/// What it gave up it does not need: networks come and go, links are made, and it ends.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_server_is_confined_and_does_all_that_it_must() {
    on_a_host(|host| {
        front(host, "");
        let web = host.attached("web", "--network front");
        let pid = stdout("ps -eo pid,args");
        let pid = pid.lines().find(|line| line.contains("name-server")).expect("a server");
        assert_confined(pid.split_whitespace().next().unwrap());
        host.ok("network create back --subnet 172.30.1.0/24 --ipv6 --subnet fd00:31::/64 --dns 192.0.2.100");
        let db = host.attached("db", "--network back");
        assert_eq!(found(&db, "172.30.1.1", "db"), ["172.30.1.2"], "it listens on another gateway");
        assert!(lookup_tcp(&db, "fd00:31::1", ("db", A)).is_some());
        host.ok("dns add nas.lan A 192.0.2.7");
        assert_eq!(found(&db, "172.30.1.1", "nas.lan"), ["192.0.2.7"]);
        let told = host.ok("dns query db --from db").stdout;
        assert!(told.contains("172.30.1.2"), "{told}");
        host.ok("detach db");
        let served = format!("{}/names/served/back", host.qiao.run_dir());
        let gone = || std::fs::symlink_metadata(&served).is_err();
        assert!(eventually(Duration::from_secs(3), gone), "it leaves the gateway");
        assert_eq!(found(&web, FRONT, "web"), ["172.30.0.2"]);
        host.ok("detach web");
        let names = format!("{}/names", host.qiao.run_dir());
        assert!(eventually(Duration::from_secs(3), || !std::fs::exists(&names).unwrap()), "nothing is left");
    });
}

/// Whoever publishes port 53 on all addresses would get the questions that members put to their gateway.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_published_port_53_is_in_the_way_and_told() {
    on_a_host(|host| {
        host.attached("pihole", "-p 53:53/udp");
        front(host, "");
        let place = host.container("web");
        let refused = host.qiao.run(&qiao_testbed::attach_line(&place, "--network front"));
        assert!(refused.code == Some(5) && refused.stderr.contains("publishes"), "{refused}");
        host.ok("detach pihole");
        host.attached("other", "-p 192.0.2.1:53:53/udp");
        host.attach(&place, "--network front");
        assert_eq!(found(&place, FRONT, "web").len(), 1);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_port_that_is_taken_is_told() {
    on_a_host(|host| {
        front(host, "");
        let _taken = std::net::UdpSocket::bind("0.0.0.0:53").unwrap();
        let place = host.container("web");
        let refused = host.qiao.run(&qiao_testbed::attach_line(&place, "--network front"));
        assert_eq!(refused.code, Some(5), "{refused}");
        assert!(refused.stderr.contains("cannot listen on 172.30.0.1:53"), "{refused}");
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        let holder = format!("{} (process {}) has the port", own.trim(), std::process::id());
        assert!(refused.stderr.contains(&holder), "{holder}: {refused}");
        host.ok("network rm front");
        front(host, "--dns off");
        host.attach(&place, "--network front");
    });
}

/// A home router announces itself by its link-local address, and the host's resolv.conf says at which interface. The
/// server that asks is confined, and the interface may be another one later.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_hosts_link_local_resolver_is_asked() {
    on_a_host(|host| {
        std::fs::write("/run/resolv.conf", "nameserver fe80::64%up0\n").unwrap();
        qiao_testbed::run("mount --bind /run/resolv.conf /etc/resolv.conf");
        host.ok("network create front --subnet 172.30.0.0/24");
        let web = host.attached("web", "--network front");
        let pid = std::fs::read_to_string(format!("{}/names/lock", host.qiao.run_dir())).unwrap();
        assert_confined(&pid);
        let asks = |name: &str| {
            let seen = host.wire(&host.lan, "eth0");
            web.inside(|| {
                let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.send_to(&qiao_testbed::names::question(1, name, A), (FRONT, 53)).unwrap();
            });
            let first =
                [&[name.find('.').unwrap() as u8], name.split('.').next().unwrap().as_bytes()].concat();
            let frames = seen.until(|frame| qiao_testbed::frame::contains(frame, &first));
            frames.iter().any(|frame| qiao_testbed::frame::contains(frame, &first))
        };
        assert!(asks("first.example"), "it goes to the interface's link");
        // The interface is another one: the uplink is made anew.
        for line in [
            "ip link del up0",
            "ip link add up0 type veth peer name eth0 netns lan",
            "ip link set up0 addrgenmode none up",
            "ip -n lan link set eth0 addrgenmode none up",
            "ip addr add fe80::1/64 dev up0 nodad",
            "ip -n lan addr add fe80::64/64 dev eth0 nodad",
        ] {
            qiao_testbed::run(line);
        }
        std::thread::sleep(Duration::from_millis(3100));
        assert!(asks("second.example"), "and so does it later");
    });
}

/// What a container's own resolver does: by its resolv.conf, which names the gateway and no resolver of the host's.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn containers_ask_their_gateway() {
    on_a_host(|host| {
        front(host, "--ipv6=false");
        host.ok("network create inner --internal --subnet 172.30.3.0/24");
        host.ok("run -d --name db --network front --network-alias database -- sleep 60");
        let line = "run --rm --network inner --network front --dns 192.0.2.100 -- cat /etc/resolv.conf";
        let servers: Vec<String> = host.ok(line).stdout.lines().map(str::to_owned).collect();
        assert_eq!(
            servers[..2],
            ["nameserver 172.30.0.1", "nameserver 172.30.3.1"],
            "who leads nowhere is last"
        );
        assert!(servers.contains(&"options ndots:0".to_owned()), "{servers:?}");
        let asks = "run --rm --network front -- getent hosts database";
        assert!(host.ok(asks).stdout.starts_with("172.30.0.2"));
        // The default network has no names, and its containers the host's resolvers.
        assert!(!host.ok("run --rm -- cat /etc/resolv.conf").stdout.contains("172.17.0.1"));
        host.ok("rm -f db");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_is_asked_and_added_is_shown() {
    on_a_host(|host| {
        front(host, "--ipv6=false");
        assert_eq!(host.qiao.run("dns query web").code, Some(4), "nobody has a name");
        host.refused(4, "dns serve");
        let web = host.attached("web", "--network front");
        assert!(
            host.ok("dns ls")
                .stdout
                .lines()
                .any(|line| line.starts_with("web ") && line.contains("172.30.0.2"))
        );
        let mut log = host.qiao.command();
        let mut log = log.args(["dns", "log"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        host.ok("dns add files.lan A 10.7.7.7");
        host.ok("dns add only.lan A 10.7.7.8 --network other");
        assert_eq!(found(&web, FRONT, "files.lan"), ["10.7.7.7"]);
        assert!(found(&web, FRONT, "only.lan").is_empty());
        assert!(host.ok("dns query files.lan A --from web").stdout.contains("a record that was added"));
        // One value of several, and no other.
        host.ok("dns add files.lan A 10.7.7.9");
        host.ok("dns rm files.lan A 10.7.7.7");
        assert_eq!(found(&web, FRONT, "files.lan"), ["10.7.7.9"]);
        host.refused(4, "dns rm files.lan A 10.7.7.7");
        host.ok("dns rm files.lan");
        assert!(found(&web, FRONT, "files.lan").is_empty());
        host.ok("dns add corp.example --forward 192.0.2.101");
        let seen = host.wire(&host.lan, "eth0");
        web.inside(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(&qiao_testbed::names::question(1, "db.corp.example", A), (FRONT, 53)).unwrap();
        });
        // 192.0.2.101 is nobody: who is looked for is seen.
        let target = [192, 0, 2, 101];
        let frames = seen.until(|frame| qiao_testbed::frame::contains(frame, &target));
        assert!(
            frames.iter().any(|frame| qiao_testbed::frame::contains(frame, &target)),
            "it goes elsewhere"
        );
        // An address is asked for its names.
        assert!(host.ok("dns query 172.30.0.2").stdout.contains("PTR web."));
        let said = |line: &str| host.qiao.run(line).stderr;
        assert!(said("dns serve").contains("a name server runs already, process"));
        assert!(said("dns query web NOTYPE").contains("`NOTYPE` is not a type"));
        assert!(said("dns add x FOO y").contains("`FOO` cannot be added"));
        assert!(said("dns ls --network nosuch").contains("no network `nosuch`"));
        assert!(said("dns add x.lan A 192.0.2.9 --network nosuch").contains("no network `nosuch` yet"));
        for bad in ["dns add a..b A 1.2.3.4", "dns add x A fd00::1", "dns add x TXT", "dns rm nothing.lan"] {
            assert!(matches!(host.qiao.run(bad).code, Some(2 | 4)), "{bad}");
        }
        log.kill().unwrap();
        let text = String::from_utf8(log.wait_with_output().unwrap().stdout).unwrap();
        assert!(text.contains("172.30.0.2 udp files.lan A a record that was added"), "{text}");
    });
}
