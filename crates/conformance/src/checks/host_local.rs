//! `host-local`: what its users rely on.

use super::{addresses, bridge, with};
use crate::check::Check;
use crate::stage::Stage;
use crate::verdict::{Met, must, same};
use serde_json::{Value, json};
use std::path::Path;

const SOURCE: &str = "host-local";
const ALONE: &[&str] = &["host-local"];

pub const CHECKS: &[Check] = &[
    Check::custom("LOCAL-1", (SOURCE, "the network's, the gateway's and the broadcast address are not given away"), reserved).on(ALONE),
    Check::custom("LOCAL-2", (SOURCE, "one address of every range set"), every_set).on(ALONE),
    Check::custom("LOCAL-3", (SOURCE, "a range set with several ranges: when the first is full, the next serves"), next_range).on(ALONE),
    Check::custom("LOCAL-4", (SOURCE, "an address that was released is not the next to be given away"), not_at_once).on(ALONE),
    Check::custom("LOCAL-5", (SOURCE, "the old form: `subnet`, `rangeStart`, `rangeEnd`, `gateway` without `ranges`"), old_form).on(ALONE),
    Check::custom("LOCAL-6", (SOURCE, "ranges that overlap, of no subnet, or outside of it are an error"), bad_ranges).on(ALONE),
    Check::custom("LOCAL-7", (SOURCE, "reservations of the reference plugin in `dataDir` are respected"), foreign_reservations).on(ALONE),
    Check::custom("LOCAL-8", (SOURCE, "reservations are written to `dataDir` as the reference plugin does: a file of the address's name with container and interface"), readable).on(ALONE),
    Check::custom(
        "LOCAL-9",
        ("plugins#498", "an empty reservation file, as a crash leaves it, does not take the address for ever"),
        empty_files,
    )
    .on(ALONE),
    Check::custom("LOCAL-10", (SOURCE, "the same container and interface cannot hold two addresses of a network"), no_second).on(ALONE),
    Check::custom("LOCAL-11", (SOURCE, "`resolvConf` is read into `dns`"), resolv_conf).on(ALONE),
    Check::custom("LOCAL-12", ("plugins#252", "a reboot gives back the addresses of containers that did not survive it"), reboot),
];

fn config(ipam: &Value) -> Value {
    let mut ipam = ipam.clone();
    ipam["type"] = json!("host-local");
    json!({"cniVersion": "1.0.0", "name": "net", "type": "host-local", "ipam": ipam})
}

/// Addresses of as many containers as there are to be had.
fn all(stage: &Stage, config: &Value) -> Met<Vec<Vec<String>>> {
    let (_, attachment) = stage.container("one");
    let mut found = Vec::new();
    for number in 0..20 {
        let answer = stage.run("ADD", config, &attachment.named(&format!("c{number}")));
        if answer.code != Some(0) {
            answer.refusal()?;
            return Ok(found);
        }
        found.push(addresses(&answer.result()?));
    }
    Ok(found)
}

fn reserved(stage: &Stage) -> Met {
    let found = all(stage, &config(&json!({"ranges": [[{"subnet": "10.88.0.0/29"}]]})))?.concat();
    let expected: Vec<_> = (2..=6).map(|n| format!("10.88.0.{n}")).collect();
    let mut sorted = found;
    sorted.sort();
    same("all addresses of 10.88.0.0/29", &sorted, &expected)
}

