//! Clients of 127.0.0.1 and ::1 reach containers by the cgroup hooks. Each test runs in network namespaces and
//! in a cgroup of its own; the machine's root cgroup is never touched.

mod datagrams;
mod engines;
mod entries;
mod hooks;
mod host;
mod killed;
mod speed;
mod streams;
