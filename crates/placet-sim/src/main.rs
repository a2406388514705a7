//! The command line of the simulator: seeds, one after another on all cores, until the number or
//! the time is reached; or one seed with its trace.

use placet_sim::{Mutant, Outcome, Totals, run};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const USAGE: &str = "\
placet-sim [--seeds N] [--seconds S] [--from SEED] [--threads N] [--mutant NAME]
placet-sim --seed SEED [--mutant NAME]      one seed, with everything that happened in it

  --seeds N     at most so many seeds (default 10000)
  --seconds S   no further seed after so many seconds
  --from SEED   the first seed (default 1)
  --threads N   seeds at a time (default: the cores)
  --mutant NAME with a planted defect, which has to be found
";

struct Args {
    seed: Option<u64>,
    seeds: u64,
    seconds: Option<u64>,
    from: u64,
    threads: usize,
    mutant: Option<Mutant>,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(args) => match args.seed {
            Some(seed) => one(seed, args.mutant),
            None => many(&args),
        },
        Err(what) => {
            eprintln!("error: {what}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut args =
        Args { seed: None, seeds: 10_000, seconds: None, from: 1, threads: cores, mutant: None };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number =
            || value.parse::<u64>().map_err(|_| format!("{word} needs a number, not {value}"));
        match word.as_str() {
            "--seed" => args.seed = Some(number()?),
            "--seeds" => args.seeds = number()?,
            "--seconds" => args.seconds = Some(number()?),
            "--from" => args.from = number()?,
            "--threads" => args.threads = usize::try_from(number()?).unwrap_or(1).clamp(1, 256),
            "--mutant" => {
                let names: Vec<&str> = Mutant::ALL.iter().map(|(_, name, _)| *name).collect();
                let mutant = Mutant::parse(&value);
                args.mutant =
                    Some(mutant.ok_or_else(|| {
                        format!("no such mutant; there are {}", names.join(", "))
                    })?);
            }
            _ => return Err(format!("unknown option {word}")),
        }
    }
    Ok(args)
}

fn one(seed: u64, mutant: Option<Mutant>) -> ExitCode {
    let outcome = run(seed, mutant, true);
    outcome.trace.iter().for_each(|line| println!("{line}"));
    println!("seed {seed}: trace {:016x}, {:?}", outcome.hash, outcome.totals);
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("seed {seed} FAILS {}: {}", violation.checker, violation.what);
            ExitCode::FAILURE
        }
    }
}

fn many(args: &Args) -> ExitCode {
    let started = Instant::now();
    let (next, done) = (AtomicU64::new(args.from), AtomicU64::new(0));
    let end = args.from.saturating_add(args.seeds);
    let stop = AtomicBool::new(false);
    let failed: Mutex<Option<Outcome>> = Mutex::new(None);
    let sum: Mutex<Totals> = Mutex::default();
    // A panic inside a seed is reported with the seed, not where it happens.
    std::panic::set_hook(Box::new(|_| {}));
    let late = || args.seconds.is_some_and(|max| started.elapsed() >= Duration::from_secs(max));
    let work = || {
        while !stop.load(Ordering::Relaxed) && !late() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            let outcome = run(seed, args.mutant, false);
            if let Ok(mut sum) = sum.lock() {
                sum.add(&outcome.totals);
            }
            done.fetch_add(1, Ordering::Relaxed);
            if outcome.violation.is_some() {
                stop.store(true, Ordering::Relaxed);
                if let Ok(mut failed) = failed.lock()
                    && failed.as_ref().is_none_or(|known| outcome.seed < known.seed)
                {
                    *failed = Some(outcome);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..args.threads).map(|_| scope.spawn(work)).collect();
        let mut said = Instant::now();
        while threads.iter().any(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
            if said.elapsed() >= Duration::from_secs(10) {
                said = Instant::now();
                let (done, spent) = (done.load(Ordering::Relaxed), started.elapsed().as_secs_f64());
                println!("{done} seeds in {spent:.0} s, {:.0} per second", done as f64 / spent);
            }
        }
    });
    let (done, spent) = (done.load(Ordering::Relaxed), started.elapsed().as_secs_f64());
    let sum = sum.into_inner().unwrap_or_default();
    println!(
        "{done} seeds in {spent:.1} s, {:.1} per second, {} threads",
        done as f64 / spent,
        args.threads
    );
    println!("{sum}");
    match failed.into_inner().ok().flatten() {
        None => ExitCode::SUCCESS,
        Some(outcome) => {
            let (seed, mutant) = (outcome.seed, args.mutant);
            let found = run(seed, mutant, true);
            let shown = found.trace.len().saturating_sub(60);
            found.trace.iter().skip(shown).for_each(|line| println!("{line}"));
            if let Some(violation) = &outcome.violation {
                println!("seed {seed} FAILS {}: {}", violation.checker, violation.what);
            }
            let with = Mutant::ALL.iter().find(|(known, ..)| Some(*known) == mutant);
            let with = with.map(|(_, name, _)| format!(" --mutant {name}")).unwrap_or_default();
            println!("replay: cargo xtask sim --seed {seed}{with}");
            ExitCode::FAILURE
        }
    }
}
