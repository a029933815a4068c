//! Records of one network namespace in another one.

use crate::host::Host;
use qiao_core::plan::Key;
use qiao_engine::EngineError;

/// The cookie of another network namespace than that of a new host.
const ELSEWHERE: u64 = 0x2222;

#[test]
fn a1_records_are_refused_while_their_namespace_is_there() {
    let host = Host::new();
    host.create("blue");
    host.attach("c0", "blue");
    let before = host.snapshot();
    host.kernel.world().home = ELSEWHERE;
    for act in ["check", "repair", "gc"] {
        let mut engine = host.engine();
        let refused = match act {
            "check" => engine.check().map(drop),
            "repair" => engine.repair().map(drop),
            _ => engine.gc().map(drop),
        };
        let Err(EngineError::Refused(refusal)) = refused else { panic!("{act}: {refused:?}") };
        assert!(refusal.to_string().contains("another network namespace"), "{act}: {refusal}");
        assert_eq!(host.snapshot(), before, "{act}");
    }
    host.kernel.world().home = 1;
    host.assert_healthy("back in the first one");
}

/// Podman without root: the namespace of the host's side ended, and with it the pairs; containers live on.
#[test]
fn a_namespace_that_was_created_again_is_furnished_again() {
    let host = Host::new();
    host.create("blue");
    host.attach("c0", "blue");
    let mut world = host.kernel.world();
    world.home = ELSEWHERE;
    world.objects.retain(|key, _| matches!(key, Key::Sysctl(_)));
    drop(world);
    host.engine().repair().unwrap();
    host.assert_healthy("in the new one");
    host.detach("c0", None);
    host.assert_healthy("after detaching");
}
