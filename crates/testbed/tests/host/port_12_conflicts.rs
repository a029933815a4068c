//! R-PUB 12: a port has one owner, and that is seen before anything is touched.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask};

/// Attaching with these ports is refused as a conflict, without a trace.
fn taken(host: &Host, publish: &str) {
    let late = host.container(&format!("late{}", publish.len()));
    let line = format!("attach {} --netns {} {publish}", late.name(), late.path());
    let outcome = host.refused(5, &line);
    assert!(outcome.stderr.contains("taken"), "{outcome}");
    late.delete();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn of_another_container() {
    on_a_host(|host| {
        let web = host.attached("web", "-p 8080:80 -p 192.0.2.9:9000-9010:9000-9010 -p 5353:53/udp");
        let _service = Service::start(&web, Protocol::Tcp, "0.0.0.0:80");
        for publish in [
            "-p 8080:81",
            "-p 192.0.2.1:8080:80",
            "-p 8070-8090:8070-8090",
            "-p 9005:1",
            "-p 192.0.2.9:9010:1",
            "-p 9000-9001:1-2",
            "-p 81:81 -p 5353:53/udp",
        ] {
            taken(host, publish);
        }
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some(), "the owner keeps it");
        host.attached("other", "-p 8080:80/udp -p 192.0.2.1:9005:1 -p 5353:53/tcp");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn of_a_process_of_the_host() {
    on_a_host(|host| {
        host.ok("network create front");
        let _all = Service::start(&Place::HOST, Protocol::Tcp, "0.0.0.0:8080");
        let _one = Service::start(&Place::HOST, Protocol::Udp, "192.0.2.9:8081");
        let _six = Service::start(&Place::HOST, Protocol::Tcp, "[2001:db8::1]:8082");
        for publish in [
            "-p 8080:80",
            "-p 192.0.2.1:8080:80",
            "-p 8070-8090:8070-8090",
            "-p 8081:80/udp",
            "-p 192.0.2.9:8081:80/udp",
        ] {
            taken(host, publish);
        }
        host.attached("other", "-p 192.0.2.1:8081:80/udp -p 8080:80/udp -p 192.0.2.1:8082:80");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn within_one_request() {
    on_a_host(|host| {
        host.ok("network create front");
        taken(host, "-p 8080:80 -p 8080:81");
        taken(host, "-p 8080-8085:80-85 -p 192.0.2.1:8083:80");
    });
}

/// A port that was given back is free for the next one at once.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn released_ports_are_free() {
    on_a_host(|host| {
        for round in 0..5 {
            let place = host.attached(&format!("web{round}"), "-p 8080:80 -p 9000-9010:9000-9010/udp");
            let _service = Service::start(&place, Protocol::Tcp, "0.0.0.0:80");
            let answer = ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").unwrap_or_default();
            assert!(answer.starts_with(place.name()), "{answer}");
            host.ok(&format!("detach {}", place.name()));
        }
    });
}
