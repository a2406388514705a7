//! Commands that the constitution governs: where there are two admins, the first attempt waits for the
//! other one, and is repeated under the same idempotency key. Refuses to know what they do.

use crate::client::Reply;
use crate::commands::decide;
use crate::exit::Done;
use crate::output;
use placet_runtime::crypto::SystemEntropy;
use placet_runtime::ports::Entropy;
use placet_types::hash::hex_encode;
use serde_json::Value;
use std::process::ExitCode;

/// The key that was given, or a fresh one: whoever has to repeat the command must know it.
pub(super) fn idempotency_key(given: Option<&str>) -> String {
    given.map_or_else(
        || {
            let mut bytes = [0; 16];
            SystemEntropy.fill(&mut bytes);
            hex_encode(&bytes)
        },
        str::to_owned,
    )
}

/// Prints what came of it: the document, that it waits and how to go on, or what `done` says.
pub(super) fn answered(reply: &Reply, key: &str, json: bool, done: impl FnOnce(&Value)) -> Done {
    let mut document = reply.json()?;
    if reply.status == 202 {
        return waits(&mut document, key, "", json);
    }
    if json {
        output::document(&document);
    } else {
        done(&document);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints that another admin has to approve it; `options` are those that have to be given besides.
pub(super) fn waits(document: &mut Value, key: &str, options: &str, json: bool) -> Done {
    document["idempotency_key"] = key.into();
    if json {
        output::document(document);
    } else {
        decide::print(&document["decision"]);
        output::line("Another admin has to approve it; then run the same command with");
        output::line(&format!("  {options}--idempotency-key {}", output::safe(key)));
    }
    Ok(ExitCode::from(10))
}
