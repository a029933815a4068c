//! STATUS: check plugin status.

use super::{bridge, bridge_with_one_address, with};
use crate::check::Check;
use crate::recorder::Recorder;
use crate::stage::Stage;
use crate::verdict::{Met, same};
use serde_json::{Value, json};

const SECTION: &str = "STATUS";

pub const CHECKS: &[Check] = &[
    Check::must(
        "STATUS-1",
        (SECTION, "a plugin that is ready to service ADD exits with 0, without a word"),
        ready,
    )
    .since("1.1.0"),
    Check::custom("STATUS-2", ("skel", "STATUS in a version before 1.1.0 is error 1"), too_old),
    Check::should(
        "STATUS-3",
        (SECTION, "a pool whose addresses are exhausted is an error, 50 or 51"),
        exhausted,
    )
    .since("1.1.0"),
    Check::must(
        "STATUS-4",
        ("Section 4", "STATUS is passed on to the delegate, and its error is returned"),
        forwarded,
    )
    .since("1.1.0"),
    Check::must(
        "STATUS-5",
        (SECTION, "CNI_CONTAINERID, CNI_NETNS and CNI_IFNAME are not needed"),
        needs_little,
    )
    .since("1.1.0"),
];

fn newest(config: &Value) -> Value {
    with(config, "cniVersion", &json!("1.1.0"))
}

fn ready(stage: &Stage) -> Met {
    stage.run("STATUS", &newest(&bridge()), &stage.container("c1").1).nothing()
}

fn too_old(stage: &Stage) -> Met {
    stage.run("STATUS", &bridge(), &stage.container("c1").1).refused_with(&[1, 4]).map(drop)
}

fn exhausted(stage: &Stage) -> Met {
    let config = newest(&bridge_with_one_address());
    let (_, attachment) = stage.container("c1");
    stage.run("STATUS", &config, &attachment).nothing()?;
    stage.add(&config, &attachment)?;
    stage.run("STATUS", &config, &attachment).refused_with(&[50, 51])?;
    stage.del(&config, &attachment)?;
    stage.run("STATUS", &config, &attachment).nothing()
}

fn forwarded(stage: &Stage) -> Met {
    let recorder = Recorder::new(stage, "frob-ipam");
    let stage = stage.searching(recorder.dir());
    let config = newest(&with(&bridge(), "ipam", &json!({"type": "frob-ipam"})));
    stage.run("STATUS", &config, &stage.container("c1").1).nothing()?;
    same("the delegate's calls", &recorder.verbs(), &vec!["STATUS".to_owned()])?;
    recorder.fails("STATUS", &json!({"cniVersion": "1.1.0", "code": 51, "msg": "no"}));
    stage.run("STATUS", &config, &stage.container("c2").1).refused_with(&[51]).map(drop)
}

fn needs_little(stage: &Stage) -> Met {
    let call = stage.call("STATUS", &newest(&bridge()), &stage.container("c1").1);
    call.without("CNI_CONTAINERID").without("CNI_NETNS").without("CNI_IFNAME").run().nothing()
}
