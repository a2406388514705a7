//! The load of the crash test: requests that follow from a seed and a number, sent over kept
//! connections until the server dies, and what was known at that moment. Owns rules and requests;
//! judges nothing but the form of an answer.

use crate::approvals::Course;
use crate::http::Client;
use crate::ledger::{Acked, Answer};
use anyhow::Result;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// One request in so many asks for its receipt.
const RECEIPT_EVERY: u64 = 4;
/// The rules of the test: every outcome that a request alone can have.
pub(crate) const BUNDLE: &str = r#"version: v1
rules:
  - id: allow-read
    match: { surfaces: ["crash.read"] }
    decision: allow
  - id: bound-write
    match:
      surfaces: ["crash.write"]
      when: "request.arguments.amount <= 1000"
    decision: allow_with_constraints
    constraints: { max_runtime_sec: 45 }
  - id: hold-write
    match:
      surfaces: ["crash.write"]
      when: "request.arguments.amount > 1000"
    decision: require_approval
    reason: "Large writes wait for a person"
  - id: deny-destroy
    match: { surfaces: ["crash.destroy"] }
    decision: deny
    reason: "Nothing is destroyed here"
"#;

/// What the load of one round knew when the server died.
#[derive(Default)]
pub(crate) struct Load {
    /// Acknowledged.
    pub(crate) acked: Vec<Acked>,
    /// Sent, and not answered.
    pub(crate) in_flight: Vec<u64>,
    /// Held actions, and how far each of them came.
    pub(crate) courses: Vec<Course>,
    /// Number refused before the log.
    pub(crate) refused: u64,
    /// An answer that should not be.
    pub(crate) wrong: Option<String>,
}

/// One connection's load, until the server dies.
pub(crate) fn drive(
    address: &str,
    seed: u64,
    next: &AtomicU64,
    dead: &AtomicBool,
    first: &AtomicBool,
) -> Load {
    let mut client = Client::new(address);
    let mut load = Load::default();
    while !dead.load(Ordering::Acquire) {
        let serial = next.fetch_add(1, Ordering::Relaxed);
        let inline = serial.is_multiple_of(RECEIPT_EVERY);
        let path = if inline { "/api/v1/decisions?receipt=inline" } else { "/api/v1/decisions" };
        let body = body(seed, serial, &nonce(seed, serial));
        let Ok(response) = client.request("POST", path, Some(&body)) else {
            load.in_flight.push(serial);
            break;
        };
        match response.status {
            200 => match Answer::parse(&response.body) {
                Ok(answer) if inline && answer.receipt.is_none() => {
                    load.wrong = Some(format!("no receipt in {}", response.text()));
                    break;
                }
                Ok(answer) => {
                    let held = answer.outcome == "REQUIRE_APPROVAL";
                    load.acked.push(Acked { serial, answer });
                    match held.then(|| course(&mut client, seed, serial, &response.body)) {
                        None => {}
                        Some(Ok((course, goes_on))) => {
                            load.courses.push(course);
                            if !goes_on {
                                break;
                            }
                        }
                        Some(Err(error)) => {
                            load.wrong = Some(format!("{error:#}"));
                            break;
                        }
                    }
                }
                Err(error) => {
                    load.wrong = Some(format!("{error:#}"));
                    break;
                }
            },
            // Refused before the log: overload and admission bounds. Nothing was acknowledged.
            429 | 503 => {
                load.refused += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            status => {
                load.wrong = Some(format!("status {status}: {}", response.text()));
                break;
            }
        }
        first.store(true, Ordering::Release);
    }
    load
}

/// What becomes of a held action, and whether the server still answers.
fn course(client: &mut Client, seed: u64, serial: u64, answer: &[u8]) -> Result<(Course, bool)> {
    let mut course = Course::of(serial, answer)?;
    let goes_on = course.go(client, seed)?;
    Ok((course, goes_on))
}

/// Body of request number `serial`: every outcome, the same bytes each time it is sent.
pub(crate) fn body(seed: u64, serial: u64, nonce: &str) -> String {
    let mut random = Random(seed ^ serial.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (surface, action, amount) = match random.below(50) {
        0..30 => ("crash.read", "get", 0),
        30..42 => ("crash.write", "put", 1 + random.below(1000)),
        42 => ("crash.write", "put", 1001 + random.below(1000)),
        43..47 => ("crash.destroy", "drop", 0),
        _ => ("crash.unknown", "guess", 0),
    };
    let padding = "x".repeat(random.below(400) as usize);
    format!(
        "{{\"surface\":\"{surface}\",\"action\":\"{action}\",\"idempotency_key\":\"{seed}-{serial}\",\
         \"attempt_nonce\":\"{nonce}\",\"trace_id\":\"crash-{serial}\",\"target\":\"row-{serial}\",\
         \"arguments\":{{\"amount\":{amount},\"note\":\"crash\",\"padding\":\"{padding}\"}}}}"
    )
}

/// The nonce of the first attempt of request number `serial`.
pub(crate) fn nonce(seed: u64, serial: u64) -> String {
    format!("attempt-{seed}-{serial}")
}

/// SplitMix64: a sequence that is the same for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number in `range`.
    pub(crate) fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn requests_are_the_same_each_time_and_cover_every_rule() {
        let mut surfaces = std::collections::BTreeSet::new();
        for serial in 0..500 {
            let one = body(7, serial, "n");
            assert_eq!(one, body(7, serial, "n"));
            let value: Value = serde_json::from_str(&one).unwrap();
            let large = value["arguments"]["amount"].as_u64().unwrap() > 1000;
            surfaces.insert((value["surface"].as_str().unwrap().to_owned(), large));
        }
        assert_eq!(surfaces.len(), 5);
    }
}
