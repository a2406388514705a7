//! Slack: a message with one button, a form in which the action is shown and decided, the proof that a
//! call comes from there, and the answers of its API.

use crate::brief::Brief;
use crate::lines::{Member, line};
use crate::retry::{Attempt, retry_after_ms};
use crate::token::{Token, Verb, same};
use placet_types::Hasher;
use placet_types::hash::hex_encode;
use placet_types::ids::TimeMs;
use placet_types::json::{self, Limits, Object, Value};

/// Largest call that is read.
pub const CALL_BYTES_MAX: usize = 512 << 10;
/// How far the time of a call may be from ours, in seconds.
pub const SKEW_SECONDS: u64 = 300;
/// Longest note of a vote, in characters.
const NOTE_MAX: u32 = 1000;
/// Characters of one section.
const SECTION_MAX: usize = 2800;
/// What it says where not everything is shown.
const TOO_MUCH: &str =
    "Not all of it is shown here: approve it with `placet approve`, which shows all.";
/// Sections with arguments; a form has at most 100 blocks.
const SECTIONS_MAX: usize = 80;

/// Ids of what we put into messages and forms.
const REVIEW: &str = "placet_review";
const DECIDE: &str = "placet_decide";
const VERDICT: &str = "verdict";
const NOTE: &str = "note";

fn text(text: &str) -> Object {
    // Plain text: nothing in it mentions, links or becomes a picture.
    Object::new().with("emoji", false).with("text", text).with("type", "plain_text")
}

fn section(lines: &str) -> Value {
    Value::from(Object::new().with("text", text(lines)).with("type", "section"))
}

