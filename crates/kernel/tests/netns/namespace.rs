//! Tests within network namespaces of their own.

use qiao_core::plan::{Observed, State, diff};
use qiao_kernel::{Kernel, Linux, Places};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Says to a process that it is the test within the namespace, and from which namespace it was begun.
const OUTSIDE: &str = "QIAO_KERNEL_OUTSIDE_NAMESPACE";

fn namespace() -> String {
    std::fs::read_link("/proc/self/ns/net").unwrap().to_string_lossy().into_owned()
}

/// Runs the test of this name again, in a new namespace, where it runs `test`.
pub fn in_namespace(name: &str, test: impl FnOnce()) {
    if let Ok(outside) = std::env::var(OUTSIDE) {
        assert_ne!(namespace(), outside, "not in a namespace of its own");
        return test();
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture"]).env(OUTSIDE, namespace());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "in the namespace: {text}\n{failed}");
}

fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What `nft` prints here.
pub fn nft(arguments: &[&str]) -> String {
    output(Command::new("nft").args(arguments))
}

/// What `nft list ruleset` prints after `nft -f` of these rules, in another namespace.
pub fn listing_of(rules: &str) -> String {
    let path: PathBuf =
        [env!("CARGO_TARGET_TMPDIR"), &format!("rules-{}.nft", std::process::id())].iter().collect();
    std::fs::write(&path, rules).unwrap();
    let script = "nft -f \"$0\" && nft list ruleset";
    let listing = output(Command::new("unshare").args(["--net", "--", "sh", "-c", script]).arg(&path));
    std::fs::remove_file(path).unwrap();
    listing
}

/// Makes what is desired where there is nothing of it.
pub fn make(kernel: &mut Linux, desired: &State) {
    let plan = diff(&Observed::default(), desired).unwrap();
    kernel.apply(&plan, &Places::new()).unwrap();
}
