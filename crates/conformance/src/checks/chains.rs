//! Section 3: chains, as runtimes write them.

use super::{addresses, bridge, with};
use crate::attachment::Attachment;
use crate::check::Check;
use crate::network::Network;
use crate::stage::Stage;
use crate::verdict::{Met, must, of, same};
use qiao_testbed::{Place, Protocol, Service, ask, eventually, stdout};
use serde_json::{Value, json};
use std::time::Duration;

const CHAIN: &[&str] = &["bridge", "host-local", "portmap", "firewall", "tuning"];

pub const CHECKS: &[Check] = &[
    Check::custom(
        "CHAIN-1",
        ("podman 4.3", "bridge, portmap, firewall with an empty backend and tuning, in 0.4.0: published, hairpin, and nothing left"),
        |stage| works_and_leaves_nothing(&podman(stage), true),
    )
    .on(CHAIN),
    Check::custom(
        "CHAIN-2",
        ("nerdctl", "bridge, portmap, firewall with same-bridge and tuning, in 1.0.0: published, hairpin, and nothing left"),
        |stage| works_and_leaves_nothing(&nerdctl(stage, "net", ("cni0", "10.88.0")), true),
    )
    .on(CHAIN),
    Check::custom(
        "CHAIN-3",
        ("containerd CRI", "bridge and portmap, in 1.0.0: published, and nothing left"),
        |stage| works_and_leaves_nothing(&cri(stage), false),
    )
    .on(&["bridge", "host-local", "portmap"]),
    Check::custom(
        "CHAIN-4",
        ("firewall", "ingressPolicy same-bridge keeps containers of other bridges out, and those of the same in"),
        isolation,
    )
    .on(CHAIN),
    Check::must(
        "CHAIN-5",
        ("Section 2", "a chained plugin without `prevResult` on ADD is an error"),
        chained_alone,
    )
    .on(&["portmap", "firewall"]),
    Check::must("CHAIN-6", ("CHECK", "the whole chain is content right after ADD"), whole_check).on(CHAIN),
    Check::must(
        "CHAIN-7",
        ("DEL", "the chain is deleted although `prevResult` is lost, the namespace is gone, and twice"),
        deleted_in_the_dark,
    )
    .on(CHAIN),
    Check::custom(
        "CHAIN-8",
        ("tuning", "`tuning` sets sysctls and the MAC in the container, and the MAC is in the result"),
        tuning,
    )
    .on(CHAIN),
    Check::custom(
        "CHAIN-9",
        ("firewall", "traffic of the container passes although the host drops forwarded packets by default in `iptables`"),
        firewall_opens,
    )
    .on(CHAIN),
    Check::custom(
        "CHAIN-10",
        ("real life", "a container reaches itself by its published port, also without `hairpinMode`"),
        hairpin_without_the_mode,
    )
    .on(&["bridge", "host-local", "portmap"]),
];

fn chained(mut rest: Vec<Value>, first: Value) -> Vec<Value> {
    rest.insert(0, first);
    rest
}

fn ports() -> Value {
    json!({"type": "portmap", "capabilities": {"portMappings": true}})
}

/// What `podman network create` writes.
fn podman(stage: &Stage) -> Network<'_> {
    let first = json!({
        "type": "bridge", "bridge": "cni-podman0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}], "ranges": [[{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}]]},
    });
    let rest = vec![ports(), json!({"type": "firewall", "backend": ""}), json!({"type": "tuning"})];
    Network::new(stage, ("0.4.0", "podman"), &chained(rest, first))
}

/// What `nerdctl network create` writes.
fn nerdctl<'s>(stage: &'s Stage, name: &str, (bridge, net): (&str, &str)) -> Network<'s> {
    let first = json!({
        "type": "bridge", "bridge": bridge, "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}], "ranges": [[{"subnet": format!("{net}.0/24"), "gateway": format!("{net}.1")}]]},
    });
    let rest =
        vec![ports(), json!({"type": "firewall", "ingressPolicy": "same-bridge"}), json!({"type": "tuning"})];
    Network::new(stage, ("1.0.0", name), &chained(rest, first))
}

/// What containerd's installer writes.
fn cri(stage: &Stage) -> Network<'_> {
    let mut first = with(&with(&bridge(), "ipMasq", &json!(true)), "promiscMode", &json!(true));
    first["ipam"]["ranges"] = json!([[{"subnet": "10.88.0.0/16"}], [{"subnet": "fd00:88::/64"}]]);
    Network::new(stage, ("1.0.0", "containerd-net"), &[first, ports()])
}

fn publishing(attachment: &Attachment, port: u16) -> Attachment {
    attachment.offering(
        json!({"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp", "hostIP": ""}]}),
    )
}

fn reaches(from: &Place, to: &str) -> Met {
    let answered = eventually(Duration::from_secs(8), || ask(from, Protocol::Tcp, to).is_some());
    must(answered, || format!("{to} does not answer {}", from.name()))
}

