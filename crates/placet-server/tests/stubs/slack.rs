//! Slack's API as far as approvals need it, as strict as its documentation: bounds of blocks and texts,
//! triggers that open one form, messages that are there.

use super::{Fault, json, parameters};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::post;
use placet_runtime::crypto::Fast;
use placet_types::hash::{Hasher, hex_encode};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) const TOKEN: &str = "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcBrzbqgy";
pub(crate) const SIGNING: &str = "8f742231b10e8888abcd99yyyzzz85a5";
pub(crate) const CHANNEL: &str = "C0123456789";

#[derive(Default)]
struct Inner {
    messages: BTreeMap<String, Value>,
    views: BTreeMap<String, Value>,
    triggers: BTreeSet<String>,
    faults: VecDeque<Fault>,
    down: bool,
    calls: Vec<(String, u16)>,
    count: u64,
}

/// Slack with one app in one channel.
#[derive(Clone)]
pub(crate) struct Slack {
    inner: Arc<Mutex<Inner>>,
    pub(crate) address: SocketAddr,
}

impl Slack {
    pub(crate) async fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner::default()));
        let router = Router::new().route("/api/{method}", post(called)).with_state(inner.clone());
        Self { inner, address: super::serve(router).await }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/api", self.address)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn messages(&self) -> Vec<(String, Value)> {
        self.inner().messages.iter().map(|(ts, message)| (ts.clone(), message.clone())).collect()
    }

    pub(crate) fn views(&self) -> Vec<(String, Value)> {
        self.inner().views.iter().map(|(id, view)| (id.clone(), view.clone())).collect()
    }

    pub(crate) fn calls(&self, method: &str) -> usize {
        self.inner().calls.iter().filter(|(name, _)| name == method).count()
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.inner().faults.push_back(fault);
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.inner().down = down;
    }

    /// What a button of a message carries.
    pub(crate) fn button(message: &Value) -> Option<String> {
        let blocks = message["blocks"].as_array()?;
        let elements = blocks.iter().filter_map(|block| block["elements"].as_array()).flatten();
        elements.filter_map(|it| it["value"].as_str()).map(str::to_owned).next()
    }

    /// What opens one form.
    pub(crate) fn trigger(&self) -> String {
        let mut inner = self.inner();
        inner.count += 1;
        let trigger = format!("{}.98.f", inner.count);
        inner.triggers.insert(trigger.clone());
        trigger
    }

    /// Somebody presses Review: the body of the call.
    pub(crate) fn review(&self, user: &str, value: &str) -> String {
        let trigger = self.trigger();
        let inner = self.inner();
        encoded(&json!({
            "type": "block_actions", "user": {"id": user, "name": "x"}, "api_app_id": "A1",
            "trigger_id": trigger,
            "actions": [{"action_id": "placet_review", "type": "button", "value": value,
                         "action_ts": format!("{}.1", inner.count)}],
        }))
    }

    /// Somebody submits a form: the body of the call.
    pub(crate) fn submit(
        &self,
        user: &str,
        view: &str,
        verdict: &str,
        note: Option<&str>,
    ) -> String {
        let inner = self.inner();
        let shown = &inner.views[view];
        encoded(&json!({
            "type": "view_submission", "user": {"id": user, "name": "x"}, "api_app_id": "A1",
            "view": {
                "id": view, "callback_id": shown["callback_id"], "hash": "1.2",
                "private_metadata": shown["private_metadata"],
                "state": {"values": {
                    "verdict": {"verdict": {"type": "radio_buttons", "selected_option": {"value": verdict}}},
                    "note": {"note": {"type": "plain_text_input", "value": note}},
                }},
            },
        }))
    }
}

/// Headers with which Slack signs a call at a second.
pub(crate) fn signed(body: &str, seconds: u64) -> Vec<(&'static str, String)> {
    let base = [b"v0:".as_slice(), seconds.to_string().as_bytes(), b":", body.as_bytes()].concat();
    let mac = Fast::hmac(SIGNING.as_bytes(), &[&base]);
    vec![
        ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ("x-slack-request-timestamp", seconds.to_string()),
        ("x-slack-signature", format!("v0={}", hex_encode(&mac))),
    ]
}

