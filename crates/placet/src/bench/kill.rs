//! Time between asking for a kill and the last permit that leaves, under load, for every scope and every way to
//! ask: while all is well, while HTTP is saturated, while a flush hangs, and while the store is full. The server is
//! a process of its own; load and clock are here, so that both ends are read from one clock.

mod full;
mod hanging;
mod load;
mod trip;

use super::floor::quantile;
use super::report::{Report, Row};
use anyhow::Result;
use clap::Args;
use std::path::{Path, PathBuf};
use trip::{Times, Way};

pub(super) use hanging::{Ill, serve as serve_ill};

/// Arguments of `bench kill`.
#[derive(Args, Debug)]
pub(super) struct Kill {
    /// Trips in all: seven in ten under load, spread over all scopes and ways, two in ten while HTTP is saturated, and as many again at the operators' address,
    /// one in twenty while a flush hangs, one in a hundred while the store is full
    #[arg(long, default_value_t = 1000)]
    trips: usize,
    /// Connections that ask for permits all the time
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Connections of the part in which HTTP is saturated; 0 leaves it out
    #[arg(long, default_value_t = 512)]
    saturated: usize,
    /// Where to keep the data while measuring
    #[arg(long)]
    scratch: Option<PathBuf>,
}

impl Kill {
    pub(super) fn smoke(self) -> Self {
        Self { trips: 1, connections: 4, saturated: 8, ..self }
    }
}

/// Bars in milliseconds: over HTTP at the 99th percentile and at most, and beside it at most.
const HTTP: (f64, f64) = (10.0, 50.0);
const BESIDE: f64 = 100.0;

pub(super) async fn run(args: &Kill) -> Result<Report> {
    let scratch = match &args.scratch {
        Some(path) => path.clone(),
        None => std::env::temp_dir().join(format!("placet-kill-{}", std::process::id())),
    };
    std::fs::create_dir_all(&scratch)?;
    let report = measure(args, &scratch).await;
    std::fs::remove_dir_all(&scratch)?;
    report
}

async fn measure(args: &Kill, scratch: &Path) -> Result<Report> {
    let bundle = scratch.join("bundle");
    std::fs::create_dir_all(&bundle)?;
    std::fs::write(bundle.join("rules.yaml"), super::serve::BUNDLE)?;
    let place = |name: &str| {
        let (data, bundle) = (scratch.join(name), bundle.clone());
        trip::Place { data, bundle, beside: name == "operators" }
    };
    let mut rows = Vec::new();
    let share = |parts: usize, of: usize| args.trips * parts / of;

    let (all, rate) = trip::part(&place("load"), args.connections, share(7, 10)).await?;
    rows.push(Row::new(format!("permits, {} connections", args.connections), rate, "/s"));
    show(&mut rows, "", all);
    if args.saturated > 0 {
        let (all, rate) = trip::part(&place("saturated"), args.saturated, share(2, 10)).await?;
        rows.push(Row::new(format!("permits, {} connections", args.saturated), rate, "/s"));
        show(&mut rows, ", HTTP saturated", all);
        let (all, _) = trip::part(&place("operators"), args.saturated, share(2, 10)).await?;
        show(&mut rows, ", HTTP saturated, asked at the operators' address", all);
    }
    let all = hanging::part(&place("hanging"), args.connections, share(1, 20)).await?;
    show(&mut rows, ", a flush hangs", all);
    let all = full::part(&place("full"), args.connections, share(1, 100)).await?;
    show(&mut rows, ", the store is full", all);
    Ok(Report { bench: "kill", floor: Vec::new(), rows })
}

/// A row for the most of each way, and all that there is to say of the ways over HTTP together and of those beside it.
fn show(rows: &mut Vec<Row>, when: &str, all: Vec<Times>) {
    let (beside, http): (Vec<Times>, Vec<Times>) =
        all.into_iter().partition(|times| times.way.is_beside());
    for times in &http {
        let most = times.seconds.iter().copied().fold(0.0, f64::max) * 1e3;
        let name = format!("{}{when}: maximum", times.way.name());
        rows.push(Row::new(name, most, "ms").at_most(HTTP.1));
    }
    if !http.is_empty() {
        let (p99, most) = HTTP;
        together(rows, &format!("all scopes over HTTP{when}"), &http, (Some(p99), most));
    }
    for times in beside {
        let name = format!("{}{when}", times.way.name());
        let mut told = times.told.clone();
        together(rows, &name, &[times], (None, BESIDE));
        if !told.is_empty() {
            let most = quantile(&mut told, 1.0) * 1e3;
            let name = format!("{name}: gates are told, maximum");
            rows.push(Row::new(name, most, "ms").at_most(BESIDE));
        }
    }
}

fn together(rows: &mut Vec<Row>, name: &str, all: &[Times], (p99, most): (Option<f64>, f64)) {
    let mut seconds: Vec<f64> =
        all.iter().flat_map(|times| times.seconds.iter().copied()).collect();
    let late: u64 = all.iter().map(|times| times.late).sum();
    let title = |what: &str| format!("{name}: {what}");
    rows.push(Row::new(title("trips"), seconds.len() as f64, ""));
    let [half, tail, last] = [0.5, 0.99, 1.0].map(|at| quantile(&mut seconds, at) * 1e3);
    rows.push(Row::new(title("p50"), half, "ms"));
    let row = Row::new(title("p99"), tail, "ms");
    rows.push(match p99 {
        Some(bar) => row.at_most(bar),
        None => row,
    });
    rows.push(Row::new(title("maximum"), last, "ms").at_most(most));
    rows.push(Row::new(title("permits after"), late as f64, "").at_most(0.0));
}

/// All ways, each with nothing measured yet.
fn ways(beside_only: bool) -> Vec<Times> {
    Way::all().filter(|way| !beside_only || way.is_beside()).map(Times::new).collect()
}
