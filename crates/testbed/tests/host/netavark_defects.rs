//! What netavark 2.1.0 was seen to do wrong (`docs/podman.md` has the list), and ours does not. Of the letters there,
//! A, E, F, G and H are with Podman too (`clients/netavark_*`).

use crate::netavark::{
    AARDVARK, CONFIG, call, command, error, network, ok, on, publishing, setup, teardown, told,
};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Place, Protocol, Service, ask, eventually, run, stdout};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// The same network with names.
fn named(mut network: Value) -> Value {
    network["dns_enabled"] = true.into();
    network
}

/// A program of our own; its path.
fn program(name: &str, text: &str) -> String {
    let dir = "/run/programs";
    fs::create_dir_all(dir).expect("a directory");
    let path = format!("{dir}/{name}");
    fs::write(&path, text).expect("a program");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    path
}

fn folder() -> String {
    format!("{CONFIG}/aardvark-dns")
}

/// A process that looks like a name server, and counts how often it is told to read its files.
fn server_that_counts() -> Child {
    let script = "import os, signal, sys, time\n\
        def told(*_): open('/run/told', 'a').write('x')\n\
        signal.signal(signal.SIGHUP, told)\n\
        open(sys.argv[2] + '/aardvark.pid', 'w').write(str(os.getpid()))\n\
        open('/run/told', 'w')\n\
        while True: time.sleep(1)\n";
    fs::create_dir_all(folder()).expect("the folder");
    let mut command = Command::new("/usr/bin/python3");
    command.arg0("aardvark-dns").args(["-c", script, "--config", &folder(), "-p", "53", "run"]);
    let child = command.stdin(Stdio::null()).spawn().expect("python3");
    assert!(eventually(PATIENCE, || Path::new("/run/told").exists()), "it does not run");
    child
}

/// Whether the host is told where `c1` is. Debian's name server returns before it has bound its addresses.
fn is_found() -> bool {
    let words = ["nslookup", "name-of-c1.dns.podman", "10.89.1.1"];
    let output = Command::new("busybox").args(words).output().expect("busybox");
    String::from_utf8_lossy(&output.stdout).contains("Address: 10.89.1.7")
}

fn told_times() -> usize {
    fs::read("/run/told").map_or(0, |text| text.len())
}

/// B: what fails leaves nothing, whichever part of it fails.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn b_what_fails_leaves_nothing() {
    on_a_host(|host| {
        let (other, place) = (host.container("other"), host.container("c1"));
        let (one, two) = (named(network(1, true)), network(2, false));
        let resident = publishing(on("other", 7, &[&two, &network(3, true)]), &[("", 8079, 80)]);
        setup(host, &other, &resident);
        ok(host, &["update", "net1", "--network-dns-servers", ""], &Value::Null);
        let before = host.snapshot();
        let options = publishing(on("c1", 7, &[&one, &two]), &[("", 8080, 80)]);
        // The second network: its address is somebody else's.
        let said = error(&call(host, &["setup", &place.path()], &options));
        assert!(said.contains("10.89.2.7") && said.contains("is taken by other"), "{said}");
        place.run("ip link set lo down");
        host.assert_like(&before, "a second network that fails");
        // The name server, which is started last.
        let broken = program("aardvark-broken", "#!/bin/sh\necho 'cannot bind' >&2\nexit 1\n");
        let options = on("c1", 8, &[&one, &two]);
        let words = [&format!("--aardvark-binary={broken}"), "setup", &place.path()];
        let said = error(&call(host, &words, &options));
        assert!(said.contains("cannot bind"), "{said}");
        place.run("ip link set lo down");
        let _ = fs::remove_dir(folder());
        let _ = fs::remove_file(format!("{CONFIG}/aardvark.lock"));
        let _ = fs::remove_dir(CONFIG);
        host.assert_like(&before, "a name server that does not start");
        // The file of the second network.
        fs::create_dir_all(format!("{CONFIG}/.aardvark-net4")).expect("what is in the way");
        let both = on("c1", 8, &[&one, &named(network(4, false))]);
        let said = error(&call(host, &["setup", &place.path()], &both));
        assert!(said.contains("dns entries"), "{said}");
        assert!(!Path::new(&format!("{}/net1", folder())).exists(), "a name of nobody is left");
        setup(host, &place, &options);
    });
}

