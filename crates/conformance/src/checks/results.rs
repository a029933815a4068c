//! ADD Success: the shapes of results, in every version.

use super::{addresses, bridge, host_local, with};
use crate::attachment::Attachment;
use crate::check::Check;
use crate::stage::Stage;
use crate::verdict::{Met, must, of, same};
use qiao_testbed::stdout;
use serde_json::{Value, json};

const SECTION: &str = "ADD Success";

pub const CHECKS: &[Check] = &[
    Check::must("RESULT-1", ("0.1.0, 0.2.0", "`ip4` and `ip6` with `ip`, `gateway`, `routes`; no `ips`, no `interfaces`"), oldest),
    Check::must("RESULT-2", ("0.3.0 to 0.4.0", "`ips` have `version` \"4\" or \"6\""), with_family),
    Check::must("RESULT-3", ("1.0.0", "`ips` have no `version`"), |stage| without_family(stage, "1.0.0")),
    Check::must("RESULT-4", (SECTION, "1.1.0: as 1.0.0; a result of that version is returned"), |stage| {
        without_family(stage, "1.1.0")
    })
    .since("1.1.0"),
    Check::must("RESULT-5", (SECTION, "a configuration without `cniVersion` is of 0.1.0, and so is the result"), no_version),
    Check::must(
        "RESULT-6",
        (SECTION, "`interfaces` has all interfaces that were made, with their names and MACs; `sandbox` is CNI_NETNS in the container and empty on the host"),
        interfaces_are_true,
    ),
    Check::must(
        "RESULT-7",
        (SECTION, "`ips`: what the interface in the container has, with its index in `interfaces` and its gateway"),
        addresses_are_true,
    ),
    Check::must("RESULT-8", (SECTION, "`routes`: what the container has"), routes_are_true),
    Check::must(
        "RESULT-9",
        ("Delegated plugins (IPAM)", "the abbreviated result of an IPAM plugin has no `interfaces` and no `ips[].interface`, in every version"),
        abbreviated,
    )
    .on(&["host-local"]),
    Check::must(
        "RESULT-10",
        (SECTION, "a plugin that makes no change outputs a result equivalent to `prevResult`, in every version"),
        passes_the_result_on,
    )
    .on(&["bridge", "host-local", "portmap"]),
    Check::must(
        "RESULT-11",
        ("1.1.0", "`interfaces[].mtu, socketPath, pciID` and `routes[].mtu, advmss, priority, table, scope` of `prevResult` are kept"),
        keeps_attributes,
    )
    .on(&["portmap"])
    .since("1.1.0"),
    Check::custom(
        "RESULT-12",
        ("forward compatibility", "keys of `prevResult` that the plugin does not know are kept"),
        keeps_unknown_fields,
    )
    .on(&["portmap"]),
    Check::must(
        "RESULT-13",
        ("1.1.0", "route attributes of the IPAM's answer are those of the container's route"),
        route_attributes,
    )
    .since("1.1.0"),
    Check::must(
        "RESULT-14",
        (SECTION, "a `prevResult` of an older version is converted to that of the request"),
        converts,
    )
    .on(&["portmap"]),
    Check::custom(
        "RESULT-15",
        ("0.2.0", "a result without any address cannot be said in 0.1.0 and 0.2.0: it is an error, and nothing is made"),
        unspeakable,
    ),
];

fn in_version(stage: &Stage, version: &str) -> Met<Value> {
    let (_, attachment) = stage.container(&format!("v{}", version.replace('.', "-")));
    let result = of(version, stage.add(&with(&bridge(), "cniVersion", &json!(version)), &attachment))?;
    same(&format!("{version}: cniVersion"), &result["cniVersion"], &json!(version))?;
    Ok(result)
}

fn oldest(stage: &Stage) -> Met {
    ["0.1.0", "0.2.0"].iter().try_for_each(|version| old_shape(&in_version(stage, version)?))
}

fn old_shape(result: &Value) -> Met {
    must(result.get("ips").is_none() && result.get("interfaces").is_none(), || result.to_string())?;
    for (key, subnet, gateway, route) in
        [("ip4", "10.88.0.", "10.88.0.1", "0.0.0.0/0"), ("ip6", "fd00:88::", "fd00:88::1", "::/0")]
    {
        let ip = &result[key];
        must(ip["ip"].as_str().is_some_and(|text| text.starts_with(subnet)), || ip.to_string())?;
        same(&format!("{key}.gateway"), &ip["gateway"], &json!(gateway))?;
        must(ip["routes"].as_array().is_some_and(|all| all.iter().any(|r| r["dst"] == route)), || {
            ip.to_string()
        })?;
    }
    Ok(())
}

fn families(result: &Value) -> Vec<Value> {
    result["ips"]
        .as_array()
        .map(|ips| ips.iter().map(|ip| ip["version"].clone()).collect())
        .unwrap_or_default()
}

fn with_family(stage: &Stage) -> Met {
    ["0.3.0", "0.3.1", "0.4.0"].iter().try_for_each(|version| {
        let result = in_version(stage, version)?;
        same(&format!("{version}: ips[].version"), &families(&result), &vec![json!("4"), json!("6")])
    })
}

