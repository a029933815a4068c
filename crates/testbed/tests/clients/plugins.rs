//! The plugins that are tested, and what those of others are known to fail.

use qiao_testbed::Host;
use qiao_testbed::namespaces::{is_inside, on_a_host};
use std::any::type_name;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Names a directory of plugins to test.
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

/// The directory of the plugins that are tested.
pub fn directory() -> PathBuf {
    env::var_os(PLUGINS).map_or_else(|| REFERENCE.into(), PathBuf::from)
}

/// Runs a test on a host of its own; where the plugins are known to fail it, they must.
pub fn on_a_host_with_plugins<F: FnOnce(&Host)>(test: F) {
    let path = type_name::<F>();
    let fails = REFERENCE_FAILS.iter().any(|name| path.contains(&format!("::{name}::")));
    if is_inside() || directory() != Path::new(REFERENCE) || !fails {
        return on_a_host(test);
    }
    let passed = catch_unwind(AssertUnwindSafe(|| on_a_host(test))).is_ok();
    assert!(!passed, "{path} passes with {REFERENCE}: it is to be taken off the list");
}
