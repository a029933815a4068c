//! CHECK: check that a container's networking is as expected.

use super::{bridge, less, with};
use crate::attachment::Attachment;
use crate::check::Check;
use crate::network::Network;
use crate::stage::Stage;
use crate::verdict::{Met, must, of};
use qiao_testbed::{Place, run, stdout};
use serde_json::{Value, json};

const SECTION: &str = "CHECK";

pub const CHECKS: &[Check] = &[
    Check::must("CHECK-1", (SECTION, "CHECK right after ADD succeeds, without a word"), right_after),
    Check::must(
        "CHECK-2",
        (SECTION, "CHECK needs `prevResult`, and is an error without it"),
        needs_the_result,
    ),
    Check::should(
        "CHECK-3",
        (SECTION, "an interface, address or route of the result that is missing is an error"),
        missing,
    ),
    Check::should("CHECK-4", (SECTION, "an interface that is down is an error"), down),
    Check::should("CHECK-5", (SECTION, "an IP reservation that is missing is an error"), lost_reservation),
    Check::should(
        "CHECK-6",
        (SECTION, "rules for published ports that are missing are an error"),
        lost_rules,
    )
    .on(&["bridge", "host-local", "portmap"]),
    Check::should(
        "CHECK-7",
        (SECTION, "rules for masquerading that are missing are an error"),
        lost_masquerade,
    ),
    Check::must(
        "CHECK-8",
        (SECTION, "what a later plugin of the chain changed is allowed: another MAC and another route"),
        later_changes,
    )
    .on(&["bridge", "host-local", "tuning"]),
    Check::custom("CHECK-9", ("skel", "CHECK in a version before 0.4.0 is error 1"), too_old),
    Check::should(
        "CHECK-10",
        (SECTION, "an attachment that is off its bridge is generally unreachable, and an error"),
        unplugged,
    ),
    Check::must("CHECK-11", (SECTION, "CHECK changes nothing"), changes_nothing),
];

fn added(stage: &Stage, name: &str, config: &Value) -> Met<(Place, Attachment, Value)> {
    let (place, attachment) = stage.container(name);
    let result = stage.add(config, &attachment)?;
    Ok((place, attachment, with(config, "prevResult", &result)))
}

fn right_after(stage: &Stage) -> Met {
    ["0.4.0", "1.0.0"].iter().enumerate().try_for_each(|(at, version)| {
        let config = with(&bridge(), "cniVersion", &json!(version));
        let (_, attachment, config) = added(stage, &format!("c{at}"), &config)?;
        of(version, stage.run("CHECK", &config, &attachment).nothing())
    })
}

fn needs_the_result(stage: &Stage) -> Met {
    let (_, attachment, config) = added(stage, "c1", &bridge())?;
    stage.run("CHECK", &less(&config, "prevResult"), &attachment).refusal().map(drop)
}

/// What is broken, and how.
pub type Break = (&'static str, fn(&Place));

/// CHECK must find what was broken; before that it must be content.
fn finds(stage: &Stage, config: &Value, breaks: &[Break]) -> Met {
    for (at, (what, break_it)) in breaks.iter().enumerate() {
        let (place, attachment, config) = added(stage, &format!("c{at}"), config)?;
        of("before", stage.run("CHECK", &config, &attachment).nothing())?;
        break_it(&place);
        of(what, stage.run("CHECK", &config, &attachment).refusal().map(drop))?;
    }
    Ok(())
}

fn missing(stage: &Stage) -> Met {
    finds(
        stage,
        &bridge(),
        &[
            ("the interface is gone", |place| place.run("ip link del eth0")),
            ("the address is gone", |place| place.run("ip addr flush dev eth0 scope global")),
            ("the default route is gone", |place| place.run("ip route del default")),
            ("the IPv6 default route is gone", |place| place.run("ip -6 route del default")),
        ],
    )
}

fn down(stage: &Stage) -> Met {
    finds(stage, &bridge(), &[("the interface is down", |place| place.run("ip link set eth0 down"))])
}

fn lost_reservation(stage: &Stage) -> Met {
    let (_, attachment, config) = added(stage, "c1", &bridge())?;
    let mut release = with(&config, "type", &json!("host-local"));
    release = less(&release, "prevResult");
    stage.del(&release, &attachment)?;
    stage.run("CHECK", &config, &attachment).refusal().map(drop)
}

fn lost_rules(stage: &Stage) -> Met {
    let chain = [bridge(), json!({"type": "portmap", "capabilities": {"portMappings": true}})];
    let network = Network::new(stage, ("1.0.0", "net"), &chain);
    let (_, attachment) = stage.container("c1");
    let ports = json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]});
    let attachment = attachment.offering(ports);
    let result = network.add(&attachment)?;
    network.check(&attachment, &result).iter().try_for_each(|answer| of("before", answer.nothing()))?;
    run("nft flush ruleset");
    let answers = network.check(&attachment, &result);
    of("without its rules", answers[1].refusal().map(drop))
}

fn lost_masquerade(stage: &Stage) -> Met {
    let config = with(&bridge(), "ipMasq", &json!(true));
    finds(stage, &config, &[("the rule set is empty", |_| run("nft flush ruleset"))])
}

fn later_changes(stage: &Stage) -> Met {
    let chain = [bridge(), json!({"type": "tuning", "mac": "02:00:00:00:77:77"})];
    let network = Network::new(stage, ("1.0.0", "net"), &chain);
    let (place, attachment) = stage.container("c1");
    let result = network.add(&attachment)?;
    let link = place.stdout("ip -o link show dev eth0");
    must(link.contains("02:00:00:00:77:77"), || link)?;
    place.run("ip route add 203.0.113.0/24 via 10.88.0.1");
    network.check(&attachment, &result).iter().try_for_each(|answer| answer.nothing())
}

fn too_old(stage: &Stage) -> Met {
    let (_, attachment, config) = added(stage, "c1", &with(&bridge(), "cniVersion", &json!("0.3.1")))?;
    stage.run("CHECK", &config, &attachment).refused_with(&[1]).map(drop)
}

fn unplugged(stage: &Stage) -> Met {
    finds(
        stage,
        &bridge(),
        &[("the host's end is off the bridge", |_| {
            let links = stdout("ip -br link show master cni0");
            let names = links.lines().filter_map(|line| line.split(['@', ' ']).next());
            names.for_each(|name| run(&format!("ip link set {name} nomaster")));
        })],
    )
}

fn changes_nothing(stage: &Stage) -> Met {
    let (_, attachment, config) = added(stage, "c1", &bridge())?;
    let before = stage.snapshot();
    stage.run("CHECK", &config, &attachment).nothing()?;
    stage.unchanged(&before, "CHECK")
}
