//! Main plugins besides `bridge`, and `static`: that each does its duty, and undoes it.

use super::{addresses, with};
use crate::check::Check;
use crate::stage::Stage;
use crate::verdict::{Met, must, of, same};
use qiao_testbed::{Place, Protocol, Service, ask, eventually, run, stdout};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

pub const CHECKS: &[Check] = &[
    Check::must(
        "MAIN-1",
        ("ptp", "the container reaches the host and another container over routes; DEL undoes it, twice and without a namespace"),
        ptp,
    )
    .on(&["ptp", "host-local"]),
    Check::must("MAIN-2", ("ptp", "`ipMasq`: traffic to outside goes out with an address of the host"), ptp_masquerade)
        .on(&["ptp", "host-local"]),
    Check::must(
        "MAIN-3",
        ("macvlan", "the container is a neighbour of the outside host on the master; DEL undoes it, twice and without a namespace"),
        macvlan,
    )
    .on(&["macvlan", "host-local"]),
    Check::must(
        "MAIN-4",
        ("ipvlan", "the container is a neighbour of the outside host on the master; DEL undoes it, twice and without a namespace"),
        ipvlan,
    )
    .on(&["ipvlan", "host-local"]),
    Check::must("MAIN-5", ("static", "the addresses, routes and DNS of the configuration are those of the container"), static_ipam)
        .on(&["bridge", "static"]),
    Check::custom("MAIN-6", ("static", "CNI_ARGS IP and GATEWAY, and the capability `ips`, give the address"), static_by_runtime)
        .on(&["bridge", "static"]),
    Check::must("MAIN-7", ("CHECK", "`ptp` and `macvlan` are content right after ADD, and find that the address is gone"), check)
        .on(&["ptp", "macvlan", "host-local"]),
    Check::must(
        "MAIN-8",
        ("host-device", "the device is in the container under CNI_IFNAME, and DEL gives it back with its name and alias"),
        device,
    )
    .on(&["host-device", "host-local"]),
    Check::custom(
        "MAIN-9",
        ("containernetworking/plugins#1196", "DEL of `host-device` frees the address, also with an empty CNI_NETNS and one that is gone"),
        device_in_the_dark,
    )
    .on(&["host-device", "host-local"]),
    Check::must(
        "MAIN-10",
        ("vlan", "the container is a neighbour of who is in the VLAN of the master; DEL undoes it, twice and without a namespace"),
        vlan,
    )
    .on(&["vlan", "host-local"]),
    Check::must(
        "MAIN-11",
        ("ptp", "the result has the host's interface and the container's, in this order, and the addresses are the container's"),
        ptp_result,
    )
    .on(&["ptp", "host-local"]),
];

/// A main plugin with one address to give away, of the network of the outside host or one of its own.
fn config(kind: &str, address: &str) -> Value {
    let net = address.rsplit_once('.').map_or("", |(net, _)| net);
    let range = json!([[{"subnet": format!("{net}.0/24"), "rangeStart": address, "rangeEnd": address}]]);
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": kind,
        "ipam": {"type": "host-local", "ranges": range, "routes": [{"dst": "0.0.0.0/0"}]},
    })
}

fn answers(from: &Place, to: &str, server: &str) -> Met {
    let answer = ask(from, Protocol::Tcp, to).unwrap_or_default();
    must(answer.starts_with(server), || format!("{to} answers {} with {answer:?}", from.name()))
}

/// ADD, CHECK what it shall do, DEL in every way; afterwards the host is as before, and the address is free.
fn whole_life(stage: &Stage, config: &Value, works: impl Fn(&Place, &str) -> Met) -> Met {
    let (place, attachment) = stage.container("c1");
    let before = stage.snapshot();
    let result = stage.add(config, &attachment)?;
    stage.is_there(&attachment)?;
    works(&place, &addresses(&result)[0])?;
    let last = with(config, "prevResult", &result);
    stage.del(&last, &attachment)?;
    run("conntrack -F");
    stage.unchanged(&before, "DEL")?;
    stage.del(&last, &attachment)?;
    let (place, second) = stage.container("c2");
    stage.add(config, &second)?;
    place.delete();
    stage.del(config, &second.at(""))?;
    run("conntrack -F");
    stage.unchanged(&before, "DEL with an empty CNI_NETNS")?;
    of("the address is not free", stage.add(config, &stage.container("c3").1)).map(drop)
}

