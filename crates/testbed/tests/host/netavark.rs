//! Netavark as Podman calls it, without Podman: what a call must leave behind for others to see.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, Place, link_helpers, run, stdout};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Podman's folder for what runs.
pub const CONFIG: &str = "/run/test/networks";
/// Where Podman finds its helpers.
const HELPERS: &str = "/run/helpers";
/// The name server.
pub const AARDVARK: &str = "/run/helpers/aardvark-dns";

/// The command under netavark's name, with the options that Podman gives.
pub fn command(host: &Host, words: &[&str]) -> Command {
    if std::fs::create_dir(HELPERS).is_ok() {
        link_helpers(HELPERS.as_ref());
    }
    let mut command = host.qiao.command();
    command.arg0("netavark").args(["--config", CONFIG, "--rootless=false"]);
    if !words.iter().any(|word| word.starts_with("--aardvark-binary")) {
        command.arg(format!("--aardvark-binary={AARDVARK}"));
    }
    command.args(words).env("RUST_LOG", "netavark=warn");
    command
}

/// Runs a command with this input.
pub fn told(mut command: Command, input: &str) -> Outcome {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start netavark");
    // One that refuses its command line reads nothing.
    let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
    Outcome::of(child.wait_with_output().expect("netavark ends"))
}

/// Calls netavark.
pub fn call(host: &Host, words: &[&str], input: &Value) -> Outcome {
    told(command(host, words), &input.to_string())
}

/// The same; it must succeed, and complain of nothing.
pub fn ok(host: &Host, words: &[&str], input: &Value) -> Outcome {
    let outcome = call(host, words, input);
    assert!(outcome.code == Some(0) && outcome.stderr.is_empty(), "{words:?}: {outcome}");
    outcome
}

/// What failed says exactly this much, and nothing else.
pub fn error(outcome: &Outcome) -> String {
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let object = outcome.json();
    assert_eq!(object.as_object().map(serde_json::Map::len), Some(1), "{outcome}");
    object["error"].as_str().unwrap_or_else(|| panic!("{outcome}")).to_owned()
}

/// A bridge network `netN` on `podmanN`, 10.89.N.0/24 and, if dual, fd00:89:N::/64.
pub fn network(n: u8, dual: bool) -> Value {
    let mut subnets = vec![json!({"subnet": format!("10.89.{n}.0/24"), "gateway": format!("10.89.{n}.1")})];
    if dual {
        subnets.push(json!({"subnet": format!("fd00:89:{n}::/64"), "gateway": format!("fd00:89:{n}::1")}));
    }
    json!({
        "name": format!("net{n}"), "id": format!("{n:064x}"), "driver": "bridge",
        "network_interface": format!("podman{n}"), "subnets": subnets, "ipv6_enabled": dual, "internal": false,
        "dns_enabled": false, "ipam_options": {"driver": "host-local"},
    })
}

/// A container on networks, with the last number of its addresses; its interfaces are eth0, eth1 …
pub fn on(container: &str, last: u8, networks: &[&Value]) -> Value {
    let mut list = Vec::new();
    let mut described = json!({});
    for (network, i) in networks.iter().zip(0..) {
        let subnets = network["subnets"].as_array().expect("subnets");
        let ips: Vec<String> = subnets
            .iter()
            .map(|subnet| {
                let prefix =
                    subnet["subnet"].as_str().expect("a subnet").split('/').next().expect("an address");
                let base = prefix.strip_suffix('0').unwrap_or(prefix);
                if prefix.contains(':') { format!("{prefix}{last:x}") } else { format!("{base}{last}") }
            })
            .collect();
        list.push(json!({
            "name": network["name"], "interface_name": format!("eth{i}"), "static_ips": ips,
            "aliases": [container],
        }));
        described[network["name"].as_str().expect("a name")] = (*network).clone();
    }
    json!({
        "container_id": container, "container_name": format!("name-of-{container}"), "networks": list,
        "network_info": described,
    })
}

/// With ports: `(host address, host port, container port)`, TCP.
pub fn publishing(mut options: Value, ports: &[(&str, u16, u16)]) -> Value {
    let mappings = ports.iter().map(|(ip, host, container)| {
        json!({"host_ip": ip, "host_port": host, "container_port": container, "range": 1, "protocol": "tcp"})
    });
    options["port_mappings"] = mappings.collect();
    options
}

