//! The proxy as a process, with real sockets. Each test runs in a network namespace of its own.

mod life;
mod proxy;
mod streams;
mod udp;
