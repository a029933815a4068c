//! Whom an engine's programs are for.

use crate::hooks;
use crate::host::{
    BRIDGE4, Netns, V4, container, end, in_host, in_host_of_own_processes, linux, refusal, serve, state,
    talk, tcp, tcp_server, usual_container,
};
use qiao_core::plan::{Observed, diff};
use qiao_kernel::{Kernel, Places};
use std::io::ErrorKind;
use std::process::Command;
use std::thread;
use std::time::Duration;

#[test]
#[ignore = "needs root"]
fn processes_of_other_namespaces_are_left_alone() {
    in_host("engines::processes_of_other_namespaces_are_left_alone", || {
        let container = usual_container();
        tcp_server(&container, "0.0.0.0:80");
        let _linux = serve(&[tcp("0.0.0.0:8080", &format!("{V4}:80"))]);
        // The container reaches port 80 of its own, by the address that would be replaced.
        assert_eq!(container.inside(|| talk("127.0.0.1:80").1).to_string(), "127.0.0.1");
        let refused = container.inside(|| refusal("127.0.0.1:8080"));
        assert_eq!(refused, ErrorKind::ConnectionRefused);
        talk("127.0.0.1:8080");
    });
}

#[test]
#[ignore = "needs root"]
fn two_engines_live_side_by_side() {
    in_host("engines::two_engines_live_side_by_side", || {
        let (one, other_host) = (usual_container(), Netns::new());
        let other = other_host
            .inside(|| container("br1", ("172.31.1.1", "fd00:32::1"), ("172.31.1.2", "fd00:32::2")));
        tcp_server(&one, "0.0.0.0:80");
        tcp_server(&other, "0.0.0.0:80");
        let mut first = serve(&[tcp("0.0.0.0:8080", &format!("{V4}:80"))]);
        other_host.inside(|| {
            let mut second = serve(&[tcp("0.0.0.0:8080", "172.31.1.2:80")]);
            assert_eq!(talk("127.0.0.1:8080").1.to_string(), "172.31.1.1");
            assert_eq!(hooks::count(), 16);
            end(&mut second);
            assert_eq!(refusal("127.0.0.1:8080"), ErrorKind::ConnectionRefused);
        });
        assert_eq!(hooks::count(), 8, "the first engine's are still there");
        assert_eq!(talk("127.0.0.1:8080").1.to_string(), BRIDGE4);
        end(&mut first);
        assert_eq!(hooks::count(), 0);
        drop(linux());
    });
}

