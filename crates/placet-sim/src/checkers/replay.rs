//! Replaying the log gives the same decisions, and folding it gives the same state as the instance
//! has that lived through it, whatever snapshot it began from.

use super::{Held, Logs, violated};
use placet_engine::{Bounds, State};
use placet_runtime::replay::Report;

const NAME: &str = "replay";

pub(crate) fn replayed(report: &Report) -> Held {
    match &report.first {
        _ if report.differences == 0 => Ok(()),
        first => violated(NAME, format!("{} decisions differ: {first:?}", report.differences)),
    }
}

/// The state of a log, folded entry by entry.
pub(crate) fn folded(logs: &Logs, no: u32) -> Result<Vec<u8>, String> {
    let mut state = State::new(Bounds::default());
    for stored in logs.get(&no).into_iter().flatten() {
        state.apply(&stored.entry).map_err(|error| error.to_string())?;
    }
    let mut bytes = Vec::new();
    state.write_snapshot(&mut bytes);
    Ok(bytes)
}

/// `live` is what the instance said of its state.
pub(crate) fn same(logs: &Logs, no: u32, live: &[u8]) -> Held {
    match folded(logs, no) {
        Ok(bytes) if bytes == live => Ok(()),
        Ok(_) => violated(NAME, format!("the live state of workspace {no} is not its log's")),
        Err(error) => violated(NAME, format!("the log of workspace {no} does not fold: {error}")),
    }
}
