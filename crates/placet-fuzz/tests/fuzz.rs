//! Properties of the parsers over spoilt good inputs and over plain noise. `PLACET_FUZZ_CASES` says
//! how many of each; the default is what `./test` can spare.

use placet_fuzz::{Change, Format, apply};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::Cell;

/// Cases of each property, spoilt and noise together.
const CASES: u32 = 8_000;

fn cases(share: u32) -> u32 {
    let asked = std::env::var("PLACET_FUZZ_CASES").ok();
    let asked = asked.map(|text| text.parse().expect("PLACET_FUZZ_CASES is a number"));
    (asked.unwrap_or(CASES) / share).max(1)
}

fn change() -> impl Strategy<Value = Change> {
    let (at, count) = (any::<usize>(), 1_usize..40);
    prop_oneof![
        4 => (at, 1_u8..).prop_map(|(at, mask)| Change::Flip(at, mask)),
        2 => (at, count.clone()).prop_map(|(at, count)| Change::Cut(at, count)),
        1 => (at, count.clone()).prop_map(|(at, count)| Change::Repeat(at, count)),
        1 => (at, at, count.clone()).prop_map(|(one, two, count)| Change::Swap(one, two, count)),
        3 => (at, at).prop_map(|(at, word)| Change::Insert(at, word)),
        1 => (at, at, count).prop_map(|(at, from, count)| Change::Splice(at, from, count)),
        1 => at.prop_map(Change::End),
    ]
}

fn input(seeds: &[Vec<u8>]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let seeds = seeds.to_vec();
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    let spoilt = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        prop::collection::vec(change(), 1..5),
    );
    prop_oneof![
        9 => spoilt.prop_map(move |(one, other, changes)| {
            apply(one.get::<Vec<u8>>(&seeds), other.get::<Vec<u8>>(&seeds), &changes)
        }),
        1 => noise,
    ]
}

/// Every seed is accepted; of everything else the property holds, and some of it is refused.
#[track_caller]
fn check(name: &str, share: u32) {
    let format = Format::named(name).unwrap();
    assert!(!format.seeds().is_empty(), "{name} has no seeds");
    for seed in format.seeds() {
        assert_eq!(format.holds(seed), Ok(true), "{}", String::from_utf8_lossy(seed));
    }
    let config = ProptestConfig {
        cases: cases(share),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let refused = Cell::new(0_u32);
    let run = TestRunner::new(config).run(&input(format.seeds()), |bytes| {
        match format.holds(&bytes) {
            Ok(accepted) => refused.set(refused.get() + u32::from(!accepted)),
            Err(why) => prop_assert!(false, "{why}\ninput: {:?}", String::from_utf8_lossy(&bytes)),
        }
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
    assert!(refused.get() > 0, "nothing was refused: the inputs are not spoilt");
}

#[test]
fn requests() {
    check("request", 1);
}

#[test]
fn bundles() {
    check("bundle", 2);
}

#[test]
fn normal_forms_of_bundles() {
    check("normal-bundle", 2);
}

#[test]
fn entries_of_the_log() {
    check("entry", 1);
}

#[test]
fn receipts() {
    check("receipt", 1);
}

#[test]
fn checkpoints() {
    check("checkpoint", 1);
}

#[test]
fn trust_files() {
    check("trust", 1);
}

#[test]
fn frames_of_the_journal() {
    check("frame", 1);
}

#[test]
fn states_in_snapshots() {
    check("snapshot", 1);
}

#[test]
fn idempotency_keys_in_snapshots() {
    check("keys", 1);
}

/// A good input that is not one is left out where it is made, and would not be missed.
#[test]
fn no_format_lacks_a_good_input() {
    let count = |name| Format::named(name).unwrap().seeds().len();
    let entries = count("entry");
    let counts = Format::NAMES.map(count);
    assert_eq!(counts, [11, 3, 3, entries, 3, 1, 2, 3, entries, 2]);
    assert!(Format::named("nonsense").is_none());
}
