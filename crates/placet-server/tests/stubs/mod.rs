//! Peers as strict as the real ones, in this process: Telegram's Bot API, Slack's API, a receiver of
//! webhooks. Tests script their failures and look at what arrived; `serve.rs` serves them to
//! independent clients.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub(crate) mod receiver;
pub(crate) mod slack;
pub(crate) mod telegram;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// What a peer does with the next call instead of what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 429, to come back after so many seconds.
    Slow(u64),
    /// This status and no sense.
    Broken(u16),
    /// It does what was asked and says so with a malformed body.
    Garbled,
}

/// Serves `router` on a port of its own.
pub(crate) async fn serve(router: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = placet_server::ServerOptions::default();
    tokio::spawn(async move {
        placet_server::serve_router(listener, router, &options, std::future::pending()).await
    });
    address
}

/// The parameters of a call: a JSON body, or a form whose values may be JSON themselves.
pub(crate) fn parameters(headers: &HeaderMap, body: &Bytes) -> Option<Map<String, Value>> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or("");
    if body.is_empty() {
        return Some(Map::new());
    }
    if kind.starts_with("application/json") {
        return serde_json::from_slice(body).ok();
    }
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return None;
    }
    let text = std::str::from_utf8(body).ok()?;
    let pairs = text.split('&').map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (decoded(name)?, decoded(value)?);
        let structured = value.starts_with(['{', '[']);
        let json = structured.then(|| serde_json::from_str(&value).ok()).flatten();
        Some((name, json.unwrap_or(Value::String(value))))
    });
    pairs.collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
            }
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

pub(crate) fn json(status: u16, body: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::from_u16(status).unwrap(), kind, body.to_string()).into_response()
}