/// The numbers of name servers.
fn servers() -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let numbers = processes.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_server = |number: &String| {
        let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        line.starts_with(format!("{AARDVARK}\0--config").as_bytes())
    };
    numbers.filter(is_server).collect()
}

/// B: the name server begins while the networks are made. Who is killed meanwhile leaves none, and nobody's names.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn b_who_is_killed_leaves_no_name_server() {
    on_a_host(|host| {
        let (other, place) = (host.container("other"), host.container("c1"));
        setup(host, &other, &on("other", 7, &[&network(2, false)]));
        let options = on("c1", 7, &[&named(network(1, false))]);
        assert_eq!(servers(), Vec::<String>::new());
        // It waits for the lock that every change needs.
        let lock = fs::File::open(format!("{}/lock", host.qiao.run_dir())).expect("the lock");
        lock.lock().expect("the lock");
        let mut command = command(host, &["setup", &place.path()]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("netavark");
        serde_json::to_writer(child.stdin.take().expect("its input"), &options).expect("its input");
        assert!(eventually(PATIENCE, || servers().len() == 1), "none has begun: {:?}", servers());
        assert!(!Path::new(&format!("{}/aardvark.pid", folder())).exists(), "it serves already");
        child.kill().and_then(|()| child.wait()).expect("netavark");
        assert!(eventually(PATIENCE, || servers().is_empty()), "{:?}", servers());
        assert!(!Path::new(&folder()).exists(), "names of nobody");
        drop(lock);
        setup(host, &place, &options);
        assert!(eventually(PATIENCE, is_found), "nobody tells where it is");
        let number = fs::read_to_string(format!("{}/aardvark.pid", folder())).expect("the number");
        assert_eq!(servers(), [number]);
    });
}

/// B: settings are made while the name server reads. Where they cannot be, it forgets what it has read.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn b_settings_that_fail_leave_no_name() {
    on_a_host(|host| {
        let (other, place) = (host.container("other"), host.container("c1"));
        let (net1, net2) = (named(network(1, false)), named(network(2, false)));
        // With them the rest is as it is: only their own is missing now.
        setup(host, &other, &on("other", 9, &[&network(3, false)]));
        setup(host, &place, &on("c1", 7, &[&net1]));
        teardown(host, &place, &on("c1", 7, &[&net1]));
        assert!(eventually(PATIENCE, || servers().is_empty()), "{:?}", servers());
        let before = host.snapshot();
        let fails = |when: &str, options: &Value| {
            run("mount -o bind /proc/sys /proc/sys");
            run("mount -o remount,ro,bind /proc/sys");
            let said = error(&call(host, &["setup", &place.path()], options));
            run("umount /proc/sys");
            assert!(said.contains("must have") && said.contains("Read-only"), "{when}, as was meant: {said}");
            place.run("ip link set lo down");
        };
        fails("no name server", &on("c1", 7, &[&net1]));
        assert!(eventually(PATIENCE, || servers().is_empty()), "{:?}", servers());
        host.assert_like(&before, "a first container whose settings fail");
        setup(host, &host.container("third"), &on("third", 8, &[&net2]));
        let before = host.snapshot();
        fails("one that runs", &on("c1", 7, &[&net1, &net2]));
        host.assert_like(&before, "a container whose settings fail");
        let answers = |name: &str| {
            let words = ["nslookup", name, "10.89.2.1"];
            let output = Command::new("busybox").args(words).output().expect("busybox");
            String::from_utf8_lossy(&output.stdout).contains("Address: 10.89.2.")
        };
        assert!(answers("name-of-third.dns.podman"), "the control");
        assert!(!answers("name-of-c1.dns.podman"), "the name of nobody");
        setup(host, &place, &on("c1", 7, &[&net1]));
        assert!(eventually(PATIENCE, is_found), "nobody tells where it is");
    });
}

