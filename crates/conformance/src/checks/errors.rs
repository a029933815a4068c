//! Errors: what a plugin prints when it fails.

use super::{bridge, bridge_with_one_address, with};
use crate::answer::Refusal;
use crate::check::Check;
use crate::stage::{Stage, VERSION};
use crate::verdict::{Met, must, of, same};
use serde_json::json;

const SECTION: &str = "Error";

pub const CHECKS: &[Check] = &[
    Check::must(
        "ERROR-1",
        (
            "Overview",
            "a plugin exits with 0 on success and not with 0 on failure, and prints one error object",
        ),
        one_object_and_a_status,
    ),
    Check::should(
        "ERROR-2",
        (SECTION, "the object has `cniVersion`, the protocol version in use"),
        bears_the_version,
    ),
    Check::must("ERROR-3", (SECTION, "`code` is a known number, or 100 and more"), codes_are_known),
    Check::custom(
        "ERROR-4",
        (
            SECTION,
            "a pool without a free address is an error of the plugin's own (100 and more) or 11, and says which network",
        ),
        exhaustion,
    ),
    Check::custom(
        "ERROR-5",
        (SECTION, "the message says what was wrong: the name of the key, or its value"),
        messages_name_the_cause,
    ),
];

fn three_refusals(stage: &Stage) -> Met<Vec<Refusal>> {
    let (_, attachment) = stage.container("c1");
    let no_delegate = with(&bridge(), "ipam", &json!({"type": "nobody-has-this"}));
    let calls = [
        ("a CONTAINERID with a blank", stage.run("ADD", &bridge(), &attachment.named("a b"))),
        ("a namespace that is not there", stage.run("ADD", &bridge(), &attachment.at("/run/netns/gone"))),
        ("a delegate that is not there", stage.run("ADD", &no_delegate, &attachment)),
    ];
    calls.iter().map(|(what, answer)| of(what, answer.refusal())).collect()
}

fn one_object_and_a_status(stage: &Stage) -> Met {
    three_refusals(stage).map(drop)
}

fn bears_the_version(stage: &Stage) -> Met {
    three_refusals(stage)?
        .iter()
        .try_for_each(|refusal| same("cniVersion", &refusal.object["cniVersion"], &json!(VERSION)))
}

fn codes_are_known(stage: &Stage) -> Met {
    three_refusals(stage)?.iter().try_for_each(|refusal| {
        let known = matches!(refusal.code, 1..=8 | 11 | 50 | 51 | 100..);
        must(known, || format!("the code is {}: {}", refusal.code, refusal.text))
    })
}

fn exhaustion(stage: &Stage) -> Met {
    stage.add(&bridge_with_one_address(), &stage.container("c1").1)?;
    let refusal = stage.run("ADD", &bridge_with_one_address(), &stage.container("c2").1).refusal()?;
    must(refusal.code == 11 || refusal.code >= 100, || format!("the code is {}", refusal.code))?;
    must(refusal.text.contains("net") || refusal.text.contains("10.88.0.7"), || refusal.text)
}

fn messages_name_the_cause(stage: &Stage) -> Met {
    let refusals = three_refusals(stage)?;
    let causes = ["a b", "/run/netns/gone", "nobody-has-this"];
    refusals.iter().zip(causes).try_for_each(|(refusal, cause)| {
        must(refusal.text.contains(cause), || format!("it does not say {cause:?}: {}", refusal.text))
    })
}
