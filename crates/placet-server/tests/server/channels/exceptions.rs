//! What channels hear of exceptions: what one has promised, and what the policy asks for.

use super::*;

const RULES: &str = r#"
exceptions:
  max: 2h
  review: 1h
"#;

/// A world in which one admin opens exceptions by herself, and `record` hears of them as well.
async fn scene() -> Scene {
    Scene::under("poll", |text| {
        format!("{text}  - {{ id: exceptions, on: [exception.opened, exception.overdue], channels: [siem] }}\n{RULES}")
    })
    .await
}

async fn open(scene: &Scene, controls: &[&str]) -> String {
    let body = json!({
        "surface": "payments.transfer", "actor": "agent:bot", "waives": ["rule:never"],
        "reason": "incident-7", "note": "the bank waits", "duration": "20m", "controls": controls,
    })
    .to_string();
    let opened = scene.world.post("/api/v1/exceptions", &scene.world.admin, &body).await;
    assert_eq!(opened.status, 201, "{opened:?}");
    at(&opened.json(), "/id").to_owned()
}

/// Everything that the chat was told on lines of its own.
fn said(scene: &Scene) -> Vec<String> {
    scene.telegram.messages().into_iter().map(|(_, it)| it.text).collect()
}

fn types(scene: &Scene) -> Vec<String> {
    let taken = scene.receiver.taken();
    taken.iter().map(|it| at(it, "/type").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promised_channel_hears_of_the_opening_the_first_passage_the_end_and_a_late_review() {
    let scene = scene().await;
    let id = open(&scene, &["notify:chat"]).await;
    until("the opening is told", async || said(&scene).len() == 1).await;
    let opened = said(&scene)[0].clone();
    for part in [&id, "opened by human:ann", "agent:bot", "rule:never", "incident-7"] {
        assert!(opened.contains(part), "{part}: {opened}");
    }
    assert!(opened.contains("\nWaives: rule:never\n"), "on lines of their own: {opened}");
    for name in ["k1", "k2"] {
        let passed = scene.world.decide(&scene.bot, name, r#","risk_tags":["never"]"#).await;
        assert_eq!(at(&passed, "/outcome"), "PERMIT");
    }
    until("the first passage is told", async || said(&scene).len() == 2).await;
    assert!(said(&scene)[1].contains("used for the first time"), "{:?}", said(&scene));
    let close = format!("/api/v1/exceptions/{id}/close");
    scene.world.post(&close, &scene.world.admin, "").await.ok();
    until("the end is told", async || said(&scene).len() == 3).await;
    let ended = said(&scene)[2].clone();
    assert!(ended.contains("closed by human:ann") && ended.contains("Passages: 2"), "{ended}");
    // Nobody looks at it.
    scene.clock.step(Duration::from_secs(3599));
    scene.clock.step(Duration::from_secs(1));
    until("the late review is told", async || said(&scene).len() == 4).await;
    assert!(said(&scene)[3].contains("Nobody has reviewed"), "{:?}", said(&scene));
    // The policy asked for two of them elsewhere, with the exception as lists show it.
    scene.told(2).await;
    let taken = scene.receiver.taken();
    assert_eq!(types(&scene), ["placet.exception.opened.v1", "placet.exception.overdue.v1"]);
    assert_eq!(at(&taken[0], "/subject"), id);
    assert_eq!(at(&taken[0], "/data/exception/note"), "the bank waits");
    assert_eq!(at(&taken[0], "/data/exception/owner"), "human:ann");
    assert_eq!(taken[1].pointer("/data/exception/review_overdue"), Some(&json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_promised_waits_for_a_peer_that_is_down_and_survives_a_restart() {
    let scene = scene().await;
    scene.receiver.set_down(true);
    let id = open(&scene, &["notify:siem", "max_uses:1"]).await;
    scene.world.decide(&scene.bot, "k1", r#","risk_tags":["never"]"#).await;
    until("it is tried", async || !scene.receiver.got().is_empty()).await;
    let scene = scene.restart(|_| {}).await;
    scene.receiver.set_down(false);
    until("all is told", async || {
        scene.clock.step(Duration::from_secs(60));
        scene.receiver.taken().len() >= 2
    })
    .await;
    // Its only passage is its end as well, which is told once.
    assert_eq!(types(&scene)[..2], ["placet.exception.opened.v1", "placet.exception.ended.v1"]);
    let taken = scene.receiver.taken();
    assert_eq!(at(&taken[1], "/data/exception/id"), id);
    assert_eq!(at(&taken[1], "/data/exception/state"), "used_up");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_promised_what_cannot_be_sent() {
    let scene = scene().await;
    let body = json!({
        "surface": "payments.transfer", "actor": "agent:bot", "waives": ["rule:never"],
        "reason": "incident-7", "controls": ["max_uses:1", "notify:pager"],
    });
    let refused =
        scene.world.post("/api/v1/exceptions", &scene.world.admin, &body.to_string()).await;
    let refused = refused.refused(400, "field_invalid");
    assert_eq!(at(&refused, "/field"), "/controls/1");
    assert!(at(&refused, "/detail").contains("no channel `pager`"), "{refused}");
}
