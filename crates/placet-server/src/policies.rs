//! Bundles over HTTP: uploading, asking for their publication, going back, history, reviews, authors.
//! Refuses to know the constitution; it asks for a decision, and the plane.

use crate::auth::{Act, OVERSEERS, Session};
use crate::call::{self, Call};
use crate::decisions::admit;
use crate::document;
use crate::governed::{USED_UP, idempotency_key, not_permitted, permitted, random, report};
use crate::names::Names;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{
    IdText, Instant, Json, PolicyAuthorDocument, PolicyCurrentDocument, PolicyDocument,
    PolicyDraftDocument, PolicyList, PolicyReviewDocument, PolicySignatureDocument, Sha,
    StatusDocument,
};
use placet_engine::{Armed, Rejection};
use placet_policy::Source;
use placet_runtime::crypto::Fast;
use placet_runtime::{
    NowArmed, PlaneError, PolicyMatters, Publication, Upload, author_request, publish_request,
    rollback_request,
};
use placet_tlog::{BundleSignature, VerifierKey};
use placet_types::event::PayloadErased;
use placet_types::ids::{ActorKind, DecisionId};
use placet_types::json::{Object, Value};
use placet_types::policy::Outcome;
use placet_types::{Digest, Request};
use tokio::sync::OwnedSemaphorePermit;

/// Largest upload: the largest bundle, spelt as JSON strings.
const UPLOAD_MAX: usize = 24 << 20;
/// Most documents of a bundle.
const SOURCES_MAX: usize = 1000;
/// Longest reason or note.
const REASON_MAX: usize = 2000;
/// Most bundles of one page.
const PAGE_MAX: usize = 200;

/// A person who may do it with one of `roles`. Looked at before a body is read: compiling is dear.
fn person(call: &Call, roles: &[&str]) -> Result<Session, Problem> {
    let session = call.session(Act::Oversee)?;
    session.demand(roles)?;
    if session.principal.caller.actor.kind() != ActorKind::Human {
        return Err(PlaneError::Rejected(Rejection::NotHuman).into());
    }
    admit(call, &session, 1)?;
    Ok(session)
}

/// `POST /api/v1/policies`: compiles an upload and asks for a decision on `policy.publish`.
pub(crate) async fn publish(mut call: Call) -> Result<Response, Problem> {
    let session = person(&call, &["admin"])?;
    let known = ["idempotency_key", "normal", "reason", "replaces", "signature", "sources"];
    let mut fields = call.object_up_to(UPLOAD_MAX, &known).await?;
    let key = idempotency_key(&call, call::text(&mut fields, "idempotency_key", 200)?)?;
    let reason = call::text(&mut fields, "reason", REASON_MAX)?;
    let replaces = replaces(&mut fields)?;
    let signature = signature(&mut fields)?;
    let upload = upload(&mut fields)?;
    let plane = call.server.plane.clone();
    let (workspace, principal) = (&session.workspace, &session.principal);
    let compiled = plane.compile(upload).await?;
    let digest = compiled.0.digest();
    if let Some(done) = in_force(&call, &session, digest).await? {
        return Ok(done);
    }
    // Whoever finds no place leaves no draft either.
    let place = call.decide_place(1).await?;
    let draft = plane.draft(workspace, principal, compiled, signature.as_ref(), replaces);
    let publication = draft.await?;
    ask(&call, &session, place, publish_request(&publication, reason.as_deref(), key)).await
}

/// `POST /api/v1/policies/rollback`
pub(crate) async fn rollback(mut call: Call) -> Result<Response, Problem> {
    let session = person(&call, &["admin", "operator"])?;
    let mut fields = call.object(&["bundle", "idempotency_key", "reason"]).await?;
    let key = idempotency_key(&call, call::text(&mut fields, "idempotency_key", 200)?)?;
    let reason = call::text(&mut fields, "reason", REASON_MAX)?;
    let named = call::text(&mut fields, "bundle", 100)?;
    let plane = call.server.plane.clone();
    let emergency = named.is_none();
    let target = match named {
        Some(text) => {
            session.demand(&["admin"])?;
            digest_of("/bundle", &text)?
        }
        None => {
            let known = plane.policies(&session.workspace).await?;
            known.preceding.ok_or(PlaneError::Rejected(Rejection::NothingBefore))?
        }
    };
    if let Some(done) = in_force(&call, &session, target).await? {
        return Ok(done);
    }
    let publication: Publication = plane.former(&session.workspace, target).await?;
    let body = rollback_request(&publication, reason.as_deref(), emergency, key);
    let place = call.decide_place(1).await?;
    ask(&call, &session, place, body).await
}

