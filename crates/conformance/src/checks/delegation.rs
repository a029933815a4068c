//! Section 4: plugin delegation.

use super::{addresses, bridge, host_local, with};
use crate::attachment::Attachment;
use crate::check::Check;
use crate::recorder::Recorder;
use crate::stage::Stage;
use crate::verdict::{Met, must, of, same};
use serde_json::{Value, json};

const SECTION: &str = "Section 4: Plugin Delegation";

pub const CHECKS: &[Check] = &[
    Check::should(
        "DELEGATE-1",
        (SECTION, "the delegate is looked up in the directories of CNI_PATH, in their order"),
        search_order,
    ),
    Check::should(
        "DELEGATE-2",
        (SECTION, "the delegate gets the same environment and the same configuration"),
        same_input,
    ),
    Check::should(
        "DELEGATE-3",
        (SECTION, "the delegate's stderr is output to the calling plugin's"),
        stderr_passes,
    ),
    Check::must(
        "DELEGATE-4",
        (SECTION, "on CHECK and DEL the delegate is executed too; if it fails, that is returned"),
        check_and_del,
    ),
    Check::should(
        "DELEGATE-5",
        (SECTION, "if a delegate fails on ADD, it is executed again with DEL before the failure is returned"),
        undone_on_failure,
    ),
    Check::should(
        "DELEGATE-6",
        (SECTION, "if the plugin itself fails after the delegate's ADD, the delegate is executed with DEL"),
        undone_on_own_failure,
    ),
    Check::must(
        "DELEGATE-7",
        (
            "Delegated plugins (IPAM)",
            "the addresses, routes and DNS that the IPAM plugin answers are those of the container",
        ),
        answer_is_used,
    ),
    Check::custom(
        "DELEGATE-8",
        ("libcni", "an IPAM plugin may answer without `cniVersion`, and in an older version"),
        older_answers,
    ),
    Check::must(
        "DELEGATE-9",
        (SECTION, "`host-local` serves a main plugin that it does not know"),
        serves_strangers,
    )
    .on(&["host-local"]),
    Check::custom(
        "DELEGATE-10",
        ("real life", "a delegate that is not in CNI_PATH is an error that names it, and nothing is made"),
        missing_delegate,
    ),
    Check::custom(
        "DELEGATE-11",
        (
            "real life",
            "an IPAM that answers no result is an error, it is executed with DEL, and nothing is made",
        ),
        nonsense,
    ),
    Check::must(
        "DELEGATE-12",
        (SECTION, "without a namespace DEL is passed on all the same"),
        del_without_namespace,
    ),
];

const IPAM: &str = "frob-ipam";

fn config() -> Value {
    with(&bridge(), "ipam", &json!({"type": IPAM, "frob": {"deep": [1, 2]}}))
}

fn answer() -> Value {
    json!({
        "cniVersion": "1.0.0",
        "ips": [{"address": "10.77.0.5/24", "gateway": "10.77.0.1"}, {"address": "fd00:77::5/64", "gateway": "fd00:77::1"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "203.0.113.0/24", "gw": "10.77.0.9"}],
        "dns": {"nameservers": ["10.77.0.1"]},
    })
}

fn setting(stage: &Stage) -> (Recorder, Stage) {
    let recorder = Recorder::new(stage, IPAM);
    recorder.answers("ADD", &answer());
    let stage = stage.searching(recorder.dir());
    (recorder, stage)
}

fn verbs(recorder: &Recorder, expected: &[&str]) -> Met {
    same("the delegate's calls", &recorder.verbs(), &expected.iter().map(|v| (*v).to_owned()).collect())
}

fn search_order(stage: &Stage) -> Met {
    let (recorder, staged) = setting(stage);
    let second = Recorder::new(stage, "second");
    qiao_testbed::run(&format!("cp {0}/{IPAM} {1}/{IPAM}", recorder.dir().display(), second.dir().display()));
    let (_, attachment) = staged.container("c1");
    let path = format!("/nonexistent:{}:{}", recorder.dir().display(), second.dir().display());
    staged.call("ADD", &config(), &attachment).env("CNI_PATH", &path).run().result()?;
    same("calls of the second", &second.verbs().len(), &0)?;
    verbs(&recorder, &["ADD"])
}

fn same_input(stage: &Stage) -> Met {
    let (recorder, stage) = setting(stage);
    let (_, attachment) = stage.container("c1");
    let attachment = attachment.with_args("IgnoreUnknown=1;FOO=BAR");
    stage.add(&config(), &attachment)?;
    let calls = recorder.calls();
    let call = calls.first().ok_or_else(|| crate::verdict::failed("the delegate was not called"))?;
    for (key, value) in attachment.env("ADD", &stage.search_path()) {
        same(key, &call.env.get(key).map(String::as_str), &Some(value.as_str()))?;
    }
    same("the configuration", &call.config, &config())
}

fn stderr_passes(stage: &Stage) -> Met {
    let (_recorder, stage) = setting(stage);
    let answer = stage.run("ADD", &config(), &stage.container("c1").1);
    answer.result()?;
    must(answer.stderr.contains("the delegate was called"), || format!("stderr is {:?}", answer.stderr))
}

