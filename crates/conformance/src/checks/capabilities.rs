//! Capabilities: what a runtime says of an attachment by `runtimeConfig`.

use super::{addresses, bridge, with};
use crate::attachment::Attachment;
use crate::check::Check;
use crate::network::Network;
use crate::stage::Stage;
use crate::verdict::{Met, must, of, same};
use qiao_testbed::{Place, Protocol, Service, ask, eventually};
use serde_json::{Value, json};
use std::time::Duration;

const SECTION: &str = "CONVENTIONS.md";
const PORTMAP: &[&str] = &["bridge", "host-local", "portmap"];

pub const CHECKS: &[Check] = &[
    Check::custom("CAP-1", (SECTION, "portMappings: TCP, UDP and two ports of one protocol"), protocols).on(PORTMAP),
    Check::custom(
        "CAP-2",
        ("containerd", "portMappings: the keys' case does not matter: HostPort, ContainerPort, Protocol, HostIP"),
        capitalised,
    )
    .on(PORTMAP),
    Check::custom("CAP-3", (SECTION, "portMappings: `hostIP` publishes on this address only"), host_address).on(PORTMAP),
    Check::custom("CAP-4", (SECTION, "portMappings: published on IPv6 too"), ipv6).on(PORTMAP),
    Check::custom("CAP-5", ("portmap", "portMappings: a host port of 0 publishes nothing, whether it is an error or not"), port_zero).on(PORTMAP),
    Check::custom(
        "CAP-6",
        ("portmap", "portMappings: an unknown protocol, a port over 65535 or below 0 is an error, and after DEL nothing is left"),
        bad_ports,
    )
    .on(PORTMAP),
    Check::custom("CAP-7", (SECTION, "ips: the container gets this address"), static_address),
    Check::custom("CAP-8", (SECTION, "ips: an address that is taken, or of no range, is an error"), bad_address),
    Check::custom("CAP-9", (SECTION, "mac: the interface has this hardware address"), mac),
    Check::custom("CAP-10", (SECTION, "ipRanges: the address is from the range of the runtime"), ip_ranges),
    Check::custom("CAP-11", (SECTION, "CNI_ARGS IP and MAC: the container gets these"), args),
    Check::custom("CAP-12", (SECTION, "a plugin that understands `args` ignores the equivalent key of CNI_ARGS: `ips` and `IP`"), args_in_the_configuration),
    Check::custom("CAP-13", (SECTION, "capabilities that the plugin does not know are ignored"), unknown_capabilities),
    Check::custom(
        "CAP-14",
        (SECTION, "bandwidth: the rate is shaped in both directions, and DEL takes that back"),
        bandwidth,
    )
    .on(&["bridge", "host-local", "bandwidth"]),
    Check::custom("CAP-15", ("portmap", "127.0.0.1 and a published port: the container answers clients on the host"), loopback).on(PORTMAP),
    Check::custom("CAP-16", ("podman", "portMappings: SCTP is published, or refused by name"), sctp).on(PORTMAP),
];

fn network(stage: &Stage) -> Network<'_> {
    let chain = [
        with(&bridge(), "hairpinMode", &json!(true)),
        json!({"type": "portmap", "capabilities": {"portMappings": true}}),
    ];
    Network::new(stage, ("1.0.0", "net"), &chain)
}

fn web(stage: &Stage, mappings: &Value) -> (Place, Attachment) {
    let (place, attachment) = stage.container("web");
    (place, attachment.offering(json!({"portMappings": mappings})))
}

fn answers(from: &Place, protocol: Protocol, to: &str) -> bool {
    eventually(Duration::from_secs(5), || {
        ask(from, protocol, to).is_some_and(|answer| answer.starts_with("web"))
    })
}

fn must_answer(from: &Place, protocol: Protocol, to: &str) -> Met {
    must(answers(from, protocol, to), || format!("{to} ({protocol:?}) does not answer {}", from.name()))
}

fn must_not_answer(from: &Place, to: &str) -> Met {
    must(ask(from, Protocol::Tcp, to).is_none(), || format!("{to} answers {}", from.name()))
}

