//! What clients and upstreams may do, and nobody else notices (R-DNS 16 and 17).

use crate::dns_names::{A, FRONT, found, front};
use qiao_testbed::names::{lookup, question};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, busy};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn connect() -> TcpStream {
    TcpStream::connect((FRONT.parse::<IpAddr>().unwrap(), 53)).unwrap()
}

/// The times that another client's questions took.
fn times(place: &Place, count: usize) -> Vec<Duration> {
    place.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket.connect((FRONT, 53)).unwrap();
        let mut times: Vec<_> = (0..count)
            .map(|number| {
                let begun = Instant::now();
                socket.send(&question(number as u16, "web", A)).unwrap();
                socket.recv(&mut [0; 512]).expect("an answer");
                std::thread::sleep(Duration::from_millis(2));
                begun.elapsed().saturating_sub(Duration::from_millis(2))
            })
            .collect();
        times.sort();
        times
    })
}

/// Processor time of the name server.
fn cpu() -> Duration {
    let line = qiao_testbed::stdout("ps -eo pid,args");
    let line = line.lines().find(|line| line.contains("name-server")).expect("a server");
    let pid = line.split_whitespace().next().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn nothing_that_a_client_does_holds_up_another() {
    on_a_host(|host| {
        front(host, "");
        let web = host.attached("web", "--network front");
        let bad = host.attached("bad", "--network front");
        let stop = AtomicBool::new(false);
        let quiet = times(&web, 500)[495];
        std::thread::scope(|scope| {
            scope.spawn(|| bad.inside(|| misbehave(&stop)));
            std::thread::sleep(Duration::from_millis(300));
            // Other programs of the machine may take the processor for longer than that: not each time, and also
            // when all is quiet.
            let mut best = Duration::MAX;
            for _ in 0..4 {
                let times = times(&web, 500);
                println!("median {:?}, p99 {:?}, server {:?}", times[250], times[495], cpu());
                best = best.min(times[495]);
            }
            stop.store(true, Ordering::Relaxed);
            println!("when all is quiet {quiet:?}");
            assert!(best < Duration::from_millis(20).mul_f64(busy()).max(2 * quiet), "{best:?}");
        });
    });
}

/// As many questions as a container can send, whose answers it does not read.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_flood_of_questions_holds_up_nobody() {
    on_a_host(|host| {
        front(host, "");
        let web = host.attached("web", "--network front");
        let bad = host.attached("bad", "--network front");
        // What the flood does to the machine, and what it does to the server: the first goes to nobody.
        let quiet = best_while_flooded(&web, (&bad, 9));
        let flooded = best_while_flooded(&web, (&bad, 53));
        println!("median {flooded:?}, when nobody gets the flood {quiet:?}");
        assert!(
            flooded < Duration::from_millis(5).mul_f64(busy()).max(2 * quiet),
            "{flooded:?}, else {quiet:?}"
        );
    });
}

/// The shortest of some medians while another container sends all that it can to a port of the gateway.
fn best_while_flooded(web: &Place, (bad, port): (&Place, u16)) -> Duration {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            bad.inside(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.connect((FRONT, port)).unwrap();
                let (message, many) = (question(7, "web", A), 0..1000);
                while !stop.load(Ordering::Relaxed) {
                    many.clone().for_each(|_| drop(socket.send(&message)));
                }
            });
        });
        let _ended = Ended(&stop);
        std::thread::sleep(Duration::from_millis(300));
        (0..4).map(|_| times(web, 200)[100]).min().unwrap_or_default() // which fails if an answer is lost
    })
}

