//! DEL: remove a container from a network, or undo what was done.

use super::{bridge, bridge_with_one_address, with};
use crate::attachment::Attachment;
use crate::check::Check;
use crate::stage::Stage;
use crate::verdict::{Met, must, of};
use qiao_testbed::{run, stdout};
use serde_json::{Value, json};

const SECTION: &str = "DEL";

pub const CHECKS: &[Check] = &[
    Check::must(
        "DEL-1",
        (
            SECTION,
            "the interface is deleted, the address is free, and all is as before the ADD; nothing is printed",
        ),
        undoes_the_add,
    ),
    Check::must(
        "DEL-2",
        (SECTION, "plugins accept multiple DEL calls, and return success if the interface is missing"),
        twice,
    ),
    Check::must("DEL-3", (SECTION, "DEL succeeds of what was never added"), never_added),
    Check::should(
        "DEL-4",
        (
            SECTION,
            "the bridge plugin delegates DEL to the IPAM and cleans up although the namespace no longer exists",
        ),
        vanished_netns,
    ),
    Check::custom(
        "DEL-5",
        ("ctr, containerd", "with an empty CNI_NETNS the address is released and the host is cleaned up"),
        empty_netns,
    ),
    Check::custom("DEL-6", ("libcni", "DEL needs no `prevResult`"), without_result),
    Check::should(
        "DEL-7",
        (SECTION, "DEL succeeds although the interface, the bridge or the rules are gone"),
        missing_resources,
    ),
    Check::custom(
        "DEL-8",
        ("real life", "DEL undoes the attachment although the configuration has changed since ADD"),
        changed_configuration,
    ),
    Check::must(
        "DEL-9",
        (SECTION, "DEL of one attachment leaves all others as they are"),
        leaves_others_alone,
    ),
    Check::custom(
        "DEL-10",
        ("containerd", "DEL with the path, then again with an empty CNI_NETNS"),
        path_then_empty,
    ),
    Check::must(
        "DEL-11",
        (SECTION, "the interface is gone from the container that lives on"),
        namespace_lives_on,
    ),
    Check::custom(
        "DEL-12",
        ("libcni", "a DEL with a namespace's path that is a plain file, left by a reboot, succeeds"),
        file_for_a_namespace,
    ),
];

/// A network on which one container stands, and what the host looks like then: what attachments share is there.
fn inhabited(stage: &Stage, config: &Value) -> Met<qiao_testbed::Snapshot> {
    stage.add(config, &stage.container("resident").1)?;
    // The order in which links appear on the bridge must not matter: give it its steady state.
    Ok(stage.snapshot())
}

/// Two addresses: one for the resident, one for the attachment.
fn two_addresses() -> Value {
    let mut config = with(&bridge(), "ipMasq", &json!(true));
    config["ipam"]["ranges"] =
        json!([[{"subnet": "10.88.0.0/24", "rangeStart": "10.88.0.7", "rangeEnd": "10.88.0.8"}]]);
    config
}

/// The address is free: another gets it.
fn is_free(stage: &Stage, config: &Value) -> Met {
    of("the address is not free", stage.add(config, &stage.container("next").1)).map(drop)
}

fn undoes_the_add(stage: &Stage) -> Met {
    let config = two_addresses();
    let before = inhabited(stage, &config)?;
    let (_, attachment) = stage.container("c1");
    let result = stage.add(&config, &attachment)?;
    stage.del(&with(&config, "prevResult", &result), &attachment)?;
    stage.unchanged(&before, "ADD and DEL")?;
    is_free(stage, &config)
}

fn twice(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("c1");
    let result = stage.add(&bridge(), &attachment)?;
    let config = with(&bridge(), "prevResult", &result);
    (0..3).try_for_each(|_| stage.del(&config, &attachment))
}

fn never_added(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("c1");
    stage.del(&bridge(), &attachment)?;
    stage.del(&bridge(), &attachment.at(""))?;
    stage.del(&bridge(), &attachment.at("/run/netns/gone"))
}

