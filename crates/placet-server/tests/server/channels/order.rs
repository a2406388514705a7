//! What is told in which order, to whom and how long it is tried; and what is heard although it comes at a
//! bad time.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_question_passes_one_that_is_never_taken() {
    let scene = Scene::new("poll").await;
    for _ in 0..8 {
        scene.receiver.answer(500, None);
    }
    let (_, first) = scene.hold("k1").await;
    until("the first has failed often", async || {
        let done = scene.receiver.got().len() == 8;
        if !done {
            scene.clock.step(Duration::from_secs(200));
        }
        done
    })
    .await;
    let attempts = async || {
        let outbox = scene.outbox().await;
        let all = outbox["deliveries"].as_array().unwrap().clone();
        let mut of = all.iter().filter(|it| it["channel"] == "siem" && it["approval"] == *first);
        of.find_map(|it| it["attempts"].as_u64())
    };
    until("it is written down", async || attempts().await == Some(8)).await;
    // Started again, nothing is known of the peer but when the first one is due.
    let scene = scene.restart(|_| {}).await;
    until("it is looked at", async || scene.telegram.messages().len() == 1).await;
    let (_, second) = scene.hold("k2").await;
    scene.receiver_takes(&second).await;
    // No time has passed: the first one still waits for its own.
    let outbox = scene.outbox().await;
    assert!(outbox.to_string().contains(&first), "{outbox}");
    until("the first arrives when it is due", async || {
        scene.clock.step(Duration::from_secs(60));
        scene.receiver.taken().len() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_was_to_be_told_is_told_to_nobody_later() {
    let less = |text: String| text.replace("decision.denied, ", "");
    let mut scene = Scene::under("poll", less).await;
    scene.hold("k1").await;
    scene.told(1).await;
    scene.world.decide(&scene.bot, "k2", r#","risk_tags":["never"]"#).await;
    let size = scene.world.size();
    let kept = |data: &Path| {
        let outbox = rusqlite::Connection::open(data.join("outbox.db")).unwrap();
        let next: i64 = outbox.query_row("SELECT next FROM cursor", [], |row| row.get(0)).unwrap();
        next.unsigned_abs()
    };
    until("it was looked at, and that is kept", async || kept(&scene.world.data()) >= size).await;
    scene.publish(&bundle(&scene.receiver.url(), "poll")).await;
    scene.world = scene.world.unseeded();
    let scene = scene.restart(|_| {}).await;
    let denied = scene.world.decide(&scene.bot, "k3", r#","risk_tags":["never"]"#).await;
    scene.told(2).await;
    let taken = scene.receiver.taken();
    assert_eq!(taken.len(), 2, "the one before was told: {taken:?}");
    assert_eq!(at(&taken[1], "/subject"), at(&denied, "/id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_renamed_by_mistake_loses_nothing() {
    let scene = Scene::new("poll").await;
    scene.receiver.set_down(true);
    let (_, first) = scene.hold("k1").await;
    until("it is tried", async || !scene.receiver.got().is_empty()).await;
    // Each is another bundle than those before.
    let right = |n: u32| {
        bundle(&scene.receiver.url(), "poll").replace("need a person", &format!("need {n} person"))
    };
    let wrong = |n: u32| right(n).replace("id: siem", "id: soc").replace("siem]", "soc]");
    scene.publish(&wrong(1)).await;
    let siem = async || {
        let outbox = scene.outbox().await;
        let all = outbox["deliveries"].as_array().unwrap().clone();
        let of = all.into_iter().find(|it| it["channel"] == "siem");
        (of, outbox)
    };
    for _ in 0..50 {
        scene.clock.step(Duration::from_secs(300));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (waits, outbox) = siem().await;
    assert_eq!(at(&waits.unwrap(), "/state"), "pending", "{outbox}");
    assert!(outbox.to_string().contains("no such channel"), "{outbox}");
    scene.publish(&right(2)).await;
    scene.receiver.set_down(false);
    until("it arrives", async || {
        scene.clock.step(Duration::from_secs(300));
        scene.receiver.taken().iter().any(|it| at(it, "/data/approval/id") == first)
    })
    .await;
    // One that does not come back is given up in the end.
    scene.receiver.set_down(true);
    let (_, second) = scene.hold("k2").await;
    until("it waits", async || {
        siem().await.0.is_some_and(|it| at(&it, "/approval") == second && it["attempts"] != 0)
    })
    .await;
    scene.publish(&wrong(3)).await;
    until("it is given up", async || {
        scene.clock.step(Duration::from_secs(600));
        let (found, _) = siem().await;
        found.is_some_and(|it| it["state"] == "dead" && at(&it, "/approval") == second)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_counts_anew_is_heard() {
    let scene = Scene::new("poll").await;
    let (_, first) = scene.hold("k1").await;
    let (message, approve, _) = scene.asked().await;
    let (_, query) = scene.telegram.press(BOB, message, &approve);
    assert_eq!(scene.answered(&query).await, "Approved");
    assert_eq!(scene.state(&first).await, "approved");
    // The press, and that it was dealt with.
    until("the service has heard of it", async || scene.telegram.calls("getUpdates").len() >= 2)
        .await;
    let (_, second) = scene.hold("k2").await;
    until("the next one is asked", async || {
        let all = scene.telegram.messages();
        all.iter().any(|(_, it)| it.text.contains(&second) && it.buttons.len() == 2)
    })
    .await;
    let all = scene.telegram.messages();
    let (message, shown) = all.iter().find(|(_, it)| it.text.contains(&second)).unwrap();
    // Below every number that there was.
    scene.telegram.count_from(5);
    let (_, query) = scene.telegram.press(BOB, *message, &shown.buttons[0].1);
    assert_eq!(scene.answered(&query).await, "Approved");
    assert_eq!(scene.state(&second).await, "approved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_press_waits_until_somebody_has_confirmed_the_clock() {
    let scene = Scene::new("poll").await;
    let (_, approval) = scene.hold("k1").await;
    let (message, approve, _) = scene.asked().await;
    scene.clock.set_forward(Duration::from_secs(7200));
    let (_, query) = scene.telegram.press(BOB, message, &approve);
    let tried = || scene.telegram.calls("getUpdates").len();
    until("it was tried for long", async || {
        scene.clock.step(Duration::from_secs(90));
        tried() > 25
    })
    .await;
    assert_eq!(scene.telegram.answer(&query), None, "nothing is said before it is recorded");
    assert_eq!(scene.state(&approval).await, "pending");
    scene.world.post("/api/v1/clock/confirm", &scene.bob, "").await.ok();
    until("it counts", async || {
        scene.clock.step(Duration::from_secs(90));
        scene.state(&approval).await == "approved"
    })
    .await;
    assert_eq!(scene.answered(&query).await, "Approved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_first_records_what_slack_was_told_is_being_recorded() {
    let scene = Scene::new("poll").await;
    let (_, approval) = scene.hold("k1").await;
    until("the room is asked", async || scene.slack.messages().len() == 1).await;
    let value = Slack::button(&scene.slack.messages()[0].1).unwrap();
    let seconds = scene.world.plane.now().0 / 1000;
    let call = async |body: &str| {
        let headers = slack::signed(body, seconds);
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        scene.world.call("POST", "/channels/slack/main/room", "", &headers, body).await
    };
    assert_eq!(call(&scene.slack.review("U042", &value)).await.status, 200);
    until("the form opens", async || !scene.slack.views().is_empty()).await;
    let (id, _) = scene.slack.views().pop().unwrap();
    let submitted = scene.slack.submit("U042", &id, "approve", None);
    call(&submitted).await.ok();
    // At once.
    let scene = scene.restart(|_| {}).await;
    assert_eq!(scene.state(&approval).await, "approved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_inside_is_reached_only_where_the_operator_allows_it() {
    let inside = Inside::default().allow("10.9.8.0/24").unwrap();
    let scene = Scene::within("poll", inside, |bundle| bundle).await;
    scene.hold("k1").await;
    let tried = async || {
        let outbox = scene.outbox().await;
        let all = outbox["deliveries"].as_array().unwrap().clone();
        all.into_iter().find(|it| it["channel"] == "siem" && it["attempts"] != 0)
    };
    until("it is tried", async || tried().await.is_some()).await;
    let tried = tried().await.unwrap();
    assert!(at(&tried, "/error").contains("inside"), "{tried}");
    assert!(scene.receiver.got().is_empty(), "nothing was connected to");
    // What the operator chose is told all the same.
    until("the chat is asked", async || scene.telegram.messages().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_does_nothing_is_counted() {
    let scene = Scene::new("webhook").await;
    let (_, approval) = scene.hold("k1").await;
    let (message, approve, reject) = scene.asked().await;
    let counted = async || {
        let metrics = scene.world.get("/metrics", &scene.world.admin).await.text;
        let name = "placet_channel_refused_total ";
        let count = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        count.parse::<u64>().unwrap()
    };
    let call = async |update: &Value| {
        let headers =
            [("content-type", "application/json"), ("x-telegram-bot-api-secret-token", HOOK_TOKEN)];
        let path = "/channels/telegram/main/chat";
        scene.world.call("POST", path, "", &headers, &update.to_string()).await.ok()
    };
    let (update, query) = scene.telegram.press(BOB, message, &approve);
    call(&update).await;
    assert_eq!(scene.answered(&query).await, "Approved");
    assert_eq!((counted().await, scene.state(&approval).await.as_str()), (0, "approved"));
    // The same press again, one on what is decided, and one on a button that is none.
    call(&update).await;
    assert_eq!(counted().await, 1);
    for (count, data) in [(2, reject.as_str()), (3, "approve")] {
        let (update, query) = scene.telegram.press(BOB, message, data);
        call(&update).await;
        scene.answered(&query).await;
        assert_eq!(counted().await, count, "{data}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_hears_that_what_was_approved_was_used() {
    let scene = Scene::new("poll").await;
    let (decision, approval) = scene.hold("k1").await;
    let digest = scene.approval(&approval).await;
    let body = format!(r#"{{"action_digest":"{}"}}"#, at(&digest, "/action_digest"));
    let vote = format!("/api/v1/approvals/{approval}/approve");
    scene.world.post(&vote, &scene.bob, &body).await.ok();
    let path = format!("/api/v1/decisions/{decision}");
    let nonce = [("placet-attempt-nonce", "5f0c2a9b7e1d4c38")];
    let collected = scene.world.call("GET", &path, &scene.bot, &nonce, "").await.ok();
    assert_eq!(at(&collected, "/permit/state"), "granted", "{collected}");
    scene.told(3).await;
    let used = scene.receiver.taken().pop().unwrap();
    assert_eq!(at(&used, "/type"), "placet.approval.consumed.v1", "{used}");
    assert_eq!((at(&used, "/subject"), at(&used, "/data/approval/id")), (&*decision, &*approval));
    assert_eq!(at(&used, "/data/approval/state"), "consumed", "{used}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_never_taken_holds_up_nobody_at_a_healthy_receiver() {
    let scene = Scene::new("poll").await;
    for _ in 0..8 {
        scene.receiver.answer(500, None);
    }
    scene.hold("k1").await;
    until("the first has failed often", async || {
        let done = scene.receiver.got().len() == 8;
        if !done {
            scene.clock.step(Duration::from_secs(200));
        }
        done
    })
    .await;
    // From here on the clock stands: whatever arrives waits for nobody's time.
    for name in ["k2", "k3"] {
        let (_, approval) = scene.hold(name).await;
        scene.receiver_takes(&approval).await;
    }
    let outbox = scene.outbox().await;
    let waits = outbox["deliveries"].as_array().unwrap().iter();
    assert_eq!(waits.filter(|it| it["channel"] == "siem").count(), 1, "{outbox}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_names_another_address_is_tried_at_once() {
    let scene = Scene::new("poll").await;
    scene.receiver.set_down(true);
    let (_, first) = scene.hold("k1").await;
    for failed in 1..=3 {
        until("it is tried", async || {
            let tried = scene.receiver.got().len() >= failed;
            // Once would not do: what it waits for may be reckoned from after that step.
            if !tried {
                scene.clock.step(Duration::from_secs(10));
            }
            tried
        })
        .await;
    }
    let other = Receiver::start().await;
    scene.publish(&bundle(&other.url(), "poll")).await;
    // No time passes.
    until("the other one is asked", async || {
        other.taken().iter().any(|it| at(it, "/data/approval/id") == first)
    })
    .await;
}