/// A network's name is no path: what is elsewhere stays.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn b_no_file_is_touched_but_the_networks_own() {
    on_a_host(|host| {
        let place = host.container("c1");
        fs::create_dir_all(folder()).expect("the folder");
        let path = format!("{CONFIG}/other");
        fs::write(&path, "10.0.0.1\nc1 10.0.0.2  c1\n").expect("a file of somebody else's");
        let mut net = named(network(1, false));
        net["name"] = "../other".into();
        let options = on("c1", 7, &[&net]);
        let said = error(&call(host, &["setup", &place.path()], &options));
        assert!(said.contains("it is no file name"), "{said}");
        teardown(host, &place, &options);
        assert_eq!(fs::read_to_string(&path).expect("the file"), "10.0.0.1\nc1 10.0.0.2  c1\n");
    });
}

/// C: the number that the name server had belongs to another process now.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn c_only_the_name_server_is_told() {
    on_a_host(|host| {
        let place = host.container("c1");
        let options = on("c1", 7, &[&named(network(1, false))]);
        let mut sleeper = Command::new("sleep").arg("100").spawn().expect("sleep");
        fs::create_dir_all(folder()).expect("the folder");
        let pid_file = format!("{}/aardvark.pid", folder());
        fs::write(&pid_file, sleeper.id().to_string()).expect("the number");
        setup(host, &place, &options);
        assert_eq!(sleeper.try_wait().expect("sleep"), None, "somebody else got the signal");
        let server = fs::read_to_string(&pid_file).expect("the number");
        assert_ne!(server, sleeper.id().to_string());
        let line =
            fs::read_to_string(format!("/proc/{server}/cmdline")).expect("the server").replace('\0', " ");
        assert_eq!(line.trim(), format!("{AARDVARK} --config {} -p 53 run", folder()));
        assert!(eventually(PATIENCE, is_found), "nobody tells where it is");
        teardown(host, &place, &options);
        let ended = || !Path::new(&pid_file).exists() && !Path::new(&format!("/proc/{server}/exe")).exists();
        assert!(eventually(PATIENCE, ended), "the server goes on without a network");
        sleeper.kill().and_then(|()| sleeper.wait()).expect("sleep");
    });
}

/// A server that is about to end when it is told of another container: that one has names all the same.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn c_a_server_that_ends_is_followed_by_another() {
    on_a_host(|host| {
        let place = host.container("c1");
        fs::create_dir_all(folder()).expect("the folder");
        // Whoever has read its number finds that the file is gone.
        let script = "import os, signal, sys, time\n\
            signal.signal(signal.SIGHUP, lambda *_: None)\n\
            path = sys.argv[2] + '/aardvark.pid'\n\
            os.mkfifo(path)\n\
            file = open(path, 'w')\n\
            file.write(str(os.getpid()))\n\
            os.unlink(path)\n\
            file.close()\n\
            time.sleep(0.3)\n";
        let mut command = Command::new("/usr/bin/python3");
        command.arg0("aardvark-dns").args(["-c", script, "--config", &folder(), "-p", "53", "run"]);
        let mut ending = command.stdin(Stdio::null()).spawn().expect("python3");
        let pid_file = format!("{}/aardvark.pid", folder());
        assert!(eventually(PATIENCE, || Path::new(&pid_file).exists()), "it does not run");
        setup(host, &place, &on("c1", 7, &[&named(network(1, false))]));
        assert!(ending.wait().expect("an end").success());
        assert!(eventually(PATIENCE, is_found), "nobody tells where it is");
    });
}

