//! Which namespace is which.

use crate::namespace::in_namespace;
use qiao_kernel::{Kernel, Linux, NetnsHandle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::{Child, Command, Stdio};

/// A process in a network namespace of its own.
struct Other(Child);

impl Other {
    fn start() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let other = Other(command.spawn().unwrap());
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        while std::fs::read_link(other.path()).is_ok_and(|its| its == own) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        other
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs root"]
fn a_namespace_is_known_by_its_cookie() {
    in_namespace("identity::a_namespace_is_known_by_its_cookie", || {
        let (one, two) = (Other::start(), Other::start());
        let mut kernel = Linux::open().unwrap();
        let [one, two] = [&one, &two].map(|other| kernel.netns(&other.path()).unwrap());
        assert!(one.cookie != 0 && one.cookie != two.cookie, "{one:?} {two:?}");
        assert!(NetnsHandle::reopen(&one).unwrap().is_some(), "the control");
        // Another one before it had the same number, at the same path.
        let mut gone = one.clone();
        gone.cookie = two.cookie;
        assert!(NetnsHandle::reopen(&gone).unwrap().is_none());
        assert!(!kernel.is_alive(&gone) && kernel.is_alive(&one), "as this process has it open");
        assert!(!Linux::open().unwrap().is_alive(&gone), "and as the next one sees it");
    });
}

/// What is taken for gone is taken away from: its addresses, its ports, its leases.
#[test]
#[ignore = "needs root"]
fn a_namespace_that_cannot_be_looked_at_is_not_gone() {
    in_namespace("identity::a_namespace_that_cannot_be_looked_at_is_not_gone", || {
        let other = Other::start();
        let known = Linux::open().unwrap().netns(&other.path()).unwrap();
        let mut kernel = Linux::open().unwrap();
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..limit }).unwrap();
        let (refused, alive) = (std::fs::File::open("/proc/self/stat"), kernel.is_alive(&known));
        setrlimit(Resource::Nofile, limit).unwrap();
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
        assert!(alive, "there was no descriptor left to look with");
        drop(other);
        assert!(!kernel.is_alive(&known), "the control");
    });
}
