//! The slab beside the obvious maps it stands for: same answers, same sizes, same bound.

use super::*;
use alloc::collections::BTreeMap;
use std::eprintln;

/// Sebastiano Vigna's splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn tag(&mut self) -> Tag {
        let mut tag = [0; 16];
        tag[..8].copy_from_slice(&self.next().to_le_bytes());
        tag[8..].copy_from_slice(&self.next().to_le_bytes());
        tag
    }
}

/// A map, and another from minutes to tags.
#[derive(Default)]
struct Naive {
    map: BTreeMap<Tag, Attempt>,
}

impl Naive {
    fn due(&self, now: TimeMs) -> usize {
        let due = |attempt: &&Attempt| end_minute(attempt.until) <= minute_of(now);
        self.map.values().filter(due).count()
    }

    fn get(&self, tag: &Tag, now: TimeMs) -> Option<Attempt> {
        self.map.get(tag).copied().filter(|attempt| attempt.until > now)
    }
}

fn check_invariant(keys: &IdempotencyKeys) {
    let listed: usize = keys.ends.values().map(Vec::len).sum();
    let hashed: usize = keys.tables.iter().map(HashTable::len).sum();
    assert_eq!((listed, hashed), (keys.len(), keys.len()));
    for (minute, list) in &keys.ends {
        assert!(!list.is_empty());
        for (place, slot) in list.iter().enumerate() {
            let record = keys.slab.get(*slot).unwrap();
            assert_eq!((record.minute(), record.place as usize), (*minute, place));
            assert_eq!(keys.slot_of(&record.tag), Some(*slot));
        }
    }
    assert_eq!(keys.slab.pieces.iter().map(Vec::len).sum::<usize>(), keys.len());
}

#[test]
fn the_slab_answers_as_the_maps_do() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let (mut keys, mut naive) = (IdempotencyKeys::default(), Naive::default());
        let tags: Vec<Tag> = (0..=random.below(300)).map(|_| random.tag()).collect();
        let mut now = TimeMs(1_800_000_000_000 + random.below(60_000));
        for index in 0..2000_u64 {
            now = now.plus(match random.below(10) {
                0 => 60_000,
                1 => 3_600_000,
                _ => random.below(3000),
            });
            let tag = tags[random.below(tags.len() as u64) as usize];
            let same = |a: Attempt| (a.index, a.bound, a.until);
            assert_eq!(keys.get(&tag, now).map(same), naive.get(&tag, now).map(same));
            let bound = random.below(200) as usize;
            assert_eq!(
                keys.is_full(bound, now),
                naive.map.len() >= bound && naive.due(now) == 0,
                "seed {seed}"
            );
            if random.below(3) == 0 {
                let due = naive.due(now);
                let before: Vec<Tag> =
                    tags.iter().copied().filter(|t| keys.slot_of(t).is_some()).collect();
                keys.forget(now);
                // Which of those that are due go first is nobody's business.
                assert_eq!(before.len() - keys.len(), due.min(FORGET_PER_ENTRY));
                for tag in before.iter().filter(|tag| keys.slot_of(tag).is_none()) {
                    let gone = naive.map.remove(tag).unwrap();
                    assert!(end_minute(gone.until) <= minute_of(now));
                }
            }
            if random.below(4) > 0 {
                let window = [1000, 60_000, 86_400_000][random.below(3) as usize];
                let attempt = Attempt {
                    index: index | random.below(2) << 39,
                    bound: random.below(2) == 0,
                    until: now.plus(window),
                    linked: random.below(2) == 0,
                };
                keys.set(tag, attempt);
                naive.map.insert(tag, attempt);
            }
            assert_eq!(keys.len(), naive.map.len());
        }
        check_invariant(&keys);
    }
}

