//! Calls of Slack's API. Owns their addresses and bounds; texts and answers are `placet-notify`'s.

use super::Channels;
use super::chat::{Open, Post};
use super::telegram::send;
use axum::body::Bytes;
use placet_notify::{Attempt, Brief, slack};
use placet_runtime::crypto::Fast;
use placet_types::json::{Object, Value};
use std::time::Duration;

/// How long a call may take.
const WITHIN: Duration = Duration::from_secs(15);

/// The body of the message about an approval.
pub(super) fn body(open: &Open<'_>, brief: &Brief) -> Object {
    slack::message::<Fast>(brief, &open.channel.id, &open.channel.to, &open.key)
}

pub(super) async fn post(open: &Open<'_>, post: Post<'_>) -> Attempt<Option<String>> {
    let to = &open.channel.to;
    let (method, body) = match post {
        Post::Send(brief) => ("chat.postMessage", body(open, brief)),
        Post::Change(brief, place) => ("chat.update", body(open, brief).with("ts", place)),
        Post::Say(text, place) => {
            ("chat.postMessage", slack::posted(to, text).with_opt("thread_ts", place))
        }
    };
    match call(open.channels, &open.token, method, body).await {
        Attempt::Done(answer) => {
            let place = answer.get("ts").and_then(Value::as_str);
            Attempt::Done(place.map(str::to_owned))
        }
        Attempt::Again(asked, why) => Attempt::Again(asked, why),
        Attempt::Never(why) => Attempt::Never(why),
    }
}

/// Opens a form.
pub(super) async fn open_form(
    channels: &Channels,
    token: &str,
    trigger: &str,
    view: Object,
) -> Attempt<Value> {
    let body = Object::new().with("trigger_id", trigger).with("view", view);
    call(channels, token, "views.open", body).await
}

/// Has a form say how it went.
pub(super) async fn change_form(
    channels: &Channels,
    token: &str,
    view: &str,
    with: Object,
) -> Attempt<Value> {
    let body = Object::new().with("view", with).with("view_id", view);
    call(channels, token, "views.update", body).await
}

async fn call(channels: &Channels, token: &str, method: &str, body: Object) -> Attempt<Value> {
    let url = format!("{}/{method}", channels.options.slack);
    let headers = [("authorization", format!("Bearer {token}"))];
    let body = Bytes::from(Value::Object(body).to_canonical());
    let kind = "application/json; charset=utf-8";
    match send(&channels.options.outbound, &url, kind, &headers, body, WITHIN).await {
        Err(error) => Attempt::Again(None, error.to_string()),
        Ok((status, after, body)) => slack::judge(status, after.as_deref(), &body),
    }
}
