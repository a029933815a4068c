//! R-REL 23, as a campaign: every property of our tables, sets, bridges and ports that `nft`, `ip` and `bridge` can change
//! is changed once. `check` names it, `repair` restores it, and a container that lives beside it keeps its network.

use crate::frames::Member;
use crate::rel_23_elements::{difference, elements};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, eventually, run, stdout};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

/// What is changed, and a word of how `check` names it. `BR`, `PORT`, `OTHER`, `RPORT` stand for the bridge, the ports of two
/// containers on it, and the port of one on a routed network.
type Change = (&'static str, &'static str);

const RULES: &[Change] = &[
    ("nft add table bridge qiao { flags dormant; }", "table `bridge qiao` is dormant"),
    ("nft add table inet qiao { flags dormant; }", "table `inet qiao` is dormant"),
    ("nft delete table bridge qiao", "table `bridge qiao` is not there"),
    ("nft delete table inet qiao", "table `inet qiao` is not there"),
    ("nft flush ruleset", "ruleset"),
    ("nft insert rule inet qiao forward accept", "the rules of chain `inet qiao forward`"),
    ("nft add rule inet qiao forward accept", "the rules of chain `inet qiao forward`"),
    ("nft insert rule bridge qiao prerouting accept", "the rules of chain `bridge qiao prerouting`"),
    ("nft insert rule inet qiao raw_prerouting notrack", "the rules of chain `inet qiao raw_prerouting`"),
    ("nft insert rule inet qiao publish dnat ip to 203.0.113.7", "the rules of chain `inet qiao publish`"),
    ("nft flush chain bridge qiao from_ip4", "the rules of chain `bridge qiao from_ip4`"),
    ("nft add chain inet qiao forward { policy drop; }", "chain `inet qiao forward`"),
    ("nft add chain bridge qiao prerouting { policy drop; }", "chain `bridge qiao prerouting`"),
    ("nft add chain inet qiao extra", "chain `inet qiao extra`"),
    (
        "nft add chain inet qiao extra { type filter hook forward priority -5; policy drop; }",
        "chain `inet qiao extra`",
    ),
    (
        "nft flush chain bridge qiao postrouting && nft delete chain bridge qiao postrouting && \
         nft add chain bridge qiao postrouting { type filter hook postrouting priority 9; } && \
         nft add rule bridge qiao postrouting oifname @ports goto to_port",
        "chain `bridge qiao postrouting`",
    ),
    (
        "nft flush chain bridge qiao postrouting && nft delete chain bridge qiao postrouting && \
         nft add chain bridge qiao postrouting { type filter hook forward priority 0; } && \
         nft add rule bridge qiao postrouting oifname @ports goto to_port",
        "chain `bridge qiao postrouting`",
    ),
    ("nft add set inet qiao extra { type ipv4_addr; }", "set `inet qiao extra`"),
    (
        "nft delete set inet qiao near4 || true && nft flush chain inet qiao nat_postrouting && \
         nft delete set inet qiao near4 && nft add set inet qiao near4 { type ipv4_addr . ipv4_addr; flags interval; size 1; }",
        "set `inet qiao near4`",
    ),
    ("nft add counter inet qiao extra", "table `inet qiao` has objects"),
    (
        "nft add flowtable inet qiao extra { hook ingress priority 0; devices = { up0 }; }",
        "table `inet qiao` has objects",
    ),
    ("nft add element bridge qiao ip4s { \"PORT\" . 203.0.113.7 }", "set `ip4s`"),
    ("nft add element bridge qiao arps { \"PORT\" . 02:00:00:00:00:01 . 172.30.1.1 }", "set `arps`"),
    ("nft add element inet qiao pairs { \"BR\" . \"up0\" }", "set `pairs`"),
    ("nft add element inet qiao publish_any4 { tcp . 99 : 172.30.1.2 . 99 }", "set `publish_any4`"),
    ("nft add element inet qiao ranges_any6 { tcp . 99-100 : fd00:1::2 }", "set `ranges_any6`"),
    ("nft add element inet qiao subnets4 { 203.0.113.0/24 }", "set `subnets4`"),
    ("nft add element inet qiao masquerade6 { 2001:db8:99::/48 }", "set `masquerade6`"),
    ("nft add element inet qiao downlinks { * }", "set `downlinks`"),
    (
        "nft add element bridge qiao ip4s { \"PORT\" . 203.0.113.7 comment \"qiao:ep:front/web/eth0\" }",
        "PORT sends from 203.0.113.7",
    ),
    (
        "nft add element inet qiao publish_any4 { tcp . 99 comment \"qiao:ep:front/web/eth0\" : 172.30.1.2 . 99 }",
        "0.0.0.0:99",
    ),
    (
        "nft delete element inet qiao no_transit { ipv4 } && nft add element inet qiao no_transit { ipv4 comment \"qiao:host\" : accept }",
        "set `no_transit`",
    ),
    ("nft delete element bridge qiao ports { \"PORT\" }", "guard"),
    (
        "nft flush map inet qiao publish_any4 && nft add element inet qiao publish_any4 { tcp . 8080 comment \"qiao:ep:front/web/eth0\" : 172.30.1.2 . 81 }",
        "publish",
    ),
    (
        "nft delete element inet qiao hidden4 { 172.30.1.0/24 } && \
         nft add element inet qiao hidden4 { 172.30.1.0/25 comment \"qiao:net:front\" }",
        "172.30.1.0/24",
    ),
];

