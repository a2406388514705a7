//! The transparency log as C2SP tlog-tiles: checkpoint, tiles, entry bundles; and consistency proofs
//! for those who keep no tiles. Refuses to know how anything is proven.

use crate::auth::{Act, OVERSEERS, Session};
use crate::call::Call;
use crate::document;
use crate::problem::Problem;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use placet_runtime::{PlaneError, Workspace};
use placet_tlog::tiles::{Row, TileRef};
use placet_types::ids::WorkspaceName;
use std::sync::Arc;

const PLAIN: &str = "text/plain; charset=utf-8";
/// A full tile never changes; a partial one is one of many of its kind and soon forgotten.
const FOREVER: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
const NEVER: HeaderValue = HeaderValue::from_static("no-cache");

/// The log in the path, for those who may read it: callers of its workspace, or anybody where the
/// log is public. Also the rest of the path, and who asks where that is not anybody.
fn log_of(call: &Call) -> Result<(Arc<Workspace>, &str, Option<Session>), Problem> {
    let path = call.parts.uri.path().strip_prefix("/log/").unwrap_or_default();
    let (name, rest) = path.split_once('/').unwrap_or((path, ""));
    if call.server.options.public_log {
        let named = WorkspaceName::parse(name).and_then(|name| call.server.plane.workspace(&name));
        return Ok((named.ok_or_else(Problem::workspace)?, rest, None));
    }
    let session = call.session(Act::Propose)?;
    if session.workspace.name.as_str() != name {
        return Err(Problem::workspace());
    }
    Ok((session.workspace.clone(), rest, Some(session)))
}

/// `GET /log/{workspace}/checkpoint`
pub(crate) async fn checkpoint(call: Call) -> Result<Response, Problem> {
    let (workspace, ..) = log_of(&call)?;
    let mut response = document::respond(StatusCode::OK, PLAIN, workspace.published().note.clone());
    response.headers_mut().insert(header::CACHE_CONTROL, NEVER);
    Ok(response)
}

/// `GET /log/{workspace}/tile/{…}`
pub(crate) async fn tile(call: Call) -> Result<Response, Problem> {
    let missing = || Problem::from(PlaneError::NotFound("tile"));
    let (workspace, rest, session) = log_of(&call)?;
    // Each tile has one name; another spelling is none.
    let tile = TileRef::parse(rest).map_err(|_| missing())?;
    // Entries are what the audit shows, and hashes are not.
    if let (Row::Entries, Some(session)) = (tile.row(), &session) {
        session.demand(&OVERSEERS)?;
    }
    let plane = call.server.plane.clone();
    let bytes = document::blocking(&call.server, move || plane.tile(&workspace, &tile)).await?;
    let bytes = bytes.ok_or_else(missing)?;
    let mut response = document::respond(StatusCode::OK, "application/octet-stream", bytes);
    let cache = if tile.is_partial() { NEVER } else { FOREVER };
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    Ok(response)
}

/// `GET /log/{workspace}/consistency/{old}/{new}`: a line of base64 for each hash.
pub(crate) async fn consistency(call: Call) -> Result<Response, Problem> {
    let (workspace, rest, _) = log_of(&call)?;
    let size = |text: &str| text.parse::<u64>().ok().filter(|size| size.to_string() == text);
    let sizes = rest.strip_prefix("consistency/").and_then(|sizes| {
        let (old, new) = sizes.split_once('/')?;
        Some((size(old)?, size(new)?))
    });
    let missing = || Problem::from(PlaneError::NotFound("size of this log"));
    let (old, new) = sizes.filter(|(old, new)| old <= new).ok_or_else(missing)?;
    let plane = call.server.plane.clone();
    let proof =
        document::blocking(&call.server, move || plane.consistency(&workspace, old, new)).await?;
    Ok(document::respond(StatusCode::OK, PLAIN, placet_tlog::witness::write_proof(&proof)))
}