fn vanished_netns(stage: &Stage) -> Met {
    let config = two_addresses();
    let before = inhabited(stage, &config)?;
    let (place, attachment) = stage.container("c1");
    let result = stage.add(&config, &attachment)?;
    place.delete();
    stage.del(&with(&config, "prevResult", &result), &attachment)?;
    stage.unchanged(&before, "DEL of a namespace that is gone")?;
    is_free(stage, &config)
}

fn empty_netns(stage: &Stage) -> Met {
    let config = two_addresses();
    let before = inhabited(stage, &config)?;
    let (place, attachment) = stage.container("c1");
    let result = stage.add(&config, &attachment)?;
    place.delete();
    stage.del(&with(&config, "prevResult", &result), &attachment.at(""))?;
    stage.unchanged(&before, "DEL with an empty CNI_NETNS")?;
    is_free(stage, &config)
}

fn without_result(stage: &Stage) -> Met {
    let config = two_addresses();
    let before = inhabited(stage, &config)?;
    let (_, attachment) = stage.container("c1");
    stage.add(&config, &attachment)?;
    stage.del(&config, &attachment)?;
    stage.unchanged(&before, "DEL without prevResult")?;
    is_free(stage, &config)
}

fn missing_resources(stage: &Stage) -> Met {
    let breaks: [super::check::Break; 4] = [
        ("the interface", |place| place.run("ip link del eth0")),
        ("the address", |place| place.run("ip addr flush dev eth0")),
        ("the bridge", |_| run("ip link del cni0")),
        ("all rules", |_| run("nft flush ruleset")),
    ];
    for (at, (what, break_it)) in breaks.into_iter().enumerate() {
        let (place, attachment) = stage.container(&format!("c{at}"));
        let config = with(&bridge_with_one_address(), "ipMasq", &json!(true));
        let result = of(what, stage.add(&config, &attachment))?;
        break_it(&place);
        of(&format!("DEL without {what}"), stage.del(&with(&config, "prevResult", &result), &attachment))?;
    }
    is_free(stage, &bridge_with_one_address())
}

fn changed_configuration(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    stage.add(&bridge_with_one_address(), &attachment)?;
    let mut changed = with(&bridge_with_one_address(), "bridge", &json!("cni7"));
    changed["isGateway"] = json!(false);
    changed["ipam"]["ranges"] = json!([[{"subnet": "10.99.0.0/24"}]]);
    stage.del(&changed, &attachment)?;
    let links = place.stdout("ip -br link");
    must(!links.contains("eth0"), || links)?;
    is_free(stage, &bridge_with_one_address())
}

fn leaves_others_alone(stage: &Stage) -> Met {
    let config = with(&bridge(), "ipMasq", &json!(true));
    let (_, first) = stage.container("c1");
    let (place, second) = stage.container("c10");
    stage.add(&config, &first)?;
    stage.add(&config, &second)?;
    let look = || place.stdout("ip -d -o link") + &place.stdout("ip -o addr") + &place.stdout("ip route");
    let before = look();
    stage.del(&config, &first)?;
    must(look() == before, look)?;
    let veths = stdout("ip -br link show master cni0");
    must(veths.lines().count() == 1, || veths)
}

fn path_then_empty(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    let result = stage.add(&bridge_with_one_address(), &attachment)?;
    let config = with(&bridge_with_one_address(), "prevResult", &result);
    stage.del(&config, &attachment)?;
    place.delete();
    stage.del(&config, &attachment.at(""))?;
    is_free(stage, &bridge_with_one_address())
}

fn namespace_lives_on(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    stage.add(&bridge(), &attachment)?;
    stage.del(&bridge(), &attachment)?;
    let links = place.stdout("ip -br link");
    must(!links.contains("eth0"), || links)?;
    // The same container comes back, as `podman network connect` has it.
    stage.add(&bridge(), &attachment).map(drop)
}

fn file_for_a_namespace(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    stage.add(&bridge_with_one_address(), &attachment)?;
    place.delete();
    let path = stage.file("netns/c1", "");
    let attachment = Attachment { netns: path.display().to_string(), ..attachment };
    stage.del(&bridge_with_one_address(), &attachment)?;
    is_free(stage, &bridge_with_one_address())
}
