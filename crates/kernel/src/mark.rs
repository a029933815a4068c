//! Whose a link is. Its group names the engine that created it, its alias names the owner in that engine.

use crate::nft;
use crate::rtnl::link::Link;
use qiao_core::plan::Ownership;
use qiao_core::{EngineId, Owner};

/// Whose a link is; `expected` is compared first, since a hashed mark cannot be read. A link without an alias that
/// has the engine's group is one whose creation was interrupted. A group that is no engine's decides nothing: an
/// administrator may have given the link another.
pub fn owner_of(link: &Link, engine: EngineId, expected: Option<&Owner>) -> Ownership {
    match link.alias.as_deref() {
        _ if is_anothers(link, engine) => Ownership::Foreign,
        Some(alias) => nft::owner_of(Some(alias), expected),
        None if link.group == engine.group() => Ownership::Ours,
        None => Ownership::Foreign,
    }
}

/// Whether a link is this engine's, by its group or by its alias.
pub fn is_ours(link: &Link, engine: EngineId) -> bool {
    link.group == engine.group() || owner_of(link, engine, None) != Ownership::Foreign
}

/// Whether another engine created a link.
pub fn is_anothers(link: &Link, engine: EngineId) -> bool {
    EngineId::has(link.group) && link.group != engine.group()
}

/// Whether another engine manages the network namespace that a link is in: the alias says so, which the ends of
/// pairs in that engine's sandboxes do not have.
pub fn is_managed_by_another(link: &Link, engine: EngineId) -> bool {
    let has_mark = || nft::owner_of(link.alias.as_deref(), None) != Ownership::Foreign;
    engine != EngineId::default() && is_anothers(link, engine) && has_mark()
}

#[cfg(test)]
mod tests {
    use super::*;
    use qiao_core::engine::Home;

    fn engine(name: &str) -> EngineId {
        EngineId::at(Home { netns: 7, dev: 25, ino: 3, name })
    }

    fn link(group: u32, alias: Option<&str>) -> Link {
        Link { group, alias: alias.map(str::to_owned), ..Link::default() }
    }

    #[test]
    fn a1_what_another_engine_created_is_foreign() {
        let (own, other) = (engine("own"), engine("other"));
        for alias in [None, Some("qiao:net:blue"), Some("qiao:hash:0011")] {
            let (ours, theirs) = (link(own.group(), alias), link(other.group(), alias));
            assert!(is_ours(&ours, own) && !is_anothers(&ours, own), "{alias:?}");
            assert!(!is_ours(&theirs, own) && is_anothers(&theirs, own), "{alias:?}");
            assert_eq!(owner_of(&theirs, own, None), Ownership::Foreign, "{alias:?}");
            assert_eq!(is_managed_by_another(&theirs, own), alias.is_some(), "{alias:?}");
            assert!(!is_managed_by_another(&ours, own), "{alias:?}");
        }
    }

    #[test]
    fn an_administrators_group_takes_no_mark_away() {
        let blue = Owner::Network("blue".parse().unwrap());
        let found = link(5, Some("qiao:net:blue"));
        assert_eq!(owner_of(&found, engine("own"), None), Ownership::Marked(blue));
        assert_eq!(owner_of(&link(5, None), engine("own"), None), Ownership::Foreign);
    }
}