fn without_family(stage: &Stage, version: &str) -> Met {
    let result = in_version(stage, version)?;
    same("ips[].version", &families(&result), &vec![Value::Null, Value::Null])
}

fn no_version(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("c1");
    let result = stage.add(&super::less(&bridge(), "cniVersion"), &attachment)?;
    must(result["cniVersion"].is_null() || result["cniVersion"] == "0.1.0", || {
        result["cniVersion"].to_string()
    })?;
    old_shape(&result)
}

/// The interfaces of a result that are in the container, or on the host.
fn interfaces<'r>(result: &'r Value, attachment: &Attachment, inside: bool) -> Vec<&'r Value> {
    let all = result["interfaces"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_inside = |interface: &&Value| interface["sandbox"].as_str() == Some(&attachment.netns);
    all.iter().filter(|interface| is_inside(interface) == inside).collect()
}

fn unspeakable(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    let config = with(&with(&bridge(), "cniVersion", &json!("0.2.0")), "ipam", &json!({}));
    let config = with(&config, "isGateway", &json!(false));
    stage.add(&with(&config, "cniVersion", &json!("1.0.0")), &stage.container("resident").1)?;
    let before = stage.snapshot();
    stage.run("ADD", &config, &attachment).refusal()?;
    let links = place.stdout("ip -br link");
    must(!links.contains("eth0"), || links)?;
    stage.unchanged(&before, "an ADD whose result cannot be said")
}

fn interfaces_are_true(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    let result = stage.add(&bridge(), &attachment)?;
    let inside = interfaces(&result, &attachment, true);
    same("interfaces in the container", &inside.len(), &1)?;
    same("its name", &inside[0]["name"], &json!("eth0"))?;
    let outside = interfaces(&result, &attachment, false);
    same("interfaces on the host", &outside.len(), &2)?;
    must(outside.iter().any(|i| i["name"] == "cni0"), || format!("the bridge is not in {result}"))?;
    must(outside.iter().all(|i| i["sandbox"].as_str().unwrap_or_default().is_empty()), || {
        result.to_string()
    })?;
    for (look, interfaces) in [(place.stdout("ip -o link"), inside), (stdout("ip -o link"), outside)] {
        for interface in interfaces {
            let name = interface["name"].as_str().unwrap_or_default();
            let mac = interface["mac"].as_str().unwrap_or("none").to_lowercase();
            let is_true = |line: &str| line.contains(&mac) && line.contains(&format!(" {name}"));
            must(look.lines().any(is_true), || format!("{interface} is not in {look}"))?;
        }
    }
    Ok(())
}

fn addresses_are_true(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    let result = stage.add(&bridge(), &attachment)?;
    let ips = result["ips"].as_array().cloned().unwrap_or_default();
    same("addresses", &ips.len(), &2)?;
    let look = place.stdout("ip -o addr show dev eth0");
    for (ip, gateway) in ips.iter().zip(["10.88.0.1", "fd00:88::1"]) {
        let address = ip["address"].as_str().unwrap_or("none");
        must(look.contains(&format!(" {address} ")), || format!("{address} is not in {look}"))?;
        same("gateway", &ip["gateway"], &json!(gateway))?;
        let at = ip["interface"].as_u64().unwrap_or(99) as usize;
        same("the interface of the index", &result["interfaces"][at]["name"], &json!("eth0"))?;
    }
    Ok(())
}

fn routes_are_true(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    let mut config = bridge();
    config["ipam"]["routes"] =
        json!([{"dst": "0.0.0.0/0"}, {"dst": "198.51.100.0/24", "gw": "10.88.0.9"}, {"dst": "::/0"}]);
    let result = stage.add(&config, &attachment)?;
    let found: Vec<_> = result["routes"].as_array().into_iter().flatten().map(|r| r["dst"].clone()).collect();
    let wanted = json!(["0.0.0.0/0", "198.51.100.0/24", "::/0"]);
    must(wanted.as_array().is_some_and(|all| all.iter().all(|dst| found.contains(dst))), || {
        format!("{found:?}")
    })?;
    let look = place.stdout("ip route") + &place.stdout("ip -6 route");
    ["default via 10.88.0.1 ", "198.51.100.0/24 via 10.88.0.9 ", "default via fd00:88::1 "]
        .iter()
        .try_for_each(|route| must(look.contains(route), || format!("{route} is not in {look}")))
}

fn abbreviated(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("c1");
    let mut found = Vec::new();
    for version in ["0.2.0", "0.3.1", "0.4.0", "1.0.0"] {
        let mut config = with(&host_local(&json!({"subnet": "10.88.0.0/24"})), "cniVersion", &json!(version));
        config["type"] = json!("host-local");
        let result =
            of(version, stage.add(&config, &attachment.on(&format!("e{}", version.replace('.', "")))))?;
        must(result.get("interfaces").is_none_or(|all| all == &json!([])), || result.to_string())?;
        let ips = result["ips"].as_array().cloned().unwrap_or_default();
        must(ips.iter().all(|ip| ip.get("interface").is_none()), || result.to_string())?;
        must(version == "0.2.0" || ips.len() == 1, || result.to_string())?;
        found.extend(addresses(&result));
    }
    let expected: Vec<_> = (3..=5).map(|n| format!("10.88.0.{n}")).collect();
    same("the addresses from 0.3.1 on", &found, &expected)
}

