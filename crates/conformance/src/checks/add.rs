//! ADD: add a container to a network.

use super::{addresses, bridge, bridge_with_one_address, with};
use crate::check::Check;
use crate::stage::Stage;
use crate::verdict::{Met, must, of, same};
use qiao_testbed::{Place, Protocol, Service, ask, eventually};
use serde_json::json;
use std::time::Duration;

const SECTION: &str = "ADD";

pub const CHECKS: &[Check] = &[
    Check::must(
        "ADD-1",
        (
            SECTION,
            "the interface named by CNI_IFNAME is in the container at CNI_NETNS, and works: the host, another container and the gateway answer",
        ),
        it_works,
    ),
    Check::must(
        "ADD-2",
        (
            SECTION,
            "if an interface of the requested name exists in the container, it is an error, and nothing is changed",
        ),
        existing_interface,
    ),
    Check::must(
        "ADD-3",
        (SECTION, "a container may be on a network more than once, each time with another interface name"),
        two_interfaces,
    ),
    Check::must("ADD-4", (SECTION, "a container may be on several networks"), two_networks),
    Check::custom(
        "ADD-5",
        (SECTION, "a second ADD without DEL is an error, and the first attachment works as before"),
        second_add,
    ),
    Check::custom(
        "ADD-6",
        ("real life", "an ADD that fails for want of an address leaves nothing"),
        leaves_nothing,
    ),
    Check::must(
        "ADD-7",
        (
            SECTION,
            "`loopback` brings up the loopback interface, and its DEL succeeds, also without a namespace",
        ),
        loopback,
    )
    .on(&["loopback"]),
    Check::custom(
        "ADD-8",
        ("kubelet", "two networks of different names may share no bridge, and their addresses do not meet"),
        names_are_apart,
    ),
];

fn answers(from: &Place, to: &str) -> Met {
    let answered = eventually(Duration::from_secs(8), || ask(from, Protocol::Tcp, to).is_some());
    must(answered, || format!("{to} does not answer {}", from.name()))
}

fn it_works(stage: &Stage) -> Met {
    let config = bridge();
    let (one, first) = stage.container("c1");
    let (two, second) = stage.container("c2");
    let to = addresses(&stage.add(&config, &first)?);
    stage.add(&config, &second)?;
    for (address, any) in to.iter().zip(["0.0.0.0:80", "[::]:81"]) {
        let _server = Service::start(&one, Protocol::Tcp, any);
        let to = if address.contains(':') { format!("[{address}]:81") } else { format!("{address}:80") };
        answers(&two, &to)?;
        answers(&Place::HOST, &to)?;
    }
    let _gateway = Service::start(&Place::HOST, Protocol::Tcp, "10.88.0.1:80");
    answers(&one, "10.88.0.1:80")
}

fn existing_interface(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    place.run("ip link add eth0 type bridge");
    let look = || place.stdout("ip -d -o link show") + &place.stdout("ip -o addr");
    let (before, links) = (stage.snapshot(), look());
    stage.run("ADD", &bridge_with_one_address(), &attachment).refusal()?;
    same("what is in the container", &look(), &links)?;
    let bridge = |line: &String| !line.contains("cni0");
    let left =
        before.diff(&stage.snapshot()).into_iter().filter(bridge).filter(|l| l.contains("veth")).count();
    same("interfaces left on the host", &left, &0)?;
    of("the address must be free", stage.add(&bridge_with_one_address(), &stage.container("c2").1)).map(drop)
}

fn two_interfaces(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    stage.add(&bridge(), &attachment)?;
    stage.add(&bridge(), &attachment.on("eth1"))?;
    stage.del(&bridge(), &attachment)?;
    let links = place.stdout("ip -br link");
    must(links.contains("eth1") && !links.contains("eth0"), || format!("after DEL of eth0: {links}"))
}

fn two_networks(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    let mut other = with(&with(&bridge(), "name", &json!("other")), "bridge", &json!("cni1"));
    other["ipam"] = json!({"type": "host-local", "ranges": [[{"subnet": "10.89.0.0/24"}]]});
    stage.add(&bridge(), &attachment)?;
    stage.add(&other, &attachment.on("eth1"))?;
    let look = place.stdout("ip -o -4 addr");
    must(look.contains("10.88.0.") && look.contains("10.89.0."), || look)?;
    stage.del(&other, &attachment.on("eth1"))?;
    let look = place.stdout("ip -o -4 addr");
    must(look.contains("10.88.0.") && !look.contains("10.89.0."), || look)
}

fn second_add(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    let address = addresses(&stage.add(&bridge(), &attachment)?);
    stage.run("ADD", &bridge(), &attachment).refusal()?;
    let _server = Service::start(&place, Protocol::Tcp, "0.0.0.0:80");
    answers(&Place::HOST, &format!("{}:80", address[0]))?;
    let other = addresses(&stage.add(&bridge(), &stage.container("c2").1)?);
    must(other[0] != address[0], || format!("the address {} was given again", address[0]))
}

fn leaves_nothing(stage: &Stage) -> Met {
    stage.add(&bridge_with_one_address(), &stage.container("c1").1)?;
    let (place, attachment) = stage.container("c2");
    let before = stage.snapshot();
    stage.run("ADD", &bridge_with_one_address(), &attachment).refusal()?;
    stage.unchanged(&before, "the failed ADD")?;
    let links = place.stdout("ip -br link");
    must(!links.contains("eth0"), || links)
}

fn loopback(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    let (config, attachment) =
        (json!({"cniVersion": "1.0.0", "name": "lo", "type": "loopback"}), attachment.on("lo"));
    stage.add(&config, &attachment)?;
    let link = place.stdout("ip -br link show dev lo");
    must(link.contains("UP"), || link)?;
    stage.run("DEL", &config, &attachment).success()?;
    stage.run("DEL", &config, &attachment.at("")).success()?;
    place.delete();
    stage.run("DEL", &config, &attachment).success()
}

fn names_are_apart(stage: &Stage) -> Met {
    let one = bridge_with_one_address();
    let other = with(&with(&one, "name", &json!("other")), "bridge", &json!("cni1"));
    stage.add(&one, &stage.container("c1").1)?;
    let mut other = other;
    other["ipam"]["ranges"] =
        json!([[{"subnet": "10.90.0.0/24", "rangeStart": "10.90.0.7", "rangeEnd": "10.90.0.7"}]]);
    stage.add(&other, &stage.container("c2").1)?;
    stage.del(&other, &stage.container("c3").1.named("c2"))?;
    stage.run("ADD", &one, &stage.container("c4").1).refusal().map(drop)
}
