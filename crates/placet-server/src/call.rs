//! One call: its head and body, read strictly and within bounds. Owns parsing of bodies, paths,
//! queries and headers; refuses to know who calls and what for.

use crate::problem::Problem;
use crate::server::Server;
use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, Limited};
use placet_runtime::Workspace;
use placet_types::json::{self, Limits, Object, Value};
use placet_types::{Digest, duration};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// A body that says that it is no longer needs no place among those of all calls: the bound on
/// connections bounds them too, and nobody's large bodies keep a kill out.
const SMALL: u64 = 4096;

/// A call on its way to a handler.
pub(crate) struct Call {
    pub(crate) server: Arc<Server>,
    pub(crate) parts: Parts,
    /// In a cell of its own, since a body may be sent to but not shared between threads.
    body: Mutex<Body>,
    /// What the body counts against the bytes of all calls, until this one ends.
    place: Option<OwnedSemaphorePermit>,
    /// The workspace of the caller, once it is known, for the head of the answer.
    pub(crate) seen: Arc<OnceLock<Arc<Workspace>>>,
}

impl Call {
    pub(crate) fn new(server: Arc<Server>, request: axum::extract::Request) -> Self {
        let (parts, body) = request.into_parts();
        Self { server, parts, body: Mutex::new(body), place: None, seen: Arc::default() }
    }

    /// Segment `at` of the path, decoded; 0 is `api`.
    pub(crate) fn segment(&self, at: usize) -> Result<String, Problem> {
        let not_found = || Problem::new("not_found", "there is no such thing in this workspace");
        let segment = self.parts.uri.path().split('/').nth(at + 1).ok_or_else(not_found)?;
        decoded(segment).ok_or_else(not_found)
    }

    /// The value of a query parameter; unknown ones are refused by [`Call::query`].
    pub(crate) fn query(&self, known: &[&str]) -> Result<Query, Problem> {
        let mut pairs = Vec::new();
        for pair in self.parts.uri.query().unwrap_or_default().split('&').filter(|p| !p.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let bad = || Problem::invalid("?", "a query parameter is not valid utf-8");
            let (name, value) = (decoded(name).ok_or_else(bad)?, plus(value).ok_or_else(bad)?);
            let field = format!("?{name}");
            if !known.contains(&name.as_str()) {
                let text = format!("no parameter here; known are: {}", known.join(", "));
                return Err(Problem::new("field_unknown", text).at(&field));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(Problem::invalid(&field, "given twice"));
            }
            pairs.push((name, value));
        }
        Ok(Query(pairs))
    }

    /// The value of a header that may occur once.
    pub(crate) fn header(&self, name: &str) -> Result<Option<&str>, Problem> {
        header_of(&self.parts.headers, name)
    }

    /// The body as strict JSON; `None` when it is empty.
    pub(crate) async fn json(&mut self) -> Result<Option<Value>, Problem> {
        self.json_up_to(self.server.options.body_max).await
    }

    async fn json_up_to(&mut self, max: usize) -> Result<Option<Value>, Problem> {
        let bytes = self.body_up_to(max).await?;
        parsed(&bytes, max)
    }

    /// The body as it came, not looked at yet.
    pub(crate) async fn body_bytes(&mut self) -> Result<Bytes, Problem> {
        self.body_up_to(self.server.options.body_max).await
    }

    /// A body that was read, as strict JSON; `None` when it is empty.
    pub(crate) fn parsed(&self, bytes: &[u8]) -> Result<Option<Value>, Problem> {
        parsed(bytes, self.server.options.body_max)
    }

    async fn body_up_to(&mut self, max: usize) -> Result<Bytes, Problem> {
        if let Some(kind) = self.parts.headers.get(header::CONTENT_TYPE) {
            let kind = kind.to_str().unwrap_or_default();
            let essence = kind.split(';').next().unwrap_or_default().trim();
            if !essence.eq_ignore_ascii_case("application/json") {
                let text = "send the body as application/json";
                return Err(Problem::new("unsupported_media_type", text));
            }
        }
        self.bytes(max).await
    }

    /// The body as a JSON object with no other members than `known`.
    pub(crate) async fn object(&mut self, known: &[&str]) -> Result<Object, Problem> {
        self.object_up_to(self.server.options.body_max, known).await
    }

    /// As [`object`](Self::object), for the few calls whose bodies may be larger than others'.
    pub(crate) async fn object_up_to(
        &mut self,
        max: usize,
        known: &[&str],
    ) -> Result<Object, Problem> {
        let fields = match self.json_up_to(max).await? {
            None => Object::new(),
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(Problem::new("field_invalid", "the body must be a JSON object")),
        };
        for (name, value) in fields.iter() {
            let field = format!("/{name}");
            if !known.contains(&name) {
                let text = format!("no field here; known are: {}", known.join(", "));
                return Err(Problem::new("field_unknown", text).at(&field));
            }
            if *value == Value::Null {
                return Err(Problem::invalid(&field, "null is refused; leave the field out"));
            }
        }
        Ok(fields)
    }

