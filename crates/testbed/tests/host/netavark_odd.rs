//! Netavark's odd cases: what it does, and with which words, where something is missing, wrong or in the way. (What it says to
//! `create` is compared in `crates/doors/tests/netavark_create.rs`.)

use crate::netavark::{CONFIG, call, command, error, network, ok, on, publishing, setup, teardown, told};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, eventually, run, stdout};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

fn with(mut network: Value, more: &Value) -> Value {
    let more = more.as_object().expect("an object").clone();
    network.as_object_mut().expect("an object").extend(more);
    network
}

fn named(more: &Value) -> Value {
    with(with(network(1, false), &json!({"dns_enabled": true})), more)
}

fn lan(mode: &str) -> Value {
    json!({
        "name": "lan", "id": format!("{:064x}", 9), "driver": "macvlan", "network_interface": "up0",
        "subnets": [{"subnet": "192.0.2.0/24", "gateway": "192.0.2.100"}], "ipv6_enabled": false,
        "internal": false, "dns_enabled": false, "options": {"mode": mode},
    })
}

/// Whether the outside host answers.
fn reaches_the_lan(place: &Place) -> bool {
    let words = ["ping", "-c", "1", "-W", "1", "192.0.2.100"];
    place.command("busybox").args(words).output().expect("busybox").status.success()
}

/// The file of the names of `net1`.
fn names() -> String {
    fs::read_to_string(format!("{CONFIG}/aardvark-dns/net1")).unwrap_or_default()
}

