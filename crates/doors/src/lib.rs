//! Front doors: the wire formats of others, read into requests and written as replies. Pure: what came in and
//! what goes out are arguments and results.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod cni;
pub mod json;
pub mod netavark;