const BRIDGES: &[Change] = &[
    ("ip link set BR type bridge stp_state 1", "stp_state of BR"),
    ("ip link set BR type bridge mcast_snooping 1", "mcast_snooping of BR"),
    ("ip link set BR type bridge mcast_querier 1", "mcast_querier of BR"),
    ("ip link set BR type bridge group_fwd_mask 8", "group_fwd_mask of BR"),
    ("ip link set BR type bridge nf_call_iptables 1", "nf_call_iptables of BR"),
    ("ip link set BR type bridge nf_call_ip6tables 1", "nf_call_ip6tables of BR"),
    ("ip link set BR type bridge nf_call_arptables 1", "nf_call_arptables of BR"),
    ("ip link set BR type bridge no_linklocal_learn 1", "boolopt of BR"),
    ("ip link set BR type bridge vlan_filtering 1", "filtering"),
    ("sysctl -q -w net.ipv4.conf.BR.proxy_arp=1", "proxy_arp of BR"),
    ("sysctl -q -w net.ipv4.conf.BR.proxy_arp_pvlan=1", "proxy_arp_pvlan of BR"),
    ("ip link set BR address 02:00:00:00:00:99", "bridge"),
    ("ip link set BR mtu 1400", "bridge"),
    ("ip link set BR down", "up"),
    ("ip addr flush dev BR", "address"),
    ("ip link del BR", "bridge"),
];

const PORTS: &[Change] = &[
    ("bridge link set dev PORT learning on", "port"),
    ("bridge link set dev PORT flood on", "port"),
    ("bridge link set dev PORT hairpin off", "port"),
    ("bridge link set dev PORT isolated on", "port"),
    ("ip link set PORT type bridge_slave group_fwd_mask 0", "port"),
    ("bridge link set dev PORT state 0", "state of PORT"),
    ("bridge link set dev PORT guard on", "guard of PORT"),
    ("bridge link set dev PORT root_block on", "root_block of PORT"),
    ("bridge link set dev PORT fastleave on", "fastleave of PORT"),
    ("bridge link set dev PORT mcast_flood off", "mcast_flood of PORT"),
    ("bridge link set dev PORT bcast_flood off", "bcast_flood of PORT"),
    ("bridge link set dev PORT mcast_to_unicast on", "mcast_to_unicast of PORT"),
    ("bridge link set dev PORT neigh_suppress on", "neigh_suppress of PORT"),
    ("bridge link set dev PORT vlan_tunnel on", "vlan_tunnel of PORT"),
    ("bridge link set dev PORT locked on", "locked of PORT"),
    ("bridge link set dev PORT backup_port OTHER", "backup_port of PORT"),
    ("ip link set PORT type bridge_slave proxy_arp on", "proxy_arp of PORT"),
    ("ip link set PORT type bridge_slave proxy_arp_wifi on", "proxy_arp_wifi of PORT"),
    ("ip link set PORT type bridge_slave mcast_router 2", "mcast_router of PORT"),
    ("ip link set PORT nomaster", "veth"),
    ("ip link set PORT mtu 1400", "veth"),
    ("ip link set PORT down", "up"),
    ("bridge fdb del MAC dev PORT master", "fdb"),
    ("bridge fdb replace MAC dev OTHER master static", "fdb"),
    ("ip neigh del 172.30.1.2 dev BR", "neighbour"),
    ("ip neigh replace 172.30.1.2 lladdr 02:00:00:00:00:99 dev BR", "neighbour"),
    ("ip link set RPORT arp on", "port"),
    ("ip link set RPORT mtu 1400", "veth"),
    ("ip link set RPORT address 02:00:00:00:00:98", "veth"),
    ("ip link set PORT address 02:00:00:00:00:98", "veth"),
    ("ip link set RPORT down", "up"),
    ("ip link set RPORT master BR", "port"),
    ("ip route del 172.30.2.2", "route"),
    ("ip -6 route del fd00:2::2", "route"),
    ("ip neigh del 172.30.2.2 dev RPORT", "neighbour"),
];