fn check_and_del(stage: &Stage) -> Met {
    let (recorder, stage) = setting(stage);
    let (_, attachment) = stage.container("c1");
    let result = stage.add(&config(), &attachment)?;
    let config = with(&config(), "prevResult", &result);
    stage.run("CHECK", &config, &attachment).nothing()?;
    recorder.fails("CHECK", &json!({"cniVersion": "1.0.0", "code": 111, "msg": "not mine"}));
    of("a failing CHECK", stage.run("CHECK", &config, &attachment).refusal().map(drop))?;
    stage.del(&config, &attachment)?;
    verbs(&recorder, &["ADD", "CHECK", "CHECK", "DEL"])
}

fn undone_on_failure(stage: &Stage) -> Met {
    let (recorder, stage) = setting(stage);
    recorder.fails("ADD", &json!({"cniVersion": "1.0.0", "code": 123, "msg": "no more frobs"}));
    let refusal = stage.run("ADD", &config(), &stage.container("c1").1).refusal()?;
    must(refusal.text.contains("no more frobs"), || {
        format!("the delegate's message is not in {}", refusal.text)
    })?;
    verbs(&recorder, &["ADD", "DEL"])
}

fn undone_on_own_failure(stage: &Stage) -> Met {
    let (recorder, stage) = setting(stage);
    let (place, attachment) = stage.container("c1");
    place.run("ip link add eth0 type bridge");
    stage.run("ADD", &config(), &attachment).refusal()?;
    let calls = recorder.verbs();
    must(calls.is_empty() || calls == ["ADD", "DEL"], || format!("the delegate's calls are {calls:?}"))
}

fn answer_is_used(stage: &Stage) -> Met {
    let (_recorder, stage) = setting(stage);
    let (place, attachment) = stage.container("c1");
    let result = stage.add(&config(), &attachment)?;
    let look = place.stdout("ip -o addr") + &place.stdout("ip route");
    for word in ["10.77.0.5/24", "fd00:77::5/64", "default via 10.77.0.1", "203.0.113.0/24 via 10.77.0.9"] {
        must(look.contains(word), || format!("{word} is not in {look}"))?;
    }
    same("dns", &result["dns"], &answer()["dns"])?;
    same("addresses", &addresses(&result), &vec!["10.77.0.5".to_owned(), "fd00:77::5".to_owned()])
}

fn older_answers(stage: &Stage) -> Met {
    let (recorder, stage) = setting(stage);
    let old = json!({"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.77.0.6/24"}]});
    let none = json!({"ips": [{"address": "10.77.0.7/24"}]});
    let oldest = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.77.0.8/24"}});
    for (at, answer) in [old, none, oldest].iter().enumerate() {
        recorder.answers("ADD", answer);
        let result = of(&answer.to_string(), stage.add(&config(), &stage.container(&format!("c{at}")).1))?;
        same("addresses", &addresses(&result), &vec![format!("10.77.0.{}", at + 6)])?;
    }
    Ok(())
}

fn serves_strangers(stage: &Stage) -> Met {
    let config =
        host_local(&json!({"subnet": "10.88.0.0/24", "rangeStart": "10.88.0.7", "rangeEnd": "10.88.0.7"}));
    let (_, attachment) = stage.container("c1");
    // As a delegate: the configuration is that of the main plugin.
    let call = |verb: &str, attachment: &Attachment| {
        let main = with(&config, "type", &json!("host-local"));
        stage.call(verb, &main, attachment).input(config.to_string().as_bytes()).run()
    };
    let result = call("ADD", &attachment).result()?;
    same("addresses", &addresses(&result), &vec!["10.88.0.7".to_owned()])?;
    call("ADD", &attachment.named("c2")).refusal()?;
    call("DEL", &attachment.at("")).nothing()?;
    call("ADD", &attachment.named("c2")).result().map(drop)
}

fn missing_delegate(stage: &Stage) -> Met {
    stage.add(&bridge(), &stage.container("resident").1)?;
    let before = stage.snapshot();
    let answer = stage.run("ADD", &config(), &stage.container("c1").1);
    let refusal = answer.refusal()?;
    must(refusal.text.contains(IPAM), || format!("it does not name the delegate: {}", refusal.text))?;
    stage.unchanged(&before, "the refused ADD")
}

fn nonsense(stage: &Stage) -> Met {
    let (recorder, stage) = setting(stage);
    for (at, nonsense) in
        [json!("no result"), json!({"cniVersion": "1.0.0", "ips": [{"address": "10.77.0.5"}]})]
            .iter()
            .enumerate()
    {
        recorder.answers("ADD", nonsense);
        let (place, attachment) = stage.container(&format!("c{at}"));
        of(&nonsense.to_string(), stage.run("ADD", &config(), &attachment).refusal().map(drop))?;
        let links = place.stdout("ip -br link");
        must(!links.contains("eth0"), || links)?;
    }
    let calls = recorder.verbs();
    must(calls.iter().filter(|verb| *verb == "DEL").count() == 2, || {
        format!("the delegate's calls are {calls:?}")
    })
}

fn del_without_namespace(stage: &Stage) -> Met {
    let (recorder, stage) = setting(stage);
    let (place, attachment) = stage.container("c1");
    stage.add(&config(), &attachment)?;
    place.delete();
    stage.del(&config(), &attachment)?;
    stage.del(&config(), &attachment.at(""))?;
    verbs(&recorder, &["ADD", "DEL", "DEL"])
}
