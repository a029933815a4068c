//! Parameters: what comes by the environment.

use super::{bridge, bridge_with_one_address};
use crate::check::Check;
use crate::stage::Stage;
use crate::verdict::{Met, must, of};
use qiao_testbed::{Place, stdout};
use serde_json::Value;

const SECTION: &str = "Parameters";

pub const CHECKS: &[Check] = &[
    Check::must(
        "ENV-1",
        ("Error", "a variable that is missing is error 4, and the message names it"),
        missing_variables_are_named,
    ),
    Check::must(
        "ENV-2",
        ("Error", "an unknown CNI_COMMAND is error 4, and the message names it"),
        unknown_verb,
    ),
    Check::must(
        "ENV-3",
        (
            SECTION,
            "CNI_CONTAINERID starts with an alphanumeric character, followed by these, `_`, `.` or `-`; another is an error, and nothing is made",
        ),
        container_ids,
    ),
    Check::must(
        "ENV-4",
        (
            SECTION,
            "a plugin that cannot use CNI_IFNAME returns an error: 16 octets, `.`, `..`, `/`, `:`, white space; nothing is made",
        ),
        interface_names,
    ),
    Check::custom("ENV-5", ("skel", "CNI_IFNAME of 15 octets is taken"), longest_name),
    Check::must("ENV-6", ("DEL", "CNI_NETNS is not required for DEL"), del_without_netns),
    Check::must(
        "ENV-7",
        ("ADD", "a CNI_NETNS that does not exist is an error, and nothing is made"),
        vanished_netns,
    ),
    Check::custom(
        "ENV-8",
        (
            "skel",
            "CNI_NETNS that is the plugin's own namespace is error 8, in one document, and nothing is made",
        ),
        own_netns,
    ),
    Check::custom("ENV-9", ("ctr", "CNI_NETNS may be /proc/PID/ns/net"), netns_of_a_process),
    Check::custom(
        "ENV-10",
        ("skel", "CNI_ARGS with a word that is no pair is an error, and nothing is made"),
        broken_args,
    ),
    Check::custom(
        "ENV-11",
        ("CONVENTIONS", "an unknown key of CNI_ARGS is an error, unless IgnoreUnknown is given"),
        unknown_args,
    ),
    Check::custom(
        "ENV-12",
        (
            "CONVENTIONS",
            "the K8S_POD_* keys of CNI_ARGS are taken with IgnoreUnknown, as containerd sends them",
        ),
        kubernetes_args,
    ),
];

/// The call must be refused, and nothing may be there that was not: also no address may be taken.
fn refused(stage: &Stage, name: &str, (key, value): (&str, &str), codes: &[u64]) -> Met {
    let (_, attachment) = stage.container(name);
    let before = stage.snapshot();
    let call = stage.call("ADD", &bridge_with_one_address(), &attachment).env(key, value);
    of(&format!("{key}={value:?}"), call.run().refused_with(codes).map(drop))?;
    of(&format!("{key}={value:?}"), stage.unchanged(&before, "a refused ADD"))
}

fn one_address_is_left(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("last");
    of("the address that a refused ADD must not keep", stage.add(&bridge_with_one_address(), &attachment))
        .map(drop)
}

fn missing_variables_are_named(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("c1");
    ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"].iter().try_for_each(|variable| {
        let refusal = stage.call("ADD", &bridge(), &attachment).without(variable).run().refused_with(&[4]);
        let refusal = of(&format!("without {variable}"), refusal)?;
        must(refusal.text.contains(variable), || format!("it does not name {variable}: {}", refusal.text))
    })
}

fn unknown_verb(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("c1");
    let refusal = stage.run("FROB", &bridge(), &attachment).refused_with(&[4])?;
    must(refusal.text.contains("CNI_COMMAND"), || refusal.text)
}

fn container_ids(stage: &Stage) -> Met {
    for (at, id) in ["", "-a", ".a", "_a", "a/b", "../a", "a b", "a\n", "ä"].iter().enumerate() {
        refused(stage, &format!("c{at}"), ("CNI_CONTAINERID", id), &[3, 4])?;
    }
    one_address_is_left(stage)
}

fn interface_names(stage: &Stage) -> Met {
    for (at, name) in ["", "0123456789abcdef", ".", "..", "a/b", "a:b", "a b", "a\tb"].iter().enumerate() {
        refused(stage, &format!("c{at}"), ("CNI_IFNAME", name), &[4])?;
    }
    one_address_is_left(stage)
}

fn longest_name(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    stage.add(&bridge(), &attachment.on("abcdefghijklmno"))?;
    must(place.stdout("ip -br link").contains("abcdefghijklmno"), || place.stdout("ip -br link"))
}

fn del_without_netns(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("c1");
    stage.add(&bridge(), &attachment)?;
    stage.call("DEL", &bridge(), &attachment).without("CNI_NETNS").run().nothing()
}

fn vanished_netns(stage: &Stage) -> Met {
    // What the first attachment makes for all to come is not left by the second.
    let (_, first) = stage.container("c1");
    let config = bridge();
    stage.add(&config, &first)?;
    let before = stage.snapshot();
    stage.run("ADD", &config, &first.named("c2").at("/run/netns/gone")).refusal()?;
    stage.unchanged(&before, "an ADD without a namespace")
}

fn own_netns(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("c1");
    let before = stage.snapshot();
    let answer = stage.run("ADD", &bridge_with_one_address(), &attachment.at(&Place::HOST.path()));
    answer.refused_with(&[8])?;
    stage.unchanged(&before, "the refused ADD")?;
    one_address_is_left(stage)
}

fn netns_of_a_process(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    let mut sleeper = place.command("sleep").arg("60").spawn().expect("start sleep");
    let path = format!("/proc/{}/ns/net", sleeper.id());
    // `ip netns exec` enters the namespace, then becomes the program.
    let is_inside =
        || std::fs::read_to_string(format!("/proc/{}/comm", sleeper.id())).is_ok_and(|c| c == "sleep\n");
    qiao_testbed::eventually(std::time::Duration::from_secs(5), is_inside);
    let result = stage.add(&bridge(), &attachment.at(&path));
    let links = place.stdout("ip -br link");
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    let sandbox = result?["interfaces"].as_array().and_then(|all| all.last().map(|i| i["sandbox"].clone()));
    must(links.contains("eth0"), || links)?;
    must(sandbox == Some(Value::from(path.as_str())), || format!("the result's sandbox is {sandbox:?}"))
}

fn broken_args(stage: &Stage) -> Met {
    refused(stage, "c1", ("CNI_ARGS", "IgnoreUnknown"), &[4, 7, 100, 999])?;
    one_address_is_left(stage)
}

fn unknown_args(stage: &Stage) -> Met {
    refused(stage, "c1", ("CNI_ARGS", "FOO=BAR"), &[4, 7, 100, 999])?;
    for (at, ignore) in ["1", "true"].iter().enumerate() {
        let (_, attachment) = stage.container(&format!("d{at}"));
        stage.add(&bridge(), &attachment.with_args(&format!("IgnoreUnknown={ignore};FOO=BAR")))?;
    }
    Ok(())
}

fn kubernetes_args(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("c1");
    let args = "K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u-1;IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web";
    stage.add(&bridge(), &attachment.with_args(args))?;
    stage.del(&bridge(), &attachment.with_args(args))?;
    let links = stdout("ip -br link show type veth");
    must(!links.contains("master cni0"), || links)
}
