//! What our messages make of a real kernel. Each test runs in network namespaces of its own.

mod elements;
mod identity;
mod namespace;
mod ruleset;
