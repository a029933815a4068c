//! What users of the reference plugins suffered from.

use super::{addresses, bridge, with};
use crate::attachment::Attachment;
use crate::check::Check;
use crate::network::Network;
use crate::stage::{Stage, write};
use crate::verdict::{Met, must, same};
use qiao_testbed::{Place, Protocol, Service, ask, ask_from, run, stdout};
use serde_json::{Value, json};
use std::path::Path;

const PORTMAP: &[&str] = &["bridge", "host-local", "portmap"];

pub const CHECKS: &[Check] = &[
    Check::custom(
        "LEAK-1",
        (
            "plugins#810",
            "DEL with an empty CNI_NETNS removes the rules for masquerading, also without `prevResult`",
        ),
        masquerade,
    ),
    Check::custom(
        "LEAK-2",
        ("plugins#123", "UDP clients that asked before ADD reach the container after it"),
        udp_before_add,
    )
    .on(PORTMAP),
    Check::custom(
        "LEAK-3",
        ("plugins#1190", "UDP clients of a container that is gone reach the next one behind the port"),
        udp_after_del,
    )
    .on(PORTMAP),
    Check::custom(
        "LEAK-4",
        ("plugins#1209", "traffic that passes through the host to the same port elsewhere is not stolen"),
        transit,
    )
    .on(PORTMAP),
    Check::custom(
        "LEAK-5",
        ("plugins#510", "a container without published ports costs no rules of `portmap`"),
        no_ports,
    )
    .on(PORTMAP),
    Check::custom(
        "LEAK-6",
        ("real life", "a host port that is taken is refused, and the first container keeps it"),
        taken_port,
    )
    .on(PORTMAP),
    Check::custom(
        "LEAK-7",
        ("real life", "a container can have a port that another gave up just now"),
        port_again,
    )
    .on(PORTMAP),
    Check::custom(
        "LEAK-8",
        ("firewall", "the rules of `ingressPolicy` go with the last container of the bridge"),
        isolation_rules,
    )
    .on(&["bridge", "host-local", "firewall"]),
    Check::custom("LEAK-9", ("real life", "ten ADDs and DELs leave what one leaves"), many_times).on(PORTMAP),
    Check::custom(
        "LEAK-10",
        ("real life", "rules of others are left as they are, by ADD, DEL and CHECK"),
        foreign_rules,
    )
    .on(PORTMAP),
    Check::custom(
        "LEAK-11",
        ("real life", "a bridge that somebody else made is used, and left as it is"),
        foreign_bridge,
    ),
    Check::custom(
        "LEAK-12",
        ("GHSA-2cjc-h3qv", "a neighbour of the network cannot reach 127.0.0.1 services of the host"),
        route_localnet,
    )
    .on(PORTMAP),
];

fn network(stage: &Stage) -> Network<'_> {
    let chain = [
        with(&bridge(), "ipMasq", &json!(true)),
        json!({"type": "portmap", "capabilities": {"portMappings": true}}),
    ];
    Network::new(stage, ("1.0.0", "net"), &chain)
}

fn publishing(attachment: &Attachment, (port, protocol): (u16, &str)) -> Attachment {
    attachment
        .offering(json!({"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": protocol}]}))
}

fn masquerade(stage: &Stage) -> Met {
    let config = with(&bridge(), "ipMasq", &json!(true));
    let (_, resident) = stage.container("resident");
    stage.add(&config, &resident)?;
    let before = stage.snapshot();
    for with_result in [true, false] {
        let (place, attachment) = stage.container(if with_result { "told" } else { "untold" });
        let result = stage.add(&config, &attachment)?;
        place.delete();
        let config = if with_result { with(&config, "prevResult", &result) } else { config.clone() };
        stage.del(&config, &attachment.at(""))?;
        stage.no_rules_with(&addresses(&result)[0])?;
        stage.unchanged(&before, "DEL with an empty CNI_NETNS")?;
    }
    Ok(())
}

/// A UDP client that always asks from the same port, so that its flow never dies by itself.
fn stubborn(stage: &Stage) -> Option<String> {
    ask_from(&stage.lan, Protocol::Udp, ("192.0.2.100:40000", "192.0.2.1:5353"))
}

