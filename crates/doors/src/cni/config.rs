//! What standard input says (SPEC.md, section 1).

use super::answer::Answer;
use super::doc::Doc;
use super::failure::Failure;
use super::version::Version;
use qiao_core::NetworkName;
use serde_json::{Map, Value};

/// A plugin's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The version that the answer has to be in.
    pub version: Version,
    /// The network's name.
    pub name: NetworkName,
    /// The answer of the plugins before this one.
    pub prev: Option<Answer>,
    map: Map<String, Value>,
}

impl Config {
    /// Reads a configuration. Without `cniVersion` it is of 0.1.0.
    pub fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let map = object(bytes)?;
        let doc = Doc(&map);
        let written = doc.text("cniVersion")?.unwrap_or(Version::V010.as_str());
        let version = Version::parse(written).ok_or_else(|| {
            let all = Version::ALL.map(Version::as_str).join(", ");
            Failure::version(format!("cniVersion {written} is not supported"))
                .because(format!("supported: {all}"))
        })?;
        let name = doc.text("name")?.ok_or_else(|| Failure::config("`name` is missing"))?;
        let name = NetworkName::new(name)
            .map_err(|r| Failure::config(r.message).because(r.why.unwrap_or_default()))?;
        let prev = doc.object("prevResult")?.map(|prev| Answer::parse(prev, version)).transpose()?;
        Ok(Self { version, name, prev, map })
    }

    /// The version that is written in a configuration, whatever else is wrong with it.
    pub fn version_of(bytes: &[u8]) -> Option<String> {
        let map = object(bytes).ok()?;
        Doc(&map).text("cniVersion").ok()?.map(str::to_owned)
    }

    /// All of it.
    pub fn doc(&self) -> Doc<'_> {
        Doc(&self.map)
    }

    /// What the runtime adds for the capabilities that the configuration declares.
    pub fn runtime(&self) -> Result<Doc<'_>, Failure> {
        Ok(self.doc().object("runtimeConfig")?.unwrap_or(self.nothing()))
    }

    /// `args.cni`: what the user adds.
    pub fn user(&self) -> Result<Doc<'_>, Failure> {
        let args = self.doc().object("args")?;
        Ok(args.map_or(Ok(None), |args| args.object("cni"))?.unwrap_or(self.nothing()))
    }

    /// The address management, if there is any.
    pub fn ipam(&self) -> Result<Option<Doc<'_>>, Failure> {
        let ipam = self.doc().object("ipam")?;
        Ok(match ipam {
            Some(ipam) if ipam.text("type")?.is_some() => Some(ipam),
            _ => None,
        })
    }

    /// The name of the network in the engine: no network of `qiao network create` has it.
    pub fn network(&self) -> Result<NetworkName, Failure> {
        let long = |_| Failure::config(format!("the network name `{}` is too long", self.name));
        NetworkName::new(&format!("cni.{}", self.name)).map_err(long)
    }

    /// The attachments that GC leaves: container and interface. None where the runtime does not say: then nothing
    /// may be collected.
    pub fn valid(&self) -> Result<Option<Vec<(String, String)>>, Failure> {
        let keys = ["cni.dev/valid-attachments", "cni.dev/attachments"];
        let Some(key) = keys.into_iter().find(|key| self.doc().get(key).is_some()) else { return Ok(None) };
        let attachment = |doc: Doc<'_>| {
            let text = |key| doc.text(key).map(|text| text.unwrap_or_default().to_owned());
            Ok((text("containerID")?, text("ifname")?))
        };
        self.doc().objects(key)?.into_iter().map(attachment).collect::<Result<_, _>>().map(Some)
    }

    fn nothing(&self) -> Doc<'_> {
        static NOTHING: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        Doc(&NOTHING)
    }
}

/// A document, which is an object.
fn object(bytes: &[u8]) -> Result<Map<String, Value>, Failure> {
    match crate::json::read(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Failure::new(6, "the configuration is not a JSON object")),
        Err(error) => Err(Failure::new(6, "the configuration cannot be decoded").because(error.to_string())),
    }
}
