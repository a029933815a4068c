//! GC: clean up any stale resources.

use super::{bridge, with};
use crate::attachment::Attachment;
use crate::check::Check;
use crate::network::Network;
use crate::recorder::Recorder;
use crate::stage::Stage;
use crate::verdict::{Met, must, of, same};
use qiao_testbed::{Protocol, Service, ask};
use serde_json::{Value, json};

const SECTION: &str = "GC";

pub const CHECKS: &[Check] = &[
    Check::should(
        "GC-1",
        (
            SECTION,
            "IP reservations of attachments that are not in the list are removed, those in it are kept",
        ),
        reservations,
    )
    .since("1.1.0"),
    Check::should(
        "GC-2",
        (SECTION, "firewall rules of attachments that are not in the list are removed"),
        rules,
    )
    .on(&["bridge", "host-local", "portmap"])
    .since("1.1.0"),
    Check::must("GC-3", (SECTION, "GC is forwarded to delegated plugins"), forwarded).since("1.1.0"),
    Check::custom(
        "GC-4",
        ("CNI 1.1.0", "a missing `cni.dev/valid-attachments` is no empty list: nothing is removed"),
        missing_list,
    )
    .since("1.1.0"),
    Check::must("GC-5", (SECTION, "attachments of other networks are left alone"), other_networks)
        .since("1.1.0"),
    Check::must("GC-6", (SECTION, "an attachment in the list works as before"), valid_ones_work)
        .since("1.1.0"),
    Check::custom("GC-7", ("skel", "GC in a version before 1.1.0 is error 1"), too_old),
    Check::should("GC-8", (SECTION, "GC of nothing succeeds, twice, before any ADD"), nothing_there)
        .since("1.1.0"),
    Check::must("GC-9", (SECTION, "attachments are told apart by container and interface"), by_interface)
        .since("1.1.0"),
    Check::should(
        "GC-10",
        (SECTION, "on an error of the delegate the plugin goes on, and reports it"),
        goes_on,
    )
    .since("1.1.0"),
];

/// A network with two addresses.
fn small() -> Value {
    let range = json!([[{"subnet": "10.88.0.0/24", "rangeStart": "10.88.0.7", "rangeEnd": "10.88.0.8"}]]);
    with(&bridge(), "ipam", &json!({"type": "host-local", "ranges": range}))
}

fn network<'s>(stage: &'s Stage, plugins: &[Value]) -> Network<'s> {
    Network::new(stage, ("1.1.0", "net"), plugins)
}

fn reservations(stage: &Stage) -> Met {
    let network = network(stage, &[small()]);
    let (place, stale) = stage.container("stale");
    let (_, valid) = stage.container("valid");
    network.add(&stale)?;
    network.add(&valid)?;
    // As long as it lives: a plugin may give the addresses of the dead to whoever asks.
    of(
        "the control",
        network
            .add(&stage.container("early").1)
            .map_or(Ok(()), |_| must(false, || "the range was not full".into())),
    )?;
    place.delete();
    network.gc(&[&valid])?;
    of("after GC", network.add(&stage.container("next").1))?;
    let refused = network.add(&stage.container("last").1).is_err();
    must(refused, || "the address of the valid attachment was given away".to_owned())
}

