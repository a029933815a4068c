//! Network configuration: what comes on standard input.

use super::{addresses, bridge, bridge_with_one_address, less, with};
use crate::check::Check;
use crate::stage::Stage;
use crate::verdict::{Met, must, of, same};
use qiao_testbed::stdout;
use serde_json::{Value, json};

const SECTION: &str = "Section 1: Network configuration format";

pub const CHECKS: &[Check] = &[
    Check::must("CONF-1", ("Error", "input that is not JSON is error 6"), not_json),
    Check::must("CONF-2", ("Error", "no input at all is error 6"), no_input),
    Check::must("CONF-3", ("Error", "a version that is not supported is error 1"), strange_version),
    Check::must(
        "CONF-4",
        (
            SECTION,
            "`name` starts with an alphanumeric character, followed by these, `_`, `.` or `-`; another is error 7, and nothing is made",
        ),
        names,
    ),
    Check::custom(
        "CONF-5",
        ("libcni", "keys that the plugin does not know, and `capabilities`, are ignored"),
        unknown_keys,
    ),
    Check::custom(
        "CONF-6",
        ("Error", "a value of a wrong type is error 2, 6, 7 or the plugin's own, and nothing is made"),
        wrong_types,
    ),
    Check::custom(
        "CONF-7",
        ("libcni", "a boolean that is written as a string is read, or refused; it is not taken for another"),
        booleans_as_strings,
    ),
    Check::custom(
        "CONF-8",
        ("bridge", "values that exclude one another are an error, and nothing is made"),
        contradictions,
    ),
    Check::must(
        "CONF-9",
        (SECTION, "a `type` with `/` is never looked up, also not of a delegate"),
        delegates_with_paths,
    ),
    Check::should("CONF-10", (SECTION, "`dns` of the configuration is in the result"), dns_is_returned),
    Check::should(
        "CONF-11",
        (SECTION, "`ipMasq`: traffic to outside goes out with an address of the host"),
        masquerade,
    ),
    Check::custom("CONF-12", ("bridge", "`mtu` is that of the interface in the container"), mtu),
    Check::custom(
        "CONF-13",
        ("bridge", "without `ipam` the interface is made, without an address"),
        layer_2_only,
    ),
    Check::custom(
        "CONF-14",
        ("bridge", "`isDefaultGateway` gives the container a default route"),
        default_gateway,
    ),
];

fn not_json(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("c1");
    ["{", "[]x", "\u{0}", "plain"].iter().try_for_each(|text| {
        let answer = stage.call("ADD", &bridge(), &attachment).input(text.as_bytes()).run();
        of(&format!("{text:?}"), answer.refused_with(&[6]).map(drop))
    })
}

fn no_input(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("c1");
    stage.call("ADD", &bridge(), &attachment).input(b"").run().refused_with(&[6]).map(drop)
}

fn strange_version(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("c1");
    let config = with(&bridge(), "cniVersion", &json!("9.9.9"));
    stage.run("ADD", &config, &attachment).refused_with(&[1]).map(drop)
}

/// Each is refused with one of the codes, and afterwards all is as it was; the one address is free.
fn refused(stage: &Stage, configs: &[Value], codes: &[u64]) -> Met {
    for (at, config) in configs.iter().enumerate() {
        let (_, attachment) = stage.container(&format!("c{at}"));
        let before = stage.snapshot();
        let answer = stage.run("ADD", config, &attachment);
        let met = answer.refused_with(codes).map(drop);
        of(&config.to_string(), met.and_then(|()| stage.unchanged(&before, "a refused ADD")))?;
    }
    let (_, attachment) = stage.container("last");
    of("the address that must not be kept", stage.add(&bridge_with_one_address(), &attachment)).map(drop)
}

fn names(stage: &Stage) -> Met {
    let name = |name: &str| with(&bridge_with_one_address(), "name", &json!(name));
    let mut configs = vec![less(&bridge_with_one_address(), "name")];
    configs.extend(["", "-a", "..", "a/b", "../a", "a b", "ä"].map(name));
    refused(stage, &configs, &[7])
}

fn unknown_keys(stage: &Stage) -> Met {
    let mut config = with(&bridge(), "example.com/frob", &json!({"deep": [1, null]}));
    config["capabilities"] = json!({"portMappings": true, "frob": true});
    config["args"] = json!({"cni": {"frob": "x"}});
    config["ipam"]["frob"] = json!(true);
    stage.add(&config, &stage.container("c1").1).map(drop)
}

