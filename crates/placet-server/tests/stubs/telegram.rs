//! The Bot API as far as approvals need it, and stricter where the real one only frowns: data of buttons
//! up to 64 bytes, one answer per press, no edit that changes nothing, no message that is not there.

use super::{Fault, json, parameters};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::any;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

pub(crate) const TOKEN: &str = "123456:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
pub(crate) const CHAT: i64 = -1_001_234;

/// A message as the chat shows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) text: String,
    /// Names and data of the buttons, row by row.
    pub(crate) buttons: Vec<(String, String)>,
    pub(crate) reply_to: Option<i64>,
}

#[derive(Default)]
struct Inner {
    messages: BTreeMap<i64, Shown>,
    updates: VecDeque<Value>,
    /// Numbers of updates come after this one.
    first: u64,
    update: u64,
    query: u64,
    /// Presses, and what they were answered.
    answers: HashMap<String, Option<String>>,
    faults: VecDeque<Fault>,
    down: bool,
    calls: Vec<(String, u16)>,
    deliver_twice: bool,
}

/// A Bot API of one bot in one chat.
#[derive(Clone)]
pub(crate) struct Telegram {
    inner: Arc<Mutex<Inner>>,
    pub(crate) address: SocketAddr,
}

impl Telegram {
    pub(crate) async fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner { first: 900_000, ..Inner::default() }));
        let router = Router::new().route("/{bot}/{method}", any(called)).with_state(inner.clone());
        Self { inner, address: super::serve(router).await }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn messages(&self) -> Vec<(i64, Shown)> {
        self.inner().messages.iter().map(|(id, shown)| (*id, shown.clone())).collect()
    }

    /// Calls of a method, by status.
    pub(crate) fn calls(&self, method: &str) -> Vec<u16> {
        let inner = self.inner();
        inner.calls.iter().filter(|(name, _)| name == method).map(|(_, status)| *status).collect()
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.inner().faults.push_back(fault);
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.inner().down = down;
    }

    /// From now on each update is delivered twice.
    pub(crate) fn deliver_twice(&self) {
        self.inner().deliver_twice = true;
    }

    pub(crate) fn delete(&self, message: i64) {
        self.inner().messages.remove(&message);
    }

    /// What a press was answered.
    pub(crate) fn answer(&self, query: &str) -> Option<String> {
        self.inner().answers.get(query).cloned().flatten()
    }

    /// Somebody presses a button: the update, which waits to be asked for, and the id of the press.
    pub(crate) fn press(&self, user: i64, message: i64, data: &str) -> (Value, String) {
        let mut inner = self.inner();
        inner.update += 1;
        inner.query += 1;
        let query = format!("{}", 4_382_000_000_000_u64 + inner.query);
        inner.answers.insert(query.clone(), None);
        let update = json!({
            "update_id": inner.first + inner.update,
            "callback_query": {
                "id": query,
                "from": {"id": user, "is_bot": false, "first_name": "A"},
                "message": {"message_id": message, "date": 1, "chat": {"id": CHAT, "type": "group", "title": "ops"}, "text": "…"},
                "chat_instance": "77",
                "data": data,
            },
        });
        inner.updates.push_back(update.clone());
        if inner.deliver_twice {
            inner.updates.push_back(update.clone());
        }
        (update, query)
    }

    /// Numbers begin anew, as they do after a quiet week.
    pub(crate) fn count_from(&self, first: u64) {
        self.inner().first = first;
    }

    /// Something arrives that no press made.
    pub(crate) fn push(&self, update: Value) {
        self.inner().updates.push_back(update);
    }
}

fn refused(status: u16, text: &str) -> (u16, Value) {
    (status, json!({"ok": false, "error_code": status, "description": text}))
}

fn done(result: Value) -> (u16, Value) {
    (200, json!({"ok": true, "result": result}))
}