fn server(stage: &Stage, name: &str) -> Met<(Attachment, Value, Place)> {
    let (place, attachment) = stage.container(name);
    let attachment = publishing(&attachment, (5353, "udp"));
    let result = network(stage).add(&attachment)?;
    Ok((attachment, result, place))
}

fn follows(stage: &Stage, name: &str) -> Met {
    let found = qiao_testbed::eventually(std::time::Duration::from_secs(1), || {
        stubborn(stage).is_some_and(|answer| answer.starts_with(name))
    });
    must(found, || format!("{name} is not reached; {:?} answers", stubborn(stage)))
}

fn udp_before_add(stage: &Stage) -> Met {
    same("an answer before", &stubborn(stage), &None)?;
    let (_, _, place) = server(stage, "web")?;
    let _service = Service::start(&place, Protocol::Udp, "0.0.0.0:80");
    follows(stage, "web")
}

fn udp_after_del(stage: &Stage) -> Met {
    let (attachment, result, place) = server(stage, "old")?;
    let service = Service::start(&place, Protocol::Udp, "0.0.0.0:80");
    follows(stage, "old")?;
    drop(service);
    network(stage).del(&attachment, Some(&result))?;
    let flows = stdout("conntrack -L -p udp");
    let address = addresses(&result)[0].clone();
    must(!flows.contains(&address), || format!("after DEL a flow leads to {address}"))?;
    let (_, _, place) = server(stage, "new")?;
    let _service = Service::start(&place, Protocol::Udp, "0.0.0.0:80");
    follows(stage, "new")
}

fn transit(stage: &Stage) -> Met {
    let beyond = Place::new("beyond");
    for line in [
        "ip link add up1 type veth peer name eth0 netns beyond",
        "ip addr add 198.51.100.1/24 dev up1",
        "ip link set up1 up",
        "ip -n beyond addr add 198.51.100.100/24 dev eth0",
        "ip -n beyond link set eth0 up",
        "ip -n beyond route add default via 198.51.100.1",
        "ip -n lan route add 198.51.100.0/24 via 192.0.2.1",
    ] {
        run(line);
    }
    write(Path::new("/proc/sys/net/ipv4/ip_forward"), "1");
    let (place, attachment) = stage.container("web");
    network(stage).add(&publishing(&attachment, (8080, "tcp")))?;
    let _web = Service::start(&place, Protocol::Tcp, "0.0.0.0:80");
    let _beyond = Service::start(&beyond, Protocol::Tcp, "0.0.0.0:8080");
    let published = ask(&stage.lan, Protocol::Tcp, "192.0.2.1:8080").unwrap_or_default();
    must(published.starts_with("web"), || format!("the control: {published:?}"))?;
    let passed = ask(&stage.lan, Protocol::Tcp, "198.51.100.100:8080").unwrap_or_default();
    must(passed.starts_with("beyond"), || format!("beyond is answered by {passed:?}"))
}

fn no_ports(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("resident");
    let alone = Network::new(stage, ("1.0.0", "net"), &[bridge()]);
    alone.add(&attachment)?;
    let result = alone.add(&stage.container("c1").1)?;
    let before = stage.snapshot();
    let config = json!({"cniVersion": "1.0.0", "name": "net", "type": "portmap", "prevResult": result});
    let attachment = attachment.named("c1").at("/run/netns/c1");
    stage.add(&config, &attachment)?;
    stage.unchanged(&before, "ADD of portmap without ports")?;
    stage.del(&config, &attachment)?;
    stage.unchanged(&before, "DEL of portmap without ports")
}

fn taken_port(stage: &Stage) -> Met {
    let network = network(stage);
    let (first, attachment) = stage.container("first");
    network.add(&publishing(&attachment, (8080, "tcp")))?;
    let (second, attachment) = stage.container("second");
    let refused = network.add(&publishing(&attachment, (8080, "tcp"))).is_err();
    let _servers = [&first, &second].map(|place| Service::start(place, Protocol::Tcp, "0.0.0.0:80"));
    let answer = ask(&stage.lan, Protocol::Tcp, "192.0.2.1:8080").unwrap_or_default();
    must(answer.starts_with("first"), || format!("{answer:?} answers"))?;
    must(refused, || "the second ADD with the same host port succeeded".to_owned())
}