/// D: a container reaches its own published port, where bridged frames pass the routing hooks too.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d_a_container_reaches_itself() {
    on_a_host(|host| {
        let switch = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        let values = if Path::new(switch).exists() { vec!["0", "1"] } else { vec![""] };
        for (value, n) in values.into_iter().zip(1..) {
            if !value.is_empty() {
                fs::write(switch, value).expect("br_netfilter");
            }
            let place = host.container(&format!("c{n}"));
            let port = 8080 + u16::from(n);
            setup(host, &place, &publishing(on(place.name(), 7, &[&network(n, true)]), &[("", port, 80)]));
            let _server = Service::start(&place, Protocol::Tcp, "[::]:80");
            for to in [format!("192.0.2.1:{port}"), format!("[2001:db8::1]:{port}")] {
                let reached = || ask(&place, Protocol::Tcp, &to).is_some();
                assert!(eventually(PATIENCE, reached), "{to} with {value:?}");
            }
        }
    });
}

/// E: a namespace vanishes without teardown; the next container takes its address and its port.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn e_who_is_gone_keeps_nothing() {
    on_a_host(|host| {
        let first = host.container("first");
        setup(host, &first, &publishing(on("first", 7, &[&network(1, false)]), &[("", 8080, 80)]));
        let other = host.container("other");
        setup(host, &other, &on("other", 9, &[&network(1, false)]));
        [first, other].into_iter().for_each(Place::delete);
        let second = host.container("second"); // the port
        setup(host, &second, &publishing(on("second", 8, &[&network(1, false)]), &[("", 8080, 80)]));
        let third = host.container("third"); // the address
        setup(host, &third, &on("third", 9, &[&network(1, false)]));
        let _server = Service::start(&second, Protocol::Tcp, "0.0.0.0:80");
        assert!(
            ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some_and(|text| text.starts_with("second"))
        );
    });
}

fn rules() -> String {
    stdout("nft -s list ruleset")
}

/// F: reloading what is there changes nothing, and what was flushed is there again.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn f_reloading_is_idempotent() {
    on_a_host(|host| {
        let place = host.container("c1");
        setup(host, &place, &publishing(on("c1", 7, &[&network(1, false)]), &[("", 8080, 80)]));
        let before = rules();
        for flush in [false, true, false] {
            if flush {
                run("nft flush ruleset");
            }
            assert_eq!(ok(host, &["firewall-reload"], &Value::Null).stdout, "");
            assert_eq!(rules(), before);
        }
    });
}

