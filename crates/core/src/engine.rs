//! Which engine: the number that every link of an engine bears.

use crate::owner::fnv;
use std::fmt;

/// An engine: one run directory in one network namespace. Several may be on one machine, a container's own among
/// them, and none may take an object of another for its own.
///
/// The number is the group of every link that the engine creates (`IFLA_GROUP`, linux/if_link.h). Whatever else
/// bears a mark hangs on such a link, or is in the tables of the engine's network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EngineId(u32);

/// What an engine's number is made from. All of it stays the same for as long as the host is up.
#[derive(Clone, Copy, Debug)]
pub struct Home<'a> {
    /// The cookie of the engine's network namespace (`SO_NETNS_COOKIE`, socket(7)).
    pub netns: u64,
    /// The device of the directory that holds the run directory (`st_dev`).
    pub dev: u64,
    /// The inode of that directory (`st_ino`).
    pub ino: u64,
    /// The run directory's name in it.
    pub name: &'a str,
}

impl EngineId {
    /// `q` in ASCII: the first byte of every engine's number, so that a link of another engine is known as such.
    const PREFIX: u32 = 0x7100_0000;
    const BITS: u32 = 0x00ff_ffff;

    /// The engine at a place. 24 bits tell engines apart: two of 100 engines share a number once in 3,000 hosts.
    pub fn at(home: Home<'_>) -> Self {
        let Home { netns, dev, ino, name } = home;
        let hash = fnv(name, fnv(&format!("{netns:x} {dev:x} {ino:x}"), 0));
        Self(Self::PREFIX | (hash >> 40) as u32 & Self::BITS)
    }

    /// The group of this engine's links.
    pub fn group(self) -> u32 {
        self.0
    }

    /// Whether a link of this group is an engine's, whichever.
    pub fn has(group: u32) -> bool {
        group & !Self::BITS == Self::PREFIX
    }

    /// Reads an engine's number from eight hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let number = u32::from_str_radix(text, 16).ok().filter(|_| text.len() == 8)?;
        Self::has(number).then_some(Self(number))
    }
}

/// The engine of a program that keeps no records: `qiao` in ASCII.
impl Default for EngineId {
    fn default() -> Self {
        Self(0x7169_616f)
    }
}

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Home<'static> = Home { netns: 1, dev: 25, ino: 1042, name: "qiao" };

    #[test]
    fn each_part_of_a_place_tells_engines_apart() {
        let here = EngineId::at(HOME);
        let others = [
            Home { netns: 2, ..HOME },
            Home { dev: 26, ..HOME },
            Home { ino: 1043, ..HOME },
            Home { name: "qiao2", ..HOME },
        ];
        for other in others {
            assert_ne!(EngineId::at(other), here, "{other:?}");
        }
        assert_eq!(EngineId::at(HOME), here);
    }

    #[test]
    fn numbers_round_trip_and_are_known_as_engines() {
        let here = EngineId::at(HOME);
        assert_eq!(EngineId::parse(&here.to_string()), Some(here));
        assert!(EngineId::has(here.group()) && EngineId::has(EngineId::default().group()));
        for group in [0, 1, 113, 0x7000_0000, 0x7200_0000, u32::MAX] {
            assert!(!EngineId::has(group), "{group:x}");
        }
        for text in ["", "71", "0000000a", "7169616g", "+7169616", "71696161a"] {
            assert_eq!(EngineId::parse(text), None, "{text}");
        }
    }
}
