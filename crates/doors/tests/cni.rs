//! Calls of Podman, `ctr` and containerd that were recorded, with what our plugins answered (`vectors/cni`): what is
//! asked of the engine, and what goes back. `UPDATE_VECTORS=1` writes down anew what is asked.
#![allow(clippy::unwrap_used, reason = "tests")]

use qiao_core::endpoint::Tunable;
use qiao_core::endpoint::{Extras, Join, Netns, Wire};
use qiao_core::owner::EndpointId;
use qiao_core::request::Attach;
use qiao_core::{Endpoint, Network};
use qiao_doors::cni::main_plugin::{Made, Settings};
use qiao_doors::cni::{Address, Answer, Call, Config, Doc, Failure, Verb, chain, ipam, version_reply};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A recorded call.
struct Vector {
    path: PathBuf,
    whole: Value,
}

impl Vector {
    fn environment(&self) -> impl Fn(&str) -> Option<String> + '_ {
        |name| self.whole["env"][name].as_str().map(str::to_owned)
    }

    fn plugin(&self) -> &str {
        self.whole["plugin"].as_str().unwrap()
    }

    fn input(&self) -> Vec<u8> {
        self.whole["stdin"].to_string().into_bytes()
    }

    fn call(&self) -> Result<Call, Failure> {
        let environment = self.environment();
        let verb = Call::verb(&environment)?.unwrap();
        Call::parse(verb, &environment)
    }
}

fn vectors() -> Vec<Vector> {
    let top: PathBuf = [env!("CARGO_MANIFEST_DIR"), "vectors", "cni"].iter().collect();
    let entries =
        |dir: &Path| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let mut paths: Vec<PathBuf> = entries(&top).iter().flat_map(|dir| entries(dir)).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let whole = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        Vector { path, whole }
    };
    paths.into_iter().map(read).collect()
}

/// What a vector is about, and what ours make of it: what is asked of the engine, and the answer.
fn replayed(vector: &Vector) -> Result<(Value, Value), Failure> {
    let call = vector.call()?;
    if call.verb == Verb::Version {
        return Ok((Value::Null, version_reply(Config::version_of(&vector.input()).as_deref())));
    }
    let config = Config::parse(&vector.input())?;
    let id = json!({"sandbox": call.sandbox, "network": config.network()?, "ifname": call.ifname});
    if call.verb == Verb::Del {
        return Ok((id, Value::Null));
    }
    let passed_on = || config.prev.as_ref().map_or(Ok(Value::Null), |prev| prev.to_json(config.version));
    match vector.plugin() {
        "bridge" => replayed_bridge(vector, &config, &call),
        "portmap" => {
            chain::clients(&config)?;
            let publish: Vec<String> =
                chain::port_mappings(&config)?.iter().map(ToString::to_string).collect();
            Ok((json!({"publish": publish}), passed_on()?))
        }
        "firewall" => Ok((json!({"ingress": format!("{:?}", chain::ingress(&config)?)}), passed_on()?)),
        "tuning" => {
            let wanted = chain::tuning(&config, &call, &|_| Ok(()))?;
            let sysctl = |(what, value)| match (what, value) {
                (Tunable::Sysctl(path), qiao_core::Value::Text(text)) => Some((path, Value::from(text))),
                _ => None,
            };
            let sysctls: serde_json::Map<_, _> = wanted.into_iter().filter_map(sysctl).collect();
            Ok((json!({"sysctls": sysctls, "mac": chain::mac(&config, &call.args)?}), passed_on()?))
        }
        // It asks nothing of the engine; what it answers, another one reads and passes on.
        "loopback" => {
            let said = vector.whole["stdout"].as_object().unwrap();
            Ok((Value::Null, Answer::parse(Doc(said), config.version)?.to_json(config.version)?))
        }
        other => panic!("{}: nobody replays `{other}`", vector.path.display()),
    }
}

