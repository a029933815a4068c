//! VERSION: probe plugin version support.

use crate::attachment::Attachment;
use crate::check::Check;
use crate::stage::Stage;
use crate::verdict::{Met, must, of, same};
use serde_json::{Value, json};

const SECTION: &str = "VERSION";

pub const CHECKS: &[Check] = &[
    Check::must(
        "VERSION-1",
        (SECTION, "the plugin outputs an object with `cniVersion` and `supportedVersions`"),
        lists_versions,
    ),
    Check::must(
        "VERSION-2",
        ("VERSION Success", "`cniVersion` is the value that was specified on input"),
        echoes_the_version,
    ),
    Check::custom(
        "VERSION-3",
        ("up to 0.4.0", "VERSION works without any input, as runtimes of 0.2.0 to 0.4.0 call it"),
        needs_no_input,
    ),
    Check::custom(
        "VERSION-4",
        ("libcni", "VERSION does not look at CNI_NETNS, CNI_IFNAME and CNI_PATH, which are `dummy`"),
        ignores_dummies,
    ),
    Check::custom(
        "VERSION-5",
        (
            "skel",
            "without CNI_COMMAND the plugin says its name, its version and what it supports on stderr, and exits with 0",
        ),
        introduces_itself,
    ),
    Check::custom(
        "VERSION-6",
        ("nerdctl", "`firewall` says a version that nerdctl can read, of at least 1.1.0"),
        says_a_version,
    )
    .on(&["firewall"]),
];

/// The plugins that are there, of those that every host has.
fn each(stage: &Stage, ask: impl Fn(&str) -> Met) -> Met {
    let usual = ["bridge", "host-local", "portmap", "firewall", "tuning", "loopback"];
    usual.iter().filter(|plugin| stage.has(plugin)).try_for_each(|plugin| of(plugin, ask(plugin)))
}

fn lists_versions(stage: &Stage) -> Met {
    each(stage, |plugin| {
        let versions = stage.versions(plugin)?;
        let wanted = ["0.4.0", "1.0.0"].iter().all(|version| versions.iter().any(|v| v == version));
        must(wanted, || format!("supportedVersions is {versions:?}"))
    })
}

fn echoes_the_version(stage: &Stage) -> Met {
    each(stage, |plugin| {
        ["0.4.0", "1.0.0"].iter().try_for_each(|version| {
            let result = stage
                .run("VERSION", &json!({"cniVersion": version, "type": plugin}), &Attachment::nobody())
                .result()?;
            same("cniVersion", &result["cniVersion"], &Value::from(*version))
        })
    })
}

fn needs_no_input(stage: &Stage) -> Met {
    each(stage, |plugin| {
        let result = stage
            .call("VERSION", &json!({"type": plugin}), &Attachment::nobody())
            .input(b"")
            .run()
            .result()?;
        must(result["supportedVersions"].is_array(), || result.to_string())
    })
}

fn ignores_dummies(stage: &Stage) -> Met {
    each(stage, |plugin| {
        let call =
            stage.call("VERSION", &json!({"cniVersion": "1.0.0", "type": plugin}), &Attachment::nobody());
        let call = call.env("CNI_NETNS", "dummy").env("CNI_IFNAME", "dummy").env("CNI_PATH", "dummy");
        call.run().result().map(drop)
    })
}

fn introduces_itself(stage: &Stage) -> Met {
    each(stage, |plugin| {
        let answer =
            stage.call("", &json!({"type": plugin}), &Attachment::nobody()).without("CNI_COMMAND").run();
        answer.nothing()?;
        let said =
            answer.stderr.starts_with(&format!("CNI {plugin} plugin ")) && answer.stderr.contains("1.0.0");
        must(said, || answer.to_string())
    })
}

fn says_a_version(stage: &Stage) -> Met {
    let answer =
        stage.call("", &json!({"type": "firewall"}), &Attachment::nobody()).without("CNI_COMMAND").run();
    let word = answer.stderr.split_whitespace().nth(3).unwrap_or_default().to_owned();
    let numbers: Vec<u32> =
        word.trim_start_matches('v').split(['.', '-', '+']).map_while(|n| n.parse().ok()).collect();
    must(numbers >= vec![1, 1, 0], || format!("it says {:?}", answer.stderr.lines().next()))
}
