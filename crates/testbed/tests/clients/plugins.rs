//! The plugins that are tested, and what those of others are known to fail.

use crate::machine::FILES;
use qiao_testbed::namespaces::{is_inside, on_a_host};
use qiao_testbed::{Host, has_plugin, link_plugins};
use std::any::type_name;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Names a directory of plugins to test instead of ours.
const PLUGINS: &str = "QIAO_CNI_BIN_DIR";
/// The reference plugins, where Debian has them: version 1.1.1.
const REFERENCE: &str = "/usr/lib/cni";

/// The tests that the reference fails. Each must fail, else this is not true any more.
const REFERENCE_FAILS: &[&str] = &[
    // Rules for masquerading stay when DEL comes with an empty CNI_NETNS (plugins#810).
    "cri_pods::a_pod_whose_namespace_vanished_is_removed",
    "ctr_run::the_address_is_free_when_the_container_has_ended",
    // Reservations of containers that are gone stay, also over a reboot (plugins#252).
    "cri_pods::a_reboot_keeps_no_address_and_no_port",
    "podman_life::a_namespace_that_vanished_keeps_neither_address_nor_port",
    "podman_life::a_reboot_keeps_no_address_and_no_port",
];

/// The tests that ours fail. Each must fail, else this is not true any more.
const OURS_FAIL: &[&str] = &[];

/// The plugins by `QIAO_CNI_BIN_DIR`; else ours, and the reference where `qiao` is built without them.
fn given() -> Option<PathBuf> {
    let named = env::var_os(PLUGINS).map(PathBuf::from);
    named.or_else(|| (!has_plugin("bridge")).then(|| REFERENCE.into()))
}

/// The directory of the plugins that are tested. Ours are put together where this test keeps its files.
pub fn directory() -> PathBuf {
    given().unwrap_or_else(|| {
        let dir = Path::new(FILES).join("cni");
        fs::create_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        link_plugins(&dir);
        dir
    })
}

/// Runs a test on a host of its own; where the plugins are known to fail it, they must.
pub fn on_a_host_with_plugins<F: FnOnce(&Host)>(test: F) {
    if is_inside() {
        return on_a_host(test);
    }
    let path = type_name::<F>();
    let known = match given() {
        Some(dir) if dir == Path::new(REFERENCE) => REFERENCE_FAILS,
        Some(_) => &[],
        None => OURS_FAIL,
    };
    if !known.iter().any(|name| path.contains(&format!("::{name}::"))) {
        return on_a_host(test);
    }
    let passed = catch_unwind(AssertUnwindSafe(|| on_a_host(test))).is_ok();
    assert!(!passed, "{path} passes: it is to be taken off the list of what is known to fail");
}
