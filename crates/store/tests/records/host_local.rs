//! The leases of CNI's `host-local`: of which boot they are, and what killed commands leave.

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
    let there = HostLocal::lock(path).unwrap().tenant(ip).unwrap().is_some();
    let again = HostLocal::lock(path).unwrap().tenant(ip).unwrap().is_some();
    assert_eq!(there, again, "and from then on");
    std::fs::remove_dir_all(&dir).unwrap();
    there
}

#[test]
fn leases_of_another_boot_are_discarded_and_others_are_not() {
    assert!(!survives("other", "11111111-2222-3333-4444-555555555555\n"), "the control");
    assert!(survives("empty", ""), "a note that was never finished");
}

/// Killed between taking an address and noting it; the runtime says ADD again, and later DEL.
#[test]
fn what_a_killed_command_took_is_given_back() {
    let (dir, tenant) = (directory("killed"), ("c1", "eth0"));
    let ips: [IpAddr; 3] = ["10.9.0.2", "10.9.0.3", "10.9.0.4"].map(|ip| ip.parse().unwrap());
    let leases = || HostLocal::lock(dir.to_str().unwrap()).unwrap();
    assert!(leases().take(ips[2], ("c2", "eth0")).unwrap(), "somebody else's");
    let killed = leases();
    killed.begin(tenant).unwrap();
    assert!(killed.take(ips[0], tenant).unwrap());
    drop(killed);
    let again = leases();
    assert!(!again.has_some(tenant).unwrap());
    again.begin(tenant).unwrap();
    assert!(again.take(ips[1], tenant).unwrap());
    again.note(tenant, &ips[1..2]).unwrap();
    drop(again);
    let mut had = leases().addresses().unwrap();
    had.sort();
    assert_eq!(had, ips[1..]);
    leases().give_all_back(tenant, &[]).unwrap();
    assert_eq!(leases().addresses().unwrap(), ips[2..]);
    std::fs::remove_dir_all(&dir).unwrap();
}
