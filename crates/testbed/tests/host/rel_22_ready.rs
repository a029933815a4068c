//! R-REL 22: what is told to be attached can be used at once, by IPv6 too: the kernel installs its addresses later
//! than it says.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Place, Protocol, Service, ask, run};
use std::net::{Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether a packet to the own address comes back at once.
fn reaches_itself(place: &Place, ip: Ipv6Addr) -> bool {
    place.inside(|| {
        let Ok(socket) = UdpSocket::bind((ip, 0)) else { return false };
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let to = socket.local_addr().unwrap();
        socket.send_to(b"x", to).is_ok() && socket.recv_from(&mut [0; 8]).is_ok()
    })
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn ipv6_addresses_are_there() {
    on_a_host(|host| {
        host.ok("network create front --ipv6 --subnet 172.30.0.0/24 --subnet fd00:30::/64");
        let is_late = |number: &u32| {
            let place = host.attached(&format!("c{number}"), "--network front");
            let ready = reaches_itself(&place, format!("fd00:30::{:x}", number + 2).parse().unwrap());
            host.ok(&format!("detach c{number}"));
            !ready
        };
        let late: Vec<u32> = beside_busy_links(|| (0..40).filter(is_late).collect());
        assert!(late.is_empty(), "not usable at once: {late:?}");
    });
}

/// While the kernel's worker has to wait for the lock of all links most of the time.
fn beside_busy_links<T>(act: impl FnOnce() -> T) -> T {
    run("ip netns add busy");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..3 {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    run(&format!("ip -n busy link add b{number} type bridge"));
                    run(&format!("ip -n busy link del b{number}"));
                }
            });
        }
        let done = act();
        stop.store(true, Ordering::Relaxed);
        done
    })
}

/// A bridge that was made anew, with ports that were there: it drops what it is to send until its link event is run.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_bridge_that_was_mended_passes_at_once() {
    on_a_host(|host| {
        host.ok("network create front --subnet 172.30.0.0/24");
        let web = host.attached("web", "--network front");
        let _service = Service::start(&web, Protocol::Udp, "0.0.0.0:80");
        assert!(ask(&Place::HOST, Protocol::Udp, "172.30.0.2:80").is_some(), "the control");
        let is_lost = |_: &u32| {
            run("ip link del br-front");
            host.ok("repair");
            ask(&Place::HOST, Protocol::Udp, "172.30.0.2:80").is_none()
        };
        let lost: Vec<u32> = beside_busy_links(|| (0..20).filter(is_lost).collect());
        assert!(lost.is_empty(), "the first packet was lost: {lost:?}");
    });
}
