//! Evidence over HTTP: adding, reading, taking back, and the keys of issuers. Owns which form a body has and
//! who reads what travels beside an entry; refuses to know what counts.

use crate::auth::{Act, OVERSEERS, Session};
use crate::call::{self, Call};
use crate::decisions::admit;
use crate::document;
use crate::governed::{USED_UP, idempotency_key, permitted, random, report};
use crate::names::Names;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{
    EvidenceDocument, EvidenceList, IdText, Instant, IssuerKeyDocument, IssuerKeyList, Sha,
    StatusDocument,
};
use placet_engine::EvidencePiece;
use placet_runtime::crypto::Fast;
use placet_runtime::{AddSpec, PlaneError, issuer_request};
use placet_tlog::VerifierKey;
use placet_tlog::envelope::{Envelope, EnvelopeError};
use placet_types::Digest;
use placet_types::event::PayloadErased;
use placet_types::evidence::is_evidence_type;
use placet_types::ids::{ActorId, EvidenceId, TimeMs};
use placet_types::json::{Object, Value};
use serde_json::value::RawValue;

/// Most pieces of one page.
const PAGE_MAX: usize = 200;
/// Most pieces that are looked through for one page; the next one goes on from there.
const LOOKED_MAX: usize = 100_000;
/// Longest note.
const NOTE_MAX: usize = 2000;

/// `POST /api/v1/evidence`
pub(crate) async fn add(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    admit(&call, &session, 1)?;
    let known = ["digest", "envelope", "expires", "issued", "issuer", "note", "subject", "type"];
    let mut fields = call.object(&known).await?;
    let spec = match fields.remove("envelope") {
        Some(envelope) => signed(envelope, &mut fields)?,
        None => own(&mut fields, &session)?,
    };
    let plane = &call.server.plane;
    let piece = plane.add_evidence(&session.workspace, &session.principal, spec).await?;
    let names = Names::of(&call.server, &session);
    document::answer(StatusCode::CREATED, &build(&piece, &names, plane.now()))
}

/// The caller's own word.
fn own(fields: &mut Object, session: &Session) -> Result<AddSpec, Problem> {
    let kind = call::required(fields, "type", 64)?;
    if !is_evidence_type(&kind) {
        let text = "expected 1 to 64 letters, digits, '.', '_' and '-': test_report";
        return Err(Problem::invalid("/type", text));
    }
    let own = &session.principal.caller.actor;
    if let Some(issuer) = call::text(fields, "issuer", 200)?
        && issuer != own.as_str()
    {
        let text = format!("without an envelope it is the word of {own}; leave it out, or sign");
        return Err(Problem::invalid("/issuer", text));
    }
    Ok(AddSpec::Own {
        kind,
        digest: demanded(fields, "digest")?,
        subject: demanded(fields, "subject")?,
        issued: instant(fields, "issued")?,
        expires: instant(fields, "expires")?,
        note: call::text(fields, "note", NOTE_MAX)?,
    })
}

/// The word of whoever signed it.
fn signed(envelope: Value, fields: &mut Object) -> Result<AddSpec, Problem> {
    for name in ["digest", "expires", "issued", "note", "type"] {
        if fields.get(name).is_some() {
            let text = "an envelope says this itself; what is not signed is not believed";
            return Err(Problem::invalid(&format!("/{name}"), text));
        }
    }
    let refused = |error: EnvelopeError| {
        Problem::invalid(&format!("/envelope{}", error.field()), error.to_string())
    };
    let read = Envelope::parse(&envelope).map_err(refused)?;
    let statement = read.statement::<Fast>().map_err(refused)?;
    let issuer = match call::text(fields, "issuer", 200)? {
        None => None,
        Some(text) => Some(actor(&text, "/issuer")?),
    };
    let subject = digest(fields, "subject")?;
    Ok(AddSpec::Signed { envelope, read: Box::new((read, statement)), subject, issuer })
}

