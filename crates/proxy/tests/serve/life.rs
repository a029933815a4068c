//! The proxy begins, obeys, is killed, begins again, and ends.

use crate::proxy::{Proxy, entry, in_host, put, serving, within};
use qiao_proxy::Table;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::{fs, thread};

/// A server that says its name.
fn named(address: &str, name: &'static str) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            stream.write_all(name.as_bytes()).unwrap();
        }
    });
}

/// Who answers; nobody where the connection is refused.
fn who(to: &str) -> Option<String> {
    let mut text = String::new();
    TcpStream::connect(to).ok()?.read_to_string(&mut text).ok()?;
    Some(text)
}

#[test]
#[ignore = "needs root"]
fn entries_come_change_and_go() {
    in_host("life::entries_come_change_and_go", |run| {
        named("127.0.0.2:80", "one");
        named("127.0.0.3:80", "two");
        named("127.0.0.2:81", "next");
        let (table, mut proxy) = serving(run, &entry("tcp:8080-8081:0.0.0.0", "127.0.0.2:80"));
        assert_eq!(who("127.0.0.1:8080").as_deref(), Some("one"));
        assert_eq!(who("127.0.0.1:8081").as_deref(), Some("next"), "a range");
        put(&table, &entry("tcp:8080-8081:0.0.0.0", "127.0.0.3:80")).unwrap();
        assert_eq!(who("127.0.0.1:8080").as_deref(), Some("two"), "it leads elsewhere now");
        put(&table, &entry("tcp:9000-9000:127.0.0.1", "127.0.0.2:80")).unwrap();
        table.take("tcp:8080-8081:0.0.0.0").unwrap();
        assert!(within(|| !table.has_state("tcp:8080-8081:0.0.0.0").unwrap()));
        assert_eq!(who("127.0.0.1:8080"), None);
        assert_eq!(who("127.0.0.1:9000").as_deref(), Some("one"));
        table.take("tcp:9000-9000:127.0.0.1").unwrap();
        assert!(proxy.ends(), "nothing is left to serve");
        assert_eq!(table.server().unwrap(), None);
    });
}

/// Of a container on two networks, one of which has IPv6, both are there.
#[test]
#[ignore = "needs root"]
fn what_is_on_the_loopback_address_itself_comes_first() {
    in_host("life::what_is_on_the_loopback_address_itself_comes_first", |run| {
        named("127.0.0.2:80", "itself");
        named("127.0.0.3:80", "all");
        named("127.0.0.3:81", "all, next");
        let (all, itself) =
            (entry("tcp:8080-8081:::", "127.0.0.3:80"), entry("tcp:8080-8080:::1", "127.0.0.2:80"));
        for (first, second) in [(&all, &itself), (&itself, &all)] {
            let (table, mut proxy) = serving(run, first);
            put(&table, second).expect("both are served");
            assert_eq!(who("[::1]:8080").as_deref(), Some("itself"));
            assert_eq!(who("[::1]:8081").as_deref(), Some("all, next"), "nobody else has it");
            table.take(&itself.name()).unwrap();
            assert!(within(|| who("[::1]:8080").as_deref() == Some("all")), "it goes over");
            put(&table, &itself).expect("and comes back");
            assert_eq!(who("[::1]:8080").as_deref(), Some("itself"));
            table.take(&all.name()).unwrap();
            assert!(within(|| who("[::1]:8081").is_none()));
            assert_eq!(who("[::1]:8080").as_deref(), Some("itself"));
            table.take(&itself.name()).unwrap();
            assert!(proxy.ends(), "nothing is left to serve");
        }
    });
}

#[test]
#[ignore = "needs root"]
fn a_killed_one_is_replaced() {
    in_host("life::a_killed_one_is_replaced", |run| {
        named("127.0.0.2:80", "one");
        let wanted = entry("tcp:8080-8080:0.0.0.0", "127.0.0.2:80");
        let (table, proxy) = serving(run, &wanted);
        assert!(within(|| table.server().unwrap() == Some(proxy.0.id())), "it says which process it is");
        let mut second = Proxy::start(run);
        assert!(second.ends(), "there is one already");
        proxy.kill();
        assert_eq!((table.server().unwrap(), who("127.0.0.1:8080")), (None, None));
        let mut third = Proxy::start(run);
        assert!(within(|| who("127.0.0.1:8080").as_deref() == Some("one")));
        fs::rename(format!("{run}/loopback"), format!("{run}/elsewhere")).unwrap();
        assert!(third.ends(), "its directory is gone");
    });
}

#[test]
#[ignore = "needs root"]
fn what_is_in_the_way_is_told() {
    in_host("life::what_is_in_the_way_is_told", |run| {
        let (table, _proxy) = serving(run, &entry("tcp:8080-8080:0.0.0.0", "127.0.0.2:80"));
        let taken = TcpListener::bind("127.0.0.1:9001").unwrap();
        let range = entry("tcp:9000-9001:0.0.0.0", "127.0.0.2:80");
        let why = put(&table, &range).unwrap_err();
        assert!(why.contains("in use"), "{why}");
        TcpListener::bind("127.0.0.1:9000").expect("half a range is not served");
        drop(taken);
    });
}

/// It listens on loopback addresses only, holds one privilege only, and listens nowhere it was not told to.
#[test]
#[ignore = "needs root"]
fn it_has_no_more_than_it_needs() {
    in_host("life::it_has_no_more_than_it_needs", |run| {
        let (_table, proxy) = serving(run, &entry("tcp:80-80:0.0.0.0", "127.0.0.2:80"));
        assert_eq!(qiao_proxy::Entry::parse("tcp:80-80:10.0.0.1", "127.0.0.2:80 x"), None);
        // Privileges are a thread's: the test's process has another, which the command has not.
        let tasks = fs::read_dir(format!("/proc/{}/task", proxy.0.id())).unwrap();
        let statuses = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap());
        let only = format!("{:016x}", 1 << 10);
        let confined = |status: &String| {
            let has = |line: String| status.contains(&line);
            has(format!("CapPrm:\t{only}")) && has(format!("CapEff:\t{only}")) && has("NoNewPrivs:\t1".into())
        };
        assert_eq!(statuses.filter(confined).count(), 1, "only the one for low ports");
        let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
        let listening: Vec<&str> = sockets.lines().filter(|line| line.contains(" 0A ")).collect();
        assert_eq!(listening.len(), 1);
        assert!(listening[0].contains(" 0100007F:0050 "), "{listening:?}");
        assert!(Table::open(run).unwrap().is_some());
    });
}
