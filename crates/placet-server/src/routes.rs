//! The router: one row per operation, one adapter for all handlers. Owns what the framework would
//! answer by itself; refuses to know what handlers do.

use crate::call::Call;
use crate::operations::OPERATIONS;
use crate::problem::Problem;
use crate::server::{Server, ServerOptions};
use crate::{
    approvals, audit, authoring, authzen, channels, compat, coverage, decisions, delegations,
    events, evidence, exceptions, executions, log, manage, measures, meta, overrides, policies,
    privacy, releases, sessions, shadow, signers, trips,
};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on, post};
use placet_runtime::Plane;
use std::future::Future;
use std::sync::Arc;

/// The router over a running plane. Listening, time-outs and admission of connections are the
/// business of [`serve`](crate::serve).
pub fn router(plane: Arc<Plane>, options: ServerOptions) -> Router {
    router_of(Arc::new(Server::new(plane, options)))
}

pub(crate) fn router_of(server: Arc<Server>) -> Router {
    let mut routes = Routes(Router::new());
    routes.add("decide", decisions::decide);
    routes.add("decideBatch", decisions::batch);
    routes.add("getDecision", decisions::get);
    routes.add("consume", decisions::consume);
    routes.add("reportOutcome", decisions::outcome);
    routes.add("withdraw", decisions::withdraw);
    routes.add("getReceipt", audit::receipt);
    routes.add("getTrace", audit::trace);
    routes.add("queryAudit", audit::query);
    routes.add("reindex", manage::reindex);
    routes.add("erase", privacy::erase);
    routes.add("listHolds", privacy::holds);
    routes.add("placeHold", privacy::place_hold);
    routes.add("releaseHold", privacy::release_hold);
    routes.add("getCheckpoint", audit::checkpoint);
    routes.add("getPublished", log::checkpoint);
    routes.add("getTile", log::tile);
    routes.add("getConsistency", log::consistency);
    routes.add("listApprovals", approvals::list);
    routes.add("getApproval", approvals::get);
    routes.add("approve", approvals::approve);
    routes.add("reject", approvals::reject);
    routes.add("listDelegations", delegations::list);
    routes.add("delegate", delegations::grant);
    routes.add("endDelegation", delegations::end);
    routes.add("listExceptions", exceptions::list);
    routes.add("openException", exceptions::open);
    routes.add("getException", exceptions::get);
    routes.add("closeException", exceptions::close);
    routes.add("reviewException", exceptions::review);
    routes.add("submitJob", compat::submit);
    routes.add("askApproval", compat::ask);
    routes.add("getApprovalStatus", compat::status);
    routes.add("approveAsked", compat::approve);
    routes.add("rejectAsked", compat::reject);
    routes.add("listGovernancePending", compat::pending);
    routes.add("getGovernanceHistory", compat::history);
    routes.add("getGovernanceRequest", compat::request);
    routes.add("streamEvents", events::stream);
    routes.add("listSurfaces", meta::surfaces);
    routes.add("getKill", manage::kill_state);
    routes.add("kill", manage::kill);
    routes.add("lift", manage::lift);
    routes.add("streamOverrides", trips::stream);
    routes.add("drillOverride", trips::drill);
    routes.add("getOverride", trips::get);
    routes.add("acknowledgeOverride", trips::acknowledge);
    routes.add("listOverrides", overrides::list);
    routes.add("stop", overrides::stop);
    routes.add("liftOverride", overrides::lift);
    routes.add("startExecution", executions::start);
    routes.add("listExecutions", executions::list);
    routes.add("getExecution", executions::get);
    routes.add("endExecution", executions::end);
    routes.add("listKeys", manage::keys);
    routes.add("createKey", manage::create_key);
    routes.add("revokeKey", manage::revoke_key);
    routes.add("openSession", sessions::open);
    routes.add("listSessions", sessions::list);
    routes.add("getSession", sessions::get);
    routes.add("closeSession", sessions::close);
    routes.add("listWorkspaces", manage::workspaces);
    routes.add("createWorkspace", manage::create_workspace);
    routes.add("confirmClock", manage::confirm_clock);
    routes.add("getShadow", shadow::get);
    routes.add("setShadow", shadow::set);
    routes.add("clearShadow", shadow::clear);
    routes.add("rotateSigner", signers::rotate);
    routes.add("revokeSigner", signers::revoke);
    routes.add("lintPolicy", authoring::lint);
    routes.add("testPolicy", authoring::test);
    routes.add("explainPolicy", authoring::explain);
    routes.add("diffPolicy", authoring::compare::diff);
    routes.add("backtestPolicy", authoring::compare::backtest);
    routes.add("formatPolicy", authoring::texts::format);
    routes.add("importPolicy", authoring::texts::import);
    routes.add("getPolicySchemas", authoring::texts::schemas);
    routes.add("getTrust", signers::trust);
    routes.add("getHandovers", signers::handovers);
    routes.add("evaluateAccess", authzen::evaluation);
    routes.add("evaluateAccesses", authzen::evaluations);
    routes.add("searchSubjects", authzen::subjects);
    routes.add("searchResources", authzen::resources);
    routes.add("searchActions", authzen::actions);
    routes.add("getAuthzenConfiguration", authzen::configuration);
    routes.add("listPolicies", policies::history);
    routes.add("publishPolicy", policies::publish);
    routes.add("getCurrentPolicy", policies::current);
    routes.add("getPolicy", policies::get);
    routes.add("releasePolicy", policies::release);
    routes.add("rollbackPolicy", policies::rollback);
    routes.add("withdrawPolicy", policies::withdraw);
    routes.add("reviewPolicy", policies::review);
    routes.add("trustAuthor", policies::trust_author);
    routes.add("revokeAuthor", policies::revoke_author);
    routes.add("listEvidence", evidence::list);
    routes.add("addEvidence", evidence::add);
    routes.add("getEvidence", evidence::get);
    routes.add("revokeEvidence", evidence::revoke);
    routes.add("listIssuerKeys", evidence::keys);
    routes.add("trustIssuerKey", evidence::trust);
    routes.add("revokeIssuerKey", evidence::distrust);
    routes.add("listReleases", releases::list);
    routes.add("registerRelease", releases::register);
    routes.add("getRelease", releases::get);
    routes.add("listAliases", releases::aliases);
    routes.add("setAlias", releases::set_alias);
    routes.add("getAlias", releases::get_alias);
    routes.add("listOutbox", channels::list);
    routes.add("replayDelivery", channels::replay);
    routes.add("getHealth", meta::health);
    routes.add("getReadiness", meta::ready);
    routes.add("getMetrics", meta::metrics);
    routes.add("getGovernanceMetrics", measures::governance);
    routes.add("getCoverage", coverage::coverage);
    routes.add("reportPassage", coverage::passage);
    routes.add("getOpenApi", meta::openapi);
    channels::routes(routes.0)
        .fallback(|state: State<Arc<Server>>| async move { other(&state, "not_found") })
        .method_not_allowed_fallback(|state: State<Arc<Server>>| async move {
            other(&state, "method_not_allowed")
        })
        .with_state(server)
}

