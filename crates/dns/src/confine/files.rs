//! The files that can be reached: where the names are, and the directory of resolv.conf, which is followed when it
//! is replaced (Landlock, landlock(7)). Nothing is executed, and TCP goes to port 53 only.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use std::path::{Path, PathBuf};

/// What is asked for: older kernels do what they can of it.
const WANTED: ABI = ABI::V7;
/// The port of name servers.
const PORT: u16 = 53;

/// Where resolv.conf may lead later, when somebody else looks after it from then on.
const RESOLVERS: [&str; 4] =
    ["/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf", "/run/connman"];

/// What the server needs of the file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files<'p> {
    /// A directory in which it makes and removes files and links, and which it takes away when it ends.
    pub own: &'p str,
    /// Directories that it reads the names in.
    pub read: &'p [&'p str],
    /// The host's resolvers.
    pub resolv: &'p str,
    /// The port at which it is asked.
    pub port: u16,
}

/// Shuts everything else away.
pub fn confine(files: &Files<'_>) -> Result<(), String> {
    match try_confine(files) {
        Ok(RulesetStatus::NotEnforced) => Err("the kernel has no Landlock".into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn try_confine(files: &Files<'_>) -> Result<RulesetStatus, RulesetError> {
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(WANTED))?
        .handle_access(AccessNet::from_all(WANTED))?
        .scope(Scope::from_all(WANTED))?
        .create()?;
    let list = AccessFs::ReadDir;
    let within = list
        | AccessFs::ReadFile
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeSym
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir;
    let own = Path::new(files.own);
    let mut all = vec![(own.to_path_buf(), within)];
    all.extend(own.parent().map(|above| (above.to_path_buf(), AccessFs::RemoveDir.into())));
    all.extend(files.read.iter().map(|dir| (PathBuf::from(dir), list.into())));
    let target = std::fs::canonicalize(files.resolv).ok();
    let found = [Some(Path::new(files.resolv)), target.as_deref()];
    let dirs = found.into_iter().flatten().filter_map(|file| Some(file.parent()?.to_path_buf()));
    let dirs = dirs.chain(RESOLVERS.map(PathBuf::from));
    all.extend(dirs.map(|dir| (dir, AccessFs::ReadFile.into())));
    let rules = all.into_iter().try_fold(rules, allow)?;
    let rules = rules.add_rule(NetPort::new(PORT, AccessNet::ConnectTcp))?;
    let rules = rules.add_rule(NetPort::new(files.port, AccessNet::BindTcp))?;
    Ok(rules.restrict_self()?.ruleset)
}

/// What is not there need not be allowed.
fn allow(
    rules: RulesetCreated,
    (dir, access): (PathBuf, BitFlags<AccessFs>),
) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(dir) {
        Ok(dir) => rules.add_rule(PathBeneath::new(dir, access)),
        Err(_) => Ok(rules),
    }
}
