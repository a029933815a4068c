//! The real kernel: sockets into the host's namespace and into those of sandboxes.

use crate::error::KernelError;
use crate::facts::{Facts, facts};
use crate::kernel::{ApplyError, HostLink, Kernel, Places, Reached, Routing, Via};
use crate::loopback::{self, Loopback, Way};
use crate::netlink::Socket;
use crate::netlink::patience::{self, Patience};
use crate::netns::{self, NetnsHandle, OpenError};
use crate::nft::{Contents, Damage, Session, look};
use crate::rtnl::link::Link;
use crate::rtnl::{ask, link, links};
use crate::sockets::{InTheWay, in_the_way};
use crate::sys::ioctl::Interfaces;
use crate::{adopt, announce, apply, conntrack, lend, observe, opening, parent, reap, source, sysctl};
use ipnet::IpNet;
use qiao_core::endpoint::Netns;
use qiao_core::flows::Flows;
use qiao_core::forwarding::Forwarding;
use qiao_core::plan::{Observed, Plan, State, Sysctl};
use qiao_core::port::Listen;
use qiao_core::settings::LoopbackMethod;
use qiao_core::solo::Select;
use qiao_core::subnet::Family;
use qiao_core::{Endpoint, EngineId, IfName};
use qiao_nft::{Query, Reply};
use rustix::fd::OwnedFd;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The kernel that this process runs on, seen from the network namespace in which it was opened.
#[derive(Debug)]
pub struct Linux {
    pub(crate) rtnl: Socket,
    pub(crate) nft: Session,
    pub(crate) interfaces: Interfaces,
    pub(crate) loopback: Loopback,
    /// Whose links are made.
    pub(crate) engine: EngineId,
    /// The generation at which the rule set was seen whole, or made so by us.
    pub(crate) trusted: Option<u32>,
    /// Whether somebody had changed it when it was looked at.
    pub(crate) moved: bool,
    /// The generation at which the rule set was last looked at.
    pub(crate) seen: Option<u32>,
    /// What was not as it must be in the rule set, when its pieces were compared last.
    flaws: Vec<String>,
    /// What is in its sets, and at which generation.
    contents: Option<(u32, Contents)>,
    /// When a child got the firewall socket too.
    pub(crate) handed_over: Option<Instant>,
    sandboxes: BTreeMap<(u64, u64), Sandbox>,
}

impl Drop for Linux {
    fn drop(&mut self) {
        reap::hand_over(&self.nft, self.handed_over);
    }
}

/// An open sandbox.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// Whose sandbox it is.
    pub engine: EngineId,
    pub handle: NetnsHandle,
    pub rtnl: Socket,
    pub interfaces: Interfaces,
    /// Its links as they were when the sandbox was opened, and those asked for since.
    pub indices: BTreeMap<String, u32>,
    /// The host's ends of our pairs in it, by index.
    pub ends: Vec<u32>,
    /// The same for whoever looks next: once, for they change.
    fresh: Option<Vec<Link>>,
}