fn ptp(stage: &Stage) -> Met {
    // What the first ADD switches on for all to come is not left by the second.
    let (_, first) = stage.container("resident");
    let mut resident = config("ptp", "10.88.0.8");
    resident["name"] = json!("other");
    stage.add(&resident, &first)?;
    whole_life(stage, &config("ptp", "10.88.0.7"), |place, address| {
        let _server = Service::start(place, Protocol::Tcp, "0.0.0.0:80");
        answers(&Place::HOST, &format!("{address}:80"), place.name())
    })
}

fn ptp_masquerade(stage: &Stage) -> Met {
    let _server = Service::start(&stage.lan, Protocol::Tcp, "0.0.0.0:99");
    let (place, attachment) = stage.container("c1");
    let config = with(&config("ptp", "10.88.0.7"), "ipMasq", &json!(true));
    stage.add(&config, &attachment)?;
    same("who asked", &ask(&place, Protocol::Tcp, "192.0.2.100:99"), &Some("lan 192.0.2.1".to_owned()))?;
    place.delete();
    stage.del(&config, &attachment.at(""))?;
    stage.no_rules_with("10.88.0.7")
}

/// Whether this kernel has such links.
fn kernel_has(kind: &str) -> Met {
    let words = ["link", "add", "link", "up0", "name", "probe0", "type"];
    if Command::new("ip")
        .args(words)
        .args(kind.split(' '))
        .output()
        .is_ok_and(|output| output.status.success())
    {
        run("ip link del probe0");
        return Ok(());
    }
    Err(crate::verdict::Unmet::NotApplicable(format!("this kernel has no {kind}")))
}

fn on_the_uplink(stage: &Stage, kind: &str) -> Met {
    kernel_has(kind)?;
    let config = with(&config(kind, "192.0.2.50"), "master", &json!("up0"));
    whole_life(stage, &config, |place, _| {
        let _server = Service::start(place, Protocol::Tcp, "0.0.0.0:80");
        answers(&stage.lan, "192.0.2.50:80", place.name())
    })
}

fn macvlan(stage: &Stage) -> Met {
    on_the_uplink(stage, "macvlan")
}

fn ipvlan(stage: &Stage) -> Met {
    on_the_uplink(stage, "ipvlan")
}

/// A device of the host's with an alias, and the configuration that lends it.
fn lendable(stage: &Stage) -> Value {
    run("ip link add nic0 address 02:00:00:00:00:99 type veth peer name out0 netns lan");
    run("ip link set nic0 alias rack-7");
    stage.lan.run("ip link set out0 up");
    with(&config("host-device", "192.0.2.50"), "device", &json!("nic0"))
}

fn device(stage: &Stage) -> Met {
    let config = lendable(stage);
    let (place, attachment) = stage.container("c1");
    let result = stage.add(&config, &attachment)?;
    let link = place.stdout("ip link show dev eth0");
    must(link.contains("02:00:00:00:00:99"), || link)?;
    let look = stdout("ip link");
    must(!look.contains("nic0"), || format!("it is on the host too: {look}"))?;
    stage.del(&with(&config, "prevResult", &result), &attachment)?;
    let link = stdout("ip link show dev nic0");
    must(link.contains("02:00:00:00:00:99"), || link.clone())?;
    must(link.contains("alias rack-7"), || format!("its alias is another one: {link}"))
}

fn device_in_the_dark(stage: &Stage) -> Met {
    let config = lendable(stage);
    let (_, attachment) = stage.container("c1");
    stage.add(&config, &attachment)?;
    stage.del(&config, &attachment.at(""))?;
    let again = |name: &str| {
        let (place, attachment) = stage.container(name);
        // The one before goes with its namespace, which takes the kernel a while.
        eventually(Duration::from_secs(5), || !stage.lan.stdout("ip -br link").contains("out1"));
        run("ip link add nic1 type veth peer name out1 netns lan");
        let config = with(&config, "device", &json!("nic1"));
        let added = of("the address is not free", stage.add(&config, &attachment));
        added.map(|_| (place, attachment, config))
    };
    let (place, attachment, config) = again("c2")?;
    place.delete();
    stage.del(&config, &attachment)?;
    again("c3").map(drop)
}