/// Whatever comes of a test, the others stop.
struct Ended<'s>(&'s AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// 200 idle connections, one that sends a byte now and then, torn ones, 65,535 octets at once, garbage.
fn misbehave(stop: &AtomicBool) {
    let _idle: Vec<TcpStream> = (0..200).map(|_| connect()).collect();
    let mut slow = connect();
    let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
    let mut garbage = [0x5a; 700];
    for round in 0u32.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let _ = slow.write(&[0]);
        let mut large = connect();
        let _ = large.write_all(&[0xff; 65537]);
        let mut torn = connect();
        let _ = torn.write_all(&question(1, "web", A)[..5]);
        garbage[(round % 700) as usize] ^= round as u8;
        for length in [0, 1, 11, 12, 13, 100, 700] {
            let _ = udp.send_to(&garbage[..length], (FRONT, 53));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn idle_and_slow_clients_cost_nothing_and_are_sent_away() {
    on_a_host(|host| {
        front(host, "");
        let web = host.attached("web", "--network front");
        web.inside(|| {
            let mut idle: Vec<TcpStream> = (0..60).map(|_| connect()).collect();
            std::thread::sleep(Duration::from_millis(200));
            let before = cpu();
            for _ in 0..22 {
                let _ = idle[0].write(&[0]); // a question of zeros, an octet at a time
                std::thread::sleep(Duration::from_millis(500));
            }
            let used = cpu() - before;
            assert!(used < Duration::from_millis(220), "2 % of 11 s: {used:?}");
            for stream in &mut idle {
                stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
                let end = stream.read(&mut [0; 8]);
                assert!(
                    matches!(end, Ok(0)) || end.is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock)
                );
            }
        });
        assert_eq!(found(&web, FRONT, "web"), ["172.30.0.2"]);
    });
}

/// Somebody outside who answers, and remembers what he was asked.
struct Upstream {
    seen: Arc<Mutex<Vec<Asked>>>,
}

/// A question, and where it came from.
type Asked = (SocketAddr, Vec<u8>);

/// What a question and its number make somebody say: from the port that was asked, or from another.
type Answers = fn(&[u8], usize) -> Vec<(bool, Vec<u8>)>;

impl Upstream {
    /// What `answers` makes of a question and its number is sent from the port that it says.
    fn start(host: &Host, answers: Answers) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (own, other) = host.lan.inside(|| {
            (UdpSocket::bind("192.0.2.100:53").unwrap(), UdpSocket::bind("192.0.2.100:5353").unwrap())
        });
        let told = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = own.recv_from(&mut buffer) {
                let number = {
                    let mut seen = told.lock().unwrap();
                    seen.push((from, buffer[..length].to_vec()));
                    seen.len()
                };
                std::thread::sleep(Duration::from_millis(100));
                for (right, answer) in answers(&buffer[..length], number) {
                    let socket = if right { &own } else { &other };
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { seen }
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// The question without what is behind it.
fn asked(message: &[u8]) -> Vec<u8> {
    let end = 12 + message[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    message[..end].to_vec()
}

/// An answer with an address and a time to live in seconds; `more` stands behind it, in the additional section.
fn reply(message: &[u8], (ip, ttl): ([u8; 4], u8), more: &[u8]) -> Vec<u8> {
    let mut answer = asked(message);
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    answer[6..12].copy_from_slice(&[0, 1, 0, 0, 0, u8::from(!more.is_empty())]);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, ttl, 0, 4]);
    answer.extend(ip);
    answer.extend(more);
    answer
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn equal_questions_are_asked_once_and_answers_remembered() {
    on_a_host(|host| {
        let upstream = Upstream::start(host, |message, number| {
            vec![(true, reply(message, ([9, 9, 9, number as u8], 4), &[]))]
        });
        front(host, "");
        let web = host.attached("web", "--network front");
        std::thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| assert_eq!(found(&web, FRONT, "example.org"), ["9.9.9.1"]));
            }
        });
        assert_eq!(upstream.count(), 1);
        assert_eq!(found(&web, FRONT, "Example.ORG"), ["9.9.9.1"], "remembered");
        std::thread::sleep(Duration::from_millis(4100));
        assert_eq!(found(&web, FRONT, "example.org"), ["9.9.9.2"], "for as long as it said");
        for number in 0..20 {
            found(&web, FRONT, &format!("n{number}.example.org"));
        }
        let seen = upstream.seen.lock().unwrap();
        let ids: BTreeSet<_> = seen.iter().map(|(_, message)| message[..2].to_vec()).collect();
        let ports: BTreeSet<_> = seen.iter().map(|(from, _)| from.port()).collect();
        assert!(ids.len() > 20 && ports.len() > 15, "{} numbers, {} ports", ids.len(), ports.len());
        let step = |list: Vec<u16>| list.windows(2).filter(|pair| pair[1].wrapping_sub(pair[0]) < 3).count();
        assert!(step(seen.iter().map(|(from, _)| from.port()).collect()) < 5, "the next port can be told");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn only_the_answer_is_believed() {
    on_a_host(|host| {
        Upstream::start(host, |message, _| {
            let evil = |change: fn(&mut Vec<u8>)| {
                let mut answer = reply(message, ([6, 6, 6, 6], 60), &[]);
                change(&mut answer);
                answer
            };
            // victim.example A 6.6.6.6, for who believes what he did not ask.
            let more = b"\x06victim\x07example\0\0\x01\0\x01\0\0\0\x3c\0\x04\x06\x06\x06\x06";
            vec![
                (true, evil(|answer| answer[1] ^= 1)),  // another number
                (true, evil(|answer| answer[13] ^= 1)), // another question
                (true, evil(|answer| answer[2] = 1)),   // a question
                (true, b"\x5a".to_vec()),
                (false, evil(|_| {})), // from another port
                (true, reply(message, ([9, 9, 9, 9], 60), more)),
            ]
        });
        front(host, "");
        let web = host.attached("web", "--network front");
        let first = lookup(&web, FRONT, ("good.example", A)).unwrap();
        assert_eq!(first.addresses, [IpAddr::from([9, 9, 9, 9])]);
        assert!(!first.bytes.windows(6).any(|text| text == b"victim"), "what was not asked is not passed on");
        assert_eq!(found(&web, FRONT, "victim.example"), ["9.9.9.9"], "nor remembered");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn large_answers_are_for_those_who_ask_by_tcp() {
    on_a_host(|host| {
        front(host, "");
        let web = host.attached("web", "--network front --alias pool");
        let others: Vec<Place> =
            (0..40).map(|n| host.attached(&format!("c{n}"), "--network front --alias pool")).collect();
        let size = question(1, "pool", A).len();
        let short = lookup(&web, FRONT, ("pool", A)).unwrap();
        assert!(short.truncated && short.bytes.len() <= 10 * size, "{} of {size}", short.bytes.len());
        assert!(!short.addresses.is_empty(), "what fits is there");
        let whole = qiao_testbed::names::lookup_tcp(&web, FRONT, ("pool", A)).unwrap();
        assert_eq!(whole.addresses.len(), 41);
        drop(others);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_dead_upstream_is_remembered() {
    on_a_host(|host| {
        Upstream::start(host, |message, _| vec![(true, reply(message, ([9, 9, 9, 9], 0), &[]))]);
        // 192.0.2.101 is nobody: questions to it are lost.
        front(host, "--dns 192.0.2.101,192.0.2.100");
        let web = host.attached("web", "--network front");
        let time = |name| {
            let begun = Instant::now();
            let _ = lookup(&web, FRONT, (name, A));
            begun.elapsed()
        };
        let first = time("a.example");
        std::thread::sleep(Duration::from_millis(1500));
        let second = time("b.example");
        assert!(first > Duration::from_millis(800), "{first:?}: it was asked first");
        assert!(second < Duration::from_millis(750).mul_f64(busy()), "{second:?}: now the other one is");
    });
}

/// What an upstream says by TCP, and how often it was asked.
fn by_tcp(host: &Host, answer: fn(&[u8]) -> Vec<u8>) -> Arc<AtomicUsize> {
    let listener = host.lan.inside(|| TcpListener::bind("192.0.2.100:53").unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut buffer = [0; 1500];
            let Ok(length) = stream.read(&mut buffer) else { continue };
            if length < 14 {
                continue;
            }
            told.fetch_add(1, Ordering::Relaxed);
            let answer = answer(&buffer[2..length]);
            let _ = stream.write_all(&[&(answer.len() as u16).to_be_bytes(), &*answer].concat());
        }
    });
    count
}

fn cut(message: &[u8]) -> Vec<u8> {
    let mut answer = asked(message);
    answer[2..4].copy_from_slice(&[0x83, 0x80]);
    answer[6..12].fill(0);
    answer
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_upstream_that_always_cuts_its_answers_is_not_asked_for_ever() {
    on_a_host(|host| {
        let upstream = Upstream::start(host, |message, _| vec![(true, cut(message))]);
        let count = by_tcp(host, cut);
        front(host, "");
        let web = host.attached("web", "--network front");
        assert_eq!(lookup(&web, FRONT, ("cut.example", A)).expect("an answer").code, 2);
        let count = count.load(Ordering::Relaxed);
        assert!(upstream.count() <= 2 && (1..=2).contains(&count), "{} and {count} times", upstream.count());
    });
}

/// Who sends from the upstream's address one number after the other is not heard for long: TCP cannot be guessed.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn who_guesses_numbers_is_not_believed_when_he_is_right() {
    on_a_host(|host| {
        Upstream::start(host, |message, _| {
            let right = reply(message, ([6, 6, 6, 6], 60), &[]);
            let guess = |n: u8| {
                let mut guess = right.clone();
                guess[1] ^= n;
                (true, guess)
            };
            (1..=40).chain([0]).map(guess).collect()
        });
        by_tcp(host, |message| reply(message, ([9, 9, 9, 9], 60), &[]));
        front(host, "");
        let web = host.attached("web", "--network front");
        assert_eq!(found(&web, FRONT, "bank.example"), ["9.9.9.9"]);
    });
}

/// Some containers ask as much as they may of upstreams that are silent: others are still answered.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn who_makes_us_ask_most_makes_room() {
    on_a_host(|host| {
        let own = host.lan.inside(|| UdpSocket::bind("192.0.2.100:53").unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = own.recv_from(&mut buffer) {
                if buffer[12..length].starts_with(b"\x04good") {
                    let _ = own.send_to(&reply(&buffer[..length], ([9, 9, 9, 9], 0), &[]), from);
                }
            }
        });
        front(host, "");
        let web = host.attached("web", "--network front");
        let bad: Vec<Place> = (0..6).map(|n| host.attached(&format!("bad{n}"), "--network front")).collect();
        for (at, place) in bad.iter().enumerate() {
            place.inside(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                for id in 0..200u16 {
                    socket.send_to(&question(id, &format!("n{id}.bad{at}"), A), (FRONT, 53)).unwrap();
                }
            });
        }
        for number in 0..5 {
            assert_eq!(found(&web, FRONT, &format!("good.n{number}.example")), ["9.9.9.9"]);
        }
        let refused = bad[0].inside(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            (0..200).for_each(|id| {
                drop(socket.send_to(&question(id, &format!("m{id}.bad"), A), (FRONT, 53)));
            });
            let mut buffer = [0; 512];
            (0..200).any(|_| socket.recv(&mut buffer).is_ok_and(|_| buffer[3] & 15 == 5))
        });
        assert!(refused, "those who ask too much are refused: the room was used up");
    });
}

/// RFC 9520: that nobody could say anything is remembered for a moment.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn failures_are_remembered_for_a_moment() {
    on_a_host(|host| {
        let upstream = Upstream::start(host, |message, _| {
            let mut answer = cut(message);
            answer[2..4].copy_from_slice(&[0x81, 0x82]);
            vec![(true, answer)]
        });
        front(host, "");
        let web = host.attached("web", "--network front");
        for _ in 0..5 {
            assert_eq!(lookup(&web, FRONT, ("bad.example", A)).unwrap().code, 2);
        }
        assert_eq!(upstream.count(), 1);
        std::thread::sleep(Duration::from_millis(1100));
        assert_eq!(lookup(&web, FRONT, ("bad.example", A)).unwrap().code, 2);
        assert_eq!(upstream.count(), 2, "not for longer");
    });
}

/// R-DNS 17: whatever is written down, the server does not ask itself.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_server_never_asks_itself() {
    on_a_host(|host| {
        let upstream =
            Upstream::start(host, |message, _| vec![(true, reply(message, ([9, 9, 9, 9], 0), &[]))]);
        host.ok("network create back --subnet 172.30.1.0/24");
        host.attached("db", "--network back");
        let own = "172.30.0.1,172.30.1.1,::ffff:172.30.0.1";
        front(host, &format!("--dns {own}"));
        let web = host.attached("web", "--network front");
        let begun = Instant::now();
        assert_eq!(lookup(&web, FRONT, ("example.org", A)).expect("an answer").code, 2);
        assert!(
            begun.elapsed() < Duration::from_millis(700).mul_f64(busy()),
            "{:?}: it is not waited for",
            begun.elapsed()
        );
        assert_eq!(upstream.count(), 0);
        host.ok("detach web");
        host.ok("network rm front");
        front(host, &format!("--dns {own},192.0.2.100"));
        host.attach(&web, "--network front");
        assert_eq!(found(&web, FRONT, "example.org"), ["9.9.9.9"], "the others are asked");
    });
}

/// R-DNS 17: the host's resolvers are others from one moment to the next. The server that follows is confined.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_hosts_resolvers_are_followed() {
    on_a_host(|host| {
        let upstream =
            Upstream::start(host, |message, _| vec![(true, reply(message, ([9, 9, 9, 9], 0), &[]))]);
        for dir in ["/run/etc", "/run/systemd/resolve"] {
            std::fs::create_dir_all(dir).unwrap();
        }
        let write = |path: &str, ip: &str| std::fs::write(path, format!("nameserver {ip}\n")).unwrap();
        write("/run/etc/resolv.conf", "192.0.2.101"); // nobody
        qiao_testbed::run("mount --bind /run/etc /etc");
        host.ok("network create front --subnet 172.30.0.0/24");
        let web = host.attached("web", "--network front");
        let asks = |name: &str| lookup(&web, FRONT, (name, A)).is_some_and(|reply| reply.code == 0);
        assert!(!asks("before.example") && upstream.count() == 0, "the control");
        write("/etc/new", "192.0.2.100");
        std::fs::rename("/etc/new", "/etc/resolv.conf").unwrap();
        assert!(asks("renamed.example"));
        write("/etc/resolv.conf", "192.0.2.101");
        assert!(!asks("written.example"));
        write("/run/systemd/resolve/resolv.conf", "192.0.2.100");
        std::os::unix::fs::symlink("/run/systemd/resolve/resolv.conf", "/etc/link").unwrap();
        std::fs::rename("/etc/link", "/etc/resolv.conf").unwrap();
        assert!(asks("linked.example"), "systemd looks after it from now on");
        write("/run/systemd/resolve/resolv.conf", "192.0.2.101");
        assert!(!asks("within.example"));
        let begun = Instant::now();
        std::fs::remove_file("/etc/resolv.conf").unwrap();
        assert!(
            !asks("gone.example") && begun.elapsed() < Duration::from_millis(700).mul_f64(busy()),
            "there is nobody to ask"
        );
    });
}
