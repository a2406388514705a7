//! An idempotency key binds one request, and repeats answer with the same decision.

use super::{Held, violated};
use placet_types::Digest;
use placet_types::event::DecisionEvent;
use placet_types::ids::{DecisionId, TimeMs};
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "idempotency";

/// Workspace, actor, key.
type Key = (u32, String, String);

struct Bound {
    decision: DecisionId,
    request: Digest,
    until: TimeMs,
}

#[derive(Default)]
pub(crate) struct Idempotency {
    bound: BTreeMap<Key, Bound>,
    /// Every request that was ever sent under a key.
    sent: BTreeMap<Key, BTreeSet<[u8; 32]>>,
}

impl Idempotency {
    pub(crate) fn sent(&mut self, key: &Key, request: Digest) {
        self.sent.entry(key.clone()).or_default().insert(request.0);
    }

    /// The answer to a request.
    pub(crate) fn answered(
        &mut self,
        key: &Key,
        request: Digest,
        event: &DecisionEvent,
        time: TimeMs,
    ) -> Held {
        if !event.binds() {
            return Ok(());
        }
        let fresh = Bound { decision: event.decision, request, until: time.plus(event.window_ms) };
        let known = match self.bound.get(key) {
            Some(known) if time < known.until => known,
            _ => {
                self.bound.insert(key.clone(), fresh);
                return Ok(());
            }
        };
        let key = &key.2;
        if known.decision != fresh.decision {
            let (a, b) = (known.decision, fresh.decision);
            return violated(NAME, format!("key {key} is bound to {a} and was answered with {b}"));
        }
        if known.request != request {
            let what = "was answered for another request than it is bound to";
            return violated(NAME, format!("key {key} {what}"));
        }
        Ok(())
    }

    /// The key was refused as bound to another request.
    pub(crate) fn conflict(&self, key: &Key) -> Held {
        if self.sent.get(key).is_some_and(|sent| sent.len() > 1) {
            return Ok(());
        }
        violated(NAME, format!("key {} conflicts, and only one request used it", key.2))
    }
}
