//! CNI on a bridge of somebody else's: it is one also while it has no port, and what containers on it remember does not
//! change by our doing.

use crate::cni_bridge::{call, ok};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, run, stdout};

const CONFIG: &str = r#"{"cniVersion":"1.0.0","name":"n1","type":"bridge","bridge":"br0","isDefaultGateway":true,"ipam":{
    "type":"host-local","dataDir":"/run/leases","ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00:1::/64"}]]}}"#;

fn add(host: &Host, place: &Place) -> serde_json::Value {
    ok(host, ("bridge", "ADD"), (place.name(), &place.path()), CONFIG).json()
}

fn del(host: &Host, place: &Place) {
    ok(host, ("bridge", "DEL"), (place.name(), &place.path()), CONFIG);
}

fn bridge_mac() -> String {
    stdout("cat /sys/class/net/br0/address").trim().to_owned()
}

/// What a container has of the gateway in its neighbour table.
fn remembered(place: &Place) -> String {
    let neighbours = place.stdout("ip -4 neigh show 10.1.0.1 dev eth0");
    neighbours.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).unwrap_or("nothing").to_owned()
}

fn reaches_gateway(place: &Place) -> bool {
    ask(place, Protocol::Udp, "10.1.0.1:7").is_some()
}

/// A container that another program made: its port has an address such as the kernel gives.
fn stranger(mac: &str) -> Place {
    let place = Place::new("stranger");
    run(&format!("ip link add other0 address {mac} type veth peer name eth0 netns stranger"));
    run("ip link set other0 master br0 up");
    place.run("ip addr add 10.1.0.200/24 dev eth0");
    place.run("ip link set eth0 up");
    place
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn b1_a_bridge_without_ports_is_a_bridge() {
    on_a_host(|host| {
        run("ip link add br0 type bridge");
        run("ip link set br0 up");
        let c1 = host.container("c1");
        for round in 0..3 {
            let added = call(host, ("bridge", "ADD"), (c1.name(), &c1.path()), CONFIG);
            assert_eq!(added.code, Some(0), "round {round}: {added}");
            assert_eq!(added.json()["interfaces"][0]["mac"], bridge_mac(), "as the kernel has it");
            host.ok("check");
            host.ok("repair");
            del(host, &c1);
            assert_eq!(bridge_mac(), "00:00:00:00:00:00", "so the kernel has it without ports");
        }
        run("ip link del br0");
        // Another kind of link is none still.
        run("ip link add br0 type veth peer name br0p");
        let refused = call(host, ("bridge", "ADD"), (c1.name(), &c1.path()), CONFIG);
        assert_eq!(refused.json()["code"], 100, "{refused}");
        assert!(refused.stdout.contains("is no bridge"), "{refused}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn b2_the_gateway_of_others_stays_where_they_remember_it() {
    on_a_host(|host| {
        run("ip link add br0 type bridge");
        run("ip link set br0 up");
        let places: Vec<Place> = (1..=6).map(|n| host.container(&format!("c{n}"))).collect();
        let service = Service::start(&Place::HOST, Protocol::Udp, "0.0.0.0:7");
        let mut here: Vec<&Place> = Vec::new();
        let remembers = |place: &Place, when: &str| {
            assert_eq!(remembered(place), bridge_mac(), "{} {when}", place.name());
            assert!(reaches_gateway(place), "{} {when}", place.name());
        };
        for place in &places {
            add(host, place);
            here.push(place);
            assert!(reaches_gateway(place));
            here.iter().for_each(|other| remembers(other, &format!("after ADD of {}", place.name())));
        }
        // In the order that their ports came, in the opposite one, and from the middle.
        for at in [0, 4, 1, 1] {
            let left = here.remove(at);
            del(host, left);
            here.iter().for_each(|other| remembers(other, &format!("after DEL of {}", left.name())));
        }
        here.iter().for_each(|place| del(host, place));
        drop(service);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn b2_our_ports_are_never_what_names_a_bridge_with_others() {
    on_a_host(|host| {
        for mac in ["02:00:00:00:00:07", "fe:54:00:12:34:56", "fe:ff:ff:ff:ff:fe"] {
            run("ip link add br0 type bridge");
            run("ip link set br0 up");
            run("ip addr add 10.1.0.1/24 dev br0");
            let service = Service::start(&Place::HOST, Protocol::Udp, "0.0.0.0:7");
            let other = stranger(mac);
            assert!(reaches_gateway(&other) && remembered(&other) == mac);
            let (c1, c2) = (host.container("c1"), host.container("c2"));
            for place in [&c1, &c2] {
                add(host, place);
                assert!(reaches_gateway(place) && reaches_gateway(&other));
            }
            del(host, &c1);
            assert_eq!(
                (remembered(&other), remembered(&c2), bridge_mac()),
                (mac.into(), mac.into(), mac.into())
            );
            assert!(reaches_gateway(&c2) && reaches_gateway(&other));
            del(host, &c2);
            assert_eq!(bridge_mac(), mac);
            drop(service);
            run("ip link del br0");
            run("ip link del other0");
            ["stranger", "c1", "c2"].iter().for_each(|name| run(&format!("ip netns del {name}")));
        }
    });
}

/// An address that an administrator gave the bridge stays.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn b2_an_address_that_was_given_stays() {
    on_a_host(|host| {
        run("ip link add br0 address 02:00:00:00:00:77 type bridge");
        run("ip link set br0 up");
        let c1 = host.container("c1");
        let added = add(host, &c1);
        assert_eq!(added["interfaces"][0]["mac"], "02:00:00:00:00:77");
        assert_eq!(stdout("cat /sys/class/net/br0/addr_assign_type").trim(), "3");
        del(host, &c1);
        assert_eq!(bridge_mac(), "02:00:00:00:00:77");
        run("ip link del br0");
        // And one that was given to none is not pinned.
        run("ip link add br0 type bridge");
        add(host, &c1);
        assert_eq!(stdout("cat /sys/class/net/br0/addr_assign_type").trim(), "1");
        del(host, &c1);
    });
}