fn protocols(stage: &Stage) -> Met {
    let mapping = |host: u16, port: u16, protocol: &str| json!({"hostPort": host, "containerPort": port, "protocol": protocol});
    let (place, attachment) =
        web(stage, &json!([mapping(8080, 80, "tcp"), mapping(8081, 81, "tcp"), mapping(8080, 80, "udp")]));
    network(stage).add(&attachment)?;
    let (_tcp, _more) = (
        Service::start(&place, Protocol::Tcp, "0.0.0.0:80"),
        Service::start(&place, Protocol::Tcp, "0.0.0.0:81"),
    );
    let _udp = Service::start(&place, Protocol::Udp, "0.0.0.0:80");
    must_answer(&stage.lan, Protocol::Tcp, "192.0.2.1:8080")?;
    must_answer(&stage.lan, Protocol::Tcp, "192.0.2.1:8081")?;
    must_answer(&stage.lan, Protocol::Udp, "192.0.2.1:8080")
}

fn capitalised(stage: &Stage) -> Met {
    let (place, attachment) =
        web(stage, &json!([{"HostPort": 8080, "ContainerPort": 80, "Protocol": "TCP", "HostIP": ""}]));
    network(stage).add(&attachment)?;
    let _server = Service::start(&place, Protocol::Tcp, "0.0.0.0:80");
    must_answer(&stage.lan, Protocol::Tcp, "192.0.2.1:8080")
}

fn host_address(stage: &Stage) -> Met {
    let (place, attachment) = web(
        stage,
        &json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "192.0.2.9"}]),
    );
    network(stage).add(&attachment)?;
    let _server = Service::start(&place, Protocol::Tcp, "0.0.0.0:80");
    must_answer(&stage.lan, Protocol::Tcp, "192.0.2.9:8080")?;
    must_not_answer(&stage.lan, "192.0.2.1:8080")
}

fn ipv6(stage: &Stage) -> Met {
    let (place, attachment) =
        web(stage, &json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]));
    network(stage).add(&attachment)?;
    let _server = Service::start(&place, Protocol::Tcp, "[::]:80");
    must_answer(&stage.lan, Protocol::Tcp, "[2001:db8::1]:8080")
}

fn port_zero(stage: &Stage) -> Met {
    let (_, attachment) = web(stage, &json!([{"hostPort": 0, "containerPort": 80, "protocol": "tcp"}]));
    let network = network(stage);
    network.add(&stage.container("resident").1)?;
    let _ = network.add(&attachment);
    ["to-destination 10.88.0.3:", "dnat to 10.88.0.3"].iter().try_for_each(|rule| stage.no_rules_with(rule))
}

fn bad_ports(stage: &Stage) -> Met {
    let network = network(stage);
    let good = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"});
    let control = stage.container("good").1.offering(json!({"portMappings": [good]}));
    network.add(&control)?;
    network.del(&control, None)?;
    for (key, value) in [
        ("protocol", json!("frob")),
        ("hostPort", json!(70_000)),
        ("hostPort", json!(-1)),
        ("containerPort", json!(70_000)),
        ("hostIP", json!("not-an-address")),
    ] {
        let (_, attachment) = stage.container(&format!("{}{}", key.to_lowercase(), value.to_string().len()));
        let bad = attachment.offering(json!({"portMappings": [good.clone(), with(&good, key, &value)]}));
        let met = network.add(&bad);
        must(met.is_err(), || format!("{key} {value} is taken"))?;
        network.del(&bad, None)?;
        of(&format!("{key} {value}"), stage.no_rules_with("8080"))?;
    }
    Ok(())
}

fn config_with(capability: &str, value: &Value) -> Value {
    let config = with(&bridge(), "capabilities", &json!({capability: true}));
    with(&config, "runtimeConfig", &json!({capability: value}))
}

fn static_address(stage: &Stage) -> Met {
    for (at, address) in ["10.88.0.77", "10.88.0.78/24"].iter().enumerate() {
        let config = config_with("ips", &json!([address, format!("fd00:88::7{at}")]));
        let found = addresses(&stage.add(&config, &stage.container(&format!("c{at}")).1)?);
        same("addresses", &found, &vec![format!("10.88.0.7{}", 7 + at), format!("fd00:88::7{at}")])?;
    }
    Ok(())
}

