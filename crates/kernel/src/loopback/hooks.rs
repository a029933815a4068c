//! The programs of one engine in the kernel: finding, making and removing them.
//!
//! Nothing is pinned and nothing is remembered: programs are found by the hooks they are attached to and by
//! their names, which hold the cookie of the engine's network namespace; the entries are found by the
//! programs. A command that is killed while it makes or removes them leaves entries that can be found, never
//! hooks without any: entries are put in before the first hook is attached, and go with the last.

use super::entry::{KEY_LEN, RawKey, RawValue, VALUE_LEN};
use super::program::{HOOKS, Parts, program};
use crate::bpf::cgroup;
use crate::bpf::map::{Kind, Map, name};
use crate::bpf::program::{About, Hook, Program, attached};
use crate::sys::bpf::{NAME_LEN, netns_cookie, number};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::collections::BTreeSet;
use std::io;

/// The version of the programs: others are replaced.
const VERSION: char = '2';
/// How many ports are published at one time at most. (A hash table of so many takes 0.6 ms to make.)
const MOST_ENTRIES: u32 = 1 << 16;
/// How many sockets' destinations are remembered (0.4 MB, 0.12 ms; four times as many take four times as long). What was
/// not used for longest is forgotten first.
const MOST_FLOWS: u32 = 1 << 12;

type Entries = Map<KEY_LEN, VALUE_LEN>;
type Flows = Map<32, 20>;

/// A cgroup, and the namespace whose sockets are meant.
#[derive(Debug)]
pub struct Place {
    cgroup: OwnedFd,
    /// The cgroup's path.
    pub path: String,
    cookie: u64,
}

/// The programs of an engine.
#[derive(Debug)]
pub struct Hooks {
    /// The entries.
    pub entries: Entries,
    /// The number of the program that is attached last.
    sentinel: Option<u32>,
    /// The number of the map of flows.
    flows: u32,
    /// Whether every hook has its program; unless it was looked at thoroughly, whether the last has.
    pub whole: bool,
}

/// Programs that are at no hook yet, and their entries.
#[derive(Debug)]
pub struct Loaded {
    entries: Entries,
    programs: Vec<(Hook, Program)>,
}

impl Place {
    /// The cgroup to use, and the namespace that `socket` is in.
    pub fn open(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let cookie = netns_cookie(socket)?;
        if cookie >> 36 != 0 {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the namespace's cookie is too long"));
        }
        let (cgroup, path) = cgroup::root()?;
        Ok(Self { cgroup, path, cookie })
    }

    fn label(&self, kind: char) -> String {
        format!("qiao_{kind}{:09x}", self.cookie)
    }

    /// Whether a program's name is one of this engine's, of whatever version.
    fn is_ours(&self, program: &[u8; NAME_LEN]) -> bool {
        let ours = name(&self.label(VERSION));
        program[..5] == ours[..5] && program[6..] == ours[6..]
    }