async fn called(
    State(inner): State<Arc<Mutex<Inner>>>,
    Path((bot, method)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let respond = |status: u16, body: &Value| {
        inner.lock().unwrap().calls.push((method.clone(), status));
        json(status, body)
    };
    if inner.lock().unwrap().down {
        return respond(502, &Value::Null);
    }
    let fault = match method.as_str() {
        // Faults are for calls that say something.
        "getUpdates" | "getMe" => None,
        _ => inner.lock().unwrap().faults.pop_front(),
    };
    match fault {
        Some(Fault::Slow(seconds)) => {
            let (_, mut body) = refused(429, &format!("Too Many Requests: retry after {seconds}"));
            body["parameters"] = json!({"retry_after": seconds});
            return respond(429, &body);
        }
        Some(Fault::Broken(status)) => return respond(status, &json!("bad gateway")),
        _ => {}
    }
    if bot != format!("bot{TOKEN}") {
        let (status, body) = refused(401, "Unauthorized");
        return respond(status, &body);
    }
    let Some(fields) = parameters(&headers, &body) else {
        let (status, body) = refused(400, "Bad Request: can't parse the body");
        return respond(status, &body);
    };
    if method == "getUpdates" {
        return respond(200, &json!({"ok": true, "result": updates(&inner, &fields).await}));
    }
    let (status, body) = answer(&mut inner.lock().unwrap(), &method, &fields);
    if fault == Some(Fault::Garbled) {
        return respond(status, &json!("{\"ok\":tru"));
    }
    respond(status, &body)
}

fn int(value: Option<&Value>) -> Option<i64> {
    let value = value?;
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// Confirms those before `offset`, then waits for others as long as it is told to.
async fn updates(inner: &Arc<Mutex<Inner>>, fields: &Map<String, Value>) -> Vec<Value> {
    let offset = int(fields.get("offset")).unwrap_or(0);
    let seconds = int(fields.get("timeout")).unwrap_or(0).unsigned_abs();
    let number = |update: &Value| update["update_id"].as_i64().unwrap_or(i64::MAX);
    for _ in 0..seconds * 50 + 1 {
        {
            let mut inner = inner.lock().unwrap();
            inner.updates.retain(|update| number(update) >= offset);
            if !inner.updates.is_empty() {
                return inner.updates.iter().cloned().collect();
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Vec::new()
}

fn answer(inner: &mut Inner, method: &str, fields: &Map<String, Value>) -> (u16, Value) {
    let text = fields.get("text").and_then(Value::as_str);
    match method {
        "getMe" => done(json!({
            "id": 123456, "is_bot": true, "first_name": "Placet", "username": "placet_bot",
            "can_join_groups": true, "can_read_all_group_messages": false,
            "supports_inline_queries": false,
        })),
        "deleteWebhook" | "setWebhook" => done(json!(true)),
        "sendMessage" | "editMessageText" => {
            if int(fields.get("chat_id")) != Some(CHAT) {
                return refused(400, "Bad Request: chat not found");
            }
            let Some(text) = text.filter(|text| !text.is_empty()) else {
                return refused(400, "Bad Request: message text is empty");
            };
            if text.encode_utf16().count() > 4096 {
                return refused(400, "Bad Request: message is too long");
            }
            let buttons = match buttons(fields.get("reply_markup")) {
                Ok(buttons) => buttons,
                Err(why) => return refused(400, why),
            };
            let reply_to = fields.get("reply_parameters").and_then(|it| it["message_id"].as_i64());
            let id = if method == "sendMessage" {
                inner
                    .messages
                    .keys()
                    .next_back()
                    .map_or(1, |last| last + 1)
                    .max(i64::try_from(inner.calls.len()).unwrap())
            } else {
                let id = int(fields.get("message_id")).unwrap_or(0);
                let Some(known) = inner.messages.get(&id) else {
                    return refused(400, "Bad Request: message to edit not found");
                };
                if known.text == text && known.buttons == buttons {
                    let same = "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message";
                    return refused(400, same);
                }
                id
            };
            let shown = Shown { text: text.to_owned(), buttons, reply_to };
            inner.messages.insert(id, shown);
            done(json!({
                "message_id": id, "date": 1_790_000_000, "text": text,
                "chat": {"id": CHAT, "type": "supergroup", "title": "ops"},
            }))
        }
        "answerCallbackQuery" => {
            let id = fields.get("callback_query_id").and_then(Value::as_str).unwrap_or_default();
            if text.is_some_and(|text| text.chars().count() > 200) {
                return refused(400, "Bad Request: MESSAGE_TOO_LONG");
            }
            let text = text.unwrap_or_default().to_owned();
            match inner.answers.get_mut(id) {
                Some(answer @ None) => {
                    *answer = Some(text);
                    done(json!(true))
                }
                _ => refused(
                    400,
                    "Bad Request: query is too old and response timeout expired or query ID is invalid",
                ),
            }
        }
        _ => refused(404, "Not Found: method not found"),
    }
}

fn buttons(markup: Option<&Value>) -> Result<Vec<(String, String)>, &'static str> {
    let Some(markup) = markup else { return Ok(Vec::new()) };
    let bad = "Bad Request: can't parse inline keyboard button";
    let rows = markup["inline_keyboard"].as_array().ok_or(bad)?;
    let mut out = Vec::new();
    for button in rows.iter().flat_map(|row| row.as_array().into_iter().flatten()) {
        let name = button["text"].as_str().filter(|text| !text.is_empty()).ok_or(bad)?;
        let data = button["callback_data"].as_str().ok_or(bad)?;
        if !(1..=64).contains(&data.len()) {
            return Err("Bad Request: BUTTON_DATA_INVALID");
        }
        out.push((name.to_owned(), data.to_owned()));
    }
    Ok(out)
}