/// Two containers on a bridge and one on a routed network, which serve, with published ports.
struct Scene<'h> {
    host: &'h Host,
    web: Member,
    app: Member,
    names: Vec<(&'static str, String)>,
    _services: Vec<Service>,
}

impl<'h> Scene<'h> {
    fn new(host: &'h Host) -> Self {
        host.ok("network create front --ipv6 --subnet 172.30.1.0/24 --subnet fd00:1::/64");
        host.ok("network create rt -d routed --ipv6 --subnet 172.30.2.0/24 --subnet fd00:2::/64");
        let web = Member::attach(host, "web", "--network front -p 8080:80");
        let other = Member::attach(host, "other", "--network front");
        let app = Member::attach(host, "app", "--network rt -p 8090:80");
        let mac = web.place.stdout("cat /sys/class/net/eth0/address").trim().to_owned();
        let names = vec![
            ("RPORT", host.host_if("app")),
            ("PORT", host.host_if("web")),
            ("OTHER", host.host_if("other")),
            ("MAC", mac),
            ("BR", "br-front".to_owned()),
        ];
        let serve = |place: &Place| Service::start(place, Protocol::Tcp, "[::]:80");
        let services = vec![serve(&web.place), serve(&app.place), serve(&other.place), serve(&host.lan)];
        Self { host, web, app, names, _services: services }
    }

    fn words(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (word, name)| text.replace(word, name))
    }

    /// Which ways do not work.
    fn dead(&self) -> Vec<&'static str> {
        let ways = [
            ("in to the bridge", &self.host.lan, "192.0.2.1:8080"),
            ("in to the bridge by IPv6", &self.host.lan, "[2001:db8::1]:8080"),
            ("in to the routed network", &self.host.lan, "192.0.2.1:8090"),
            ("out of the bridge", &self.web.place, "192.0.2.100:80"),
            ("out of the routed network", &self.app.place, "[2001:db8::100]:80"),
            ("to a neighbour", &self.web.place, "172.30.1.3:80"),
        ];
        let works = |from: &Place, to: &str| {
            eventually(Duration::from_secs(5), || ask(from, Protocol::Tcp, to).is_some())
        };
        ways.into_iter().filter(|(_, from, to)| !works(from, to)).map(|(way, ..)| way).collect()
    }

    /// What is there, as `nft`, `ip` and `bridge` tell it.
    fn state(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        lines.extend(
            stdout("nft -s -t list ruleset").lines().enumerate().map(|(at, line)| format!("{at} {line}")),
        );
        for link in self.names.iter().filter(|(word, _)| *word != "MAC").map(|(_, name)| name) {
            let known = Command::new("ip").args(["-d", "-o", "addr", "show", "dev", link]).output().unwrap();
            lines.extend(String::from_utf8_lossy(&known.stdout).lines().map(plain));
            let known = Command::new("ip").args(["-d", "-o", "link", "show", "dev", link]).output().unwrap();
            lines.extend(String::from_utf8_lossy(&known.stdout).lines().map(plain));
            for setting in ["proxy_arp", "proxy_arp_pvlan"] {
                let path = format!("/proc/sys/net/ipv4/conf/{link}/{setting}");
                lines.insert(format!("{path} {}", std::fs::read_to_string(&path).unwrap_or_default().trim()));
            }
        }
        let fdb = stdout("bridge fdb show");
        // All host ends have one address: which of them the bridge's local entry names is all the same.
        let fdb = fdb.lines().filter(|line| !line.starts_with("fe:ff:ff:ff:ff:ff"));
        lines.extend(fdb.filter(|line| line.contains(" static") || line.contains(" permanent")).map(plain));
        for line in ["ip -4 route", "ip -6 route", "ip neigh show nud permanent"] {
            lines.extend(stdout(line).lines().map(plain));
        }
        lines
    }

    /// What goes wrong with a change.
    fn try_change(&self, (change, named): Change) -> Vec<String> {
        let (before, sets) = (self.state(), elements());
        let change = self.words(change);
        let done =
            Command::new("sh").args(["-c", &change.replace('{', "'{").replace('}', "}'")]).output().unwrap();
        let mut wrong = Vec::new();
        let mut say = |what: String| wrong.push(format!("`{change}`: {what}"));
        let errors = String::from_utf8_lossy(&done.stderr);
        let no_flows = change.contains("flowtable") && errors.contains("No such file");
        if no_flows || errors.contains("Operation not supported") {
            eprintln!("`{change}`: this kernel cannot do it: {errors}");
            return Vec::new();
        }
        if !done.status.success() {
            say(format!("cannot be done here: {errors}"));
        } else if self.state() == before && elements() == sets {
            say("the control: it changes nothing".into());
        }
        let check = self.host.qiao.run("check");
        if check.code != Some(11) || !check.stdout.contains(&self.words(named)) {
            say(format!("`check` does not name it: {check}"));
        }
        let repair = self.host.qiao.run("repair");
        if repair.code != Some(0) {
            say(format!("`repair`: {repair}"));
        }
        let differs =
            |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
        let mut after = self.state();
        eventually(Duration::from_secs(3), || {
            after = self.state();
            after == before
        });
        if after != before || elements() != sets {
            say(format!(
                "not restored: - {:#?} + {:#?} {:#?}",
                differs(&before, &after),
                differs(&after, &before),
                difference(&sets, &elements())
            ));
        }
        let check = self.host.qiao.run("check");
        if check.code != Some(0) {
            say(format!("`check` afterwards: {check}"));
        }
        wrong
    }

    fn try_all(&self, changes: &[Change]) {
        assert_eq!(self.dead(), [""; 0], "before");
        assert_eq!(self.host.ok("check").stdout.lines().count(), 1);
        let mut wrong = Vec::new();
        for change in changes {
            wrong.extend(self.try_change(*change));
            let dead = self.dead();
            if !dead.is_empty() {
                wrong.push(format!("`{}`: afterwards dead: {dead:?}", change.0));
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), changes.len(), wrong.join("\n"));
    }
}

