//! `bandwidth`: how fast a container may send and receive, in bits per second.

use super::config::Config;
use super::doc::Doc;
use super::failure::Failure;
use qiao_core::shape::{Limits, Rate};

/// The limits: the configuration's own, or else the runtime's.
pub fn limits(config: &Config) -> Result<Limits, Failure> {
    let doc = config.doc();
    for key in ["shapedSubnets", "unshapedSubnets"] {
        if let Some(subnet) = doc.texts(key)?.first() {
            return Err(Failure::unsupported(key, subnet).because(
                "the reference had it in 1.5 only; a rate is that of all that a container sends or receives",
            ));
        }
    }
    let of_runtime = config.runtime()?.object("bandwidth")?;
    let keys = ["ingressRate", "ingressBurst", "egressRate", "egressBurst"];
    let own = keys.iter().any(|key| doc.get(key).is_some());
    let doc = of_runtime.filter(|_| !own).unwrap_or(doc);
    Ok(Limits { ingress: rate(doc, keys[0], keys[1])?, egress: rate(doc, keys[2], keys[3])? })
}

/// The errors are the reference's (plugins/meta/bandwidth/main.go, `validateRateAndBurst`).
fn rate(doc: Doc<'_>, rate_key: &str, burst_key: &str) -> Result<Option<Rate>, Failure> {
    let rate = doc.number(rate_key, u64::MAX)?.unwrap_or(0);
    let burst = doc.number(burst_key, u64::MAX)?.unwrap_or(0);
    let wrong = |text: &str| {
        Err(Failure::config(text).because(format!("`{rate_key}`: {rate}, `{burst_key}`: {burst}")))
    };
    match (rate, burst) {
        (0, 0) => Ok(None),
        (_, 0) => wrong("if rate is set, burst must also be set"),
        (0, _) => wrong("if burst is set, rate must also be set"),
        (_, burst) if burst / 8 >= u64::from(u32::MAX) => wrong("burst cannot be more than 4GB"),
        (1..8, _) => wrong("rate cannot be less than 8 bits per second"),
        (rate, burst) => Ok(Some(Rate { rate, burst })),
    }
}
