//! Calls of Telegram's Bot API. Owns their addresses and bounds; texts and answers are
//! `placet-notify`'s.

use super::Channels;
use super::chat::{Open, Post};
use axum::body::Bytes;
use axum::http::{HeaderValue, Method, Request, header};
use placet_notify::telegram::{self, Message};
use placet_notify::{Attempt, Brief};
use placet_outbound::{Bounds, Outbound, OutboundError};
use placet_runtime::crypto::Fast;
use placet_types::json::{Object, Value};
use std::time::Duration;

/// How long a call may take.
const WITHIN: Duration = Duration::from_secs(15);
/// How long the service keeps a question for updates open, in seconds.
pub(super) const POLL_SECONDS: u32 = 25;
/// Largest answer.
const ANSWER_MAX: usize = 4 << 20;

/// The body of the message about an approval.
pub(super) fn body(open: &Open<'_>, brief: &Brief) -> Object {
    Message::of::<Fast>(brief, &open.channel.id, &open.key).send(&open.channel.to)
}

pub(super) async fn post(open: &Open<'_>, post: Post<'_>) -> Attempt<Option<String>> {
    let to = &open.channel.to;
    let number = |place: &str| place.parse::<i64>().ok();
    let (method, body) = match post {
        Post::Send(brief) => ("sendMessage", body(open, brief)),
        Post::Change(brief, place) => {
            let Some(place) = number(place) else {
                return Attempt::Never("message to edit not found".to_owned());
            };
            let message = Message::of::<Fast>(brief, &open.channel.id, &open.key);
            ("editMessageText", message.edit(to, place))
        }
        Post::Say(text, place) => {
            let body = match place.and_then(number) {
                Some(place) => telegram::reply(to, place, text),
                None => telegram::plain(to, text),
            };
            ("sendMessage", body)
        }
    };
    let called = call(open.channels, &open.token, method, body, WITHIN).await;
    match called {
        Attempt::Done(result) => {
            let place = result.get("message_id").and_then(Value::as_i64);
            Attempt::Done(place.map(|place| place.to_string()))
        }
        Attempt::Again(asked, why) => Attempt::Again(asked, why),
        Attempt::Never(why) => Attempt::Never(why),
    }
}

/// Tells whoever pressed a button what came of it.
pub(super) async fn answer(channels: &Channels, token: &str, query: &str, text: &str) {
    let body = telegram::answer(query, text);
    let mut called = call(channels, token, "answerCallbackQuery", body.clone(), WITHIN).await;
    if let Attempt::Again(asked, _) = &called {
        // The circle on the button turns for some seconds only.
        let wait = asked.unwrap_or(500);
        if wait <= 5000 {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            called = call(channels, token, "answerCallbackQuery", body, WITHIN).await;
        }
    }
    if let Attempt::Again(_, why) | Attempt::Never(why) = called {
        eprintln!("placet: a press was dealt with and not answered: {why}");
    }
}

/// Asks for updates from number `next` on; `patiently`, until there is one.
pub(super) async fn updates(
    channels: &Channels,
    token: &str,
    next: Option<u64>,
    patiently: bool,
) -> Attempt<Value> {
    let seconds = if patiently { POLL_SECONDS } else { 0 };
    let within = Duration::from_secs(u64::from(seconds)) + WITHIN;
    let body = telegram::get_updates(next, seconds);
    call(channels, token, "getUpdates", body, within).await
}

async fn call(
    channels: &Channels,
    token: &str,
    method: &str,
    body: Object,
    within: Duration,
) -> Attempt<Value> {
    let sound = token.contains(':')
        && token.bytes().all(|b| b.is_ascii_alphanumeric() || b":_-".contains(&b));
    if !sound {
        return Attempt::Again(None, "the secret is no token of a bot: 123456:ABC…".to_owned());
    }
    let url = format!("{}/bot{token}/{method}", channels.options.telegram);
    let body = Bytes::from(Value::Object(body).to_canonical());
    match send(&channels.options.outbound, &url, "application/json", &[], body, within).await {
        Err(error) => Attempt::Again(None, error.to_string()),
        Ok((status, _, body)) => telegram::judge(status, &body),
    }
}

/// Posts `body`; status, header `Retry-After` and body of the answer.
pub(super) async fn send(
    outbound: &Outbound,
    url: &str,
    kind: &'static str,
    headers: &[(&'static str, String)],
    body: Bytes,
    within: Duration,
) -> Result<(u16, Option<String>, Bytes), OutboundError> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .header(header::CONTENT_TYPE, kind)
        .header(header::USER_AGENT, concat!("placet/", env!("CARGO_PKG_VERSION")));
    for (name, value) in headers {
        let mut value = HeaderValue::from_str(value).map_err(|_| OutboundError::Address)?;
        value.set_sensitive(true);
        request = request.header(*name, value);
    }
    let request = request.body(body).map_err(|_| OutboundError::Address)?;
    let bounds = Bounds { within, answer_max: ANSWER_MAX };
    let answer = outbound.send(request, bounds).await?;
    let after = answer.headers().get(header::RETRY_AFTER);
    let after = after.and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok((answer.status().as_u16(), after, answer.into_body()))
}
