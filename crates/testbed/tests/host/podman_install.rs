//! `qiao podman install`: nothing that somebody else wrote is lost, whatever state Podman's configuration is in. (With
//! Podman: `clients/netavark_life.rs`.)

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, link_helpers};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

const HELPERS: &str = "/run/podman";
const PARTS: &str = "/run/containers/containers.conf.d";
const FILE: &str = "/run/containers/containers.conf.d/50-qiao.conf";

fn install(host: &Host, options: &str) -> Outcome {
    host.qiao.run(&format!("podman install --dir {HELPERS} --file {FILE} {options}"))
}

fn done(host: &Host, options: &str) -> String {
    let outcome = install(host, options);
    assert_eq!(outcome.code, Some(0), "{options}: {outcome}");
    outcome.stdout
}

fn refused(host: &Host, options: &str, why: &str) {
    let outcome = install(host, options);
    assert!(outcome.code == Some(5) && outcome.stderr.contains(why), "{options}: {outcome}");
}

fn part(name: &str, text: &str) {
    fs::create_dir_all(PARTS).expect("a directory");
    fs::write(format!("{PARTS}/{name}"), text).expect("a file");
}

/// The directories that the file has.
fn dirs() -> Vec<String> {
    let text = fs::read_to_string(FILE).expect("the file");
    text.lines()
        .filter_map(|line| line.strip_prefix("  \"")?.strip_suffix("\","))
        .map(str::to_owned)
        .collect()
}

/// Our helpers are somewhere.
fn prepare() {
    fs::create_dir(HELPERS).expect("a directory");
    link_helpers(HELPERS.as_ref());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn it_comes_and_goes_as_often_as_one_likes() {
    on_a_host(|host| {
        prepare();
        let shown = done(host, "--dry-run");
        assert!(shown.contains("+  \"/run/podman\",") && !Path::new(PARTS).exists(), "{shown}");
        assert_eq!(done(host, ""), shown);
        assert_eq!(dirs()[0], HELPERS);
        assert!(dirs().contains(&"/usr/lib/podman".to_owned()), "{:?}", dirs());
        let mode = fs::metadata(FILE).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "users' Podman reads it");
        assert!(done(host, "").contains("nothing to change"));
        // Killed before it was in place.
        fs::write(format!("{PARTS}/50-qiao.new"), "half a fi").expect("a file");
        assert!(done(host, "--undo").contains("-  \"/run/podman\","));
        assert_eq!(fs::read_dir(PARTS).expect("the directory").count(), 0);
        assert!(done(host, "--undo").contains("nothing to change"));
    });
}

/// A list replaces that of an earlier file: whoever is in that stays.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_directories_of_others_stay() {
    on_a_host(|host| {
        prepare();
        part("10-site.conf", "[engine]\nhelper_binaries_dir = [\"/opt/site\", \"/run/podman\"]\n");
        part("20-more.conf", "[engine]\nhelper_binaries_dir = [\"/opt/more\", {append = true}]\n");
        part("60-last.conf", "[engine]\nhelper_binaries_dir = [\"/opt/last\", {append = true}]\n");
        part("notes.txt", "[engine\n");
        done(host, "");
        assert_eq!(dirs(), ["/run/podman", "/opt/site", "/opt/more"]);
        // One that is read later would count instead.
        part("60-last.conf", "[engine]\nhelper_binaries_dir = [\"/opt/last\"]\n");
        refused(host, "", "60-last.conf");
        assert_eq!(dirs(), ["/run/podman", "/opt/site", "/opt/more"], "nothing was touched");
        done(host, "--undo");
        part("60-last.conf", "[engine");
        let outcome = install(host, "");
        assert!(outcome.code == Some(2) && outcome.stderr.contains("60-last.conf"), "{outcome}");
        assert!(!Path::new(FILE).exists());
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_others_wrote_is_left_alone() {
    on_a_host(|host| {
        prepare();
        let theirs = "[engine]\nruntime = \"crun\"\n";
        for options in ["", "--dry-run", "--undo"] {
            part("50-qiao.conf", theirs);
            refused(host, options, "is not ours");
            assert_eq!(fs::read_to_string(FILE).expect("the file"), theirs);
            fs::remove_file(FILE).expect("a file");
            // A link, also one that leads nowhere.
            symlink("/run/elsewhere", FILE).expect("a link");
            refused(host, options, "symbolic link");
            assert!(fs::symlink_metadata(FILE).expect("the link").is_symlink());
            fs::remove_file(FILE).expect("a link");
        }
        done(host, "");
        let changed = fs::read_to_string(FILE).expect("the file") + "runtime = \"crun\"\n";
        fs::write(FILE, &changed).expect("a file");
        for options in ["", "--undo"] {
            refused(host, options, "was changed since");
            assert_eq!(fs::read_to_string(FILE).expect("the file"), changed);
        }
        fs::remove_file(FILE).expect("a file");
        fs::remove_file(format!("{HELPERS}/aardvark-dns")).expect("a file");
        let outcome = install(host, "");
        assert!(outcome.code == Some(4) && outcome.stderr.contains("aardvark-dns"), "{outcome}");
        fs::remove_dir(PARTS).expect("an empty directory");
        fs::write(PARTS, "no directory").expect("a file");
        fs::remove_file(format!("{HELPERS}/netavark")).expect("a file");
        link_helpers(HELPERS.as_ref());
        let outcome = install(host, "");
        assert!(outcome.code != Some(0) && outcome.stderr.contains("Not a directory"), "{outcome}");
    });
}

/// The directory is written down as it is from everywhere.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_relative_directory_becomes_absolute() {
    on_a_host(|host| {
        prepare();
        let mut command = host.qiao.command();
        command.current_dir("/run").args(["podman", "install", "--dir", "podman", "--file", FILE]);
        assert!(command.output().expect("qiao").status.success());
        assert_eq!(dirs()[0], HELPERS);
    });
}
