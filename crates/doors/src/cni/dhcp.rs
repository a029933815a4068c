//! The address management `dhcp`: what its configuration asks for, and its result.

use super::answer::{Address, Answer, Fields, Route};
use super::call::Args;
use super::config::Config;
use super::doc::{Doc, wrong};
use super::failure::Failure;
use qiao_core::dhcp::{Terms, Trouble};
use qiao_core::subnet::Family;
use serde_json::Value;
use std::net::IpAddr;

/// Where the daemon is asked unless told otherwise.
pub const SOCKET: &str = "/run/cni/dhcp.sock";
/// The longest content of an option.
const LONGEST: usize = 255;
/// What is asked for unless told otherwise: the subnet's mask, routers, name servers, domain, MTU, routes.
const REQUEST: [u8; 6] = [1, 3, 6, 15, 26, 121];
/// What must be asked for with `skipDefault` too: an address without its mask is none.
const NEEDED: [u8; 1] = [1];
/// Options that have names (as the reference has them).
const NAMES: [(&str, u8); 6] = [
    ("dhcp-client-identifier", 61),
    ("subnet-mask", 1),
    ("routers", 3),
    ("host-name", 12),
    ("user-class", 77),
    ("vendor-class-identifier", 60),
];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the daemon is asked.
    pub socket: String,
    /// Options that are sent.
    pub provide: Vec<(u8, Vec<u8>)>,
    /// Options that are asked for.
    pub request: Vec<u8>,
    /// The priority of the routes in the result.
    pub priority: Option<u32>,
}

impl Settings {
    /// Reads the `ipam` of a configuration.
    pub fn parse(config: &Config, args: &Args) -> Result<Self, Failure> {
        let ipam = config.ipam()?.ok_or_else(|| Failure::config("`ipam` is missing"))?;
        Ok(Self {
            socket: socket(config)?,
            provide: provide(ipam, args)?,
            request: request(ipam)?,
            priority: ipam.number("priority", u32::MAX.into())?.filter(|n| *n != 0).map(|n| n as u32),
        })
    }

    /// The result for a lease.
    pub fn answer(&self, terms: &Terms) -> Answer {
        let gateway = terms.routers.first().map(|ip| IpAddr::V4(*ip));
        let ip = Address { net: terms.net(), gateway, interface: None, rest: Fields::new() };
        let mut rest = Fields::new();
        rest.extend(self.priority.map(|priority| ("priority".to_owned(), priority.into())));
        let default = gateway.map(|gw| (Family::V4.default_route(), Some(gw)));
        let others = terms.routes.iter().map(|(to, via)| ((*to).into(), via.map(IpAddr::V4)));
        let route = |(dst, gw)| Route { dst, gw, rest: rest.clone() };
        let routes = default.into_iter().chain(others).map(route).collect();
        Answer { ips: vec![ip], routes, dns: dns(terms), ..Answer::default() }
    }
}

/// Where the daemon is asked: all that DEL needs to know.
pub fn socket(config: &Config) -> Result<String, Failure> {
    let path = config.ipam()?.map_or(Ok(None), |ipam| ipam.text("daemonSocketPath"))?;
    Ok(path.unwrap_or(SOCKET).to_owned())
}

/// Why there is no lease, as CNI has it: what may be otherwise later is worth another try.
pub fn failure(trouble: &Trouble) -> Failure {
    let failure =
        Failure::new(if matches!(trouble, Trouble::Refused(_)) { 105 } else { 11 }, trouble.to_string());
    match trouble {
        Trouble::Silent { socket, .. } => {
            failure.because(format!("start it: qiao dhcp-daemon -socketpath {socket}"))
        }
        _ => failure,
    }
}

fn dns(terms: &Terms) -> Fields {
    let mut dns = Fields::new();
    if !terms.dns.is_empty() {
        let servers: Vec<Value> = terms.dns.iter().map(|ip| ip.to_string().into()).collect();
        dns.insert("nameservers".into(), servers.into());
    }
    if let Some(domain) = &terms.domain {
        dns.insert("domain".into(), domain.clone().into());
        dns.insert("search".into(), vec![Value::from(domain.clone())].into());
    }
    dns
}

