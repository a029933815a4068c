//! Signals that end a command while it still prepares the container.

use rustix::process::Signal;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The signals that end a command.
const ENDING: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

/// The signals that this process was started to ignore, a bit each (proc_pid_status(5), `SigIgn`).
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

/// The signal that came last, of those that end a command.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Catches the signals from now on: every wait has to check for them.
    pub fn catch() -> io::Result<Self> {
        let interrupt = Self::default();
        let ignored = ignored();
        for signal in ENDING {
            let number = signal.as_raw();
            // As a shell has it for jobs in the background, and `nohup` for what shall outlive its terminal.
            if ignored & 1 << (number - 1) != 0 {
                continue;
            }
            let value = usize::try_from(number).unwrap_or_default();
            signal_hook::flag::register_usize(number, Arc::clone(&interrupt.0), value)?;
        }
        Ok(interrupt)
    }

    /// Forgets what came: only what comes from now on counts.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The exit code of a command that a signal has ended, if one came.
    pub fn code(&self) -> Option<u8> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            number => Some(u8::try_from(128 + number).unwrap_or(u8::MAX)),
        }
    }
}
