//! `dhcp-proxy`: leases for whoever asks as netavark does. Our own `setup` does not need it.

use qiao_dhcp_proxy::{Options, serve as serve_with};
use qiao_doors::netavark::Failure;
use qiao_doors::netavark::Proxy;
use std::time::Duration;

/// Where it is unless somebody says otherwise.
const DIR: &str = "/run/podman";
/// Stands before what the command line says.
const VARIABLE: &str = "NETAVARK_PROXY_RUN_DIR_ENV";
/// How long a server is waited for, and how long nobody may ask, in seconds.
const TIMEOUT: u32 = 8;
const ACTIVITY: u64 = 300;

/// Runs until it is told to end, or nobody needs it any more.
pub fn serve(proxy: &Proxy) -> Result<(), Failure> {
    let given = std::env::var(VARIABLE).ok().or_else(|| proxy.dir.clone());
    let dir = given.unwrap_or_else(|| DIR.into());
    let options = Options {
        socket: format!("{}/nv-proxy.sock", proxy.uds.as_deref().unwrap_or(&dir)),
        dir,
        timeout: Duration::from_secs(proxy.timeout.unwrap_or(TIMEOUT).max(1).into()),
        activity: Duration::from_secs(proxy.activity.unwrap_or(ACTIVITY)),
    };
    serve_with(&options).map_err(|error| Failure(format!("cannot serve DHCP leases: {error}")))
}
