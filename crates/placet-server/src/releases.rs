//! Releases and aliases over HTTP: both are decisions first. Refuses to know what makes papers complete.

use crate::auth::{Act, Session};
use crate::call::{self, Call};
use crate::document;
use crate::governed::{USED_UP, idempotency_key, permitted, random, report};
use crate::names::Names;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{
    AliasDocument, AliasList, IdText, Instant, LinkDocument, RecordedEntryDocument,
    ReleaseDocument, ReleaseList, Sha,
};
use placet_engine::{Alias, Release};
use placet_runtime::{ReleaseSpec, alias_request};
use placet_types::Digest;
use placet_types::event::ReleaseRegistered;
use placet_types::ids::{ApprovalId, DecisionId, EvidenceId, is_name};
use placet_types::json::{Object, Value};

/// Most releases of one page.
const PAGE_MAX: usize = 200;
const NAME: &str = "expected letters, digits and . _ @ : / + -, up to 200 bytes";

/// `POST /api/v1/releases`: asks for a decision on `release.register`.
pub(crate) async fn register(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let known = ["approvals", "change", "evaluations", "idempotency_key", "name", "subject"];
    let mut fields = call.object(&known).await?;
    let key = idempotency_key(&call, call::text(&mut fields, "idempotency_key", 200)?)?;
    let spec = spec(&mut fields)?;
    let body = spec.request(key, random());
    let decision = match permitted(&call, &session, body, USED_UP).await? {
        Ok(decision) => decision,
        Err(response) => return Ok(response),
    };
    let plane = call.server.plane.clone();
    let (workspace, principal) = (&session.workspace, &session.principal);
    let made = plane.register_release(workspace, principal, &spec, decision).await;
    report(&call, &session, decision, made.is_ok()).await;
    document::answer(StatusCode::CREATED, &view(&call, &session, &made?))
}

fn spec(fields: &mut Object) -> Result<ReleaseSpec, Problem> {
    let name = call::required(fields, "name", 200)?;
    if !is_name(&name) {
        return Err(Problem::invalid("/name", NAME));
    }
    let subject = call::required(fields, "subject", 80)?;
    let expected = "expected sha256: and 64 hex digits";
    let subject = Digest::parse(&subject).ok_or_else(|| Problem::invalid("/subject", expected))?;
    let change = match call::text(fields, "change", 80)? {
        None => None,
        Some(id) => {
            let expected = || Problem::invalid("/change", "expected a decision id: dec_…");
            Some(DecisionId::parse(&id).ok_or_else(expected)?)
        }
    };
    Ok(ReleaseSpec {
        name,
        subject,
        change,
        evaluations: ids(fields, "evaluations", "evidence ids: evd_…", EvidenceId::parse)?,
        approvals: ids(fields, "approvals", "approval ids: apr_…", ApprovalId::parse)?,
    })
}

fn ids<T: PartialEq>(
    fields: &mut Object,
    name: &str,
    of: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Problem> {
    let most = ReleaseRegistered::LINKS_MAX;
    let bad =
        |at: &str| Problem::invalid(at, format!("expected a list of up to {most} {of}, each once"));
    let items = match fields.remove(name) {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= most => items,
        Some(_) => return Err(bad(&format!("/{name}"))),
    };
    let mut out = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let field = format!("/{name}/{at}");
        let id = item.as_str().and_then(&parse).filter(|id| !out.contains(id));
        out.push(id.ok_or_else(|| bad(&field))?);
    }
    Ok(out)
}

/// `GET /api/v1/releases`
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let query = call.query(&["cursor", "limit"])?;
    let limit = query.limit(50, PAGE_MAX)?;
    let before = query.number("cursor")?;
    let page = call.server.plane.releases(&session.workspace, before, limit).await?;
    let last = page.last().filter(|_| page.len() == limit);
    let next_cursor = last.map(|(release, _)| release.index.to_string());
    let releases = page.iter().map(|it| view(&call, &session, it)).collect();
    document::answer(StatusCode::OK, &ReleaseList { releases, next_cursor })
}

