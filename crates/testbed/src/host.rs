//! A host with an uplink to a network that has an outside host, and nothing else.

use crate::command::{run, stdout};
use crate::place::Place;
use crate::qiao::{Outcome, Qiao};
use crate::snapshot::Snapshot;
use crate::wire::Wire;
use std::time::Duration;

/// The host's IPv4 address on its uplink (RFC 5737).
pub const UPLINK4: &str = "192.0.2.1";
/// The host's IPv6 address on its uplink (RFC 3849).
pub const UPLINK6: &str = "2001:db8::1";
/// The outside host's IPv4 address.
pub const OUTSIDE4: &str = "192.0.2.100";
/// The outside host's IPv6 address.
pub const OUTSIDE6: &str = "2001:db8::100";

/// How long what goes on in the kernel's background may take: devices of namespaces that are gone.
const SETTLED: Duration = Duration::from_secs(4);
/// How long it may take until everything is as it was, on a busy machine.
const LIKE: Duration = Duration::from_secs(12);

/// A host.
///
/// ```text
///   containers ── qiao ── host, up0 192.0.2.1 ──────── eth0 192.0.2.100, lan
///                          forwarding off                routes to containers over the host
/// ```
#[derive(Debug)]
pub struct Host {
    /// The outside host. It has routes to where containers live, so that only the firewall keeps it out.
    pub lan: Place,
    /// The command under test.
    pub qiao: Qiao,
}

const UPLINK: &str = "
ip link add up0 type veth peer name eth0 netns lan
ip link set up0 address 02:00:00:00:00:01 addrgenmode none
ip -n lan link set eth0 address 02:00:00:00:00:64 addrgenmode none
ip link set up0 up
ip -n lan link set lo up
ip -n lan link set eth0 up
ip addr add 192.0.2.1/24 dev up0
ip addr add 192.0.2.9/24 dev up0
ip addr add 2001:db8::1/64 dev up0 nodad
ip addr add fe80::1/64 dev up0 nodad
ip -n lan addr add 192.0.2.100/24 dev eth0
ip -n lan addr add 2001:db8::100/64 dev eth0 nodad
ip -n lan addr add fe80::64/64 dev eth0 nodad
ip route add default via 192.0.2.100
ip -6 route add default via 2001:db8::100 dev up0
ip -n lan route add 172.16.0.0/12 via 192.0.2.1
ip -n lan route add 10.0.0.0/8 via 192.0.2.1
ip -n lan -6 route add fd00::/8 via 2001:db8::1
";

impl Host {
    /// Builds the host in the namespaces of this process. Forwarding is off, as on a machine that was just
    /// installed.
    pub(crate) fn build(cgroup: Option<String>) -> Self {
        Self { lan: uplink(), qiao: Qiao::new("/run/test", cgroup) }
    }

    /// A namespace for a container, not attached to anything.
    pub fn container(&self, name: &str) -> Place {
        Place::new(name)
    }

    /// A container that is attached: `options` are further words of the command.
    pub fn attached(&self, name: &str, options: &str) -> Place {
        let place = self.container(name);
        self.attach(&place, options);
        place
    }

    /// Attaches a namespace.
    pub fn attach(&self, place: &Place, options: &str) -> Outcome {
        self.qiao.ok(&attach_line(place, options))
    }

    /// Runs `qiao` with a line of words; it must succeed.
    pub fn ok(&self, line: &str) -> Outcome {
        self.qiao.ok(line)
    }

    /// Runs `qiao`; it must refuse with this exit code, and nothing may have changed.
    pub fn refused(&self, code: i32, line: &str) -> Outcome {
        let before = self.snapshot();
        let outcome = self.qiao.run(line);
        assert_eq!(outcome.code, Some(code), "`qiao {line}`: {outcome}");
        self.assert_like(&before, &format!("`qiao {line}` was refused"));
        outcome
    }

    /// Everything there is, when no command works in the background any more. The proxy for loopback clients,
    /// where there is one, is there to stay; so is who keeps DHCP leases.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::take(self.qiao.directory());
        crate::eventually(SETTLED, || {
            let mut stay = vec!["process: qiao loopback-proxy", "process: qiao dhcp-daemon"];
            stay.extend(self.has_names().then_some("process: qiao name-server"));
            let stay: usize = stay.iter().map(|line| snapshot.lines_with(line).len()).sum();
            let still = snapshot.lines_with("process: ").len() == stay;
            if !still {
                snapshot = Snapshot::take(self.qiao.directory());
            }
            still
        });
        snapshot
    }

    /// Whether any endpoint has a name: then the name server is there to stay, too.
    fn has_names(&self) -> bool {
        let links = std::fs::read_dir(format!("{}/names", self.qiao.run_dir()));
        links.into_iter().flatten().flatten().any(|link| link.file_name().to_string_lossy().contains('@'))
    }

    /// Everything must be as it was; what the kernel does in the background is waited for.
    pub fn assert_like(&self, before: &Snapshot, after_what: &str) {
        let mut diff = Vec::new();
        let same = crate::eventually(LIKE, || {
            diff = before.diff(&self.snapshot());
            diff.is_empty()
        });
        assert!(same, "after {after_what} it is not as before:\n{}", diff.join("\n"));
    }

    /// A raw look at a link of a place.
    pub fn wire(&self, place: &Place, link: &str) -> Wire {
        Wire::open(place, link)
    }

    /// The host's interface of a container, by what `qiao ps` calls it.
    pub fn host_if(&self, container: &str) -> String {
        let alias = format!("/{container}/");
        let links = stdout("ip -o link");
        let line = links.lines().find(|line| line.contains(&alias)).unwrap_or_else(|| panic!("{links}"));
        line.split([' ', '@']).nth(1).map(|name| name.trim_end_matches(':').to_owned()).expect("a name")
    }
}

/// Gives the namespaces of this process the uplink that a [`Host`] has; the outside host.
pub fn uplink() -> Place {
    for name in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        set_sysctl(name, "0");
    }
    let lan = Place::new("lan");
    UPLINK.lines().filter(|line| !line.is_empty()).for_each(run);
    lan
}

/// `attach NAME --netns PATH OPTIONS`.
pub fn attach_line(place: &Place, options: &str) -> String {
    format!("attach {} --netns {} {options}", place.name(), place.path())
}

fn set_sysctl(name: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{name}"), value).unwrap_or_else(|error| panic!("{name}: {error}"));
}
