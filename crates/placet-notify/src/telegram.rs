//! Telegram: the message with its two buttons, updates as the Bot API sends them, and its answers.

use crate::brief::Brief;
use crate::lines::{Member, line, utf16};
use crate::retry::Attempt;
use crate::token::{Token, Verb, same};
use placet_types::Hasher;
use placet_types::json::{self, Limits, Object, Value};

/// Longest text of a message, in UTF-16 units.
pub const TEXT_MAX: usize = 4096;
/// Longest answer to a press, in characters.
const ANSWER_MAX: usize = 200;
/// Largest update that is read.
pub const UPDATE_BYTES_MAX: usize = 256 << 10;
/// What it says where not everything fits.
const TOO_MUCH: &str = "Too much to show here: approve it with `placet approve`, which shows all.";

/// A message: its text, and its buttons while there is something to decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Plain text.
    pub text: String,
    /// Data of the buttons Approve and Reject; the first is missing where not all could be shown.
    pub buttons: Option<(Option<String>, String)>,
}

impl Message {
    /// The message about an approval as it stands. Everything that would run is shown whole, or there is
    /// no button to approve.
    #[must_use]
    pub fn of<H: Hasher>(brief: &Brief, channel: &str, key: &[u8; 32]) -> Self {
        let mut head = vec![brief.title().to_owned(), String::new()];
        head.extend(brief.summary());
        head.push(String::new());
        head.extend(brief.facts());
        head.extend(brief.caveat());
        let mut text = head.join("\n");
        let mut whole = !brief.said.as_ref().is_some_and(|said| said.cut);
        if utf16(&text) > TEXT_MAX / 2 {
            // Names and reasons of others are bounded, but there may be many of them.
            text = clip(&text, TEXT_MAX / 2);
            whole = false;
        }
        match all(brief).filter(|all| utf16(&text).saturating_add(utf16(all)) <= TEXT_MAX) {
            Some(all) => text.push_str(&all),
            None => {
                text = names(brief, text);
                whole = false;
            }
        }
        let bound = brief.bound(channel).filter(|_| brief.is_pending());
        let buttons = bound.map(|bound| {
            let approve = whole.then(|| Token::seal::<H>(key, Verb::Approve, &bound));
            (approve, Token::seal::<H>(key, Verb::Reject, &bound))
        });
        if !whole && buttons.is_some() {
            text.push_str("\n\n");
            text.push_str(TOO_MUCH);
        }
        Self { text, buttons }
    }

    fn keyboard(&self) -> Object {
        let button = |text: &str, data: &str| {
            Value::from(Object::new().with("callback_data", data).with("text", text))
        };
        let row = self.buttons.iter().flat_map(|(approve, reject)| {
            let approve = approve.as_ref().map(|data| button("✅ Approve", data));
            approve.into_iter().chain([button("❌ Reject", reject)])
        });
        let row: Vec<Value> = row.collect();
        let rows = if row.is_empty() { Vec::new() } else { vec![Value::Array(row)] };
        Object::new().with("inline_keyboard", rows)
    }

    /// The body of `sendMessage`.
    #[must_use]
    pub fn send(&self, chat: &str) -> Object {
        plain(chat, &self.text).with("reply_markup", self.keyboard())
    }

    /// The body of `editMessageText`.
    #[must_use]
    pub fn edit(&self, chat: &str, message: i64) -> Object {
        self.send(chat).with("message_id", message)
    }
}

/// Everything that was asked, whole; `None` where it can fit no message.
fn all(brief: &Brief) -> Option<String> {
    let mut text = String::new();
    for (heading, members) in brief.lists() {
        text.push_str("\n\n");
        text.push_str(heading);
        for member in members {
            if text.len().saturating_add(member.value.len()) > 4 * TEXT_MAX {
                return None;
            }
            text.push('\n');
            text.push_str(&member.whole());
        }
    }
    Some(text)
}

/// As many names as fit, each with the two ends of its value.
fn names(brief: &Brief, mut text: String) -> String {
    let room = TEXT_MAX.saturating_sub(TOO_MUCH.len()).saturating_sub(100);
    let count = |(_, members): (_, &[Member])| members.len();
    let mut left: usize = brief.lists().map(count).sum();
    for (heading, members) in brief.lists() {
        let mut before = format!("\n\n{heading}");
        for member in members {
            let next = format!("{before}\n{}", member.short());
            if utf16(&text).saturating_add(utf16(&next)) > room {
                text.push_str(&format!("\n…and {left} more members."));
                return text;
            }
            text.push_str(&next);
            before.clear();
            left = left.saturating_sub(1);
        }
    }
    text
}

/// The body of `sendMessage` for a text without buttons.
#[must_use]
pub fn plain(chat: &str, text: &str) -> Object {
    Object::new()
        .with("chat_id", chat)
        .with("link_preview_options", Object::new().with("is_disabled", true))
        .with("text", clip(text, TEXT_MAX))
}