fn bad_address(stage: &Stage) -> Met {
    stage.add(&config_with("ips", &json!(["10.88.0.77"])), &stage.container("c1").1)?;
    for (at, address) in ["10.88.0.77", "10.99.0.1", "10.88.0.1", "10.88.0.0", "frob"].iter().enumerate() {
        let (_, attachment) = stage.container(&format!("d{at}"));
        of(
            address,
            stage.run("ADD", &config_with("ips", &json!([address])), &attachment).refusal().map(drop),
        )?;
    }
    Ok(())
}

fn mac(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    let result = stage.add(&config_with("mac", &json!("02:00:00:00:12:34")), &attachment)?;
    let link = place.stdout("ip -o link show dev eth0");
    must(link.contains("02:00:00:00:12:34"), || link)?;
    must(result.to_string().contains("02:00:00:00:12:34"), || result.to_string())
}

fn ip_ranges(stage: &Stage) -> Met {
    let mut config = config_with("ipRanges", &json!([[{"subnet": "10.66.0.0/24"}]]));
    config["ipam"] = json!({"type": "host-local"});
    let found = addresses(&stage.add(&config, &stage.container("c1").1)?);
    must(found.iter().any(|address| address.starts_with("10.66.0.")), || format!("{found:?}"))
}

fn args(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    let result =
        stage.add(&bridge(), &attachment.with_args("IgnoreUnknown=1;IP=10.88.0.55;MAC=02:00:00:00:12:35"))?;
    must(addresses(&result).contains(&"10.88.0.55".to_owned()), || result.to_string())?;
    let link = place.stdout("ip -o link show dev eth0");
    must(link.contains("02:00:00:00:12:35"), || link)
}

fn args_in_the_configuration(stage: &Stage) -> Met {
    let config = with(&bridge(), "args", &json!({"cni": {"ips": ["10.88.0.56"]}}));
    let attachment = stage.container("c1").1.with_args("IgnoreUnknown=1;IP=10.88.0.55");
    let found = addresses(&stage.add(&config, &attachment)?);
    must(found.contains(&"10.88.0.56".to_owned()), || format!("{found:?}"))
}

fn unknown_capabilities(stage: &Stage) -> Met {
    let config = with(
        &bridge(),
        "runtimeConfig",
        &json!({"aliases": ["a"], "dns": {"servers": ["10.0.0.1"]}, "cgroupPath": "/x", "frob": 1}),
    );
    stage.add(&config, &stage.container("c1").1).map(drop)
}

fn bandwidth(stage: &Stage) -> Met {
    let shaped = json!({"type": "bandwidth", "capabilities": {"bandwidth": true}});
    let network = Network::new(stage, ("1.0.0", "net"), &[bridge(), shaped]);
    network.add(&stage.container("resident").1)?;
    let before = (stage.snapshot(), qiao_testbed::stdout("tc qdisc"));
    let rates = json!({"bandwidth": {"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 800_000}});
    let attachment = stage.container("c1").1.offering(rates);
    let result = network.add(&attachment)?;
    let shaping = qiao_testbed::stdout("tc qdisc");
    must(shaping.contains("8Mbit") && shaping.contains("16Mbit"), || shaping)?;
    network.del(&attachment, Some(&result))?;
    stage.unchanged(&before.0, "DEL")?;
    same("the queues", &qiao_testbed::stdout("tc qdisc").lines().count(), &before.1.lines().count())
}

fn loopback(stage: &Stage) -> Met {
    let (place, attachment) =
        web(stage, &json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]));
    network(stage).add(&attachment)?;
    let _server = Service::start(&place, Protocol::Tcp, "0.0.0.0:80");
    must_answer(&Place::HOST, Protocol::Tcp, "127.0.0.1:8080")?;
    must_answer(&Place::HOST, Protocol::Tcp, "192.0.2.1:8080")
}

fn sctp(stage: &Stage) -> Met {
    let (_, attachment) = web(stage, &json!([{"hostPort": 8080, "containerPort": 80, "protocol": "sctp"}]));
    network(stage).add(&attachment)?;
    let rules = stage.rules_with("sctp");
    must(!rules.is_empty(), || "it succeeded without a rule for SCTP".to_owned())
}
