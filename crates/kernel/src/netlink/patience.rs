//! How long a dump that changes interrupt (`NLM_F_DUMP_INTR`) is repeated.
//!
//! The bound is one of time and not of tries: where a link changes each few milliseconds, a dump of a thousand of them
//! fits between two changes once in a while, and a hundred tries take less than a second.

use crate::error::KernelError;
use std::time::{Duration, Instant};

/// For objects that only an administrator of the host changes.
pub const LONG: Duration = Duration::from_secs(5);
/// For objects that the root of a container may change on purpose: the engine's lock is held meanwhile.
pub const SHORT: Duration = Duration::from_millis(250);

/// The first pause and the longest one: changes come in bursts.
const FIRST: Duration = Duration::from_micros(50);
const LONGEST: Duration = Duration::from_millis(4);

/// Tries that are bounded in time.
#[derive(Debug)]
pub struct Patience {
    end: Instant,
    pause: Duration,
}

impl Patience {
    /// Begins now.
    pub fn of(length: Duration) -> Self {
        Self { end: Instant::now() + length, pause: FIRST }
    }

    /// Waits a little before the next try; false where there is no time for one.
    pub fn again(&mut self) -> bool {
        if Instant::now() + self.pause > self.end {
            return false;
        }
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(LONGEST);
        true
    }
}

/// Asks until the answer is not interrupted, for at most this long.
pub fn until_whole<T>(
    length: Duration,
    mut ask: impl FnMut() -> Result<T, KernelError>,
) -> Result<T, KernelError> {
    let mut patience = None;
    loop {
        match ask() {
            Err(KernelError::Interrupted) if patience.get_or_insert_with(|| Patience::of(length)).again() => {
            }
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g2_an_interrupted_dump_is_asked_for_until_it_is_whole() {
        let mut tries = 0;
        let answer = until_whole(LONG, || {
            tries += 1;
            if tries < 40 { Err(KernelError::Interrupted) } else { Ok(tries) }
        });
        assert_eq!(answer.unwrap(), 40);
    }

    #[test]
    fn g2_asking_ends_where_changes_do_not() {
        let begun = Instant::now();
        let answer = until_whole(Duration::from_millis(20), || Err::<(), _>(KernelError::Interrupted));
        assert!(matches!(answer, Err(KernelError::Interrupted)));
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        let mut tries = 0;
        let refused = until_whole(LONG, || {
            tries += 1;
            Err::<(), _>(KernelError::Malformed("something else"))
        });
        assert!(matches!(refused, Err(KernelError::Malformed(_))) && tries == 1, "only interruptions");
    }
}
