//! Attaching: the data path. Everything before the journal may refuse; everything after it is taken back.

use crate::draft::Draft;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::outcome::Attached;
use crate::session::Session;
use qiao_core::plan::Key;
use qiao_core::request::Attach;
use qiao_core::{Driver, Plan};
use qiao_kernel::{Kernel, Via};
use qiao_store::{Journal, Made};

impl<K: Kernel> Engine<K> {
    /// Attaches a sandbox to a network.
    pub fn attach(&mut self, request: &Attach) -> Result<Attached, EngineError> {
        let done = self.attach_untold(request);
        self.told_of(done, |made| std::slice::from_ref(&made.endpoint)) // a firewall that is a program
    }

    fn attach_untold(&mut self, request: &Attach) -> Result<Attached, EngineError> {
        let mut session = self.begin()?; // the lock; what was begun is ended, what was broken is mended
        if !session.needs_lease(request)? {
            return session.attach(request);
        }
        session.others(request)?; // a container of this name that is gone gives its lease back first
        drop(session); // a DHCP server takes its time, and nobody else has to wait
        self.with_lease(request, |session| session.attach(request))
    }

    /// What attaching would do. Nothing is touched.
    pub fn plan_attach(&mut self, request: &Attach) -> Result<Attached, EngineError> {
        let leased = self.take_lease(request, true)?;
        let mut session = self.look_only()?;
        session.leased = leased;
        let draft = session.draft(request)?;
        let plan = session.plan(&draft.desired, &draft.places)?;
        let Draft { endpoint, network, places, .. } = draft;
        Ok(Attached { endpoint, network, plan, places })
    }
}

impl<K: Kernel> Session<'_, K> {
    fn attach(&mut self, request: &Attach) -> Result<Attached, EngineError> {
        let draft = self.draft(request)?; // network, namespace, addresses, ports: the last place to refuse
        let presumed = draft.presumed(&self.txn)?;
        if draft.activates() && draft.desired.keys().any(|key| matches!(key, Key::Loopback(_))) {
            self.kernel.foresee_ports();
        }
        let plan = self.twice(|session| {
            let plan = session.plan_new(&presumed, &draft.desired, &draft.places)?; // what must exist, less what does
            session.carry_out(&draft, &plan).map(|()| plan)
        })?;
        let Draft { endpoint, network, places, .. } = draft;
        Ok(Attached { endpoint, network, plan, places })
    }

    fn carry_out(&mut self, draft: &Draft, plan: &Plan) -> Result<(), EngineError> {
        let (activates, creates) = (draft.activates(), draft.new);
        let made = Made::of(plan, &draft.endpoint, &draft.desired);
        let journal = Journal { endpoint: draft.endpoint.clone(), made, activates, creates };
        let changes = self.txn.changes()?;
        changes.attach(&journal)?; // on disk before the kernel is touched
        let done = self.try_out(draft, plan).and_then(|()| {
            let endpoints = self.txn.endpoints_dir()?;
            Ok(changes.attached(&draft.endpoint, &endpoints)?) // one rename: it counts
        });
        done.map_err(|error| self.take_back(&journal, (&draft.act(), plan), error))
    }

    fn try_out(&mut self, draft: &Draft, plan: &Plan) -> Result<(), EngineError> {
        draft.remember(&self.txn)?; // leases, ports, settings of the host as they were
        let served = self.tell_names(&draft.network, &draft.endpoint)?;
        self.apply(plan, &draft.places)?;
        self.verify(plan, &draft.desired, &draft.places)?; // look again: nothing of it must be missing
        if !served {
            self.await_names(&draft.network, &draft.endpoint)?;
        }
        match &draft.network.driver {
            Driver::Bridge(bridge) if draft.announces => {
                Ok(self.kernel.announce(&draft.endpoint, Via::Bridge(&bridge.device))?)
            }
            // The neighbourhood may know the address at another hardware address, and for long.
            Driver::Child(child) if child.mode.has_neighbours() => {
                let mac = draft.announced.filter(|_| draft.announces);
                mac.map_or(Ok(()), |mac| Ok(self.kernel.announce(&draft.endpoint, Via::Itself(mac))?))
            }
            Driver::Solo(solo) if solo.is_device() => match draft.announced {
                Some(mac) => Ok(self.kernel.announce(&draft.endpoint, Via::Itself(mac))?),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