impl Linux {
    /// Opens the kernel as the calling thread's network namespace sees it.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self {
            rtnl: route_socket()?,
            nft: Session::open()?,
            interfaces: Interfaces::open()?,
            loopback: Loopback::new(LoopbackMethod::Auto, None),
            engine: EngineId::default(),
            trusted: None,
            moved: true,
            seen: None,
            flaws: Vec::new(),
            contents: None,
            handed_over: None,
            sandboxes: BTreeMap::new(),
        })
    }

    /// The same, serving clients of 127.0.0.1 and ::1 in this way. `run` is the engine's run directory, where
    /// the proxy finds what it shall serve; without one there is no proxy.
    #[must_use]
    pub fn serving_loopback(mut self, method: LoopbackMethod, run: &str) -> Self {
        self.loopback = Loopback::new(method, Some(run));
        self
    }

    /// Which way serves loopback clients now, or would serve the first. It fails where the setting leaves
    /// only one way and that is closed.
    pub fn loopback_way(&mut self) -> Result<Way, KernelError> {
        loopback::way(self).map_err(KernelError::io("serve clients of 127.0.0.1 by BPF"))
    }

    /// A sandbox, opened once; none if its namespace is gone.
    pub(crate) fn sandbox(&mut self, netns: &Netns) -> Result<Option<&mut Sandbox>, KernelError> {
        self.make_room();
        Ok(match self.sandboxes.entry((netns.dev, netns.ino)) {
            Entry::Occupied(open) => {
                Some(open.into_mut()).filter(|open| open.handle.identity().is_same(netns))
            }
            Entry::Vacant(place) => match NetnsHandle::open_from(&netns.path) {
                Ok((handle, home)) if handle.identity().is_same(netns) => {
                    let sandbox = Sandbox::open(handle, home, self.engine)?;
                    sandbox.handle.identity().is_same(netns).then(|| place.insert(sandbox))
                }
                Ok(_) => None,
                Err(error) => error.gone()?,
            },
        })
    }

    /// Closes all sandboxes before they are too many: each is three descriptors, and a process has 1024 unless
    /// it asks for more. They are opened again when they are needed.
    fn make_room(&mut self) {
        const MOST: usize = 128;
        if self.sandboxes.len() >= MOST {
            self.sandboxes.clear();
        }
    }

    /// How the rule set is. The look at its generation is quick; only if somebody changed anything since it
    /// was known to be whole are its pieces compared. Where other programs change the rules all the time, the
    /// generation of what was read is not known, and not trusted.
    pub(crate) fn damage(&mut self) -> Result<Damage, KernelError> {
        let mut patience = None;
        loop {
            let generation = self.nft.generation()?;
            self.seen = Some(generation);
            if self.trusted == Some(generation) {
                return Ok(Damage::None);
            }
            self.moved = true;
            let found = look(&mut self.nft)?;
            let unmoved = self.nft.generation()? == generation;
            if unmoved || !patience.get_or_insert_with(|| Patience::of(patience::LONG)).again() {
                self.trusted = (unmoved && found.damage == Damage::None).then_some(generation);
                (self.flaws, self.contents) = (found.flaws, Some((generation, found.contents)));
                return Ok(found.damage);
            }
        }
    }

    /// What is in the sets of the rule set, if they were dumped with the last comparison.
    pub(crate) fn dumped(&self) -> Option<&Contents> {
        self.contents.as_ref().filter(|(at, _)| self.seen == Some(*at)).map(|(_, contents)| contents)
    }

    /// What is in the sets of the rule set now. Each set is dumped once, unless the generation has not moved since
    /// the last dump.
    pub(crate) fn contents(&mut self) -> Result<&Contents, KernelError> {
        let mut patience = None;
        loop {
            let generation = self.nft.generation()?;
            if self.contents.as_ref().is_some_and(|(at, _)| *at == generation) {
                break;
            }
            let contents = Contents::read(&mut self.nft)?;
            let unmoved = self.nft.generation()? == generation;
            if unmoved || !patience.get_or_insert_with(|| Patience::of(patience::LONG)).again() {
                self.contents = Some((generation, contents));
                break;
            }
        }
        self.contents.as_ref().map(|(_, contents)| contents).ok_or(KernelError::Malformed("no generation"))
    }
}

impl Linux {
    /// The same with more questions, of which the first is for the generation: all are asked at once, and the rest is
    /// answered where the rule set is known to be whole, unless its sets were dumped: a dump also shows where an
    /// interval ends.
    pub(crate) fn damage_and(&mut self, queries: &[Query]) -> Result<(Damage, Option<Replies>), KernelError> {
        let is_dumped = self.contents.as_ref().is_some_and(|(at, _)| self.trusted == Some(*at));
        let Some(trusted) = self.trusted.filter(|_| !is_dumped) else { return Ok((self.damage()?, None)) };
        let mut replies = self.nft.ask(queries)?.into_iter();
        match replies.next() {
            Some(Ok(Reply::Generation(generation))) if generation == trusted => {
                self.seen = Some(generation);
                Ok((Damage::None, Some(replies.collect())))
            }
            _ => Ok((self.damage()?, None)),
        }
    }
}

/// The answers to questions about the rule set.
type Replies = Vec<Result<Reply, KernelError>>;

impl Sandbox {
    fn open(
        mut handle: NetnsHandle,
        home: rustix::io::Result<OwnedFd>,
        engine: EngineId,
    ) -> Result<Self, KernelError> {
        let open = || Ok((route_socket()?.patient_for(patience::SHORT), Interfaces::open()?));
        let (mut rtnl, interfaces) = handle.inside_from(home, open)?;
        handle.know(netns::cookie(&interfaces));
        let links = links::all(&mut rtnl)?;
        // What a child hangs on is no end of a pair, though it may be ours: a VLAN.
        let is_end = |link: &&Link| link.group == engine.group() && link.kind.as_deref() == Some("veth");
        let ends = links.iter().filter(is_end).filter_map(|link| link.peer_index).collect();
        let indices = links.iter().map(|link| (link.name.clone(), link.index)).collect();
        Ok(Self { engine, handle, rtnl, interfaces, indices, ends, fresh: Some(links) })
    }

