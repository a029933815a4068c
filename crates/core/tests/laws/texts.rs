//! What is printed can be read again, and nothing that is read makes anything panic.

use crate::generate::{any_network, mac, owner, ports, protocol, subnet};
use proptest::option;
use proptest::prelude::*;
use qiao_core::owner::MARK_MAX;
use qiao_core::port::{PortRange, PublishSpec};
use qiao_core::settings::{AutoToggle, MtuSetting, Settings, Toggle};
use qiao_core::{Hostname, IfName, Mac, Network, NetworkName, Owner, Protocol, SandboxName, Subnet};
use std::fmt::{Debug, Display};
use std::net::IpAddr;
use std::str::FromStr;

fn round_trips<T: FromStr + Display + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError>
where
    T::Err: Debug,
{
    let text = value.to_string();
    prop_assert_eq!(&text.parse::<T>().unwrap(), value, "{}", text);
    Ok(())
}

fn spec() -> impl Strategy<Value = PublishSpec> {
    let ip = option::of(prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
    ]);
    (ip, option::of(ports()), ports(), any::<bool>(), protocol()).prop_map(
        |(host_ip, host, container, one, protocol)| {
            let container = match host {
                _ if one => PortRange::one(container.first()).unwrap(),
                Some(host) => {
                    let first = container.first().min(u16::MAX - host.count());
                    PortRange::new(first, first + host.count() - 1).unwrap()
                }
                None => container,
            };
            PublishSpec { host_ip, host, container, protocol }
        },
    )
}

fn settings() -> impl Strategy<Value = Settings> {
    let toggle = prop_oneof![Just(Toggle::On), Just(Toggle::Off)];
    let auto = prop_oneof![Just(AutoToggle::On), Just(AutoToggle::Off), Just(AutoToggle::Auto)];
    let mtu = prop_oneof![Just(MtuSetting::Auto), (68u32..65536).prop_map(MtuSetting::Bytes)];
    (
        proptest::collection::vec(subnet(), 0..3),
        toggle,
        auto,
        mtu,
        any::<[u8; 16]>(),
        any::<bool>(),
        "\\PC{0,20}",
    )
        .prop_map(|(avoid_subnets, isolate, ipv6, mtu, ip, icc, label)| Settings {
            avoid_subnets,
            isolate,
            ipv6,
            mtu,
            icc,
            dns: vec![ip.into()],
            labels: vec![label],
            ..Settings::default()
        })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_again(
        mac in mac(), subnet in subnet(), ports in ports(), protocol in protocol(), spec in spec(),
        word in "[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", ifname in "[!-~]{1,15}",
        host in "[a-z0-9_-]{1,20}(\\.[a-z0-9_-]{1,20}){0,3}",
    ) {
        round_trips(&mac)?;
        round_trips(&subnet)?;
        round_trips(&ports)?;
        round_trips(&protocol)?;
        spec.check().unwrap();
        round_trips(&spec)?;
        round_trips(&NetworkName::new(&word).unwrap())?;
        round_trips(&SandboxName::new(&word).unwrap())?;
        round_trips(&Hostname::new(&host).unwrap())?;
        if let Ok(name) = IfName::new(&ifname) {
            round_trips(&name)?;
        }
    }

    #[test]
    fn marks_tell_whose_and_never_lie(a in owner(), b in owner()) {
        for owner in [&a, &b] {
            let mark = owner.mark();
            prop_assert!(mark.len() <= MARK_MAX);
            prop_assert!(mark.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'), "safe in a comment: {}", mark);
            match Owner::parse(&mark) {
                Some(parsed) => prop_assert_eq!(&parsed, owner),
                None => prop_assert!(mark.starts_with("qiao:hash:")),
            }
        }
        prop_assert_eq!(a.mark() == b.mark(), a == b);
    }

    #[test]
    fn networks_and_settings_survive_their_files(network in any_network(), settings in settings()) {
        let text = serde_json::to_string(&network).unwrap();
        prop_assert_eq!(serde_json::from_str::<Network>(&text).unwrap(), network);
        settings.check().unwrap();
        let text = toml::to_string(&settings).unwrap();
        prop_assert_eq!(toml::from_str::<Settings>(&text).unwrap(), settings, "{}", text);
    }

    #[test]
    fn nothing_that_is_read_panics(text in arbitrary()) {
        read_as_everything(&text);
    }

    #[test]
    fn nor_what_nearly_makes_sense(spec in spec(), owner in owner(), at in any::<prop::sample::Index>(), with in any::<char>()) {
        for text in [spec.to_string(), owner.mark()] {
            let mut chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len());
            chars[at] = with;
            read_as_everything(&chars.iter().collect::<String>());
            chars.truncate(at);
            read_as_everything(&chars.into_iter().collect::<String>());
        }
    }

    #[test]
    fn settings_that_are_read_hold_or_are_refused(text in setting()) {
        if let Ok(settings) = toml::from_str::<Settings>(&text) {
            let _ = settings.check();
            let _ = settings.bip_pool();
        }
        if let Ok(settings) = serde_json::from_str::<Settings>(&text) {
            let _ = settings.check();
        }
        let _ = serde_json::from_str::<Network>(&text);
    }
}

/// Anything, and anything made of what these texts are made of.
fn arbitrary() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        any::<String>(),
        "[0-9a-f:./\\[\\]-]{0,40}",
        "[0-9:-]{0,12}(/(tcp|udp|x))?",
        "qiao:[a-z:/]{0,30}"
    ]
}

/// A line of a settings file, with a value that may or may not fit.
fn setting() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        Just("bip"),
        Just("fixed-cidr"),
        Just("mtu"),
        Just("icc"),
        Just("avoid-subnets"),
        Just("default-address-pools"),
        Just("loopback"),
        Just("dns"),
        Just("publish-address"),
    ];
    let value = prop_oneof![
        "\"[0-9a-f.:/]{0,18}\"",
        "\"([0-9]{1,3}\\.){3}[0-9]{1,3}/[0-9]{1,2}\"",
        "-?[0-9]{1,20}",
        "true|false",
        "\\[\\]",
        "\\[\\{ base = \"10\\.0\\.0\\.0/[0-9]{1,2}\", size = [0-9]{1,3} \\}\\]",
        "\\PC{0,20}",
    ];
    prop_oneof![4 => (key, value).prop_map(|(key, value)| format!("{key} = {value}\n")), 1 => arbitrary()]
}

fn read_as_everything(text: &str) {
    let _ = text.parse::<NetworkName>();
    let _ = text.parse::<SandboxName>();
    let _ = text.parse::<IfName>();
    let _ = text.parse::<Hostname>();
    let _ = text.parse::<Subnet>();
    let _ = text.parse::<Mac>();
    let _ = text.parse::<Protocol>();
    let _ = text.parse::<PortRange>();
    let _ = Owner::parse(text);
    assert!(qiao_core::name::quoted(text).chars().all(|c| !c.is_control()));
    if let Ok(spec) = text.parse::<PublishSpec>() {
        spec.check().unwrap();
        assert_eq!(spec.to_string().parse::<PublishSpec>().unwrap(), spec, "{text}");
    }
}
