//! R-REL 22: what is told to be attached can be used at once, by IPv6 too: the kernel installs its addresses later
//! than it says.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Place, run};
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
        run("ip netns add busy");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // The kernel's worker needs the lock that these hold most of the time.
            for number in 0..3 {
                let stop = &stop;
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        run(&format!("ip -n busy link add b{number} type bridge"));
                        run(&format!("ip -n busy link del b{number}"));
                    }
                });
            }
            let late: Vec<u32> = (0..40)
                .filter(|number| {
                    let place = host.attached(&format!("c{number}"), "--network front");
                    let ready = reaches_itself(&place, format!("fd00:30::{:x}", number + 2).parse().unwrap());
                    host.ok(&format!("detach c{number}"));
                    !ready
                })
                .collect();
            stop.store(true, Ordering::Relaxed);
            assert!(late.is_empty(), "not usable at once: {late:?}");
        });
    });
}
