//! The links of an engine, served by a thread: a name is there when its link is.

use qiao_dns::source::links::Links;
use qiao_dns::{Options, Server};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// An engine's directory, and the port that its names are asked at.
struct Engine {
    dir: PathBuf,
    port: u16,
}

impl Engine {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("qiao-links-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("names")).unwrap();
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { dir, port }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join("names").join(name)
    }

    fn put(&self, name: &str) {
        let line = format!("front 127.0.0.1/8 - 10.0.0.9 {name} - -");
        // As the engine does: a server that ends takes the empty directory along.
        while symlink(&line, self.path(&format!("{name}@eth0"))).is_err() {
            fs::create_dir_all(self.path("")).unwrap();
        }
    }

    fn take(&self, name: &str) {
        fs::remove_file(self.path(&format!("{name}@eth0"))).unwrap();
    }

    fn serve(&self) -> JoinHandle<()> {
        let (dir, port) = (self.dir.to_str().unwrap().to_owned(), self.port);
        std::thread::spawn(move || {
            let Some(links) = Links::open(&dir, &dir).unwrap() else { return };
            let resolv = "/dev/null".to_owned();
            let options = Options { port, resolv, alone: true, filter: None, control: None };
            Server::open(links, options).unwrap().serve().unwrap();
        })
    }

    fn is_served(&self) -> bool {
        fs::read_link(self.path("served/front")).is_ok()
    }

    fn await_served(&self) {
        let begun = Instant::now();
        while !self.is_served() {
            assert!(begun.elapsed() < Duration::from_secs(5), "nobody serves");
            std::thread::yield_now();
        }
    }

    fn client(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Whether a name is known.
fn knows(client: &UdpSocket, name: &str) -> bool {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() as u8];
    message.extend(name.bytes());
    message.extend([0, 0, 1, 0, 1]);
    client.send(&message).unwrap();
    let mut answer = [0; 512];
    client.recv(&mut answer).expect("an answer");
    answer[7] == 1
}

/// A question for an address, with its length before it.
fn framed(id: u16, name: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() as u8]);
    message.extend(name.bytes());
    message.extend([0, 0, 1, 0, 1]);
    [&(message.len() as u16).to_be_bytes(), &*message].concat()
}

/// One client that has many questions on its way all the time is no flood.
#[test]
fn a_client_with_many_questions_at_once_loses_none() {
    let engine = Engine::new("many");
    engine.put("web");
    let server = engine.serve();
    engine.await_served();
    let (client, question) = (engine.client(), &framed(7, "web")[2..]);
    for many in [32, 100] {
        for _ in 0..200 {
            (0..many).for_each(|_| drop(client.send(question)));
            assert!((0..many).all(|_| client.recv(&mut [0; 512]).is_ok()), "an answer is lost");
        }
    }
    engine.take("web");
    server.join().unwrap();
}

/// RFC 7766 section 6.2.1.1: however many questions come at once, each gets its answer.
#[test]
fn all_questions_of_a_connection_are_answered() {
    let engine = Engine::new("pipeline");
    engine.put("web");
    let server = engine.serve();
    engine.await_served();
    let mut stream = TcpStream::connect(("127.0.0.1", engine.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let all: Vec<u8> = (0..2000).flat_map(|id| framed(id, "web")).collect();
    let mut writer = stream.try_clone().unwrap();
    std::thread::spawn(move || writer.write_all(&all));
    for id in 0..2000u16 {
        let mut head = [0; 2];
        stream.read_exact(&mut head).unwrap_or_else(|error| panic!("answer {id}: {error}"));
        let mut answer = vec![0; u16::from_be_bytes(head).into()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!((&answer[..2], answer[7]), (&id.to_be_bytes()[..], 1));
    }
    drop(stream);
    engine.take("web");
    server.join().unwrap();
}

#[test]
fn a_name_is_there_when_its_link_is_and_gone_with_it() {
    let engine = Engine::new("there");
    engine.put("first");
    let server = engine.serve();
    engine.await_served();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // While it is busy with others' questions it does not wait, and is told of nothing on its own.
        for _ in 0..3 {
            scope.spawn(|| {
                let client = engine.client();
                while !stop.load(Ordering::Relaxed) {
                    (0..20).for_each(|_| {
                        drop(client.send(&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'x', 0, 0, 1, 0, 1]))
                    });
                    while client.recv(&mut [0; 512]).is_ok_and(|_| !stop.load(Ordering::Relaxed)) {}
                }
            });
        }
        let client = engine.client();
        let mut wrong = Vec::new();
        for number in 0..1500 {
            let name = format!("c{number}");
            engine.put(&name);
            let there = knows(&client, &name);
            engine.take(&name);
            if !there || knows(&client, &name) {
                wrong.push(name);
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(wrong.is_empty(), "{wrong:?}");
    });
    engine.take("first");
    server.join().unwrap();
}

/// Endpoints come at every moment of a server's end: either it sees them, or another one starts.
#[test]
fn whoever_comes_at_the_end_is_served() {
    let engine = Engine::new("end");
    for round in 0..12u64 {
        fs::create_dir_all(engine.dir.join("names")).unwrap();
        engine.put("web");
        let server = if engine.is_served() { None } else { Some(engine.serve()) };
        engine.await_served();
        assert!(knows(&engine.client(), "web"), "round {round}");
        engine.take("web");
        // A network is served for a second after its last endpoint left.
        std::thread::sleep(Duration::from_millis(990 + round * 2));
        drop(server);
    }
    let begun = Instant::now();
    while fs::exists(engine.dir.join("names")).unwrap() {
        assert!(begun.elapsed() < Duration::from_secs(4), "its directory goes with it");
        std::thread::sleep(Duration::from_millis(20));
    }
}
