//! Times as people say them.

use std::time::{Duration, SystemTime};

/// A time in seconds since 1970 as RFC 3339, UTC.
pub fn rfc3339(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// Now, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// How long ago, as Docker says it: `3 minutes`.
pub fn ago(seconds: u64) -> String {
    words(now().saturating_sub(seconds))
}

fn words(seconds: u64) -> String {
    let count = |n: u64, unit: &str| if n == 1 { format!("1 {unit}") } else { format!("{n} {unit}s") };
    match seconds {
        0 => "Less than a second".into(),
        1..60 => count(seconds, "second"),
        60..3600 => count(seconds / 60, "minute"),
        3600..172_800 => count(seconds / 3600, "hour"),
        _ => count(seconds / 86400, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_words() {
        assert_eq!(words(1), "1 second");
        assert_eq!(words(185), "3 minutes");
        assert_eq!(words(7200), "2 hours");
        assert_eq!(words(200_000), "2 days");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
    }
}