/// G: at once on a new network.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn g_twenty_at_once_are_one_rule_set() {
    on_a_host(|host| {
        let constant = || {
            let text = rules();
            let lines = text.lines().filter(|line| !line.contains("qiao:ep:") && !line.contains("elements"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let first = host.container("first");
        let options = on("first", 99, &[&network(1, true)]);
        let before = host.snapshot();
        setup(host, &first, &options);
        let alone = constant();
        teardown(host, &first, &options);
        let places: Vec<Place> = (1..=20).map(|n| host.container(&format!("c{n}"))).collect();
        let options = |n: u8| {
            publishing(on(&format!("c{n}"), n + 1, &[&network(1, true)]), &[("", 8000 + u16::from(n), 80)])
        };
        let all = |act: &(dyn Fn(&Place, u8) + Sync)| {
            thread::scope(|scope| {
                places.iter().zip(1..).for_each(|(place, n)| drop(scope.spawn(move || act(place, n))));
            });
        };
        all(&|place, n| drop(setup(host, place, &options(n))));
        assert_eq!(constant(), alone);
        all(&|place, n| teardown(host, place, &options(n)));
        first.run("ip link set lo down");
        host.assert_like(&before, "twenty containers at once");
    });
}

/// H: `[::1]`, and `::1` of a port on all addresses.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn h_loopback_of_both_families() {
    on_a_host(|host| {
        let place = host.container("c1");
        let ports = [("", 8080, 80), ("::1", 8081, 80), ("127.0.0.1", 8082, 80)];
        setup(host, &place, &publishing(on("c1", 7, &[&network(1, false)]), &ports));
        let _server = Service::start(&place, Protocol::Tcp, "0.0.0.0:80");
        for to in ["127.0.0.1:8080", "[::1]:8080", "[::1]:8081", "127.0.0.1:8082"] {
            assert!(ask(&Place::HOST, Protocol::Tcp, to).is_some_and(|text| text.starts_with("c1")), "{to}");
        }
        for to in ["192.0.2.1:8081", "192.0.2.1:8082"] {
            assert_eq!(ask(&host.lan, Protocol::Tcp, to), None, "{to}");
        }
    });
}

/// I and J: every update is told to the server, of an internal network too.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn i_and_j_updates_reach_the_server() {
    on_a_host(|host| {
        let place = host.container("c1");
        let mut server = server_that_counts();
        let mut internal = named(network(2, false));
        internal["internal"] = true.into();
        setup(host, &place, &on("c1", 7, &[&named(network(1, false)), &internal]));
        assert!(eventually(PATIENCE, || told_times() == 1), "it is told of the container");
        let files = [("net1", "net1", "10.89.1.1"), ("net2", "net2%int", "10.89.2.1")];
        for (network, file, listen) in files {
            for servers in ["1.1.1.1,8.8.8.8", ""] {
                let before = told_times();
                ok(host, &["update", network, "--network-dns-servers", servers], &Value::Null);
                assert!(
                    eventually(PATIENCE, || told_times() == before + 1),
                    "{network} {servers:?}: nobody was told"
                );
                let text = fs::read_to_string(format!("{}/{file}", folder())).expect("the network's file");
                assert_eq!(text.lines().next(), Some(format!("{listen} {servers}").trim()), "{network}");
            }
        }
        let before = told_times();
        ok(host, &["update", "nosuch", "--network-dns-servers", "1.1.1.1"], &Value::Null);
        assert_eq!(told_times(), before);
        server.kill().and_then(|()| server.wait()).expect("the server");
    });
}

/// K: a container whose id is in another one's line.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn k_only_the_own_line_goes() {
    on_a_host(|host| {
        let net = named(network(1, false));
        let options = [("abc", 7), ("abcdef", 8), ("c1-abc", 9)].map(|(name, last)| on(name, last, &[&net]));
        let places = ["abc", "abcdef", "c1-abc"].map(|name| host.container(name));
        places.iter().zip(&options).for_each(|(place, options)| drop(setup(host, place, options)));
        teardown(host, &places[0], &options[0]);
        let text = fs::read_to_string(format!("{}/net1", folder())).expect("the network's file");
        let ids: Vec<_> = text.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(ids, ["abcdef", "c1-abc"]);
    });
}

/// L: twice, without the namespace, without anything ever having been there.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn l_teardown_again_succeeds() {
    on_a_host(|host| {
        let place = host.container("c1");
        let options =
            publishing(on("c1", 7, &[&named(network(1, true)), &network(2, false)]), &[("", 8080, 80)]);
        teardown(host, &place, &options);
        let before = host.snapshot();
        setup(host, &place, &options);
        teardown(host, &place, &options);
        teardown(host, &place, &options);
        setup(host, &place, &options);
        place.delete();
        for _ in 0..2 {
            let outcome = call(host, &["teardown", "/run/netns/c1"], &options);
            assert_eq!((outcome.code, &*outcome.stdout), (Some(0), ""), "{outcome}");
            assert!(
                outcome.stderr.starts_with("[WARN  netavark::commands::teardown] container netns not found")
            );
        }
        let ended = || !Path::new(&format!("{}/aardvark.pid", folder())).exists();
        assert!(eventually(PATIENCE, ended));
        let _ = (
            fs::remove_dir(folder()),
            fs::remove_file(format!("{CONFIG}/aardvark.lock")),
            fs::remove_dir(CONFIG),
        );
        host.assert_like(&before, "teardowns");
    });
}