    /// The body as it came, whatever it says that it is.
    pub(crate) async fn raw(&mut self, max: usize) -> Result<Bytes, Problem> {
        self.bytes(max).await
    }

    async fn bytes(&mut self, max: usize) -> Result<Bytes, Problem> {
        let too_large =
            || Problem::new("body_too_large", format!("a body may have at most {max} bytes"));
        let declared = self.parts.headers.get(header::CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > max as u64) {
            return Err(too_large());
        }
        if declared.is_none_or(|length| length > SMALL) {
            let kib = declared.unwrap_or(max as u64).min(max as u64) / 1024 + 1;
            let kib = u32::try_from(kib).unwrap_or(u32::MAX);
            let Ok(place) = self.server.bodies.clone().try_acquire_many_owned(kib) else {
                return Err(Problem::overloaded("too many bodies at once; come back later"));
            };
            self.place = Some(place);
        }
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        let body = std::mem::replace(body, Body::empty());
        match tokio::time::timeout(BODY_TIME, Limited::new(body, max).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Problem::new("json_malformed", "the body broke off")),
            Err(_) => Err(Problem::new("request_timeout", "the body did not arrive in 10 seconds")),
        }
    }
}

/// The value of a header that may occur once.
pub(crate) fn header_of<'a>(
    headers: &'a HeaderMap,
    name: &str,
) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bad = |why: &str| Problem::header(name, why);
    if values.next().is_some() {
        return Err(bad("given twice"));
    }
    value.to_str().map(Some).map_err(|_| bad("not plain text"))
}

/// Parameters of a query string.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn parsed<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let invalid = || Problem::invalid(&format!("?{name}"), format!("expected {expected}"));
        parse(text).map(Some).ok_or_else(invalid)
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        self.parsed(name, "a number", |text| text.parse().ok().filter(|n| *n <= 1 << 53))
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        let flag = self.parsed(name, "true or false", |text| match text {
            "true" | "1" | "" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        })?;
        Ok(flag.unwrap_or(false))
    }

    /// A page size, between 1 and `max`.
    pub(crate) fn limit(&self, default: usize, max: usize) -> Result<usize, Problem> {
        let text = format!("a number from 1 to {max}");
        let limit = self.parsed("limit", &text, |text| {
            text.parse().ok().filter(|limit| (1..=max).contains(limit))
        })?;
        Ok(limit.unwrap_or(default))
    }
}

/// A string member of an object that was read.
pub(crate) fn text(fields: &mut Object, name: &str, max: usize) -> Result<Option<String>, Problem> {
    match fields.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= max => Ok(Some(text)),
        Some(_) => {
            let expected = format!("expected a string of up to {max} bytes");
            Err(Problem::invalid(&format!("/{name}"), expected))
        }
    }
}

/// A string member that must be there.
pub(crate) fn required(fields: &mut Object, name: &str, max: usize) -> Result<String, Problem> {
    text(fields, name, max)?
        .ok_or_else(|| Problem::missing(&format!("/{name}"), format!("{name} is required")))
}

/// SHA-256 of a nonce given as a member or as a header.
pub(crate) fn nonce(text: Option<&str>) -> Result<Option<Digest>, Problem> {
    match text {
        None => Ok(None),
        Some(text) if (16..=200).contains(&text.len()) => {
            Ok(Some(placet_runtime::nonce_hash(text)))
        }
        Some(_) => {
            Err(Problem::invalid("/attempt_nonce", "expected a random string of 16 to 200 bytes"))
        }
    }
}

/// Milliseconds of `250ms`, `25s`, `5m`, `1h`, `30d`; plain numbers are seconds.
pub(crate) fn duration_ms(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse::<u64>().ok()?.checked_mul(1000) } else { duration::duration_ms(text) }
}

fn plus(text: &str) -> Option<String> {
    decoded(&text.replace('+', " "))
}

fn decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let value = digit(bytes.next())? * 16 + digit(bytes.next())?;
        out.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(out).ok()
}

fn parsed(bytes: &[u8], max: usize) -> Result<Option<Value>, Problem> {
    if bytes.is_empty() {
        return Ok(None);
    }
    Ok(Some(json::parse(bytes, Limits { bytes_max: max, ..Limits::REQUEST })?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_escapes() {
        let read = ["25s", "250ms", "2", "1h", "30d", "", "5x", "s"].map(duration_ms);
        let seconds = [25_000, 250, 2000, 3_600_000, 2_592_000_000].map(Some);
        assert_eq!(read[..5], seconds);
        assert_eq!(read[5..], [None; 3]);
        assert_eq!(decoded("a%20b%C3%A4").as_deref(), Some("a bä"));
        assert_eq!(decoded("%4"), None);
        assert_eq!(decoded("%ff"), None);
    }
}
