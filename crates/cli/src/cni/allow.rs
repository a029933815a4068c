//! Which sysctls `tuning` may set: an administrator can limit them (/etc/cni/tuning/allowlist.conf, one regular
//! expression a line, as the reference has it).

use qiao_doors::cni::Failure;
use regex_lite::Regex;

const LIST: &str = "/etc/cni/tuning/allowlist.conf";

/// Refuses a setting that is not on the list, where there is a list.
pub fn sysctl(name: &str) -> Result<(), Failure> {
    let text = match std::fs::read_to_string(LIST) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::new(5, format!("cannot read {LIST}: {error}"))),
    };
    let is_allowed = matches(&text, name)?;
    if is_allowed {
        Ok(())
    } else {
        Err(Failure::new(102, format!("`sysctl`: {name} is not allowed by {LIST}")))
    }
}

fn matches(list: &str, name: &str) -> Result<bool, Failure> {
    for line in list.lines().filter(|line| !line.trim().is_empty()) {
        let wrong = |error| Failure::new(5, format!("{LIST}: {line:?} is no regular expression: {error}"));
        if Regex::new(line).map_err(wrong)?.is_match(name) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_line_matches_anywhere_unless_it_says_otherwise() {
        let list = "^net\\.core\\.somaxconn$\n\n^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$\n";
        for (name, is_allowed) in [
            ("net.core.somaxconn", true),
            ("net.core.somaxconn2", false),
            ("net.ipv4.conf.IFNAME.log_martians", true),
            ("net.ipv4.ip_forward", false),
        ] {
            assert_eq!(matches(list, name).unwrap(), is_allowed, "{name}");
        }
        assert!(matches("forward", "net.ipv4.ip_forward").unwrap());
        assert!(matches("(", "net").is_err());
        assert!(!matches("", "net").unwrap());
    }
}
