//! Peers that are down, slow or odd, restarts, a lost outbox, missing secrets: nothing is lost, and nothing
//! is seen twice.

use super::*;
use crate::stubs::Fault;
use crate::world::request;
use placet_notify::webhook;
use placet_runtime::crypto::Fast;

/// Types of events, in the order in which they were taken.
fn types(receiver: &Receiver) -> Vec<String> {
    receiver.taken().iter().map(|event| at(event, "/type").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_takes_signed_events_in_order() {
    let scene = Scene::new("poll").await;
    let (decision, approval) = scene.hold("k1").await;
    scene.told(1).await;
    let vote = format!("/api/v1/approvals/{approval}/approve");
    let digest = scene.approval(&approval).await;
    let body = format!(r#"{{"action_digest":"{}"}}"#, at(&digest, "/action_digest"));
    scene.world.post(&vote, &scene.bob, &body).await.ok();
    scene.told(2).await;
    scene.world.decide(&scene.bot, "k2", r#","risk_tags":["never"]"#).await;
    // What is allowed is told to nobody.
    scene.world.decide(&scene.bot, "k3", "").await;
    scene.told(3).await;
    let expected =
        ["placet.approval.opened.v1", "placet.approval.closed.v1", "placet.decision.denied.v1"];
    assert_eq!(types(&scene.receiver), expected);
    for got in scene.receiver.got() {
        assert!(got.header("content-type").starts_with("application/cloudevents+json"));
        let event = got.json();
        let seconds: u64 = got.header("webhook-timestamp").parse().unwrap();
        assert_eq!(seconds, scene.world.plane.now().0 / 1000);
        let keys = webhook::keys(WEBHOOK_KEY).unwrap();
        let (id, body) = (got.header("webhook-id"), &got.body);
        let signed = webhook::signature::<Fast>(&keys, id, seconds, body);
        assert_eq!(got.header("webhook-signature"), signed);
        assert_eq!(at(&event, "/id"), id);
        assert_eq!(at(&event, "/specversion"), "1.0");
        let source = format!("urn:placet:{}:main", scene.world.plane.instance());
        assert_eq!(at(&event, "/source"), source);
    }
    let [opened, closed, denied] = scene.receiver.taken().try_into().unwrap();
    assert_eq!(at(&opened, "/subject"), decision);
    assert_eq!(at(&opened, "/data/approval/id"), approval);
    assert_eq!(opened.pointer("/data/approval/arguments/amount").unwrap(), 12.5);
    assert_eq!(at(&closed, "/data/approval/state"), "approved");
    assert_eq!(at(&closed, "/data/approval/approvals/0/by"), "human:bob");
    assert!(denied.pointer("/data/approval").is_none());
    assert_eq!(at(&denied, "/data/entry/type"), "decision");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_without_peers_loses_nothing_and_doubles_nothing() {
    let scene = Scene::new("poll").await;
    scene.telegram.set_down(true);
    scene.slack.set_down(true);
    scene.receiver.set_down(true);
    let mut approvals = Vec::new();
    for name in ["k1", "k2", "k3"] {
        approvals.push(scene.hold(name).await.1);
    }
    // One is decided meanwhile; nobody need be asked about it any more.
    let path = format!("/api/v1/approvals/{}/reject", approvals[1]);
    let digest = scene.approval(&approvals[1]).await;
    let body = format!(r#"{{"action_digest":"{}"}}"#, at(&digest, "/action_digest"));
    scene.world.post(&path, &scene.bob, &body).await.ok();
    until("each peer was tried", async || {
        !scene.receiver.got().is_empty()
            && !scene.telegram.calls("sendMessage").is_empty()
            && scene.slack.calls("chat.postMessage") > 0
    })
    .await;
    for _ in 0..80 {
        scene.clock.step(Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let waiting = scene.outbox().await;
    let waiting = waiting["deliveries"].as_array().unwrap().clone();
    // Two questions for three channels, and all that the receiver of events missed of the third.
    assert!(waiting.len() >= 8, "{waiting:?}");
    assert!(waiting.iter().all(|it| it["state"] == "pending"), "{waiting:?}");
    assert!(waiting.iter().any(|it| it["attempts"].as_u64() > Some(1)), "{waiting:?}");
    let attempts = scene.receiver.got().len();
    assert!(attempts < 40, "{attempts} attempts in 80 minutes");

    scene.telegram.set_down(false);
    scene.slack.set_down(false);
    scene.receiver.set_down(false);
    until("the outbox is empty", async || {
        scene.clock.step(Duration::from_secs(60));
        scene.is_empty().await
    })
    .await;
    let events = scene.receiver.taken();
    let ids: std::collections::BTreeSet<&str> = events.iter().map(|it| at(it, "/id")).collect();
    assert_eq!(
        (events.len(), ids.len()),
        (4, 4),
        "each was taken once: {:?}",
        types(&scene.receiver)
    );
    let about: Vec<&str> = events
        .iter()
        .filter(|event| at(event, "/data/approval/id") == approvals[1])
        .map(|event| at(event, "/type"))
        .collect();
    assert_eq!(about, ["placet.approval.opened.v1", "placet.approval.closed.v1"]);
    let shown = scene.telegram.messages();
    assert_eq!(shown.len(), 2, "one message for each that still waits: {shown:?}");
    for approval in [&approvals[0], &approvals[2]] {
        let about = |text: &str| text.contains(approval.as_str());
        assert_eq!(shown.iter().filter(|(_, it)| about(&it.text)).count(), 1);
        let posted = scene.slack.messages();
        assert_eq!(posted.iter().filter(|(_, it)| about(&it.to_string())).count(), 1);
    }
    let metrics = scene.world.get("/metrics", &scene.world.admin).await.text;
    assert!(metrics.contains("placet_outbox_attempts_total{result=\"dead\"} 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_answers_for_another_is_asked_again() {
    let scene = Scene::new("poll").await;
    for status in [302, 404, 401, 403, 405, 400] {
        scene.receiver.answer(status, None);
    }
    let siem = async || {
        let outbox = scene.outbox().await;
        let all = outbox["channels"].as_array().unwrap().clone();
        all.into_iter().find(|it| it["id"] == "siem").unwrap()
    };
    assert_eq!(at(&siem().await, "/state"), "ready");
    scene.hold("k1").await;
    until("it was tried", async || siem().await["state"] == "down").await;
    let shown = siem().await;
    assert!(at(&shown, "/error").contains("the receiver answers 302"), "{shown}");
    until("it arrives", async || {
        scene.clock.step(Duration::from_secs(30));
        scene.receiver.taken().len() == 1
    })
    .await;
    assert_eq!(scene.receiver.got().len(), 7);
    until("it works again", async || siem().await["state"] == "ready").await;
    assert_eq!(siem().await["dead"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_refuses_is_a_dead_letter_until_it_is_replayed() {
    let scene = Scene::new("poll").await;
    scene.receiver.answer(410, None);
    scene.receiver.answer(413, None);
    scene.hold("k1").await;
    scene.hold("k2").await;
    let dead = async || {
        let path = "/api/v1/outbox?dead=true";
        let found = scene.world.get(path, &scene.world.admin).await.ok();
        found["deliveries"].as_array().unwrap().clone()
    };
    until("two are given up", async || dead().await.len() == 2).await;
    let given_up = dead().await;
    assert_eq!(at(&given_up[0], "/state"), "dead");
    assert!(at(&given_up[0], "/error").contains("410"), "{given_up:?}");
    assert!(at(&given_up[1], "/error").contains("413"), "{given_up:?}");
    assert_eq!(scene.receiver.got().len(), 2, "once each");
    // They do not hold up what comes after.
    scene.hold("k3").await;
    scene.told(1).await;
    let id = given_up[0]["id"].as_u64().unwrap();
    let path = format!("/api/v1/outbox/{id}/replay");
    scene.world.post(&path, &scene.bot, "").await.refused(403, "role_missing");
    scene.world.post("/api/v1/outbox/999/replay", &scene.bob, "").await.refused(404, "not_found");
    scene.world.post("/api/v1/outbox/x/replay", &scene.bob, "").await.refused(404, "not_found");
    scene.world.get("/api/v1/outbox", &scene.bot).await.refused(403, "role_missing");
    scene.world.post(&path, &scene.bob, "").await.ok();
    until("it arrives", async || scene.receiver.taken().len() == 2).await;
    let first = scene.receiver.got();
    assert_eq!(first[0].header("webhook-id"), first[3].header("webhook-id"));
    assert_eq!(dead().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_left_alone_for_as_long_as_it_asks() {
    let scene = Scene::new("poll").await;
    scene.receiver.answer(429, Some(120));
    scene.telegram.fault(Fault::Slow(90));
    scene.slack.fault(Fault::Slow(100));
    scene.hold("k1").await;
    until("each peer was tried", async || {
        scene.receiver.got().len() == 1
            && scene.telegram.calls("sendMessage") == [429]
            && scene.slack.calls("chat.postMessage") == 1
            && scene.outbox().await["deliveries"][2]["attempts"] == 1
    })
    .await;
    for _ in 0..8 {
        scene.clock.step(Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(scene.receiver.got().len(), 1);
    assert_eq!(scene.telegram.calls("sendMessage"), [429]);
    assert_eq!(scene.slack.calls("chat.postMessage"), 1);
    until("they are asked again", async || {
        scene.clock.step(Duration::from_secs(10));
        scene.is_empty().await
    })
    .await;
    assert_eq!(scene.receiver.taken().len(), 1);
    assert_eq!((scene.telegram.messages().len(), scene.slack.messages().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_it_was_and_a_lost_outbox_asks_again() {
    let scene = Scene::new("poll").await;
    scene.hold("k1").await;
    scene.told(1).await;
    until("both chats are asked", async || {
        scene.telegram.messages().len() == 1 && scene.slack.messages().len() == 1
    })
    .await;
    scene.receiver.set_down(true);
    scene.world.decide(&scene.bot, "k2", r#","risk_tags":["never"]"#).await;
    until("it was tried", async || scene.receiver.got().len() > 1).await;
    let scene = scene.restart(|_| {}).await;
    scene.receiver.set_down(false);
    until("it arrives after the restart", async || {
        scene.clock.step(Duration::from_secs(5));
        scene.is_empty().await
    })
    .await;
    let expected = ["placet.approval.opened.v1", "placet.decision.denied.v1"];
    assert_eq!(types(&scene.receiver), expected);
    assert_eq!(scene.telegram.messages().len(), 1, "what was told is not told again");
    // Without the file, who is waited for is asked again; what only happened is not told again.
    let scene = scene
        .restart(|data| {
            for name in ["outbox.db", "outbox.db-wal", "outbox.db-shm"] {
                let _ = std::fs::remove_file(data.join(name));
            }
        })
        .await;
    scene.told(3).await;
    let again = scene.receiver.taken();
    assert_eq!(
        at(&again[2], "/id"),
        at(&again[0], "/id"),
        "a receiver that remembers sees it once"
    );
    let (_, first) = scene.hold("k3").await;
    scene.told(4).await;
    assert!(scene.receiver.taken()[3].to_string().contains(&first));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_without_its_secret_is_down_and_nothing_else() {
    let scene = Scene::new("poll").await;
    let dir = scene.secrets.path();
    std::fs::remove_file(dir.join("bot")).unwrap();
    put(dir, "xoxb", slack::TOKEN, 0o644);
    let (_, approval) = scene.hold("k1").await;
    until("the others are told", async || scene.receiver.taken().len() == 1).await;
    let channel = async |id: &str| {
        let outbox = scene.outbox().await;
        let all = outbox["channels"].as_array().unwrap().clone();
        all.into_iter().find(|it| it["id"] == id).unwrap()
    };
    for (id, says) in [("chat", "no such file"), ("room", "others than owner")] {
        let found = channel(id).await;
        assert_eq!((at(&found, "/state"), found["pending"].as_u64()), ("down", Some(1)));
        assert!(at(&found, "/error").contains(says), "{found}");
        assert!(!found.to_string().contains(&dir.display().to_string()), "no path: {found}");
    }
    assert_eq!(at(&channel("siem").await, "/state"), "ready");
    assert_eq!(scene.state(&approval).await, "pending");
    // Trying without a secret is no attempt, however long it takes.
    for _ in 0..30 {
        scene.clock.step(Duration::from_secs(600));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let outbox = scene.outbox().await;
    assert!(outbox["deliveries"].as_array().unwrap().iter().all(|it| it["attempts"] == 0));
    put(dir, "bot", telegram::TOKEN, 0o600);
    put(dir, "xoxb", slack::TOKEN, 0o640);
    until("they come back by themselves", async || {
        scene.clock.step(Duration::from_secs(600));
        scene.telegram.messages().len() == 1 && scene.slack.messages().len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_is_told_and_stops_no_telling() {
    let scene = Scene::new("poll").await;
    scene.world.post("/api/v1/kill", &scene.bob, r#"{"scope":"workspace"}"#).await.ok();
    scene.told(1).await;
    assert_eq!(types(&scene.receiver), ["placet.kill.tripped.v1"]);
    until("the chats hear of it", async || {
        scene.telegram.messages().len() == 1 && scene.slack.messages().len() == 1
    })
    .await;
    let text = scene.message().1.text;
    assert!(text.contains("human:bob") && text.contains("workspace"), "{text}");
    let body = request("k9", BIG);
    scene.world.post("/api/v1/decisions", &scene.bot, &body).await.ok();
    let metrics = scene.world.get("/metrics", &scene.world.admin).await.text;
    assert!(metrics.contains("placet_outbox_attempts_total{result=\"delivered\"}"), "{metrics}");
}
