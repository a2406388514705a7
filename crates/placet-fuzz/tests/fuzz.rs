//! Properties of the parsers over spoilt good inputs and over plain noise. `PLACET_FUZZ_CASES` says
//! how many of each; the default is what `./test` can spare.

use placet_engine::{Bounds, State};
use placet_fuzz::{Change, Held, apply};
use placet_runtime::frame::{Frame, push};
use placet_tlog::Trust;
use placet_tlog::verify::PortableHasher;
use placet_types::event::Entry;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::Cell;
use std::path::Path;

/// Cases of each property, spoilt and noise together.
const CASES: u32 = 8_000;

fn cases(share: u32) -> u32 {
    let asked = std::env::var("PLACET_FUZZ_CASES").ok();
    let asked = asked.map(|text| text.parse().expect("PLACET_FUZZ_CASES is a number"));
    (asked.unwrap_or(CASES) / share).max(1)
}

/// The good inputs of a format.
fn seeds(format: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(format);
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let all: Vec<_> = names.iter().map(|name| std::fs::read(name).unwrap()).collect();
    assert!(!all.is_empty(), "{format} has no seeds");
    all
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
fn check(seeds: &[Vec<u8>], share: u32, property: impl Fn(&[u8]) -> Held) {
    for seed in seeds {
        assert_eq!(property(seed), Ok(true), "{}", String::from_utf8_lossy(seed));
    }
    let config = ProptestConfig {
        cases: cases(share),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let refused = Cell::new(0_u32);
    let run = TestRunner::new(config).run(&input(seeds), |bytes| {
        match property(&bytes) {
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

fn entries() -> Vec<Entry> {
    seeds("entry").iter().map(|bytes| Entry::parse(bytes).unwrap()).collect()
}

fn trust() -> Trust {
    Trust::parse::<PortableHasher>(&seeds("trust")[0]).unwrap()
}

#[test]
fn requests() {
    check(&seeds("request"), 1, placet_fuzz::request);
}

#[test]
fn bundles() {
    check(&seeds("bundle"), 2, placet_fuzz::bundle);
}

#[test]
fn normal_forms_of_bundles() {
    let normal = |bytes: &Vec<u8>| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let source = placet_policy::Source { name: "seed".to_owned(), text };
        placet_policy::Bundle::compile::<PortableHasher>(&[source]).unwrap().normalised().to_vec()
    };
    let seeds: Vec<Vec<u8>> = seeds("bundle").iter().map(normal).collect();
    check(&seeds, 2, placet_fuzz::normal_bundle);
}

#[test]
fn entries_of_the_log() {
    check(&seeds("entry"), 1, placet_fuzz::entry);
}

#[test]
fn receipts() {
    let (genuine, trust) = (seeds("receipt"), trust());
    check(&genuine, 1, |bytes| placet_fuzz::receipt(bytes, &genuine, &trust));
}

#[test]
fn checkpoints() {
    let (genuine, trust) = (seeds("checkpoint"), trust());
    check(&genuine, 1, |bytes| placet_fuzz::checkpoint(bytes, &genuine[0], &trust));
}

#[test]
fn trust_files() {
    check(&seeds("trust"), 1, placet_fuzz::trust);
}

#[test]
fn frames_of_the_journal() {
    let entries = seeds("entry");
    let mut batches = vec![Vec::new(); 3];
    for (at, entry) in entries.iter().enumerate() {
        let payload = vec![at as u8; at * 7];
        push(&mut batches[at % 3], Frame { entry, slot: at as u64, payload: &payload });
    }
    check(&batches, 1, placet_fuzz::frame);
}

#[test]
fn states_in_snapshots() {
    let entries = entries();
    let mut state = State::new(Bounds::default());
    let mut snapshots = Vec::new();
    for entry in &entries {
        state.apply(entry).unwrap();
        let mut bytes = Vec::new();
        state.write_snapshot(&mut bytes);
        snapshots.push(bytes);
    }
    check(&snapshots, 1, placet_fuzz::snapshot);
}

#[test]
fn idempotency_keys_in_snapshots() {
    let mut state = State::new(Bounds::default());
    state.gather_idempotency();
    for entry in entries() {
        state.apply(&entry).unwrap();
    }
    let (mut run, keys) = (Vec::new(), state.gather_idempotency());
    keys.write_run(placet_types::ids::TimeMs(0), &mut run);
    assert!(!run.is_empty());
    let three = run.len().min(3 * placet_engine::IdempotencyKeys::RUN_BYTES);
    check(&[run[..three].to_vec(), run], 1, placet_fuzz::keys);
}
