//! What is governed and what is not, over HTTP, and reports of what passed ungoverned. Owns how what was
//! seen is put beside what the policy declares; refuses to know how it is counted.

mod holes;

use crate::auth::{Act, OVERSEERS};
use crate::call::{self, Call};
use crate::decisions::admit;
use crate::document;
use crate::measures::Unowned;
use crate::names::Names;
use crate::problem::Problem;
use axum::http::StatusCode;
use axum::response::Response;
use holes::Holes;
use placet_api::{
    CoverageDocument, CoveredRules, CoveredSurface, GateDocument, Instant, NeverMatched,
    PassageDocument, PassagesDocument, Sha, UnknownSurfaces,
};
use placet_engine::{Gate, RuleUse, SurfaceUse};
use placet_policy::Census;
use placet_runtime::Passage;
use placet_types::ids::{TimeMs, is_dotted_name};
use placet_types::policy::Outcome;
use std::collections::{BTreeMap, BTreeSet};

/// Longest time for which gates may be asked to have been heard.
const SINCE_MAX_MS: u64 = 366 * 24 * 3_600_000;
/// Rules that an answer lists.
const NEVER_MAX: usize = 1000;
/// How far a gate's clock may be ahead of the server's.
const AHEAD_MAX_MS: u64 = 60_000;

/// `GET /api/v1/coverage`
pub(crate) async fn coverage(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    session.demand(&OVERSEERS)?;
    let query = call.query(&["since"])?;
    let expected = "a duration such as 24h, at most 366d";
    let since = query.parsed("since", expected, |text| {
        call::duration_ms(text).filter(|it| (1..=SINCE_MAX_MS).contains(it))
    })?;
    let (server, workspace) = (&call.server, &session.workspace);
    let seen = server.plane.seen(workspace).await?;
    let now = server.plane.now();
    let since = since.map(|ms| TimeMs(now.0.saturating_sub(ms)));
    let bundle = workspace.bundle();
    let census = match &bundle {
        Some(bundle) => Some(server.censuses.of(bundle).await?),
        None => None,
    };
    let none = Census::default();
    let declared = census.as_deref().unwrap_or(&none);
    let names = Names::of(server, &session);

    let listed = declared.surfaces.keys().map(String::as_str);
    let all: BTreeSet<&str> =
        listed.chain(seen.surfaces.named.keys().map(String::as_str)).collect();
    let unseen = SurfaceUse::default();
    let owners: BTreeMap<&str, &str> = declared
        .owned
        .iter()
        .filter(|it| it.kind == "surfaces")
        .filter_map(|it| Some((it.id.as_str(), it.owner.as_deref()?)))
        .collect();
    let surfaces: Vec<CoveredSurface> = all
        .into_iter()
        .map(|name| CoveredSurface {
            listed: declared.surfaces.contains_key(name),
            owner: owners.get(name).map(|it| (*it).to_owned()),
            open_in: declared.surfaces.get(name).cloned().unwrap_or_default(),
            shadowed_by: declared
                .shadowed
                .iter()
                .filter(|it| it.is_of(name))
                .map(|it| it.id.clone())
                .collect(),
            ..surface(name, seen.surfaces.named.get(name).unwrap_or(&unseen), &names)
        })
        .collect();
    let others = (seen.surfaces.others != SurfaceUse::default())
        .then(|| surface("*", &seen.surfaces.others, &names));
    let unknown = UnknownSurfaces {
        decisions: seen.surfaces.unknown,
        last: seen.surfaces.unknown_last.map(Instant),
    };
    let rules = census.is_some().then(|| rules(declared, &seen.rules));

    let gone = server.plane.people_gone(workspace);
    let unowned = Unowned::of(declared, &gone);
    let mut holes = Holes::new(since);
    match &bundle {
        None => holes.no_policy(),
        Some(_) => holes.owners(&unowned),
    }
    surfaces.iter().for_each(|it| holes.surface(it));
    holes.others(others.as_ref());
    holes.unknown(&unknown);
    holes.modes(&declared.shadowed, seen.modes_count);
    holes.exceptions(&seen, &names);
    if let Some(rules) = &rules {
        holes.rules(rules);
    }
    let (holes_by_kind, holes) = holes.done();
    document::answer(
        StatusCode::OK,
        &CoverageDocument {
            as_of: Instant(now),
            size: seen.size,
            began: Instant(seen.began),
            since: since.map(Instant),
            closed: bundle.as_ref().is_none_or(|bundle| bundle.lists_surfaces()),
            policy: bundle.map(|bundle| Sha(bundle.digest())),
            surfaces,
            others,
            unknown,
            rules,
            holes_by_kind,
            holes,
        },
    )
}

