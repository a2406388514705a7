//! What was decided before, as cases have it and as explanations are asked with: a list of requests, each so
//! long ago. Owns its form outside of documents.

use crate::cases::Earlier;
use placet_types::duration::duration_ms;
use placet_types::ids::{ActorId, TimeMs, is_label};
use placet_types::json::Value;
use placet_types::{Caller, Request};

/// Most requests before one that is explained.
const EARLIER_MAX: u64 = 2000;

impl Earlier {
    /// Reads `[{ago, request, caller?, times?}]`: `ago` is a duration such as `10m` or an integer of
    /// milliseconds before `at`; whoever is not named is `caller`. In the order of time.
    ///
    /// # Errors
    /// A JSON pointer below the list, and what is wrong there.
    pub fn list(value: &Value, caller: &Caller, at: TimeMs) -> Result<Vec<Self>, (String, String)> {
        let fault = |pointer: &str, why: &str| (pointer.to_owned(), why.to_owned());
        let items = value.as_array().ok_or_else(|| fault("", "expected a list"))?;
        let (mut out, mut before_all) = (Vec::new(), 0_u64);
        for (number, item) in items.iter().enumerate() {
            let wrong = |key: &str, why: &str| (format!("/{number}{key}"), why.to_owned());
            let fields = item.as_object().ok_or_else(|| wrong("", "expected an object"))?;
            let known = ["ago", "caller", "request", "times"];
            if let Some((key, _)) = fields.iter().find(|(key, _)| !known.contains(key)) {
                return Err(wrong(&format!("/{key}"), "known are ago, request, caller, times"));
            }
            let ago = match fields.get("ago") {
                Some(Value::String(text)) => duration_ms(text),
                Some(value) => value.as_u64(),
                None => None,
            };
            let before = ago.and_then(|ago| at.0.checked_sub(ago));
            let before = before.ok_or_else(|| wrong("/ago", "expected a duration such as 10m"))?;
            let times = match fields.get("times") {
                None => 1,
                Some(value) => value
                    .as_u64()
                    .filter(|times| (1..=2000).contains(times))
                    .ok_or_else(|| wrong("/times", "expected 1 to 2000"))?,
            };
            let caller = other(fields.get("caller"), caller)
                .ok_or_else(|| wrong("/caller", "expected actor, environment and roles"))?;
            before_all = before_all.saturating_add(times);
            if before_all > EARLIER_MAX {
                return Err(fault("", "at most 2000 requests before"));
            }
            let body = fields.get("request").and_then(Value::as_object);
            let mut body =
                body.ok_or_else(|| wrong("/request", "expected an execution request"))?.clone();
            // Retries of one key would be one request.
            let key = format!("history-{number}");
            body.set("idempotency_key", key.as_str());
            let request = Request::read(Value::Object(body), &caller).map_err(|error| {
                wrong(&format!("/request{}", error.field()), &error.to_string())
            })?;
            let (at, key) = (TimeMs(before), Some(key));
            out.push(Self { at, caller, outcome: None, times, request, key });
        }
        out.sort_by_key(|step| step.at);
        Ok(out)
    }
}

fn other(value: Option<&Value>, caller: &Caller) -> Option<Caller> {
    let mut out = caller.clone();
    let Some(value) = value else { return Some(out) };
    for (key, value) in value.as_object()?.iter() {
        match (key, value) {
            ("actor", Value::String(text)) => out.actor = ActorId::parse(text)?,
            ("environment", Value::String(text)) if is_label(text) => {
                out.environment = text.clone()
            }
            ("roles", Value::Array(items)) => {
                out.roles = items
                    .iter()
                    .map(|item| item.as_str().map(str::to_owned))
                    .collect::<Option<_>>()?;
            }
            _ => return None,
        }
    }
    Some(out)
}
