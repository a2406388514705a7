//! Prints what one evaluation costs at 10 to 10,000 rules: thread CPU time, minimum of 15 batches.
//! Run with `cargo run --release -p placet-policy --example evaluate`.

use placet_policy::generate::{Shape, workload};
use placet_policy::{Bundle, Scratch};
use placet_types::Hasher;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Instant;

#[derive(Clone, Copy)]
struct Sha2;

impl Hasher for Sha2 {
    fn sha256(parts: &[&[u8]]) -> [u8; 32] {
        use sha2::Digest;
        let mut state = sha2::Sha256::new();
        for part in parts {
            state.update(part);
        }
        state.finalize().into()
    }

    fn hmac(_: &[u8], _: &[&[u8]]) -> [u8; 32] {
        [0; 32]
    }
}

fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Nanoseconds per call over one batch.
fn batch(calls: usize, mut call: impl FnMut(usize)) -> f64 {
    let start = thread_ns();
    (0..calls).for_each(&mut call);
    (thread_ns() - start) as f64 / calls as f64
}

const SIZES: [usize; 4] = [10, 100, 1000, 10_000];
/// Calls per batch: some 20 ms at half a microsecond.
const CALLS: usize = 40_000;
const BATCHES: usize = 15;

fn main() {
    let kib = [7_u8; 1024];
    let hash = (0..BATCHES)
        .map(|_| {
            batch(CALLS, |_| {
                black_box(Sha2::sha256(&[black_box(&kib)]));
            })
        })
        .fold(f64::INFINITY, f64::min);
    println!("sha-256 of 1 KiB (portable sha2): {hash:.0} ns");
    println!(
        "{:<10} {:>6} {:>8} {:>7} {:>8} {:>11} {:>14}",
        "shape", "rules", "ns/op", "growth", "hits/op", "compile ms", "normal bytes"
    );
    for shape in [Shape::Plain, Shape::Condition, Shape::OnlyWhen] {
        let loads =
            SIZES.map(|rules| workload(rules, 512, shape, 7).expect("fixed names are legal"));
        let compiled = loads.iter().map(|load| {
            let start = Instant::now();
            let bundle = Bundle::compile::<Sha2>(&load.sources).expect("the generator is valid");
            (bundle, start.elapsed().as_secs_f64() * 1e3)
        });
        let bundles: Vec<_> = compiled.collect();
        let mut scratch = Scratch::default();
        let mut least = [f64::INFINITY; 4];
        // Sizes take turns, so that a busy moment of the machine hits all of them.
        for _ in 0..=BATCHES {
            for ((least, load), (bundle, _)) in least.iter_mut().zip(&loads).zip(&bundles) {
                let calls = if shape == Shape::OnlyWhen { 512 } else { CALLS };
                let ns = batch(calls, |at| {
                    let (request, caller) = &load.requests[at % load.requests.len()];
                    black_box(bundle.evaluate(black_box(request), caller, &mut scratch));
                });
                *least = least.min(ns);
            }
        }
        for (((rules, ns), load), (bundle, ms)) in SIZES.iter().zip(least).zip(&loads).zip(&bundles)
        {
            let hits: usize = load
                .requests
                .iter()
                .map(|(request, caller)| bundle.evaluate(request, caller, &mut scratch).hits.len())
                .sum();
            let hits = hits as f64 / load.requests.len() as f64;
            let (name, growth) = (format!("{shape:?}"), ns / least[0]);
            let bytes = bundle.normalised().len();
            println!(
                "{name:<10} {rules:>6} {ns:>8.0} {growth:>7.2} {hits:>8.2} {ms:>11.1} {bytes:>14}"
            );
        }
    }
}
