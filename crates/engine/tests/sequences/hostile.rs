//! D3: names that the kernel takes and nothing else does. Whoever is called so, no command panics, and what it made is
//! found again.

use crate::host::{Host, assert_same, create, detach, given, netns, ptp};
use qiao_core::child::Mode;
use qiao_core::network::Inline;
use qiao_core::request::Attach;
use qiao_core::{Bridge, Driver, IfName, Pool};

/// What `dev_valid_name` takes, as far as an interface name may have it here.
const NAMES: [&str; 22] = [
    "a,b",
    "*",
    "e;x",
    "-x",
    "--help",
    ".br",
    ".x.tmp",
    "...",
    "#",
    "$(id)",
    "~",
    "a@b",
    "@",
    "on.x",
    "'",
    "`",
    "!",
    "a|b",
    "{}",
    "<>",
    "?",
    "0123456789ab,*]",
];

fn bridge(device: &str) -> Bridge {
    let Driver::Routed(bridge) = ptp() else { panic!("a routed network") };
    let inline = Inline { routed: true, ..Inline::default() };
    Bridge { device: device.parse().unwrap(), inline: Some(inline), ..bridge }
}

fn on_bridge(sandbox: &str, device: &str) -> Attach {
    let mut request = given(sandbox, Driver::Bridge(bridge(device)));
    let given = request.given.as_mut().unwrap();
    given.addresses =
        given.addresses.iter().map(|net| format!("{}/24", net.addr()).parse().unwrap()).collect();
    request
}

fn comes_and_goes(host: &Host, request: &Attach, name: &str) {
    host.create("warm");
    host.attach("c1", "warm"); // the loopback interface of a sandbox stays up
    host.detach("c1", None);
    host.remove("warm");
    let before = host.snapshot();
    let made = host.engine().attach(request).unwrap_or_else(|error| panic!("{name}: {error}"));
    host.assert_healthy(name);
    let known = host.engine().store().endpoints().unwrap();
    assert_eq!(known, [made.endpoint], "{name}");
    host.engine().repair().unwrap();
    host.engine().gc().unwrap();
    assert_eq!(host.engine().store().endpoints().unwrap().len(), 1, "{name}");
    host.engine().detach(&detach(request.sandbox.as_str(), None)).unwrap();
    assert_same(&host.snapshot(), &before, name);
}

#[test]
fn d3_bridges_of_any_name() {
    for name in NAMES {
        let host = Host::new();
        comes_and_goes(&host, &on_bridge("c1", name), name);
        host.engine()
            .create_network(&qiao_core::request::CreateNetwork {
                options: qiao_core::request::BridgeOptions {
                    device: Some(name.parse().unwrap()),
                    ..Default::default()
                },
                ..create("blue")
            })
            .unwrap();
        host.attach("c1", "blue");
        host.assert_healthy(name);
        host.detach("c1", None);
        host.remove("blue");
    }
}

#[test]
fn d3_interfaces_of_any_name() {
    for name in NAMES {
        let host = Host::new();
        let ifname: IfName = name.parse().unwrap();
        let as_named = |request: Attach| Attach { ifname: Some(ifname.clone()), ..request };
        comes_and_goes(&host, &as_named(on_bridge("c1", "cni0")), name);
        comes_and_goes(&host, &as_named(given("c1", ptp())), name);
    }
}

#[test]
fn d3_parents_of_any_name() {
    for name in NAMES {
        let host = Host::new();
        host.kernel.world().links.insert(name.to_owned());
        let driver = crate::host::on(name, (Mode::macvlan("bridge").unwrap(), false));
        comes_and_goes(&host, &given("c1", driver), name);
    }
}

/// Two devices are never taken for one another, whatever they are called.
#[test]
fn d3_names_of_those_that_share_a_bridge_are_apart() {
    let host = Host::new();
    host.kernel.world().add_namespace(&netns("c3"));
    for (sandbox, device) in [("c1", "a,b"), ("c2", "a;b"), ("c3", "612c62")] {
        let mut request = on_bridge(sandbox, device);
        let given = request.given.as_mut().unwrap();
        let net = |last: u8| format!("10.{}.0.{last}/24", sandbox.as_bytes()[1]);
        let pools = vec![Pool::new(net(0).parse().unwrap())];
        given.network.driver = Driver::Bridge(Bridge { pools, ..bridge(device) });
        given.network.name = format!("cni.{sandbox}").parse().unwrap();
        given.addresses = vec![net(9).parse().unwrap()];
        given.extras.routes =
            vec![("0.0.0.0/0".parse().unwrap(), Some(net(1).split('/').next().unwrap().parse().unwrap()))];
        request.network = Some(given.network.name.clone());
        host.engine().attach(&request).unwrap();
    }
    host.assert_healthy("three bridges");
    host.detach("c1", None);
    host.assert_healthy("two bridges");
    host.detach("c2", None);
    host.detach("c3", None);
    host.assert_healthy("none");
}
