//! Several engines on one machine: one in a container of another's, two in one network namespace, one whose records
//! are of another namespace. None takes an object of another for its own.

use crate::netavark;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, Place, Protocol, Qiao, Service, ask, run, stdout};

/// What a container has from the engine that furnished it, and what that engine has on its host.
fn furnished(container: &Place) -> String {
    let name = container.name();
    [
        format!("ip -n {name} -d -o link show eth0"),
        format!("ip -n {name} -o addr show dev eth0"),
        format!("ip -n {name} -o route show table all dev eth0"),
        format!("ip -n {name} -o -6 route show table all dev eth0"),
        format!("ip -n {name} neigh show nud permanent dev eth0"),
        "ip -d -o link".to_owned(),
        "ip -o addr".to_owned(),
        "ip -o route show table all".to_owned(),
        "ip -o -6 route show table all".to_owned(),
        "ip neigh show nud permanent".to_owned(),
        "bridge fdb".to_owned(),
        "nft -s list ruleset".to_owned(),
    ]
    .iter()
    // The kernel itself creates anycast routes where forwarding is switched on.
    .map(|line| {
        let text = stdout(line);
        let lines = text.lines().filter(|line| !line.starts_with("anycast ")).map(without_counts);
        lines.collect::<Vec<_>>().join("\n")
    })
    .collect::<Vec<_>>()
    .join("\n\n")
}

fn assert_same(now: &str, before: &str, when: &str) {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let (now, before) = (lines(now), lines(before));
    let gone: Vec<_> = before.difference(&now).collect();
    let new: Vec<_> = now.difference(&before).collect();
    assert!(gone.is_empty() && new.is_empty(), "{when}\ngone: {gone:#?}\nnew: {new:#?}");
}

fn without_counts(line: &str) -> String {
    line.split(" promiscuity").next().unwrap_or_default().to_owned()
}

/// A host with a container `outer` on a network of both families, with a published port, and an engine in it that has
/// files of its own.
struct Nest<'h> {
    host: &'h Host,
    outer: Place,
    inner: Qiao,
    _service: Service,
}

impl<'h> Nest<'h> {
    fn new(host: &'h Host) -> Self {
        host.ok("network create up --ipv6 --dns off");
        let outer = host.attached("outer", "--network up -p 8080:80");
        let inner = Qiao::new("/run/inner", None);
        let _service = Service::start(&outer, Protocol::Tcp, "[::]:80");
        Self { host, outer, inner, _service }
    }

    /// Runs the inner engine's command in the container.
    fn inside(&self, line: &str) -> Outcome {
        let words: Vec<String> =
            ["ip", "netns", "exec", "outer"].iter().map(|&word| word.to_owned()).collect();
        let mut command = self.inner.under(&words);
        Outcome::of(command.args(line.split_whitespace()).output().expect("start qiao"))
    }

    /// The same under another name, as a door that reads its input.
    fn door(&self, name: &str, environment: &[(&str, &str)], words: &[&str], input: &str) -> Outcome {
        let link = format!("/run/doors/{name}");
        if !std::path::Path::new(&link).exists() {
            std::fs::create_dir_all("/run/doors").unwrap();
            std::os::unix::fs::symlink(self.inner.command().get_program(), &link).unwrap();
        }
        let template = self.inner.command();
        let mut command = std::process::Command::new("ip");
        command.args(["netns", "exec", "outer", &link]).args(words).env_clear();
        for (key, value) in template.get_envs() {
            command.env(key, value.unwrap_or_default());
        }
        command.envs(environment.iter().copied());
        netavark::told(command, input)
    }

    fn cni(&self, verb: &str, container: &Place) -> Outcome {
        let config = r#"{"cniVersion":"1.1.0","name":"n1","type":"bridge","bridge":"cni0","isDefaultGateway":true,
            "ipMasq":true,"cni.dev/valid-attachments":[],
            "ipam":{"type":"host-local","dataDir":"/run/inner-leases","ranges":[[{"subnet":"10.9.0.0/24"}]]}}"#;
        let netns = container.path();
        let environment = [
            ("CNI_COMMAND", verb),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/nonexistent"),
            ("CNI_CONTAINERID", container.name()),
            ("CNI_NETNS", &netns),
        ];
        self.door("bridge", &environment, &[], config)
    }

    fn netavark(&self, words: &[&str], input: &str) -> Outcome {
        let line = [&["--config", "/run/inner/networks", "--rootless=false"], words].concat();
        self.door("netavark", &[("RUST_LOG", "netavark=warn")], &line, input)
    }

    fn serves(&self) -> [bool; 2] {
        ["192.0.2.1:8080", "[2001:db8::1]:8080"].map(|to| ask(&self.host.lan, Protocol::Tcp, to).is_some())
    }
}

