//! `channels:` and `notify:`: what they need of each other, and who hears of what.

use super::support::{Sha2, compile, render};
use placet_policy::{Bundle, ChannelKind, Code, Told};
use placet_types::ids::ActorId;

const CHANNELS: &str = r#"version: v1
channels:
  - { id: chat, kind: telegram, to: "-1001234567890", secret: bot, approvers: { "42": "human:ann" }, owner: ops }
  - { id: hook, kind: telegram, to: "17", secret: bot, mode: webhook, inbound_secret: token, owner: ops }
  - { id: room, kind: slack, to: C0123456789, secret: xoxb, inbound_secret: signing, approvers: { U012: "human:bob" }, owner: ops }
  - { id: siem, kind: webhook, to: "https://siem.example.com/in?x=1", secret: siem-key, owner: ops }
notify:
  - { id: all, on: [approval.opened, approval.closed], channels: [chat, room], owner: ops }
  - { id: money, on: [approval.opened, decision.denied], channels: [siem, chat], surfaces: ["payments.*"], owner: ops }
  - { id: kill, on: [kill.tripped], channels: [siem], owner: ops }
"#;

#[test]
fn each_notification_reaches_its_channels() {
    let bundle = compile(CHANNELS).unwrap();
    let notify = bundle.notify();
    let ids = |told, surface| {
        notify.hearing(told, surface).iter().map(|it| it.id.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(ids(Told::Opened, Some("payments.refund")), ["chat", "room", "siem"]);
    assert_eq!(ids(Told::Opened, Some("mail.send")), ["chat", "room"]);
    assert_eq!(ids(Told::Denied, Some("payments.refund")), ["chat", "siem"]);
    assert_eq!(ids(Told::Denied, Some("payments.refund.bulk")), [""; 0]);
    assert_eq!(ids(Told::Tripped, None), ["siem"]);
    assert_eq!(ids(Told::Lifted, None), [""; 0]);
    assert!(notify.tells(Told::Denied) && !notify.tells(Told::Voted));
    let chat = notify.channel("chat").unwrap();
    assert_eq!(chat.kind, ChannelKind::Telegram { webhook: None });
    assert_eq!(chat.approvers["42"], ActorId::parse("human:ann").unwrap());
    let webhook = Some("token".to_owned());
    assert_eq!(notify.channel("hook").unwrap().kind, ChannelKind::Telegram { webhook });
    assert_eq!(notify.channels().count(), 4);
    let again = Bundle::from_normalised::<Sha2>(bundle.normalised()).unwrap();
    assert_eq!(again.notify().channels().count(), 4);
}

#[test]
fn every_word_of_on_is_a_thing_that_is_told() {
    for told in Told::ALL {
        assert_eq!(Told::parse(told.as_str()), Some(told));
    }
}

fn refused(from: &str, to: &str) -> (Code, String) {
    assert!(CHANNELS.contains(from), "{from}");
    let found = compile(&CHANNELS.replacen(from, to, 1)).unwrap_err();
    (found[0].code, render(&found))
}

#[test]
fn what_does_not_fit_together_does_not_compile() {
    for (from, to, says) in [
        ("channels: [chat, room]", "channels: [chat, rom]", "did you mean `room`?"),
        ("channels: [chat, room]", "channels: []", "names nothing"),
        ("on: [kill.tripped]", "on: []", "names nothing"),
        (", inbound_secret: signing", "", "needs `inbound_secret`"),
        (", inbound_secret: token", "", "needs `inbound_secret`"),
        ("kind: slack", "kind: slack, mode: webhook", "says nothing"),
        ("secret: siem-key", "secret: siem-key, inbound_secret: x", "says nothing"),
        ("secret: siem-key", "secret: siem-key, approvers: {}", "says nothing"),
        ("secret: siem-key", "secret: .siem", "begins with a dot"),
        ("secret: bot, approvers", "secret: bot, insecure: true, approvers", "says nothing"),
        ("mode: webhook, inbound_secret: token", "mode: long_poll", "updates of one bot"),
        ("\"-1001234567890\"", "\"@ops\"", "no chat"),
        ("C0123456789", "general", "no channel id"),
        ("\"42\"", "\"ann\"", "no user id of telegram"),
        ("U012", "\"42\"", "no user id of slack"),
        ("human:bob", "agent:bob", "only people decide"),
        ("https://siem.example.com/in?x=1", "http://siem.example.com/", "plain http"),
        ("https://siem.example.com/in?x=1", "http://127.0.0.1.example.com/", "plain http"),
        ("https://siem.example.com/in?x=1", "http://localhost.example.com/", "plain http"),
        ("https://siem.example.com/in?x=1", "ftp://siem.example.com/", "no https URL"),
        ("https://siem.example.com/in?x=1", "https://", "no URL without"),
        ("https://siem.example.com/in?x=1", "https://u:p@siem.example.com/", "no URL without"),
        ("https://siem.example.com/in?x=1", "https://siem.example.com/#x", "no URL without"),
        ("https://siem.example.com/in?x=1", "https://siem.example.com/a b", "no URL without"),
    ] {
        let (code, text) = refused(from, to);
        assert!(text.contains(says), "{to}: {text}");
        assert_eq!(code, Code::Conflict, "{to}: {text}");
    }
    for (from, to) in [
        ("on: [kill.tripped]", "on: [budget.threshold]"),
        ("kind: webhook", "kind: email"),
        ("human:bob", "bob"),
    ] {
        refused(from, to);
    }
}

#[test]
fn plain_http_is_for_this_machine_or_for_whoever_says_so() {
    for url in ["http://127.0.0.1:9/x", "http://[::1]:9/", "http://localhost/", "http://127.8.9.1"]
    {
        compile(&CHANNELS.replace("https://siem.example.com/in?x=1", url)).unwrap();
    }
    let text = CHANNELS.replace("https://siem.example.com/in?x=1", "http://siem.internal/in");
    compile(&text.replace("secret: siem-key", "secret: siem-key, insecure: true")).unwrap();
}
