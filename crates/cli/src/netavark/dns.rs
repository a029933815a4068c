//! The folder of the files that name servers read. They are written beside it and renamed into it, under the lock that
//! netavark takes too: a server that reads at any moment reads whole files.

use super::call::Call;
use super::log;
use super::process::{self, Early, Reading, Where};
use qiao_doors::netavark::dns::{self, Entry};
use qiao_doors::netavark::{Failure, Network};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A container's line, for a network's file.
#[derive(Clone, Debug)]
pub struct Line {
    /// The file.
    pub file: String,
    /// Its first line.
    pub header: String,
    pub entry: Entry,
}

/// The folder, with the lock held.
struct Folder<'a> {
    config: &'a Path,
    path: PathBuf,
    _lock: File,
}

impl<'a> Folder<'a> {
    fn open(config: &'a Path) -> std::io::Result<Self> {
        let path = config.join("aardvark-dns");
        fs::create_dir_all(&path)?;
        let lock = File::options().create(true).append(true).open(config.join("aardvark.lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(Self { config, path, _lock: lock })
    }

    fn read(&self, file: &str) -> std::io::Result<Option<String>> {
        match fs::read_to_string(self.path.join(file)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whatever is in the folder is taken for a network: the new file comes from outside.
    fn write(&self, file: &str, text: &str) -> std::io::Result<()> {
        let new = self.config.join(format!(".aardvark-{file}"));
        fs::write(&new, text)?;
        fs::rename(&new, self.path.join(file))
    }

    /// Takes a container's line away; whether it had one.
    fn drop_line(&self, file: &str, container: &str) -> std::io::Result<bool> {
        let Some(text) = self.read(file)? else { return Ok(false) };
        match dns::without(&text, container) {
            None => fs::remove_file(self.path.join(file)).map(|()| true),
            Some(left) if left == text => Ok(false),
            Some(left) => self.write(file, &left).map(|()| true),
        }
    }
}

fn wrong(doing: &str) -> impl Fn(std::io::Error) -> Failure + '_ {
    move |error| Failure(format!("{doing}: IO error: {error}"))
}

const APPLYING: &str = "error while applying dns entries";

/// Starts the server, if none runs: it begins while the networks are made.
pub fn begin(call: &Call) -> Option<Early> {
    let folder = call.line.config.as_deref()?.join("aardvark-dns");
    Early::start(start(call, &folder).ok()?)
}

/// Something to do while a server reads.
type Meanwhile<'a> = &'a dyn Fn() -> Result<(), Failure>;

/// Adds a container's lines, and lets the server know; there is one afterwards.
pub fn add(
    call: &Call,
    lines: &[Line],
    early: Option<Early>,
    meanwhile: Meanwhile<'_>,
) -> Result<(), Failure> {
    if lines.is_empty() {
        return meanwhile();
    }
    if !call.line.aardvark.exists() {
        let path = &call.line.aardvark;
        log::info(
            "commands::setup",
            format!("dns disabled because aardvark-dns path {path:?} does not exists"),
        );
        return meanwhile();
    }
    let folder = Folder::open(call.config()?).map_err(wrong(APPLYING))?;
    let write = |line: &Line| {
        let text = folder.read(&line.file)?.unwrap_or_default();
        folder.write(&line.file, &dns::with(&text, &line.header, &line.entry))
    };
    let written = lines.iter().try_for_each(write).map_err(wrong(APPLYING));
    written.and_then(|()| tell(call, &folder, (early, meanwhile))).inspect_err(|_| {
        lines.iter().for_each(|line| drop(folder.drop_line(&line.file, &line.entry.id)));
        process::notify(&folder.path, Where::Here);
    })
}

/// Takes a container's lines away. With the last one the server ends by itself.
pub fn remove(call: &Call, networks: &[&Network], container: &str) -> Result<(), Failure> {
    let config = call.config()?;
    if networks.is_empty() || !config.join("aardvark-dns").exists() {
        return Ok(());
    }
    let wrong = || wrong("remove aardvark entries");
    let folder = Folder::open(config).map_err(wrong())?;
    let mut changed = false;
    for network in networks.iter().filter(|network| dns::is_file_name(&network.name)) {
        let file = dns::file(&network.name, network.internal);
        changed |= folder.drop_line(&file, container).map_err(wrong())?;
    }
    if changed {
        process::notify(&folder.path, Where::Here);
    }
    Ok(())
}

/// `update`: other servers for names of others, on a network that somebody is on.
pub fn update(call: &Call, network: &str, servers: &str) -> Result<(), Failure> {
    let servers = dns::servers(servers)?;
    let config = call.config()?;
    if !dns::is_file_name(network) {
        return Err(Failure(format!("there is no network {network:?}")));
    }
    if !config.join("aardvark-dns").exists() {
        return Ok(());
    }
    let folder = Folder::open(config).map_err(wrong(APPLYING))?;
    let mut changed = false;
    for file in [dns::file(network, false), dns::file(network, true)] {
        if let Some(text) = folder.read(&file).map_err(wrong(APPLYING))? {
            folder.write(&file, &dns::with_upstreams(&text, &servers)).map_err(wrong(APPLYING))?;
            changed = true;
        }
    }
    // One in a user's own namespace is started by whoever enters that.
    let is_told = || process::notify(&folder.path, Where::Anywhere).is_some_and(|told| told.stays());
    if !changed || is_told() || call.line.rootless { Ok(()) } else { tell(call, &folder, (None, &|| Ok(()))) }
}

/// The server reads its files again, or starts; `meanwhile` is done while it does.
fn tell(
    call: &Call,
    folder: &Folder<'_>,
    (early, meanwhile): (Option<Early>, Meanwhile<'_>),
) -> Result<(), Failure> {
    let told = process::notify(&folder.path, Where::Here);
    let reading = early.filter(|_| told.is_none()).map(|early| early.go(&folder.path));
    let done = meanwhile();
    let serves = told.is_some_and(|told| told.stays()) || reading.is_some_and(Reading::serves);
    done?;
    if serves { Ok(()) } else { process::start(start(call, &folder.path)?) }
}

fn start<'a>(call: &'a Call, folder: &'a Path) -> Result<process::Start<'a>, Failure> {
    let (program, rootless) = (&*call.line.aardvark, call.line.rootless);
    Ok(process::Start { program, folder, port: call.dns_port()?, rootless })
}