const SUCCESS: Option<i32> = Some(0);

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a1_an_engine_in_a_container_leaves_the_container_its_interface() {
    on_a_host(|host| {
        let nest = Nest::new(host);
        let before = furnished(&nest.outer);
        let (a, b) = (host.container("a"), host.container("b"));
        let unchanged = |what: &str, outcome: &Outcome| {
            assert_same(&furnished(&nest.outer), &before, &format!("after `{what}` inside: {outcome}"));
        };
        let steps = [
            "check",
            "repair",
            "gc",
            "plan attach a --netns /run/netns/a",
            "attach a --netns /run/netns/a",
            "repair",
            "check",
            "network create more --ipv6 --dns off",
            "attach b --netns /run/netns/b --network more -p 9090:90",
            "network inspect more",
        ];
        for line in steps {
            let outcome = nest.inside(line);
            assert_eq!(outcome.code, SUCCESS, "`{line}`: {outcome}");
            unchanged(line, &outcome);
        }
        let subnet = a.stdout("ip -o -4 addr show dev eth0");
        assert!(subnet.contains("inet "), "the control: the inner engine works: {subnet}");
        for heal in ["repair", "attach c --netns /run/netns/c --network more", "gc"] {
            nest.outer.run("nft flush ruleset");
            if heal.contains("/c ") {
                host.container("c");
            }
            let outcome = nest.inside(heal);
            assert_eq!(outcome.code, SUCCESS, "`{heal}`: {outcome}");
            unchanged(heal, &outcome);
            assert_eq!(nest.inside("check").code, SUCCESS, "after `{heal}`");
        }
        for line in
            ["detach c", "detach b", "detach a", "network rm more", "network prune", "gc", "repair", "check"]
        {
            let outcome = nest.inside(line);
            assert_eq!(outcome.code, SUCCESS, "`{line}`: {outcome}");
            unchanged(line, &outcome);
        }
        drop(b);
        assert_eq!(nest.serves(), [true; 2]);
        host.ok("check");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a1_doors_in_a_container_leave_the_container_its_interface() {
    on_a_host(|host| {
        let nest = Nest::new(host);
        let (before, pod) = (furnished(&nest.outer), host.container("pod"));
        for verb in ["STATUS", "ADD", "CHECK", "GC", "DEL", "DEL"] {
            let outcome = nest.cni(verb, &pod);
            // CHECK without the result of ADD is an error of the caller's.
            assert!(outcome.code == SUCCESS || verb == "CHECK", "{verb}: {outcome}");
            assert_same(&furnished(&nest.outer), &before, &format!("after {verb} inside: {outcome}"));
            if verb == "ADD" {
                assert!(pod.stdout("ip -o addr show eth0").contains("10.9.0."), "the control");
                nest.outer.run("nft flush ruleset");
            }
        }
        let place = host.container("c1");
        let input = netavark::on("c1", 7, &[&netavark::network(1, true)]).to_string();
        for words in [&["setup", &place.path()][..], &["firewall-reload"], &["teardown", &place.path()]] {
            let outcome = nest.netavark(words, &input);
            assert_eq!(outcome.code, SUCCESS, "{words:?}: {outcome}");
            assert_same(&furnished(&nest.outer), &before, &format!("after {words:?} inside: {outcome}"));
            if words[0] == "setup" {
                assert!(place.stdout("ip -o addr show eth0").contains("10.89.1.7"), "the control");
                nest.outer.run("nft flush ruleset");
            }
        }
        assert_eq!(nest.serves(), [true; 2]);
        host.ok("check");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a1_the_outer_engine_leaves_the_inner_one_what_it_has() {
    on_a_host(|host| {
        let nest = Nest::new(host);
        let inner = host.container("a");
        host.container("other");
        assert_eq!(nest.inside("attach a --netns /run/netns/a -p 9090:90").code, SUCCESS);
        let all = || {
            let looks =
                ["link", "addr", "route", "neigh"].map(|what| nest.outer.stdout(&format!("ip -o {what}")));
            let of_inner = inner.stdout("ip -o addr") + &inner.stdout("ip route");
            let lines = looks
                .concat()
                .lines()
                .filter(|line| line.contains("qiao0") || line.contains("q-"))
                .collect::<Vec<_>>()
                .join("\n");
            [lines, of_inner, nest.outer.stdout("nft -s list ruleset")]
        };
        let before = all();
        assert!(before[0].contains("qiao0"), "the control: {}", before[0]);
        let lines = [
            "check",
            "repair",
            "gc",
            "attach other --netns /run/netns/other --network up",
            "network connect up other --dry-run",
            "detach other",
            "network create more",
            "network rm more",
            "repair",
        ];
        for line in lines {
            let outcome = host.qiao.run(line);
            assert!(outcome.code.is_some_and(|code| code != 3), "`{line}`: {outcome}");
            assert_eq!(all(), before, "after `{line}` outside: {outcome}");
        }
        run("nft flush ruleset");
        host.ok("repair");
        assert_eq!(all(), before, "after a flush outside");
        assert_eq!(nest.inside("check").code, SUCCESS);
        assert_eq!(nest.serves(), [true; 2]);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a1_the_uplinks_subnet_is_busy_in_a_container() {
    on_a_host(|host| {
        host.ok("network create up --subnet 172.17.0.0/16 --dns off");
        let outer = host.attached("outer", "--network up");
        let nest = Nest {
            host,
            inner: Qiao::new("/run/inner", None),
            _service: Service::start(&outer, Protocol::Tcp, "0.0.0.0:80"),
            outer,
        };
        let refused = nest.inside("network create mine --subnet 172.17.0.0/16");
        assert_eq!(refused.code, Some(5), "{refused}");
        assert!(refused.stderr.contains("172.17.0.0/16 is routed to eth0"), "{refused}");
        let place = host.container("a");
        assert_eq!(nest.inside("attach a --netns /run/netns/a").code, SUCCESS);
        let has = place.stdout("ip -o -4 addr show eth0");
        assert!(has.contains("inet 172.") && !has.contains("172.17."), "{has}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a1_a_route_of_the_outer_engine_is_not_replaced() {
    on_a_host(|host| {
        let outer = host.container("outer");
        let config = r#"{"cniVersion":"1.1.0","name":"n1","type":"bridge","bridge":"cni0","isDefaultGateway":true,
            "ipam":{"type":"host-local","dataDir":"/run/leases","ranges":[[{"subnet":"10.9.0.0/24"}]],
            "routes":[{"dst":"10.66.0.2/32"}]}}"#;
        host.qiao.plugin_ok(("bridge", "ADD"), ("outer", &outer.path()), config);
        let _service = Service::start(&outer, Protocol::Tcp, "0.0.0.0:80");
        let nest = Nest { host, inner: Qiao::new("/run/inner", None), _service, outer };
        let before = furnished(&nest.outer);
        assert!(before.contains("10.66.0.2 via 10.9.0.1"), "{before}");
        let created = nest.inside("network create r -d routed --subnet 10.66.0.0/24 --dns off --force");
        assert_eq!(created.code, SUCCESS, "{created}");
        host.container("a");
        host.container("b");
        let refused = nest.inside("attach a --netns /run/netns/a --network r --ip 10.66.0.2");
        assert!(refused.code == Some(5) && refused.stderr.contains("10.66.0.2"), "{refused}");
        assert_same(&furnished(&nest.outer), &before, &format!("{refused}"));
        let free = nest.inside("attach b --netns /run/netns/b --network r --ip 10.66.0.3");
        assert_eq!(free.code, SUCCESS, "the control: {free}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a1_a_sandbox_of_two_engines_keeps_what_each_gave_it() {
    on_a_host(|host| {
        let nest = Nest::new(host);
        let web = host.attached("web", "--network up");
        let given = || {
            let looks = ["-d -o link show eth0", "-o addr show eth0", "-o route", "-o -6 route"];
            let lines = looks.map(|look| web.stdout(&format!("ip {look}"))).concat();
            lines
                .lines()
                .filter(|line| line.contains("eth0"))
                .map(without_counts)
                .collect::<Vec<_>>()
                .join("\n")
        };
        let before = given();
        assert!(before.contains("default via"), "{before}");
        let attached = nest.inside("attach web --netns /run/netns/web --ifname eth1");
        assert!(attached.code == Some(5) && attached.stderr.contains("is in the way"), "{attached}");
        assert_same(&given(), &before, &format!("{attached}"));
        for line in ["repair", "gc", "detach web --if-exists", "repair"] {
            let outcome = nest.inside(line);
            assert_same(&given(), &before, &format!("`{line}`: {outcome}"));
        }
        host.ok("check");
    });
}

/// The same engine's command, with another run directory in the same network namespace.
fn second() -> Qiao {
    Qiao::new("/run/second", None)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d17_a_second_engine_in_one_namespace_is_refused() {
    on_a_host(|host| {
        host.ok("network create front --ipv6 --dns off");
        let web = host.attached("web", "--network front -p 8080:80");
        let _service = Service::start(&web, Protocol::Tcp, "[::]:80");
        host.container("late");
        let (second, before) = (second(), furnished(&web));
        let commands = [
            "check",
            "repair",
            "attach late --netns /run/netns/late",
            "network create front",
            "network create other --dry-run",
            "plan attach late --netns /run/netns/late",
            "detach web",
        ];
        for line in commands {
            let outcome = second.run(line);
            assert_eq!(outcome.code, Some(5), "`{line}`: {outcome}");
            assert!(outcome.stderr.contains("another engine"), "`{line}`: {outcome}");
            assert_same(&furnished(&web), &before, &format!("after `{line}`: {outcome}"));
        }
        for line in ["gc", "ps", "network ls"] {
            let outcome = second.run(line);
            assert_eq!(outcome.code, SUCCESS, "`{line}`: {outcome}");
            assert_same(&furnished(&web), &before, &format!("after `{line}`: {outcome}"));
        }
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some());
        host.ok("check");
        host.ok("detach web");
        host.ok("network rm front");
        let outcome = second.run("attach late --netns /run/netns/late");
        assert_eq!(outcome.code, SUCCESS, "the control: nobody else is here: {outcome}");
        let refused = host.refused(5, "network create front");
        assert!(refused.stderr.contains("another engine"), "{refused}");
        assert_eq!(second.run("detach late").code, SUCCESS);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d17_an_engine_is_the_same_wherever_its_run_directory_is_mounted() {
    on_a_host(|host| {
        host.ok("network create front --dns off");
        let web = host.attached("web", "--network front");
        let before = furnished(&web);
        std::fs::create_dir("/run/elsewhere").unwrap();
        run("mount --bind /run/test/run /run/elsewhere");
        for line in ["check", "repair", "gc"] {
            let mut command = host.qiao.command();
            command.env("QIAO_RUN_DIR", "/run/elsewhere").args(line.split(' '));
            let outcome = Outcome::of(command.output().unwrap());
            assert_eq!(outcome.code, SUCCESS, "`{line}`: {outcome}");
            assert_same(&furnished(&web), &before, &format!("after `{line}`"));
        }
        run("umount /run/elsewhere");
        // Somebody removed the run directory: the kernel still says what is this engine's.
        std::fs::remove_dir_all(host.qiao.run_dir()).unwrap();
        host.ok("detach web");
        assert!(!stdout("ip -o link").contains("/web/"), "what the records lost is found by its mark");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a1_records_of_another_namespace_are_refused() {
    on_a_host(|host| {
        host.ok("network create up --ipv6 --dns off");
        let outer = host.attached("outer", "--network up");
        let before = furnished(&outer);
        host.container("late");
        for line in
            ["check", "repair", "gc", "attach late --netns /run/netns/late --network up", "detach outer"]
        {
            let words: Vec<String> =
                ["ip", "netns", "exec", "outer"].iter().map(|&word| word.to_owned()).collect();
            let mut command = host.qiao.under(&words);
            let outcome = Outcome::of(command.args(line.split_whitespace()).output().unwrap());
            assert_eq!(outcome.code, Some(5), "`{line}`: {outcome}");
            assert!(outcome.stderr.contains("another network namespace"), "`{line}`: {outcome}");
            assert_same(&furnished(&outer), &before, &format!("after `{line}`: {outcome}"));
        }
        host.ok("check");
        host.ok("detach outer");
    });
}

/// The host has booted: what the kernel had is gone, and so is `/run`.
fn reboot(host: &Host, network: &str) {
    run(&format!("ip link del {network}"));
    run("nft flush ruleset");
    std::fs::remove_dir_all(host.qiao.run_dir()).unwrap();
}

const DOCKER: &str = "ip link add docker0 type bridge;ip addr add SUBNET dev docker0;ip link set docker0 up";

fn docker(subnet: &str) {
    DOCKER.replace("SUBNET", subnet).split(';').for_each(run);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn e1_a_stored_network_does_not_come_into_use_on_a_taken_subnet() {
    on_a_host(|host| {
        for driver in ["bridge", "routed"] {
            host.ok(&format!("network create n1 -d {driver} --subnet 172.18.0.0/16 --dns off"));
            reboot(host, if driver == "bridge" { "br-n1" } else { "rt-n1" });
            host.container("web");
            host.ok("attach web --netns /run/netns/web --network n1"); // the control
            host.ok("detach web");
            reboot(host, if driver == "bridge" { "br-n1" } else { "rt-n1" });
            docker("172.18.0.1/16");
            let refused = host.refused(5, "attach web --netns /run/netns/web --network n1");
            assert!(refused.stderr.contains("172.18.0.0/16 is routed to docker0"), "{refused}");
            let planned = host.refused(5, "plan attach web --netns /run/netns/web --network n1");
            assert!(planned.stderr.contains("docker0"), "{planned}");
            run("ip link del docker0");
            host.ok("attach web --netns /run/netns/web --network n1");
            host.ok("detach web");
            host.ok("network rm n1");
            // What `--force` created was a decision: it holds after a boot, too.
            docker("172.18.0.1/16");
            host.ok(&format!("network create n1 -d {driver} --subnet 172.18.0.0/16 --dns off --force"));
            reboot(host, if driver == "bridge" { "br-n1" } else { "rt-n1" });
            host.ok("attach web --netns /run/netns/web --network n1");
            host.ok("detach web");
            host.ok("network rm n1");
            run("ip link del docker0");
            run("ip netns del web");
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn e1_the_default_network_takes_another_subnet() {
    on_a_host(|host| {
        let web = host.attached("web", "");
        assert!(web.stdout("ip -o -4 addr show eth0").contains("172.17."), "the control");
        host.ok("detach web");
        reboot(host, "qiao0");
        docker("172.17.0.1/16");
        host.ok("attach web --netns /run/netns/web");
        let has = web.stdout("ip -o -4 addr show eth0");
        assert!(has.contains("inet 172.") && !has.contains("172.17."), "{has}");
        host.ok("check");
        host.ok("detach web");
        // With `bip`, the administrator has chosen.
        reboot(host, "qiao0");
        host.ok("network rm bridge");
        run("ip addr flush dev docker0");
        std::fs::write("/run/qiao.toml", "bip = \"172.17.0.1/16\"\n").unwrap();
        let line = "attach web --netns /run/netns/web --config /run/qiao.toml";
        host.ok(line);
        host.ok("detach web --config /run/qiao.toml");
        reboot(host, "qiao0");
        run("ip addr add 172.17.0.1/16 dev docker0");
        let refused = host.refused(5, line);
        assert!(refused.stderr.contains("docker0"), "{refused}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn e1_an_overlap_that_comes_later_is_reported_and_no_bridge_is_created_into_it() {
    on_a_host(|host| {
        host.ok("network create n1 --subnet 172.18.0.0/16 --dns off");
        let web = host.attached("web", "--network n1");
        host.ok("check");
        docker("172.18.0.1/16");
        let found = host.qiao.run("check");
        assert_eq!(found.code, Some(11), "{found}");
        assert!(found.stdout.contains("172.18.0.0/16 is routed to docker0"), "{found}");
        // A bridge that somebody deleted is not created again beside another one of the subnet.
        run("ip link del br-n1");
        host.container("late");
        let refused = host.qiao.run("attach late --netns /run/netns/late --network n1");
        assert_eq!(refused.code, Some(5), "{refused}");
        assert!(refused.stderr.contains("docker0"), "{refused}");
        let mended = host.qiao.run("repair");
        assert!(mended.code != SUCCESS && format!("{mended}").contains("docker0"), "{mended}");
        assert!(!stdout("ip -o link").contains("br-n1"), "no second bridge has the subnet");
        run("ip link del docker0");
        host.ok("repair");
        assert!(stdout("ip -o link").contains("br-n1"), "the control");
        host.ok("check");
        drop(web);
    });
}
