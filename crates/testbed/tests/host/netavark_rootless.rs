//! Netavark as Podman calls it without root: an ordinary user's namespaces, in which he is root and nothing outside is
//! his (`rootless-netns`).

use crate::netavark::{network, on, publishing};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, run};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// Where an ordinary user finds the programs.
const HOME: &str = "/mnt";

/// What is done in his namespaces. Each part says its name first.
const SCRIPT: &str = r#"
mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/networks && ip link set lo up
for c in c1 c2; do ip netns add $c; done
netavark() {
    $HOME/netavark --config /run/networks --rootless=true --aardvark-binary=$HOME/aardvark-dns \
        $1 /run/netns/$2 < $HOME/$2.json || echo "failed $1 $2"
}
echo "== setup"; netavark setup c1; netavark setup c2
echo "== one another"; ip netns exec c1 busybox ping -c 1 -W 2 10.89.1.8; ip netns exec c1 busybox ping -c 1 -W 2 fd00:89:1::8
echo "== name"; ip netns exec c1 busybox nslookup name-of-c2 10.89.1.1
ip netns exec c1 busybox nc -l -p 80 -e echo hello & sleep 0.5
echo "== published"; ip netns exec c2 busybox nc -w 2 10.89.1.1 8080 < /dev/null
echo "== files"; ls /run/networks
echo "== again"; netavark teardown c1; netavark setup c1
echo "== teardown"; netavark teardown c1; netavark teardown c2; netavark teardown c2
i=0; while [ $i -lt 30 ] && [ -e /run/networks/aardvark-dns/aardvark.pid ]; do sleep 0.1; i=$((i + 1)); done
sleep 0.5 # devices go behind the scenes
echo "== left"; ip -o link | grep -v ': lo:'; nft list tables; ls /run/networks/aardvark-dns
cd /proc; for p in [0-9]*; do tr '\0' ' ' < $p/cmdline 2>/dev/null | grep -a -e qiao -e aardvark | grep -v grep; done
echo "== end"
"#;

/// What the script said in a part.
fn part<'t>(text: &'t str, name: &str) -> &'t str {
    let (_, rest) = text.split_once(&format!("== {name}\n")).unwrap_or_else(|| panic!("{name}: {text}"));
    rest.split("== ").next().unwrap_or_default()
}

fn furnish(host: &Host, containers: &[(&str, &Value)]) {
    run(&format!("mount -t tmpfs -o mode=755 tmpfs {HOME}"));
    let program = host.qiao.command().get_program().to_owned();
    for name in ["netavark", "aardvark-dns"] {
        fs::copy(&program, format!("{HOME}/{name}")).expect("a program");
    }
    for (name, options) in containers {
        fs::write(format!("{HOME}/{name}.json"), options.to_string()).expect("what Podman sends");
    }
    fs::write(format!("{HOME}/script"), SCRIPT).expect("a script");
    run(&format!("chmod -R a+rX {HOME}"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_ordinary_user_joins_and_leaves() {
    on_a_host(|host| {
        let mut net = network(1, true);
        net["dns_enabled"] = true.into();
        let c1 = publishing(on("c1", 7, &[&net]), &[("", 8080, 80), ("127.0.0.1", 8081, 80)]);
        furnish(host, &[("c1", &c1), ("c2", &on("c2", 8, &[&net]))]);
        let before = host.snapshot();
        let words =
            "--reuid 1000 --regid 1000 --clear-groups unshare -Urnmp --fork --mount-proc sh /mnt/script";
        let mut command = Command::new("setpriv");
        let output = command.args(words.split(' ')).env("HOME", HOME).output().expect("setpriv");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&output.stderr);
        println!("{text}{complaints}");
        assert_eq!(part(&text, "setup").matches("\"ipnet\":\"10.89.1.").count(), 2, "{complaints}");
        assert_eq!(part(&text, "one another").matches("1 packets received").count(), 2);
        assert!(part(&text, "name").contains("Address: 10.89.1.8"));
        assert_eq!(part(&text, "published"), "hello\n");
        assert_eq!(
            part(&text, "files"),
            "aardvark-dns\naardvark.lock\nqiao\n",
            "files are Podman's own folder's"
        );
        assert!(part(&text, "again").contains("10.89.1.7") && !text.contains("failed"));
        assert_eq!(part(&text, "teardown"), "");
        assert_eq!(part(&text, "left"), "");
        host.assert_like(&before, "what an ordinary user did in namespaces of his own");
    });
}