/// Text outside blocks is markup: these three characters begin it.
fn markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn clip(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// The message about an approval as it stands: what is asked, never with what arguments, and one button.
#[must_use]
pub fn message<H: Hasher>(brief: &Brief, channel: &str, to: &str, key: &[u8; 32]) -> Object {
    let mut lines = vec![brief.title().to_owned(), String::new()];
    if let Some(said) = &brief.said {
        lines.extend(said.run.iter().map(|run| format!("Run: {run}")));
        lines.extend(said.phase.iter().map(|phase| format!("Phase: {phase}")));
        lines.extend(said.risk.iter().map(|risk| {
            let score = risk.score.map(|score| format!(" (score: {score}/100)"));
            format!("Risk: {} {}{}", risk.sign(), risk.level, score.unwrap_or_default())
        }));
    } else {
        lines.extend(brief.summary());
    }
    // The target stands in the form.
    let bare = Brief { said: None, ..brief.clone() };
    lines.extend(bare.facts());
    let mut blocks = vec![section(&clip(&lines.join("\n"), SECTION_MAX))];
    if let Some(bound) = brief.bound(channel).filter(|_| brief.is_pending()) {
        let button = Object::new()
            .with("action_id", REVIEW)
            .with("text", text("Review"))
            .with("type", "button")
            .with("value", Token::seal::<H>(key, Verb::Review, &bound));
        let actions = Object::new().with("elements", vec![Value::from(button)]);
        blocks.push(Value::from(actions.with("type", "actions")));
    }
    let short = format!("{}: {} / {}", brief.title(), brief.surface, brief.action);
    posted(to, &line(&short)).with("blocks", blocks)
}

/// The body of `chat.postMessage` for a text without a button.
#[must_use]
pub fn posted(to: &str, text: &str) -> Object {
    Object::new()
        .with("channel", to)
        .with("link_names", false)
        .with("mrkdwn", false)
        .with("parse", "none")
        .with("text", clip(&markup(text), SECTION_MAX))
        .with("unfurl_links", false)
        .with("unfurl_media", false)
}

/// Everything that was asked, in texts of a section each, and whether all of it is whole there.
fn sections(brief: &Brief) -> (Vec<String>, bool) {
    let mut whole = true;
    let mut out = Vec::new();
    let count = |(_, members): (_, &[Member])| members.len();
    let mut left: usize = brief.lists().map(count).sum();
    for (heading, members) in brief.lists() {
        let mut open = heading.to_owned();
        for member in members {
            let mut next = member.whole();
            if next.chars().count() > SECTION_MAX / 2 {
                next = member.short();
                whole = false;
            }
            if open.chars().count().saturating_add(next.chars().count()) >= SECTION_MAX {
                out.push(core::mem::replace(&mut open, format!("{heading} (continued)")));
            }
            if out.len() >= SECTIONS_MAX {
                out.push(format!("…and {left} more members."));
                return (out, false);
            }
            open.push('\n');
            open.push_str(&next);
            left = left.saturating_sub(1);
        }
        out.push(open);
    }
    (out, whole)
}

/// The form in which an approval is shown and decided. Everything that would run is shown whole, or it
/// cannot be approved here.
#[must_use]
pub fn form<H: Hasher>(brief: &Brief, channel: &str, key: &[u8; 32]) -> Object {
    let mut lines = brief.summary();
    lines.push(String::new());
    lines.extend(brief.facts());
    lines.extend(brief.caveat());
    let head = lines.join("\n");
    let cut = brief.said.as_ref().is_some_and(|said| said.cut);
    let mut blocks = vec![section(&clip(&head, SECTION_MAX))];
    let (all, shown) = sections(brief);
    blocks.extend(all.iter().map(|text| section(text)));
    let whole = shown && !cut && head.chars().count() <= SECTION_MAX;
    if !whole {
        blocks.push(section(TOO_MUCH));
    }
    let form = Object::new()
        .with("callback_id", DECIDE)
        .with("close", text("Close"))
        .with("title", text("Placet approval"))
        .with("type", "modal");
    let Some(bound) = brief.bound(channel).filter(|_| brief.is_pending()) else {
        blocks.insert(0, section(brief.title()));
        return form.with("blocks", blocks);
    };
    let option = |name: &str, value: &str| {
        Value::from(Object::new().with("text", text(name)).with("value", value))
    };
    let mut options = vec![option("Reject", "reject")];
    if whole {
        options.insert(0, option("Approve", "approve"));
    }
    let verdict = Object::new()
        .with("action_id", VERDICT)
        .with("options", options)
        .with("type", "radio_buttons");
    let note = Object::new()
        .with("action_id", NOTE)
        .with("max_length", NOTE_MAX)
        .with("multiline", true)
        .with("type", "plain_text_input");
    let input = |id: &str, label: &str, element: Object, optional: bool| {
        Value::from(
            Object::new()
                .with("block_id", id)
                .with("element", element)
                .with("label", text(label))
                .with("optional", optional)
                .with("type", "input"),
        )
    };
    blocks.push(input(VERDICT, "Decision", verdict, false));
    blocks.push(input(NOTE, "Note", note, true));
    form.with("blocks", blocks)
        .with("private_metadata", Token::seal::<H>(key, Verb::Review, &bound))
        .with("submit", text("Decide"))
}

/// A form that says how it went.
#[must_use]
pub fn told(text_: &str) -> Object {
    Object::new()
        .with("blocks", vec![section(&clip(&line(text_), SECTION_MAX))])
        .with("close", text("Close"))
        .with("title", text("Placet approval"))
        .with("type", "modal")
}

/// What somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Pressed the button of a message.
    Review {
        /// What the button carries.
        token: String,
        /// With which a form may be opened, for three seconds.
        trigger: String,
    },
    /// Submitted the form.
    Decided {
        /// What the form carries.
        token: String,
        /// Yes or no.
        approve: bool,
        /// A word to it.
        note: Option<String>,
        /// The form, to be updated.
        view: String,
    },
    /// Anything else: nothing to do.
    Other,
}

/// A call from Slack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who.
    pub user: String,
    /// What.
    pub done: Done,
}

/// Whether a call with these headers could prove that it comes from Slack, whatever its body: their forms and
/// the time are as they have to be.
#[must_use]
pub fn may_be_proven(signature: Option<&str>, seconds: Option<&str>, now: TimeMs) -> bool {
    let hex = |it: &str| it.len() == 64 && it.bytes().all(|b| b.is_ascii_hexdigit());
    let digits = |it: &&str| (1..=15).contains(&it.len()) && it.bytes().all(|b| b.is_ascii_digit());
    let time = seconds.filter(digits).and_then(|it| it.parse::<u64>().ok());
    signature.and_then(|it| it.strip_prefix("v0=")).is_some_and(hex)
        && time.is_some_and(|time| (now.0 / 1000).abs_diff(time) <= SKEW_SECONDS)
}

