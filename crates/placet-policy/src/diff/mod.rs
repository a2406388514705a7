//! What two bundles say differently: meaning, not text. Where the partition of requests is finite every
//! cell of it is looked at, elsewhere samples are, and it says which, and what they do not cover.
//!
//! Both decisions come from [`Bundle::evaluate`] and [`placet_types::policy::combine`], as enforcement's do;
//! sliding windows, sequences and schedules are compared as declared, and do not apply otherwise. What
//! depends on the age of evidence is compared at every instant at which it turns. Where nothing is enumerated,
//! silence proves nothing: what differs and was not seen to decide otherwise is named. Owns no matching of its own.

mod aim;
mod automaton;
mod change;
mod conditions;
mod documents;
mod draft;
mod elements;
mod free;
mod gather;
mod going;
mod instances;
mod look;
mod render;
mod solve;
mod space;
mod witness;

use crate::bundle::Bundle;
use going::Going;
use look::Looking;
use placet_types::ids::{ActorId, TimeMs, WorkspaceName};
use placet_types::json::{Object, Value};
use placet_types::{Caller, Digest, Request};
use std::collections::BTreeSet;

pub use change::{Side, Transition};
pub use documents::{How, Part};
pub use elements::Element;
pub use placet_types::policy::Aspect;
use space::Space;

/// How far to look.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Most cells that are enumerated.
    pub cells_max: u64,
    /// Requests that are generated where cells are not enumerated.
    pub samples: u32,
    /// Witnesses of each kind of change.
    pub witnesses: usize,
}

impl Default for Extent {
    fn default() -> Self {
        Self { cells_max: 1_000_000, samples: 20_000, witnesses: 3 }
    }
}

/// What was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// The bundles have one digest.
    Identical,
    /// Every cell of the partition.
    Enumerated {
        /// How many there are.
        cells: u64,
    },
    /// Some requests.
    Sampled {
        /// Generated from patterns and constants of both bundles.
        generated: u64,
        /// Given by the caller, from a log for example.
        given: u64,
        /// Why the partition was not enumerated.
        not_covered: Vec<String>,
    },
}

/// A request that is decided otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Witness {
    /// The request, as a client would send it.
    pub request: Value,
    /// The verified facts.
    pub facts: Object,
    /// What the first bundle says.
    pub before: Side,
    /// What the second bundle says.
    pub after: Side,
    /// Whether it was given by the caller.
    pub given: bool,
    /// The instant of both decisions, where they depend on it.
    pub at: Option<TimeMs>,
}

/// All requests with one kind of change.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The change.
    pub transition: Transition,
    /// Cells, or sampled requests, that change so.
    pub count: u64,
    /// Rules that matched on either side and are added, removed or altered; where there are none,
    /// the deciding rules.
    pub rules: BTreeSet<String>,
    /// Some of them.
    pub witnesses: Vec<Witness>,
}

/// The difference of two bundles.
#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    /// Digests of both.
    pub digests: [Digest; 2],
    /// Whether it was left to look at all that it was to look at.
    pub complete: bool,
    /// What was looked at.
    pub coverage: Coverage,
    /// Kinds of change, by outcome.
    pub groups: Vec<Group>,
    /// Parts of the documents that differ, whether or not a decision does.
    pub parts: Vec<Part>,
    /// Where requests are sampled: parts that differ and may decide, and that no request which was
    /// compared was decided otherwise by. Nothing is proved of these.
    pub unseen: Vec<Element>,
}

/// Calls what it is given for each of some requests.
pub type Given<'a> = dyn FnMut(&mut dyn FnMut(&Request, &Caller)) + 'a;

/// Compares two bundles; `given` has requests to be looked at besides, where cells are not enumerated.
pub fn diff(before: &Bundle, after: &Bundle, extent: &Extent, given: &mut Given<'_>) -> Diff {
    diff_while(before, after, extent, given, &|| true)
}

/// As [`diff`], as long as `goes_on` says so, which is asked between one request and the next. What was cut
/// is not [`complete`](Diff::complete), and proves nothing.
pub fn diff_while(
    before: &Bundle,
    after: &Bundle,
    extent: &Extent,
    given: &mut Given<'_>,
    goes_on: &dyn Fn() -> bool,
) -> Diff {
    let digests = [before.digest(), after.digest()];
    let going = Going::new(goes_on);
    let parts = documents::compare(before, after);
    let Some(base) = base().filter(|_| digests[0] != digests[1]) else {
        let (groups, unseen) = (Vec::new(), Vec::new());
        let coverage = Coverage::Identical;
        return Diff { digests, complete: true, coverage, groups, parts, unseen };
    };
    let mut space = Space::of([before, after]);
    let mut looking = Looking::new([before, after], &parts, extent, &going);
    let combinations = space.combinations();
    if combinations > u128::from(extent.cells_max) {
        let why = format!(
            "{combinations} combinations are more than the {} that are enumerated",
            extent.cells_max
        );
        space.open.push(why);
    }
    let finite = space.open.is_empty();
    let cells = match finite {
        true => looking.enumerate(&space, &base),
        false => looking.sample(&space, &base),
    };
    let mut count = 0_u64;
    if !finite {
        given(&mut |request, caller| {
            if !going.is_over() {
                looking.look(request, caller, true);
                count = count.saturating_add(1);
            }
        });
    }
    let complete = !going.was_cut();
    let coverage = if finite && complete {
        Coverage::Enumerated { cells }
    } else {
        let mut not_covered = space.open.clone();
        if !complete {
            not_covered.push("it had to end before all of it was looked at".to_owned());
        }
        Coverage::Sampled { generated: cells, given: count, not_covered }
    };
    let proved = matches!(coverage, Coverage::Enumerated { .. });
    let (groups, unseen) = looking.finish();
    let unseen = if proved { Vec::new() } else { unseen };
    Diff { digests, complete, coverage, groups, parts, unseen }
}

/// A request of which every axis replaces something.
fn base() -> Option<(Request, Caller)> {
    let caller = Caller {
        workspace: WorkspaceName::parse("default")?,
        environment: "production".to_owned(),
        actor: ActorId::parse("agent:anything-else")?,
        roles: BTreeSet::new(),
        chain: Vec::new(),
    };
    let body = Object::new()
        .with("surface", "anything-else")
        .with("action", "anything-else")
        .with("idempotency_key", "policy-diff");
    Some((Request::read(Value::Object(body), &caller).ok()?, caller))
}