fn port_again(stage: &Stage) -> Met {
    let network = network(stage);
    for name in ["one", "two", "three"] {
        let (place, attachment) = stage.container(name);
        let attachment = publishing(&attachment, (8080, "tcp"));
        let result = network.add(&attachment)?;
        let _server = Service::start(&place, Protocol::Tcp, "0.0.0.0:80");
        let answer = ask(&stage.lan, Protocol::Tcp, "192.0.2.1:8080").unwrap_or_default();
        must(answer.starts_with(name), || format!("{answer:?} answers, not {name}"))?;
        network.del(&attachment, Some(&result))?;
    }
    Ok(())
}

fn isolation_rules(stage: &Stage) -> Met {
    let chain = [bridge(), json!({"type": "firewall", "ingressPolicy": "same-bridge"})];
    let network = Network::new(stage, ("1.0.0", "net"), &chain);
    let (_, attachment) = stage.container("c1");
    let result = network.add(&attachment)?;
    stage.some_rule_with(&addresses(&result)[0])?;
    network.del(&attachment, Some(&result))?;
    stage.no_rules_with("\"cni0\"")?;
    let left: Vec<_> =
        stdout("iptables-save").lines().filter(|line| line.contains(" cni0 ")).map(str::to_owned).collect();
    must(left.is_empty(), || format!("{} rules are left: {}", left.len(), left[0]))
}

fn many_times(stage: &Stage) -> Met {
    let network = network(stage);
    network.add(&stage.container("resident").1)?;
    let (_, attachment) = stage.container("web");
    let attachment = publishing(&attachment, (8080, "tcp"));
    let once = || {
        let result = network.add(&attachment)?;
        stage.some_rule_with("8080")?;
        network.del(&attachment, Some(&result))
    };
    once()?;
    let before = stage.snapshot();
    (0..10).try_for_each(|_| once())?;
    stage.unchanged(&before, "ten times ADD and DEL")
}

fn foreign_rules(stage: &Stage) -> Met {
    run("nft add table inet mine");
    run("nft add chain inet mine c { type filter hook forward priority 0 ; }");
    run("nft add rule inet mine c ip saddr 10.88.0.2 counter accept");
    run("iptables -N MINE");
    run("iptables -A MINE -s 10.88.0.2 -j RETURN");
    let look = || stdout("nft -s list table inet mine") + &stdout("iptables -S MINE");
    let before = look();
    let (_, attachment) = stage.container("c1");
    let attachment = publishing(&attachment, (8080, "tcp"));
    let network = network(stage);
    let result = network.add(&attachment)?;
    stage.some_rule_with("8080")?;
    network.check(&attachment, &result);
    network.del(&attachment, Some(&result))?;
    must(look() == before, look)
}

fn foreign_bridge(stage: &Stage) -> Met {
    run("ip link add cni0 type bridge");
    run("ip link set cni0 address 02:00:00:00:0b:0b up");
    run("ip addr add 10.88.0.1/24 dev cni0");
    let (_, attachment) = stage.container("c1");
    let result = stage.add(&bridge(), &attachment)?;
    stage.del(&with(&bridge(), "prevResult", &result), &attachment)?;
    let look = stdout("ip -o link show dev cni0") + &stdout("ip -o addr show dev cni0");
    must(look.contains("02:00:00:00:0b:0b") && look.contains("10.88.0.1/24"), || look)
}

/// Published on 127.0.0.1, or all addresses, no packet from outside with that destination may come in.
fn route_localnet(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("web");
    network(stage).add(&publishing(&attachment, (8080, "tcp")))?;
    let _host = Service::start(&Place::HOST, Protocol::Udp, "127.0.0.1:9999");
    run("ip -n lan route add 127.0.0.1/32 via 192.0.2.1 table 99");
    run("ip -n lan rule add to 127.0.0.1/32 lookup 99 priority 1");
    run("ip -n lan rule del priority 0");
    run("ip -n lan rule add lookup local priority 5");
    let stolen = ask_from(&stage.lan, Protocol::Udp, ("192.0.2.100:0", "127.0.0.1:9999"));
    same("an answer of a service on 127.0.0.1 to the outside", &stolen, &None)
}
