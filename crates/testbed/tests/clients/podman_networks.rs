//! Podman's containers: published ports, addresses, several networks.

use crate::machine::{address, answers, is_closed, is_published, no_rule_has};
use crate::plugins::on_a_host_with_plugins;
use crate::podman::Podman;
use qiao_testbed::{Place, Protocol, Service, ask};
use std::collections::BTreeSet;
use std::thread;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_published_port_leads_to_the_container_and_goes_with_it() {
    on_a_host_with_plugins(|host| {
        let podman = Podman::inhabited(host);
        let before = podman.machine.snapshot();
        podman.start("web", "-p 8080:80");
        let web = podman.place("web");
        is_published(host, &web, 8080);
        web.delete();
        podman.remove("web");
        is_closed(host, 8080);
        podman.machine.assert_like(&before, "podman run and rm");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_and_a_mac_that_were_asked_for() {
    on_a_host_with_plugins(|host| {
        let podman = Podman::new(host);
        podman.start("web", "--ip 10.88.0.77 --mac-address 02:00:00:00:00:77");
        let web = podman.place("web");
        assert_eq!(address(&web, "eth0"), "10.88.0.77");
        assert!(web.stdout("ip -o link show dev eth0").contains("02:00:00:00:00:77"));
        assert_eq!(podman.ok("inspect --format {{.NetworkSettings.IPAddress}} web"), "10.88.0.77");
        let taken = podman.run("run --name other --ip 10.88.0.77 localhost/busybox /bin/true");
        assert_ne!(taken.code, Some(0), "the address is taken: {taken}");
        web.delete();
        podman.remove("web");
        podman.start("next", "--ip 10.88.0.77");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_networks_of_which_one_is_left_and_joined_again() {
    on_a_host_with_plugins(|host| {
        let podman = Podman::new(host);
        podman.ok("network create --subnet 10.90.1.0/24 one");
        podman.ok("network create --subnet 10.90.2.0/24 two");
        podman.start("web", "--network one --network two -p 8080:80");
        podman.start("friend", "--network two");
        let (web, friend) = (podman.place("web"), podman.place("friend"));
        let both: BTreeSet<_> = ["eth0", "eth1"].iter().map(|name| address(&web, name)).collect();
        assert!(
            both.iter().any(|a| a.starts_with("10.90.1.")) && both.iter().any(|a| a.starts_with("10.90.2."))
        );
        is_published(host, &web, 8080);
        let _server = Service::start(&web, Protocol::Tcp, "0.0.0.0:81");
        let on_two = |place: &Place| {
            let text = place.stdout("ip -o -4 addr");
            text.split_whitespace().find(|word| word.starts_with("10.90.2.")).map(str::to_owned)
        };
        let to = |text: String| format!("{}:81", text.split('/').next().unwrap_or_default());
        answers(&friend, &to(on_two(&web).expect("an address on two")), "web");
        podman.ok("network disconnect two web");
        assert_eq!(on_two(&web), None);
        podman.ok("network connect two web");
        answers(&friend, &to(on_two(&web).expect("an address on two")), "web");
        web.delete();
        podman.remove("web");
        is_closed(host, 8080);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn eight_containers_at_once() {
    const COUNT: u16 = 8;
    on_a_host_with_plugins(|host| {
        let podman = Podman::inhabited(host);
        let before = podman.machine.snapshot();
        let all = |act: &(dyn Fn(u16) + Sync)| {
            thread::scope(|scope| (1..=COUNT).for_each(|n| drop(scope.spawn(move || act(n)))));
        };
        all(&|n| podman.start(&format!("c{n}"), &format!("-p {}:80", 8080 + n)));
        let places: Vec<_> = (1..=COUNT).map(|n| podman.place(&format!("c{n}"))).collect();
        let addresses: BTreeSet<_> = places.iter().map(|place| address(place, "eth0")).collect();
        assert_eq!(addresses.len(), usize::from(COUNT), "{addresses:?}");
        for (place, n) in places.iter().zip(1..) {
            let _server = Service::start(place, Protocol::Tcp, "0.0.0.0:80");
            answers(&host.lan, &format!("192.0.2.1:{}", 8080 + n), place.name());
        }
        places.into_iter().for_each(Place::delete);
        all(&|n| podman.remove(&format!("c{n}")));
        addresses.iter().for_each(|address| no_rule_has(&format!("{address}:80")));
        assert_eq!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8081"), None);
        podman.machine.assert_like(&before, "eight containers at once");
    });
}
