//! The programs of one engine in the kernel: finding, making and removing them.
//!
//! Nothing is pinned and nothing is remembered: programs are found by the hooks they are attached to and by
//! their names, which hold the cookie of the engine's network namespace; the entries are found by the
//! programs. A command that is killed while it makes or removes them leaves entries that can be found, never
//! hooks without any: entries are put in before the first hook is attached, and go with the last.
//!
//! A network namespace can end without its engine: then no engine detaches the programs, and 64 of them fill a hook. So
//! each program also holds an *anchor*, a map of network devices with the loopback interface of the namespace in it.
//! That interface can be neither deleted nor moved; the kernel takes it out of the map when the namespace ends.
//! An empty anchor shows that the namespace is gone, without a look at any process.

use super::entry::{KEY_LEN, RawKey, RawValue, VALUE_LEN};
use super::program::{HOOKS, Parts, program};
use crate::bpf::cgroup;
use crate::bpf::map::{Kind, Map, name};
use crate::bpf::program::{About, Hook, MOST, Program, attached};
use crate::sys::bpf::{NAME_LEN, netns_cookie, number};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::collections::BTreeSet;
use std::io;

/// The version of the programs: others are replaced.
const VERSION: char = '3';
/// How many ports are published at one time at most. (A hash table of so many takes 0.6 ms to make.)
const MOST_ENTRIES: u32 = 1 << 16;
/// How many sockets' destinations are remembered (0.4 MB, 0.12 ms; four times as many take four times as long). What
/// was not used for longest is forgotten first.
const MOST_FLOWS: u32 = 1 << 12;

type Entries = Map<KEY_LEN, VALUE_LEN>;
type Flows = Map<32, 20>;
type Anchor = Map<4, 4>;

/// `LOOPBACK_IFINDEX`: the first interface of every network namespace.
const LOOPBACK: u32 = 1;

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

/// The network namespaces that programs of other engines are for, by their cookies.
#[derive(Debug, Default)]
pub struct Others {
    /// Those that are there.
    pub living: BTreeSet<u64>,
    /// Those that are gone.
    pub gone: BTreeSet<u64>,
    /// Those whose programs do not say it: they are of an earlier version.
    pub unsure: BTreeSet<u64>,
}

impl Others {
    fn has(&self, cookie: u64) -> bool {
        [&self.living, &self.gone, &self.unsure].iter().any(|known| known.contains(&cookie))
    }

    fn of(&mut self, is_gone: Option<bool>) -> &mut BTreeSet<u64> {
        match is_gone {
            Some(true) => &mut self.gone,
            Some(false) => &mut self.living,
            None => &mut self.unsure,
        }
    }
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

    /// A map with the loopback interface of the namespace that the calling thread is in, which is the engine's.
    fn anchor(&self) -> io::Result<Anchor> {
        let anchor = Anchor::create(Kind::DevMap, &self.label('n'), 1)?;
        anchor.put(&0u32.to_ne_bytes(), &LOOPBACK.to_ne_bytes())?;
        Ok(anchor)
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
        let ([entries, flows] | [_, entries, flows]) = about.maps[..] else { return Ok(None) };
        let sentinel = (hook == HOOKS[0]).then_some(about.id);
        let entries = Entries::by_id(Kind::Trie, entries, &self.label('e'))?;
        Ok(entries.map(|entries| Hooks { entries, sentinel, flows, whole: true }))
    }

    /// Makes programs, which are nowhere yet. That takes 1 ms; it may be done beside something else.
    pub fn load(&self) -> io::Result<Loaded> {
        let entries = Entries::create(Kind::Trie, &self.label('e'), MOST_ENTRIES)?;
        let flows = Flows::create(Kind::LruHash, &self.label('f'), MOST_FLOWS)?;
        let programs = self.programs(&entries, &flows)?;
        Ok(Loaded { entries, programs })
    }