    /// Our programs at a hook. One that goes while we look is not there.
    fn ours_at(&self, hook: Hook) -> io::Result<Vec<(Program, About)>> {
        let mut found = Vec::new();
        for id in attached(self.cgroup.as_fd(), hook)? {
            let program = match Program::by_id(id) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
                program => program?,
            };
            let about = program.about()?;
            if self.is_ours(&about.name) {
                found.push((program, about));
            }
        }
        Ok(found)
    }

    /// Whether what was found before is still there: one call.
    pub fn still_has(&self, hooks: &Hooks) -> bool {
        let Some(sentinel) = hooks.sentinel else { return false };
        attached(self.cgroup.as_fd(), HOOKS[0]).is_ok_and(|ids| ids.contains(&sentinel))
    }

    /// Finds the programs, by whichever of them is left. `thorough` looks whether all of them are.
    pub fn find(&self, thorough: bool) -> io::Result<Option<Hooks>> {
        let mut found: Option<Hooks> = None;
        let mut whole = true;
        for hook in HOOKS {
            let ours = self.ours_at(hook)?;
            whole &=
                ours.len() == 1 && ours.iter().all(|(_, about)| about.name == name(&self.label(VERSION)));
            for (_, about) in &ours {
                match &found {
                    None => found = self.hooks_of(hook, about)?,
                    Some(hooks) => whole &= about.maps.last() == Some(&hooks.flows),
                }
            }
            if !thorough && found.is_some() {
                break;
            }
        }
        Ok(found.map(|hooks| Hooks { whole, ..hooks }))
    }

    fn hooks_of(&self, hook: Hook, about: &About) -> io::Result<Option<Hooks>> {
        let [entries, flows] = about.maps[..] else { return Ok(None) };
        let sentinel = (hook == HOOKS[0]).then_some(about.id);
        let entries = Entries::by_id(entries, &self.label('e'))?;
        Ok(entries.map(|entries| Hooks { entries, sentinel, flows, whole: true }))
    }

    /// Makes programs, which are nowhere yet. That takes 1 ms; it may be done beside something else.
    pub fn load(&self) -> io::Result<Loaded> {
        let entries = Entries::create(Kind::Trie, &self.label('e'), MOST_ENTRIES)?;
        let flows = Flows::create(Kind::LruHash, &self.label('f'), MOST_FLOWS)?;
        let programs = self.programs(&entries, &flows)?;
        Ok(Loaded { entries, programs })
    }

    /// Puts programs in their places, with these entries. On failure none is left.
    pub fn put(&self, loaded: &Loaded, first: &[(RawKey, RawValue)]) -> io::Result<Hooks> {
        loaded.entries.put_all(first)?;
        self.attach(&loaded.programs).inspect_err(|_| drop(self.remove()))?;
        self.find(false)?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    /// Makes programs anew that are not whole, keeping their entries. Old ones go after new ones have come.
    pub fn mend(&self, hooks: &Hooks) -> io::Result<Hooks> {
        let flows = match Flows::by_id(hooks.flows, &self.label('f'))? {
            Some(flows) => flows,
            None => Flows::create(Kind::LruHash, &self.label('f'), MOST_FLOWS)?,
        };
        let mut old = Vec::new();
        for hook in HOOKS {
            old.extend(self.ours_at(hook)?.into_iter().map(|(program, _)| (hook, program)));
        }
        self.attach(&self.programs(&hooks.entries, &flows)?)?;
        old.iter().try_for_each(|(hook, program)| program.detach(self.cgroup.as_fd(), *hook))?;
        self.find(true)?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn programs(&self, entries: &Entries, flows: &Flows) -> io::Result<Vec<(Hook, Program)>> {
        let (entries, flows) = (number(entries.as_fd()), number(flows.as_fd()));
        let parts = Parts { entries, flows, cookie: self.cookie };
        let load = |hook: Hook| Ok((hook, Program::load(hook, &self.label(VERSION), &program(hook, parts))?));
        HOOKS.into_iter().rev().map(load).collect()
    }

    fn attach(&self, programs: &[(Hook, Program)]) -> io::Result<()> {
        programs.iter().try_for_each(|(hook, program)| program.attach(self.cgroup.as_fd(), *hook))
    }

    /// The same place, for another thread.
    pub fn again(&self) -> io::Result<Self> {
        Ok(Self { cgroup: self.cgroup.try_clone()?, path: self.path.clone(), cookie: self.cookie })
    }

    /// Detaches every program of ours. With the last go the entries.
    pub fn remove(&self) -> io::Result<()> {
        for hook in HOOKS {
            for (program, _) in self.ours_at(hook)? {
                program.detach(self.cgroup.as_fd(), hook)?;
            }
        }
        Ok(())
    }

    /// Which namespaces the programs of other engines are for, by their cookies.
    pub fn others(&self) -> io::Result<BTreeSet<u64>> {
        let mut cookies = BTreeSet::new();
        for hook in HOOKS {
            for id in attached(self.cgroup.as_fd(), hook)? {
                let about = Program::by_id(id).and_then(|program| program.about());
                cookies.extend(about.ok().and_then(|about| cookie_of(&about.name)));
            }
        }
        cookies.remove(&self.cookie);
        Ok(cookies)
    }

    /// Detaches the programs for another namespace.
    pub fn remove_of(&self, cookie: u64) -> io::Result<()> {
        Self { cookie, ..self.again()? }.remove()
    }

    /// Whether programs could be made here: tries it with one, and attaches it nowhere.
    pub fn probe(&self) -> io::Result<()> {
        attached(self.cgroup.as_fd(), HOOKS[0])?;
        let entries = Entries::create(Kind::Trie, &self.label('e'), 1)?;
        let flows = Flows::create(Kind::LruHash, &self.label('f'), 1)?;
        let (entries, flows) = (number(entries.as_fd()), number(flows.as_fd()));
        let code = program(HOOKS[0], Parts { entries, flows, cookie: self.cookie });
        Program::load(HOOKS[0], &self.label(VERSION), &code).map(|_| ())
    }
}

/// The cookie in the name of an engine's program, of whatever version; none in other names.
fn cookie_of(program: &[u8; NAME_LEN]) -> Option<u64> {
    let text = std::str::from_utf8(program).ok()?.trim_end_matches('\0').strip_prefix("qiao_")?;
    let digits = text.get(1..).filter(|digits| digits.len() == 9)?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_a_program_is_stands_in_its_name() {
        assert_eq!(cookie_of(&name("qiao_1000001a2b")), Some(0x1a2b));
        for other in ["qiao_test", "qiao_1000001a2", "sd_fw_ingress", "qiao_1000001a2x", ""] {
            assert_eq!(cookie_of(&name(other)), None, "{other}");
        }
    }

    /// Loading attaches nothing: the verifier's word on every program.
    #[test]
    #[ignore = "needs root"]
    fn the_kernel_takes_every_program() {
        let entries = Entries::create(Kind::Trie, "qiao_test", 8).unwrap();
        let flows = Flows::create(Kind::LruHash, "qiao_test", 8).unwrap();
        let parts =
            Parts { entries: number(entries.as_fd()), flows: number(flows.as_fd()), cookie: 0x1_2345_6789 };
        for hook in HOOKS {
            let code = program(hook, parts);
            assert!(Program::load(hook, "qiao_test", &code).is_ok(), "{}", Program::reasons(hook, &code));
        }
    }
}
