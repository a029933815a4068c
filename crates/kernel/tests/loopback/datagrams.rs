//! UDP: an answer must come from the address that was asked.

use crate::host::{BRIDGE4, BRIDGE6, V4, V6, in_host, serve, udp, udp_server, usual_container};
use std::net::UdpSocket;
use std::time::Duration;

/// Asks from a socket that is not connected: who answers, and what.
fn ask(socket: &UdpSocket, to: &str) -> std::io::Result<(String, String)> {
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    socket.send_to(b"hello", to)?;
    let mut buffer = [0; 256];
    let (length, from) = socket.recv_from(&mut buffer)?;
    Ok((from.to_string(), String::from_utf8_lossy(&buffer[..length]).into_owned()))
}

/// Asks from a connected one.
fn ask_connected(from: &str, to: &str) -> (String, String) {
    let socket = UdpSocket::bind(from).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    socket.connect(to).unwrap();
    assert_eq!(socket.peer_addr().unwrap().to_string(), to, "getpeername");
    socket.send(b"hello").unwrap();
    let mut buffer = [0; 256];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    (from.to_string(), String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[test]
#[ignore = "needs root"]
fn ipv4() {
    in_host("datagrams::ipv4", || {
        let container = usual_container();
        udp_server(&container, "0.0.0.0:53");
        let backend = format!("{V4}:53");
        let _linux = serve(&[udp("0.0.0.0:5353", &backend), udp("127.0.0.1:5354", &backend)]);
        let (to, heard) = ("127.0.0.1:5353".to_owned(), format!("{BRIDGE4} hello"));
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert_eq!(ask(&socket, &to).unwrap(), (to.clone(), heard.clone()));
        assert_eq!(ask_connected("0.0.0.0:0", &to), (to, heard.clone()));
        // Another socket that asks the container itself hears the container itself, and one that asks
        // another port hears that port.
        let direct = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert_eq!(ask(&direct, &backend).unwrap(), (backend, heard.clone()));
        let other = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert_eq!(ask(&other, "127.0.0.1:5354").unwrap(), ("127.0.0.1:5354".into(), heard));
    });
}

#[test]
#[ignore = "needs root"]
fn ipv6() {
    in_host("datagrams::ipv6", || {
        let container = usual_container();
        udp_server(&container, "[::]:53");
        let _linux = serve(&[udp("[::]:5353", &format!("[{V6}]:53"))]);
        let (to, heard) = ("[::1]:5353".to_owned(), format!("{BRIDGE6} hello"));
        let socket = UdpSocket::bind("[::]:0").unwrap();
        assert_eq!(ask(&socket, &to).unwrap(), (to.clone(), heard.clone()));
        assert_eq!(ask_connected("[::]:0", &to), (to, heard));
    });
}

#[test]
#[ignore = "needs root"]
fn ipv4_by_a_socket_of_ipv6() {
    in_host("datagrams::ipv4_by_a_socket_of_ipv6", || {
        let container = usual_container();
        udp_server(&container, "0.0.0.0:53");
        let _linux = serve(&[udp("0.0.0.0:5353", &format!("{V4}:53"))]);
        let (to, heard) = ("[::ffff:127.0.0.1]:5353".to_owned(), format!("{BRIDGE4} hello"));
        let socket = UdpSocket::bind("[::]:0").unwrap();
        assert_eq!(ask(&socket, &to).unwrap(), (to.clone(), heard.clone()));
        assert_eq!(ask_connected("[::]:0", &to), (to, heard));
    });
}

/// Where the container has IPv4 only, a connected socket reaches it by ::1. The kernel lets no program do the
/// same for a single datagram: that is left alone, and refused as without us.
#[test]
#[ignore = "needs root"]
fn ipv6_to_a_container_of_ipv4() {
    in_host("datagrams::ipv6_to_a_container_of_ipv4", || {
        let container = usual_container();
        udp_server(&container, "0.0.0.0:53");
        let _linux = serve(&[udp("[::1]:5353", &format!("{V4}:53"))]);
        let answer = ask_connected("[::]:0", "[::1]:5353");
        assert_eq!(answer, ("[::1]:5353".to_owned(), format!("{BRIDGE4} hello")));
        let socket = UdpSocket::bind("[::]:0").unwrap();
        assert!(ask(&socket, "[::1]:5353").is_err());
    });
}

/// A socket that is bound to 127.0.0.1 could not be answered.
#[test]
#[ignore = "needs root"]
fn bound_sockets_are_left_alone() {
    in_host("datagrams::bound_sockets_are_left_alone", || {
        let container = usual_container();
        udp_server(&container, "0.0.0.0:53");
        let _linux = serve(&[udp("0.0.0.0:5353", &format!("{V4}:53"))]);
        let bound = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(ask(&bound, "127.0.0.1:5353").is_err());
        let server = UdpSocket::bind("127.0.0.1:5353").unwrap();
        bound.send_to(b"here", "127.0.0.1:5353").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(server.recv(&mut buffer).unwrap(), 4, "it goes where it would without us");
    });
}
