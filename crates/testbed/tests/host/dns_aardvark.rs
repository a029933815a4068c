//! `aardvark-dns` as Podman's network backend starts it.

use qiao_testbed::names::{lookup, question};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, eventually, run, stdout};
use std::fs;
use std::net::UdpSocket;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const A: u16 = 1;
const DIR: &str = "/run/aardvark-dns";

/// A bridge with two containers, made by hand.
fn bridge() -> [Place; 2] {
    fs::create_dir_all(DIR).unwrap();
    run("ip link add podman1 type bridge");
    run("ip addr add 10.89.0.1/24 dev podman1");
    run("ip link set podman1 up");
    [2, 3].map(|number| {
        let place = Place::new(&format!("c{number}"));
        run(&format!("ip link add v{number} type veth peer name eth0 netns c{number}"));
        run(&format!("ip link set v{number} master podman1 up"));
        place.run("ip link set lo up");
        place.run("ip link set eth0 up");
        place.run(&format!("ip addr add 10.89.0.{number}/24 dev eth0"));
        place
    })
}

fn start(host: &Host, options: &[&str]) -> Output {
    let program = host.qiao.command().get_program().to_owned();
    let mut command = Command::new(program);
    command.arg0("/usr/lib/podman/aardvark-dns").args(["--config", DIR, "-p", "53"]).args(options);
    command.output().unwrap()
}

fn write(text: &str) {
    fs::write(format!("{DIR}/front"), text).unwrap();
}

fn pid() -> String {
    fs::read_to_string(format!("{DIR}/aardvark.pid")).unwrap()
}

fn address(place: &Place, name: &str) -> Option<String> {
    lookup(place, "10.89.0.1", (name, A))?.addresses.first().map(ToString::to_string)
}

const TWO: &str = "10.89.0.1 192.0.2.100\naaaa 10.89.0.2  web,aaaa\nbbbb 10.89.0.3  db,bbbb\n";

