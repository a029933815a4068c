//! TCP.

use crate::host::{
    BRIDGE4, BRIDGE6, V4, V6, in_host, ip, refusal, serve, talk, tcp, tcp_server, usual_container,
};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
use std::io::ErrorKind;
use std::net::SocketAddr;

#[test]
#[ignore = "needs root"]
fn ipv4() {
    in_host("streams::ipv4", || {
        let container = usual_container();
        tcp_server(&container, "0.0.0.0:80");
        assert_eq!(refusal("127.0.0.1:8080"), ErrorKind::ConnectionRefused, "before it is published");
        let _linux = serve(&[tcp("0.0.0.0:8080", &format!("{V4}:80"))]);
        for to in ["127.0.0.1:8080", "127.0.0.9:8080"] {
            let (stream, client) = talk(to);
            assert_eq!(client.to_string(), BRIDGE4, "the container can answer its client");
            assert_eq!(stream.peer_addr().unwrap().to_string(), to, "getpeername");
        }
        assert_eq!(talk("0.0.0.0:8080").0.peer_addr().unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!(refusal("127.0.0.1:8081"), ErrorKind::ConnectionRefused, "another port");
        assert_eq!(talk(&format!("{V4}:80")).0.peer_addr().unwrap().to_string(), format!("{V4}:80"));
    });
}

#[test]
#[ignore = "needs root"]
fn ipv6() {
    in_host("streams::ipv6", || {
        let container = usual_container();
        tcp_server(&container, "[::]:80");
        let _linux = serve(&[tcp("[::]:8080", &format!("[{V6}]:80"))]);
        let (stream, client) = talk("[::1]:8080");
        assert_eq!(client.to_string(), BRIDGE6);
        assert_eq!(stream.peer_addr().unwrap().to_string(), "[::1]:8080");
        assert_eq!(talk("[::]:8080").0.peer_addr().unwrap().to_string(), "[::1]:8080");
        assert_eq!(refusal("127.0.0.1:8080"), ErrorKind::ConnectionRefused, "published in IPv6 only");
    });
}

#[test]
#[ignore = "needs root"]
fn one_address_only() {
    in_host("streams::one_address_only", || {
        let container = usual_container();
        tcp_server(&container, "0.0.0.0:80");
        let _linux = serve(&[tcp("127.0.0.5:8080", &format!("{V4}:80"))]);
        talk("127.0.0.5:8080");
        assert_eq!(refusal("127.0.0.1:8080"), ErrorKind::ConnectionRefused);
    });
}

#[test]
#[ignore = "needs root"]
fn ipv4_by_a_socket_of_ipv6() {
    in_host("streams::ipv4_by_a_socket_of_ipv6", || {
        let container = usual_container();
        tcp_server(&container, "0.0.0.0:80");
        let _linux = serve(&[tcp("0.0.0.0:8080", &format!("{V4}:80"))]);
        let (stream, client) = talk("[::ffff:127.0.0.1]:8080");
        assert_eq!(client.to_string(), BRIDGE4);
        assert_eq!(stream.peer_addr().unwrap().to_string(), "[::ffff:127.0.0.1]:8080");
    });
}

/// A container without IPv6 is published on ::1 all the same; a socket that speaks IPv6 only cannot reach it.
#[test]
#[ignore = "needs root"]
fn ipv6_to_a_container_of_ipv4() {
    in_host("streams::ipv6_to_a_container_of_ipv4", || {
        let container = usual_container();
        tcp_server(&container, "0.0.0.0:80");
        let _linux = serve(&[tcp("[::1]:8080", &format!("{V4}:80"))]);
        let (stream, client) = talk("[::1]:8080");
        assert_eq!(client.to_string(), BRIDGE4);
        assert_eq!(stream.peer_addr().unwrap().to_string(), "[::1]:8080");
        let only = socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
        sockopt::set_ipv6_v6only(&only, true).unwrap();
        let to: SocketAddr = "[::1]:8080".parse().unwrap();
        assert_eq!(connect(&only, &to), Err(rustix::io::Errno::NETUNREACH));
    });
}

/// A socket that is bound to 127.0.0.1 could not be answered: it is refused at once, as without us.
#[test]
#[ignore = "needs root"]
fn bound_sockets_are_left_alone() {
    in_host("streams::bound_sockets_are_left_alone", || {
        let container = usual_container();
        tcp_server(&container, "[::]:80");
        let _linux =
            serve(&[tcp("0.0.0.0:8080", &format!("{V4}:80")), tcp("[::]:8080", &format!("[{V6}]:80"))]);
        for (from, to, family) in [
            ("127.0.0.1:0", "127.0.0.1:8080", AddressFamily::INET),
            ("[::1]:0", "[::1]:8080", AddressFamily::INET6),
            ("[::ffff:127.0.0.1]:0", "[::ffff:127.0.0.1]:8080", AddressFamily::INET6),
        ] {
            let bound = socket(family, SocketType::STREAM, None).unwrap();
            bind(&bound, &from.parse::<SocketAddr>().unwrap()).unwrap();
            let done = connect(&bound, &to.parse::<SocketAddr>().unwrap());
            assert_eq!(done, Err(rustix::io::Errno::CONNREFUSED), "{from}");
            talk(to);
        }
        ip("addr add 10.99.0.1/32 dev lo");
        let elsewhere = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&elsewhere, &format!("{BRIDGE4}:0").parse::<SocketAddr>().unwrap()).unwrap();
        connect(&elsewhere, &"127.0.0.1:8080".parse::<SocketAddr>().unwrap()).unwrap();
    });
}
