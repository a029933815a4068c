//! CNI's `ptp`: links without a bridge, alone and with the plugins that come behind it.

use crate::cni_bridge::{LEASES, call, leases, ok};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, stdout};
use serde_json::Value;

/// A configuration of network `n1` with both families; `more` are further keys.
fn config(plugin: &str, more: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.1.0","name":"n1","type":"{plugin}","ipMasq":true,"ipam":{{"type":"host-local","dataDir":"{LEASES}",
        "ranges":[[{{"subnet":"10.9.0.0/24"}}],[{{"subnet":"fd00:9::/64"}}]],"routes":[{{"dst":"0.0.0.0/0"}},{{"dst":"::/0"}}]}}{more}}}"#
    )
}

fn add(host: &Host, place: &Place, more: &str) -> Value {
    ok(host, ("ptp", "ADD"), (place.name(), &place.path()), &config("ptp", more)).json()
}

fn answer(place: &Place, to: &str) -> String {
    ask(place, Protocol::Tcp, to).unwrap_or_default()
}

fn serve(place: &Place) -> Service {
    Service::start(place, Protocol::Tcp, "[::]:80")
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_path_works_and_nothing_is_left() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let before = host.snapshot();
        let result = add(host, &c1, "");
        add(host, &c2, "");
        let services = [serve(&c1), serve(&c2), serve(&host.lan), serve(&Place::HOST)];
        assert_eq!(answer(&c1, "10.9.0.3:80"), "c2 10.9.0.2", "one another, as themselves");
        assert_eq!(answer(&c1, "[fd00:9::3]:80"), "c2 fd00:9::2");
        assert_eq!(answer(&c1, "10.9.0.1:80"), "host 10.9.0.2", "the gateway");
        assert_eq!(answer(&Place::HOST, "10.9.0.2:80"), "c1 10.9.0.1", "from the host");
        assert_eq!(answer(&c1, "192.0.2.100:80"), "lan 192.0.2.1", "outside, as the host");
        assert_eq!(answer(&c1, "[2001:db8::100]:80"), "lan 2001:db8::1");
        assert_eq!(answer(&host.lan, "10.9.0.2:80"), "c1 192.0.2.100", "it is open, as the reference's");
        drop(services);
        the_result_is_true(&result, &c1);
        let prev = config("ptp", &format!(r#","prevResult":{result}"#));
        ok(host, ("ptp", "CHECK"), (c1.name(), &c1.path()), &prev);
        assert_eq!(host.ok("check").stdout.lines().count(), 1, "{}", host.ok("check"));
        for _ in 0..2 {
            ok(host, ("ptp", "DEL"), (c1.name(), ""), &config("ptp", ""));
        }
        assert_eq!(leases(), ["10.9.0.3", "fd00:9::3"]);
        c2.delete();
        ok(host, ("ptp", "DEL"), ("c2", ""), &config("ptp", ""));
        c1.delete();
        host.container("c1");
        host.container("c2");
        host.assert_like(&before, "both are gone");
    });
}

/// Their gateway is on no link but this one, and nobody else tells its hardware address.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn routes_with_attributes_lead_over_the_link() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let attributes = |plugin: &str, more: &str| {
            let default = r#"{"dst":"0.0.0.0/0"},{"dst":"::/0"}"#;
            let routes =
                r#"{"dst":"192.0.2.0/24","mtu":1300},{"dst":"2001:db8::/32","mtu":1280,"priority":7}"#;
            config(plugin, more).replace(default, routes)
        };
        let added = ok(host, ("ptp", "ADD"), (c1.name(), &c1.path()), &attributes("ptp", "")).json();
        let _lan = serve(&host.lan);
        assert_eq!(answer(&c1, "192.0.2.100:80"), "lan 192.0.2.1");
        assert_eq!(answer(&c1, "[2001:db8::100]:80"), "lan 2001:db8::1");
        assert!(
            c1.stdout("ip route show 192.0.2.0/24").contains("via 10.9.0.1 dev eth0"),
            "it is that route"
        );
        assert!(c1.stdout("ip -6 route show 2001:db8::/32").contains("metric 7"), "it is that route");
        let prev = attributes("ptp", &format!(r#","prevResult":{added}"#));
        ok(host, ("ptp", "CHECK"), (c1.name(), &c1.path()), &prev);
        ok(host, ("ptp", "DEL"), (c1.name(), ""), &attributes("ptp", ""));
    });
}