/// What the caller calls its request; AuthZEN's answers name it as well, refusals included.
const REQUEST_ID: &str = "x-request-id";

struct Routes(Router<Arc<Server>>);

impl Routes {
    fn add<H, F>(&mut self, id: &'static str, handler: H)
    where
        H: Fn(Call) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response, Problem>> + Send + 'static,
    {
        let found = OPERATIONS.iter().enumerate().find(|(_, operation)| operation.id == id);
        let Some((at, operation)) = found else {
            unreachable!("{id} is in no row of the table");
        };
        let filter = match operation.method {
            "POST" => MethodFilter::POST,
            "DELETE" => MethodFilter::DELETE,
            _ => MethodFilter::GET,
        };
        let run = move |State(server): State<Arc<Server>>, request: Request| async move {
            let id = operation.echoes().then(|| request.headers().get(REQUEST_ID).cloned());
            // In a box: each layer that holds it would have its kilobytes in its own future.
            let call = Call::new(server.clone(), request);
            let seen = call.seen.clone();
            let handler = handler.clone();
            let work = Box::pin(async move {
                // A token opens its session before its first use; an exchange is a use of its own.
                if operation.key && operation.id != "openSession" {
                    call.sign_in().await?;
                }
                handler(call).await
            });
            let mut response = if operation.apart() {
                apart(server, at, work).await
            } else {
                run(server, at, work).await
            };
            let ungoverned = seen.get().map(|workspace| workspace.ungoverned());
            if let Some(count) = ungoverned.filter(|count| *count > 0) {
                response.headers_mut().insert(exceptions::UNGOVERNED, count.into());
            }
            if let Some(id) = id.flatten() {
                response.headers_mut().insert(REQUEST_ID, id);
            }
            response
        };
        let router = std::mem::take(&mut self.0);
        self.0 = router.route(operation.path, on(filter, run));
    }
}

/// Does the work and counts its answer.
async fn run(
    server: Arc<Server>,
    at: usize,
    work: impl Future<Output = Result<Response, Problem>>,
) -> Response {
    let response = match work.await {
        Ok(response) => response,
        Err(problem) => {
            server.counters.refused(&problem.document().code);
            problem.into_response()
        }
    };
    server.counters.answered(at, response.status().as_u16());
    response
}

/// As [`run`], in a task of its own: the future of a connection is dropped when its client goes
/// away, and what has begun to change something must come to its end nevertheless.
async fn apart(
    server: Arc<Server>,
    at: usize,
    work: impl Future<Output = Result<Response, Problem>> + Send + 'static,
) -> Response {
    let Ok(place) = server.working.clone().try_acquire_owned() else {
        let problem = Problem::overloaded("too many calls at once; come back later");
        return run(server, at, async { Err(problem) }).await;
    };
    let task = tokio::spawn(async move {
        let response = run(server, at, work).await;
        drop(place);
        response
    });
    match task.await {
        Ok(response) => response,
        Err(error) => Problem::internal(&error.to_string()).into_response(),
    }
}

fn other(server: &Server, code: &str) -> Response {
    let (status, _) = placet_api::error::describe(code);
    server.counters.refused(code);
    server.counters.answered(OPERATIONS.len(), status);
    Problem::new(code, "see /openapi.json for what there is").into_response()
}

/// For the benchmark: reads the whole body and answers a constant of `body_len` bytes, with the
/// same headers as a decision.
pub fn constant_router(body_len: usize) -> Router {
    let text = format!("{{\"constant\":\"{}\"}}", "x".repeat(body_len.saturating_sub(15)));
    let body = axum::body::Bytes::from(text);
    Router::new().route(
        "/api/v1/decisions",
        post(move |request: Request| async move {
            match axum::body::to_bytes(request.into_body(), 1 << 20).await {
                Ok(_) => crate::document::respond(
                    StatusCode::OK,
                    "application/json",
                    Body::from(body.clone()),
                ),
                Err(_) => Problem::new("body_too_large", "at most 1 MiB").into_response(),
            }
        }),
    )
}
