//! R-INP 30: every word is looked at before anything is touched. Each is refused with exit code 2 (or 5, where it
//! is right in itself, such as the gateway's address) and a message, and the host is as before.

use qiao_testbed::Host;
use qiao_testbed::namespaces::on_a_host;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What must not pass where a name is wanted.
const NAMES: &[&[u8]] = &[
    b"",
    b".",
    b"..",
    b"../x",
    b"a/b",
    b"/etc/passwd",
    b"-x",
    b"--json",
    b"_a",
    b" a",
    b"a b",
    b"a\nb",
    b"a\x1b[31m",
    b"a\xff",
    b"\xf0\x9f\x90\xb3",
    b"a%d",
    b"a@eth0",
    b"a:b",
    b"a\"b",
    b"a;reboot",
    b"$(id)",
];

fn long() -> Vec<u8> {
    vec![b'a'; 129]
}

/// Runs words in which `*` is the hostile one; it must be refused.
fn refused(host: &Host, line: &str, hostile: &[u8]) -> Result<(), String> {
    let words: Vec<OsString> = line
        .split_whitespace()
        .map(|word| match word.split_once('*') {
            Some((before, after)) => {
                OsString::from(OsStr::from_bytes(&[before.as_bytes(), hostile, after.as_bytes()].concat()))
            }
            None => word.into(),
        })
        .collect();
    let outcome = host.qiao.words(&words);
    let text = format!("`{line}` with {:?}: {outcome}", String::from_utf8_lossy(hostile));
    let raw = outcome.stderr.bytes().any(|byte| byte < b' ' && byte != b'\n') && !hostile.is_empty();
    match outcome.code {
        _ if raw => Err(format!("control characters are printed: {text:?}")),
        Some(2 | 5) if !outcome.stderr.is_empty() => Ok(()),
        _ => Err(text),
    }
}

