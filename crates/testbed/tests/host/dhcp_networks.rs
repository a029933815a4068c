//! Macvlan networks whose addresses a DHCP server of the neighbourhood gives. What is given, renewed and given back is
//! read at the server (dnsmasq).

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{
    Dnsmasq, Outcome, Place, Protocol, Question, Server, Service, ask, attach_line, busy, eventually, run,
};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

const CREATE: &str = "network create lan -d macvlan --ipam-driver dhcp -o parent=up0";
const SOON: Duration = Duration::from_secs(15);
/// A client that hears no answer asks its server and then all of them, and then not for a minute: so many renewals
/// there are only where answers are heard.
const RENEWED: usize = 4;
const LATER: Duration = Duration::from_secs(25);
/// Server 192.0.2.66, mask, and a lease of a minute.
const GOOD: &[u8] = &[54, 4, 192, 0, 2, 66, 1, 4, 255, 255, 255, 0, 51, 4, 0, 0, 0, 60];

/// The process that keeps the engine's leases; none where there is none.
fn keeper() -> Option<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mut numbers = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    numbers.find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("dhcp-daemon\0-engine")
    })
}

fn address(place: &Place) -> String {
    let text = place.stdout("ip -o -4 addr show eth0");
    text.split_whitespace().skip_while(|word| *word != "inet").nth(1).unwrap_or_default().to_owned()
}

/// How often the server has renewed somebody's lease: requests beyond the first.
fn renewed(server: &Dnsmasq, ip: &str) -> usize {
    server.said(&["DHCPACK", ip]).saturating_sub(1)
}