fn passes_the_result_on(stage: &Stage) -> Met {
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        let (_, attachment) = stage.container(&format!("v{}", version.replace('.', "-")));
        let result = of(version, stage.add(&with(&bridge(), "cniVersion", &json!(version)), &attachment))?;
        let next = json!({"cniVersion": version, "name": "net", "type": "portmap", "prevResult": result});
        let passed = of(version, stage.add(&next, &attachment))?;
        same(&format!("{version}: the result"), &without_empty(&passed), &without_empty(&result))?;
    }
    Ok(())
}

/// An empty `dns` and none are the same; the order of keys is none.
fn without_empty(result: &Value) -> Value {
    if result["dns"] == json!({}) { super::less(result, "dns") } else { result.clone() }
}

/// What `portmap` makes of a result, without any port to map.
fn passed(stage: &Stage, version: &str, previous: &Value) -> Met<Value> {
    let config = json!({"cniVersion": version, "name": "net", "type": "portmap", "prevResult": previous});
    stage.add(&config, &stage.container("c1").1)
}

fn keeps_attributes(stage: &Stage) -> Met {
    let previous = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:07", "sandbox": "/run/netns/c1", "mtu": 1400, "socketPath": "/run/s", "pciID": "0000:00:01.0"}],
        "ips": [{"address": "10.88.0.7/24", "gateway": "10.88.0.1", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0", "mtu": 1300, "advmss": 1200, "priority": 7, "table": 100, "scope": 0}],
    });
    let result = passed(stage, "1.1.0", &previous)?;
    same("interfaces", &result["interfaces"], &previous["interfaces"])?;
    same("routes", &result["routes"], &previous["routes"])
}

fn keeps_unknown_fields(stage: &Stage) -> Met {
    let previous = json!({
        "cniVersion": "1.0.0", "example.com/more": {"a": 1},
        "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:07", "sandbox": "/run/netns/c1", "example.com/speed": 10}],
        "ips": [{"address": "10.88.0.7/24", "gateway": "10.88.0.1", "interface": 0}], "routes": [],
    });
    let result = passed(stage, "1.0.0", &previous)?;
    same("an unknown key of an interface", &result["interfaces"][0]["example.com/speed"], &json!(10))?;
    same("an unknown key of the result", &result["example.com/more"], &previous["example.com/more"])
}

fn route_attributes(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    let mut config = with(&bridge(), "cniVersion", &json!("1.1.0"));
    config["ipam"]["routes"] =
        json!([{"dst": "198.51.100.0/24", "mtu": 1300, "advmss": 1200, "priority": 7, "table": 100}]);
    let result = stage.add(&config, &attachment)?;
    let route = place.stdout("ip route show table all");
    ["198.51.100.0/24", "table 100", "metric 7", "mtu 1300", "advmss 1200"]
        .iter()
        .try_for_each(|word| must(route.contains(word), || format!("{word} is not in `{}`", route.trim())))?;
    same("routes[0].priority", &result["routes"][0]["priority"], &json!(7))
}

fn converts(stage: &Stage) -> Met {
    from_old_to_new(stage)?;
    let new = json!({
        "cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:07", "sandbox": "/run/netns/c2"}],
        "ips": [{"address": "10.88.0.7/24", "gateway": "10.88.0.1", "interface": 0}], "routes": [],
    });
    for (at, version) in ["0.3.0", "0.3.1", "0.4.0"].iter().enumerate() {
        let config = json!({"cniVersion": version, "name": "net", "type": "portmap", "prevResult": new});
        let result = of(version, stage.add(&config, &stage.container(&format!("d{at}")).1))?;
        same("cniVersion", &result["cniVersion"], &json!(version))?;
        same("ips[].version", &families(&result), &vec![json!("4")])?;
    }
    Ok(())
}

fn from_old_to_new(stage: &Stage) -> Met {
    let ips = json!([{"version": "4", "address": "10.88.0.7/24", "gateway": "10.88.0.1", "interface": 0}]);
    let interfaces = json!([{"name": "eth0", "mac": "02:00:00:00:00:07", "sandbox": "/run/netns/c1"}]);
    let old = json!({"cniVersion": "0.3.1", "interfaces": interfaces, "ips": ips, "routes": []});
    let result = passed(stage, "1.0.0", &old)?;
    same("cniVersion", &result["cniVersion"], &json!("1.0.0"))?;
    same("ips[].version", &families(&result), &vec![Value::Null])?;
    same("the interfaces", &result["interfaces"], &old["interfaces"])?;
    same("the addresses", &addresses(&result), &vec!["10.88.0.7".to_owned()])
}