    /// Its links. Those found on opening it a moment ago serve once.
    pub fn links(&mut self) -> Result<Vec<Link>, KernelError> {
        match self.fresh.take() {
            Some(links) => Ok(links),
            None => links::all(&mut self.rtnl),
        }
    }

    /// The index of a link. That of a new one is asked for: the kernel heeds a wish for the index of a veth's
    /// peer only together with one for its own (drivers/net/veth.c).
    pub fn index(&mut self, name: &IfName) -> Result<u32, KernelError> {
        if let Some(index) = self.indices.get(name.as_str()) {
            return Ok(*index);
        }
        let absent = KernelError::Errno { errno: libc::ENODEV, text: None };
        let index = self.interfaces.index(name)?.ok_or(absent)?;
        self.indices.insert(name.to_string(), index);
        Ok(index)
    }
}

fn route_socket() -> Result<Socket, KernelError> {
    Socket::open(netlink_sys::protocols::NETLINK_ROUTE)?.strict()
}

impl Kernel for Linux {
    fn home(&mut self) -> u64 {
        netns::cookie(&self.interfaces)
    }

    fn act_for(&mut self, engine: EngineId) {
        self.engine = engine;
    }

    fn observe(&mut self, wanted: &State, places: &Places) -> Result<Observed, KernelError> {
        observe::observe(self, wanted, places)
    }

    fn survey(&mut self) -> Result<Observed, KernelError> {
        observe::survey(self)
    }

    fn foresee_ports(&mut self) {
        loopback::prepare(self);
    }

    fn apply(&mut self, plan: &Plan, places: &Places) -> Result<(), ApplyError> {
        self.sandboxes.values_mut().for_each(|sandbox| sandbox.fresh = None);
        apply::apply(self, plan, places)
    }

    fn forget(&mut self, flows: &BTreeSet<Flows>) -> Result<(), KernelError> {
        conntrack::forget(self.nft.socket(), flows)
    }

    fn announce(&mut self, endpoint: &Endpoint, from: Via<'_>) -> Result<(), KernelError> {
        announce::announce(self, endpoint, from)
    }

