//! The simulator on itself: seeds hold, a seed is the same twice, and every planted defect is found
//! by a checker that is there for it.

use placet_sim::{Mutant, Totals, run};

/// Seeds within which each planted defect must be found.
const SEEDS: u64 = 300;

#[test]
fn seeds_hold() {
    let mut sum = Totals::default();
    for seed in 1..=SEEDS {
        let outcome = run(seed, None, false);
        assert_eq!(outcome.violation, None, "replay: cargo xtask sim --seed {seed}");
        assert!(outcome.totals.entries > 0, "seed {seed} did nothing");
        sum.add(&outcome.totals);
    }
    // What is checked does happen.
    let happens = [
        sum.scoped,
        sum.lifts,
        sum.executions,
        sum.queued,
        sum.exceptions,
        sum.passages,
        sum.evidence,
        sum.proved,
    ];
    assert!(happens.iter().all(|count| *count >= 20), "{sum}");
}

#[test]
fn a_seed_is_the_same_twice() {
    for seed in [1, 2, 3, 17, 4242] {
        let (one, other) = (run(seed, None, true), run(seed, None, true));
        assert_eq!(one.hash, other.hash, "seed {seed}");
        assert_eq!(one.trace, other.trace, "seed {seed}");
        let without_lines = run(seed, None, false);
        assert_eq!(one.hash, without_lines.hash, "seed {seed}");
    }
    assert_ne!(run(1, None, false).hash, run(2, None, false).hash);
}

#[test]
fn every_planted_defect_is_found() {
    for (mutant, name, checkers) in Mutant::ALL {
        let found = (1..=SEEDS).find_map(|seed| run(seed, Some(mutant), false).violation);
        let Some(found) = found else { panic!("{name} is not found in {SEEDS} seeds") };
        assert!(checkers.contains(&found.checker), "{name} is found by another: {found:?}");
    }
}