/// Each hostile word in each of the lines is refused, and nothing has changed.
fn all_refused(host: &Host, lines: &[&str], hostile: &[&[u8]]) {
    host.ok("network create front --subnet 172.30.0.0/24");
    host.container("c");
    let before = host.snapshot();
    let tried = lines.iter().flat_map(|line| hostile.iter().map(move |word| refused(host, line, word)));
    let wrong: Vec<String> = tried.filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} were not refused as they must:\n{}", wrong.len(), wrong.join("\n"));
    host.assert_like(&before, "hostile words");
    let attached = host.ok("attach c --netns /run/netns/c --network front -p 8080:80");
    assert_eq!(attached.code, Some(0), "the control: honest words are not refused");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_namespace_under_two_names() {
    on_a_host(|host| {
        host.ok("network create front --ipv6");
        host.ok("network create back --ipv6");
        let web = host.attached("web", "--network front");
        let routes = || [web.stdout("ip route"), web.stdout("ip -6 route")].concat();
        let defaults =
            || routes().lines().filter(|line| line.starts_with("default")).map(str::to_owned).collect();
        let first: Vec<String> = defaults();
        let again = |network: &str| format!("attach again --netns {} --network {network}", web.path());
        let outcome = host.refused(5, &again("front"));
        assert!(outcome.stderr.contains("endpoint web/eth0"), "{outcome}");
        host.refused(5, &format!("{} --ifname eth0", again("back")));
        host.ok(&again("back"));
        let now: Vec<String> = defaults();
        assert_eq!((first.len(), &now), (2, &first));
        host.ok("check");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn names() {
    on_a_host(|host| {
        let long = long();
        let hostile: Vec<&[u8]> =
            NAMES.iter().copied().filter(|n| !n.starts_with(b"-")).chain([&*long]).collect();
        all_refused(
            host,
            &[
                "network create *",
                "attach * --netns /run/netns/c --network front",
                "attach c --netns /run/netns/c --network *",
                "detach *",
                "network connect front *",
            ],
            &hostile,
        );
    });
}

/// A word that begins with a dash is an option, wherever it stands, and an unknown one.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn options_in_the_place_of_names() {
    on_a_host(|host| {
        let lines = ["network create *", "attach * --netns /run/netns/c", "detach *", "network rm *"];
        all_refused(host, &lines, &[b"-x", b"--unknown", b"--netns=/x="]);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn interface_names() {
    on_a_host(|host| {
        let hostile: &[&[u8]] = &[
            b"",
            b".",
            b"..",
            b"a/b",
            b"a b",
            b"eth%d",
            b"sixteen-letters-",
            b"a\n",
            b"\xff",
            b"a:b",
            b"lo",
            b"all",
            b"default",
        ];
        let lines =
            ["attach c --netns /run/netns/c --network front --ifname=*", "network create x -o name=*"];
        all_refused(host, &lines, hostile);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn ports() {
    on_a_host(|host| {
        let hostile: &[&[u8]] = &[
            b"",
            b"0",
            b"0:80",
            b"80:0",
            b"65536",
            b"80:65536",
            b"-1:80",
            b"+1:80",
            b"80-79:80-79",
            b"1-2:1-3",
            b"80:80/icmp",
            b"80:80/",
            b"80:80:80:80",
            b"999.1.1.1:80:80",
            b"[::1:80:80",
            b"a:80",
            b"224.0.0.1:80:80",
            b"255.255.255.255:80:80",
            b"80 :80",
            b"0x50:80",
            b"080080080:80",
            b"1-65536:80",
            b"99999999999999999999:80",
            b"80:80\n81:81",
            b"\xff:80",
        ];
        all_refused(host, &["attach c --netns /run/netns/c --network front -p*"], hostile);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn addresses() {
    on_a_host(|host| {
        let hostile: &[&[u8]] = &[
            b"",
            b"x",
            b"172.30.0.0",
            b"172.30.0.1",
            b"172.30.0.255",
            b"172.30.1.2",
            b"127.0.0.1",
            b"0.0.0.0",
            b"224.0.0.1",
            b"255.255.255.255",
            b"172.30.0.256",
            b"172.30.0.2/24",
            b"172.030.0.2",
            b"fd00::2",
        ];
        all_refused(host, &["attach c --netns /run/netns/c --network front --ip=*"], hostile);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn hardware_addresses() {
    on_a_host(|host| {
        let hostile: &[&[u8]] = &[
            b"",
            b"x",
            b"00:00:00:00:00:00",
            b"ff:ff:ff:ff:ff:ff",
            b"01:00:5e:00:00:01",
            b"02:00:00:00:00",
            b"02:00:00:00:00:01:02",
            b"02:00:00:00:00:0g",
            b"02-00-00-00-00-01:",
        ];
        all_refused(host, &["attach c --netns /run/netns/c --network front --mac-address=*"], hostile);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn subnets() {
    on_a_host(|host| {
        let hostile: &[&[u8]] = &[
            b"",
            b"x",
            b"10.9.0.0",
            b"10.9.0.0/33",
            b"10.9.0.0/-1",
            b"10.9.0.0/0",
            b"0.0.0.0/0",
            b"127.0.0.0/8",
            b"127.1.0.0/16",
            b"224.0.0.0/24",
            b"240.0.0.0/24",
            b"169.254.0.0/33",
            b"10.9.0.0/32",
            b"::/0",
            b"ff00::/64",
            b"fd00::/129",
            b"::1/128",
            b"10.9.0.0/24 ",
            b"10.9.0.0/24\n",
        ];
        all_refused(host, &["network create x --subnet=*"], hostile);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn gateways_and_ranges() {
    on_a_host(|host| {
        let hostile: &[&[u8]] = &[
            b"",
            b"x",
            b"10.9.0.0",
            b"10.9.0.255",
            b"10.9.1.1",
            b"fd00::1",
            b"127.0.0.1",
            b"224.0.0.1",
            b"0.0.0.0",
        ];
        all_refused(
            host,
            &[
                "network create x --subnet 10.9.0.0/24 --gateway=*",
                "network create x --subnet 10.9.0.0/24 --ip-range=*",
                "network create x --subnet 10.9.0.0/24 --aux-address=a=*",
            ],
            hostile,
        );
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn numbers_and_words() {
    on_a_host(|host| {
        all_refused(
            host,
            &["network create x --mtu=*", "network create x --isolate=*", "network create x -o mtu=*"],
            &[
                b"",
                b"-1",
                b"0",
                b"67",
                b"4294967296",
                b"1e3",
                b"x",
                b"65536",
                b"99999999999999999999",
                b"\xff",
            ],
        );
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn labels_and_options() {
    on_a_host(|host| {
        let large = [&b"k="[..], &vec![b'v'; 1 << 17]].concat();
        let hostile: &[&[u8]] = &[b"", b"=", b"=v", b"k=a\nb", b"k=\xff", &large[..120_000]];
        all_refused(host, &["network create x --opt=*"], hostile);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn small_things_are_told_in_short() {
    on_a_host(|host| {
        let long = format!("/run/{}", "x".repeat(100_000));
        let outcome = host.qiao.words(&["attach", "web", "--netns", &long]);
        assert!(outcome.code == Some(2) && outcome.stderr.len() < 400, "{outcome}");
        host.refused(2, "network prune --filter bad=");
        let usage = host.qiao.run("attach").stderr;
        assert!(usage.contains("Usage: qiao attach") && !usage.contains("--state-dir"), "{usage}");
        host.ok("network create front");
        qiao_testbed::run("ip link set br-front down");
        let explained = host.ok("repair --explain").stdout;
        assert!(explained.contains("ip link set br-front up"), "{explained}");
    });
}
