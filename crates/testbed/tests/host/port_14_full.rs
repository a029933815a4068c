//! A bridge has no more than 1023 ports: the next container is refused in words.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{attach_line, run};
use std::io::Write;
use std::process::{Command, Stdio};

/// Ports that make the bridge full: both ends of pairs.
fn fill(device: &str, count: usize) {
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = ip.stdin.take().unwrap();
    for number in 0..512 {
        writeln!(lines, "link add x{number} type veth peer name y{number}").unwrap();
    }
    for number in 0..count {
        let end = if number % 2 == 0 { "x" } else { "y" };
        writeln!(lines, "link set {end}{} master {device}", number / 2).unwrap();
    }
    drop(lines);
    assert!(ip.wait().unwrap().success());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_full_bridge_is_told() {
    on_a_host(|host| {
        host.ok("network create front --subnet 10.9.0.0/16");
        let last = host.container("last");
        fill("br-front", 1022);
        host.attach(&last, "--network front");
        host.ok("detach last");
        run("ip link set x511 master br-front");
        let before = host.snapshot();
        let outcome = host.qiao.run(&attach_line(&last, "--network front -p 8080:80"));
        assert!(outcome.code == Some(1) && outcome.stderr.contains("1023"), "{outcome}");
        last.run("ip link set lo down");
        host.assert_like(&before, "a refusal that came late");
    });
}
