//! The engine's sequences on the fake kernel and a store in a directory: what they do, and what is left when
//! they fail or are killed at any point.

mod children;
mod drift;
mod faults;
mod flows;
mod foreign;
mod forwarding;
mod home;
mod host;
mod hostile;
mod inside;
mod kills;
mod looking;
mod namesakes;
mod presumed;
mod scenario;
mod stuck;
mod unread;
mod zones;