/// `POST /api/v1/policies/release`: by the author, or by one who approved it.
pub(crate) async fn release(mut call: Call) -> Result<Response, Problem> {
    let session = person(&call, &["admin", "operator"])?;
    let mut fields = call.object(&["decision"]).await?;
    let decision = call::required(&mut fields, "decision", 100)?;
    let missing = || Problem::from(PlaneError::NotFound("decision"));
    let decision = DecisionId::parse(&decision).ok_or_else(missing)?;
    release_now(&call, &session, decision).await
}

/// Asks for a decision, in a place among those on their way; where it permits, the bundle is in force when this
/// answers.
async fn ask(
    call: &Call,
    session: &Session,
    place: OwnedSemaphorePermit,
    body: Value,
) -> Result<Response, Problem> {
    let request = Request::read(body, &session.principal.caller)?;
    let plane = &call.server.plane;
    let decided = match plane.decide(&session.workspace, &session.principal, &request).await {
        // The same key after another bundle came into force: the words differ for that alone.
        Err(PlaneError::IdempotencyConflict { decision }) => {
            let stale = plane.is_stale(&session.workspace, decision).await?;
            let conflict = PlaneError::IdempotencyConflict { decision };
            return Err(stale.map_or(conflict, PlaneError::Rejected).into());
        }
        decided => decided?,
    };
    drop(place);
    let event = &decided.answer.event;
    let waits = document::is_pending(&decided.answer);
    match event.outcome {
        Outcome::Permit => {
            let released = release_now(call, session, event.decision).await;
            if released.is_err() && !decided.answer.replayed {
                report(call, session, event.decision, false).await;
            }
            released
        }
        Outcome::RequireApproval if !waits => release_now(call, session, event.decision).await,
        _ => not_permitted(call, session, &decided).await,
    }
}

async fn release_now(
    call: &Call,
    session: &Session,
    decision: DecisionId,
) -> Result<Response, Problem> {
    let plane = &call.server.plane;
    let NowArmed { index, since, event } =
        plane.release(&session.workspace, &session.principal, decision).await?;
    let armed = Armed { index, since, event };
    let names = Names::of(&call.server, session);
    document::answer(StatusCode::OK, &view(call, session, &names, &armed, false))
}

/// Whoever asks for what is so already hears how it came to be.
async fn in_force(
    call: &Call,
    session: &Session,
    digest: Digest,
) -> Result<Option<Response>, Problem> {
    let plane = &call.server.plane;
    let newest = plane.policy_history(&session.workspace, None, 1).await?;
    let Some((armed, withdrawn)) = newest.first().filter(|(it, _)| it.event.bundle == digest)
    else {
        return Ok(None);
    };
    if session.workspace.in_force().lost.is_some() {
        // Its bytes are here again, but what the log names is loaded at a start alone.
        return Err(PlaneError::BundleLost(digest).into());
    }
    let names = Names::of(&call.server, session);
    let document = view(call, session, &names, armed, *withdrawn);
    document::answer(StatusCode::OK, &document).map(Some)
}

/// `GET /api/v1/policies`
pub(crate) async fn history(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    session.demand(&OVERSEERS)?;
    admit(&call, &session, 1)?;
    let query = call.query(&["cursor", "limit"])?;
    let limit = query.limit(50, PAGE_MAX)?;
    let before = query.number("cursor")?;
    let page = call.server.plane.policy_history(&session.workspace, before, limit).await?;
    let last = page.last().filter(|_| page.len() == limit);
    let next_cursor = last.map(|(armed, _)| armed.index.to_string());
    let names = Names::of(&call.server, &session);
    let policies = page
        .iter()
        .map(|(armed, withdrawn)| view(&call, &session, &names, armed, *withdrawn))
        .collect();
    document::answer(StatusCode::OK, &PolicyList { policies, next_cursor })
}

