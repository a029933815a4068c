//! Entries come, go, and are found.

use crate::hooks;
use crate::host::{
    V4, V6, end, in_host, linux, owner, reach, refusal, serve, state, survey, talk, tcp, tcp_server, udp,
    usual_container,
};
use qiao_core::plan::{Key, Ownership, Value};
use qiao_core::port::{Backend, HostAddr, Listen, PortRange, Protocol};
use qiao_core::subnet::Family;
use std::io::ErrorKind;

#[test]
#[ignore = "needs root"]
fn nothing_is_left_after_the_last() {
    in_host("entries::nothing_is_left_after_the_last", || {
        let container = usual_container();
        tcp_server(&container, "[::]:80");
        let (four, six) = (tcp("0.0.0.0:8080", &format!("{V4}:80")), tcp("[::]:8080", &format!("[{V6}]:80")));
        assert_eq!(hooks::count(), 0);
        let mut linux = serve(&[four, six]);
        assert_eq!(hooks::count(), 8);
        assert!(linux_plans_nothing(&[four, six]), "the same again");
        reach(&mut linux, &state(&[four]));
        talk("127.0.0.1:8080");
        assert_eq!(refusal("[::1]:8080"), ErrorKind::ConnectionRefused, "that entry is gone");
        assert_eq!(hooks::count(), 8);
        reach(&mut linux, &state(&[]));
        assert_eq!(refusal("127.0.0.1:8080"), ErrorKind::ConnectionRefused);
        assert_eq!(hooks::count(), 8, "they wait for the next");
        reach(&mut linux, &state(&[six]));
        talk("[::1]:8080");
        end(&mut linux);
        assert_eq!(hooks::count(), 0);
        reach(&mut linux, &state(&[six]));
        talk("[::1]:8080");
    });
}

/// More than one call brings.
#[test]
#[ignore = "needs root"]
fn many_are_found() {
    in_host("entries::many_are_found", || {
        let ports = PortRange::new(20000, 32999).unwrap();
        let range = Listen { protocol: Protocol::Tcp, host: HostAddr::Any(Family::V4), ports };
        let wanted = [
            (range, Backend { ip: V4.parse().unwrap(), port: 20000 }),
            tcp("[::1]:20000", &format!("[{V6}]:80")),
            udp("127.0.0.9:20000", &format!("{V4}:80")),
        ];
        drop(serve(&wanted));
        let found = survey(&mut linux());
        assert_eq!(found.iter().count(), wanted.len());
        for (listen, backend) in wanted {
            assert_eq!(found.get(&Key::Loopback(listen)).unwrap().value, Value::Backend(backend), "{listen}");
        }
        reach(&mut linux(), &state(&wanted[1..]));
        assert_eq!(survey(&mut linux()).iter().count(), 2);
    });
}

fn linux_plans_nothing(entries: &[(Listen, Backend)]) -> bool {
    reach(&mut linux(), &state(entries)).is_empty()
}

#[test]
#[ignore = "needs root"]
fn another_command_finds_what_one_made() {
    in_host("entries::another_command_finds_what_one_made", || {
        let ports = PortRange::new(20000, 20100).unwrap();
        let range = Listen { protocol: Protocol::Udp, host: HostAddr::Any(Family::V4), ports };
        let wanted = [
            tcp("0.0.0.0:8080", &format!("{V4}:80")),
            udp("[::1]:8080", &format!("[{V6}]:80")),
            (range, Backend { ip: V4.parse().unwrap(), port: 20000 }),
        ];
        drop(serve(&wanted));
        let found = survey(&mut linux());
        assert_eq!(found.iter().count(), 3);
        for (listen, backend) in wanted {
            let found = found.get(&Key::Loopback(listen)).unwrap();
            assert_eq!(found.owner, Ownership::Marked(owner()));
            assert_eq!(found.value, Value::Backend(backend));
        }
        reach(&mut linux(), &state(&wanted[..1]));
        assert_eq!(survey(&mut linux()).iter().count(), 1);
    });
}

/// Somebody took one program off: whoever looks thoroughly sees it, and what is mended works again.
#[test]
#[ignore = "needs root"]
fn a_missing_hook_is_found_and_mended() {
    in_host("entries::a_missing_hook_is_found_and_mended", || {
        use qiao_kernel::Kernel;
        let container = usual_container();
        tcp_server(&container, "0.0.0.0:80");
        let wanted = [tcp("0.0.0.0:8080", &format!("{V4}:80"))];
        for hook in hooks::HOOKS {
            drop(serve(&wanted));
            hooks::strip(hook);
            let mut linux = linux();
            linux.trust(None);
            assert_eq!(
                survey(&mut linux).get(&Key::Loopback(wanted[0].0)).unwrap().value,
                Value::Present,
                "{hook}"
            );
            reach(&mut linux, &state(&wanted));
            assert_eq!(hooks::HOOKS.map(|hook| hooks::at(hook).len()), [1; 8], "{hook}");
            let (stream, _) = talk("127.0.0.1:8080");
            assert_eq!(stream.peer_addr().unwrap().to_string(), "127.0.0.1:8080");
        }
        hooks::HOOKS.into_iter().for_each(hooks::strip);
        reach(&mut linux(), &state(&wanted));
        talk("127.0.0.1:8080");
        end(&mut linux());
        assert_eq!(hooks::count(), 0);
    });
}
