//! Whatever happens to a file, it is read as it was written, set aside, or kept and told of; the others stay as they are.

use crate::place::{Place, active, endpoint, filled, journal, network, saved};
use qiao_core::driver::Active;
use qiao_core::{Endpoint, Network};
use qiao_store::{Pending, Saved, Store};
use std::os::unix::fs::symlink;

/// Every record of a filled store, and what is told of it.
const FILES: [&str; 6] = [
    "state/networks/blue.json",
    "run/active.json",
    "run/host.json",
    "run/endpoints/c1/eth0.json",
    "run/endpoints/c2/eth0.json",
    "run/pending/attach:c3@eth0.json",
];

/// Those that stay where they are when they make no sense: somebody depends on what they say.
const KEPT: [usize; 3] = [2, 3, 4];

/// What a store says.
#[derive(Debug, PartialEq)]
struct Told {
    networks: Vec<Network>,
    active: Active,
    saved: Saved,
    endpoints: Vec<Endpoint>,
    pending: Vec<String>,
    /// Files that were set aside, and files of changes that make no sense.
    noticed: usize,
}

fn told(store: &Store) -> Told {
    let txn = store.begin().unwrap();
    let qiao_store::Begun { changes: pending, bad, .. } = txn.changes().unwrap().read().unwrap();
    let pending = pending.into_iter().map(|change| match change {
        Pending::Attach(journal) => journal.endpoint.id.key(),
        other => panic!("{other:?}"),
    });
    let pending = pending.collect();
    bad.iter().for_each(|file| txn.drop_change(file).unwrap());
    let (networks, active, saved) = (txn.networks().unwrap(), txn.active().unwrap(), txn.saved().unwrap());
    let endpoints = txn.endpoints().unwrap();
    Told { networks, active, saved, endpoints, pending, noticed: txn.take_notes().len() }
}

/// What it says when one file is damaged: that one is missing.
fn without(file: Option<usize>) -> Told {
    let there = |at| file != Some(at);
    Told {
        networks: there(0).then(network).into_iter().collect(),
        active: there(1).then(active).unwrap_or_default(),
        saved: there(2).then(saved).unwrap_or_default(),
        endpoints: [(3, "c1", 2), (4, "c2", 3)]
            .into_iter()
            .filter(|(at, ..)| there(*at))
            .map(|(_, name, host)| endpoint(name, host, &[]))
            .collect(),
        pending: there(5).then(|| "c3@eth0".to_owned()).into_iter().collect(),
        noticed: usize::from(file.is_some()),
    }
}

/// Damages a file and looks: it was noticed and set aside, or the file says what it said.
fn damaged(place: &Place, at: usize, bytes: &[u8]) -> bool {
    let file = place.file(FILES[at]);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, bytes).unwrap();
    let told_now = told(&place.store());
    let noticed = told_now.noticed > 0;
    let when = || format!("{} as {:?}", FILES[at], String::from_utf8_lossy(bytes));
    if noticed {
        assert_eq!(told_now, without(Some(at)), "{}", when());
        if KEPT.contains(&at) {
            assert_eq!(std::fs::read(&file).unwrap(), bytes, "{}: its place says whose it is", when());
            std::fs::write(&file, whole).unwrap();
            return true;
        }
        assert!(!file.exists(), "{}", when());
        let aside: Vec<_> = std::fs::read_dir(place.file("run/quarantine")).unwrap().collect();
        assert_eq!(aside.len(), 1, "{}", when());
        let kept = aside.into_iter().next().unwrap().unwrap().path();
        assert_eq!(std::fs::read(&kept).unwrap(), bytes, "it is kept as it was");
        std::fs::remove_file(kept).unwrap();
    } else {
        assert_eq!(told_now, without(None), "{}", when());
    }
    std::fs::write(&file, whole).unwrap();
    noticed
}

