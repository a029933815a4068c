//! Notes, which are written where they stand: the last address, and the firewall's generation.

use crate::place::{Place, endpoint};
use qiao_core::subnet::Family;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::symlink;

const LAST: &str = "run/leases/blue/last6";

#[test]
fn the_last_address_is_the_one_noted_last_whatever_was_there() {
    let place = Place::new();
    let store = place.store();
    let txn = store.begin().unwrap();
    txn.claims().take(&endpoint("c1", 2, &[])).unwrap();
    let leases = txn.claims().leases(&"blue".parse().unwrap()).unwrap();
    assert_eq!(leases.last(Family::V6).unwrap(), None);
    for ip in ["fd00:1111:2222:3333:4444:5555:6666:7777", "fd00::2", "fd00::3"] {
        let ip: IpAddr = ip.parse().unwrap();
        leases.set_last(ip).unwrap();
        assert_eq!(leases.last(Family::V6).unwrap(), Some(ip), "a shorter one leaves nothing of a longer");
        assert_eq!(leases.last(Family::V4).unwrap(), None);
    }
    fs::write(place.file(LAST), b"\xff\0{").unwrap();
    assert_eq!(leases.last(Family::V6).unwrap(), None, "what makes no sense is none");
    fs::remove_file(place.file(LAST)).unwrap();
    symlink("fd00::9", place.file(LAST)).unwrap();
    assert_eq!(leases.last(Family::V6).unwrap(), None, "a link is not followed");
    leases.set_last("fd00::4".parse().unwrap()).unwrap();
    assert_eq!(leases.last(Family::V6).unwrap(), Some("fd00::4".parse().unwrap()));
    assert!(!place.file("run/leases/blue/fd00::9").exists());
}

#[test]
fn the_generation_is_the_one_noted_last_and_goes_with_the_boot() {
    let place = Place::new();
    let noted = || place.store().begin().unwrap().generation();
    assert_eq!(noted(), None);
    for generation in [u32::MAX, 7, 70] {
        place.store().begin().unwrap().set_generation(generation);
        assert_eq!(noted(), Some(generation));
    }
    fs::write(place.file("run/lock"), b"\xff\0{{{{{{{{{{{{{").unwrap();
    assert_eq!(noted(), None, "what makes no sense is none");
    place.store().begin().unwrap().set_generation(8);
    assert_eq!(noted(), Some(8));
    fs::remove_file(place.file("run/boot")).unwrap();
    symlink("11111111-2222-3333-4444-555555555555", place.file("run/boot")).unwrap();
    assert_eq!(noted(), None, "another boot's says nothing");
}
