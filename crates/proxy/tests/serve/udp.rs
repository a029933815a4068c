//! UDP.

use crate::proxy::{entry, in_host, serving, within};
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

/// A server that answers each datagram with who sent it, twice.
fn server(address: &str) {
    let socket = UdpSocket::bind(address).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let text = format!("{} {}", from.port(), String::from_utf8_lossy(&buffer[..length]));
            socket.send_to(text.as_bytes(), from).unwrap();
            socket.send_to(text.as_bytes(), from).unwrap();
        }
    });
}

/// The number that the proxy speaks from for this client, and what the answer says.
fn ask(socket: &UdpSocket, text: &str) -> (u16, String) {
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket.send_to(text.as_bytes(), "127.0.0.1:5353").unwrap();
    let mut last = String::new();
    for _ in 0..2 {
        let mut buffer = [0; 2048];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from.to_string(), "127.0.0.1:5353", "answers come from where was asked");
        last = String::from_utf8_lossy(&buffer[..length]).into_owned();
    }
    let (port, rest) = last.split_once(' ').unwrap();
    (port.parse().unwrap(), rest.to_owned())
}

#[test]
#[ignore = "needs root"]
fn each_client_gets_its_own_answers() {
    in_host("udp::each_client_gets_its_own_answers", |run| {
        server("127.0.0.2:53");
        let (_table, proxy) = serving(run, &entry("udp:5353-5353:0.0.0.0", "127.0.0.2:53"));
        let clients: Vec<UdpSocket> = (0..10).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let mut ports = Vec::new();
        for round in ["a", "b"] {
            for (number, client) in clients.iter().enumerate() {
                let text = format!("{round}{number}");
                let (port, heard) = ask(client, &text);
                assert_eq!(heard, text);
                ports.push(port);
            }
        }
        assert_eq!(ports[..10], ports[10..], "a client keeps its socket");
        // The test's proxy keeps 16 clients, and those for two seconds.
        let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", proxy.0.id())).unwrap().count();
        let many: Vec<UdpSocket> = (0..40).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        many.iter().for_each(|client| drop(ask(client, "x")));
        assert!(descriptors() < 30, "{} descriptors", descriptors());
        assert!(within(|| descriptors() < 14), "{} descriptors after they were silent", descriptors());
        ask(&clients[0], "again");
    });
}

#[test]
#[ignore = "needs root"]
fn long_and_empty_datagrams_pass() {
    in_host("udp::long_and_empty_datagrams_pass", |run| {
        let server = UdpSocket::bind("127.0.0.2:53").unwrap();
        let (_table, _proxy) = serving(run, &entry("udp:5353-5353:0.0.0.0", "127.0.0.2:53"));
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut buffer = vec![0; 70_000];
        for length in [0, 1, 65_507] {
            let text = vec![length as u8; length];
            client.send_to(&text, "127.0.0.1:5353").unwrap();
            let (got, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!((got, &buffer[..got]), (length, &text[..]));
            server.send_to(&text, from).unwrap();
            assert_eq!(client.recv(&mut buffer).unwrap(), length);
        }
    });
}