fn replayed_bridge(vector: &Vector, config: &Config, call: &Call) -> Result<(Value, Value), Failure> {
    let said = vector.whole["stdout"].as_object().unwrap();
    let said = Answer::parse(Doc(said), config.version)?;
    let settings = Settings::parse("bridge", config, &call.args)?;
    // The addresses that were given when it was recorded.
    let leases = ipam::HostLocal::parse(config, &call.args)?;
    leases.check()?;
    let given: Vec<_> = said.ips.iter().map(|ip| (ip.net.addr(), range_of(&leases, ip))).collect();
    let mut answer = leases.answer(&given, Default::default());
    settings.complete(&mut answer)?;
    let request = settings.request((config, call), &answer)?;
    let network = request.given.as_ref().unwrap().network.clone();
    let endpoint = endpoint(call, &network, &said);
    let bridge_mac = said.interfaces[0].mac.as_ref().map(|mac| mac.parse().unwrap());
    let made = Made { endpoint: &endpoint, network: &network, bridge_mac, mac: None };
    let reply = settings.answer((config, call), made, answer);
    Ok((asked(&request), reply.to_json(config.version)?))
}

fn range_of(leases: &ipam::HostLocal, ip: &Address) -> ipam::Range {
    *leases.sets.iter().flatten().find(|range| range.has(ip.net.addr())).unwrap()
}

/// The endpoint that the engine made.
fn endpoint(call: &Call, network: &Network, said: &Answer) -> Endpoint {
    let (_, inside) = said.inside().unwrap();
    let wire = Wire {
        join: Join::Pair,
        host_if: said.interfaces[1].name.parse().unwrap(),
        mac: inside.mac.as_ref().unwrap().parse().unwrap(),
        addresses: said.ips.iter().map(|ip| ip.net).collect(),
        mtu: inside.mtu.unwrap_or(1500),
        gateways: Vec::new(),
        publish: Vec::new(),
        guard: true,
        allow: Vec::new(),
        extras: Extras::default(),
    };
    let id = EndpointId {
        sandbox: call.sandbox.clone(),
        ifname: call.ifname.clone(),
        network: network.name.clone(),
    };
    let netns = Netns { path: call.netns.clone().unwrap(), dev: 0, ino: 0, cookie: 0 };
    Endpoint { id, netns: Some(netns), wire: Some(wire), attached: 0 }
}

/// What is asked of the engine, as a document: the parts that come from the call.
fn asked(request: &Attach) -> Value {
    let given = request.given.as_ref().unwrap();
    let bridge = given.network.bridge().unwrap();
    let routes = |(to, via): &(ipnet::IpNet, Option<std::net::IpAddr>)| json!({"to": to, "via": via});
    json!({
        "sandbox": request.sandbox, "netns": request.netns, "network": request.network, "ifname": request.ifname,
        "mac": request.wish.mac, "guard": request.guard, "addresses": given.addresses,
        "routes": given.extras.routes.iter().map(routes).collect::<Vec<_>>(), "hairpin": given.extras.hairpin,
        "bridge": bridge.device, "masquerade": bridge.masquerade, "routed": bridge.is_routed(), "mtu": bridge.mtu,
        "pools": bridge.pools.iter().map(|pool| json!({"subnet": pool.subnet, "gateway": pool.gateway})).collect::<Vec<_>>(),
    })
}

#[test]
fn every_call_asks_what_it_did_and_gets_what_it_got() {
    let vectors = vectors();
    assert!(vectors.len() >= 30, "{}", vectors.len());
    let updates = std::env::var_os("UPDATE_VECTORS").is_some();
    for Vector { path, whole } in vectors {
        let vector = Vector { path, whole };
        let name = vector.path.display();
        let (request, reply) = replayed(&vector).unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert_eq!(reply, vector.whole["stdout"], "{name}: the answer");
        if updates {
            let mut whole = vector.whole.clone();
            whole["request"] = request;
            let text = serde_json::to_string_pretty(&whole).unwrap();
            std::fs::write(&vector.path, text + "\n").unwrap();
        } else {
            assert_eq!(request, vector.whole["request"], "{name}: what is asked");
        }
    }
}

/// What is recorded is what was meant to be: an empty namespace, capitalised keys, arguments that are not ours.
#[test]
fn what_is_peculiar_about_clients_is_among_them() {
    let texts: Vec<String> = vectors().iter().map(|vector| vector.whole.to_string()).collect();
    for peculiar in [
        r#""CNI_NETNS":"""#,
        r#""HostPort":8080"#,
        "K8S_POD_INFRA_CONTAINER_ID",
        "IgnoreUnknown=1",
        r#""CNI_IFNAME":"lo""#,
        r#""ingressPolicy":"same-bridge""#,
        "/proc/",
        r#""CNI_COMMAND":"VERSION""#,
    ] {
        assert!(texts.iter().any(|text| text.contains(peculiar)), "{peculiar}");
    }
}