/// Sets a container up.
pub fn setup(host: &Host, place: &Place, options: &Value) -> Value {
    ok(host, &["setup", &place.path()], options).json()
}

/// Tears it down.
pub fn teardown(host: &Host, place: &Place, options: &Value) {
    assert_eq!(ok(host, &["teardown", &place.path()], options).stdout, "");
}

fn setting(place: &Place, path: &str) -> String {
    place.stdout(&format!("cat /proc/sys/net/{path}")).trim().to_owned()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_others_look_for_is_there() {
    on_a_host(|host| {
        let place = host.container("c1");
        let before = host.snapshot();
        let mut net = network(1, true);
        net["options"] = json!({"mtu": "1400"});
        let mut options = on("c1", 7, &[&net]);
        options["networks"][0]["options"] = json!({"host_interface_name": "vc1"});
        options["networks"][0]["static_mac"] = "02-00-00-00-00-77".into();
        let reply = setup(host, &place, &options);
        assert_eq!(
            reply,
            json!({"net1": {
                "dns_search_domains": [], "dns_server_ips": [],
                "interfaces": {"eth0": {"mac_address": "02:00:00:00:00:77", "subnets": [
                    {"ipnet": "10.89.1.7/24", "gateway": "10.89.1.1"},
                    {"ipnet": "fd00:89:1::7/64", "gateway": "fd00:89:1::1"},
                ]}},
            }})
        );
        assert!(stdout("ip -o link show vc1").contains("mtu 1400"));
        assert!(place.stdout("ip -o link show lo").contains("UP"));
        assert_eq!(
            place.stdout("ip route show default").trim(),
            "default via 10.89.1.1 dev eth0 proto static metric 100"
        );
        let six = place.stdout("ip -6 route show default");
        assert!(six.starts_with("default via fd00:89:1::1 dev eth0 proto static metric 100"), "{six}");
        let bridge = [
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv4/conf/podman1/rp_filter", "2"),
            ("ipv4/conf/podman1/route_localnet", "1"),
            ("ipv6/conf/podman1/accept_dad", "0"),
            ("ipv6/conf/podman1/accept_ra", "0"),
        ];
        bridge.iter().for_each(|(path, value)| assert_eq!(setting(&Place::HOST, path), *value, "{path}"));
        let inside = [
            ("ipv4/conf/eth0/arp_notify", "1"),
            ("ipv4/conf/eth0/rp_filter", "2"),
            ("ipv6/conf/eth0/autoconf", "0"),
            ("ipv6/conf/eth0/accept_dad", "0"),
        ];
        inside.iter().for_each(|(path, value)| assert_eq!(setting(&place, path), *value, "{path}"));
        teardown(host, &place, &options);
        place.run("ip link set lo down");
        assert!(!place.stdout("ip -o link").contains("eth0"));
        host.assert_like(&before, "setup and teardown");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn routes_are_as_the_network_says() {
    on_a_host(|host| {
        let place = host.container("c1");
        let mut net = network(1, true);
        net["options"] = json!({"metric": "200"});
        net["routes"] = json!([
            {"destination": "10.200.0.0/16", "gateway": "10.89.1.5", "metric": 300},
            {"destination": "10.201.0.0/16", "gateway": "10.89.1.5"},
            {"destination": "10.202.0.0/16", "route_type": "blackhole"},
            {"destination": "fd00:202::/64", "route_type": "unreachable"},
            {"destination": "10.203.0.0/16", "route_type": "prohibit", "metric": 7},
        ]);
        let options = on("c1", 7, &[&net]);
        setup(host, &place, &options);
        let routes = place.stdout("ip route");
        for line in [
            "default via 10.89.1.1 dev eth0 proto static metric 200",
            "10.200.0.0/16 via 10.89.1.5 dev eth0 proto static metric 300",
            "10.201.0.0/16 via 10.89.1.5 dev eth0 proto static metric 100",
            "blackhole 10.202.0.0/16 proto static metric 100",
            "prohibit 10.203.0.0/16 proto static metric 7",
        ] {
            assert!(routes.lines().any(|found| found.trim() == line), "{line}\n{routes}");
        }
        assert!(
            place.stdout("ip -6 route").contains("unreachable fd00:202::/64 dev lo proto static metric 100")
        );
        assert!(host.ok("check").stdout.contains("ok") || host.qiao.run("check").code == Some(0));
        teardown(host, &place, &options);
        assert_eq!(place.stdout("ip route"), "");
        assert!(!place.stdout("ip -6 route").contains("fd00:"));
        net["options"] = json!({"no_default_route": "true"});
        setup(host, &place, &on("c1", 7, &[&net]));
        assert_eq!(place.stdout("ip route show default"), "");
    });
}

/// Looking in the common `/proc` for what a container's interface is set to takes time in the number of containers.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn settings_are_not_looked_for_where_everybody_does() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        setup(host, &c1, &on("c1", 7, &[&network(1, true)]));
        let mut command = Command::new("strace");
        command.args(["-o", "/run/calls", "-e", "trace=open,openat,fsopen"]);
        let own = self::command(host, &["setup", &c2.path()]);
        command.arg(format!("{HELPERS}/netavark")).args(own.get_args());
        own.get_envs().filter_map(|(name, value)| Some((name, value?))).for_each(|(name, value)| {
            command.env(name, value);
        });
        let outcome = told(command, &on("c2", 8, &[&network(1, true)]).to_string());
        assert_eq!(outcome.code, Some(0), "{outcome}");
        let calls = std::fs::read_to_string("/run/calls").expect("what strace wrote");
        assert!(calls.contains("\"sys/net/ipv6/conf/eth0/accept_dad\""), "the control: {calls}");
        assert!(!calls.contains("/proc/sys/net/"), "{calls}");
        assert_eq!(setting(&c2, "ipv6/conf/eth0/accept_dad"), "0");
    });
}

/// Of several default routes the one with the lowest metric counts, in whatever order the networks are told.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_lowest_metric_counts() {
    on_a_host(|host| {
        let place = host.container("c1");
        let (one, mut two) = (network(1, false), network(2, false));
        two["options"] = json!({"metric": "50"});
        let options = on("c1", 7, &[&one, &two]);
        setup(host, &place, &options);
        assert_eq!(
            place.stdout("ip route show default").trim(),
            "default via 10.89.2.1 dev eth1 proto static metric 50"
        );
        let mut second = options;
        second["networks"].as_array_mut().expect("a list").remove(0);
        teardown(host, &place, &second);
        assert_eq!(
            place.stdout("ip route show default").trim(),
            "default via 10.89.1.1 dev eth0 proto static metric 100"
        );
    });
}