fn surface(name: &str, seen: &SurfaceUse, names: &Names<'_>) -> CoveredSurface {
    let results = ["succeeded", "failed", "not_executed"];
    let [open, forbidden] = seen.passages;
    let gates = seen
        .gates
        .iter()
        .map(|(who, seen)| GateDocument { actor: Some(names.get(who.as_str())), ..gate(seen) });
    CoveredSurface {
        name: name.to_owned(),
        listed: false,
        owner: None,
        decisions: Outcome::ALL.iter().map(|it| it.as_str()).zip(seen.decisions).collect(),
        decided_last: seen.decided_last.map(Instant),
        rejected: seen.rejected,
        consumed: seen.consumed,
        reported: results.into_iter().zip(seen.reported).collect(),
        outcome_unknown: seen.outcome_unknown(),
        passages: PassagesDocument { open, forbidden, last: seen.passage_last.map(Instant) },
        heard_last: seen.heard_last.map(Instant),
        gates: gates.collect(),
        other_gates: (seen.other_gates != Gate::default()).then(|| gate(&seen.other_gates)),
        open_in: BTreeMap::new(),
        shadowed_by: Vec::new(),
    }
}

fn gate(seen: &Gate) -> GateDocument {
    GateDocument {
        actor: None,
        permits: seen.permits,
        consumed: seen.consumed,
        reported: seen.reported,
        passages: seen.passages,
        heard_last: seen.heard_last.map(Instant),
    }
}

fn rules(declared: &Census, seen: &RuleUse) -> CoveredRules {
    let never = declared.rules.iter().filter(|(_, id)| !seen.matched.contains_key(id));
    let all = declared.rules.len() as u64;
    CoveredRules {
        since: Instant(seen.since),
        decisions: seen.decisions,
        declared: all,
        matched: all - never.clone().count() as u64,
        never: never
            .take(NEVER_MAX)
            .map(|(document, id)| NeverMatched { document, id: id.clone() })
            .collect(),
        whole: seen.cut == 0 && seen.beyond == 0,
    }
}

/// `POST /api/v1/passages`
pub(crate) async fn passage(mut call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Propose)?;
    let mut fields = call.object(&["action", "at", "reason", "surface"]).await?;
    let mut dotted = |name: &str| {
        let text = call::required(&mut fields, name, 200)?;
        let expected = "expected letters, digits, '_' and '-' in segments separated by dots";
        let invalid = || Problem::invalid(&format!("/{name}"), expected);
        is_dotted_name(&text).then_some(text).ok_or_else(invalid)
    };
    let (surface, action) = (dotted("surface")?, dotted("action")?);
    let now = call.server.plane.now();
    let at = match call::text(&mut fields, "at", 40)? {
        None => now,
        Some(text) => {
            let expected = "expected an instant that has passed: 2026-12-24T18:00:00Z";
            TimeMs::parse_rfc3339(&text)
                .filter(|at| *at <= now.plus(AHEAD_MAX_MS))
                .ok_or_else(|| Problem::invalid("/at", expected))?
        }
    };
    let reason = call::text(&mut fields, "reason", 1024)?;
    admit(&call, &session, 1)?;
    let passage = Passage { surface, action, at, reason };
    let plane = &call.server.plane;
    let done = plane.report_passage(&session.workspace, &session.principal, passage).await?;
    document::answer(
        StatusCode::CREATED,
        &PassageDocument { index: done.index, open: done.open, surface_known: done.surface_known },
    )
}