/// Refused with exactly these words, and nothing is left.
fn refused(host: &Host, place: &Place, options: &Value, words: &str) {
    let before = host.snapshot();
    assert_eq!(error(&call(host, &["setup", &place.path()], options)), words);
    host.assert_like(&before, words);
    assert_eq!(names(), "");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_name_that_is_no_word_is_left_out_and_told() {
    on_a_host(|host| {
        let place = host.container("c1");
        let mut options = on("c1", 7, &[&named(&json!({}))]);
        options["networks"][0]["aliases"] = json!(["good", "a b", "c,d", ""]);
        let said = call(host, &["setup", &place.path()], &options);
        assert_eq!(said.code, Some(0), "{said}");
        let warning = "[WARN  netavark::network::bridge] invalid network alias \"a b\": name contains invalid chars, \
                       ignoring this name";
        let told: Vec<&str> = said.stderr.lines().collect();
        assert!(told.len() == 3 && told[0] == warning && told[2].contains("\"\": name is empty"), "{said}");
        assert_eq!(names(), "10.89.1.1\nc1 10.89.1.7  name-of-c1,good\n");
        teardown(host, &place, &options);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_name_server_that_would_ask_itself_is_refused() {
    on_a_host(|host| {
        let place = host.container("c1");
        let end = "the gateway of network \"net1\"; using it would cause aardvark-dns to forward queries to itself.";
        let mut options = on("c1", 7, &[&named(&json!({}))]);
        options["dns_servers"] = json!(["9.9.9.9", "10.89.1.1"]);
        let text = format!("error while applying dns entries: DNS server 10.89.1.1 is {end}");
        refused(host, &place, &options, &text);
        let options = on("c1", 7, &[&named(&json!({"network_dns_servers": ["10.89.1.1"]}))]);
        let text = format!("error while applying dns entries: network DNS server 10.89.1.1 matches {end}");
        refused(host, &place, &options, &text);
    });
}

/// Names are resolved at the addresses that somebody else's bridge has, but for those of the link.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_unmanaged_bridge_must_be_there_and_have_an_address_for_names() {
    on_a_host(|host| {
        let place = host.container("c1");
        let options =
            on("c1", 7, &[&named(&json!({"options": {"mode": "unmanaged", "vrf": "its owner's affair"}}))]);
        let gone = "in unmanaged mode, the bridge must already exist on the host: Netlink error: No such device (os error 19)";
        refused(host, &place, &options, gone);
        run("ip link add podman1 type bridge");
        run("ip link set podman1 up");
        let has_link_local = || stdout("ip -6 addr show dev podman1").contains("fe80");
        assert!(eventually(PATIENCE, has_link_local), "the address of the link");
        let said = error(&call(host, &["setup", &place.path()], &options));
        assert!(said.starts_with("bridge 'podman1' in unmanaged mode has no usable IP addresses."), "{said}");
        run("ip addr add 10.89.1.77/24 dev podman1");
        let reply = setup(host, &place, &options);
        assert_eq!(reply["net1"]["dns_server_ips"], json!(["10.89.1.77"]));
        assert!(names().starts_with("10.89.1.77\nc1 "), "{}", names());
        teardown(host, &place, &options);
    });
}

/// In a container of a host that has `/proc/sys` read-only, what is right already need not be written.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn read_only_settings_that_are_right_are_no_error() {
    on_a_host(|host| {
        let place = host.container("c1");
        let options = on("c1", 7, &[&network(1, false)]);
        let right = ["ip_forward=1", "conf/default/rp_filter=2", "conf/default/route_localnet=1"];
        let inside = ["conf/default/rp_filter=2", "conf/default/arp_notify=1"];
        let set = |setting: &str| format!("sysctl -qw net/ipv4/{setting}");
        right.iter().for_each(|setting| run(&set(setting)));
        inside.iter().for_each(|setting| place.run(&set(setting)));
        run("mount --bind /proc/sys /proc/sys");
        run("mount -o remount,bind,ro /proc/sys");
        let reply = setup(host, &place, &options);
        assert_eq!(reply["net1"]["interfaces"]["eth0"]["subnets"][0]["ipnet"], "10.89.1.7/24");
        teardown(host, &place, &options);
        // The control.
        run("umount /proc/sys");
        run(&set("conf/default/rp_filter=1"));
        run("mount --bind /proc/sys /proc/sys");
        run("mount -o remount,bind,ro /proc/sys");
        let before = host.snapshot();
        let said = error(&call(host, &["setup", &place.path()], &options));
        let words =
            "set sysctl net/ipv4/conf/podman1/rp_filter: IO error: Read-only file system (os error 30)";
        assert!(said.contains(words), "{said}");
        host.assert_like(&before, "a setting that cannot be made");
        run("umount /proc/sys");
        run(&set("ip_forward=0"));
        run("mount --bind /proc/sys /proc/sys");
        run("mount -o remount,bind,ro /proc/sys");
        let said = error(&call(host, &["setup", &place.path()], &options));
        assert_eq!(said, "set sysctl net/ipv4/ip_forward: IO error: Read-only file system (os error 30)");
    });
}

/// It is reached from when its parent is up.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_parent_may_be_down_and_come_up() {
    on_a_host(|host| {
        let place = host.container("c1");
        let options = on("c1", 77, &[&lan("bridge")]);
        run("ip link set up0 down");
        setup(host, &place, &options);
        run("ip link set up0 up");
        assert!(eventually(PATIENCE, || reaches_the_lan(&place)), "the neighbourhood");
        teardown(host, &place, &options);
    });
}

/// Macvlan's mode `source`: only those are heard whose hardware address somebody adds.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_mode_source_hears_whom_it_is_told_to() {
    on_a_host(|host| {
        let place = host.container("c1");
        let options = on("c1", 77, &[&lan("source")]);
        setup(host, &place, &options);
        let link = place.stdout("ip -d -o link show eth0");
        assert!(link.contains("macvlan mode source"), "{link}");
        assert!(!reaches_the_lan(&place), "nobody is on its list");
        let neighbour = host.lan.stdout("cat /sys/class/net/eth0/address");
        place.run(&format!("ip link set eth0 type macvlan macaddr add {}", neighbour.trim()));
        assert!(eventually(PATIENCE, || reaches_the_lan(&place)), "who is on its list"); // it was asked in vain before
        teardown(host, &place, &options);
    });
}

