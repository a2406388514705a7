//! Why a decision of the log was made: evaluated again under the bundle that it was made under, and compared with
//! what its entry says. Owns what is told where its payload was erased; refuses to know how rules match.

use super::{Only, apart};
use crate::auth::{OVERSEERS, Session};
use crate::call::Call;
use crate::document;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{ExplainDocument, Instant, JsonObject, RecordedDocument};
use placet_policy::{Bundle, Scratch};
use placet_runtime::crypto::Fast;
use placet_runtime::{PlaneError, Recorded};
use placet_types::event::{DecisionEvent, RESERVED_RULES};
use placet_types::ids::DecisionId;
use placet_types::json::{Object, Value};

/// What a decision is explained by.
struct Explained {
    trace: Option<Value>,
    graph: Option<Value>,
    agrees: Option<bool>,
}

/// Overseers ask about any decision, everybody else about their own.
pub(super) async fn explain(
    call: &Call,
    session: &Session,
    id: &str,
    only: Only,
    fields: Object,
) -> Result<Response, Problem> {
    if let Some((name, _)) = fields.iter().next() {
        let text = "a decision is explained as it was made; leave this out";
        return Err(Problem::invalid(&format!("/{name}"), text));
    }
    let id = DecisionId::parse(id)
        .ok_or_else(|| Problem::invalid("/decision", "expected the id of a decision, dec_…"))?;
    let (plane, workspace) = (call.server.plane.clone(), session.workspace.clone());
    let actor = session.principal.caller.actor.clone();
    let own = !session.has_any(&OVERSEERS);
    let look = move || plane.recorded(&workspace, id, own.then_some(&actor));
    let found = apart(call, session, look).await??;
    let bytes = match found.event.policy {
        None => None,
        Some(policy) => {
            let looked = call.server.plane.policy_bytes(&session.workspace, policy, false).await;
            match looked {
                Ok((bytes, _)) => Some(bytes),
                // State remembers the newest bundles alone; the entry says what it says all the same.
                Err(PlaneError::NotFound(_)) => None,
                Err(error) => return Err(error.into()),
            }
        }
    };
    let (found, explained) = apart(call, session, move || {
        let explained = explained(&found, bytes.as_deref(), &only);
        (found, explained)
    })
    .await?;
    let explained = explained?;
    let event = &found.event;
    let erased = "its payload: what was asked, by whom, and on which facts; the entry still says which \
                  rules matched";
    let document = ExplainDocument {
        ok: true,
        outcome: Some(event.outcome.as_str()),
        rules: Some(&event.rules),
        reasons: Some(event.reasons.iter().map(|reason| reason.as_str()).collect()),
        recorded: Some(RecordedDocument {
            decision: event.decision.to_string(),
            index: found.index,
            time: Instant(found.time),
            erased: found.asked.is_none().then_some(erased),
            agrees: explained.agrees,
        }),
        trace: explained.trace.as_ref().and_then(Value::as_object).map(JsonObject),
        graph: explained.graph.as_ref().and_then(Value::as_object).map(JsonObject),
        findings: Vec::new(),
    };
    document::answer(StatusCode::OK, &document)
}

fn explained(found: &Recorded, bytes: Option<&[u8]>, only: &Only) -> Result<Explained, Problem> {
    let event = &found.event;
    let (Some(bytes), Some((request, caller))) = (bytes, &found.asked) else {
        return Ok(Explained { trace: Some(of_entry(event, only)), graph: None, agrees: None });
    };
    let bundle = Bundle::from_normalised::<Fast>(bytes)
        .map_err(|_| Problem::internal("a bundle of the log does not compile any more"))?;
    let mut trace = if only.matched {
        bundle.explain_near(request, caller, &mut Scratch::default())
    } else {
        bundle.explain(request, caller)
    };
    trace.settle(found.time, event);
    let agrees = event.matched.iter().all(|matched| {
        RESERVED_RULES.iter().any(|prefix| matched.rule.starts_with(prefix))
            || trace.rules.iter().any(|rule| rule.matched && rule.rule.id == matched.rule)
    });
    trace.rules.retain(|rule| only.keeps(rule));
    Ok(Explained {
        trace: Some(trace.to_value()),
        graph: Some(trace.graph()),
        agrees: Some(agrees),
    })
}

/// What the entry alone says of the rules, in the form of a trace.
fn of_entry(event: &DecisionEvent, only: &Only) -> Value {
    let named =
        event.matched.iter().filter(|it| only.rules.is_empty() || only.rules.contains(&it.rule));
    let rules: Vec<Value> = named
        .map(|matched| {
            let object = Object::new()
                .with("id", matched.rule.as_str())
                .with("layer", matched.layer.as_str())
                .with("decision", matched.effect.as_str())
                .with("matched", true)
                .with("applies", true)
                .with("clauses", Vec::<Value>::new())
                .with("note", "as the entry says; what it matched is not known any more")
                .with_opt("advice", matched.advice.then_some(true));
            Value::Object(object)
        })
        .collect();
    let object = Object::new()
        .with_opt("policy", event.policy.map(|policy| policy.to_string()))
        .with("surface_known", event.surface_known)
        .with("rules", rules);
    Value::Object(object)
}
