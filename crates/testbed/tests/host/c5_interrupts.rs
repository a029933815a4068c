//! C5: who interrupts a command gets the prompt back, at any time, and nothing goes on behind.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Dnsmasq, Host, attach_line, busy, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// No server answers, and nobody waits for 20 seconds any more.
const CREATE: &str = "network create lan -d macvlan --ipam-driver dhcp -o parent=up0";
/// Much shorter than a server is waited for (20 seconds), and long for a busy machine.
const SOON: Duration = Duration::from_secs(10);

fn start(host: &Host, line: &str) -> Child {
    // Who is started in the background may ignore what it is sent here.
    let fresh = ["env".to_owned(), "--default-signal=INT,TERM,HUP,QUIT".to_owned()];
    let mut command = host.qiao.under(&fresh);
    command.args(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("start qiao")
}

/// Waits until it says what it waits for.
fn says_what_for(child: &mut Child) -> String {
    let mut line = String::new();
    let stderr = child.stderr.as_mut().expect("its complaints");
    BufReader::new(stderr).read_line(&mut line).expect("a line");
    assert!(line.contains("waiting for a DHCP server at `up0`"), "{line}");
    line
}

/// Sends it a signal, and waits for its end.
fn ends(mut child: Child, signal: Signal) -> (ExitStatus, String) {
    let begun = Instant::now();
    kill_process(Pid::from_child(&child), signal).expect("send a signal");
    while child.try_wait().expect("wait").is_none() {
        assert!(begun.elapsed() < SOON.mul_f64(busy()), "{signal:?}: it goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().expect("its output");
    (output.status, String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn c5_run_ends_while_it_waits_for_a_server() {
    on_a_host(|host| {
        host.ok(CREATE);
        // What is made for a host's first container stays.
        host.ok("run --rm --network none -- true");
        let before = host.snapshot();
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
            for line in
                ["run --name w --network lan -- sleep 100", "run -d --name w --network lan -- sleep 100"]
            {
                let mut child = start(host, line);
                says_what_for(&mut child);
                assert!(host.ok("ps -a").stdout.contains(" w "), "{line}: the control: it is being made");
                let (status, said) = ends(child, signal);
                assert_eq!((status.code(), said.as_str()), (Some(code), ""), "{line}: {signal:?}");
                assert!(!host.ok("ps -a").stdout.contains(" w "), "{line}: {signal:?}");
                host.assert_like(&before, &format!("{line}: {signal:?}"));
            }
        }
    });
}

/// Nobody is left who could take the network away: it goes with the supervisor.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn c5_a_container_in_the_background_does_not_outlive_who_starts_it() {
    on_a_host(|host| {
        host.ok(CREATE);
        host.ok("run --rm --network none -- true");
        let before = host.snapshot();
        let mut child = start(host, "run -d --name w --network lan -- sleep 100");
        says_what_for(&mut child);
        child.kill().expect("kill it");
        child.wait().expect("its end");
        assert!(eventually(SOON, || !host.ok("ps -a").stdout.contains(" w ")), "the container is given up");
        host.assert_like(&before, "killed");
        // The control: with a server it runs, and goes on when who started it has ended.
        let _server = Dnsmasq::start(&host.lan);
        host.ok("run -d --name w --network lan -- sleep 100");
        std::thread::sleep(Duration::from_millis(300));
        assert!(host.ok("ps").stdout.contains("Up "), "it runs");
        assert_eq!(host.ok("exec w -- true").code, Some(0));
        host.ok("rm -f w");
    });
}

/// The same while another command holds the lock.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn c5_run_ends_while_it_waits_for_another_command() {
    on_a_host(|host| {
        host.ok("network create front");
        host.ok("run --rm --network front -- true");
        let before = host.snapshot();
        let file = std::fs::File::open(format!("{}/lock", host.qiao.run_dir())).expect("the lock");
        for line in
            ["run --name w --network front -- sleep 100", "run -d --name w --network front -- sleep 100"]
        {
            file.lock().expect("take the lock");
            let child = start(host, line);
            assert!(eventually(SOON, || std::fs::exists(format!("{}/containers/w", host.qiao.run_dir()))
                .unwrap()));
            std::thread::sleep(Duration::from_millis(200));
            let (status, _) = ends(child, Signal::INT);
            assert_eq!(status.code(), Some(130), "{line}");
            file.unlock().expect("give the lock back");
            host.ok("repair");
            host.assert_like(&before, line);
        }
        assert_eq!(host.ok("run --rm --network front -- true").code, Some(0), "the control");
    });
}

/// The keeper of leases stops to ask when nobody wants to know any more.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn c5_attach_ends_while_it_waits_for_a_server() {
    on_a_host(|host| {
        host.ok(CREATE);
        let place = host.container("c");
        let before = host.snapshot();
        for signal in [Signal::INT, Signal::TERM] {
            let mut child = start(host, &attach_line(&place, "--network lan"));
            says_what_for(&mut child);
            let (status, _) = ends(child, signal);
            assert_eq!(status.signal(), Some(signal.as_raw()));
            let asks =
                || host.snapshot().lines_with("process: ").iter().any(|line| line.contains("dhcp-daemon"));
            assert!(eventually(SOON / 2, || !asks()), "it is asked for no more");
            host.assert_like(&before, &format!("{signal:?}"));
        }
        let _server = Dnsmasq::start(&host.lan);
        host.attach(&place, "--network lan");
    });
}

/// A job in the background of a shell ignores the keys of the terminal, and goes on.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn c5_what_is_ignored_interrupts_nothing() {
    on_a_host(|host| {
        std::fs::write("/run/qiao.toml", "dhcp-timeout = 5\n").unwrap();
        host.ok(CREATE);
        let line = "run --config /run/qiao.toml --name w --network lan -- sleep 100";
        let mut command = host.qiao.under(&["env".to_owned(), "--ignore-signal=INT,HUP".to_owned()]);
        command.args(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start qiao");
        says_what_for(&mut child);
        for signal in [Signal::INT, Signal::HUP] {
            kill_process(Pid::from_child(&child), signal).expect("send a signal");
        }
        assert_eq!(child.wait().expect("its end").code(), Some(125), "it waits until there is no server");
    });
}