fn every_set(stage: &Stage) -> Met {
    let config = config(
        &json!({"ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "10.89.0.0/24"}], [{"subnet": "fd00:88::/64"}]]}),
    );
    let found = addresses(&stage.add(&config, &stage.container("c1").1)?);
    same("addresses", &found.len(), &3)?;
    must(
        found[0].starts_with("10.88.") && found[1].starts_with("10.89.") && found[2].starts_with("fd00:88:"),
        || format!("{found:?}"),
    )
}

fn next_range(stage: &Stage) -> Met {
    let one = |net: &str| json!({"subnet": format!("{net}.0/24"), "rangeStart": format!("{net}.9"), "rangeEnd": format!("{net}.9")});
    let found = all(stage, &config(&json!({"ranges": [[one("10.88.0"), one("10.88.1")]]})))?.concat();
    same("addresses", &found, &vec!["10.88.0.9".to_owned(), "10.88.1.9".to_owned()])
}

fn not_at_once(stage: &Stage) -> Met {
    let config = config(&json!({"ranges": [[{"subnet": "10.88.0.0/24"}]]}));
    let (_, attachment) = stage.container("c1");
    let first = addresses(&stage.add(&config, &attachment)?);
    stage.del(&config, &attachment)?;
    let second = addresses(&stage.add(&config, &attachment.named("c2"))?);
    must(first != second, || format!("{first:?} was given again at once"))
}

fn old_form(stage: &Stage) -> Met {
    let config = config(
        &json!({"subnet": "10.88.0.0/24", "rangeStart": "10.88.0.20", "rangeEnd": "10.88.0.30", "gateway": "10.88.0.254"}),
    );
    let result = stage.add(&config, &stage.container("c1").1)?;
    same("the gateway", &result["ips"][0]["gateway"], &json!("10.88.0.254"))?;
    same("addresses", &addresses(&result), &vec!["10.88.0.20".to_owned()])
}

fn bad_ranges(stage: &Stage) -> Met {
    let bad = [
        json!([[{"subnet": "10.88.0.0/24"}], [{"subnet": "10.88.0.0/16"}]]),
        json!([[{"rangeStart": "10.88.0.7"}]]),
        json!([[{"subnet": "10.88.0.0/24", "rangeStart": "10.89.0.7"}]]),
        json!([[{"subnet": "10.88.0.0/24", "rangeStart": "10.88.0.9", "rangeEnd": "10.88.0.7"}]]),
        json!([[{"subnet": "10.88.0.0/32"}]]),
        json!([[]]),
        json!([]),
    ];
    let (_, attachment) = stage.container("c1");
    bad.iter().try_for_each(|ranges| {
        crate::verdict::of(
            &ranges.to_string(),
            stage.run("ADD", &config(&json!({"ranges": ranges})), &attachment).refusal().map(drop),
        )
    })
}

/// A network of two addresses whose reservations are in a directory of our own, and that directory.
fn in_directory(stage: &Stage) -> (Value, std::path::PathBuf) {
    let dir = stage.file("leases/net/lock", "");
    let range = json!([[{"subnet": "10.88.0.0/24", "rangeStart": "10.88.0.7", "rangeEnd": "10.88.0.8"}]]);
    let config = config(&json!({"ranges": range, "dataDir": "/run/leases"}));
    (config, dir.parent().unwrap_or(Path::new("/run")).to_owned())
}

fn foreign_reservations(stage: &Stage) -> Met {
    let (config, _) = in_directory(stage);
    stage.file("leases/net/10.88.0.7", "somebody\r\neth0");
    let found = all(stage, &config)?.concat();
    same("addresses", &found, &vec!["10.88.0.8".to_owned()])?;
    stage.del(&config, &stage.container("x").1.named("somebody"))?;
    let again = addresses(&stage.add(&config, &stage.container("y").1)?);
    same("after DEL of the foreign one", &again, &vec!["10.88.0.7".to_owned()])
}

fn readable(stage: &Stage) -> Met {
    let (config, dir) = in_directory(stage);
    let (_, attachment) = stage.container("c1");
    let address = addresses(&stage.add(&config, &attachment)?)[0].clone();
    let text = std::fs::read_to_string(dir.join(&address)).unwrap_or_else(|error| error.to_string());
    same("the file", &text.lines().map(str::trim).collect::<Vec<_>>(), &vec!["c1", "eth0"])?;
    stage.del(&config, &attachment)?;
    must(!dir.join(&address).exists(), || "the file is left after DEL".to_owned())
}

fn empty_files(stage: &Stage) -> Met {
    let (config, _) = in_directory(stage);
    for address in ["10.88.0.7", "10.88.0.8"] {
        stage.file(&format!("leases/net/{address}"), "");
    }
    let found = all(stage, &config)?.concat();
    same("addresses", &found, &vec!["10.88.0.7".to_owned(), "10.88.0.8".to_owned()])
}

fn no_second(stage: &Stage) -> Met {
    let (config, _) = in_directory(stage);
    let (_, attachment) = stage.container("c1");
    stage.add(&config, &attachment)?;
    stage.run("ADD", &config, &attachment).refusal()?;
    stage.add(&config, &attachment.on("eth1")).map(drop)
}

fn resolv_conf(stage: &Stage) -> Met {
    let file = stage.file("resolv.conf", "nameserver 10.88.0.53\nsearch example.com\noptions ndots:2\n");
    let config = config(&json!({"ranges": [[{"subnet": "10.88.0.0/24"}]], "resolvConf": file}));
    let result = stage.add(&config, &stage.container("c1").1)?;
    same("nameservers", &result["dns"]["nameservers"], &json!(["10.88.0.53"]))?;
    same("search", &result["dns"]["search"], &json!(["example.com"]))
}

fn reboot(stage: &Stage) -> Met {
    let config = super::bridge_with_one_address();
    let (place, attachment) = stage.container("c1");
    stage.add(&config, &attachment)?;
    place.delete();
    // What a reboot leaves: nothing in the kernel, nothing in /run, another boot id, and /var/lib as it was.
    ["ip link del cni0", "nft flush ruleset", "umount -l /run", "mount -t tmpfs -o mode=755 tmpfs /run"]
        .iter()
        .for_each(|line| qiao_testbed::run(line));
    let boot_id = stage.file("boot_id", "11111111-2222-3333-4444-555555555555\n");
    qiao_testbed::run(&format!("mount --bind {} /proc/sys/kernel/random/boot_id", boot_id.display()));
    let mut next = with(&bridge(), "ipam", &config["ipam"]);
    next["name"] = config["name"].clone();
    stage.add(&next, &stage.container("c2").1).map(drop)
}
