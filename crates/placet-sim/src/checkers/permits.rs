//! No permit is granted to two attempts, none is consumed twice, none after it has ended.

use super::{Held, Logs, violated};
use placet_types::event::Event;
use placet_types::ids::DecisionId;
use std::collections::{BTreeMap, BTreeSet};

const NAME: &str = "permits";

#[derive(Default)]
pub(crate) struct Permits {
    granted: BTreeMap<DecisionId, String>,
}

impl Permits {
    /// An answer lets the attempt with this nonce execute.
    pub(crate) fn granted(&mut self, decision: DecisionId, nonce: &str) -> Held {
        let first = self.granted.entry(decision).or_insert_with(|| nonce.to_owned());
        if first == nonce {
            return Ok(());
        }
        violated(NAME, format!("{decision} was granted to attempt {first} and to attempt {nonce}"))
    }

    /// Permits that were granted.
    pub(crate) fn len(&self) -> u64 {
        self.granted.len() as u64
    }

    pub(crate) fn at_rest(&self, logs: &Logs) -> Held {
        let mut all = BTreeSet::new();
        for log in logs.values() {
            let mut consumed = BTreeSet::new();
            let mut ended = BTreeSet::new();
            for (index, stored) in log.iter().enumerate() {
                let decision = match &stored.entry.event {
                    Event::Decision(event) if event.permit.as_ref().is_some_and(|p| p.consumed) => {
                        event.decision
                    }
                    Event::PermitCollected(event) if event.permit.consumed => event.decision,
                    Event::PermitConsumed(event) => event.decision,
                    Event::PermitExpired(event) | Event::PermitRevoked(event) => {
                        ended.insert(event.decision);
                        continue;
                    }
                    _ => continue,
                };
                if !consumed.insert(decision) {
                    return violated(
                        NAME,
                        format!("entry {index} consumes {decision} a second time"),
                    );
                }
                if ended.contains(&decision) {
                    return violated(
                        NAME,
                        format!("entry {index} consumes {decision} after its end"),
                    );
                }
            }
            all.append(&mut consumed);
        }
        match self.granted.keys().find(|decision| !all.contains(decision)) {
            Some(lost) => violated(NAME, format!("{lost} was granted and no entry consumes it")),
            None => Ok(()),
        }
    }
}
