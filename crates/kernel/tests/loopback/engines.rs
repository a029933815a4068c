//! Whom an engine's programs are for.

use crate::hooks;
use crate::host::{
    BRIDGE4, Netns, V4, container, end, in_host, linux, refusal, serve, talk, tcp, tcp_server,
    usual_container,
};
use std::io::ErrorKind;

#[test]
#[ignore = "needs root"]
fn processes_of_other_namespaces_are_left_alone() {
    in_host("engines::processes_of_other_namespaces_are_left_alone", || {
        let container = usual_container();
        tcp_server(&container, "0.0.0.0:80");
        let _linux = serve(&[tcp("0.0.0.0:8080", &format!("{V4}:80"))]);
        // The container reaches port 80 of its own, by the address that would be replaced.
        assert_eq!(container.inside(|| talk("127.0.0.1:80").1).to_string(), "127.0.0.1");
        let refused = container.inside(|| refusal("127.0.0.1:8080"));
        assert_eq!(refused, ErrorKind::ConnectionRefused);
        talk("127.0.0.1:8080");
    });
}

#[test]
#[ignore = "needs root"]
fn two_engines_live_side_by_side() {
    in_host("engines::two_engines_live_side_by_side", || {
        let (one, other_host) = (usual_container(), Netns::new());
        let other = other_host
            .inside(|| container("br1", ("172.31.1.1", "fd00:32::1"), ("172.31.1.2", "fd00:32::2")));
        tcp_server(&one, "0.0.0.0:80");
        tcp_server(&other, "0.0.0.0:80");
        let mut first = serve(&[tcp("0.0.0.0:8080", &format!("{V4}:80"))]);
        other_host.inside(|| {
            let mut second = serve(&[tcp("0.0.0.0:8080", "172.31.1.2:80")]);
            assert_eq!(talk("127.0.0.1:8080").1.to_string(), "172.31.1.1");
            assert_eq!(hooks::count(), 16);
            end(&mut second);
            assert_eq!(refusal("127.0.0.1:8080"), ErrorKind::ConnectionRefused);
        });
        assert_eq!(hooks::count(), 8, "the first engine's are still there");
        assert_eq!(talk("127.0.0.1:8080").1.to_string(), BRIDGE4);
        end(&mut first);
        assert_eq!(hooks::count(), 0);
        drop(linux());
    });
}
