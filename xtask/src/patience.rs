//! How long the guest is waited for: not a time in which all must be done, but one since its last sign of life. A guest is
//! emulated, 10 to 50 times slower than the machine, and the machine may have other things to do.

use std::time::Duration;

/// What a guest says every 20 seconds that does nothing else: its kernel lives.
pub const ALIVE: &str = "qiao-vm: alive";

/// A guest that has not even said that it lives for so long has crashed, or never began.
const SILENT: Duration = Duration::from_secs(600);
/// So long one test may take.
const STUCK: Duration = Duration::from_secs(1800);
/// So long all of them may.
const LONGEST: Duration = Duration::from_secs(3 * 3600);

/// When something was heard of a guest, each since it was started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    heard: Duration,
    went_on: Duration,
}

impl Patience {
    /// Something is heard. That a guest lives is no progress.
    pub fn hear(&mut self, now: Duration, text: &str) {
        self.heard = now;
        if !text.replace(ALIVE, "").trim().is_empty() {
            self.went_on = now;
        }
    }

    /// Why nothing is expected any more, if that is so.
    pub fn is_over(&self, now: Duration) -> Option<String> {
        let since = |then: Duration| now.saturating_sub(then);
        let silent = since(self.heard) > SILENT;
        let stuck = since(self.went_on) > STUCK;
        let minutes = |time: Duration| time.as_secs() / 60;
        match (silent, stuck, now > LONGEST) {
            (true, ..) => Some(format!("it has said nothing for {} minutes", minutes(SILENT))),
            (_, true, _) => Some(format!("it lives, and has not gone on for {} minutes", minutes(STUCK))),
            (.., true) => Some(format!("it has run for {} minutes", minutes(LONGEST))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(20);

    /// Runs a guest that says `said` at each step; when it is given up, in seconds.
    fn given_up(said: impl Fn(u32) -> Option<&'static str>) -> u64 {
        let mut patience = Patience::default();
        for step in 1.. {
            let now = STEP * step;
            if patience.is_over(now).is_some() {
                return now.as_secs();
            }
            said(step).into_iter().for_each(|text| patience.hear(now, text));
        }
        unreachable!("nothing lasts for ever")
    }

    #[test]
    fn patience_counts_from_the_last_sign_of_life() {
        // A test every five minutes, as on a machine with a load of ten: it was ended after the first.
        let slow = given_up(|step| Some(if step % 15 == 0 { "test a ... ok\n" } else { "qiao-vm: alive\n" }));
        assert!(slow > 10_000, "{slow}");
        // A guest that crashes, at once or later, is not waited for until the end.
        assert_eq!(given_up(|_| None), 620);
        assert_eq!(given_up(|step| (step < 10).then_some("test a ... ok")), 9 * 20 + 620);
        // Nor is a test that never ends.
        assert_eq!(given_up(|step| (step > 1).then_some("\nqiao-vm: alive\n")), 1820);
        assert_eq!(
            given_up(|step| Some(if step == 50 { "qiao-vm: aliveok\ntest b" } else { "qiao-vm: alive" })),
            2820
        );
    }
}
