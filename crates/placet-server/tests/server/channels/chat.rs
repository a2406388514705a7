//! Deciding in Telegram and Slack: who may, with which button, and what of all the rest does nothing.

use super::*;
use crate::stubs::Fault;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_on_the_list_approves_in_telegram() {
    let scene = Scene::new("poll").await;
    let more = r#","risk_tags":["big"],"execution":"research-system-v1","step":"integration","context":{"risk_score":85}"#;
    let decided = scene.world.decide(&scene.bot, "k1", more).await;
    let approval = at(&decided, "/approval/id").to_owned();
    let (message, approve, _) = scene.asked().await;
    let text = scene.message().1.text;
    for says in [
        "⚠️ Placet Approval Needed\n\nRun: research-system-v1\nPhase: integration\nRisk: 🚨 CRITICAL (score: 85/100)",
        "Changes:\n• Risk: big transfers need a person",
        "Asked by: agent:bot",
        "• /amount: 12.5",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    scene.telegram.deliver_twice();
    let (_, query) = scene.telegram.press(BOB, message, &approve);
    assert_eq!(scene.answered(&query).await, "Approved");
    assert_eq!(scene.state(&approval).await, "approved");
    until("the message changes", async || scene.message().1.buttons.is_empty()).await;
    let text = scene.message().1.text;
    assert!(text.starts_with("✅ Approved") && text.contains("human:bob (operator)"), "{text}");
    let votes = scene.approval(&approval).await;
    assert_eq!(at(&votes, "/votes/0/via"), "telegram");
    assert_eq!(votes["votes"].as_array().unwrap().len(), 1);
    // The one who asked collects the permit: what is released happens.
    let path = format!("/api/v1/decisions/{}", at(&decided, "/id"));
    let nonce = [("placet-attempt-nonce", "5f0c2a9b7e1d4c38")];
    let collected = scene.world.call("GET", &path, &scene.bot, &nonce, "").await.ok();
    assert_eq!(at(&collected, "/approval/state"), "consumed", "{collected}");
    until("it says so", async || scene.message().1.text.starts_with("✅ Approved and used")).await;
    assert_eq!(scene.telegram.calls("answerCallbackQuery"), [200], "answered once");
    assert!(scene.telegram.calls("editMessageText").iter().all(|status| *status == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_and_everything_else_does_nothing_in_telegram() {
    let scene = Scene::new("poll").await;
    let (_, first) = scene.hold("k1").await;
    let (message, approve, reject) = scene.asked().await;
    let (_, second) = scene.hold("k2").await;
    until("a second message", async || scene.telegram.messages().len() == 2).await;
    let turned = |data: &str, letter: &str| format!("{letter}{}", &data[1..]);
    let mut forged = approve.clone();
    forged.replace_range(30..31, if &approve[30..31] == "A" { "B" } else { "A" });
    let other = scene.message().1.buttons[0].1.clone();
    let crossed = format!("{}{}", &other[..23], &approve[23..]);
    for (user, data, says) in [
        (99, approve.as_str(), "may not decide here"),
        (0, &approve, "may not decide here"),
        // On the list, and without a key that counts.
        (EVE, &approve, "needs one of the roles operator"),
        (CAT, &approve, "needs one of the roles operator"),
        (BOB, &forged, "not valid"),
        (BOB, &crossed, "not valid"),
        (BOB, &turned(&approve, "r"), "not valid"),
        (BOB, &turned(&reject, "a"), "not valid"),
        (BOB, &turned(&approve, "v"), "not valid"),
        (BOB, "", "not valid"),
        (BOB, "approve", "not valid"),
        (BOB, &approve.to_uppercase(), "not valid"),
    ] {
        let (_, query) = scene.telegram.press(user, message, data);
        let answer = scene.answered(&query).await;
        assert!(answer.contains(says), "{user} {data}: {answer}");
    }
    // What is no press at all, and what nobody can read, is passed over.
    scene.telegram.push(json!({"update_id": 999_000, "message": {"text": "approve"}}));
    scene.telegram.push(json!({"update_id": 999_001, "callback_query": {"data": approve}}));
    scene.telegram.push(json!({"update_id": 999_002, "callback_query": 5}));
    for approval in [&first, &second] {
        assert_eq!(scene.state(approval).await, "pending");
    }
    // A tap on what was decided elsewhere, and one that comes late, are told so.
    let digest = scene.approval(&first).await;
    let body = format!(r#"{{"action_digest":"{}"}}"#, at(&digest, "/action_digest"));
    let path = format!("/api/v1/approvals/{first}/reject");
    scene.world.post(&path, &scene.bob, &body).await.ok();
    // The number of an update that was never sent before.
    scene.telegram.push(json!({"update_id": 999_003, "message": {}}));
    let (mut late, query) = scene.telegram.press(BOB, message, &approve);
    late["update_id"] = json!(999_004);
    scene.telegram.push(late);
    let answer = scene.answered(&query).await;
    assert!(answer.contains("final"), "{answer}");
    assert_eq!(scene.state(&first).await, "rejected");
    let rejected = async || {
        let all = scene.telegram.messages();
        all.iter()
            .any(|(_, it)| it.text.contains("Rejected by: human:bob") && it.buttons.is_empty())
    };
    until("the message says who", rejected).await;
    let refused = "placet_channel_refused_total";
    let metrics = scene.world.get("/metrics", &scene.world.admin).await.text;
    let count = metrics.lines().find_map(|line| line.strip_prefix(&format!("{refused} ")));
    assert!(count.unwrap().parse::<u64>().unwrap() >= 10, "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn telegrams_calls_prove_where_they_come_from() {
    let scene = Scene::new("webhook").await;
    let (_, approval) = scene.hold("k1").await;
    let (message, approve, _) = scene.asked().await;
    let (update, query) = scene.telegram.press(BOB, message, &approve);
    let (path, update) = ("/channels/telegram/main/chat", update.to_string());
    let call = async |path: &str, secret: &str, body: &str| {
        let headers =
            [("content-type", "application/json"), ("x-telegram-bot-api-secret-token", secret)];
        scene.world.call("POST", path, "", &headers, body).await
    };
    scene.world.post(path, "", &update).await.refused(401, "channel_unproven");
    scene.world.post(path, &scene.bob, &update).await.refused(401, "channel_unproven");
    for secret in ["", "x", "hook-secret-token_2", "hook-secret-token_1x"] {
        call(path, secret, &update).await.refused(401, "channel_unproven");
    }
    for other in [
        "/channels/telegram/main/room",
        "/channels/telegram/main/none",
        "/channels/telegram/other/chat",
        "/channels/slack/main/chat",
    ] {
        // What there is not looks like what is not proven.
        call(other, HOOK_TOKEN, &update).await.refused(401, "channel_unproven");
    }
    for bad in [
        "",
        "{",
        "[]",
        r#"{"update_id":1,"update_id":1}"#,
        r#"{"update_id":1,"callback_query":{}}"#,
    ] {
        call(path, HOOK_TOKEN, bad).await.refused(400, "json_malformed");
    }
    let elsewhere = update.replace(&telegram::CHAT.to_string(), "-77");
    assert_eq!(scene.state(&approval).await, "pending");
    call(path, HOOK_TOKEN, &update).await.ok();
    assert_eq!(scene.answered(&query).await, "Approved");
    // The same again, and the same from another chat, by whoever kept it.
    for again in [&update, &elsewhere] {
        call(path, HOOK_TOKEN, again).await.ok();
    }
    assert_eq!(scene.state(&approval).await, "approved");
    until("the message changes", async || scene.message().1.buttons.is_empty()).await;
    assert_eq!(scene.telegram.calls("answerCallbackQuery"), [200]);
    assert!(scene.telegram.calls("getUpdates").is_empty(), "nobody polls here");
    std::fs::remove_file(scene.secrets.path().join("hook")).unwrap();
    call(path, HOOK_TOKEN, &update).await.refused(401, "channel_unproven");
}

/// Headers as the client of the tests takes them.
fn borrowed<'a>(headers: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_on_the_list_decides_in_a_form_of_slack() {
    let scene = Scene::new("poll").await;
    let (_, approval) = scene.hold("k1").await;
    until("the room is asked", async || scene.slack.messages().len() == 1).await;
    let (_, message) = scene.slack.messages().remove(0);
    assert!(!message.to_string().contains("12.5"), "arguments are for the form: {message}");
    let value = Slack::button(&message).unwrap();
    let seconds = scene.world.plane.now().0 / 1000;
    let path = "/channels/slack/main/room";
    let call = async |body: &str, seconds: u64| {
        let headers = slack::signed(body, seconds);
        scene.world.call("POST", path, "", &borrowed(&headers), body).await
    };
    let review = scene.slack.review("U042", &value);
    // Unsigned, signed for something else, too old, too new.
    let plain = [("content-type", "application/x-www-form-urlencoded")];
    scene.world.call("POST", path, "", &plain, &review).await.refused(401, "channel_unproven");
    let wrong = slack::signed("payload=x", seconds);
    let answer = scene.world.call("POST", path, "", &borrowed(&wrong), &review).await;
    answer.refused(401, "channel_unproven");
    for time in [seconds - 301, seconds + 302, 0] {
        call(&review, time).await.refused(401, "channel_unproven");
    }
    call("payload=%7B", seconds).await.refused(400, "json_malformed");
    assert!(scene.slack.views().is_empty());

    // Not on the list: a form that shows nothing.
    assert_eq!(call(&scene.slack.review("U999", &value), seconds).await.status, 200);
    until("it is told so", async || scene.slack.views().len() == 1).await;
    let (_, view) = scene.slack.views().remove(0);
    assert!(view.to_string().contains("may not decide") && !view.to_string().contains("12.5"));

    assert_eq!(call(&review, seconds).await.status, 200);
    until("the form opens", async || scene.slack.views().len() == 2).await;
    // Slack repeats what it thinks was not heard; so does whoever recorded it.
    assert_eq!(call(&review, seconds).await.status, 200);
    let (id, view) = scene.slack.views().pop().unwrap();
    assert!(view.to_string().contains("/amount: 12.5"), "{view}");
    let submit = |user, note| scene.slack.submit(user, &id, "approve", note);
    let (foreign, keyless) = (submit("U999", None), submit("U043", None));
    let submitted = submit("U042", Some("checked with the customer"));
    let says = async |text: &str| {
        until(text, async || {
            let views = scene.slack.views();
            views.iter().any(|(known, view)| *known == id && view.to_string().contains(text))
        })
        .await;
    };
    // Somebody who is not on the list, and somebody on it without a key that counts.
    for (body, text) in [(foreign, "may not decide"), (keyless, "roles operator")] {
        let answer = call(&body, seconds).await.ok();
        assert_eq!(answer["response_action"], "update");
        says(text).await;
    }
    assert_eq!(scene.state(&approval).await, "pending");
    call(&submitted, seconds).await.ok();
    says("Approved").await;
    assert_eq!(scene.state(&approval).await, "approved");
    call(&submitted, seconds).await;
    let seen = scene.approval(&approval).await;
    assert_eq!(at(&seen, "/votes/0/via"), "slack");
    assert_eq!(at(&seen, "/votes/0/note"), "checked with the customer");
    assert_eq!(seen["votes"].as_array().unwrap().len(), 1);
    until("the message changes", async || Slack::button(&scene.slack.messages()[0].1).is_none())
        .await;
    // Decided in one channel, shown in all.
    until("the chat changes", async || scene.message().1.buttons.is_empty()).await;
    assert_eq!(scene.slack.calls("views.open"), 2, "a repetition opens nothing");
    let late = scene.slack.review("U042", &value);
    call(&late, seconds).await;
    until("a late button is told", async || scene.slack.views().len() == 3).await;
    assert_eq!(scene.state(&approval).await, "approved");
}

/// One row per way in which an answer may be lost or spoilt: the action stays closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_callback_and_a_malformed_reply_open_nothing() {
    let scene = Scene::new("poll").await;
    let rows = [
        ("garbled", Fault::Garbled),
        ("broken", Fault::Broken(500)),
        ("odd", Fault::Broken(418)),
        ("slow", Fault::Slow(1)),
    ];
    for (at_row, (name, fault)) in rows.into_iter().enumerate() {
        scene.telegram.fault(fault);
        scene.slack.fault(fault);
        let (_, approval) = scene.hold(name).await;
        let told = async |count: usize| {
            until("it is told in the end", async || {
                scene.clock.step(Duration::from_secs(30));
                scene.receiver.taken().len() >= count && scene.is_empty().await
            })
            .await;
        };
        told(2 * at_row + 1).await;
        assert_eq!(scene.state(&approval).await, "pending", "{name}");
        // The press arrives, its answer fails: the vote stands, once.
        let (message, _, reject) = scene.asked().await;
        scene.telegram.fault(Fault::Broken(500));
        let (_, _) = scene.telegram.press(BOB, message, &reject);
        until("it is rejected", async || scene.state(&approval).await == "rejected").await;
        told(2 * at_row + 2).await;
        let seen = scene.approval(&approval).await;
        assert_eq!(seen["votes"].as_array().unwrap().len(), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_message_is_sent_anew_while_somebody_is_waited_for() {
    let scene = Scene::new("poll").await;
    let (_, approval) = scene.hold("k1").await;
    let (message, ..) = scene.asked().await;
    until("all is told", async || scene.is_empty().await).await;
    scene.telegram.delete(message);
    let digest = scene.approval(&approval).await;
    let body = format!(r#"{{"action_digest":"{}"}}"#, at(&digest, "/action_digest"));
    let path = format!("/api/v1/approvals/{approval}/approve");
    scene.world.post(&path, &scene.bob, &body).await.ok();
    scene.told(2).await;
    assert!(scene.telegram.messages().is_empty(), "what is decided needs no message");
}
