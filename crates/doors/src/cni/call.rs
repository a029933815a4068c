//! What the environment says (SPEC.md, section 2, Protocol parameters).

use super::failure::Failure;
use qiao_core::{IfName, SandboxName};
use std::collections::BTreeMap;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Attach.
    Add,
    /// Detach.
    Del,
    /// Look whether all is as it was made.
    Check,
    /// Collect what belongs to no attachment.
    Gc,
    /// Whether ADD would work.
    Status,
    /// Which versions are supported.
    Version,
}

/// `CNI_ARGS`, by key.
pub type Args = BTreeMap<String, String>;

/// A call.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is to be done.
    pub verb: Verb,
    /// The container; of GC, STATUS and VERSION it means nothing.
    pub sandbox: SandboxName,
    /// The path of its network namespace.
    pub netns: Option<String>,
    /// The interface in it.
    pub ifname: IfName,
    /// `CNI_ARGS`.
    pub args: Args,
    /// Where delegates are found.
    pub path: Vec<String>,
    /// The plugin's own namespace is meant, where it is named.
    pub own_netns: bool,
}

/// Reads one variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Call {
    /// The verb; none where there is no `CNI_COMMAND`.
    pub fn verb(environment: Environment<'_>) -> Result<Option<Verb>, Failure> {
        let Some(word) = environment("CNI_COMMAND").filter(|word| !word.is_empty()) else { return Ok(None) };
        let verb = match word.as_str() {
            "ADD" => Verb::Add,
            "DEL" => Verb::Del,
            "CHECK" => Verb::Check,
            "GC" => Verb::Gc,
            "STATUS" => Verb::Status,
            "VERSION" => Verb::Version,
            _ => return Err(Failure::environment(format!("unknown CNI_COMMAND: {word}"))),
        };
        Ok(Some(verb))
    }

    /// Reads all that a verb needs. DEL takes what ADD would not: it only has to find what there is.
    pub fn parse(verb: Verb, environment: Environment<'_>) -> Result<Self, Failure> {
        let get = |name: &str| environment(name).filter(|value| !value.is_empty());
        let attachment = matches!(verb, Verb::Add | Verb::Del | Verb::Check);
        let needed = |name: &str, is_needed: bool| match get(name) {
            None if is_needed => Err(Failure::environment(format!("{name} is missing"))),
            value => Ok(value),
        };
        let container = needed("CNI_CONTAINERID", attachment)?.filter(|_| attachment);
        let ifname = needed("CNI_IFNAME", attachment)?.filter(|_| attachment);
        let netns = needed("CNI_NETNS", matches!(verb, Verb::Add | Verb::Check))?;
        let sandbox = SandboxName::new(container.as_deref().unwrap_or("none"));
        let ifname = IfName::new(ifname.as_deref().unwrap_or("none"));
        let wrong = |name, refusal: qiao_core::Refusal| {
            Failure::environment(format!("{name}: {}", refusal.message))
                .because(refusal.why.unwrap_or_default())
        };
        let args = match verb {
            Verb::Add | Verb::Check => args(&get("CNI_ARGS").unwrap_or_default())?,
            _ => Args::new(),
        };
        Ok(Self {
            verb,
            sandbox: sandbox.map_err(|r| wrong("CNI_CONTAINERID", r))?,
            netns,
            ifname: ifname.map_err(|r| wrong("CNI_IFNAME", r))?,
            args,
            path: get("CNI_PATH").unwrap_or_default().split(':').map(str::to_owned).collect(),
            own_netns: get("CNI_NETNS_OVERRIDE").is_some_and(|w| w == "1" || w.eq_ignore_ascii_case("true")),
        })
    }
}

/// The keys that mean something, and those that Kubernetes sends.
const KNOWN: [&str; 8] = [
    "IP",
    "GATEWAY",
    "MAC",
    "IGNOREUNKNOWN",
    "K8S_POD_NAMESPACE",
    "K8S_POD_NAME",
    "K8S_POD_UID",
    "K8S_POD_INFRA_CONTAINER_ID",
];

fn args(text: &str) -> Result<Args, Failure> {
    let mut args = Args::new();
    for pair in text.split(';').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::environment(format!("CNI_ARGS: `{pair}` is no pair of key and value")))?;
        args.insert(key.to_owned(), value.to_owned());
    }
    let ignore =
        args.get("IgnoreUnknown").is_some_and(|word| word == "1" || word.eq_ignore_ascii_case("true"));
    let unknown = args.keys().find(|key| !KNOWN.contains(&key.to_ascii_uppercase().as_str()));
    match unknown {
        Some(key) if !ignore => Err(Failure::environment(format!("CNI_ARGS: unknown key `{key}`"))
            .because("IgnoreUnknown=1 in CNI_ARGS makes it be ignored")),
        _ => Ok(args),
    }
}