/// A line without what changes by itself, and without the numbers that the kernel gives to links and ports.
fn plain(line: &str) -> String {
    let numbers = ["port_id", "port_no", "designated_port"];
    let line = line
        .split_once(": ")
        .filter(|(index, _)| index.parse::<u32>().is_ok())
        .map_or(line, |(_, rest)| rest);
    let mut kept: Vec<&str> = Vec::new();
    for word in line.split_whitespace() {
        let is_number = kept.last().is_some_and(|last| last.ends_with("_timer") || numbers.contains(last));
        kept.push(if is_number { "-" } else { word });
    }
    kept.join(" ")
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d5_every_change_of_the_rules_is_named_and_restored() {
    on_a_host(|host| Scene::new(host).try_all(RULES));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d5_every_change_of_a_bridge_is_named_and_restored() {
    on_a_host(|host| Scene::new(host).try_all(BRIDGES));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d5_every_change_of_a_port_is_named_and_restored() {
    on_a_host(|host| Scene::new(host).try_all(PORTS));
}

/// The next command restores what keeps others out or in, too.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d5_the_next_command_wakes_dormant_tables_and_removes_strangers() {
    on_a_host(|host| {
        let scene = Scene::new(host);
        host.container("late");
        let is_tried = |change: &&Change| !change.0.contains("qiao:ep") && !change.0.contains("flowtable");
        for change in RULES.iter().filter(is_tried) {
            let (before, sets) = (scene.state(), elements());
            let change = scene.words(change.0).replace('{', "'{").replace('}', "}'");
            assert!(Command::new("sh").args(["-c", &change]).status().unwrap().success(), "{change}");
            host.ok("network create more --subnet 172.30.9.0/24");
            host.ok("network rm more");
            assert_eq!(difference(&sets, &elements()), [""; 0], "{change}");
            assert_eq!(scene.state(), before, "{change}");
        }
        run("ip link set br-front type bridge stp_state 1");
        host.ok("attach late --netns /run/netns/late --network front");
        assert!(stdout("ip -d link show br-front").contains("stp_state 0"));
    });
}

/// What is left alone, since the record of its network is gone, comes along when the rule set is made anew.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d5_a_rule_set_that_is_made_anew_keeps_what_is_left_alone() {
    on_a_host(|host| {
        host.ok("network create front --ipv6 --subnet 172.30.1.0/24 --subnet fd00:1::/64");
        host.attached("web", "--network front -p 8080:80");
        host.attached("app", "");
        let directory = format!("{}/networks", host.qiao.state_dir());
        let records = || std::fs::read_dir(&directory).unwrap().flatten().map(|entry| entry.path());
        let lost: Vec<_> = records().filter(|path| path.to_string_lossy().contains("front")).collect();
        assert_eq!(lost.len(), 1, "{:?}", records().collect::<Vec<_>>());
        std::fs::remove_file(&lost[0]).unwrap();
        let before = elements();
        assert!(host.qiao.run("repair").stderr.contains("the record of its network is gone"));
        assert_eq!(difference(&before, &elements()), [""; 0], "the control: it is left alone");
        run("nft add element inet qiao subnets4 { 203.0.113.0/24 }");
        host.qiao.run("repair");
        assert_eq!(difference(&before, &elements()), [""; 0]);
        let flags = stdout("nft add table bridge qiao { flags dormant; }");
        host.qiao.run("repair");
        assert_eq!((difference(&before, &elements()), flags), (vec![], String::new()));
        assert!(!stdout("nft list table bridge qiao").contains("dormant"));
    });
}
