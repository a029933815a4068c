//! D3 and F2: no input makes a command panic. Names that the kernel takes and nothing else does, through every door, and
//! lists longer than anybody foresaw.

use crate::netavark::{call as netavark, network, on};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, Place, run, stdout};
use serde_json::json;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

/// Names of interfaces that the kernel takes.
const ODD: [&str; 10] = ["a,b", "*", "e;x", "-x", ".br", "a@b", "$(id)", "'", "x|y", "0123456789,*?]"];
/// Those that no interface may have here.
const WRONG: [&str; 9] = ["", ".", "..", "a/b", "a b", "a\nb", "é", "0123456789abcdef", "all"];

/// It ended by itself, with an answer.
fn answered(what: &str, said: &Outcome) {
    let panicked = said.stderr.contains("panicked") || said.code == Some(101) || said.signal.is_some();
    assert!(!panicked, "{what}: {said}");
}

/// What must be refused was, and what was taken can be taken back.
fn tried(what: &str, name: &str, said: &Outcome) -> bool {
    answered(what, said);
    let done = said.code == Some(0);
    assert_eq!(done, ODD.contains(&name), "{what}: {said}");
    done
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d3_the_command_takes_any_name() {
    on_a_host(|host| {
        host.ok("network create warm");
        host.attached("c", "--network warm");
        host.ok("detach c");
        host.attached("d", "--network warm -p 8081:80");
        host.ok("detach d");
        let before = host.snapshot();
        for name in ODD.into_iter().chain(WRONG) {
            let option = format!("com.docker.network.bridge.name={name}");
            let said = host.qiao.words(&["network", "create", "n", "-o", &option]);
            // Docker takes an empty name for none.
            if name.is_empty() && said.code == Some(0) {
                host.ok("network rm n");
            } else if tried(&format!("create on {name:?}"), name, &said) {
                host.ok("attach c --netns /run/netns/c --network n -p 8080:80");
                host.ok("check");
                for line in
                    ["ps", "network inspect n", "network ls", "port c", "repair", "gc", "network allocations"]
                {
                    host.ok(line);
                }
                host.ok("detach c");
                host.ok("network rm n");
            }
            let flag = format!("--ifname={name}");
            let words = ["attach", "c", "--netns", "/run/netns/c", "--network", "warm", &flag];
            if tried(&format!("attach {name:?}"), name, &host.qiao.words(&words)) {
                host.ok("check");
                assert!(host.ok("ps").stdout.contains(" warm "), "{name:?}");
                host.ok("repair");
                host.ok("detach c");
            }
        }
        host.assert_like(&before, "all are gone");
    });
}

/// Calls the plugin `bridge` for an interface of this name.
fn plugin(host: &Host, verb: &str, (place, ifname): (&Place, &str), config: &str) -> Outcome {
    let mut command = host.qiao.command();
    command.arg0("bridge").env("CNI_COMMAND", verb).env("CNI_IFNAME", ifname).env("CNI_PATH", "/nonexistent");
    command.env("CNI_CONTAINERID", place.name()).env("CNI_NETNS", place.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start qiao");
    child.stdin.take().expect("its input").write_all(config.as_bytes()).expect("write the configuration");
    Outcome::of(child.wait_with_output().expect("wait for qiao"))
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d3_cni_takes_any_name() {
    on_a_host(|host| {
        let place = host.container("c");
        let config = |bridge: &str| {
            json!({
                "cniVersion": "1.1.0", "name": "n1", "type": "bridge", "bridge": bridge, "isDefaultGateway": true,
                "ipMasq": true, "ipam": {"type": "static", "addresses": [{"address": "10.9.0.5/24"}]},
            })
            .to_string()
        };
        for name in ODD.into_iter().chain(WRONG) {
            // Without a name the bridge is `cni0`.
            for (ifname, bridge) in [("eth0", if name.is_empty() { "a/b" } else { name }), (name, "cni0")] {
                let what = format!("{ifname:?} on {bridge:?}");
                let at = (&place, ifname);
                if tried(&what, name, &plugin(host, "ADD", at, &config(bridge))) {
                    host.ok("check");
                    host.ok("ps");
                    host.ok("repair");
                    assert_eq!(plugin(host, "DEL", at, &config(bridge)).code, Some(0), "{what}");
                } else {
                    answered(&what, &plugin(host, "DEL", at, &config(bridge)));
                }
                assert!(!stdout("ip -o link").contains("master"), "{what}");
            }
        }
        host.ok("check");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d3_netavark_takes_any_name() {
    on_a_host(|host| {
        let place = host.container("c");
        for name in ODD.into_iter().chain(WRONG) {
            for of_bridge in [true, false] {
                let mut options = on("c", 5, &[&network(1, true)]);
                match of_bridge {
                    true => options["network_info"]["net1"]["network_interface"] = json!(name),
                    false => options["networks"][0]["interface_name"] = json!(name),
                }
                let what = format!("{name:?}, of the bridge: {of_bridge}");
                let said = netavark(host, &["setup", &place.path()], &options);
                if tried(&what, name, &said) {
                    host.ok("check");
                    host.ok("repair");
                }
                let said = netavark(host, &["teardown", &place.path()], &options);
                answered(&what, &said);
                assert!(!stdout("ip -o link").contains("master"), "{what}: {said}");
            }
        }
        host.ok("check");
    });
}

/// A bridge of somebody else's may be called so, too.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d3_interfaces_of_others_may_have_any_name() {
    on_a_host(|host| {
        for name in ["a,b", "*", "é", "ü;x", "-x"] {
            run(&format!("ip link add name {name} type bridge"));
            run(&format!("ip link set dev {name} up"));
        }
        let place = host.attached("c", "-p 8080:80");
        for line in ["check", "repair", "gc", "info", "ps"] {
            answered(line, &host.ok(line));
        }
        assert!(place.stdout("ip -o addr show eth0").contains("172."));
    });
}

/// The width of a format has 16 bits, a list of ports has no limit.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn f2_tables_are_as_wide_as_what_is_in_them() {
    on_a_host(|host| {
        host.attached("web", "-p 192.0.2.1:8080:80 -p 192.0.2.1:8082:80 -p 192.0.2.1:9000:90/udp");
        // Every other port, so that nothing can be joined.
        let singles: Vec<String> = (0..1300).map(|n| format!("-p {}:{}", 20000 + 2 * n, 1 + 2 * n)).collect();
        host.attached("wide", &singles.join(" "));
        // In a row, one by one.
        let row: Vec<String> = (0..1400).map(|n| format!("-p {}:{}", 30000 + n, 30000 + n)).collect();
        host.attached("row", &row.join(" "));
        let shown = host.ok("ps").stdout;
        assert!(
            shown.contains("0.0.0.0:30000-31399->30000-31399/tcp, [::]:30000-31399->30000-31399/tcp"),
            "{shown}"
        );
        assert!(
            shown.contains("192.0.2.1:8080->80/tcp, 192.0.2.1:8082->80/tcp, 192.0.2.1:9000->90/udp"),
            "{shown}"
        );
        assert!(shown.lines().all(|line| line.len() < 250), "{shown}");
        let ways: [&[&str]; 4] =
            [&["--no-trunc"], &["--format", "{{.Ports}}"], &["--format", "table Names Ports"], &["--json"]];
        for way in ways {
            let said = host.qiao.words(&[&["ps"], way].concat());
            answered(way[0], &said);
            assert!(said.stdout.contains("0.0.0.0:22598->2599/tcp"), "{way:?}");
        }
        assert_eq!(host.ok("port wide").stdout.lines().count(), 2600);
    });
}
