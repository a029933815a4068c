//! `conditionsV4` and `conditionsV6` of `portmap`: matches of `iptables`, or of nft, that the reference puts into the rules
//! of a container. Those about addresses can be told to the engine; others are refused.

use super::config::Config;
use super::failure::Failure;
use ipnet::IpNet;
use qiao_core::Subnet;
use qiao_core::condition::{Condition, Side};
use qiao_core::subnet::Family;
use std::net::IpAddr;

/// What must hold of packets to the published ports.
pub fn conditions(config: &Config) -> Result<Vec<Condition>, Failure> {
    let mut all = Vec::new();
    for (key, family) in [("conditionsV4", Family::V4), ("conditionsV6", Family::V6)] {
        let text = config.doc().texts(key)?.join(" ");
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut left = words.as_slice();
        while let Some(word) = left.first() {
            let (condition, rest) = read(left, family)
                .ok_or_else(|| refused(key, left.get(..2).map_or((*word).to_owned(), |two| two.join(" "))))?;
            all.push(condition);
            left = rest;
        }
    }
    Ok(all)
}

fn refused(key: &str, what: String) -> Failure {
    Failure::unsupported(key, what).because(
        "published ports are elements of maps that all share: of conditions there may be `[!] -s NET`, `[!] -d NET`, \
         and in nft's words `ip saddr [!=] NET`, `ip daddr [!=] NET` (`ip6` in conditionsV6)",
    )
}

/// The condition at the front, and what is behind it.
fn read<'a>(words: &'a [&'a str], family: Family) -> Option<(Condition, &'a [&'a str])> {
    let ip = if family == Family::V4 { "ip" } else { "ip6" };
    let (side, not, value) = match words {
        ["!", option, value @ ..] => (side(option)?, true, value),
        [word, field, value @ ..] if *word == ip => match (side(field)?, value) {
            (side, ["!=", value @ ..]) => (side, true, value),
            (side, ["==", value @ ..]) => (side, false, value),
            (side, value) => (side, false, value),
        },
        [option, value @ ..] => (side(option)?, false, value),
        [] => return None,
    };
    let (list, rest) = match value {
        ["{", more @ ..] => {
            let end = more.iter().position(|word| *word == "}")?;
            (more[..end].concat(), &more[end + 1..])
        }
        [list, rest @ ..] => ((*list).to_owned(), rest),
        [] => return None,
    };
    let nets = list.split(',').map(|net| subnet(net, family)).collect::<Option<Vec<_>>>()?;
    Some((Condition { side, nets, not }, rest))
}

fn side(word: &str) -> Option<Side> {
    match word {
        "-s" | "--source" | "--src" | "saddr" => Some(Side::Source),
        "-d" | "--destination" | "--dst" | "daddr" => Some(Side::Target),
        _ => None,
    }
}

/// An address, with a prefix length or a mask behind it or alone.
fn subnet(text: &str, family: Family) -> Option<Subnet> {
    let (ip, length) = text.split_once('/').map_or((text, None), |(ip, length)| (ip, Some(length)));
    let ip: IpAddr = ip.parse().ok().filter(|ip| Family::of(*ip) == family)?;
    let net = match length {
        None => IpNet::from(ip),
        Some(mask) if mask.contains(['.', ':']) => IpNet::with_netmask(ip, mask.parse().ok()?).ok()?,
        Some(length) => IpNet::new(ip, length.parse().ok()?).ok()?,
    };
    Some(Subnet::around(net))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(v4: &str, v6: &str) -> Result<Vec<String>, Failure> {
        let text = format!(r#"{{"name":"n","conditionsV4":{v4},"conditionsV6":{v6}}}"#);
        let all = conditions(&Config::parse(text.as_bytes()).unwrap())?;
        let text = |condition: &Condition| {
            let nets: Vec<String> = condition.nets.iter().map(Subnet::to_string).collect();
            format!("{}{:?} {}", if condition.not { "not " } else { "" }, condition.side, nets.join(","))
        };
        Ok(all.iter().map(text).collect())
    }

    #[test]
    fn addresses_are_understood() {
        let both = told(r#"["!","-d","192.0.2.0/24"]"#, r#"["!", "-d", "fc00::/7"]"#).unwrap();
        assert_eq!(both, ["not Target 192.0.2.0/24", "not Target fc00::/7"]);
        let more = r#"["--source","10.0.0.0/255.0.0.0,192.0.2.7","!","--dst","198.51.100.1"]"#;
        let wanted = ["Source 10.0.0.0/8,192.0.2.7/32", "not Target 198.51.100.1/32"];
        assert_eq!(told(more, "[]").unwrap(), wanted);
        let native = r#"["ip saddr { 10.0.0.0/8, 192.0.2.7 }", "ip", "daddr", "!=", "198.51.100.1"]"#;
        assert_eq!(told(native, "[]").unwrap(), wanted);
        assert!(told("[]", "null").unwrap().is_empty());
    }

    #[test]
    fn others_are_refused_by_name() {
        for bad in [
            r#"["-i","eth0"]"#,
            r#"["!","-d"]"#,
            r#"["-d","::1"]"#,
            r#"["-d","example.org"]"#,
            r#"["-d","192.0.2.1","-m","addrtype","--dst-type","LOCAL"]"#,
            r#"["ip6","daddr","::1"]"#,
            r#"["ip daddr {192.0.2.1"]"#,
            r#"["-d","192.0.2.0/33"]"#,
        ] {
            let failure = told(bad, "[]").unwrap_err();
            assert_eq!((failure.code, failure.msg.contains("conditionsV4")), (2, true), "{bad}: {failure}");
        }
    }
}
