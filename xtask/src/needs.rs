//! What the tests need of the machine, and why.

use crate::shell::{as_root, can_be_root, find, run};
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;

/// A program that the tests start.
struct Need {
    package: &'static str,
    program: &'static str,
    why: &'static str,
}

const FIREWALL: &str = "firewalld";

const NEEDS: &[Need] = &[
    Need { package: "iproute2", program: "ip", why: "builds the hosts and networks that tests run in" },
    Need { package: "iproute2", program: "bridge", why: "reads what is on a bridge" },
    Need { package: "nftables", program: "nft", why: "reads the rule set by other code than ours" },
    Need {
        package: "iptables",
        program: "iptables-save",
        why: "reads the rules that CNI plugins of others make",
    },
    Need { package: "conntrack", program: "conntrack", why: "reads the connections that the kernel tracks" },
    Need { package: "util-linux", program: "unshare", why: "gives each test namespaces of its own" },
    Need { package: "python3-minimal", program: "python3", why: "sends and receives hand-made frames" },
    Need { package: "podman", program: "podman", why: "is a client of CNI plugins" },
    Need {
        package: "netavark",
        program: "/usr/lib/podman/netavark",
        why: "is what our netavark is compared with",
    },
    Need { package: "slirp4netns", program: "slirp4netns", why: "is the uplink of Podman without root" },
    Need {
        package: "uidmap",
        program: "newuidmap",
        why: "gives an ordinary user a namespace with many users",
    },
    Need { package: "crun", program: "crun", why: "starts the containers of clients" },
    Need {
        package: "containerd",
        program: "containerd",
        why: "is a client of CNI plugins, as on Kubernetes nodes",
    },
    Need {
        package: "containernetworking-plugins",
        program: "/usr/lib/cni/bridge",
        why: "is what our CNI plugins are compared with",
    },
    Need { package: "busybox-static", program: "busybox", why: "is all that is in those containers" },
    Need { package: "procps", program: "ps", why: "sees the processes that are left" },
    Need { package: "strace", program: "strace", why: "kills a command at each of its system calls" },
    Need {
        package: "aardvark-dns",
        program: "/usr/lib/podman/aardvark-dns",
        why: "is what our names are compared with",
    },
    Need {
        package: "dnsmasq-base",
        program: "dnsmasq",
        why: "is the DHCP server of the neighbourhood, and what our names are compared with",
    },
    Need {
        package: FIREWALL,
        program: "firewalld",
        why: "is the firewall that drops what it was not told of",
    },
    Need { package: "dbus-daemon", program: "dbus-daemon", why: "is how firewalld is told" },
    Need { package: "socat", program: "socat", why: "speaks SCTP" },
];

const NEEDS_FOR_VM: &[Need] = &[
    Need { package: "qemu-system-x86", program: "qemu-system-x86_64", why: "boots another kernel" },
    Need { package: "busybox-static", program: "busybox", why: "is what the guest begins with" },
];

/// Installs with apt what is missing, and says what and why.
pub fn install() -> Result<()> {
    components()?;
    install_all(NEEDS)
}

/// The same for a guest with another kernel.
pub fn install_for_vm() -> Result<()> {
    install_all(NEEDS)?;
    install_all(NEEDS_FOR_VM)
}

fn install_all(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| find(need.program).is_none()).collect();
    if missing.is_empty() {
        eprintln!("all {} programs that the tests need are here", needs.len());
        return Ok(());
    }
    for Need { package, program, why } in &missing {
        eprintln!("installing {package}: `{program}` {why}");
    }
    if find("apt-get").is_none() || !can_be_root() {
        bail!("install these by hand: they can be installed here only with apt-get, by root");
    }
    if missing.iter().any(|need| need.package == FIREWALL) {
        mask(FIREWALL)?;
    }
    apt(&["update"])?;
    let mut words = vec!["install", "--yes", "--no-install-recommends"];
    words.extend(missing.iter().map(|need| need.package));
    apt(&words)
}

/// Debian starts what it installs. A firewall would shut this machine's ports: it is left for the tests to start.
fn mask(package: &str) -> Result<()> {
    let unit = format!("/etc/systemd/system/{package}.service");
    if !Path::new("/etc/systemd/system").is_dir() || Path::new(&unit).is_symlink() {
        return Ok(());
    }
    eprintln!(
        "{package} is not to run here by itself: {unit} is masked (`systemctl unmask {package}` undoes it)"
    );
    run(as_root("ln").args(["-s", "/dev/null", &unit]))
}

fn apt(words: &[&str]) -> Result<()> {
    run(as_root("env").args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]).args(words))
}

/// A small tool chain comes without the formatter and the lints.
fn components() -> Result<()> {
    let missing: Vec<_> = [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")]
        .into_iter()
        .filter(|(program, _)| !works(program))
        .map(|(_, component)| component)
        .collect();
    if missing.is_empty() || find("rustup").is_none() {
        return Ok(());
    }
    run(Command::new("rustup").args(["component", "add"]).args(missing))
}

/// `rustup` puts a file for each program on the path, also where the component is missing.
fn works(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}