#[test]
fn the_whole_store_says_what_was_written() {
    assert_eq!(told(&filled().store()), without(None));
}

#[test]
fn cut_off_anywhere() {
    let place = filled();
    for (at, file) in FILES.iter().enumerate() {
        let whole = place.read(file);
        let noticed = (0..whole.len()).filter(|length| damaged(&place, at, &whole[..*length])).count();
        // All but the cut that takes only the newline at the end.
        assert_eq!(noticed, whole.len() - 1, "{file}");
    }
}

#[test]
fn a_bit_turned_anywhere() {
    let place = filled();
    for (at, file) in FILES.iter().enumerate() {
        let whole = place.read(file);
        let mut noticed = 0;
        for byte in 0..whole.len() {
            for bit in [0, 2, 5, 7] {
                let mut bytes = whole.clone();
                bytes[byte] ^= 1 << bit;
                // The version's digit: a newer one is refused, for it must not be misread nor set aside.
                if bytes.starts_with(b"{\"v\":") && bytes[5] != whole[5] {
                    continue;
                }
                noticed += usize::from(damaged(&place, at, &bytes));
            }
        }
        assert!(noticed > whole.len() * 3, "{file}: {noticed} of {}", whole.len() * 4);
    }
}

#[test]
fn a_newer_version_is_neither_read_nor_set_aside() {
    let place = filled();
    let file = place.file(FILES[3]);
    let text = std::fs::read_to_string(&file).unwrap().replacen("{\"v\":1,", "{\"v\":2,", 1);
    std::fs::write(&file, &text).unwrap();
    let error = place.store().endpoints().unwrap_err().to_string();
    assert!(error.contains("version 2"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn garbage() {
    let place = filled();
    for at in 0..FILES.len() {
        for bytes in
            [&b""[..], b"\0\0\0\0", b"{}", b"null", b"[[[[[[[[", &[0xff; 300], &vec![b' '; (1 << 20) + 1]]
        {
            assert!(damaged(&place, at, bytes), "{} as garbage", FILES[at]);
        }
        let other = place.read(FILES[(at + 3) % FILES.len()]);
        assert!(damaged(&place, at, &other), "{}: the record of something else", FILES[at]);
    }
}

#[test]
fn a_record_of_the_same_kind_in_the_wrong_place() {
    let place = filled();
    for (at, other) in [(3, 4), (4, 3), (3, 5), (5, 3)] {
        let bytes = place.read(FILES[other]);
        assert!(damaged(&place, at, &bytes), "{} with what {} says", FILES[at], FILES[other]);
    }
}

#[test]
fn no_file_at_all() {
    for (at, file) in FILES.iter().enumerate() {
        let place = filled();
        std::fs::remove_file(place.file(file)).unwrap();
        assert_eq!(told(&place.store()), Told { noticed: 0, ..without(Some(at)) }, "{file} is missing");
        std::fs::create_dir(place.file(file)).unwrap();
        assert_eq!(told(&place.store()), without(Some(at)), "{file} is a directory");
        let place = filled();
        let (file, elsewhere) = (place.file(file), place.file("elsewhere"));
        std::fs::rename(&file, &elsewhere).unwrap();
        symlink(&elsewhere, &file).unwrap();
        assert_eq!(told(&place.store()), without(Some(at)), "a link is not followed, whatever it leads to");
        assert!(elsewhere.exists());
    }
}

#[test]
fn what_a_killed_command_began_to_write_is_no_record() {
    let place = filled();
    let half = &place.read(FILES[3])[..40];
    let leftovers =
        ["run/.active.json.tmp", "run/pending/.attach:c9@eth0.json.tmp", "run/endpoints/c1/.eth0.json.tmp"];
    leftovers.iter().for_each(|name| std::fs::write(place.file(name), half).unwrap());
    symlink("c9@eth0", place.file("run/leases/blue/.10.0.0.9.tmp")).unwrap();
    assert_eq!(told(&place.store()), without(None));
    place.store().begin().unwrap().sweep().unwrap();
    assert!(leftovers.iter().all(|name| !place.file(name).exists()));
    assert!(place.file("run/leases/blue/.10.0.0.9.tmp").symlink_metadata().is_err());
    assert_eq!(told(&place.store()), without(None));
}

#[test]
fn another_boots_files_are_discarded_and_the_networks_stay() {
    let place = filled();
    std::fs::remove_file(place.file("run/boot")).unwrap();
    symlink("11111111-2222-3333-4444-555555555555", place.file("run/boot")).unwrap();
    let told_now = told(&place.store());
    assert_eq!(told_now.networks, [network()]);
    let nothing = Told {
        networks: vec![network()],
        active: Active::new(),
        saved: Saved::default(),
        endpoints: vec![],
        pending: vec![],
        noticed: 0,
    };
    assert_eq!(told_now, nothing);
    let store = place.store();
    assert_eq!(
        store.claims().count(&"blue".parse().unwrap()).unwrap(),
        0,
        "the leases went with the containers"
    );
}

#[test]
fn a_place_of_somebody_elses_is_not_used() {
    let place = filled();
    let link = place.file("link");
    symlink(place.file("run"), &link).unwrap();
    let paths = qiao_store::Paths {
        state: place.file("state").to_string_lossy().into(),
        run: link.to_string_lossy().into(),
    };
    assert!(Store::open(&paths).is_err(), "a link could lead anywhere");
}

#[test]
fn f1_an_unreadable_record_keeps_its_place_and_its_claims() {
    let place = filled();
    std::fs::write(place.file(FILES[3]), b"{").unwrap();
    let store = place.store();
    let txn = store.begin().unwrap();
    assert_eq!(txn.unreadable().unwrap().into_keys().map(|name| name.key()).collect::<Vec<_>>(), ["c1@eth0"]);
    let blue: qiao_core::NetworkName = "blue".parse().unwrap();
    let held = txn.claims().held_by("c1@eth0").unwrap();
    assert_eq!(held, [(blue.clone(), "10.0.0.2".parse().unwrap())]);
    assert_eq!(txn.claims().networks_of("c1@eth0").unwrap(), [blue]);
    let name = txn.unreadable().unwrap().into_keys().next().unwrap();
    txn.drop_unreadable(&name).unwrap();
    assert!(txn.unreadable().unwrap().is_empty() && !place.file("run/endpoints/c1").exists());
    assert!(place.file("run/quarantine/c1:eth0.json").exists());
}

#[test]
fn f1_what_could_not_be_read_back_is_not_written() {
    let place = filled();
    let store = place.store();
    let txn = store.begin().unwrap();
    let mut large = endpoint("c4", 5, &["8080:80"]);
    let one = large.publish()[0];
    let odd = (1..u16::MAX).step_by(2).map(|port| {
        let mut next = one;
        next.listen.ports = qiao_core::port::PortRange::one(port).unwrap();
        next
    });
    let odd: Vec<_> = odd.collect();
    let mut begin = |times: usize| {
        large.wire.as_mut().unwrap().publish = (0..times).flat_map(|_| odd.clone()).collect();
        txn.changes().unwrap().attach(&journal(large.clone())).map(|()| large.clone())
    };
    let error = begin(8).unwrap_err();
    assert!(matches!(&error, qiao_store::StoreError::TooLarge { .. }), "{error}");
    let pending = place.file("run/pending");
    assert_eq!(std::fs::read_dir(&pending).unwrap().count(), 1, "nothing but what was begun before");
    let written = begin(1).unwrap();
    txn.changes().unwrap().attached(&written, &txn.endpoints_dir().unwrap()).unwrap();
    let read = txn.endpoint(written.sandbox(), "eth0").unwrap();
    assert_eq!(read, Some(written), "all that is written is read back");
}