/// M: a plugin that reads nothing of what it is told, however much that is; and one that fails.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn m_plugins_need_not_read() {
    on_a_host(|host| {
        let place = host.container("c1");
        let reply = r#"{"interfaces":{"eth1":{"mac_address":"02:00:00:00:00:01","subnets":[]}}}"#;
        program("mute", &format!("#!/bin/sh\necho \"$1 $2\" >> /run/asked\necho '{reply}'\n"));
        program(
            "failing",
            "#!/bin/sh\necho \"$1\" >> /run/asked\n[ $1 = setup ] && echo '{\"error\":\"no such wire\"}' && exit 1\n",
        );
        let theirs = |driver: &str| {
            json!({
                "name": "wire", "id": format!("{:064x}", 9), "driver": driver, "ipv6_enabled": false,
                "internal": false, "dns_enabled": false, "subnets": [],
            })
        };
        let many: Vec<_> = (1..4000).map(|n| ("", 20000 + n, n)).collect();
        let words = ["--plugin-directory=/run/programs", "setup", &place.path()];
        let mut options = on("c1", 7, &[&network(1, false), &theirs("mute")]);
        let said = ok(host, &words, &options).json();
        assert_eq!(said["wire"]["interfaces"]["eth1"]["mac_address"], "02:00:00:00:00:01");
        ok(host, &["--plugin-directory=/run/programs", "teardown", &place.path()], &options);
        options = publishing(on("c1", 7, &[&theirs("mute")]), &many);
        ok(host, &words, &options);
        let asked = fs::read_to_string("/run/asked").expect("it was asked");
        assert_eq!(
            asked.lines().filter(|line| line.starts_with("setup /run/netns/c1")).count(),
            2,
            "{asked}"
        );
        place.run("ip link set lo down");
        let before = host.snapshot();
        let failing = on("c1", 7, &[&network(1, false), &theirs("failing")]);
        let said = error(&call(host, &words, &failing));
        assert!(said.contains("no such wire"), "{said}");
        place.run("ip link set lo down");
        host.assert_like(&before, "a plugin that fails");
        assert!(fs::read_to_string("/run/asked").expect("it was asked").ends_with("setup\nteardown\n"));
    });
}

fn creating(driver: &str, more: &Value) -> Value {
    let mut network = json!({
        "id": format!("{:064x}", 5), "name": "made", "driver": driver, "ipv6_enabled": false,
        "internal": false, "dns_enabled": false,
    });
    for (key, value) in more.as_object().expect("an object") {
        network[key] = value.clone();
    }
    json!({
        "network": network, "used": {"interfaces": [], "names": {}, "subnets": []},
        "options": {
            "subnet_pools": [{"base": "10.89.0.0/16", "size": 24}], "default_interface_name": "podman",
            "check_used_subnets": true,
        },
    })
}

/// N: members go out under the address that the network names; it can be created so.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn n_members_go_out_as_the_network_says() {
    on_a_host(|host| {
        let options = json!({"options": {"outbound_addr4": "192.0.2.9"}});
        let made = ok(host, &["create"], &creating("bridge", &options)).json();
        assert_eq!(made["options"], options["options"]);
        assert_eq!(made["subnets"][0]["subnet"], "10.89.0.0/24");
        let place = host.container("c1");
        setup(host, &place, &on("c1", 7, &[&made]));
        let _outside = Service::start(&host.lan, Protocol::Tcp, "0.0.0.0:99");
        assert_eq!(ask(&place, Protocol::Tcp, "192.0.2.100:99").as_deref(), Some("lan 192.0.2.9"));
        let other = host.container("c2");
        setup(host, &other, &on("c2", 7, &[&network(2, false)]));
        assert_eq!(ask(&other, Protocol::Tcp, "192.0.2.100:99").as_deref(), Some("lan 192.0.2.1"));
        error(&call(host, &["create"], &creating("bridge", &json!({"options": {"outbound_addr4": "x"}}))));
    });
}

