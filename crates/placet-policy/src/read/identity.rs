//! What keys of an issuer have to do with each other and with those of other issuers. Each value by
//! itself is read by its shape.

use super::roles::{child, items};
use crate::diagnostic::{Code, Place, Report};
use crate::notify::is_loopback;
use crate::syntax::{Data, Node};
use std::collections::BTreeMap;

/// Issuers of a bundle.
const ISSUERS_MAX: usize = 64;
/// Grants of an issuer.
const GRANTS_MAX: usize = 1000;
/// How much clocks may differ, and how long a session may live, in milliseconds.
const LEEWAY_MS_MAX: u64 = 300_000;
const LIFE_MS_MAX: u64 = 7 * 86_400_000;

/// What was seen of issuers.
#[derive(Default)]
pub(super) struct Issuers {
    /// Issuer and audience, which tell whom a token is for.
    trusted: BTreeMap<(String, String), Place>,
    /// Kind and prefix, which tell actors of one issuer from those of another.
    named: BTreeMap<(String, String), (String, Place)>,
}

fn text_of(node: Option<&Node>) -> Option<(&str, Place)> {
    match node.map(|node| (&node.value, node.place)) {
        Some((Data::Text { text, .. }, place)) => Some((text.as_str(), place)),
        _ => None,
    }
}

impl Issuers {
    /// Looks at a section; durations are compared in the normal form, where they are numbers.
    pub(super) fn collect(&mut self, node: &Node, report: &mut Report<'_>) {
        for entry in items(Some(node)) {
            self.issuer(entry, report);
        }
    }

    fn issuer(&mut self, entry: &Node, report: &mut Report<'_>) {
        let url = text_of(child(entry, "issuer"));
        for (url, place) in url.into_iter().chain(text_of(child(entry, "jwks_uri"))) {
            if let Err(why) = is_address(url) {
                report.error_hint(Code::Conflict, place, why, "https://host/path");
            }
        }
        let audience = text_of(child(entry, "audience")).map_or("", |(text, _)| text);
        if let Some((url, place)) = url {
            let key = (url.to_owned(), audience.to_owned());
            if let Some(first) = self.trusted.insert(key, place) {
                let message = format!(
                    "issuer and audience are those of the issuer at line {}: a token would be of both",
                    first.line
                );
                report.error(Code::Conflict, place, message);
            }
        }
        let grants = child(entry, "grants");
        if items(grants).count() > GRANTS_MAX {
            let message = format!("an issuer has at most {GRANTS_MAX} grants");
            report.error(Code::Bound, entry.place, message);
        }
        if let Some(Node { value: Data::List(all), place }) = grants
            && all.is_empty()
        {
            let hint = "name a claim, its value and the roles that it gives";
            let message = "`grants` is empty, so nobody signs in";
            report.error_hint(Code::Conflict, *place, message, hint);
        }
        let algorithms = child(entry, "algorithms");
        if let Some(Node { value: Data::List(all), place }) = algorithms
            && all.is_empty()
        {
            let hint = "leave the key out for all of them";
            let message = "`algorithms` names none, so no token is good";
            report.error_hint(Code::Conflict, *place, message, hint);
        }
        for (claim, place) in items(grants)
            .filter_map(|it| text_of(child(it, "claim")))
            .chain(text_of(child(entry, "name")))
        {
            if claim.starts_with('/') && claim.split('/').skip(1).any(str::is_empty) {
                let message = format!("`{claim}` is no JSON pointer to a claim");
                report.error_hint(Code::Conflict, place, message, "/realm_access/roles");
            }
        }
        self.apart(entry, report);
    }

    /// Two issuers that could name one actor would each speak for the other's.
    fn apart(&mut self, entry: &Node, report: &mut Report<'_>) {
        let Some((id, place)) = text_of(child(entry, "id")) else { return };
        let prefix = text_of(child(entry, "prefix")).map_or("", |(prefix, _)| prefix);
        let actor = text_of(child(entry, "actor")).map_or("human", |(actor, _)| actor);
        let delegates = text_of(child(entry, "delegates")).map_or("agent", |(kind, _)| kind);
        for kind in [actor, delegates] {
            let key = (kind.to_owned(), prefix.to_owned());
            match self.named.get(&key) {
                Some((other, first)) if other != id => {
                    let message = format!(
                        "the issuer at line {} could name the same {kind}s as `{id}`",
                        first.line
                    );
                    let hint = "give one of them a `prefix`";
                    report.error_hint(Code::Conflict, place, message, hint);
                }
                Some(_) => {}
                None => {
                    self.named.insert(key, (id.to_owned(), place));
                }
            }
        }
    }
}

/// Bounds that are compared once durations are numbers.
pub(super) fn check(
    documents: &BTreeMap<&'static str, placet_types::json::Value>,
    report: &mut Report<'_>,
) {
    use placet_types::json::Value;
    let all = documents.get("identity").and_then(Value::as_array).unwrap_or_default();
    if all.len() > ISSUERS_MAX {
        let message = format!("a bundle has at most {ISSUERS_MAX} issuers");
        report.error(Code::Bound, Place::default(), message);
    }
    for issuer in all {
        let id = issuer.get("id").and_then(Value::as_str).unwrap_or_default();
        for (key, most, says) in [
            ("leeway", LEEWAY_MS_MAX, "5m"),
            ("max_life", LIFE_MS_MAX, "7d"),
            ("session", LIFE_MS_MAX, "7d"),
        ] {
            if issuer.get(key).and_then(Value::as_u64).is_some_and(|ms| ms > most) {
                let message = format!("`{key}` of the issuer `{id}` is more than {says}");
                report.error(Code::Bound, Place::default(), message);
            }
        }
    }
}

/// An address whose answer can be believed: nobody on the way may put other keys into it.
fn is_address(url: &str) -> Result<(), &'static str> {
    let (host, here) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, true),
        (_, Some(rest)) => (rest, false),
        _ => return Err("an issuer is an https:// URL"),
    };
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.contains('@') || url.contains(char::is_whitespace) {
        return Err("an issuer is an https:// URL with a host and without a user name");
    }
    if url.contains(['?', '#']) {
        return Err("an issuer is a URL without a query and a fragment");
    }
    if !here && !is_loopback(host) {
        return Err("plain http is for an issuer on this machine alone");
    }
    Ok(())
}