    /// Puts programs in their places, with these entries. On failure none is left. Those of namespaces that are gone
    /// make room.
    pub fn put(&self, loaded: &Loaded, first: &[(RawKey, RawValue)]) -> io::Result<Hooks> {
        loaded.entries.put_all(first)?;
        self.others().and_then(|others| self.remove_all(&others.gone))?;
        self.attach(&loaded.programs).inspect_err(|_| drop(self.remove()))?;
        self.find(false)?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    /// Makes programs anew that are not whole, keeping their entries. Old ones go after new ones have come.
    pub fn mend(&self, hooks: &Hooks) -> io::Result<Hooks> {
        let flows = match Flows::by_id(Kind::LruHash, hooks.flows, &self.label('f'))? {
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
        let anchor = self.anchor()?;
        let anchor_fd = number(anchor.as_fd());
        let (entries, flows) = (number(entries.as_fd()), number(flows.as_fd()));
        let parts = Parts { anchor: anchor_fd, entries, flows, cookie: self.cookie };
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

    /// Detaches every program of ours. With the last go the entries. What another program has detached meanwhile is
    /// detached.
    pub fn remove(&self) -> io::Result<()> {
        for hook in HOOKS {
            for (program, _) in self.ours_at(hook)? {
                match program.detach(self.cgroup.as_fd(), hook) {
                    Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Which namespaces the programs of other engines are for, by their cookies.
    pub fn others(&self) -> io::Result<Others> {
        let mut others = Others::default();
        for hook in HOOKS {
            for id in attached(self.cgroup.as_fd(), hook)? {
                let Ok(about) = Program::by_id(id).and_then(|program| program.about()) else { continue };
                let Some(cookie) = cookie_of(&about.name).filter(|cookie| *cookie != self.cookie) else {
                    continue;
                };
                if !others.has(cookie) {
                    others.of(self.is_gone(cookie, &about)?).insert(cookie);
                }
            }
        }
        Ok(others)
    }

    /// Whether the namespace of another engine's program is gone; none where it has no anchor.
    fn is_gone(&self, cookie: u64, about: &About) -> io::Result<Option<bool>> {
        let [anchor, _, ..] = about.maps[..] else { return Ok(None) };
        let label = Self { cookie, ..self.again()? }.label('n');
        let anchor = match Anchor::by_id(Kind::DevMap, anchor, &label) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None), // it goes at this moment
            anchor => anchor?,
        };
        let Some(anchor) = anchor else { return Ok(None) };
        Ok(Some(anchor.get(&0u32.to_ne_bytes())?.is_none()))
    }

    /// Who is at a hook that has room for no more; none where it has.
    pub fn crowd(&self) -> io::Result<Option<String>> {
        let ids = attached(self.cgroup.as_fd(), HOOKS[0])?;
        if ids.len() < MOST {
            return Ok(None);
        }
        let (others, mut strangers) = (self.others()?, BTreeSet::new());
        let (mut gone, mut engines) = (0, 0);
        for about in ids.iter().filter_map(|id| Program::by_id(*id).and_then(|program| program.about()).ok())
        {
            match cookie_of(&about.name) {
                Some(cookie) if others.gone.contains(&cookie) => gone += 1,
                Some(_) => engines += 1,
                None => drop(strangers.insert(text(&about.name))),
            }
        }
        let rest = ids.len() - gone - engines;
        let names: Vec<String> = strangers.into_iter().map(|name| format!("`{name}`")).collect();
        let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        Ok(Some(format!(
            "the cgroup {} has room for no more hooks: {} programs of other engines, {gone} of ended ones, {rest} of \
             other programs{names}",
            self.path, engines
        )))
    }

    /// Detaches the programs for other namespaces.
    pub fn remove_all(&self, cookies: &BTreeSet<u64>) -> io::Result<()> {
        cookies.iter().try_for_each(|cookie| Self { cookie: *cookie, ..self.again()? }.remove())
    }

    /// Whether programs could be made here: tries it with one, and attaches it nowhere.
    pub fn probe(&self) -> io::Result<()> {
        let is_full = attached(self.cgroup.as_fd(), HOOKS[0])?.len() >= MOST;
        if is_full && self.others()?.gone.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        let entries = Entries::create(Kind::Trie, &self.label('e'), 1)?;
        let flows = Flows::create(Kind::LruHash, &self.label('f'), 1)?;
        let anchor = self.anchor()?;
        let (entries, flows) = (number(entries.as_fd()), number(flows.as_fd()));
        let parts = Parts { anchor: number(anchor.as_fd()), entries, flows, cookie: self.cookie };
        let code = program(HOOKS[0], parts);
        Program::load(HOOKS[0], &self.label(VERSION), &code).map(|_| ())
    }
}

fn text(name: &[u8; NAME_LEN]) -> String {
    String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()
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
        let anchor = Anchor::create(Kind::DevMap, "qiao_test", 1).unwrap();
        let (entries, flows) = (number(entries.as_fd()), number(flows.as_fd()));
        let parts = Parts { anchor: number(anchor.as_fd()), entries, flows, cookie: 0x1_2345_6789 };
        for hook in HOOKS {
            let code = program(hook, parts);
            assert!(Program::load(hook, "qiao_test", &code).is_ok(), "{}", Program::reasons(hook, &code));
        }
    }
}