    fn netns(&mut self, path: &str) -> Result<Netns, OpenError> {
        let (handle, home) = NetnsHandle::open_from(path)?;
        let (path, key) = (handle.identity().path.clone(), (handle.identity().dev, handle.identity().ino));
        self.make_room();
        let sandbox = match self.sandboxes.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let sandbox = Sandbox::open(handle, home, self.engine).map_err(OpenError::Failed)?;
                place.insert(sandbox)
            }
        };
        Ok(Netns { path, ..sandbox.handle.identity().clone() })
    }

    fn is_alive(&mut self, netns: &Netns) -> bool {
        match self.sandboxes.get(&(netns.dev, netns.ino)) {
            Some(open) => open.handle.identity().is_same(netns),
            None => NetnsHandle::is_alive(netns),
        }
    }

    fn links_in(&mut self, netns: &Netns) -> Result<Vec<String>, KernelError> {
        Ok(self.sandbox(netns)?.map(|sandbox| sandbox.indices.keys().cloned().collect()).unwrap_or_default())
    }

    fn children_in(&mut self, netns: &Netns, parent: &IfName) -> Result<Vec<IfName>, KernelError> {
        let Some(parent) = self.interfaces.index(parent)? else { return Ok(Vec::new()) };
        let links = self.sandbox(netns)?.map(Sandbox::links).transpose()?.unwrap_or_default();
        let children = links.iter().filter(|link| link.is_child_of_host() && link.peer_index == Some(parent));
        Ok(children.filter_map(|link| IfName::new(&link.name).ok()).collect())
    }

    fn marks_in(&mut self, netns: &Netns) -> Result<Vec<String>, KernelError> {
        let ends = self.sandbox(netns)?.map(|sandbox| sandbox.ends.clone()).unwrap_or_default();
        let requests: Vec<_> = ends.into_iter().map(link::get_at).collect();
        let (mut marks, group) = (Vec::new(), self.engine.group());
        for answer in ask(&mut self.rtnl, &requests)? {
            // Gone meanwhile, or never ours: whoever is root in a sandbox can give any link our group.
            let ours = |link: Link| link.alias.filter(|_| link.group == group);
            marks.extend(answer.iter().flat_map(|messages| link::read(messages)).filter_map(ours));
        }
        Ok(marks)
    }

    fn link_index(&mut self, name: &IfName) -> Result<Option<u32>, KernelError> {
        self.interfaces.index(name)
    }

    fn link(&mut self, name: &IfName) -> Result<Option<HostLink>, KernelError> {
        parent::link(&mut self.rtnl, name, self.engine)
    }

    fn link_in(&mut self, netns: &Netns, name: &IfName) -> Result<Option<HostLink>, KernelError> {
        let Some(sandbox) = self.sandbox(netns)? else { return Ok(None) };
        parent::link(&mut sandbox.rtnl, name, sandbox.engine)
    }

    fn device(&mut self, which: &Select) -> Result<Option<IfName>, KernelError> {
        lend::find(&mut self.rtnl, which)
    }

    fn program_driver(&mut self, which: &Select) -> Option<String> {
        lend::program_driver(which)
    }

    fn routing(&mut self, netns: &Netns, name: &IfName) -> Result<Routing, KernelError> {
        source::routing(self, netns, name)
    }

    fn has_kind(&mut self, kind: &str) -> Result<bool, KernelError> {
        parent::has_kind(&mut self.rtnl, kind)
    }

    fn reached(
        &mut self,
        netns: &Netns,
        link: &IfName,
        addresses: &[IpNet],
    ) -> Result<Option<Reached>, KernelError> {
        adopt::reached(self, (netns, link), addresses)
    }

    fn drops_forwarded(&mut self) -> Result<Vec<Family>, KernelError> {
        opening::drops(&mut self.nft, &opening::THROUGH)
    }

    fn drops_incoming(&mut self) -> Result<Vec<Family>, KernelError> {
        opening::drops(&mut self.nft, &opening::IN)
    }

    fn drops_by_legacy(&mut self) -> Vec<Family> {
        opening::drops_by_legacy()
    }

    fn in_the_way(&mut self, listen: Listen) -> Option<InTheWay> {
        in_the_way(listen)
    }

    fn ephemeral_ports(&mut self) -> (u16, u16) {
        sysctl::ephemeral_ports()
    }

    fn sysctl(&mut self, sysctl: &Sysctl) -> Result<Option<u32>, KernelError> {
        sysctl::read(sysctl)
    }

    fn facts(&mut self) -> Result<Facts, KernelError> {
        facts(&mut self.rtnl, self.engine)
    }

    fn elements(&mut self) -> Result<Observed, KernelError> {
        let mut observed = Observed::default();
        self.contents()?.survey(&mut observed);
        Ok(observed)
    }

    fn rule_flaws(&self) -> Vec<String> {
        self.flaws.clone()
    }

    fn trust(&mut self, generation: Option<u32>) {
        (self.trusted, self.moved) = (generation, generation.is_none());
        self.loopback.begin(generation.is_none());
    }

    fn is_unmoved(&self) -> bool {
        !self.moved && self.seen.is_some()
    }

    fn forwarding(&mut self) -> Result<Forwarding, KernelError> {
        crate::forwarding::forwarding(self)
    }

    fn loopback_trouble(&mut self) -> Result<Option<String>, KernelError> {
        loopback::trouble(self)
    }

    fn loopback_notes(&mut self) -> Result<Vec<String>, KernelError> {
        loopback::notes(self)
    }

    fn collect_hooks(&mut self) -> Result<Vec<String>, KernelError> {
        loopback::collect(self).map_err(KernelError::io("take hooks of namespaces that are gone away"))
    }

    fn expect_freeing(&mut self, busy: bool) {
        if busy {
            self.nft.expect_freeing();
        }
    }

    fn start_detached(&mut self, arguments: &[&str]) -> Result<bool, KernelError> {
        crate::sys::process::start_detached(arguments).map_err(KernelError::io("start a process"))?;
        Ok(true)
    }

    fn starts_processes(&self) -> bool {
        true
    }

    fn is_freeing(&self) -> bool {
        self.nft.has_deleted()
    }

    fn generation(&self) -> Option<u32> {
        self.trusted
    }
}