fn rules(stage: &Stage) -> Met {
    let chain = [bridge(), json!({"type": "portmap", "capabilities": {"portMappings": true}})];
    let network = network(stage, &chain);
    let ports =
        |port: u16| json!({"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]});
    let (_, valid) = stage.container("valid");
    network.add(&valid.offering(ports(8081)))?;
    let before = stage.snapshot();
    let (place, stale) = stage.container("stale");
    network.add(&stale.offering(ports(8082)))?;
    stage.some_rule_with("8082")?;
    place.delete();
    network.gc(&[&valid])?;
    stage.unchanged(&before, "GC")
}

fn forwarded(stage: &Stage) -> Met {
    let recorder = Recorder::new(stage, "frob-ipam");
    let stage = stage.searching(recorder.dir());
    let config = with(&bridge(), "ipam", &json!({"type": "frob-ipam"}));
    let (_, attachment) = stage.container("c1");
    network(&stage, &[config]).gc(&[&attachment])?;
    same("the delegate's calls", &recorder.verbs(), &vec!["GC".to_owned()])?;
    let list = &recorder.calls()[0].config["cni.dev/valid-attachments"];
    same("its list", list, &json!([{"containerID": "c1", "ifname": "eth0"}]))
}

fn missing_list(stage: &Stage) -> Met {
    let config = with(&small(), "cniVersion", &json!("1.1.0"));
    let attached: Vec<Attachment> = ["c1", "c2"].map(|name| stage.container(name).1).to_vec();
    attached.iter().try_for_each(|attachment| stage.add(&config, attachment).map(drop))?;
    // It may be an error, or nothing is done; the addresses stay taken either way.
    stage.run("GC", &config, &attached[0]);
    let refused = stage.add(&config, &stage.container("c3").1).is_err();
    must(refused, || "an address was released without a list".to_owned())
}

fn other_networks(stage: &Stage) -> Met {
    let mut other = with(&bridge(), "bridge", &json!("cni1"));
    other["ipam"] = json!({"type": "host-local", "ranges": [[{"subnet": "10.89.0.0/24", "rangeStart": "10.89.0.7", "rangeEnd": "10.89.0.7"}]]});
    let other = Network::new(stage, ("1.1.0", "other"), &[other]);
    let (place, attachment) = stage.container("c1");
    other.add(&attachment)?;
    network(stage, &[bridge()]).gc(&[])?;
    let links = place.stdout("ip -br link");
    must(links.contains("eth0"), || links)?;
    must(other.add(&stage.container("c2").1).is_err(), || {
        "the other network's address was released".to_owned()
    })
}

fn valid_ones_work(stage: &Stage) -> Met {
    let network = network(stage, &[bridge()]);
    let (place, attachment) = stage.container("c1");
    let result = network.add(&attachment)?;
    network.gc(&[&attachment])?;
    let _server = Service::start(&place, Protocol::Tcp, "0.0.0.0:80");
    let to = format!("{}:80", super::addresses(&result)[0]);
    must(ask(&qiao_testbed::Place::HOST, Protocol::Tcp, &to).is_some(), || format!("{to} does not answer"))?;
    network.check(&attachment, &result)[0].nothing()
}

fn too_old(stage: &Stage) -> Met {
    let config = with(&bridge(), "cni.dev/valid-attachments", &json!([]));
    stage.run("GC", &config, &stage.container("c1").1).refused_with(&[1, 4]).map(drop)
}

fn nothing_there(stage: &Stage) -> Met {
    let network = network(stage, &[bridge()]);
    network.gc(&[])?;
    network.gc(&[])
}

fn by_interface(stage: &Stage) -> Met {
    let network = network(stage, &[small()]);
    let (_, attachment) = stage.container("c1");
    network.add(&attachment)?;
    network.add(&attachment.on("eth1"))?;
    network.gc(&[&attachment.on("eth1")])?;
    network.add(&stage.container("c2").1)?;
    must(network.add(&stage.container("c3").1).is_err(), || "eth1's address was released".to_owned())
}

fn goes_on(stage: &Stage) -> Met {
    let (place, stale) = stage.container("stale");
    let recorder = Recorder::new(stage, "frob-ipam");
    let stage = stage.searching(recorder.dir());
    let ipam = json!({"cniVersion": "1.1.0", "ips": [{"address": "10.88.0.7/24", "gateway": "10.88.0.1"}]});
    recorder
        .answers("ADD", &ipam)
        .fails("GC", &json!({"cniVersion": "1.1.0", "code": 107, "msg": "the delegate's error"}));
    let mut config = with(&bridge(), "ipam", &json!({"type": "frob-ipam"}));
    config["ipMasq"] = json!(true);
    let network = network(&stage, &[config.clone()]);
    network.add(&stale)?;
    place.delete();
    let config = with(
        &with(&with(&config, "cniVersion", &json!("1.1.0")), "name", &json!("net")),
        "cni.dev/valid-attachments",
        &json!([]),
    );
    let refusal = stage.run("GC", &config, &stale).refusal()?;
    must(refusal.text.contains("the delegate's error"), || refusal.text)?;
    stage.no_rules_with("10.88.0.7")
}
