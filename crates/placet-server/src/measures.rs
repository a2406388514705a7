//! Figures over HTTP, and who answers for what of the policy in force. Owns how they are put together;
//! refuses to know how they are counted.

use crate::auth::{Act, OVERSEERS};
use crate::call::{self, Call};
use crate::document;
use crate::problem::Problem;
use crate::server::Server;
use axum::http::StatusCode;
use axum::response::Response;
use placet_api::{
    BucketDocument, ExceptionUseDocument, ExpiredEvidenceDocument, GovernanceDocument, Instant,
    LatencyDocument, LineageShareDocument, MissingOwnersDocument, RejectedDocument, Sha,
    UnownedDocument, ViolationsDocument,
};
use placet_engine::{Closing, ExceptionUse, HOUR_MS, Latency, Tally};
use placet_policy::{Bundle, Census, Owned};
use placet_runtime::{Measured, Workspace};
use placet_types::Digest;
use placet_types::ids::{ActorId, ActorKind};
use placet_types::policy::{Outcome, Reason};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Longest window: what is counted by hour reaches a day further back.
const WINDOW_MAX_MS: u64 = 30 * 24 * HOUR_MS;
/// Entries without an owner that an answer lists.
const LISTED_MAX: usize = 100;
/// Bundles whose census is kept.
const KEPT_MAX: usize = 64;

/// What bundles declare, by their digests: taking it reads the whole bundle.
#[derive(Default)]
pub(crate) struct Censuses(Mutex<BTreeMap<Digest, Arc<Census>>>);