#[test]
fn runs_in_the_order_of_the_log_give_the_same_answers() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let (mut whole, mut gathered) = (IdempotencyKeys::default(), IdempotencyKeys::gathering());
        let mut runs: Vec<(Vec<u8>, u64, u64)> = Vec::new();
        let tags: Vec<Tag> = (0..40).map(|_| random.tag()).collect();
        let (mut now, mut from) = (TimeMs(1_800_000_000_000), 0);
        for index in 0..1500_u64 {
            now = now.plus(random.below(20_000));
            whole.forget(now);
            gathered.forget(now);
            let tag = tags[random.below(40) as usize];
            let before = whole.get(&tag, now);
            if before.is_none_or(|attempt| !attempt.bound) {
                let window = [1000, 60_000, 3_600_000][random.below(3) as usize];
                let (bound, until) = (random.below(2) == 0, now.plus(window));
                let attempt = Attempt { index, bound, until, linked: before.is_some() };
                whole.set(tag, attempt);
                gathered.set(tag, attempt);
            }
            if random.below(100) == 0 {
                let mut run = Vec::new();
                let (count, _) = gathered.write_run(now, &mut run);
                assert_eq!(run.len() as u64, count * 28);
                runs.push((run, from, index + 1));
                (gathered, from) = (IdempotencyKeys::gathering(), index + 1);
                if runs.len() > 1 && random.below(2) == 0 {
                    // Two neighbours become one.
                    let at = random.below(runs.len() as u64 - 1) as usize;
                    let (second, _, until) = runs.remove(at + 1);
                    let (first, from, middle) = runs.remove(at);
                    let mut merged = IdempotencyKeys::gathering();
                    merged.read_run(&first, from, middle, now).unwrap();
                    merged.read_run(&second, middle, until, now).unwrap();
                    let mut run = Vec::new();
                    merged.write_run(now, &mut run);
                    runs.insert(at, (run, from, until));
                }
                let mut read = IdempotencyKeys::default();
                for (run, from, until) in &runs {
                    read.read_run(run, *from, *until, now).unwrap();
                }
                check_invariant(&read);
                for later in [0, 999, 60_000, 3_600_000] {
                    for tag in &tags {
                        let at = now.plus(later);
                        let same = |a: Attempt| (a.index, a.bound, a.until);
                        assert_eq!(read.get(tag, at).map(same), whole.get(tag, at).map(same));
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_no_run_is_refused() {
    let mut keys = IdempotencyKeys::default();
    keys.set([1; 16], Attempt { index: 7, bound: true, until: TimeMs(1 << 53), linked: false });
    let mut run = Vec::new();
    assert_eq!(keys.write_run(TimeMs(0), &mut run).0, 1);
    let read = |bytes: &[u8], from, until| {
        IdempotencyKeys::default().read_run(bytes, from, until, TimeMs(0))
    };
    assert_eq!(read(&run, 0, 8), Some(()));
    assert_eq!(read(&run[1..], 0, 8), None);
    assert_eq!(read(&run, 0, 7), None);
    assert_eq!(read(&run, 8, 9), None);
}

/// `cargo test --release -p placet-engine bytes_per_key -- --nocapture --ignored`
#[test]
#[ignore = "a measurement"]
fn bytes_per_key() {
    for count in [1_000_000_u64, 10_000_000] {
        let before = resident();
        let mut random = Random(1);
        let mut keys = IdempotencyKeys::default();
        let started = std::time::Instant::now();
        let mut slowest = core::time::Duration::ZERO;
        for index in 0..count {
            let until = TimeMs(1_800_000_000_000 + index / 10);
            let one = std::time::Instant::now();
            keys.set(random.tag(), Attempt { index, bound: true, until, linked: false });
            slowest = slowest.max(one.elapsed());
        }
        let spent = started.elapsed();
        let bytes = resident() - before;
        eprintln!(
            "{count} keys: {:.1} bytes each, {:.0} ns each, the slowest {slowest:?}",
            bytes as f64 / count as f64,
            spent.as_nanos() as f64 / count as f64
        );
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kib = line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