/// Whether a call proves that it comes from Slack: headers `X-Slack-Signature` and
/// `X-Slack-Request-Timestamp`, not older and not newer than five minutes.
#[must_use]
pub fn is_proven<H: Hasher>(
    signature: Option<&str>,
    seconds: Option<&str>,
    body: &[u8],
    secret: &[u8],
    now: TimeMs,
) -> bool {
    let (Some(signature), Some(text)) = (signature, seconds) else { return false };
    if secret.is_empty() || !may_be_proven(Some(signature), Some(text), now) {
        return false;
    }
    let expected = hex_encode(&H::hmac(secret, &[b"v0:", text.as_bytes(), b":", body]));
    signature.strip_prefix("v0=").is_some_and(|it| same(it.as_bytes(), expected.as_bytes()))
}

/// Reads the body of a call, `payload=<JSON>`; `None` where it is none.
#[must_use]
pub fn call(body: &[u8]) -> Option<Call> {
    let encoded = std::str::from_utf8(body).ok()?.strip_prefix("payload=")?;
    let payload = form_decoded(encoded)?;
    let limits = Limits { bytes_max: CALL_BYTES_MAX, depth_max: 32, ..Limits::DOCUMENT };
    let payload = json::parse(&payload, limits).ok()?;
    let member = |name: &str| payload.get(name).and_then(Value::as_str);
    let user = payload.get("user")?.get("id")?.as_str()?.to_owned();
    let done = match member("type")? {
        "block_actions" => {
            let actions = payload.get("actions").and_then(Value::as_array)?;
            let ours = |it: &&Value| it.get("action_id").and_then(Value::as_str) == Some(REVIEW);
            match actions.iter().find(ours) {
                None => Done::Other,
                Some(action) => Done::Review {
                    token: action.get("value")?.as_str()?.to_owned(),
                    trigger: member("trigger_id")?.to_owned(),
                },
            }
        }
        "view_submission" => {
            let view = payload.get("view")?;
            let member = |name: &str| view.get(name).and_then(Value::as_str);
            if member("callback_id") != Some(DECIDE) {
                return Some(Call { user, done: Done::Other });
            }
            let value = |block: &str| view.get("state")?.get("values")?.get(block)?.get(block);
            let verdict = value(VERDICT)?.get("selected_option")?.get("value")?.as_str()?;
            let note = value(NOTE).and_then(|it| it.get("value")?.as_str());
            Done::Decided {
                token: member("private_metadata")?.to_owned(),
                approve: match verdict {
                    "approve" => true,
                    "reject" => false,
                    _ => return None,
                },
                note: note.filter(|it| !it.trim().is_empty()).map(|it| clip(it, 1000)),
                view: member("id")?.to_owned(),
            }
        }
        _ => Done::Other,
    };
    Some(Call { user, done })
}

/// One value of a form, and nothing after it.
fn form_decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'&' => return None,
            b'+' => out.push(b' '),
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let value = digit()?.checked_mul(16)?.checked_add(digit()?)?;
                out.push(u8::try_from(value).ok()?);
            }
            byte => out.push(byte),
        }
    }
    Some(out)
}

/// What an answer of the API means; the whole answer of a call that was done.
#[must_use]
pub fn judge(status: u16, retry_after: Option<&str>, body: &[u8]) -> Attempt<Value> {
    let limits = Limits { bytes_max: 4 << 20, depth_max: 64, ..Limits::DOCUMENT };
    let answer = json::parse(body, limits).ok();
    let member = |name: &str| answer.as_ref().and_then(|answer| answer.get(name));
    if let (200, Some(Value::Bool(true)), Some(answer)) = (status, member("ok"), answer.as_ref()) {
        return Attempt::Done(answer.clone());
    }
    let error = member("error").and_then(Value::as_str).map(line).unwrap_or_default();
    let why = format!("Slack answers {status}: {error}");
    // What a person can mend without sending it anew, or what passes by itself.
    let passing = [
        "ratelimited",
        "rate_limited",
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "not_in_channel",
        "missing_scope",
        "",
    ];
    match status {
        200 if !passing.contains(&error.as_str()) => Attempt::Never(why),
        400 | 413 | 414 => Attempt::Never(why),
        _ => Attempt::Again(retry_after_ms(retry_after), why),
    }
}

/// Whether a refusal says that there is no such message any more.
#[must_use]
pub fn is_gone(why: &str) -> bool {
    ["message_not_found", "cant_update_message", "edit_window_closed"]
        .iter()
        .any(|text| why.contains(text))
}