/// `GET /api/v1/policies/current`
pub(crate) async fn current(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    admit(&call, &session, 1)?;
    let plane = &call.server.plane;
    let known = plane.policies(&session.workspace).await?;
    let lost = session.workspace.in_force().lost.as_ref().map(|(_, why)| why.clone());
    let mut document = PolicyCurrentDocument {
        bundle: known.current.map(Sha),
        lost,
        preceding: known.preceding.map(Sha),
        drafts: None,
        reviews: None,
        authors: None,
    };
    if session.has_any(&OVERSEERS) {
        let names = Names::of(&call.server, &session);
        let name = |who: &str| names.get(who);
        let PolicyMatters { drafts, reviews, authors } =
            plane.policy_matters(&session.workspace).await?;
        let drafts = drafts.iter().map(|(bundle, draft)| PolicyDraftDocument {
            bundle: Sha(*bundle),
            since: Instant(draft.since),
            by: name(draft.by.as_str()),
        });
        let reviews = reviews.iter().map(|review| PolicyReviewDocument {
            decision: IdText(review.decision),
            bundle: Sha(review.bundle),
            by: name(review.by.as_str()),
            since: Instant(review.since),
            due: Instant(review.due),
        });
        let authors = authors.iter().map(|author| PolicyAuthorDocument {
            key: author.key.clone(),
            by: name(author.by.as_str()),
            since: Instant(author.since),
        });
        document.drafts = Some(drafts.collect());
        document.reviews = Some(reviews.collect());
        document.authors = Some(authors.collect());
    }
    document::answer(StatusCode::OK, &document)
}

/// `GET /api/v1/policies/{digest}`: the bytes that the digest covers. Whoever works under a policy
/// may read it, agents too; drafts are for overseers.
pub(crate) async fn get(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    admit(&call, &session, 1)?;
    let signature = call.query(&["signature"])?.flag("signature")?;
    let digest = path_digest(&call)?;
    let drafts = session.has_any(&OVERSEERS);
    let found = call.server.plane.policy_bytes(&session.workspace, digest, drafts).await?;
    let (bytes, signed) = found;
    if !signature {
        return Ok(document::json(StatusCode::OK, bytes));
    }
    let signed = signed.ok_or(PlaneError::NotFound("signature of this bundle"))?;
    let signature = BundleSignature::from_parts::<Fast>(digest, &signed.key, &signed.signature)
        .map_err(|error| Problem::internal(&error.to_string()))?;
    let envelope = signature.envelope();
    document::answer(StatusCode::OK, &PolicySignatureDocument { signature: Json(&envelope) })
}

/// `POST /api/v1/policies/{digest}/withdraw`
pub(crate) async fn withdraw(mut call: Call) -> Result<Response, Problem> {
    let session = person(&call, &["admin"])?;
    let digest = path_digest(&call)?;
    let mut fields = call.object(&["reason"]).await?;
    let reason = call::required(&mut fields, "reason", 64)?;
    if !PayloadErased::is_reason(&reason) {
        let text = "expected 1 to 64 lower-case letters, digits, '.', '_' and '-', no words";
        return Err(Problem::invalid("/reason", text));
    }
    let (workspace, principal) = (&session.workspace, &session.principal);
    call.server.plane.withdraw_bundle(workspace, principal, digest, reason).await?;
    document::answer(
        StatusCode::OK,
        &StatusDocument { status: "withdrawn", version: None, ungoverned: None },
    )
}

/// `POST /api/v1/policies/reviews/{decision}`
pub(crate) async fn review(mut call: Call) -> Result<Response, Problem> {
    let session = person(&call, &OVERSEERS)?;
    let missing = || Problem::from(PlaneError::NotFound("review"));
    let decision = DecisionId::parse(&call.segment(4)?).ok_or_else(missing)?;
    let mut fields = call.object(&["note"]).await?;
    let note = call::text(&mut fields, "note", REASON_MAX)?;
    let (workspace, principal) = (&session.workspace, &session.principal);
    call.server.plane.close_review(workspace, principal, decision, note.as_deref()).await?;
    document::answer(
        StatusCode::OK,
        &StatusDocument { status: "reviewed", version: None, ungoverned: None },
    )
}

/// `POST /api/v1/policies/authors`
pub(crate) async fn trust_author(call: Call) -> Result<Response, Problem> {
    change_author(call, true).await
}

/// `POST /api/v1/policies/authors/revoke`
pub(crate) async fn revoke_author(call: Call) -> Result<Response, Problem> {
    change_author(call, false).await
}

