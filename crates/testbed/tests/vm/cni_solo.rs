//! CNI's `dummy`, and `host-device` with a device that is no software: it outlives its container's namespace.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Place, Qiao, eventually, run, stdout};
use std::time::Duration;

fn config(plugin: &str, more: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.1.0","name":"n1","type":"{plugin}","ipam":{{"type":"host-local","dataDir":"/run/leases",
        "ranges":[[{{"subnet":"198.51.100.0/24","rangeStart":"198.51.100.50","rangeEnd":"198.51.100.50"}}]]}}{more}}}"#
    )
}

#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn cni_dummy() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let before = host.snapshot();
        let own = ("c1", &*c1.path());
        let result = host.qiao.plugin_ok(("dummy", "ADD"), own, &config("dummy", "")).json();
        let link = c1.stdout("ip -d link show eth0");
        assert!(link.contains("dummy") && link.contains("UP"), "{link}");
        assert!(link.contains(result["interfaces"][0]["mac"].as_str().unwrap()), "{link} {result}");
        assert!(c1.stdout("ip -o addr show eth0").contains("198.51.100.50/24"));
        let prev = config("dummy", &format!(r#","prevResult":{result}"#));
        host.qiao.plugin_ok(("dummy", "CHECK"), own, &prev);
        c1.run("ip link del eth0");
        assert_eq!(host.qiao.plugin(("dummy", "CHECK"), own, &prev).json()["code"], 110);
        host.ok("repair");
        host.qiao.plugin_ok(("dummy", "CHECK"), own, &prev);
        host.qiao.plugin_ok(("dummy", "DEL"), own, &config("dummy", ""));
        assert!(!c1.stdout("ip link").contains("eth0"));
        run("rm -r /run/leases");
        host.assert_like(&before, "it is gone");
    });
}

/// The guest's own device, in the guest's first namespace: there the kernel puts what a namespace leaves behind.
fn device() -> (String, String) {
    let line = std::fs::read_to_string("/proc/cmdline").unwrap();
    assert!(line.contains("qiao.guest"), "only in a guest: this is the machine's own namespace");
    let links = stdout("ip -o link");
    let is_ours = |name: &str| std::fs::read_link(format!("/sys/class/net/{name}/device")).is_ok();
    let names = links.lines().filter_map(|line| line.split(": ").nth(1));
    let name = names.into_iter().find(|name| is_ours(name)).unwrap_or_else(|| panic!("{links}")).to_owned();
    let device = std::fs::canonicalize(format!("/sys/class/net/{name}/device")).unwrap();
    let pci =
        device.ancestors().filter_map(|dir| dir.file_name()?.to_str()).find(|part| part.starts_with("0000:"));
    (name, pci.unwrap_or_else(|| panic!("{}", device.display())).to_owned())
}

#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn cni_device_comes_back_with_its_name_after_a_crash() {
    let (name, pci) = device();
    let path = format!("/sys/devices/pci0000:00/{pci}");
    run(&format!("ip link set {name} down"));
    run(&format!("ip link set {name} name nic0"));
    run("ip link set nic0 alias rack-7");
    run("ip link set nic0 up");
    run("ip link add eth0 type dummy");
    let mac = std::fs::read_to_string("/sys/class/net/nic0/address").unwrap().trim().to_owned();
    let qiao = Qiao::new("/run/test", None);
    let is_home = || {
        let link =
            stdout("ip -o link").lines().find(|line| line.contains(&mac)).unwrap_or_default().to_owned();
        assert!(link.contains(": nic0:") && link.contains("alias rack-7") && link.contains(",UP"), "{link}");
    };
    for (at, more) in [
        r#","device":"nic0""#.to_owned(),
        format!(r#","pciBusID":"{pci}""#),
        format!(r#","kernelpath":"{path}""#),
        format!(r#","runtimeConfig":{{"deviceID":"{pci}"}}"#),
    ]
    .into_iter()
    .enumerate()
    {
        let config = config("host-device", &more);
        let c1 = Place::new("c1");
        let result = qiao.plugin_ok(("host-device", "ADD"), ("c1", &c1.path()), &config).json();
        assert_eq!(result["interfaces"][0]["mac"], *mac, "{more}");
        assert!(!stdout("ip link").contains(&mac), "{more}: it is not here");
        // The container's end, and nobody calls DEL: the kernel puts it here, under a name that is free.
        c1.delete();
        let put_back =
            || stdout("ip -o link").lines().any(|line| line.contains(&mac) && line.contains(": dev"));
        assert!(eventually(Duration::from_secs(20), put_back), "{more}: {}", stdout("ip link"));
        if at % 2 == 0 {
            qiao.ok("repair");
            is_home();
        }
        qiao.plugin_ok(("host-device", "DEL"), ("c1", ""), &config);
        is_home();
        let left = std::fs::read_dir("/run/leases/n1").unwrap().flatten();
        let left: Vec<_> = left.map(|e| e.file_name()).filter(|name| name == "198.51.100.50").collect();
        assert!(left.is_empty(), "{more}: the address is free");
    }
    // The record is lost besides: the mark says whose it is and what it was called.
    let c1 = Place::new("c1");
    qiao.plugin_ok(("host-device", "ADD"), ("c1", &c1.path()), &config("host-device", r#","device":"nic0""#));
    run("rm -r /run/test/run/endpoints");
    c1.delete();
    let put_back = || stdout("ip -o link").lines().any(|line| line.contains(&mac) && line.contains(": dev"));
    assert!(eventually(Duration::from_secs(20), put_back), "{}", stdout("ip link"));
    qiao.ok("repair");
    assert!(stdout("ip -o link show nic0").contains(&mac), "{}", stdout("ip -o link"));
}