#[test]
#[ignore = "needs root: cargo xtask test"]
fn it_starts_reads_again_and_ends() {
    on_a_host(|host| {
        let [web, db] = bridge();
        write(TWO);
        let started = start(host, &["run"]);
        assert!(
            started.status.success() && started.stdout.is_empty() && started.stderr.is_empty(),
            "{started:?}"
        );
        assert_eq!(address(&web, "db").as_deref(), Some("10.89.0.3"), "bound when it returned");
        assert_eq!(address(&web, "DB.dns.podman").as_deref(), Some("10.89.0.3"));
        crate::dns_names::assert_confined(&pid());
        let is_in_root =
            |of: &str| fs::read_to_string(format!("/proc/{of}/cgroup")).unwrap().contains("0::/\n");
        assert!(!is_in_root("self"), "whoever ends our cgroup would not end it anyway");
        assert!(eventually(Duration::from_secs(2), || is_in_root(&pid())), "in the cgroup of who started it");
        assert!(pid().bytes().all(|byte| byte.is_ascii_digit()), "no line's end");
        let process = stdout(&format!("ps -o ppid=,sid=,args= -p {}", pid()));
        let words: Vec<_> = process.split_whitespace().collect();
        assert_eq!((words[0], words[1]), ("1", &*pid()), "nobody's child, a session of its own");
        assert_eq!(words[2..], ["/usr/lib/podman/aardvark-dns", "--config", DIR, "-p", "53", "run"]);
        let twice = start(host, &["run"]);
        assert_eq!(twice.status.code(), Some(1));
        let said = String::from_utf8_lossy(&twice.stderr);
        assert!(
            said.contains("10.89.0.1:53") && said.contains(&format!("(process {}) has", pid())),
            "{twice:?}"
        );
        // Another gateway comes, a container goes.
        run("ip addr add 10.89.1.1/24 dev podman1");
        write("10.89.0.1 192.0.2.100\naaaa 10.89.0.2  web,aaaa\n");
        fs::write(format!("{DIR}/back%int"), "10.89.1.1\naaaa 10.89.1.2  web2\n").unwrap();
        run(&format!("kill -HUP {}", pid()));
        assert!(eventually(Duration::from_secs(10), || address(&web, "db").is_none()));
        assert_eq!(address(&web, "web").as_deref(), Some("10.89.0.2"));
        assert_eq!(address(&web, "web2").as_deref(), Some("10.89.1.2"), "it is in both networks");
        assert!(lookup(&db, "10.89.0.1", ("web", A)).is_none(), "it is in none any more");
        let last = pid();
        fs::remove_file(format!("{DIR}/front")).unwrap();
        fs::remove_file(format!("{DIR}/back%int")).unwrap();
        run(&format!("kill -HUP {last}"));
        // Nobody buries it here.
        let ended = || fs::read_to_string(format!("/proc/{last}/cmdline")).is_ok_and(|line| line.is_empty());
        let over = || ended() && !fs::exists(format!("{DIR}/aardvark.pid")).unwrap();
        assert!(eventually(Duration::from_secs(10), over), "it ends with the last network");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn reading_again_loses_no_question() {
    on_a_host(|host| {
        let [web, _] = bridge();
        let many: String =
            (0..1000).map(|n| format!("id{n:04} 10.89.{}.{}  n{n}\n", 1 + n / 250, n % 250)).collect();
        write(&format!("{TWO}{many}"));
        assert!(start(host, &["run"]).status.success());
        let server = pid();
        let (mut asked, mut answered) = (0, 0);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..200 {
                    write(&format!("{TWO}{many}x{number} 10.89.9.9  x{number}\n"));
                    run(&format!("kill -HUP {server}"));
                    std::thread::sleep(Duration::from_millis(8));
                }
            });
            web.inside(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.connect("10.89.0.1:53").unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                while begun.elapsed() < Duration::from_millis(2200) {
                    // Several at once, as parallel clients ask.
                    (0..16).for_each(|id| drop(socket.send(&question(id, "db", A))));
                    asked += 16;
                    answered += (0..16)
                        .filter(|_| matches!(socket.recv(&mut [0; 512]), Ok(length) if length > 20))
                        .count();
                }
            });
        });
        println!("{asked} asked, {answered} answered");
        assert!(asked > 300 && answered == asked, "{answered} of {asked}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn it_says_what_it_is() {
    on_a_host(|host| {
        let said = |options: &[&str]| String::from_utf8(start(host, options).stdout).unwrap();
        assert_eq!(said(&["--version"]), "aardvark-dns 2.0.0\n");
        assert!(said(&["version"]).contains("\"version\": \"2.0.0\""));
        fs::create_dir_all(DIR).unwrap();
        assert!(start(host, &["run"]).status.success(), "nothing to serve is no error");
        assert!(!fs::exists(format!("{DIR}/aardvark.pid")).unwrap());
        assert_eq!(start(host, &["walk"]).status.code(), Some(2));
    });
}

/// Tells a server to read its files again, as our netavark does it: one that has taken its file away puts it back, or
/// it has ended.
fn told(pid: &str) -> bool {
    let told = Command::new("kill").args(["-HUP", pid]).status().unwrap().success();
    let is_there = || fs::exists(format!("{DIR}/aardvark.pid")).unwrap();
    let ended = || fs::read_to_string(format!("/proc/{pid}/cmdline")).map_or(true, |line| line.is_empty());
    told && eventually(Duration::from_secs(10), || is_there() || ended()) && is_there()
}

/// Podman may attach the next container while the server ends with the last one.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn whoever_comes_as_it_ends_is_served() {
    on_a_host(|host| {
        let [web, _] = bridge();
        for round in 0..25u64 {
            write(TWO);
            match fs::read_to_string(format!("{DIR}/aardvark.pid")) {
                Ok(pid) if told(&pid) => {}
                _ => assert!(start(host, &["run"]).status.success(), "round {round}"),
            }
            let known = || address(&web, "db").as_deref() == Some("10.89.0.3");
            assert!(eventually(Duration::from_secs(10), known), "round {round}");
            fs::remove_file(format!("{DIR}/front")).unwrap();
            run(&format!("kill -HUP {}", pid()));
            std::thread::sleep(Duration::from_millis(round * 3));
        }
    });
}