/// The body of `sendMessage` for a text that answers a message, if that is still there.
#[must_use]
pub fn reply(chat: &str, message: i64, text: &str) -> Object {
    let to = Object::new().with("message_id", message).with("allow_sending_without_reply", true);
    plain(chat, text).with("reply_parameters", to)
}

/// The body of `answerCallbackQuery`.
#[must_use]
pub fn answer(query: &str, text: &str) -> Object {
    let text: String = line(text).chars().take(ANSWER_MAX).collect();
    Object::new().with("callback_query_id", query).with("text", text)
}

/// The body of `getUpdates`: presses alone, from number `next` on, waiting `seconds` for one.
#[must_use]
pub fn get_updates(next: Option<u64>, seconds: u32) -> Object {
    Object::new()
        .with("allowed_updates", vec![Value::from("callback_query")])
        .with_opt("offset", next)
        .with("timeout", seconds)
}

fn clip(text: &str, most: usize) -> String {
    if utf16(text) <= most {
        return text.to_owned();
    }
    let mut left = most.saturating_sub(1);
    let kept = text.chars().take_while(|c| {
        let fits = left >= c.len_utf16();
        left = left.saturating_sub(c.len_utf16());
        fits
    });
    let mut out: String = kept.collect();
    out.push('…');
    out
}

/// A press of a button.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Press {
    /// Id of the query, to answer it.
    pub query: String,
    /// Who pressed.
    pub user: String,
    /// Where.
    pub chat: Option<String>,
    /// What the button carries.
    pub data: Option<String>,
}

/// One update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Its number.
    pub id: u64,
    /// What was pressed, if it is about that.
    pub press: Option<Press>,
}

/// Reads one update; `None` where it is none.
#[must_use]
pub fn update(bytes: &[u8]) -> Option<Update> {
    let limits = Limits { bytes_max: UPDATE_BYTES_MAX, depth_max: 32, ..Limits::DOCUMENT };
    update_of(&json::parse(bytes, limits).ok()?)
}

fn number(value: &Value) -> Option<String> {
    value.as_i64().map(|number| number.to_string())
}

fn update_of(value: &Value) -> Option<Update> {
    let id = value.get("update_id").and_then(Value::as_u64)?;
    let press = match value.get("callback_query") {
        None => None,
        Some(query) => {
            let text = |name: &str| query.get(name).and_then(Value::as_str).map(str::to_owned);
            let from = query.get("from")?;
            // Another bot is nobody.
            let bot = from.get("is_bot").and_then(Value::as_bool) == Some(true);
            let user = if bot { String::new() } else { from.get("id").and_then(number)? };
            let chat = query.get("message").and_then(|it| it.get("chat")?.get("id"));
            Some(Press {
                query: text("id").filter(|id| !id.is_empty() && id.len() <= 128)?,
                user,
                chat: chat.and_then(number),
                data: text("data"),
            })
        }
    };
    Some(Update { id, press })
}

/// The updates of an answer to `getUpdates`, in their order; what is none of them is left out, with the
/// number that it names.
#[must_use]
pub fn updates(result: &Value) -> Vec<Result<Update, Option<u64>>> {
    let all = result.as_array().unwrap_or_default();
    let one = |value: &Value| {
        update_of(value).ok_or_else(|| value.get("update_id").and_then(Value::as_u64))
    };
    all.iter().map(one).collect()
}

/// Whether a call proves that it comes from Telegram: header `X-Telegram-Bot-Api-Secret-Token`.
#[must_use]
pub fn is_proven(header: Option<&str>, secret: &[u8]) -> bool {
    !secret.is_empty() && header.is_some_and(|header| same(header.as_bytes(), secret))
}

/// What an answer of the Bot API means; the result of a call that was done.
#[must_use]
pub fn judge(status: u16, body: &[u8]) -> Attempt<Value> {
    let limits = Limits { bytes_max: 4 << 20, depth_max: 32, ..Limits::DOCUMENT };
    let answer = json::parse(body, limits).ok();
    let member = |name: &str| answer.as_ref().and_then(|answer| answer.get(name));
    if let (200, Some(Value::Bool(true)), Some(result)) = (status, member("ok"), member("result")) {
        return Attempt::Done(result.clone());
    }
    let said = member("description").and_then(Value::as_str).map(line).unwrap_or_default();
    let why = format!("Telegram answers {status}: {said}");
    let asked = member("parameters").and_then(|it| it.get("retry_after")?.as_u64());
    let asked = asked.and_then(|seconds| seconds.checked_mul(1000));
    match status {
        // What is so already was done.
        400 if said.contains("message is not modified") => Attempt::Done(Value::Null),
        400 | 413 => Attempt::Never(why),
        // Whoever answers so may be another one tomorrow: a token is replaced, a bot let in again.
        _ => Attempt::Again(asked, why),
    }
}

/// Whether a refusal says that there is no such message any more.
#[must_use]
pub fn is_gone(why: &str) -> bool {
    ["message to edit not found", "message can't be edited", "MESSAGE_ID_INVALID"]
        .iter()
        .any(|text| why.contains(text))
}