/// A bridge that others made: no address, no rule, no setting of ours, and it stays.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_unmanaged_bridge_stays_as_it_is() {
    on_a_host(|host| {
        run("ip link add podman1 address 02:00:00:00:01:01 type bridge");
        run("ip link set podman1 addrgenmode none");
        run("ip addr add 10.89.1.1/24 dev podman1");
        run("ip link set podman1 up");
        let place = host.container("c1");
        let mut net = network(1, false);
        net["options"] = json!({"mode": "unmanaged"});
        let options = on("c1", 7, &[&net]);
        setup(host, &place, &options);
        teardown(host, &place, &options);
        let before = host.snapshot(); // a bridge that has had a port
        setup(host, &place, &options);
        assert_eq!(setting(&Place::HOST, "ipv4/conf/podman1/route_localnet"), "0");
        assert!(!stdout("nft list ruleset").contains("10.89.1.0"));
        place.run("busybox ping -c 1 -W 2 10.89.1.1");
        teardown(host, &place, &options);
        host.assert_like(&before, "a container on an unmanaged bridge");
    });
}

/// Where systemd runs it is told what a bridge has, for as long as there is the bridge.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn systemd_is_told_of_a_bridge() {
    on_a_host(|host| {
        let place = host.container("c1");
        let file = "/run/sysctl.d/10-netavark-podman1.conf";
        std::fs::create_dir_all("/run/systemd/system").expect("a directory");
        for round in 0..5 {
            let options = on("c1", 7, &[&network(1, false)]);
            setup(host, &place, &options);
            let told = std::fs::read_to_string(file).expect("its file");
            assert!(told.contains("net/ipv4/conf/podman1/rp_filter=2\n"), "{told}");
            teardown(host, &place, &options);
            assert!(!std::fs::exists(file).unwrap(), "round {round}");
        }
    });
}

