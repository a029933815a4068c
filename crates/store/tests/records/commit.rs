//! A change counts with one rename, and one command at a time makes any.

use crate::place::{Place, endpoint, filled, journal};
use qiao_store::Pending;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn the_record_is_the_journal_moved() {
    let place = Place::new();
    let store = place.store();
    let txn = store.begin().unwrap();
    let endpoint = endpoint("c1", 2, &[]);
    let changes = txn.changes().unwrap();
    changes.attach(&journal(endpoint.clone())).unwrap();
    let (pending, record) =
        (place.file("run/pending/attach:c1@eth0.json"), place.file("run/endpoints/c1/eth0.json"));
    let inode = std::fs::metadata(&pending).unwrap().ino();
    changes.attached(&endpoint, &txn.endpoints_dir().unwrap()).unwrap();
    assert!(!pending.exists());
    assert_eq!(std::fs::metadata(&record).unwrap().ino(), inode, "it was not written again");
    assert_eq!(txn.endpoints().unwrap(), std::slice::from_ref(&endpoint));

    changes.detach(&endpoint, &txn.endpoints_dir().unwrap()).unwrap();
    let leaving = place.file("run/pending/detach:c1@eth0.json");
    assert_eq!(std::fs::metadata(&leaving).unwrap().ino(), inode, "nor to leave");
    assert!(!place.file("run/endpoints/c1").exists());
    let qiao_store::Begun { changes: pending, bad, .. } = changes.read().unwrap();
    assert_eq!((pending, bad.len()), (vec![Pending::Detach(Box::new(journal(endpoint.clone())))], 0));
    changes.detached(&endpoint).unwrap();
    assert!(!leaving.exists());
}

#[test]
fn what_was_begun_is_found_by_the_next() {
    let place = filled();
    let store = place.store();
    let txn = store.begin().unwrap();
    let qiao_store::Begun { changes: pending, bad, .. } = txn.changes().unwrap().read().unwrap();
    assert_eq!(pending, [Pending::Attach(Box::new(journal(endpoint("c3", 4, &[]))))]);
    assert!(bad.is_empty());
    assert_eq!(txn.endpoints().unwrap().len(), 2, "what has begun is no endpoint yet");
}

#[test]
fn the_second_waits_for_the_first() {
    let place = Place::new();
    let store = place.store();
    let txn = store.begin().unwrap();
    let got = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let store = place.store();
            let _second = store.begin().unwrap();
            got.store(true, Ordering::SeqCst);
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(!got.load(Ordering::SeqCst), "it did not wait");
        drop(txn);
    });
    assert!(got.load(Ordering::SeqCst));
}