/// `GET /api/v1/releases/{name}`
pub(crate) async fn get(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let found = call.server.plane.release_of(&session.workspace, call.segment(3)?).await?;
    document::answer(StatusCode::OK, &view(&call, &session, &found))
}

fn view(
    call: &Call,
    session: &Session,
    (release, gaps): &(Release, Vec<String>),
) -> ReleaseDocument {
    let names = Names::of(&call.server, session);
    let store = call.server.plane.evidence(&session.workspace);
    let Release { index, since, event } = release;
    let link = |id: &EvidenceId| {
        let piece = store.get(id);
        LinkDocument {
            id: IdText(*id),
            kind: piece.as_ref().map(|it| it.kind.clone()),
            issuer: piece.as_ref().map(|it| names.get(it.issuer.as_str())),
        }
    };
    ReleaseDocument {
        name: event.name.clone(),
        subject: Sha(event.subject),
        complete: gaps.is_empty(),
        gaps: gaps.clone(),
        change: event.change.map(IdText),
        evaluations: event.evaluations.iter().map(link).collect(),
        approvals: event.approvals.iter().map(ToString::to_string).collect(),
        recorded: RecordedEntryDocument {
            decision: IdText(event.decision),
            by: names.get(event.by.as_str()),
            since: Instant(*since),
            index: *index,
        },
    }
}

/// `POST /api/v1/aliases`: asks for a decision on `alias.change`.
pub(crate) async fn set_alias(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let mut fields = call.object(&["idempotency_key", "name", "to"]).await?;
    let key = idempotency_key(&call, call::text(&mut fields, "idempotency_key", 200)?)?;
    let name = call::required(&mut fields, "name", 200)?;
    if !is_name(&name) {
        return Err(Problem::invalid("/name", NAME));
    }
    let to = call::required(&mut fields, "to", 220)?;
    let leads = ["model:", "branch:", "release:"].iter().find_map(|it| to.strip_prefix(it));
    if !leads.is_some_and(is_name) {
        return Err(Problem::invalid("/to", "expected model:…, branch:… or release:… with a name"));
    }
    let body = alias_request(&name, &to, key, random());
    let decision = match permitted(&call, &session, body, USED_UP).await? {
        Ok(decision) => decision,
        Err(response) => return Ok(response),
    };
    let plane = call.server.plane.clone();
    let (workspace, principal) = (&session.workspace, &session.principal);
    let changed = plane.change_alias(workspace, principal, name, to, decision).await;
    report(&call, &session, decision, changed.is_ok()).await;
    let names = Names::of(&call.server, &session);
    document::answer(StatusCode::OK, &alias(&changed?, &names))
}

/// `GET /api/v1/aliases`
pub(crate) async fn aliases(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let all = call.server.plane.aliases(&session.workspace).await?;
    let names = Names::of(&call.server, &session);
    let aliases = all.iter().map(|it| alias(it, &names)).collect();
    document::answer(StatusCode::OK, &AliasList { aliases })
}

/// `GET /api/v1/aliases/{name}`
pub(crate) async fn get_alias(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let found = call.server.plane.alias_of(&session.workspace, call.segment(3)?).await?;
    let names = Names::of(&call.server, &session);
    document::answer(StatusCode::OK, &alias(&found, &names))
}

fn alias(alias: &Alias, names: &Names<'_>) -> AliasDocument {
    let Alias { index, since, event } = alias;
    AliasDocument {
        name: event.alias.clone(),
        to: event.to.clone(),
        before: event.before.clone(),
        recorded: RecordedEntryDocument {
            decision: IdText(event.decision),
            by: names.get(event.by.as_str()),
            since: Instant(*since),
            index: *index,
        },
    }
}
