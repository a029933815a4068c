//! TCP.

use crate::proxy::{entry, in_host, serving};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Bytes that do not repeat soon.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(step).take(length).collect()
}

fn connect(to: &str) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

/// Every connection is given to `serve`, in a thread of its own.
fn server(address: &str, serve: impl Fn(TcpStream) + Clone + Send + 'static) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
}

#[test]
#[ignore = "needs root"]
fn a_megabyte_both_ways_at_once() {
    in_host("streams::a_megabyte_both_ways_at_once", |run| {
        const LENGTH: usize = 1 << 20;
        server("127.0.0.2:80", |stream| {
            let mut writer = stream.try_clone().unwrap();
            let sender = thread::spawn(move || writer.write_all(&noise(7, LENGTH)).unwrap());
            let (mut reader, mut got) = (stream, vec![0; LENGTH]);
            reader.read_exact(&mut got).unwrap();
            assert!(got == noise(1, LENGTH), "the server got something else");
            sender.join().unwrap();
            reader.write_all(b"good").unwrap();
        });
        let (_table, _proxy) = serving(run, &entry("tcp:8080-8080:0.0.0.0", "127.0.0.2:80"));
        let mut stream = connect("127.0.0.1:8080");
        let mut writer = stream.try_clone().unwrap();
        let sender = thread::spawn(move || writer.write_all(&noise(1, LENGTH)).unwrap());
        let mut got = vec![0; LENGTH];
        stream.read_exact(&mut got).unwrap();
        sender.join().unwrap();
        assert!(got == noise(7, LENGTH), "the client got something else");
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"good");
    });
}

/// The client says that it has no more to say; the answer, which needs all of the question, still comes.
#[test]
#[ignore = "needs root"]
fn one_half_is_closed_before_the_other() {
    in_host("streams::one_half_is_closed_before_the_other", |run| {
        server("127.0.0.2:80", |mut stream| {
            let mut question = Vec::new();
            stream.read_to_end(&mut question).unwrap();
            thread::sleep(Duration::from_millis(50));
            stream.write_all(format!("{} bytes", question.len()).as_bytes()).unwrap();
        });
        let (_table, _proxy) = serving(run, &entry("tcp:8080-8080:0.0.0.0", "127.0.0.2:80"));
        let mut stream = connect("127.0.0.1:8080");
        stream.write_all(&noise(3, 100_000)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "100000 bytes");
    });
}

#[test]
#[ignore = "needs root"]
fn two_hundred_at_once() {
    in_host("streams::two_hundred_at_once", |run| {
        server("[::1]:80", |mut stream| {
            let mut copy = stream.try_clone().unwrap();
            let _ = std::io::copy(&mut stream, &mut copy);
        });
        let (_table, proxy) = serving(run, &entry("tcp:8080-8080:::", "[::1]:80"));
        let mut streams: Vec<TcpStream> = (0..200).map(|_| connect("[::1]:8080")).collect();
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&noise(number as u64, 3000)).unwrap();
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            let mut got = vec![0; 3000];
            stream.read_exact(&mut got).unwrap();
            assert!(got == noise(number as u64, 3000), "connection {number}");
        }
        let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", proxy.0.id())).unwrap().count();
        let busy = descriptors();
        drop(streams);
        assert!(crate::proxy::within(|| descriptors() < 20), "{busy} descriptors, then {}", descriptors());
    });
}

/// A container that refuses is no harm to the next client.
#[test]
#[ignore = "needs root"]
fn nobody_answers_for_a_while() {
    in_host("streams::nobody_answers_for_a_while", |run| {
        let (_table, _proxy) = serving(run, &entry("tcp:8080-8080:0.0.0.0", "127.0.0.2:80"));
        let mut byte = [0];
        let read = connect("127.0.0.1:8080").read(&mut byte);
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        server("127.0.0.2:80", |mut stream| stream.write_all(b"x").unwrap());
        connect("127.0.0.1:8080").read_exact(&mut byte).unwrap();
    });
}
