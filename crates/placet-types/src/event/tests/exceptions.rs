//! An exception as its entry has it, and what of it is read strictly.

use super::*;

pub(super) fn exception() -> ExceptionOpened {
    let mut waives = Waives::default();
    for text in ["floor", "evidence", "rule:no-git", "rule:surface:git.change:field.x"] {
        assert!(waives.add(text), "{text}");
    }
    let controls = ["constraint:{\"read_only\":true}", "evidence:ticket", "max_uses:3"];
    let more = ["notify:ops", "second_person"];
    let controls = controls.into_iter().chain(more).map(|it| Control::parse(it).unwrap());
    ExceptionOpened {
        exception: ExceptionId::from_bytes([6; 16]),
        scope: ExceptionScope {
            surface: "git.change".into(),
            actor: actor(),
            action: Some("push".into()),
            environment: Some("production".into()),
            capability: Some("crm-writer".into()),
            target: Some(Pseudonym([1; 32])),
            execution: Some(Pseudonym([2; 32])),
        },
        waives,
        controls: controls.collect(),
        reason: "incident-7".into(),
        owner: actor(),
        by: actor(),
        key: Some(KeyId::from_bytes([4; 16])),
        decision: DecisionId::from_bytes([1; 16]),
        break_glass: true,
        ends: TimeMs(9),
        review_ms: 86_400_000,
        retroactive: Some((TimeMs(1), TimeMs(2))),
        policy: Some(Digest([1; 32])),
    }
}

#[test]
fn what_an_exception_waives_and_asks_for_is_read_strictly() {
    let bytes = exception().to_bytes();
    assert_eq!(ExceptionOpened::from_bytes(&bytes), Some(exception()));
    assert_eq!(ExceptionOpened::from_bytes(&bytes[1..]), None);
    for bad in ["", "everything", "rule:", "rule:constitution.two-admins", "Floor", "layer:floor"] {
        assert!(!Waives::default().add(bad), "{bad}");
    }
    let mut twice = Waives::default();
    assert!(twice.add("floor") && !twice.add("floor"));
    for bad in [
        "",
        "second_person:2",
        "max_uses:0",
        "max_uses:01",
        "max_uses:-1",
        "notify:",
        "notify:a b",
        "evidence:",
        "constraint:",
        "constraint:{}",
        "constraint:{\"unknown\":1}",
        "constraint:[]",
    ] {
        assert_eq!(Control::parse(bad), None, "{bad}");
    }
}