fn demanded(fields: &mut Object, name: &str) -> Result<Digest, Problem> {
    let text = format!("{name} is required: sha256: and 64 hex digits");
    digest(fields, name)?.ok_or_else(|| Problem::missing(&format!("/{name}"), text))
}

fn digest(fields: &mut Object, name: &str) -> Result<Option<Digest>, Problem> {
    let Some(text) = call::text(fields, name, 80)? else { return Ok(None) };
    let expected = || Problem::invalid(&format!("/{name}"), "expected sha256: and 64 hex digits");
    Digest::parse(&text).map(Some).ok_or_else(expected)
}

fn instant(fields: &mut Object, name: &str) -> Result<Option<TimeMs>, Problem> {
    let Some(text) = call::text(fields, name, 40)? else { return Ok(None) };
    let expected = "expected an instant: 2027-01-31T12:00:00Z";
    let parsed = TimeMs::parse_rfc3339(&text);
    parsed.map(Some).ok_or_else(|| Problem::invalid(&format!("/{name}"), expected))
}

fn actor(text: &str, field: &str) -> Result<ActorId, Problem> {
    let expected = || Problem::invalid(field, "expected an actor: service:name, human:name");
    ActorId::parse(text).ok_or_else(expected)
}

/// `GET /api/v1/evidence`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    admit(&call, &session, 1)?;
    let query = call.query(&["about", "cursor", "limit", "type"])?;
    let limit = query.limit(50, PAGE_MAX)?;
    let before = query.parsed("cursor", "an evidence id", EvidenceId::parse)?;
    let about = query.parsed("about", "sha256: and 64 hex digits", Digest::parse)?;
    let kind = query.get("type").map(str::to_owned);
    let plane = &call.server.plane;
    let store = plane.evidence(&session.workspace);
    let looked = move || {
        let (mut page, mut next) = (Vec::new(), None);
        for (at, piece) in store.newest(before).enumerate() {
            if page.len() >= limit || at >= LOOKED_MAX {
                break;
            }
            next = Some(piece.id);
            let fits = about.is_none_or(|it| it == piece.subject)
                && kind.as_ref().is_none_or(|it| *it == piece.kind);
            if fits {
                page.push(piece);
            }
        }
        let more = next.is_some_and(|last| store.newest(Some(last)).next().is_some());
        Ok((page, next.filter(|_| more)))
    };
    let (page, next) = document::blocking(&call.server, looked).await?;
    let names = Names::of(&call.server, &session);
    let evidence = page.iter().map(|piece| build(piece, &names, plane.now())).collect();
    let next_cursor = next.map(|id| id.to_string());
    document::answer(StatusCode::OK, &EvidenceList { evidence, next_cursor })
}

/// `GET /api/v1/evidence/{id}`
pub(crate) async fn get(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let plane = call.server.plane.clone();
    let id = evidence_id(&call)?;
    let piece = plane.evidence(&session.workspace).get(&id);
    let piece = piece.ok_or(PlaneError::NotFound("evidence"))?;
    let names = Names::of(&call.server, &session);
    let mut document = build(&piece, &names, plane.now());
    let workspace = session.workspace.clone();
    let read = move || plane.evidence_payload(&workspace, &piece);
    if let Some(payload) = document::blocking(&call.server, read).await? {
        let own = payload.get("actor").and_then(Value::as_str);
        let own = own == Some(session.principal.caller.actor.as_str());
        if own || session.has_any(&OVERSEERS) {
            document.note = payload.get("note").and_then(Value::as_str).map(str::to_owned);
            let envelope = payload.get("envelope").map(Value::to_text);
            document.envelope = envelope.and_then(|text| RawValue::from_string(text).ok());
        }
    }
    document::answer(StatusCode::OK, &document)
}

fn evidence_id(call: &Call) -> Result<EvidenceId, Problem> {
    let missing = || Problem::from(PlaneError::NotFound("evidence"));
    EvidenceId::parse(&call.segment(3)?).ok_or_else(missing)
}