impl Censuses {
    /// What a bundle declares.
    pub(crate) async fn of(&self, bundle: &Arc<Bundle>) -> Result<Arc<Census>, Problem> {
        let digest = bundle.digest();
        if let Some(known) = self.kept().get(&digest) {
            return Ok(known.clone());
        }
        let bundle = bundle.clone();
        let taken = tokio::task::spawn_blocking(move || Arc::new(bundle.census())).await;
        let census = taken.map_err(|error| Problem::internal(&error.to_string()))?;
        let mut kept = self.kept();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(digest, census.clone());
        Ok(census)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Arc<Census>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Entries for which nobody answers: who has left, or that nobody was named.
pub(crate) struct Unowned<'a> {
    pub(crate) without: Vec<&'a Owned>,
    pub(crate) left: Vec<(&'a Owned, ActorId)>,
}

impl<'a> Unowned<'a> {
    pub(crate) fn of(census: &'a Census, gone: &BTreeSet<ActorId>) -> Self {
        let without = census.owned.iter().filter(|it| it.owner.is_none()).collect();
        let person = |it: &Owned| {
            let actor = ActorId::parse(it.owner.as_deref()?)?;
            (actor.kind() == ActorKind::Human && gone.contains(&actor)).then_some(actor)
        };
        let left = census.owned.iter().filter_map(|it| Some((it, person(it)?))).collect();
        Self { without, left }
    }
}

/// The entries of the bundle in force for which nobody answers; `None` without a bundle. How many have no
/// owner, and how many one that has left.
pub(crate) async fn unowned(
    server: &Server,
    workspace: &Workspace,
) -> Result<Option<(u64, u64)>, Problem> {
    let Some(bundle) = workspace.bundle() else { return Ok(None) };
    let census = server.censuses.of(&bundle).await?;
    let found = Unowned::of(&census, &server.plane.people_gone(workspace));
    Ok(Some((found.without.len() as u64, found.left.len() as u64)))
}

/// `GET /api/v1/metrics/governance`
pub(crate) async fn governance(call: Call) -> Result<Response, Problem> {
    let session = call.session(Act::Oversee)?;
    session.demand(&OVERSEERS)?;
    let query = call.query(&["window"])?;
    let expected =
        "a duration from 1h to 30d, such as 24h; without it, everything since the log began";
    let window = query.parsed("window", expected, |text| {
        call::duration_ms(text).filter(|it| (HOUR_MS..=WINDOW_MAX_MS).contains(it))
    })?;
    let (server, workspace) = (&call.server, &session.workspace);
    let measured = server.plane.measured(workspace, window).await?;
    let bundle = workspace.bundle();
    let missing_owners = match &bundle {
        None => None,
        Some(bundle) => {
            let census = server.censuses.of(bundle).await?;
            Some(owners(&census, &server.plane.people_gone(workspace)))
        }
    };
    let tally = &measured.tally;
    document::answer(
        StatusCode::OK,
        &GovernanceDocument {
            as_of: Instant(server.plane.now()),
            size: measured.size,
            since: Instant(measured.since),
            policy: bundle.map(|bundle| Sha(bundle.digest())),
            decisions: Outcome::ALL.iter().map(|it| it.as_str()).zip(tally.decisions).collect(),
            approval_latency: latency(&tally.latency),
            rejected_changes: rejected(tally),
            expired_evidence: ExpiredEvidenceDocument {
                expired: tally.refused_for(Reason::EvidenceExpired),
                lapsed: tally.lapsed,
                missing: tally.refused_for(Reason::EvidenceMissing),
            },
            exception_use: exceptions(&measured),
            missing_owners,
            policy_violations: ViolationsDocument {
                denied: tally.violations,
                stopped: tally.stopped,
                passages: tally.passages[1],
                by_reason: tally.refused.iter().map(|(it, count)| (it.as_str(), *count)).collect(),
            },
            lineage_share: lineage(tally.releases),
        },
    )
}

fn lineage([releases, complete]: [u64; 2]) -> LineageShareDocument {
    let percent = complete.saturating_mul(100).checked_div(releases);
    LineageShareDocument { releases, complete, percent }
}

fn exceptions(measured: &Measured) -> ExceptionUseDocument {
    let of = |what| measured.tally.excepted_as(what);
    ExceptionUseDocument {
        opened: of(ExceptionUse::Opened),
        break_glass: of(ExceptionUse::BreakGlass),
        passages: of(ExceptionUse::Passage),
        ended: of(ExceptionUse::Ended),
        reviewed: of(ExceptionUse::Reviewed),
        live: measured.exceptions_live,
        overdue: measured.reviews_overdue,
    }
}

fn latency(latency: &Latency) -> LatencyDocument {
    let bounds = Latency::BOUNDS_MS.into_iter().map(Some).chain([None]);
    let buckets = bounds.zip(latency.places);
    LatencyDocument {
        count: latency.count,
        sum_ms: latency.sum_ms,
        max_ms: (latency.count > 0).then_some(latency.max_ms),
        p50_within_ms: latency.within(50),
        p90_within_ms: latency.within(90),
        buckets: buckets.map(|(within_ms, count)| BucketDocument { within_ms, count }).collect(),
    }
}

fn rejected(tally: &Tally) -> RejectedDocument {
    RejectedDocument {
        rejected: tally.closed_as(Closing::Rejected),
        approved: tally.closed_as(Closing::Approved),
        expired: tally.closed_as(Closing::Expired),
        invalidated: tally.closed_as(Closing::Invalidated),
        withdrawn: tally.closed_as(Closing::Withdrawn),
    }
}

fn owners(census: &Census, gone: &BTreeSet<ActorId>) -> MissingOwnersDocument {
    let Unowned { without, left } = Unowned::of(census, gone);
    let row = |it: &Owned, left: Option<&ActorId>| UnownedDocument {
        kind: it.kind.clone(),
        id: it.id.clone(),
        left: left.map(ToString::to_string),
    };
    let (without_count, left_count) = (without.len() as u64, left.len() as u64);
    let rows = left.into_iter().map(|(it, who)| row(it, Some(&who)));
    let rows = rows.chain(without.into_iter().map(|it| row(it, None)));
    MissingOwnersDocument {
        total: without_count + left_count,
        without: without_count,
        left: left_count,
        entries: census.owned.len() as u64,
        listed: rows.take(LISTED_MAX).collect(),
    }
}
