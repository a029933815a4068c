//! Several changes of one link in one message.

use super::{Mode, Request};
use netlink_packet_core::Nla;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{LinkAttribute as Attribute, LinkMessage};

/// Two changes of one link as one, where nothing speaks against it: each takes the lock of all links, and is told to
/// whoever watches links.
pub fn merged(first: &Request, second: &Request) -> Option<Request> {
    let (one, other) = (settings(first)?, settings(second)?);
    let (name, more) = other.attributes.split_first()?;
    let twice = more.iter().any(|more| one.attributes.iter().any(|known| known.kind() == more.kind()));
    if one.header != other.header || one.attributes.first() != Some(name) || twice {
        return None;
    }
    let mut message = one.clone();
    message.attributes.extend(more.iter().cloned());
    let is_new = |request: &Request| matches!(request.message, Message::NewLink(_));
    let new = is_new(first) || is_new(second);
    Some(Request::change(if new { Message::NewLink } else { Message::SetLink }(message), Mode::Change))
}

/// What a request changes of a link that it names, where it does not matter what is changed first.
fn settings(request: &Request) -> Option<&LinkMessage> {
    use Attribute::{AfSpecUnspec, IfAlias, IfName, LinkInfo};
    let (Message::NewLink(message) | Message::SetLink(message)) = &request.message else { return None };
    let [IfName(_), rest @ ..] = &message.attributes[..] else { return None };
    let free = rest.iter().all(|of| matches!(of, IfAlias(_) | AfSpecUnspec(_) | LinkInfo(_)));
    (free && message.header.change_mask.is_empty() && !request.makes()).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtnl::link;
    use qiao_core::IfName;

    fn all(requests: Vec<Request>) -> usize {
        let mut done: Vec<Request> = Vec::new();
        for request in requests {
            match done.last().and_then(|last| merged(last, &request)) {
                Some(both) => *done.last_mut().unwrap() = both,
                None => done.push(request),
            }
        }
        done.len()
    }

    #[test]
    fn what_does_not_matter_which_is_first_is_one_message() {
        let (web, db) = (IfName::new("q-web").unwrap(), IfName::new("q-db").unwrap());
        let port = |name| link::port(name, true, (false, false));
        let (mark, quiet) = (|name| link::mark(name, "qiao:e"), link::no_automatic_addresses);
        assert_eq!(all(vec![mark(&web), quiet(&web), port(&web)]), 1);
        assert_eq!(all(vec![mark(&web), quiet(&db), port(&db)]), 2);
        assert_eq!(all(vec![mark(&web), mark(&web)]), 2, "of one kind the kernel takes the last");
        assert_eq!(all(vec![mark(&web), link::up(&web, true)]), 2);
        // A port has settings once it is one.
        assert_eq!(all(vec![link::set_master(&web, 7, 1500), port(&web)]), 2);
    }
}