fn works_and_leaves_nothing(network: &Network<'_>, hairpin: bool) -> Met {
    let stage = network.stage();
    let (_, resident) = stage.container("resident");
    network.add(&publishing(&resident, 8079))?;
    // What the first DEL makes for all to come is not left by the second.
    let rehearsal = publishing(&stage.container("rehearsal").1, 8078);
    network.del(&rehearsal, Some(&network.add(&rehearsal)?))?;
    let before = stage.snapshot();
    let (place, attachment) = stage.container("web");
    let attachment = publishing(&attachment, 8080);
    let result = network.add(&attachment)?;
    {
        let _server = Service::start(&place, Protocol::Tcp, "0.0.0.0:80");
        reaches(&stage.lan, "192.0.2.1:8080")?;
        reaches(&Place::HOST, "192.0.2.1:8080")?;
        if hairpin {
            of("hairpin", reaches(&place, "192.0.2.1:8080"))?;
        }
        of("outside", outside(stage, &place))?;
    }
    network.del(&attachment, Some(&result))?;
    qiao_testbed::run("conntrack -F");
    must(ask(&stage.lan, Protocol::Tcp, "192.0.2.1:8080").is_none(), || {
        "the port is still served".to_owned()
    })?;
    qiao_testbed::run("conntrack -F");
    stage.unchanged(&before, "DEL of the chain")
}

fn outside(stage: &Stage, place: &Place) -> Met {
    let _server = Service::start(&stage.lan, Protocol::Tcp, "0.0.0.0:99");
    let answer = ask(place, Protocol::Tcp, "192.0.2.100:99");
    same("who asked", &answer, &Some("lan 192.0.2.1".to_owned()))
}

fn isolation(stage: &Stage) -> Met {
    let (one, other) =
        (nerdctl(stage, "one", ("cni1", "10.91.0")), nerdctl(stage, "other", ("cni2", "10.92.0")));
    let (web, attachment) = stage.container("web");
    let address = format!("{}:80", addresses(&one.add(&attachment)?)[0]);
    let (friend, attachment) = stage.container("friend");
    one.add(&attachment)?;
    let (stranger, attachment) = stage.container("stranger");
    other.add(&attachment)?;
    let _server = Service::start(&web, Protocol::Tcp, "0.0.0.0:80");
    reaches(&friend, &address)?;
    must(ask(&stranger, Protocol::Tcp, &address).is_none(), || "a stranger reaches the container".to_owned())
}

fn chained_alone(stage: &Stage) -> Met {
    let ports = json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]});
    let (_, attachment) = stage.container("c1");
    for config in [
        with(&ports_config(), "runtimeConfig", &ports),
        json!({"cniVersion": "1.0.0", "name": "net", "type": "firewall"}),
    ] {
        of(&config["type"].to_string(), stage.run("ADD", &config, &attachment).refusal().map(drop))?;
    }
    Ok(())
}

fn ports_config() -> Value {
    with(&with(&ports(), "cniVersion", &json!("1.0.0")), "name", &json!("net"))
}

fn whole_check(stage: &Stage) -> Met {
    for network in [podman(stage), nerdctl(stage, "net", ("cni0", "10.93.0"))] {
        let attachment = publishing(&stage.container(&network.name()).1, 8080);
        let result = network.add(&attachment)?;
        let answers = network.check(&attachment, &result);
        answers
            .iter()
            .zip(["bridge", "portmap", "firewall", "tuning"])
            .try_for_each(|(a, who)| of(who, a.nothing()))?;
        network.del(&attachment, Some(&result))?;
    }
    Ok(())
}

fn deleted_in_the_dark(stage: &Stage) -> Met {
    let network = nerdctl(stage, "net", ("cni0", "10.88.0"));
    network.add(&publishing(&stage.container("resident").1, 8079))?;
    let before = stage.snapshot();
    let (place, attachment) = stage.container("web");
    let attachment = publishing(&attachment, 8080);
    let address = addresses(&network.add(&attachment)?)[0].clone();
    stage.some_rule_with(&address)?;
    place.delete();
    network.del(&attachment, None)?;
    network.del(&attachment.at(""), None)?;
    network.del(&attachment.at(""), Some(&json!({"cniVersion": "1.0.0", "ips": [], "interfaces": []})))?;
    stage.no_rules_with(&address)?;
    stage.unchanged(&before, "DEL in the dark")
}

fn tuning(stage: &Stage) -> Met {
    let tuned = json!({"type": "tuning", "mac": "02:00:00:00:77:77", "mtu": 1400, "sysctl": {"net.ipv4.conf.IFNAME.arp_announce": "2"}});
    let network = Network::new(stage, ("1.0.0", "net"), &[bridge(), tuned]);
    let (place, attachment) = stage.container("c1");
    let result = network.add(&attachment)?;
    let link = place.stdout("ip -o link show dev eth0");
    must(link.contains("02:00:00:00:77:77") && link.contains("mtu 1400"), || link)?;
    let value = place.stdout("cat /proc/sys/net/ipv4/conf/eth0/arp_announce");
    same("the sysctl", &value.trim(), &"2")?;
    let macs: Vec<_> =
        result["interfaces"].as_array().into_iter().flatten().map(|i| i["mac"].clone()).collect();
    must(macs.contains(&json!("02:00:00:00:77:77")), || format!("MACs of the result: {macs:?}"))?;
    network.del(&attachment, Some(&result))
}

fn firewall_opens(stage: &Stage) -> Met {
    stdout("iptables -P FORWARD DROP");
    let network = podman(stage);
    let (place, attachment) = stage.container("c1");
    network.add(&attachment)?;
    outside(stage, &place)
}

fn hairpin_without_the_mode(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("web");
    cri(stage).add(&publishing(&attachment, 8080))?;
    let _server = Service::start(&place, Protocol::Tcp, "0.0.0.0:80");
    reaches(&stage.lan, "192.0.2.1:8080")?;
    reaches(&place, "192.0.2.1:8080")
}
