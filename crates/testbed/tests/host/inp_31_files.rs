//! R-INP 31 and 32: namespaces and files are what they are said to be, and the engine's own are nobody else's.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, busy, run};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, Instant};

/// Attaching to this path is refused with one of these codes, at once and without a trace.
fn refused(host: &Host, path: &str) {
    let before = host.snapshot();
    let began = Instant::now();
    let outcome = host.qiao.run(&format!("attach web --netns {path} --network front"));
    assert!(began.elapsed() < Duration::from_secs(2).mul_f64(busy()), "{path} takes {:?}", began.elapsed());
    assert!(matches!(outcome.code, Some(2 | 4)), "{path}: {outcome}");
    host.assert_like(&before, path);
}

/// A directory of the host that is open in whoever says `run` or `exec` does not lead out of the container.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn open_files_are_not_handed_to_containers() {
    on_a_host(|host| {
        host.ok("network create front");
        host.ok("run -d --name web --network front -- sleep 60");
        let sh = ["sh", "-c", "exec 9</; exec \"$@\"", "sh"].map(str::to_owned);
        for line in ["exec web -- ls /proc/self/fd", "run --rm --network front -- ls /proc/self/fd"] {
            let command = &mut host.qiao.under(&sh);
            let outcome = Outcome::of(command.args(line.split(' ')).output().expect("start sh"));
            assert_eq!(
                outcome.stdout.split_whitespace().collect::<Vec<_>>(),
                ["0", "1", "2", "3"],
                "{outcome}"
            );
        }
        host.ok("rm -f web");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn only_network_namespaces_of_others() {
    on_a_host(|host| {
        host.ok("network create front");
        host.container("c");
        fs::create_dir("/run/p").unwrap();
        fs::write("/run/p/file", "").unwrap();
        run("mkfifo /run/p/fifo");
        run("mknod /run/p/null c 1 3");
        symlink("/run/netns/c", "/run/p/link").unwrap();
        symlink("/proc/self/ns/net", "/run/p/own").unwrap();
        symlink("/run/p/loop", "/run/p/loop").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind("/run/p/socket").unwrap();
        for path in [
            "/run/p/nothing",
            "/run/p",
            "/run/p/file",
            "/run/p/fifo",
            "/run/p/null",
            "/run/p/link",
            "/run/p/own",
            "/run/p/loop",
            "/run/p/socket",
            "/proc/self/ns/net",
            "/proc/1/ns/net",
            "/proc/self/ns/mnt",
            "/proc/self/ns/user",
            "/proc/self/ns/pid",
            "/proc/self/mem",
            "/dev/null",
            "/run/p/file/x",
        ] {
            refused(host, path);
        }
        host.ok("attach web --netns /run/netns/c --network front");
    });
}

/// The paths of everything below a directory.
fn below(path: &str) -> Vec<String> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let names: Vec<String> = entries.flatten().map(|entry| entry.path().display().to_string()).collect();
    names.into_iter().flat_map(|path| [vec![path.clone()], below(&path)].concat()).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn files_are_for_the_engine_alone() {
    on_a_host(|host| {
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", "umask 0; exec \"$0\" network create front"])
            .arg(host.qiao.command().get_program());
        command.env("QIAO_STATE_DIR", host.qiao.state_dir()).env("QIAO_RUN_DIR", host.qiao.run_dir());
        assert!(command.status().unwrap().success());
        host.attached("web", "--network front -p 8080:80");
        let all = below(host.qiao.directory());
        assert!(all.len() > 10, "{all:?}");
        for path in all {
            let found = fs::symlink_metadata(&path).unwrap();
            let mode = found.permissions().mode() & 0o777;
            let right = found.is_symlink() || mode == if found.is_dir() { 0o700 } else { 0o600 };
            assert!(right && found.uid() == 0, "{path} has mode {mode:o}");
        }
    });
}

/// Directories that somebody else put there are not used.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn foreign_directories_are_refused() {
    on_a_host(|host| {
        fs::create_dir_all("/run/elsewhere").unwrap();
        fs::create_dir_all(host.qiao.directory()).unwrap();
        for dir in [host.qiao.run_dir(), host.qiao.state_dir()] {
            symlink("/run/elsewhere", &dir).unwrap();
            let outcome = host.qiao.run("network create front");
            assert!(matches!(outcome.code, Some(1 | 3)), "{dir}: {outcome}");
            assert_eq!(below("/run/elsewhere"), [""; 0]);
            fs::remove_file(&dir).unwrap();
        }
        fs::create_dir_all(host.qiao.run_dir()).unwrap();
        run(&format!("chown 65534 {}", host.qiao.run_dir()));
        let outcome = host.qiao.run("network create front");
        assert!(matches!(outcome.code, Some(1 | 3)), "{outcome}");
        run(&format!("chown 0 {}", host.qiao.run_dir()));
        host.ok("network create front");
    });
}

