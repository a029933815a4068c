//! How many descriptors there are for what: who uses up his share takes none of another's.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for clients and for questions to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Connections at one time.
    pub connections: usize,
    /// Questions to others at one time.
    pub questions: usize,
}

/// Connections at one time, where the system has room.
const CONNECTIONS: usize = 1024;
/// Questions to others at one time, where the system has room.
const QUESTIONS: usize = 512;

impl Room {
    /// Takes what the system gives: its hard limit.
    pub fn of_process() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::of(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    /// Of so many descriptors a quarter is left for gateways, files and watchers.
    fn of(limit: usize) -> Self {
        Self { connections: CONNECTIONS.min(limit / 2), questions: QUESTIONS.min(limit / 4) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_are_fewer_than_there_are() {
        for limit in [64, 1024, 4096, 1 << 20] {
            let room = Room::of(limit);
            assert!(room.connections + room.questions <= limit * 3 / 4 && room.questions >= 16, "{room:?}");
        }
        assert_eq!(Room::of(1 << 20), Room { connections: 1024, questions: 512 });
    }
}
