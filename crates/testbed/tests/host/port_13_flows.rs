//! R-PUB 13: after the container behind a port changes, clients reach the new one although they never pause.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, ask_from, eventually};
use std::time::Duration;

/// A UDP client that always asks from the same port, so that its flow never dies by itself.
fn stubborn(host: &Host) -> Option<String> {
    ask_from(&host.lan, Protocol::Udp, ("192.0.2.100:40000", "192.0.2.1:5353"))
}

fn answers(host: &Host, name: &str) -> bool {
    stubborn(host).is_some_and(|answer| answer.starts_with(name))
}

fn server(host: &Host, name: &str) -> (Place, Service) {
    let place = host.attached(name, "-p 5353:53/udp");
    let service = Service::start(&place, Protocol::Udp, "0.0.0.0:53");
    (place, service)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_udp_client_that_never_pauses_follows() {
    on_a_host(|host| {
        let (_old, service) = server(host, "old");
        assert!(answers(host, "old"));
        host.ok("detach old");
        drop(service);
        let (_new, _service) = server(host, "new");
        assert!(eventually(Duration::from_millis(200), || answers(host, "new")));
    });
}

/// Also when the client asked while nobody was there: that flow leads to the host itself.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_client_that_asked_in_between_follows() {
    on_a_host(|host| {
        let (_old, service) = server(host, "old");
        host.ok("detach old");
        drop(service);
        assert_eq!(stubborn(host), None, "nobody is there");
        let (_new, _service) = server(host, "new");
        assert!(eventually(Duration::from_millis(200), || answers(host, "new")));
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_flow_of_a_detached_address_remains() {
    on_a_host(|host| {
        host.ok("network create front --subnet 172.30.0.0/24");
        let web = host.attached("web", "--network front -p 8080:80 -p 8080:80/udp");
        let _tcp = Service::start(&web, Protocol::Tcp, "0.0.0.0:80");
        let _udp = Service::start(&web, Protocol::Udp, "0.0.0.0:80");
        let _lan = Service::start(&host.lan, Protocol::Udp, "0.0.0.0:99");
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert!(ask(&host.lan, protocol, "192.0.2.1:8080").is_some());
            assert!(ask(&Place::HOST, protocol, "172.30.0.2:80").is_some());
        }
        assert!(ask(&web, Protocol::Udp, "192.0.2.100:99").is_some());
        let flows = |host: &Host| {
            let snapshot = host.snapshot();
            snapshot.lines_with("conntrack: ").iter().filter(|line| line.contains("172.30.0.2")).count()
        };
        assert!(flows(host) >= 5, "the control: {}", flows(host));
        host.ok("detach web");
        assert_eq!(flows(host), 0);
    });
}
