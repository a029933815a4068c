//! Faults on demand. Every question to the fake kernel and every operation of a plan is a point; a fault is
//! armed for one of them. Whoever arms one must look afterwards whether the point was reached.

use super::world::World;
use crate::error::KernelError;

/// What happens at a point.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It fails once. What stands behind it in the same message is carried out nevertheless, as by
    /// rtnetlink, which goes on behind a request that failed.
    Fail,
    /// It fails once, and nothing behind it is carried out.
    Stop,
    /// It fails, and so does everything from then on.
    FailOn,
    /// The process is killed: it unwinds with [`Killed`], and nothing it does on the way counts.
    Die,
    /// Somebody else is faster: this happens, and then the point is carried out.
    Meanwhile(fn(&mut World)),
}

/// What a killed process unwinds with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Killed;

/// Points, counted, and the fault that is armed.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    count: usize,
    armed: Option<(usize, Fault)>,
    reached: bool,
}

/// What a point is to do.
#[derive(Debug)]
pub(super) enum Act {
    Go,
    Meanwhile(fn(&mut World)),
    /// Whether what stands behind it in the same message goes on.
    Fail(KernelError, bool),
}

impl Faults {
    /// Arms a fault for the point `at`, counted from here; the first is 1.
    pub fn arm(&mut self, at: usize, fault: Fault) {
        *self = Self { count: 0, armed: Some((at, fault)), reached: false };
    }

    /// Disarms, and tells how many points there were since arming, and whether the armed one was reached.
    pub fn disarm(&mut self) -> (usize, bool) {
        let was = std::mem::take(self);
        (was.count, was.reached)
    }

    /// The words of the failure at a point.
    pub fn words(at: usize) -> String {
        format!("injected fault {at}")
    }

    /// Passes a point.
    pub(super) fn pass(&mut self) -> Act {
        self.count += 1;
        let Some((at, fault)) = self.armed else { return Act::Go };
        let here = self.count == at;
        self.reached |= here;
        match fault {
            Fault::Die if here => std::panic::resume_unwind(Box::new(Killed)),
            Fault::Meanwhile(what) if here => Act::Meanwhile(what),
            Fault::Fail if here => Act::Fail(injected(at), true),
            Fault::Stop if here => Act::Fail(injected(at), false),
            Fault::FailOn if self.count >= at => Act::Fail(injected(at), false),
            _ => Act::Go,
        }
    }
}

fn injected(at: usize) -> KernelError {
    KernelError::Errno { errno: libc::EIO, text: Some(Faults::words(at)) }
}
