//! CNI: routes to the subnets of the interface's own, which the kernel makes with the addresses, and routes that are
//! given twice.

use crate::cni_bridge::{call, ok};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask};

const RANGES: &str = r#""type":"host-local","dataDir":"/run/leases","ranges":[[{"subnet":"10.1.0.0/24"}],[{"subnet":"fd00:1::/64"}]]"#;
const BRIDGE: &str = r#""type":"bridge","bridge":"cni0","isGateway":true"#;
const DEFAULT: &str = r#""type":"bridge","bridge":"cni0","isDefaultGateway":true"#;

fn config(plugin: &str, routes: &str, more: &str) -> String {
    format!(r#"{{"cniVersion":"1.0.0","name":"n1",{plugin},"ipam":{{{RANGES},"routes":[{routes}]}}{more}}}"#)
}

/// The name of the plugin.
fn kind(plugin: &str) -> &str {
    plugin.split('"').nth(3).expect("a type")
}

/// ADD, CHECK, `check`, `repair`, which has nothing to do, and what `look` sees; DEL.
fn through(host: &Host, place: &Place, (plugin, routes): (&str, &str), look: &dyn Fn(&Place)) {
    let (name, path) = (place.name(), place.path());
    let plain = config(plugin, routes, "");
    let added = call(host, (kind(plugin), "ADD"), (name, &path), &plain);
    assert_eq!(added.code, Some(0), "{plugin} {routes}: {added}");
    let prev = format!(r#","prevResult":{}"#, added.stdout);
    let checked = call(host, (kind(plugin), "CHECK"), (name, &path), &config(plugin, routes, &prev));
    assert_eq!(checked.code, Some(0), "{plugin} {routes}: {checked}");
    let told = host.ok("check").stdout + &host.ok("repair").stdout;
    assert!(!told.contains("route"), "{routes}: {told}");
    look(place);
    ok(host, (kind(plugin), "DEL"), (name, &path), &plain);
}

/// What the destination's routes are, without what `ip` says of all.
fn routes(place: &Place, net: &str) -> Vec<String> {
    let family = if net.contains(':') { "-6" } else { "-4" };
    let text = place.stdout(&format!("ip {family} route show exact {net}"));
    let words = |line: &str| line.replace(" pref medium", "").trim().to_owned();
    text.lines().map(words).filter(|line| !line.contains("multicast")).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn b3_a_route_to_the_own_subnet_is_the_kernels() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let before = host.snapshot();
        // The second is that of the configuration that cri-o ships: with bits of a host.
        for own in ["10.1.0.0/24", "10.1.0.1/24", "fd00:1::/64", "fd00:1::1/64", "fe80::/64"] {
            let asked = format!(r#"{{"dst":"0.0.0.0/0"}},{{"dst":"{own}"}}"#);
            let net = own.replace("::1/", "::/").replace(".1/", ".0/");
            let look = |place: &Place| {
                let found = routes(place, &net);
                assert!(found.len() == 1 && found[0].contains("proto kernel"), "{own}: {found:?}");
            };
            for plugin in [BRIDGE, DEFAULT, r#""type":"macvlan","master":"up0""#] {
                through(host, &c1, (plugin, &asked), &look);
            }
            // There is no link that the subnet is on: it is behind the gateway.
            through(host, &c1, (r#""type":"ptp""#, &asked), &|_| {});
        }
        let all = r#"{"dst":"10.1.0.0/24"},{"dst":"fd00:1::/64"}"#;
        let neighbour = config(BRIDGE, all, "");
        ok(host, ("bridge", "ADD"), (c2.name(), &c2.path()), &neighbour);
        let ip = c2.stdout("ip -4 -o addr show eth0").split_whitespace().nth(3).unwrap().replace("/24", "");
        let service = Service::start(&c2, Protocol::Tcp, &format!("{ip}:80"));
        through(host, &c1, (BRIDGE, all), &|place| {
            assert!(
                ask(place, Protocol::Tcp, &format!("{ip}:80")).is_some(),
                "its neighbours are on the link"
            );
        });
        drop(service);
        ok(host, ("bridge", "DEL"), (c2.name(), &c2.path()), &neighbour);
        host.assert_like(&before, "all are gone");
    });
}

/// Then it is beside the kernel's, and in front of it, as the reference's is.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn b3_a_route_to_the_own_subnet_with_more_is_beside_the_kernels() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let by = r#"{"dst":"10.1.0.0/24","gw":"10.1.0.9"},{"dst":"fd00:1::/64","gw":"fd00:1::9"}"#;
        let look = |place: &Place| {
            let four = routes(place, "10.1.0.0/24");
            assert!(four.len() == 2 && four[0].contains("via 10.1.0.9"), "{four:?}");
            let six = routes(place, "fd00:1::/64");
            assert!(six.iter().any(|route| route.contains("via fd00:1::9")), "{six:?}");
            // Who is root in the container takes it away; `repair` mends it, and leaves the kernel's.
            place.run("ip route del 10.1.0.0/24 via 10.1.0.9");
            host.ok("repair");
            assert_eq!(routes(place, "10.1.0.0/24"), four);
        };
        through(host, &c1, (BRIDGE, by), &look);
        let mtu = r#"{"dst":"10.1.0.0/24","mtu":1400},{"dst":"fd00:1::/64","mtu":1400}"#;
        through(host, &c1, (BRIDGE, mtu), &|place| {
            assert!(routes(place, "10.1.0.0/24")[0].contains("mtu 1400"));
            assert!(place.stdout("ip route get 10.1.0.77").contains("via 10.1.0.1"));
        });
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn b3_a_route_may_be_given_twice() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let twice =
            r#"{"dst":"10.2.0.0/24"},{"dst":"10.2.0.0/24"},{"dst":"fd00:2::/64"},{"dst":"fd00:2::/64"}"#;
        through(host, &c1, (BRIDGE, twice), &|place| {
            assert_eq!(routes(place, "10.2.0.0/24").len(), 1);
            assert_eq!(routes(place, "fd00:2::/64").len(), 1);
        });
        let more = r#"{"dst":"10.2.0.0/24"},{"dst":"10.2.0.0/24","mtu":1400}"#;
        through(host, &c1, (BRIDGE, more), &|place| {
            let found = routes(place, "10.2.0.0/24");
            assert!(found.len() == 1 && found[0].contains("mtu 1400"), "{found:?}");
        });
        let default = r#"{"dst":"0.0.0.0/0"},{"dst":"::/0"},{"dst":"0.0.0.0/0","gw":"10.1.0.1"}"#;
        through(host, &c1, (DEFAULT, default), &|place| assert_eq!(routes(place, "default").len(), 1));
    });
}
