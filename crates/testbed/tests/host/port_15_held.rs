//! Published ports that the caller holds with sockets of its own, where BPF is not to be had: nobody else listens on them.

use crate::netavark::{command, network, on, publishing, told};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, Protocol, Service, ask, attach_line, run};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Where no hook can be attached: no cgroup is there.
const NOWHERE: &str = "/run/no-cgroup";

fn without_bpf(host: &Host, line: &str) -> Outcome {
    let mut command = host.qiao.command();
    Outcome::of(
        command.env("QIAO_CGROUP", NOWHERE).args(line.split_whitespace()).output().expect("start qiao"),
    )
}

/// What the host itself gets at 127.0.0.1.
fn here(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(3))).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// As Podman does it: `setup`, then its own socket on each published port.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a13_ports_that_the_caller_holds_are_left_to_it() {
    on_a_host(|host| {
        let (net, c1, c2) = (network(1, true), host.container("c1"), host.container("c2"));
        let call = |verb: &str| {
            let options = publishing(on("c1", 7, &[&net]), &[("", 8080, 80)]);
            let mut command = command(host, &[verb, &c1.path()]);
            command.env("QIAO_CGROUP", NOWHERE);
            let outcome = told(command, &options.to_string());
            assert_eq!(outcome.code, Some(0), "{verb}: {outcome}");
        };
        let before = host.snapshot();
        call("setup");
        let podman = TcpListener::bind("0.0.0.0:8080").expect("the port is Podman's");
        let _web = Service::start(&c1, Protocol::Tcp, "10.89.1.7:80");
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some(), "it is published");
        // The control: a port that nobody holds is served on 127.0.0.1 by the proxy.
        let attached = without_bpf(host, &attach_line(&c2, "--network bridge --ip 172.17.0.9 -p 8081:80"));
        assert_eq!(attached.code, Some(0), "{attached}");
        let _other = Service::start(&c2, Protocol::Tcp, "172.17.0.9:80");
        assert!(TcpListener::bind("127.0.0.1:8081").is_err(), "the proxy has it");
        assert!(here(8081).is_some_and(|answer| answer.contains("c2")), "and serves it");
        assert_eq!(without_bpf(host, "detach c2").code, Some(0));
        drop(podman);
        for command in ["repair", "check"] {
            let outcome = without_bpf(host, command);
            assert_eq!(outcome.code, Some(0), "{command}: {outcome}");
            let _podman = TcpListener::bind("0.0.0.0:8080").expect("no command takes it");
            if command == "check" {
                assert!(outcome.stderr.contains("127.0.0.1") && outcome.stderr.contains("8080"), "{outcome}");
            }
        }
        // Where BPF is to be had again, they are served by it.
        host.ok("repair");
        let podman = TcpListener::bind("0.0.0.0:8080").expect("hooks need no socket");
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some());
        assert!(here(8080).is_some_and(|answer| answer.contains("c1")), "by hooks");
        assert_eq!(host.ok("check").stderr, "");
        drop((podman, _web, _other));
        call("teardown");
        host.ok("network rm bridge");
        run("conntrack -F"); // what the proxy's client has left
        host.assert_like(&before, "both are gone");
    });
}
