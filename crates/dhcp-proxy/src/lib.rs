//! Netavark's DHCP proxy: leases for containers, asked for by gRPC over a Unix socket (`netavark_proxy.NetavarkProxy`).
//!
//! ```text
//! netavark setup ──► grpc        HTTP/2 over the socket; the only asynchronous part, on one thread
//!                      │
//!                   service      a call: blocking, and without state
//!                      │ one line of JSON, as everybody asks it
//!                   qiao_dhcp    the client and its records: what is kept outlives the proxy
//! ```
#![forbid(unsafe_code)]

mod cache;
mod grpc;
mod message;
mod serve;
mod service;

pub use serve::{Options, serve};