/// `POST /api/v1/evidence/{id}/revoke`
pub(crate) async fn revoke(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let id = evidence_id(&call)?;
    let mut fields = call.object(&["note", "reason"]).await?;
    let reason = call::required(&mut fields, "reason", 64)?;
    if !PayloadErased::is_reason(&reason) {
        let text = "expected a code of 1 to 64 lower-case letters, digits, '.', '_' and '-'";
        return Err(Problem::invalid("/reason", text));
    }
    let note = call::text(&mut fields, "note", NOTE_MAX)?;
    let plane = &call.server.plane;
    let (workspace, principal) = (&session.workspace, &session.principal);
    let piece = plane.revoke_evidence(workspace, principal, id, reason, note).await?;
    let names = Names::of(&call.server, &session);
    document::answer(StatusCode::OK, &build(&piece, &names, plane.now()))
}

/// `GET /api/v1/evidence/keys`
pub(crate) async fn keys(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let names = Names::of(&call.server, &session);
    let name = |who: &str| names.get(who);
    let store = call.server.plane.evidence(&session.workspace);
    let keys = store.keys().map(|it| IssuerKeyDocument {
        issuer: name(it.issuer.as_str()),
        key: it.key.clone(),
        by: name(it.by.as_str()),
        since: Instant(it.since),
        revoked: it.revoked,
    });
    document::answer(StatusCode::OK, &IssuerKeyList { keys: keys.collect() })
}

/// `POST /api/v1/evidence/keys`: asks for a decision on `key.issuer`.
pub(crate) async fn trust(call: Call) -> Result<Response, Problem> {
    change(call, true).await
}

/// `POST /api/v1/evidence/keys/revoke`
pub(crate) async fn distrust(call: Call) -> Result<Response, Problem> {
    change(call, false).await
}

async fn change(mut call: Call, trust: bool) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    session.demand(&["admin"])?;
    let mut fields = call.object(&["idempotency_key", "issuer", "key"]).await?;
    let idempotency = idempotency_key(&call, call::text(&mut fields, "idempotency_key", 200)?)?;
    let issuer = actor(&call::required(&mut fields, "issuer", 200)?, "/issuer")?;
    let key = call::required(&mut fields, "key", 400)?;
    let key = VerifierKey::parse::<Fast>(&key)
        .map_err(|error| Problem::invalid("/key", format!("expected a verifier key: {error}")))?
        .to_string();
    let plane = call.server.plane.clone();
    let (workspace, principal) = (&session.workspace, &session.principal);
    let store = plane.evidence(workspace);
    let known = store.keys().find(|it| it.key == key);
    if !trust && known.is_none() {
        return Err(PlaneError::NotFound("issuer key").into());
    }
    if known.is_none_or(|it| it.revoked == trust) {
        let body = issuer_request(&issuer, &key, trust, idempotency, random());
        let decision = match permitted(&call, &session, body, USED_UP).await? {
            Ok(decision) => decision,
            Err(response) => return Ok(response),
        };
        let changed =
            plane.change_issuer(workspace, principal, &issuer, key, trust, decision).await;
        report(&call, &session, decision, changed.is_ok()).await;
        changed?;
    }
    let status = if trust { "trusted" } else { "revoked" };
    document::answer(StatusCode::OK, &StatusDocument { status, version: None, ungoverned: None })
}

fn build(piece: &EvidencePiece, names: &Names<'_>, now: TimeMs) -> EvidenceDocument {
    let revoked = piece.revoked || (piece.key.is_some() && !piece.attested);
    let issuer = piece.issuer.as_str();
    EvidenceDocument {
        id: IdText(piece.id),
        kind: piece.kind.clone(),
        digest: Sha(piece.digest),
        subject: Sha(piece.subject),
        issuer: names.get(issuer),
        issued: Instant(piece.issued),
        expires: Instant(piece.expires),
        added: Instant(piece.added),
        state: match (revoked, now >= piece.expires) {
            (true, _) => "revoked",
            (_, true) => "expired",
            _ => "in_force",
        },
        attested: piece.attested,
        key: piece.key.clone(),
        index: piece.index,
        envelope: None,
        note: None,
    }
}
