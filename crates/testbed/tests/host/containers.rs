//! The throw-away containers: what is run is there, seen, told and gone.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Protocol, ask, eventually, run};
use rustix::process::{WaitOptions, wait};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Test hosts have no cgroups of their own: the hooks of published ports stay off.
fn without_hooks() -> &'static str {
    std::fs::write("/run/qiao.toml", "loopback = \"off\"\n").unwrap();
    "/run/qiao.toml"
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_container_lives_and_goes_without_a_trace() {
    on_a_host(|host| {
        let config = without_hooks();
        let before = host.snapshot();
        host.ok("network create front --subnet 172.30.0.0/24");
        let server = "import socket;s=socket.create_server(('',80));print('up',flush=True)\nwhile 1:\n c,_=s.accept();c.send(b'web');c.close()";
        let options =
            ["run", "-d", "--name", "web", "--network", "front", "-p", "8080:80", "--config", config];
        let started = host.qiao.words(&[&options[..], &["--", "python3", "-c", server]].concat());
        assert_eq!((started.code, started.stdout.trim().len()), (Some(0), 64), "{started}");
        let up = || host.ok("logs web").stdout == "up\n";
        assert!(eventually(Duration::from_secs(10), up), "{}", host.qiao.run("logs web"));
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some(), "published");
        assert_eq!(host.qiao.words(&["exec", "web", "sh", "-c", "exit 7"]).code, Some(7));
        assert_eq!(host.qiao.run("exec web no-such-program").code, Some(127));
        assert!(host.ok("exec web cat /etc/hosts").stdout.contains("172.30.0.2"));
        assert!(host.ok("ps").stdout.contains("0.0.0.0:8080->80/tcp"));
        assert!(host.ok("port web 80").stdout.starts_with("0.0.0.0:8080\n"));
        assert_eq!(host.qiao.json("port web 80")["ports"][0]["host_port"], 8080);
        assert_eq!(host.qiao.json("port web 81")["ports"].as_array().unwrap().len(), 0);
        assert_eq!(host.qiao.run("rm web").code, Some(5), "it runs");
        assert_eq!(host.ok("stop -t 1 web").stdout, "web\n");
        assert!(!host.ok("ps").stdout.contains("web"));
        assert!(host.ok("ps --filter status=exited").stdout.contains("web"));
        assert!(!host.ok("ps -a -f name=other").stdout.contains("web"));
        assert_eq!(host.qiao.run("ps -f colour=red").code, Some(2));
        assert_eq!(host.ok("rm web").stdout, "web\n");
        host.ok("network rm front");
        host.assert_like(&before, "run, stop and rm");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn programs_are_told_with_schemas() {
    on_a_host(|host| {
        let config = without_hooks();
        let start = |words: &[&str]| {
            let options = ["--json", "run", "-d", "--config", config];
            host.qiao.words(&[&options[..], words, &["--", "sleep", "100"]].concat())
        };
        let started = start(&["--name", "a"]);
        assert_eq!(started.json()["schema"], "qiao.container/1", "{started}");
        let refused = start(&["--name", "a"]);
        assert_eq!((refused.code, &refused.json()["code"]), (Some(125), &"conflict".into()), "{refused}");
        let unknown = start(&["--name", "b", "--network", "nosuch"]);
        assert_eq!((unknown.code, &unknown.json()["code"]), (Some(125), &"not-found".into()), "{unknown}");
        assert_eq!(unknown.json()["exit"], 125);
        let usage = host.qiao.run("--json ps --colour");
        assert_eq!((usage.code, &usage.json()["code"]), (Some(2), &"invalid".into()), "{usage}");
        assert_eq!(host.qiao.json("ps")["containers"][0]["Names"], "a");
        assert_eq!(host.qiao.json("stop -t 0 a")["schema"], "qiao.stopped/1");
        assert_eq!(host.qiao.json("rm a")["containers"][0], "a");
        host.ok("network create x");
        host.ok("network create y");
        assert_eq!(host.qiao.run("network rm x nosuch").code, Some(4));
        let both = host.qiao.json("network rm x y");
        assert_eq!(
            both["networks"].as_array().map(Vec::len),
            Some(2),
            "a mistyped name removed nothing: {both}"
        );
        assert_eq!(host.qiao.json("config check")["ok"], true);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn nothing_that_the_caller_has_open_is_open_inside() {
    on_a_host(|host| {
        let secret = std::fs::File::open("/etc/shadow").unwrap();
        rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).unwrap();
        let number = secret.as_raw_fd();
        let look = format!("test -e /proc/self/fd/{number} && echo open || echo closed");
        let outside = std::process::Command::new("sh").args(["-c", &look]).output().unwrap();
        assert_eq!(outside.stdout, b"open\n", "the control: a program that is started here has it");
        let inside = host.qiao.words(&["run", "--rm", "--network", "none", "--", "sh", "-c", &look]);
        assert_eq!(inside.stdout, "closed\n", "{inside}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn containers_that_start_at_once_are_in_nobodys_way() {
    on_a_host(|host| {
        let before = host.snapshot();
        host.ok("network create front --subnet 172.30.0.0/24");
        let failed = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..16)
                .map(|n| {
                    let name = format!("c{n}");
                    scope.spawn(move || {
                        host.qiao.words(&["run", "--rm", "--network", "front", "--name", &name, "--", "true"])
                    })
                })
                .collect();
            let ended = starts.into_iter().map(|start| start.join().unwrap());
            ended.filter(|outcome| outcome.code != Some(0)).map(|o| o.to_string()).collect::<Vec<_>>()
        });
        assert!(failed.is_empty(), "{failed:#?}");
        host.ok("network rm front");
        host.assert_like(&before, "16 containers at once");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_a_killed_supervisor_leaves_goes_with_the_next_command() {
    on_a_host(|host| {
        let before = host.snapshot();
        host.ok("network create front --subnet 172.30.0.0/24");
        let options = ["run", "-d", "--rm", "--name", "web", "--network", "front", "--", "sleep", "100"];
        assert_eq!(host.qiao.words(&options).code, Some(0));
        let state =
            std::fs::read_to_string(format!("{}/containers/web/state.json", host.qiao.run_dir())).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        run(&format!("kill -9 {}", state["supervisor"]["pid"]));
        let ended = || !host.qiao.run("ps").stdout.contains("web");
        assert!(eventually(Duration::from_secs(10), ended), "the container ends with its supervisor");
        host.ok("gc");
        host.ok("network rm front");
        host.assert_like(&before, "a killed supervisor");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn texts_for_shells_and_readers() {
    on_a_host(|host| {
        for shell in ["bash", "zsh", "fish"] {
            assert!(host.ok(&format!("completions {shell}")).stdout.contains("qiao"), "{shell}");
        }
        host.ok("man --dir /run/man");
        assert!(std::fs::read_dir("/run/man").unwrap().count() > 20);
        std::fs::write("/run/daemon.json", r#"{"bip": "172.26.0.1/16", "log-driver": "journald"}"#).unwrap();
        let imported = host.ok("config import /run/daemon.json");
        assert!(
            imported.stdout.contains("172.26.0.1/16") && imported.stderr.contains("log-driver"),
            "{imported}"
        );
        let demo = host.ok("demo");
        assert!(demo.stdout.contains("bridge br-demo"), "{demo}");
        let table = host.qiao.words(&["network", "ls", "--format", "table {{.Name}}\\t{{.Driver}}"]);
        assert!(table.stdout.starts_with("NAME"), "{table}");
    });
}

/// A container in the background, and what is noted of it.
fn sleeping(host: &qiao_testbed::Host, options: &[&str]) -> serde_json::Value {
    let begin = ["run", "-d", "--name", "web", "--config", without_hooks()];
    let started = host.qiao.words(&[&begin[..], options, &["--", "sleep", "1000"]].concat());
    assert_eq!(started.code, Some(0), "{started}");
    let path = format!("{}/containers/web/state.json", host.qiao.run_dir());
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The first process of a test's host is the test: it has to bury whoever's parent was killed.
fn bury() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

fn is_there(pid: &serde_json::Value) -> bool {
    bury();
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_name_whose_records_are_damaged_can_be_freed() {
    on_a_host(|host| {
        without_hooks();
        let before = host.snapshot();
        for damaged in [&["spec"][..], &["state"], &["spec", "state"]] {
            let state = sleeping(host, &[]);
            for name in damaged {
                std::fs::write(format!("{}/containers/web/{name}.json", host.qiao.run_dir()), "{").unwrap();
            }
            let told = host.qiao.run("rm web");
            assert!(told.code == Some(5) && told.stderr.contains("qiao rm -f web"), "{told}");
            assert_eq!(host.ok("rm -f web").stdout, "web\n");
            assert!(
                eventually(Duration::from_secs(10), || !is_there(&state["init"]["pid"])),
                "its processes"
            );
            let gone = || !is_there(&state["supervisor"]["pid"]);
            assert!(eventually(Duration::from_secs(10), gone), "its supervisor");
        }
        host.ok("rm -f web");
        host.ok("network rm bridge");
        host.assert_like(&before, "damage and removal");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_command_ends_with_the_exec_that_runs_it() {
    on_a_host(|host| {
        sleeping(host, &["--network", "none"]);
        for user in ["0", "1000"] {
            let mut exec =
                host.qiao.command().args(["exec", "-u", user, "web", "sleep", "777"]).spawn().unwrap();
            let runs = || {
                qiao_testbed::stdout("ps -e -o stat,args").lines().any(|line| {
                    line.ends_with("sleep 777") && !line.contains("exec") && !line.starts_with('Z')
                })
            };
            assert!(eventually(Duration::from_secs(10), runs), "the control: it runs");
            exec.kill().unwrap();
            exec.wait().unwrap();
            assert!(eventually(Duration::from_secs(10), || !runs()), "it goes on");
            bury();
        }
        host.ok("rm -f web");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_supervisor_has_no_zombies() {
    on_a_host(|host| {
        // An attachment that has something to delete first: the name's container of before is gone.
        let old = host.attached("web", "-p 8080:80");
        old.delete();
        let state = sleeping(host, &["-p", "8080:80"]);
        let zombies = || {
            let all = qiao_testbed::stdout("ps -e -o ppid,stat");
            let own = format!("{} Z", state["supervisor"]["pid"]);
            all.lines()
                .filter(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(&own))
                .count()
        };
        assert!(eventually(Duration::from_secs(10), || zombies() == 0), "zombies are left");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(zombies(), 0);
        host.ok("rm -f web");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn who_is_left_behind_in_a_container_is_buried() {
    on_a_host(|host| {
        // Its parent ends, and it is in a session of its own.
        let orphan = "setsid sh -c 'sleep 3.7 & exit' & sleep 1000";
        let words = ["run", "-d", "--name", "web", "--network", "none", "--", "sh", "-c", orphan];
        assert_eq!(host.qiao.words(&words).code, Some(0));
        let processes = |is: &dyn Fn(&str) -> bool| {
            bury();
            qiao_testbed::stdout("ps -e -o stat,args").lines().filter(|line| is(line)).count()
        };
        let runs = |line: &str| line.starts_with('S') && line.ends_with(" sleep 3.7");
        assert!(eventually(Duration::from_secs(10), || processes(&runs) == 1), "the control: it runs");
        assert!(eventually(Duration::from_secs(10), || processes(&runs) == 0), "the control: it ends");
        let is_zombie = |line: &str| line.starts_with('Z');
        assert!(eventually(Duration::from_secs(10), || processes(&is_zombie) == 0), "a zombie is left");
        host.ok("rm -f web");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_run_itself_refuses_ends_with_125() {
    on_a_host(|host| {
        for line in [
            "run alpine",
            "run --colour -- true",
            "run --network nosuch -- true",
            "run -v /nosuch:/x -- true",
        ] {
            let outcome = host.qiao.run(line);
            assert_eq!(outcome.code, Some(125), "`qiao {line}`: {outcome}");
        }
        let image = host.qiao.run("run alpine sh");
        assert!(image.code == Some(125) && image.stderr.contains("There are no images"), "{image}");
        for (code, command) in
            [(127, &["/nosuch"][..]), (126, &["/etc/passwd"]), (7, &["sh", "-c", "exit 7"])]
        {
            let words = [&["run", "--rm", "--network", "none", "--"], command].concat();
            assert_eq!(host.qiao.words(&words).code, Some(code), "{command:?}");
        }
        let named = host.ok("run --rm --network none -h box -- uname -n");
        assert_eq!(named.stdout, "box\n");
        assert!(host.ok("run --help").stdout.contains("--hostname"));
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn everybody_may_ping() {
    on_a_host(|host| {
        let socket =
            "import socket;socket.socket(socket.AF_INET,socket.SOCK_DGRAM,socket.IPPROTO_ICMP);print('may')";
        let outside = std::process::Command::new("setpriv")
            .args(["--reuid", "1000", "--regid", "1000", "--clear-groups", "python3", "-c", socket])
            .output()
            .unwrap();
        assert!(!outside.status.success(), "the control: not on the host");
        let words = ["run", "--rm", "--network", "none", "-u", "1000", "--", "python3", "-c", socket];
        assert_eq!(host.qiao.words(&words).stdout, "may\n");
    });
}

/// Every command that tells anything tells it as one object on one line, with its schema.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_command_has_a_schema() {
    on_a_host(|host| {
        host.container("web");
        for (line, schema) in [
            ("version", "version"),
            ("info", "info"),
            ("config show", "settings"),
            ("config check", "config-check"),
            ("network create front --dry-run", "plan"),
            ("network create front", "network"),
            ("network ls", "networks"),
            ("network inspect front", "networks"),
            ("plan attach web --netns /run/netns/web", "plan"),
            ("attach web --netns /run/netns/web --network front -p 80:80", "endpoint"),
            ("network connect bridge web", "endpoint"),
            ("network allocations", "allocations"),
            ("ps -a", "containers"),
            ("port", "ports"),
            ("port web", "ports"),
            ("dns ls", "names"),
            ("check", "check"),
            ("repair", "repair"),
            ("gc", "repair"),
            ("network disconnect bridge web", "detached"),
            ("plan detach web", "plan"),
            ("detach web", "detached"),
            ("network rm front", "removed"),
            ("network prune", "removed"),
            ("run -d --name c --network none -- sh -c 'echo'", "container"),
            ("stop -t 0 c", "stopped"),
            ("rm c", "removed"),
        ] {
            let outcome = host.ok(&format!("--json {line}"));
            assert_eq!(outcome.stdout.lines().count(), 1, "{line}: {outcome}");
            assert_eq!(outcome.json()["schema"], format!("qiao.{schema}/1"), "{line}: {outcome}");
            let plan = &outcome.json()["plan"];
            let has_plan = plan.as_array().is_some_and(|plan| !plan.is_empty());
            assert_eq!(has_plan, matches!(schema, "endpoint" | "detached"), "{line}: {outcome}");
        }
        let unknown = host.qiao.run("--json logs nosuch");
        assert_eq!((unknown.code, unknown.json()["schema"].as_str()), (Some(4), Some("qiao.error/1")));
    });
}

/// The command of `netns` stands behind `--`, or not, as that of `exec`.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn tools_of_the_host_run_in_its_network() {
    on_a_host(|host| {
        host.attached("web", "");
        for line in ["netns web -- ip -br addr show dev eth0", "netns web ip -br addr show dev eth0"] {
            assert!(host.ok(line).stdout.contains("172.17.0.2/16"), "{line}");
        }
        assert_eq!(host.ok("netns web -- echo -- --json").stdout, "-- --json\n");
        assert_eq!(host.qiao.run("netns web -- sh -c false").code, Some(1));
        assert_eq!(host.qiao.run("netns web").code, Some(2));
    });
}
