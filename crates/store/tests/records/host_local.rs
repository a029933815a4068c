//! The leases of CNI's `host-local`: of which boot they are.

use qiao_store::HostLocal;
use std::net::IpAddr;
use std::path::PathBuf;

fn directory(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

/// Whether a lease is there after somebody has written `note` over the note of the boot.
fn survives(name: &str, note: &str) -> bool {
    let (dir, ip): (_, IpAddr) = (directory(name), "10.9.0.2".parse().unwrap());
    let path = dir.to_str().unwrap();
    assert!(HostLocal::lock(path).unwrap().take(ip, ("c1", "eth0")).unwrap());
    std::fs::write(dir.join(".qiao-boot"), note).unwrap();
    let there = HostLocal::lock(path).unwrap().tenant(ip).is_some();
    let again = HostLocal::lock(path).unwrap().tenant(ip).is_some();
    assert_eq!(there, again, "and from then on");
    std::fs::remove_dir_all(&dir).unwrap();
    there
}

#[test]
fn leases_of_another_boot_are_discarded_and_others_are_not() {
    assert!(!survives("other", "11111111-2222-3333-4444-555555555555\n"), "the control");
    assert!(survives("empty", ""), "a note that was never finished");
}