fn wrong_types(stage: &Stage) -> Met {
    let config = bridge_with_one_address();
    let mut configs = vec![
        with(&config, "mtu", &json!("big")),
        with(&config, "bridge", &json!(7)),
        with(&config, "ipam", &json!("host-local")),
        with(&config, "vlan", &json!([])),
        with(&config, "name", &json!(7)),
    ];
    configs.push(with(
        &config,
        "ipam",
        &json!({"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/99"}]]}),
    ));
    refused(stage, &configs, &[2, 6, 7, 100, 999])
}

fn booleans_as_strings(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("c1");
    let answer = stage.run("ADD", &with(&bridge(), "isGateway", &json!("true")), &attachment);
    if answer.code != Some(0) {
        return answer.refusal().map(drop);
    }
    let bridge = stdout("ip -4 addr show dev cni0");
    must(bridge.contains("10.88.0.1/24"), || format!("isGateway \"true\" made no gateway: {bridge}"))
}

fn contradictions(stage: &Stage) -> Met {
    let config = bridge_with_one_address();
    let both = with(&with(&config, "hairpinMode", &json!(true)), "promiscMode", &json!(true));
    let vlan = with(&config, "vlan", &json!(5000));
    refused(stage, &[both, vlan], &[2, 7, 100, 999])
}

fn delegates_with_paths(stage: &Stage) -> Met {
    let (_, attachment) = stage.container("c1");
    let spy = crate::recorder::Recorder::new(stage, "spy");
    let path = format!("../..{}/spy", spy.dir().display());
    let deeper = format!("../../../..{}/spy", spy.dir().display());
    for kind in [path, deeper, format!("{}/spy", spy.dir().display())] {
        let answer = stage.run("ADD", &with(&bridge(), "ipam", &json!({"type": kind})), &attachment);
        of(&kind, answer.refusal().map(drop))?;
        same("calls of a delegate by its path", &spy.verbs().len(), &0)?;
    }
    Ok(())
}

fn dns_is_returned(stage: &Stage) -> Met {
    let dns = json!({"nameservers": ["10.88.0.1"], "search": ["example.com"]});
    let result = stage.add(&with(&bridge(), "dns", &dns), &stage.container("c1").1)?;
    same("dns", &result["dns"], &dns)
}

fn masquerade(stage: &Stage) -> Met {
    use qiao_testbed::{Protocol, Service, ask};
    let _server = Service::start(&stage.lan, Protocol::Udp, "0.0.0.0:99");
    for (name, masquerade) in [("plain", false), ("masked", true)] {
        let (place, attachment) = stage.container(name);
        let config = with(&bridge(), "ipMasq", &json!(masquerade));
        let address = addresses(&stage.add(&config, &attachment)?).first().cloned().unwrap_or_default();
        let answer = ask(&place, Protocol::Udp, "192.0.2.100:99");
        let from = if masquerade { "192.0.2.1".to_owned() } else { address };
        same(&format!("who asked with ipMasq {masquerade}"), &answer, &Some(format!("lan {from}")))?;
    }
    Ok(())
}

fn mtu(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    stage.add(&with(&bridge(), "mtu", &json!(1400)), &attachment)?;
    let link = place.stdout("ip -o link show dev eth0");
    must(link.contains("mtu 1400"), || link)
}

fn layer_2_only(stage: &Stage) -> Met {
    for (at, config) in [with(&bridge(), "ipam", &json!({})), less(&bridge(), "ipam")].iter().enumerate() {
        let (place, attachment) = stage.container(&format!("c{at}"));
        let config = with(config, "isGateway", &json!(false));
        let result = stage.add(&config, &attachment)?;
        same("addresses in the result", &addresses(&result).len(), &0)?;
        let ips = place.stdout("ip -o addr show dev eth0 scope global");
        must(ips.is_empty(), || ips)?;
        stage.del(&config, &attachment)?;
    }
    Ok(())
}

fn default_gateway(stage: &Stage) -> Met {
    let (place, attachment) = stage.container("c1");
    let mut config = with(&bridge(), "isDefaultGateway", &json!(true));
    config["ipam"] = less(&config["ipam"], "routes");
    stage.add(&config, &attachment)?;
    let routes = place.stdout("ip route") + &place.stdout("ip -6 route");
    must(
        ["default via 10.88.0.1", "default via fd00:88::1"].iter().all(|route| routes.contains(route)),
        || routes,
    )
}
