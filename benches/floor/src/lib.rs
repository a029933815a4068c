//! What the programs of this package share: netlink messages put together by hand, and system calls.
//!
//! It is no library to build on: it trusts its arguments, and gives up at the first error.
#![forbid(unsafe_code)]

pub mod message;
pub mod nft;
pub mod socket;
pub mod veth;

/// Ends the program with a message.
pub fn die(what: &str) -> ! {
    eprintln!("floor: {what}: {}", std::io::Error::last_os_error());
    std::process::exit(1)
}