/// `bclim` is the parent's, and heeded; options of other drivers, and what this kernel cannot do, are refused by name.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn options_are_heeded_or_refused() {
    on_a_host(|host| {
        let place = host.container("c1");
        let before = host.snapshot();
        let with = |driver: &str, (option, value): (&str, &str)| {
            let mut net = network(1, false);
            net["driver"] = driver.into();
            if driver != "bridge" {
                net["network_interface"] = "up0".into();
            }
            net["options"] = json!({option: value});
            on("c1", 7, &[&net])
        };
        let refused = [
            ("bridge", ("bclim", "5")),
            ("macvlan", ("vlan", "5")),
            ("ipvlan", ("bclim", "5")),
            ("macvlan", ("bclim", "many")),
            ("bridge", ("vlan", "4095")),
            ("bridge", ("vlan", "-1")),
        ];
        for (driver, option) in refused {
            let said = error(&call(host, &["setup", &place.path()], &with(driver, option)));
            assert!(said.contains(option.0), "{driver} {option:?}: {said}");
        }
        let mut leased = with("bridge", ("vlan", "5"));
        let net = &mut leased["network_info"]["net1"];
        net["ipam_options"] = json!({"driver": "dhcp"});
        net["options"]["mode"] = "unmanaged".into();
        run("ip link add podman1 type bridge");
        let said = error(&call(host, &["setup", &place.path()], &leased));
        assert!(said.contains("asked at the interface podman1.5, which is not there"), "{said}");
        run("ip link del podman1");
        let said = call(host, &["setup", &place.path()], &with("bridge", ("vlan", "5")));
        if said.code != Some(0) {
            assert!(error(&said).contains("VLAN filtering of bridges"), "{said}"); // a kernel without it
        }
        teardown(host, &place, &with("bridge", ("vlan", "5")));
        place.run("ip link set lo down");
        host.assert_like(&before, "what was refused");
        // iproute2 before 6.4 does not show it: 4 bytes, type 9 (IFLA_MACVLAN_BC_CUTOFF).
        let limit = || {
            let script = "import socket,struct\n\
                s=socket.socket(16,3,0)\n\
                name=b'eth0\\0'\n\
                a=struct.pack('HH',4+len(name),3)+name+b'\\0'*(-len(name)%4)\n\
                s.send(struct.pack('IHHIIBBHiII',32+len(a),18,1,1,0,0,0,0,0,0,0)+a)\n\
                d=s.recv(65536)\n\
                at=d.find(struct.pack('HH',8,9))\n\
                print(struct.unpack('i',d[at+4:at+8])[0] if at>0 else 'none')";
            let output = place.command("python3").args(["-c", script]).output().expect("python3");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        for value in ["5", "-1"] {
            let options = with("macvlan", ("bclim", value));
            setup(host, &place, &options);
            assert_eq!(limit(), value);
            assert_eq!(host.qiao.run("check").code, Some(0));
            teardown(host, &place, &options);
        }
        let options = with("macvlan", ("metric", "7"));
        setup(host, &place, &options);
        assert_eq!(limit(), "none", "the control");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn macvlan_takes_the_first_default_route() {
    on_a_host(|host| {
        let place = host.container("c1");
        let before = host.snapshot();
        let child = json!({
            "name": "lan", "id": format!("{:064x}", 9), "driver": "macvlan", "network_interface": "up0",
            "subnets": [{"subnet": "192.0.2.0/24", "gateway": "192.0.2.100"}], "ipv6_enabled": false,
            "internal": false, "dns_enabled": true, "options": {"mode": "bridge", "mtu": "1300"},
        });
        let options = on("c1", 77, &[&network(1, false), &child]);
        let reply = setup(host, &place, &options);
        assert_eq!(reply["lan"]["dns_server_ips"], json!([]));
        let link = place.stdout("ip -d -o link show eth1");
        assert!(link.contains("macvlan mode bridge") && link.contains("mtu 1300"), "{link}");
        assert!(link.contains(reply["lan"]["interfaces"]["eth1"]["mac_address"].as_str().expect("a MAC")));
        assert_eq!(
            place.stdout("ip route show default").trim(),
            "default via 192.0.2.100 dev eth1 proto static metric 99"
        );
        place.run("busybox ping -c 1 -W 2 192.0.2.100");
        teardown(host, &place, &options);
        place.run("ip link set lo down");
        host.assert_like(&before, "macvlan beside a bridge");
    });
}