fn provide(ipam: Doc<'_>, args: &Args) -> Result<Vec<(u8, Vec<u8>)>, Failure> {
    let mut options = Vec::new();
    for entry in ipam.objects("provide")? {
        let code = option(entry)?;
        let from = entry.text("fromArg")?.map(|key| args.get(key).map(String::as_str));
        // Without the argument that it is to be taken from, it is not sent.
        let Some(value) = (match from {
            Some(value) => value,
            None => entry.text("value")?,
        }) else {
            continue;
        };
        if value.len() > LONGEST {
            return Err(Failure::config(format!(
                "`provide`: the value of option {code} is longer than {LONGEST} bytes"
            )));
        }
        options.push((code, value.as_bytes().to_vec()));
    }
    Ok(options)
}

fn request(ipam: Doc<'_>) -> Result<Vec<u8>, Failure> {
    let (mut codes, mut skip) = (Vec::new(), false);
    for entry in ipam.objects("request")? {
        skip |= entry.is_on("skipDefault")?;
        if entry.get("option").is_some() {
            codes.push(option(entry)?);
        }
    }
    let default: &[u8] = if skip { &NEEDED } else { &REQUEST };
    codes.splice(0..0, default.iter().copied());
    let mut seen = std::collections::BTreeSet::new();
    codes.retain(|code| seen.insert(*code));
    Ok(codes)
}

/// An option by its name or number. Those by which the client is told apart or led are not the user's.
fn option(entry: Doc<'_>) -> Result<u8, Failure> {
    let value = entry.get("option").ok_or_else(|| Failure::config("`option` is missing"))?;
    let number = match value {
        Value::String(text) => {
            let named = NAMES.iter().find(|(name, _)| name == text).map(|(_, code)| u64::from(*code));
            named.or_else(|| text.parse().ok())
        }
        other => other.as_u64(),
    };
    let is_own = |code: &u8| !matches!(code, 0 | 50..=55 | 57 | 255);
    let code = number.and_then(|number| u8::try_from(number).ok()).filter(is_own);
    code.ok_or_else(|| wrong("option", value, "a DHCP option that can be given or asked for"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(ipam: &str, args: &[(&str, &str)]) -> Result<Settings, Failure> {
        let text = format!(
            r#"{{"cniVersion":"1.1.0","name":"n1","type":"macvlan","ipam":{{"type":"dhcp"{ipam}}}}}"#
        );
        let args = args.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Settings::parse(&Config::parse(text.as_bytes()).unwrap(), &args)
    }

    #[test]
    fn options_by_name_by_number_and_out_of_the_arguments() {
        let more = r#","provide":[{"option":"host-name","fromArg":"K8S_POD_NAME"},{"option":"12","fromArg":"NONE"},
            {"option":"vendor-class-identifier","value":"qiao"}],"request":[{"option":"42"},{"option":"routers"}]"#;
        let read = settings(more, &[("K8S_POD_NAME", "web")]).unwrap();
        assert_eq!(read.provide, [(12, b"web".to_vec()), (60, b"qiao".to_vec())]);
        assert_eq!(read.request, [1, 3, 6, 15, 26, 121, 42]);
        assert_eq!((&*read.socket, read.priority), (SOCKET, None));
        let read = settings(r#","request":[{"skipDefault":true},{"option":"3"}],"priority":7"#, &[]).unwrap();
        assert_eq!((read.request, read.priority), (vec![1, 3], Some(7)));
    }

    #[test]
    fn options_that_are_not_the_users_are_refused() {
        let long = "x".repeat(256);
        for bad in [
            r#","provide":[{"option":"53","value":"x"}]"#.to_owned(),
            r#","provide":[{"option":"colour","value":"x"}]"#.into(),
            r#","provide":[{"value":"x"}]"#.into(),
            r#","request":[{"option":"256"}]"#.into(),
            format!(r#","provide":[{{"option":"12","value":"{long}"}}]"#),
        ] {
            assert_eq!(settings(&bad, &[]).unwrap_err().code, 7, "{bad}");
        }
    }
}