async fn change_author(mut call: Call, trust: bool) -> Result<Response, Problem> {
    let session = person(&call, &["admin"])?;
    let mut fields = call.object(&["idempotency_key", "key"]).await?;
    let idempotency = idempotency_key(&call, call::text(&mut fields, "idempotency_key", 200)?)?;
    let key = call::required(&mut fields, "key", 400)?;
    let key = VerifierKey::parse::<Fast>(&key)
        .map_err(|error| Problem::invalid("/key", format!("expected a verifier key: {error}")))?
        .to_string();
    let plane = call.server.plane.clone();
    let (workspace, principal) = (&session.workspace, &session.principal);
    let authors = plane.policy_matters(workspace).await?.authors;
    let counts = authors.iter().any(|author| author.key == key);
    if !trust && !counts {
        return Err(PlaneError::NotFound("author key").into());
    }
    if trust != counts {
        let body = author_request(&key, trust, idempotency, random());
        let decision = match permitted(&call, &session, body, USED_UP).await? {
            Ok(decision) => decision,
            Err(response) => return Ok(response),
        };
        let changed = plane.change_author(workspace, principal, key, trust, decision).await;
        report(&call, &session, decision, changed.is_ok()).await;
        changed?;
    }
    let status = if trust { "trusted" } else { "revoked" };
    document::answer(StatusCode::OK, &StatusDocument { status, version: None, ungoverned: None })
}

fn view(
    call: &Call,
    session: &Session,
    names: &Names<'_>,
    armed: &Armed,
    withdrawn: bool,
) -> PolicyDocument {
    let Armed { index, since, event } = armed;
    let name = |who: &str| names.get(who);
    PolicyDocument {
        bundle: Sha(event.bundle),
        how: event.how.as_str(),
        since: Instant(*since),
        index: *index,
        decision: event.decision.map(IdText),
        author: event.author.as_ref().map(|who| name(who.as_str())),
        approvers: event.approvers.iter().map(|who| name(who.as_str())).collect(),
        by: event.by.as_ref().map(|who| name(who.as_str())),
        replaces: event.replaces.map(Sha),
        reason: event
            .decision
            .and_then(|it| call.server.plane.arming_reason(&session.workspace, it)),
        signed_by: event.signed.as_ref().map(|signed| signed.key.clone()),
        review_by: event.review_by.map(Instant),
        withdrawn,
    }
}

fn path_digest(call: &Call) -> Result<Digest, Problem> {
    let missing = || Problem::from(PlaneError::NotFound("bundle"));
    Digest::parse(&call.segment(3)?).ok_or_else(missing)
}

fn digest_of(field: &str, text: &str) -> Result<Digest, Problem> {
    let expected = || Problem::invalid(field, "expected sha256: and 64 hex digits");
    Digest::parse(text).ok_or_else(expected)
}

fn replaces(fields: &mut Object) -> Result<Option<Option<Digest>>, Problem> {
    Ok(match call::text(fields, "replaces", 100)?.as_deref() {
        None => None,
        Some("none") => Some(None),
        Some(text) => Some(Some(digest_of("/replaces", text)?)),
    })
}

fn signature(fields: &mut Object) -> Result<Option<BundleSignature>, Problem> {
    let Some(envelope) = fields.remove("signature") else { return Ok(None) };
    BundleSignature::parse::<Fast>(&envelope)
        .map(Some)
        .map_err(|error| Problem::invalid("/signature", error.to_string()))
}

fn upload(fields: &mut Object) -> Result<Upload, Problem> {
    match (fields.remove("sources"), fields.remove("normal")) {
        (Some(_), Some(_)) => {
            Err(Problem::invalid("/normal", "send sources or the normal form, not both"))
        }
        (None, None) => Err(Problem::missing("/sources", "sources or normal is required")),
        (None, Some(Value::String(text))) => Ok(Upload::Normal(text.into_bytes())),
        (None, Some(_)) => Err(Problem::invalid("/normal", "expected the text of the normal form")),
        (Some(Value::Array(items)), None) if items.len() <= SOURCES_MAX => {
            let sources = items.into_iter().enumerate().map(|(at, item)| source(at, item));
            sources.collect::<Result<_, _>>().map(Upload::Sources)
        }
        (Some(_), None) => {
            let text = format!("expected up to {SOURCES_MAX} documents with name and text");
            Err(Problem::invalid("/sources", text))
        }
    }
}

fn source(at: usize, item: Value) -> Result<Source, Problem> {
    let field = format!("/sources/{at}");
    let expected = || Problem::invalid(&field, "expected an object of name and text");
    let Value::Object(mut object) = item else { return Err(expected()) };
    match (object.remove("name"), object.remove("text")) {
        (Some(Value::String(name)), Some(Value::String(text)))
            if name.len() <= 200 && object.is_empty() =>
        {
            Ok(Source { name, text })
        }
        _ => Err(expected()),
    }
}