fn vlan(stage: &Stage) -> Met {
    kernel_has("vlan id 9")?;
    stage.lan.run("ip link add link eth0 name eth0.9 type vlan id 9");
    stage.lan.run("ip link set eth0.9 up");
    stage.lan.run("ip addr add 198.51.100.1/24 dev eth0.9");
    let config = with(&config("vlan", "198.51.100.50"), "master", &json!("up0"));
    whole_life(stage, &with(&config, "vlanId", &json!(9)), |place, _| {
        let _server = Service::start(place, Protocol::Tcp, "0.0.0.0:80");
        answers(&stage.lan, "198.51.100.50:80", place.name())
    })
}

fn ptp_result(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("c1");
    let result = stage.add(&config("ptp", "10.88.0.7"), &attachment)?;
    let sandboxes: Vec<_> =
        result["interfaces"].as_array().into_iter().flatten().map(|i| &i["sandbox"]).collect();
    must(sandboxes.len() == 2 && sandboxes[0].as_str().unwrap_or_default().is_empty(), || {
        result.to_string()
    })?;
    same("the second interface's `sandbox`", &sandboxes[1].as_str(), &Some(&*attachment.netns))?;
    same("`ips[0].interface`", &result["ips"][0]["interface"], &json!(1))?;
    let link = result["interfaces"][0]["name"].as_str().unwrap_or_default();
    must(stdout("ip link").contains(link), || format!("the host has no {link}"))
}

fn static_config() -> Value {
    with(
        &super::bridge(),
        "ipam",
        &json!({
            "type": "static", "addresses": [{"address": "10.88.0.20/24", "gateway": "10.88.0.254"}, {"address": "fd00:88::20/64"}],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "203.0.113.0/24", "gw": "10.88.0.9"}],
            "dns": {"nameservers": ["10.88.0.53"]},
        }),
    )
}

fn static_ipam(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    let config = with(&static_config(), "isGateway", &json!(false));
    let result = stage.add(&config, &attachment)?;
    same("addresses", &addresses(&result), &vec!["10.88.0.20".to_owned(), "fd00:88::20".to_owned()])?;
    let look = place.stdout("ip -o addr") + &place.stdout("ip route");
    for word in ["10.88.0.20/24", "fd00:88::20/64", "default via 10.88.0.254", "203.0.113.0/24 via 10.88.0.9"]
    {
        must(look.contains(word), || format!("{word} is not in {look}"))?;
    }
    stage.del(&with(&config, "prevResult", &result), &attachment)
}

fn static_by_runtime(stage: &Stage) -> Met {
    let mut config = with(&static_config(), "isGateway", &json!(false));
    config["ipam"] = json!({"type": "static"});
    let (_, attachment) = stage.container("c1");
    let args = attachment.with_args("IgnoreUnknown=1;IP=10.88.0.30/24;GATEWAY=10.88.0.1");
    same("by CNI_ARGS", &addresses(&stage.add(&config, &args)?), &vec!["10.88.0.30".to_owned()])?;
    let (_, attachment) = stage.container("c2");
    let config = with(&config, "capabilities", &json!({"ips": true}));
    let config = with(&config, "runtimeConfig", &json!({"ips": ["10.88.0.31/24"]}));
    same("by `ips`", &addresses(&stage.add(&config, &attachment)?), &vec!["10.88.0.31".to_owned()])
}

fn check(stage: &Stage) -> Met {
    kernel_has("macvlan")?;
    let macvlan = with(&config("macvlan", "192.0.2.50"), "master", &json!("up0"));
    for (name, config) in [("c1", config("ptp", "10.88.0.7")), ("c2", with(&macvlan, "name", &json!("lan")))]
    {
        let (place, attachment) = stage.container(name);
        let result = stage.add(&config, &attachment)?;
        let config = with(&config, "prevResult", &result);
        of("right after ADD", stage.run("CHECK", &config, &attachment).nothing())?;
        place.run("ip addr flush dev eth0 scope global");
        of("without an address", stage.run("CHECK", &config, &attachment).refusal().map(drop))?;
    }
    Ok(())
}