fn encoded(payload: &Value) -> String {
    let mut out = String::from("payload=");
    for byte in payload.to_string().bytes() {
        match byte {
            b' ' => out.push('+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn refused(error: &str) -> Value {
    json!({"ok": false, "error": error})
}

async fn called(
    State(inner): State<Arc<Mutex<Inner>>>,
    Path(method): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut inner = inner.lock().unwrap();
    let fault = if inner.down { Some(Fault::Broken(503)) } else { inner.faults.pop_front() };
    let status = match fault {
        Some(Fault::Slow(_)) => 429,
        Some(Fault::Broken(status)) => status,
        _ => 200,
    };
    inner.calls.push((method.clone(), status));
    match fault {
        Some(Fault::Slow(seconds)) => {
            let mut response = json(429, &refused("ratelimited"));
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            return response;
        }
        Some(Fault::Broken(status)) => return json(status, &json!("no")),
        _ => {}
    }
    let bearer = headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    let body = match (bearer, parameters(&headers, &body)) {
        (None, _) => refused("not_authed"),
        (Some(bearer), _) if bearer != format!("Bearer {TOKEN}") => refused("invalid_auth"),
        (_, None) => refused("invalid_json"),
        (_, Some(fields)) => {
            let fields = Value::Object(fields);
            answer(&mut inner, &method, &fields).unwrap_or_else(refused)
        }
    };
    if fault == Some(Fault::Garbled) {
        return json(200, &json!("{\"ok\":tru"));
    }
    json(200, &body)
}

fn answer(inner: &mut Inner, method: &str, fields: &Value) -> Result<Value, &'static str> {
    inner.count += 1;
    match method {
        "chat.postMessage" | "chat.update" => {
            if fields["channel"] != CHANNEL {
                return Err("channel_not_found");
            }
            let text = fields["text"].as_str().unwrap_or_default();
            if text.is_empty() && fields["blocks"].is_null() {
                return Err("no_text");
            }
            if text.chars().count() > 40_000 {
                return Err("msg_too_long");
            }
            blocks(&fields["blocks"], 50)?;
            let ts = if method == "chat.postMessage" {
                format!("1790000000.{:06}", inner.count)
            } else {
                let ts = fields["ts"].as_str().unwrap_or_default().to_owned();
                if !inner.messages.contains_key(&ts) {
                    return Err("message_not_found");
                }
                ts
            };
            inner.messages.insert(ts.clone(), fields.clone());
            Ok(json!({"ok": true, "channel": CHANNEL, "ts": ts, "message": {"text": text}}))
        }
        "views.open" => {
            let trigger = fields["trigger_id"].as_str().unwrap_or_default();
            // Good for one form, and not for long.
            if !inner.triggers.remove(trigger) {
                return Err("expired_trigger_id");
            }
            let view = view(&fields["view"])?;
            let id = format!("V{:010}", inner.count);
            inner.views.insert(id.clone(), view.clone());
            Ok(json!({"ok": true, "view": {"id": id, "type": "modal"}}))
        }
        "views.update" => {
            let view = view(&fields["view"])?;
            let id = fields["view_id"].as_str().unwrap_or_default().to_owned();
            let known = inner.views.get_mut(&id).ok_or("not_found")?;
            *known = view;
            Ok(json!({"ok": true, "view": {"id": id, "type": "modal"}}))
        }
        "auth.test" => Ok(json!({"ok": true, "user_id": "U0BOT", "team_id": "T1"})),
        _ => Err("unknown_method"),
    }
}

fn view(view: &Value) -> Result<Value, &'static str> {
    let title = view["title"]["text"].as_str().unwrap_or_default();
    let fits = view["type"] == "modal"
        && (1..=24).contains(&title.chars().count())
        && view["private_metadata"].as_str().unwrap_or_default().len() <= 3000
        && view["callback_id"].as_str().unwrap_or_default().len() <= 255
        && view["blocks"].is_array();
    if !fits {
        return Err("invalid_arguments");
    }
    let inputs = view["blocks"].as_array().unwrap().iter().any(|block| block["type"] == "input");
    if inputs && view["submit"].is_null() {
        return Err("invalid_arguments");
    }
    blocks(&view["blocks"], 100)?;
    Ok(view.clone())
}

fn blocks(blocks: &Value, most: usize) -> Result<(), &'static str> {
    let bad = "invalid_blocks";
    let Some(blocks) = blocks.as_array() else {
        return if blocks.is_null() { Ok(()) } else { Err(bad) };
    };
    if blocks.len() > most {
        return Err(bad);
    }
    let text = |text: &Value, most: usize| {
        let length = text["text"].as_str().unwrap_or_default().chars().count();
        let kind = &text["type"];
        (1..=most).contains(&length) && (kind == "plain_text" || kind == "mrkdwn")
    };
    for block in blocks {
        let good = match block["type"].as_str().unwrap_or_default() {
            "section" => text(&block["text"], 3000),
            "actions" => block["elements"].as_array().is_some_and(|all| {
                (1..=25).contains(&all.len())
                    && all.iter().all(|it| {
                        it["type"] == "button"
                            && text(&it["text"], 75)
                            && it["value"].as_str().unwrap_or_default().len() <= 2000
                            && it["action_id"].as_str().unwrap_or_default().len() <= 255
                    })
            }),
            "input" => {
                let element = &block["element"];
                text(&block["label"], 2000)
                    && match element["type"].as_str().unwrap_or_default() {
                        "plain_text_input" => element["max_length"].as_u64().unwrap_or(1) <= 3000,
                        "radio_buttons" => element["options"].as_array().is_some_and(|all| {
                            (1..=10).contains(&all.len())
                                && all.iter().all(|it| {
                                    text(&it["text"], 75)
                                        && it["value"].as_str().unwrap_or_default().len() <= 150
                                })
                        }),
                        _ => false,
                    }
            }
            _ => false,
        };
        if !good {
            return Err(bad);
        }
    }
    Ok(())
}
