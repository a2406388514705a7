//! What a case says of the server's own stores: evidence that its request presents, and the release that it is
//! about. Owns the defaults; refuses to know what counts.

use placet_types::evidence::{FOUND_MAX, Found, FoundEvidence, is_evidence_type};
use placet_types::ids::{ActorId, EvidenceId, TimeMs};
use placet_types::json::{Object, Value};
use placet_types::{Caller, Digest, Hasher, Request};

/// How long a piece counts where a case does not say: as long as one that is added without an end.
const LIFE_MS: u64 = 90 * 24 * 3_600_000;
/// Stands for what a change is about that is no digest by itself: nothing here can hash it, and nothing has to,
/// as all that a case says is about the same.
const WHOLE_CHANGE: Digest = Digest([0xff; 32]);

#[derive(Clone, Copy)]
struct NoHash;

impl Hasher for NoHash {
    fn sha256(_: &[&[u8]]) -> [u8; 32] {
        WHOLE_CHANGE.0
    }

    fn hmac(_: &[u8], _: &[&[u8]]) -> [u8; 32] {
        WHOLE_CHANGE.0
    }
}

/// What the stores say to a request of a case at `at`; nothing where the case says nothing of them.
pub(super) fn found(
    of: &Value,
    request: &Request,
    caller: &Caller,
    at: TimeMs,
) -> Result<Found, String> {
    let mut found = Found::default();
    if let Some(release) = of.get("release") {
        let name = release.get("name").and_then(Value::as_str).ok_or("release: no name")?;
        let complete = release.get("complete").and_then(Value::as_bool).unwrap_or(false);
        // What the log does not know of its papers is empty, but for the change, which is not there.
        let list =
            |key: &str| release.get(key).cloned().unwrap_or_else(|| Value::Array(Vec::new()));
        let change = release.get("change_surface").and_then(Value::as_str);
        let fact = Object::new()
            .with("name", name)
            .with("complete", complete)
            .with_opt("change_surface", change)
            .with("approval_surfaces", list("approval_surfaces"))
            .with("evaluation_types", list("evaluation_types"));
        found.facts.set("release", fact);
    }
    let Some(pieces) = of.get("evidence").and_then(Value::as_array) else { return Ok(found) };
    if pieces.len() > FOUND_MAX {
        return Err(format!("evidence: at most {FOUND_MAX} pieces are looked at"));
    }
    found.subject = request.subject::<NoHash>();
    for (number, piece) in pieces.iter().enumerate() {
        let piece = self::piece(piece, number, (found.subject, request, caller), at)
            .map_err(|why| format!("evidence[{number}]: {why}"))?;
        found.evidence.push(piece);
    }
    for item in &request.evidence {
        let text = |key: &str| item.get(key).and_then(Value::as_str);
        let (kind, digest) = (text("type"), text("digest").and_then(Digest::parse));
        let is_there = |it: &FoundEvidence| Some(&*it.kind) == kind && Some(it.digest) == digest;
        if text("id").is_some() || !found.evidence.iter().any(is_there) {
            let kind = kind.filter(|it| is_evidence_type(it));
            found.unknown.push(kind.map(str::to_owned));
        }
    }
    Ok(found)
}

fn piece(
    of: &Value,
    number: usize,
    (about, request, caller): (Option<Digest>, &Request, &Caller),
    at: TimeMs,
) -> Result<FoundEvidence, String> {
    let text = |key: &str| of.get(key).and_then(Value::as_str);
    let flag = |key: &str| of.get(key).and_then(Value::as_bool).unwrap_or(false);
    let time = |key: &str, default: u64| of.get(key).and_then(Value::as_u64).unwrap_or(default);
    let digest = |key: &str| match text(key) {
        None => Ok(None),
        Some(text) => Digest::parse(text)
            .map(Some)
            .ok_or_else(|| format!("`{key}` is no digest: sha256: and 64 hex digits")),
    };
    let kind = text("type").filter(|it| is_evidence_type(it)).ok_or("`type` is no type")?;
    let issuer = text("issuer").and_then(ActorId::parse).ok_or("`issuer` is no actor")?;
    let issued = at.0.checked_sub(time("age", 0)).map(TimeMs).ok_or("it was issued before 1970")?;
    let subject = match digest("subject")? {
        Some(_) if about == Some(WHOLE_CHANGE) => {
            return Err("leave `subject` out, or let `change` be a digest: what its change is \
                        about is known to the server alone"
                .to_owned());
        }
        Some(subject) => subject,
        // A request that is about nothing has no evidence, whatever is presented.
        None => about.unwrap_or(Digest([0; 32])),
    };
    let place = u8::try_from(number).unwrap_or(u8::MAX);
    let asking = std::iter::once(&caller.actor).chain(&caller.chain).chain(&request.on_behalf_of);
    Ok(FoundEvidence {
        id: EvidenceId::from_bytes([place; 16]),
        kind: kind.to_owned(),
        digest: digest("digest")?.unwrap_or(Digest([place; 32])),
        subject,
        own: asking.into_iter().any(|it| *it == issuer),
        issuer: issuer.to_string(),
        issued,
        expires: issued.plus(time("life", LIFE_MS)),
        attested: flag("attested"),
        revoked: flag("revoked"),
    })
}