/// O: what fails inside the container's namespace is taken back outside.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn o_what_fails_inside_is_taken_back_outside() {
    on_a_host(|host| {
        let place = host.container("c1");
        let before = host.snapshot();
        let mut net = network(1, false);
        net["routes"] = json!([{"destination": "10.200.0.0/16", "gateway": "10.77.0.1"}]);
        let said = error(&call(host, &["setup", &place.path()], &on("c1", 7, &[&net])));
        assert!(said.contains("10.200.0.0/16"), "the failure that was meant: {said}");
        place.run("ip link set lo down");
        assert!(!place.stdout("ip -o link").contains("eth0"));
        host.assert_like(&before, "a route to nowhere");
    });
}

/// P: whoever reads a file of names at any moment reads a whole one.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn p_files_of_names_are_always_whole() {
    on_a_host(|host| {
        let net = named(network(1, false));
        let resident = host.container("resident");
        let places: Vec<Place> = (1..=4).map(|n| host.container(&format!("c{n}"))).collect();
        setup(host, &resident, &on("resident", 99, &[&net]));
        let path = format!("{}/net1", folder());
        let done = std::sync::atomic::AtomicBool::new(false);
        let reads = thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut reads = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let text = fs::read_to_string(&path).expect("the file is always there");
                    let whole = text.ends_with('\n')
                        && text.starts_with("10.89.1.1\n")
                        && text.contains("resident 10.89.1.99");
                    assert!(
                        whole && text.lines().skip(1).all(|line| line.split(' ').count() == 4),
                        "{text:?}"
                    );
                    assert!(
                        fs::read_dir(folder()).expect("the folder").count() <= 2,
                        "something else is there"
                    );
                    reads += 1;
                }
                reads
            });
            let writers: Vec<_> = places
                .iter()
                .zip(1..)
                .map(|(place, n)| {
                    let options = on(place.name(), n + 1, &[&net]);
                    scope.spawn(move || {
                        for _ in 0..10 {
                            setup(host, place, &options);
                            teardown(host, place, &options);
                        }
                    })
                })
                .collect();
            writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            reader.join().expect("the reader")
        });
        assert!(reads > 100, "{reads}");
    });
}

/// What is made wrong.
type Change<'a> = &'a dyn Fn(&mut Value);

/// What makes no sense is refused before anything is done, with one text.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn nonsense_is_refused() {
    on_a_host(|host| {
        let place = host.container("c1");
        let before = host.snapshot();
        let with = |change: &dyn Fn(&mut Value)| {
            let mut options = publishing(on("c1", 7, &[&network(1, false)]), &[("", 8080, 80)]);
            change(&mut options);
            options
        };
        let changes: [(&str, Change<'_>); 12] = [
            ("container id", &|o| o["container_id"] = "../../etc".into()),
            ("interface", &|o| o["networks"][0]["interface_name"] = "a/b".into()),
            ("address", &|o| o["networks"][0]["static_ips"] = json!(["10.1.1.1"])),
            ("MAC", &|o| o["networks"][0]["static_mac"] = "nonsense".into()),
            ("port", &|o| o["port_mappings"][0]["host_port"] = 0.into()),
            ("range", &|o| o["port_mappings"][0]["range"] = 60000.into()),
            ("protocol", &|o| o["port_mappings"][0]["protocol"] = "icmp".into()),
            ("host address", &|o| o["port_mappings"][0]["host_ip"] = "x".into()),
            ("MTU", &|o| o["network_info"]["net1"]["options"] = json!({"mtu": "x"})),
            ("isolate", &|o| o["network_info"]["net1"]["options"] = json!({"isolate": "maybe"})),
            ("driver", &|o| o["network_info"]["net1"]["driver"] = "overlay".into()),
            ("bridge", &|o| o["network_info"]["net1"]["network_interface"] = Value::Null),
        ];
        for (what, change) in changes {
            let said = error(&call(host, &["setup", &place.path()], &with(change)));
            assert!(!said.is_empty(), "{what}");
        }
        let usage = told(command(host, &["--nosuch"]), "");
        assert_eq!((usage.code, &*usage.stdout), (Some(2), ""), "{usage}");
        host.assert_like(&before, "nonsense");
    });
}
