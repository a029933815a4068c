//! C1 and C4: what users do by habit. A container that was disconnected can be connected again, and a name that was
//! mistyped is reported.

use crate::netavark::{call as netavark, network, on};
use qiao_testbed::Outcome;
use qiao_testbed::namespaces::on_a_host;

/// A hint of this text that can be followed.
fn hints(said: &Outcome, hint: &str) -> bool {
    said.stderr.contains(hint)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn c1_what_was_disconnected_can_be_connected_again() {
    on_a_host(|host| {
        let before = host.snapshot();
        host.ok("network create n1 --subnet 172.30.1.0/24");
        host.ok("network create n2 --subnet 172.30.2.0/24");
        host.ok("run -d --name peer --network n1 -- sleep 1000");
        host.ok("run -d --name w --network n1 -- sleep 1000");
        let finds_peer = || host.qiao.run("exec w -- busybox nslookup peer").code == Some(0);
        assert!(finds_peer(), "the control");
        // Each way out, and each way in.
        let ways_out =
            ["network disconnect n1 w", "network disconnect -f n1 w", "detach w", "detach w --network n1"];
        for (out, back) in
            ways_out.iter().zip(["network connect n1 w", "attach w --network n1"].iter().cycle())
        {
            host.ok(out);
            assert!(host.ok("ps").stdout.contains(" w "), "{out}: it runs");
            assert!(!finds_peer(), "{out}: it is off the network");
            assert_eq!(host.qiao.run("check").code, Some(0), "{out}");
            host.ok(back);
            assert!(finds_peer(), "{out}, {back}");
        }
        // To another one.
        host.ok("network disconnect n1 w");
        host.ok("network connect n2 w -p 8080:80");
        assert!(host.ok("network inspect n2").stdout.contains("\"w\""));
        host.ok("network connect n1 w");
        assert!(finds_peer(), "back on the first");
        host.ok("stop -t 0 w");
        let said = host.refused(5, "network connect n1 w");
        assert!(said.stderr.contains("does not run") && hints(&said, "qiao rm w"), "{said}");
        host.ok("rm w");
        let said = host.refused(4, "network connect n1 w");
        assert!(
            said.stderr.contains("there is no container `w`") && hints(&said, "qiao attach w --netns"),
            "{said}"
        );
        host.ok("run -d --name on-host --network host -- sleep 1000");
        assert_ne!(host.qiao.run("network connect n1 on-host").code, Some(0));
        host.ok("rm -f peer on-host");
        host.ok("network rm n1");
        host.ok("network rm n2");
        host.assert_like(&before, "all are gone");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn c4_detaching_nothing_is_reported() {
    on_a_host(|host| {
        host.ok("network create n1");
        host.ok("network create n2");
        host.attached("web", "--network n1");
        for (line, says) in [
            ("detach wbe", "there is no container `wbe`"),
            ("detach wbe --network n1", "there is no container `wbe`"),
            ("detach wbe --dry-run", "there is no container `wbe`"),
            ("detach web --network n2", "`web` is not attached to network `n2`"),
            ("detach web --ifname eth7", "`web` is not attached as `eth7`"),
        ] {
            let said = host.refused(4, line);
            assert!(said.stderr.contains(says) && said.stdout.is_empty(), "{line}: {said}");
            host.ok(&line.replace("detach", "detach --if-exists"));
        }
        assert_eq!(host.qiao.run("detach wbe --json").json()["code"], "not-found");
        host.ok("detach web");
        host.refused(4, "detach web");
        host.ok("detach web --if-exists");
        host.ok("run -d --name w --network n1 -- sleep 1000");
        host.ok("detach w");
        let said = host.refused(4, "detach w");
        assert!(
            said.stderr.contains("attached to no network") && hints(&said, "qiao network connect NETWORK w"),
            "{said}"
        );
        host.ok("rm -f w");
    });
}

/// Runtimes ask again whether it worked or not.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn c4_runtimes_may_detach_what_is_not_there() {
    on_a_host(|host| {
        let place = host.container("c");
        let config = r#"{"cniVersion":"1.1.0","name":"n1","type":"bridge","bridge":"cni0",
            "ipam":{"type":"static","addresses":[{"address":"10.9.0.5/24"}]}}"#;
        for container in
            [(place.name(), place.path()), ("nosuch", "/run/netns/nosuch".into()), ("c", String::new())]
        {
            host.qiao.plugin_ok(("bridge", "DEL"), (container.0, &container.1), config);
        }
        let options = on("c", 5, &[&network(1, true)]);
        for _ in 0..2 {
            let said = netavark(host, &["teardown", &place.path()], &options);
            assert_eq!(said.code, Some(0), "{said}");
        }
    });
}