/// The host's end and the container's, as `ip` has them.
fn the_result_is_true(result: &Value, place: &Place) {
    let names: Vec<_> = result["interfaces"].as_array().unwrap().iter().map(|i| &i["name"]).collect();
    let host_if = names[0].as_str().unwrap();
    assert_eq!((names.len(), names[1].as_str()), (2, Some("eth0")));
    let mac = |at: usize| result["interfaces"][at]["mac"].as_str().unwrap().to_owned();
    assert!(stdout(&format!("ip link show {host_if}")).contains(&mac(0)), "{result}");
    assert!(place.stdout("ip link show eth0").contains(&mac(1)), "{result}");
    assert_eq!(result["interfaces"][1]["sandbox"], place.path());
    let addresses = place.stdout("ip -o addr show eth0");
    for ip in result["ips"].as_array().unwrap() {
        assert_eq!(ip["interface"], 1);
        assert!(addresses.contains(ip["address"].as_str().unwrap()), "{result} {addresses}");
    }
}

/// Networks may have one subnet, as the reference's, and differ in what they translate.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn networks_share_a_subnet() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let before = host.snapshot();
        let other = |more: &str| {
            let ips =
                r#""ranges":[[{"subnet":"10.9.0.0/24","rangeStart":"10.9.0.77","gateway":"10.9.0.9"}]]"#;
            format!(
                r#"{{"cniVersion":"0.4.0","name":"n2","type":"ptp","ipam":{{"type":"host-local","dataDir":"{LEASES}",{ips},
                "routes":[{{"dst":"0.0.0.0/0"}}]}}{more}}}"#
            )
        };
        add(host, &c1, "");
        ok(host, ("ptp", "ADD"), ("c2", &c2.path()), &other(""));
        let services = [serve(&c1), serve(&c2), serve(&host.lan)];
        assert_eq!(answer(&c1, "10.9.0.77:80"), "c2 10.9.0.2");
        assert_eq!(answer(&c1, "192.0.2.100:80"), "lan 192.0.2.1", "this one is translated");
        assert_eq!(answer(&c2, "192.0.2.100:80"), "lan 10.9.0.77", "this one is not");
        drop(services);
        ok(host, ("ptp", "DEL"), ("c1", ""), &config("ptp", ""));
        let _lan = serve(&host.lan);
        assert_eq!(answer(&c2, "192.0.2.100:80"), "lan 10.9.0.77", "the other goes on");
        ok(host, ("ptp", "DEL"), ("c2", ""), &other(""));
        drop(_lan);
        host.assert_like(&before, "both networks are gone");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_chain_behind_it_publishes_isolates_and_tunes() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let before = host.snapshot();
        let ports = r#","runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80}]}"#;
        let policy = r#","ingressPolicy":"isolated""#;
        let mac = r#","mac":"02:00:00:00:00:77""#;
        for place in [&c1, &c2] {
            let own = (place.name(), &*place.path());
            let mut prev = add(host, place, "");
            let chain = [("portmap", ports), ("tuning", mac), ("firewall", policy)];
            for (plugin, more) in &chain[if place.name() == "c1" { 0 } else { 2 }..] {
                prev = ok(
                    host,
                    (plugin, "ADD"),
                    own,
                    &config(plugin, &format!(r#"{more},"prevResult":{prev}"#)),
                )
                .json();
            }
            for plugin in ["ptp", "portmap", "firewall", "tuning"] {
                ok(host, (plugin, "CHECK"), own, &config(plugin, &format!(r#","prevResult":{prev}"#)));
            }
        }
        assert!(c1.stdout("ip link show eth0").contains("02:00:00:00:00:77"));
        let services = [serve(&c1), serve(&c2), serve(&host.lan)];
        assert_eq!(answer(&host.lan, "192.0.2.1:8080"), "c1 192.0.2.100", "published");
        assert_eq!(answer(&c1, "192.0.2.1:8080"), "c1 10.9.0.1", "its own published port");
        assert!(answer(&Place::HOST, "127.0.0.1:8080").starts_with("c1 "));
        assert_eq!(answer(&c1, "192.0.2.100:80"), "lan 192.0.2.1", "outside, with its new hardware address");
        assert_eq!(answer(&c1, "10.9.0.3:80"), "", "isolated");
        assert_eq!(answer(&c2, "10.9.0.2:80"), "", "isolated");
        drop(services);
        for place in [&c1, &c2] {
            for plugin in ["tuning", "firewall", "portmap", "ptp"] {
                ok(host, (plugin, "DEL"), (place.name(), ""), &config(plugin, ""));
            }
        }
        host.assert_like(&before, "the chains are gone");
    });
}

/// Those of one subnet reach one another, and of others nobody.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn same_bridge_is_same_subnet() {
    on_a_host(|host| {
        let places = ["c1", "c2", "c3"].map(|name| host.container(name));
        let before = host.snapshot();
        let other = |plugin: &str, more: &str| {
            config(plugin, more)
                .replace("10.9.0.", "10.8.0.")
                .replace("fd00:9:", "fd00:8:")
                .replace("n1", "n2")
        };
        let of = |place: &Place, plugin: &str, more: &str| match place.name() {
            "c3" => other(plugin, more),
            _ => config(plugin, more),
        };
        for (place, policy) in places.iter().zip([true, true, false]) {
            let own = (place.name(), &*place.path());
            let prev = ok(host, ("ptp", "ADD"), own, &of(place, "ptp", "")).stdout;
            let policy = if policy { r#""same-bridge""# } else { r#""open""# };
            let more = format!(r#","ingressPolicy":{policy},"prevResult":{prev}"#);
            ok(host, ("firewall", "ADD"), own, &of(place, "firewall", &more));
        }
        let services = [serve(&places[0]), serve(&places[2])];
        assert_eq!(answer(&places[1], "10.9.0.2:80"), "c1 10.9.0.3", "the same");
        assert_eq!(answer(&places[2], "10.9.0.2:80"), "c1 10.8.0.2", "an open one is not kept apart");
        let own = ("c3", &*places[2].path());
        ok(host, ("ptp", "DEL"), ("c3", ""), &other("ptp", ""));
        let prev = ok(host, ("ptp", "ADD"), own, &other("ptp", "")).stdout;
        let more = format!(r#","ingressPolicy":"same-bridge","prevResult":{prev}"#);
        ok(host, ("firewall", "ADD"), own, &other("firewall", &more));
        assert_eq!(answer(&places[2], "10.9.0.2:80"), "", "from another one that is");
        drop(services);
        for place in &places {
            ok(host, ("ptp", "DEL"), (place.name(), ""), &of(place, "ptp", ""));
        }
        host.assert_like(&before, "all are gone");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_makes_no_sense_is_refused_and_leaves_nothing() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let before = host.snapshot();
        let own = ("c1", &*c1.path());
        let bare = |more: &str| format!(r#"{{"cniVersion":"1.0.0","name":"n1","type":"ptp"{more}}}"#);
        let fixed = |address: &str| {
            bare(&format!(r#","ipam":{{"type":"static","addresses":[{{"address":"{address}"}}]}}"#))
        };
        for (config, code) in [
            (bare(""), 7),
            (bare(r#","mtu":"big""#), 7),
            (fixed("10.9.0.1/32"), 7),
            (config("ptp", r#","mtu":70000"#), 7),
        ] {
            let refused = call(host, ("ptp", "ADD"), own, &config);
            assert_eq!(refused.json()["code"], code, "{refused}");
            assert_eq!(leases(), [""; 0], "{refused}");
            host.assert_like(&before, "it was refused");
        }
    });
}
