//! Out of the cgroup of whoever started us.

/// Leaves the cgroup of whoever started us for the root of each hierarchy: who ends a session or a container by its
/// cgroup does not mean the names of all others. Where the root takes no processes (a delegated one), a cgroup below
/// it does.
pub fn leave_cgroup() {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for root in roots(&mounts) {
        let join = |dir: &str| std::fs::write(format!("{dir}/cgroup.procs"), "0").is_ok();
        let below = format!("{root}/qiao");
        if !join(root) && (std::fs::create_dir(&below).is_ok() || std::fs::exists(&below).unwrap_or_default())
        {
            join(&below);
        }
    }
}

/// Where the roots of cgroup hierarchies are mounted (proc(5), `mountinfo`).
fn roots(mounts: &str) -> impl Iterator<Item = &str> {
    mounts.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let words: Vec<&str> = left.split(' ').collect();
        right.starts_with("cgroup").then(|| words.get(4).copied()).flatten()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn hierarchies_are_found() {
        let text = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n\
                    31 23 0:27 / /sys rw - sysfs sysfs rw\n\
                    32 23 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        let roots: Vec<_> = super::roots(text).collect();
        assert_eq!(roots, ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd"]);
    }
}
