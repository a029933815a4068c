//! The steps that change files, and the reads, one by one. In a test (feature `steps`) one of them fails, or the process
//! is killed at it; otherwise there is nothing here.

/// What a step needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Room on the disk: it is what fails when that is full.
    Room,
    /// Nothing: it works on a full disk too.
    Nothing,
}

#[cfg(feature = "steps")]
pub use on_demand::{Fault, Killed, arm, disarm};

#[cfg(feature = "steps")]
pub(crate) use on_demand::{look, middle, pass};

/// Passes a step.
#[cfg(not(feature = "steps"))]
pub(crate) fn pass(_needs: Needs) -> rustix::io::Result<()> {
    Ok(())
}

/// Passes a read.
#[cfg(not(feature = "steps"))]
pub(crate) fn look() -> rustix::io::Result<()> {
    Ok(())
}

/// Where a file is cut in two, so that a step is between the halves.
#[cfg(not(feature = "steps"))]
pub(crate) fn middle(_length: usize) -> usize {
    0
}

#[cfg(feature = "steps")]
mod on_demand {
    use super::Needs;
    use rustix::io::Errno;
    use std::cell::Cell;

    /// What happens at a step of this thread.
    #[derive(Clone, Copy, Debug)]
    pub enum Fault {
        /// The process is killed: it unwinds with [`Killed`].
        Die,
        /// The disk is full at this step.
        Full,
        /// The disk is full from this step on.
        FullOn,
        /// This read fails (`EIO`). Only reads are counted.
        Unread,
    }

    /// What a killed process unwinds with.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Killed;

    #[derive(Clone, Copy, Debug, Default)]
    struct Steps {
        count: usize,
        armed: Option<(usize, Fault)>,
        reached: bool,
    }

    thread_local! {
        static STEPS: Cell<Steps> = const { Cell::new(Steps { count: 0, armed: None, reached: false }) };
    }

    /// Arms a fault for this thread's step `at`, counted from here; the first is 1. A full disk counts only
    /// the steps that need room.
    pub fn arm(at: usize, fault: Fault) {
        STEPS.set(Steps { count: 0, armed: Some((at, fault)), reached: false });
    }

    /// Disarms, and tells how many steps there were since arming, and whether the armed one was reached.
    pub fn disarm() -> (usize, bool) {
        let was = STEPS.take();
        (was.count, was.reached)
    }

    pub(crate) fn pass(needs: Needs) -> rustix::io::Result<()> {
        let mut steps = STEPS.get();
        let Some((at, fault)) = steps.armed else { return Ok(()) };
        if matches!(fault, Fault::Unread) {
            return Ok(());
        }
        if needs == Needs::Nothing && !matches!(fault, Fault::Die) {
            return Ok(());
        }
        steps.count += 1;
        steps.reached |= steps.count == at;
        STEPS.set(steps);
        match fault {
            Fault::Die if steps.count == at => std::panic::resume_unwind(Box::new(Killed)),
            Fault::Full if steps.count == at => Err(Errno::NOSPC),
            Fault::FullOn if steps.count >= at => Err(Errno::NOSPC),
            _ => Ok(()),
        }
    }

    pub(crate) fn look() -> rustix::io::Result<()> {
        let mut steps = STEPS.get();
        let Some((at, Fault::Unread)) = steps.armed else { return Ok(()) };
        steps.count += 1;
        steps.reached |= steps.count == at;
        STEPS.set(steps);
        if steps.count == at { Err(Errno::IO) } else { Ok(()) }
    }

    pub(crate) fn middle(length: usize) -> usize {
        length / 2
    }
}