/// A living host whose mount is hidden by another one, as that of `/run/netns` behind a tmpfs at `/run`, keeps nobody's from
/// being collected.
#[test]
#[ignore = "needs root"]
fn a_mount_that_is_hidden_hinders_nothing() {
    in_host("engines::a_mount_that_is_hidden_hinders_nothing", || {
        let (living, gone) = (Netns::new(), Netns::new());
        for host in [&living, &gone] {
            host.inside(|| drop(serve(&[tcp("0.0.0.0:8080", "172.31.1.2:80")])));
        }
        let dir = std::env::temp_dir().join(format!("qiao-hidden-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let run = |program: &str, words: &[&str]| {
            assert!(Command::new(program).args(words).status().unwrap().success(), "{program} {words:?}");
        };
        let (over, mount) = (dir.to_str().unwrap(), dir.join("ns"));
        run("mount", &["-t", "tmpfs", "tmpfs", over]);
        std::fs::write(&mount, "").unwrap();
        run("mount", &["--bind", &format!("/proc/{}/ns/net", living.pid()), mount.to_str().unwrap()]);
        run("mount", &["-t", "tmpfs", "tmpfs", over]);
        drop(gone);
        let collected = collect();
        assert!(collected.len() == 1 && collected[0].contains("is gone"), "{collected:?}");
        assert_eq!(hooks::count(), 8, "the living has its");
        for _ in 0..2 {
            run("umount", &["-l", over]);
        }
        std::fs::remove_dir(&dir).unwrap();
    });
}

/// The host of an engine is gone, and nobody took its hooks away. Those of the living stay: of one that only a mount
/// holds, too.
#[test]
#[ignore = "needs root"]
fn the_hooks_of_a_host_that_is_gone_are_collected() {
    in_host("engines::the_hooks_of_a_host_that_is_gone_are_collected", || {
        let container = usual_container();
        tcp_server(&container, "0.0.0.0:80");
        let first = serve(&[tcp("0.0.0.0:8080", &format!("{V4}:80"))]);
        let other = Netns::new();
        other.inside(|| drop(serve(&[tcp("0.0.0.0:8080", "172.31.1.2:80")])));
        assert_eq!(hooks::count(), 16);
        assert_eq!(linux().collect_hooks().unwrap(), [""; 0], "a process is in it");
        let mount = std::env::temp_dir().join(format!("qiao-mount-{}", std::process::id()));
        std::fs::write(&mount, "").unwrap();
        let run = |program: &str, words: &[&str]| {
            assert!(Command::new(program).args(words).status().unwrap().success(), "{program} {words:?}");
        };
        run("mount", &["--bind", &format!("/proc/{}/ns/net", other.pid()), mount.to_str().unwrap()]);
        drop(other);
        assert_eq!(linux().collect_hooks().unwrap(), [""; 0], "it is mounted");
        run("umount", &[mount.to_str().unwrap()]);
        std::fs::remove_file(&mount).unwrap();
        let collected = collect();
        assert!(collected.len() == 1 && collected[0].contains("is gone"), "{collected:?}");
        assert_eq!(hooks::count(), 8, "the living have theirs");
        assert_eq!(talk("127.0.0.1:8080").1.to_string(), BRIDGE4);
        drop(first);
    });
}

/// As many engines as a hook has room for ended without taking their hooks away, and the processes of the machine cannot be
/// seen. The next engine has hooks nevertheless, and those of the living stay.
#[test]
#[ignore = "needs root"]
fn a13_hooks_of_dead_hosts_make_room() {
    in_host_of_own_processes("engines::a13_hooks_of_dead_hosts_make_room", || {
        let container = usual_container();
        tcp_server(&container, "0.0.0.0:80");
        let living = Netns::new();
        living.inside(|| drop(serve(&[tcp("0.0.0.0:8080", "172.31.1.2:80")])));
        let dead: Vec<Netns> = (1..MOST).map(|_| Netns::new()).collect();
        dead.iter().for_each(|host| host.inside(|| drop(serve(&[tcp("0.0.0.0:8080", "172.31.1.2:80")]))));
        assert_eq!(hooks::count(), 8 * MOST, "no more can be attached");
        let full = Netns::new();
        full.inside(|| {
            let (wanted, mut linux) = (state(&[tcp("0.0.0.0:8080", "172.31.1.2:80")]), linux());
            let plan = diff(&Observed::default(), &wanted).unwrap();
            let error = linux.apply(&plan, &Places::new()).unwrap_err();
            assert!(
                format!("{:?}", error.source).contains("Argument list too long"),
                "the control: {error:?}"
            );
        });
        drop((dead, full));
        let (wanted, mut first) = (state(&[tcp("0.0.0.0:8080", &format!("{V4}:80"))]), linux());
        let plan = diff(&Observed::default(), &wanted).unwrap();
        within(&mut || first.apply(&plan, &Places::new()).is_ok());
        assert_eq!(talk("127.0.0.1:8080").1.to_string(), BRIDGE4);
        within(&mut || linux().collect_hooks().is_ok() && hooks::count() == 16); // the living have theirs
        assert_eq!(linux().collect_hooks().unwrap(), [""; 0], "they are not collected");
        drop((living, first));
    });
}

/// Waits for the kernel, which ends namespaces in the background.
fn within(holds: &mut dyn FnMut() -> bool) {
    let held = (0..2000).any(|_| {
        thread::sleep(Duration::from_millis(10));
        holds()
    });
    assert!(held, "the namespaces are still there");
}

/// What is collected, once a namespace has ended.
fn collect() -> Vec<String> {
    let mut collected = Vec::new();
    within(&mut || {
        collected = linux().collect_hooks().unwrap();
        !collected.is_empty()
    });
    collected
}

/// `BPF_CGROUP_MAX_PROGS`.
const MOST: usize = 64;