/// A configuration in which servers are not waited for for long.
fn impatient() -> &'static str {
    std::fs::write("/run/qiao.toml", "dhcp-timeout = 5\n").unwrap();
    "--config /run/qiao.toml"
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_lease_is_taken_renewed_and_given_back() {
    on_a_host(|host| {
        let server = Dnsmasq::start(&host.lan);
        let before = host.snapshot();
        host.ok(CREATE);
        let planned = host.ok(&format!("{} --dry-run", attach_line(&host.container("web"), "--network lan")));
        assert!(planned.stdout.contains("address   192.0.2."), "{planned}");
        assert_eq!(server.leases(), [], "a plan takes nothing");
        run("ip netns del web");
        let web = host.attached("web", "--network lan");
        let net = address(&web);
        let ip = net.trim_end_matches("/24").to_owned();
        assert_eq!(server.leases(), [(ip.clone(), "web".to_owned())]);
        assert!(web.stdout("ip route").contains("default via 192.0.2.100 dev eth0"));
        let service = Service::start(&web, Protocol::Tcp, &format!("{ip}:80"));
        assert!(ask(&host.lan, Protocol::Tcp, &format!("{ip}:80")).is_some());
        drop(service);
        let inspected = &host.qiao.json("network inspect lan")["networks"][0];
        assert_eq!(inspected["IPAM"]["Driver"], "dhcp");
        assert_eq!(host.qiao.run("check").code, Some(0));
        assert!(eventually(LATER, || renewed(&server, &ip) >= RENEWED), "it is renewed again and again");
        assert_eq!(server.said(&["DHCPRELEASE", &ip]), 0);
        host.ok("detach web");
        assert!(server.comes_to_say(&["DHCPRELEASE", &ip], 1), "the server is told");
        assert!(eventually(SOON, || server.leases().is_empty()), "{:?}", server.leases());
        web.delete();
        host.ok("network rm lan");
        host.assert_like(&before, "a lease that was given back");
        assert!(eventually(SOON, || keeper().is_none()), "who kept it ends with the last");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_a_server_nothing_is_attached_and_nothing_left() {
    on_a_host(|host| {
        host.ok(CREATE);
        let web = host.container("web");
        let line = format!("{} {}", attach_line(&web, "--network lan"), impatient());
        let refused = host.refused(1, &line);
        for words in ["`web`", "`lan`", "no address by DHCP at `up0`", "no server answered within 5 s"] {
            assert!(refused.stderr.contains(words), "{words}: {refused}");
        }
        let _server = Dnsmasq::start(&host.lan);
        host.ok(&line); // the control
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_makes_no_sense_is_refused() {
    on_a_host(|host| {
        host.refused(2, "network create x --ipam-driver dhcp");
        host.refused(2, "network create x -d routed --ipam-driver dhcp");
        host.refused(2, "network create x -d ipvlan --ipam-driver dhcp -o parent=up0");
        host.refused(2, &format!("{CREATE} --subnet 192.0.2.0/24"));
        host.refused(2, &format!("{CREATE} --ipv6"));
        host.ok(CREATE);
        let web = host.container("web");
        host.refused(2, &attach_line(&web, "--network lan --ip6 fd00::1"));
        host.refused(4, "attach web --netns /nonexistent --network lan");
        assert_eq!(keeper(), None, "nobody was asked");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn who_keeps_leases_is_killed_and_the_next_command_starts_another() {
    on_a_host(|host| {
        let server = Dnsmasq::start(&host.lan);
        host.ok(CREATE);
        let web = host.attached("web", "--network lan");
        let net = address(&web);
        let ip = net.trim_end_matches("/24");
        let first = keeper().expect("somebody keeps it");
        run(&format!("kill -9 {first}"));
        assert!(eventually(SOON, || keeper().is_none()));
        let check = host.qiao.run("check");
        assert!(check.code == Some(11) && check.stdout.contains("kept by nobody"), "{check}");
        std::thread::sleep(Duration::from_millis(500)); // what is on its way arrives
        let (before, discovered) = (renewed(&server, ip), server.said(&["DHCPDISCOVER"]));
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(renewed(&server, ip), before, "the control: nobody renews it");
        host.ok("gc");
        let second = keeper().expect("the next command starts another");
        assert_ne!(first, second);
        assert!(eventually(LATER, || renewed(&server, ip) >= before + RENEWED), "it is renewed again");
        let same = (address(&web), server.said(&["DHCPDISCOVER"]));
        assert_eq!(same, (net.clone(), discovered), "the same lease");
        assert_eq!(host.qiao.run("check").code, Some(0));
        host.ok("detach web");
        assert!(server.comes_to_say(&["DHCPRELEASE", ip], 1), "the server is told");
    });
}

/// What serves all containers must not end with the session or the service of whoever started it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn who_keeps_leases_is_in_nobodys_cgroup() {
    on_a_host(|host| {
        let _server = Dnsmasq::start(&host.lan);
        host.ok(CREATE);
        host.attached("web", "--network lan");
        let cgroup = |pid: &str| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
            text.lines().find(|line| line.starts_with("0::")).unwrap_or_default().to_owned()
        };
        let (own, its) = (cgroup("self"), cgroup(&keeper().unwrap().to_string()));
        assert!(own.contains("qiao-test"), "the control: {own}");
        // Seen from the test's own cgroup namespace the root is `/`, or above it.
        assert!(!its.contains("qiao-test") && its.trim_end_matches(['/', '.']) == "0::", "{its}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_namespace_that_vanished_ends_its_lease() {
    on_a_host(|host| {
        let server = Dnsmasq::start(&host.lan);
        host.ok(CREATE);
        let web = host.attached("web", "--network lan");
        let app = host.attached("app", "--network lan");
        let ip = address(&web).trim_end_matches("/24").to_owned();
        web.delete();
        assert!(eventually(SOON, || server.said(&["DHCPRELEASE", &ip]) == 1), "the server is told");
        let rest = server.leases();
        assert_eq!(rest.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["app"]);
        host.ok("gc");
        assert!(!host.ok("ps").stdout.contains("web"));
        assert!(address(&app).starts_with("192.0.2."));
    });
}

/// A container of the same name comes before anybody noticed that the one before has gone: the lease is its own.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_container_that_comes_back_at_once_keeps_its_lease() {
    on_a_host(|host| {
        let server = Dnsmasq::start(&host.lan);
        host.ok(CREATE);
        let first = address(&host.attached("web", "--network lan"));
        run("ip netns del web");
        let web = host.attached("web", "--network lan");
        assert_eq!(address(&web), first, "the same name, the same hardware address, the same lease");
        let ip = first.trim_end_matches("/24");
        let before = server.said(&["DHCPACK", ip]);
        assert!(eventually(LATER, || server.said(&["DHCPACK", ip]) >= before + RENEWED), "it is renewed");
        assert_eq!(server.leases().len(), 1);
        host.ok("detach web");
        assert!(eventually(SOON, || server.leases().is_empty()), "{:?}", server.leases());
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn twenty_at_once() {
    on_a_host(|host| {
        let server = Dnsmasq::start(&host.lan);
        host.ok(CREATE);
        let places: Vec<Place> = (0..20).map(|n| host.container(&format!("c{n}"))).collect();
        let before = host.snapshot();
        let all = |lines: Vec<String>| {
            let children: Vec<_> = lines
                .iter()
                .map(|line| {
                    let mut command = host.qiao.command();
                    command.args(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
                    command.spawn().expect("start qiao")
                })
                .collect();
            for (child, line) in children.into_iter().zip(lines) {
                let outcome = Outcome::of(child.wait_with_output().expect("an end"));
                assert_eq!(outcome.code, Some(0), "`qiao {line}`: {outcome}");
            }
        };
        all(places.iter().map(|place| attach_line(place, "--network lan")).collect());
        let had: BTreeSet<String> = places.iter().map(address).collect();
        let given: BTreeSet<String> = server.leases().into_iter().map(|(ip, _)| format!("{ip}/24")).collect();
        assert_eq!((had.len(), &had), (20, &given));
        all(places.iter().map(|place| format!("detach {}", place.name())).collect());
        assert!(eventually(SOON, || server.leases().is_empty()), "{:?}", server.leases());
        host.assert_like(&before, "twenty came and went");
    });
}

/// Garbage, options beyond the end, offers that no host can use: none of it harms, and an honest server is heard.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_hostile_server_alone_and_beside_an_honest_one() {
    on_a_host(|host| {
        host.ok(CREATE);
        let web = host.container("web");
        let line = format!("{} {}", attach_line(&web, "--network lan"), impatient());
        let rogue = Server::start(&host.lan, garbage);
        let refused = host.refused(1, &line);
        assert!(refused.stderr.contains("cannot be used"), "{refused}");
        drop(rogue);
        let _both = Server::start(&host.lan, |question| {
            let good = match question.kind {
                1 => question.answer(2, [192, 0, 2, 78], GOOD),
                _ => question.answer(5, [192, 0, 2, 78], GOOD),
            };
            [garbage(question), vec![good], garbage(question)].concat()
        });
        host.ok(&line);
        assert_eq!(address(&web), "192.0.2.78/24");
    });
}

/// Answers that no client may take, a hundred of them.
fn garbage(question: &Question) -> Vec<Vec<u8>> {
    let mut answers = vec![vec![0xff; 1400], question.message.clone(), question.message[..100].to_vec()];
    let beyond = [&GOOD[..12], &[51, 200, 1]].concat();
    answers.push(question.answer(2, [192, 0, 2, 78], &beyond));
    for ip in [[0; 4], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4], [192, 0, 2, 255]] {
        answers.extend([question.answer(2, ip, GOOD), question.answer(5, ip, GOOD)]);
    }
    let mask = [&GOOD[..6], &[1, 4, 1, 2, 3, 4, 51, 4, 0, 0, 0, 60]].concat();
    answers.push(question.answer(2, [192, 0, 2, 78], &mask));
    let rogue = [&[54, 4, 192, 0, 2, 67], &GOOD[6..]].concat();
    answers.push(question.answer(6, [0; 4], &rogue));
    std::iter::repeat_n(answers, 7).flatten().collect()
}

/// A lease that nobody renews must not be used any more (RFC 2131 section 4.4.5); when the server is back and gives
/// the same address, the container has it again.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_lease_that_is_over_is_not_used_and_comes_back() {
    on_a_host(|host| {
        host.ok(CREATE);
        let short = [54, 4, 192, 0, 2, 66, 1, 4, 255, 255, 255, 0, 3, 4, 192, 0, 2, 100, 51, 4, 0, 0, 0, 6];
        let serve = move || {
            Server::start(&host.lan, move |question| {
                let kind = match question.kind {
                    1 => 2,
                    3 => 5,
                    _ => return Vec::new(),
                };
                vec![question.answer(kind, [192, 0, 2, 77], &short)]
            })
        };
        let server = serve();
        let web = host.attached("web", "--network lan");
        assert_eq!(address(&web), "192.0.2.77/24");
        std::thread::sleep(Duration::from_secs(7));
        assert_eq!(address(&web), "192.0.2.77/24", "the control: it is renewed");
        let ways = || web.stdout("ip -4 route");
        let before = ways();
        assert!(before.contains("default via 192.0.2.100"), "{before}");
        drop(server);
        assert!(eventually(SOON, || address(&web).is_empty()), "it is taken away");
        assert_eq!(host.qiao.run("check").code, Some(11));
        let _server = serve();
        assert!(eventually(SOON, || address(&web) == "192.0.2.77/24"), "it comes back");
        assert!(eventually(SOON, || ways() == before), "and what leads over it: {before}{}", ways());
        assert_eq!(host.qiao.run("check").code, Some(0));
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_that_is_wished_for_and_one_that_is_the_hosts() {
    on_a_host(|host| {
        let server = Dnsmasq::start(&host.lan);
        host.ok(CREATE);
        let web = host.attached("web", "--network lan --ip 192.0.2.160 --mac-address 02:00:00:00:00:77");
        assert_eq!(address(&web), "192.0.2.160/24");
        assert!(server.said(&["DHCPACK", "192.0.2.160", "02:00:00:00:00:77"]) >= 1);
        let app = host.container("app");
        let taken = host.qiao.run(&attach_line(&app, "--network lan --ip 192.0.2.160"));
        assert!(taken.code == Some(1) && taken.stderr.contains("not 192.0.2.160"), "{taken}");
        assert!(eventually(SOON, || server.leases().len() == 1), "what it gave instead is given back");
        drop(server);
        let _rogue = Server::start(&host.lan, |question| {
            let kind = if question.kind == 1 { 2 } else { 5 };
            vec![question.answer(kind, [192, 0, 2, 1], GOOD)]
        });
        let refused = host.qiao.run(&attach_line(&app, "--network lan"));
        assert!(
            refused.code == Some(5) && refused.stderr.contains("192.0.2.1, which the host has"),
            "{refused}"
        );
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn run_takes_the_servers_resolvers() {
    on_a_host(|host| {
        let server = Dnsmasq::start(&host.lan);
        host.ok(CREATE);
        let said = host.ok("run --rm --name web --network lan -- cat /etc/resolv.conf");
        assert_eq!(said.stdout, "nameserver 192.0.2.53\nsearch example.test\n");
        assert!(eventually(SOON, || server.leases().is_empty()), "it went with the container");
    });
}

/// Whoever keeps leases is killed again and again while containers come: whoever asks starts another, which knows what
/// the one before had.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn killed_while_containers_come() {
    on_a_host(|host| {
        let server = Dnsmasq::start(&host.lan);
        host.ok(CREATE);
        let places: Vec<Place> = (0..8).map(|n| host.container(&format!("c{n}"))).collect();
        let before = host.snapshot();
        let (mut killed, mut children) = (0, Vec::new());
        for place in &places {
            let mut command = host.qiao.command();
            command.args(attach_line(place, "--network lan").split_whitespace());
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start qiao");
            children.push(child);
            std::thread::sleep(Duration::from_millis(40));
            let mut found = None;
            eventually(Duration::from_millis(150), || {
                found = keeper();
                found.is_some()
            });
            // One of two that were started at once may have ended by itself.
            let kill = |pid: u32| Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
            killed += usize::from(found.is_some_and(|pid| kill(pid).success()));
        }
        for child in children {
            let outcome = Outcome::of(child.wait_with_output().expect("an end"));
            assert_eq!(outcome.code, Some(0), "{outcome}");
        }
        assert!(killed > 3, "the control: {killed}");
        let had: BTreeSet<String> = places.iter().map(address).collect();
        let given: BTreeSet<String> = server.leases().into_iter().map(|(ip, _)| format!("{ip}/24")).collect();
        assert_eq!((had.len(), had.difference(&given).count()), (8, 0), "{had:?} {given:?}");
        host.ok("gc");
        let ip = address(&places[0]);
        let renewed = || server.said(&["DHCPACK", ip.trim_end_matches("/24")]);
        let seen = renewed();
        assert!(eventually(SOON, || renewed() > seen), "they are renewed");
        places.iter().for_each(|place| drop(host.ok(&format!("detach {}", place.name()))));
        host.assert_like(&before, "eight came and went");
    });
}

/// One that is stopped keeps nobody waiting for long, and nobody from leaving.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn stopped_it_keeps_nobody_from_leaving() {
    on_a_host(|host| {
        let server = Dnsmasq::start(&host.lan);
        host.ok(CREATE);
        let web = host.attached("web", "--network lan");
        let pid = keeper().expect("somebody keeps it");
        run(&format!("kill -STOP {pid}"));
        let begun = std::time::Instant::now();
        let left = host.ok("detach web");
        assert!(left.stderr.contains("does not answer"), "{left}");
        assert!(begun.elapsed() < Duration::from_secs(9).mul_f64(busy()), "{:?}", begun.elapsed());
        assert_eq!(web.stdout("ip -o link").lines().count(), 1, "only the loopback interface");
        let refused = host.qiao.run(&format!("{} {}", attach_line(&web, "--network lan"), impatient()));
        assert!(refused.code == Some(1) && refused.stderr.contains("does not answer"), "{refused}");
        run(&format!("kill -CONT {pid}"));
        assert!(
            eventually(SOON, || server.leases().is_empty()),
            "what was asked is done: {:?}",
            server.leases()
        );
    });
}

/// Whoever has a lease keeps it, also when there is no room to write down that it was renewed: the record of before
/// tells the next keeper the same.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_full_disk_ends_no_lease() {
    on_a_host(|host| {
        let records = format!("{}/dhcp", host.qiao.run_dir());
        run(&format!("mkdir -p -m 700 {}", host.qiao.run_dir()));
        run(&format!("mkdir -m 700 {records}"));
        run(&format!("mount -t tmpfs -o size=64k,mode=700 tmpfs {records}"));
        let server = Dnsmasq::start(&host.lan);
        host.ok(CREATE);
        let web = host.attached("web", "--network lan");
        let net = address(&web);
        let ip = net.trim_end_matches("/24");
        let full = std::fs::write(format!("{records}/full"), [0; 1 << 17]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        let before = renewed(&server, ip);
        assert!(eventually(LATER, || renewed(&server, ip) >= before + RENEWED), "it is renewed");
        assert_eq!((address(&web), server.said(&["DHCPRELEASE"])), (net.clone(), 0));
        host.ok("detach web");
        assert!(server.comes_to_say(&["DHCPRELEASE", ip], 1), "the server is told");
    });
}