/// Podman enters no user's namespace for it: the server that runs there is told, and no other one is started here.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn update_tells_a_server_of_another_namespace() {
    on_a_host(|host| {
        let (place, elsewhere) = (host.container("c1"), host.container("elsewhere"));
        let options = on("c1", 7, &[&named(&json!({}))]);
        setup(host, &place, &options);
        let pid = || fs::read_to_string(format!("{CONFIG}/aardvark-dns/aardvark.pid")).expect("its number");
        let before = pid();
        let own = command(host, &["update", "net1", "--network-dns-servers", "1.1.1.1"]);
        let mut entered = std::process::Command::new("nsenter");
        entered.arg(format!("--net={}", elsewhere.path())).arg("/run/helpers/netavark").args(own.get_args());
        let said = told(entered, "null");
        assert!(said.code == Some(0) && said.stdout.is_empty(), "{said}");
        assert!(names().starts_with("10.89.1.1 1.1.1.1\n"), "{}", names());
        assert_eq!(pid(), before, "another server was started");
        assert_eq!(elsewhere.stdout("ss -lnu").lines().count(), 1, "nobody listens there");
        teardown(host, &place, &options);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_last_port_can_be_published() {
    on_a_host(|host| {
        let place = host.container("c1");
        let mut options = publishing(on("c1", 7, &[&network(1, false)]), &[("", 8079, 65534)]);
        options["port_mappings"][0]["range"] = 2.into();
        setup(host, &place, &options);
        let _server = Service::start(&place, Protocol::Tcp, "0.0.0.0:65535");
        for (from, to) in [(&host.lan, "192.0.2.1:8080"), (&Place::HOST, "127.0.0.1:8080")] {
            assert!(ask(from, Protocol::Tcp, to).is_some_and(|text| text.starts_with("c1")), "{to}");
        }
        teardown(host, &place, &options);
    });
}

/// An address that another machine has now and this one later (VRRP): Podman can bind it, and it is published.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_that_comes_later_can_be_published_on() {
    on_a_host(|host| {
        let place = host.container("c1");
        let options = publishing(on("c1", 7, &[&network(1, false)]), &[("192.0.2.200", 8080, 80)]);
        setup(host, &place, &options);
        let _server = Service::start(&place, Protocol::Tcp, "0.0.0.0:80");
        assert_eq!(ask(&host.lan, Protocol::Tcp, "192.0.2.200:8080"), None, "nobody has it");
        run("ip addr add 192.0.2.200/32 dev up0");
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.200:8080").is_some_and(|text| text.starts_with("c1")));
        assert_eq!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080"), None, "nothing is published there");
        teardown(host, &place, &options);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_is_in_the_way_is_told_in_netavarks_words() {
    on_a_host(|host| {
        let place = host.container("c1");
        let exists = "Netlink error: File exists (os error 17)";
        let in_container = "create veth pair: interface eth0 already exists on container namespace";
        let mut options = on("c1", 7, &[&network(1, false)]);
        options["networks"][0]["options"] = json!({"host_interface_name": "podman1"});
        let words = format!("{in_container} or podman1 exists on host namespace: {exists}");
        refused(host, &place, &options, &words);
        place.run("ip link add eth0 type veth peer name eth9");
        let options = on("c1", 7, &[&network(1, false)]);
        refused(host, &place, &options, &format!("{in_container}: {exists}"));
        place.run("ip link del eth0");
        run("ip link add podman1 type veth peer name other");
        let words = "bridge interface podman1 already exists but is another interface";
        refused(host, &place, &options, words);
        run("ip link del podman1");
        run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
        let words = "add ip addr to bridge: failed to add ipv6 address, is ipv6 enabled in the kernel?: Netlink error: \
                     Permission denied (os error 13)";
        refused(host, &place, &on("c1", 7, &[&network(1, true)]), words);
    });
}

/// A route that says no metric has 100, whatever the default route has.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn static_routes_have_a_metric_of_their_own() {
    on_a_host(|host| {
        let place = host.container("c1");
        let routes = json!([{"destination": "10.5.0.0/16", "gateway": "10.89.1.9"}]);
        let net = with(network(1, false), &json!({"routes": routes, "options": {"metric": "200"}}));
        let options = on("c1", 7, &[&net]);
        setup(host, &place, &options);
        let route = |to: &str| place.stdout(&format!("ip route show {to}")).trim().to_owned();
        assert_eq!(route("10.5.0.0/16"), "10.5.0.0/16 via 10.89.1.9 dev eth0 proto static metric 100");
        assert_eq!(route("default"), "default via 10.89.1.1 dev eth0 proto static metric 200");
        teardown(host, &place, &options);
        // One that another interface of the container reaches is that one's, and goes with the network.
        let routes = json!([{"destination": "10.5.0.0/16", "gateway": "10.99.0.9"}]);
        let options = on("c1", 7, &[&with(network(1, false), &json!({"routes": routes}))]);
        let before = host.snapshot();
        let said = error(&call(host, &["setup", &place.path()], &options));
        assert!(said.contains("no interface of the container reaches its gateway 10.99.0.9"), "{said}");
        host.assert_like(&before, "a route to nowhere");
        for line in
            ["link add far type veth peer name end", "addr add 10.99.0.1/24 dev far", "link set far up"]
        {
            place.run(&format!("ip {line}"));
        }
        setup(host, &place, &options);
        assert_eq!(
            route("10.5.0.0/16"),
            "10.5.0.0/16 via 10.99.0.9 dev far proto static metric 100 linkdown"
        );
        assert_eq!(host.qiao.run("check").code, Some(0), "{}", host.qiao.run("check"));
        teardown(host, &place, &options);
        assert_eq!(route("10.5.0.0/16"), "");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn teardown_goes_on_where_a_description_is_missing() {
    on_a_host(|host| {
        let place = host.container("c1");
        let mut options = on("c1", 7, &[&network(1, false), &network(2, false)]);
        setup(host, &place, &options);
        let gone = options["network_info"].as_object_mut().expect("an object").remove("net1");
        let said = error(&call(host, &["teardown", &place.path()], &options));
        assert_eq!(said, "network info for network net1 not found");
        let links = stdout("ip -br link");
        assert!(links.contains("podman1") && !links.contains("podman2"), "{links}");
        options["network_info"]["net1"] = gone.expect("it was there");
        teardown(host, &place, &options);
    });
}

/// A plugin's failure is told once, in netavark's words; what it makes is completed as other networks are.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn plugins_are_asked_and_quoted_as_by_netavark() {
    on_a_host(|host| {
        fs::create_dir_all("/run/plugins").expect("a directory");
        let program = |text: &str| {
            fs::write("/run/plugins/wire", format!("#!/bin/sh\n{text}\n")).expect("a plugin");
            run("chmod 755 /run/plugins/wire");
        };
        let place = host.container("c1");
        let net = with(network(1, false), &json!({"driver": "wire"}));
        let options = on("c1", 7, &[&net]);
        let words = ["--plugin-directory=/run/plugins", "setup", &place.path()];
        assert_eq!(error(&call(host, &words[1..], &options)), "unknown network driver \"wire\"");
        let garbage = "plugin \"wire\" failed: JSON Decoding error: expected value at line 1 column 1";
        let cases = [
            (
                "echo '{\"error\": \"no wire\"}'; exit 3",
                "plugin \"wire\" failed: exit code 3, message: no wire",
            ),
            ("kill -9 $$", "plugin \"wire\" failed: plugin \"wire\" killed by signal"),
            ("echo garbage", garbage),
            ("head -c 3000000 /dev/zero | tr '\\0' x", garbage),
        ];
        for (text, wanted) in cases {
            program(text);
            assert_eq!(error(&call(host, &words, &options)), wanted, "{text}");
        }
        program("cat | sed s/net1/other/");
        let create = json!({
            "network": with(net, &json!({"subnets": [{"subnet": "10.89.1.0/24"}]})),
            "used": {"interfaces": [], "names": {}, "subnets": []},
            "options": {"subnet_pools": [], "default_interface_name": "podman", "check_used_subnets": true},
        });
        let words = ["--plugin-directory=/run/plugins", "create"];
        let said = error(&call(host, &words, &create));
        assert_eq!(said, "wire plugin invalid result: changed network name");
        program("cat");
        assert_eq!(ok(host, &words, &create).json()["subnets"][0]["gateway"], "10.89.1.1");
    });
}

/// At `debug` every step is told; at what Podman asks for, nothing is.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn steps_are_told_where_somebody_asks_for_them() {
    on_a_host(|host| {
        let place = host.container("c1");
        let options = on("c1", 7, &[&network(1, false)]);
        let mut asked = command(host, &["setup", &place.path()]);
        asked.env("RUST_LOG", "netavark=debug");
        let said = told(asked, &options.to_string());
        let first =
            "[INFO  netavark::firewall] Using nftables firewall driver\n[DEBUG netavark::commands::setup] + ";
        assert!(said.code == Some(0) && said.stderr.starts_with(first), "{said}");
        assert!(said.stderr.contains("10.89.1.7/24"), "{said}");
        teardown(host, &place, &options);
    });
}
