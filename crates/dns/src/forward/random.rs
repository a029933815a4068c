//! Numbers of questions that nobody can guess.

use rustix::rand::{GetRandomFlags, getrandom};

/// Numbers of the kernel's random generator, taken in batches.
#[derive(Debug, Default)]
pub struct Numbers {
    bytes: Vec<u8>,
}

impl Numbers {
    /// The next one.
    pub fn next(&mut self) -> u16 {
        const BATCH: usize = 128;
        if self.bytes.len() < 2 {
            self.bytes = vec![0; BATCH];
            let mut filled = 0;
            while filled < BATCH {
                // The generator waits only before it was ever ready, early in the boot; there is no other error.
                match getrandom(&mut self.bytes[filled..], GetRandomFlags::empty()) {
                    Ok(count) => filled += count,
                    Err(_) => std::thread::yield_now(),
                }
            }
        }
        let (low, high) = (self.bytes.pop().unwrap_or_default(), self.bytes.pop().unwrap_or_default());
        u16::from_be_bytes([high, low])
    }
}