/// What only looks at directories, and what changes something.
const LOOKING: &[&str] = &[
    "check",
    "ps",
    "ps -a",
    "network ls",
    "network inspect bridge",
    "port nobody",
    "dns ls",
    "info",
    "plan attach c --netns /run/netns/c",
    "network create front --dry-run",
    "attach c --netns /run/netns/c --dry-run",
];

/// A directory as it is: its mode, and what is in it.
fn seen(path: &str) -> Option<(u32, Vec<String>)> {
    let found = fs::metadata(path).ok()?;
    Some((found.permissions().mode() & 0o7777, below(path)))
}

/// D4: directories that were there before keep their mode, whatever they are named as; who only looks makes nothing.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d4_directories_of_others_keep_their_mode() {
    on_a_host(|host| {
        host.container("c");
        let run_with = |(run, state): (&str, &str), line: &str| {
            let mut command = host.qiao.command();
            command.env("QIAO_RUN_DIR", run).env("QIAO_STATE_DIR", state);
            Outcome::of(command.args(line.split(' ')).output().unwrap())
        };
        for (kind, mode, files) in [
            ("missing", None, &[][..]),
            ("empty", Some(0o755), &[][..]),
            ("strangers", Some(0o755), &["lock", "networks", "boot", "x"][..]),
            ("common", Some(0o1777), &[][..]),
        ] {
            let dir = format!("/run/d4/{kind}");
            if let Some(mode) = mode {
                fs::create_dir_all(&dir).unwrap();
                fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
                files.iter().for_each(|file| fs::write(format!("{dir}/{file}"), "").unwrap());
            }
            let before = seen(&dir);
            for paths in [(&*dir, "/run/d4-other"), ("/run/d4-other", &*dir)] {
                for line in LOOKING {
                    let outcome = run_with(paths, line);
                    assert_eq!(seen(&dir), before, "{kind}: `qiao {line}` with {paths:?}: {outcome}");
                    assert_eq!(seen("/run/d4-other"), None, "{kind}: `qiao {line}`: {outcome}");
                }
                let outcome = run_with(paths, "network create front");
                let is_refused = matches!(kind, "strangers" | "common");
                assert_eq!(outcome.code != Some(0), is_refused, "{kind} with {paths:?}: {outcome}");
                if is_refused {
                    assert!(outcome.stderr.contains(&dir) && outcome.stderr.contains("others"), "{outcome}");
                    assert_eq!(seen(&dir), before, "{kind}: {outcome}");
                    assert!(!qiao_testbed::stdout("ip -o link").contains("br-front"), "{outcome}");
                } else {
                    assert_eq!(seen(&dir).unwrap().0, mode.unwrap_or(0o700), "{kind}: {outcome}");
                    let again = run_with(paths, "network rm front");
                    assert_eq!(again.code, Some(0), "{kind}: it bears our mark now: {again}");
                    fs::remove_dir_all(&dir).unwrap();
                    mode.into_iter().for_each(|mode| {
                        fs::create_dir(&dir).unwrap();
                        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
                    });
                }
                let _ = fs::remove_dir_all("/run/d4-other");
            }
        }
    });
}

/// A link in the place of a record leads nowhere.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn links_in_the_place_of_records_are_not_followed() {
    on_a_host(|host| {
        host.ok("network create front");
        fs::write("/run/secret", "secret").unwrap();
        let networks = format!("{}/networks", host.qiao.state_dir());
        symlink("/run/secret", format!("{networks}/evil.json")).unwrap();
        symlink("/run/secret", format!("{}/active.json.tmp", host.qiao.run_dir())).unwrap();
        let outcome = host.qiao.run("network ls");
        assert!(!outcome.stdout.contains("evil") && !format!("{outcome}").contains("secret"), "{outcome}");
        host.attached("web", "--network front -p 8080:80");
        assert_eq!(fs::read_to_string("/run/secret").unwrap(), "secret");
    });
}

/// R-INP 34: strange tables of others are ignored.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn strange_foreign_tables_do_not_matter() {
    on_a_host(|host| {
        for line in [
            "nft add table inet qiao2",
            "nft add table ip qiao",
            "nft add table bridge filter",
            "nft add set ip qiao publish4 { type ipv4_addr . inet_service ; flags interval,timeout ; }",
            "nft add element ip qiao publish4 { 10.0.0.0/8 . 1-100 timeout 1h }",
            "nft add chain ip qiao forward { type filter hook forward priority 10 ; }",
            "nft add rule ip qiao forward counter",
        ] {
            run(line);
        }
        let before = host.snapshot();
        host.attached("web", "-p 8080:80");
        host.ok("check");
        host.ok("detach web");
        host.ok("network rm bridge");
        host.assert_like(&before, "attaching beside strange tables");
    });
}
