//! `placet bench`: the published measurements. Owns what is measured and how it is reported; every
//! bench prints the machine, the floor and the figures of one run together.

mod approvals;
mod backtest;
mod evaluate;
mod evidence;
mod exceptions;
mod floor;
mod kill;
mod layers;
mod load;
mod log;
mod overload;
mod report;
mod serve;
mod server;
mod timed;
mod verify;

use anyhow::Result;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Measure, beside the floor of this machine
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  placet bench evaluate\n  placet bench serve --seconds 10\n  placet bench serve --workspaces 1000 --json\n  placet bench verify\n  placet bench backtest\n  placet bench log --entries 10000000 --resume /var/tmp/log\n  placet bench approvals --pending 100000\n  placet bench kill --trips 1000\n  placet bench overload --seconds 300"
)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
    /// Print one JSON document
    #[arg(long, global = true)]
    json: bool,
    /// Tiny input: shows that the bench works, measures nothing, and its bars do not count
    #[arg(long, global = true)]
    smoke: bool,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Time of evaluating one request, from 10 to 10,000 rules, capabilities, roles, workspaces and exceptions,
    /// and to 1,000,000 pieces of evidence
    Evaluate(evaluate::Evaluate),
    /// Durable decisions with receipt over HTTP, beside a constant answer and the flush floor
    Serve(serve::Serve),
    /// Receipts and a whole log verified offline, beside SHA-256
    Verify(verify::Verify),
    /// Deciding a log again under another bundle, on two threads
    Backtest(backtest::Backtest),
    /// A long log: start, memory, traces and receipts, at a tenth of its length and at the whole
    Log(log::Log),
    /// Very many held actions in one workspace: pages, votes, timers, waiting callers, a restart
    Approvals(approvals::Approvals),
    /// From asking for a kill to the last permit, under load, by every scope and way to ask
    Kill(kill::Kill),
    /// Ten times the sustainable load: memory, refusals, and how soon the server is itself again
    Overload(overload::Overload),
    /// The load generator, as a process of its own
    #[command(hide = true)]
    Load(load::Load),
    /// The real server over a journal that can be made to hang, as a process of its own
    #[command(hide = true)]
    Ill(Box<kill::Ill>),
    /// A server that answers a constant, as a process of its own
    #[command(hide = true)]
    Constant(server::Constant),
}

/// Runs a bench.
pub(crate) async fn run(bench: Bench) -> Result<ExitCode> {
    let Bench { what, json, smoke } = bench;
    match what {
        What::Evaluate(args) if smoke => evaluate::run(&args.smoke())?.print_smoke(json),
        What::Evaluate(args) => evaluate::run(&args)?.print(json),
        What::Serve(args) if smoke => serve::run(&args.smoke()).await?.print_smoke(json),
        What::Serve(args) => serve::run(&args).await?.print(json),
        What::Verify(args) if smoke => verify::run(&args.smoke())?.print_smoke(json),
        What::Verify(args) => verify::run(&args)?.print(json),
        What::Backtest(args) if smoke => backtest::run(&args.smoke()).await?.print_smoke(json),
        What::Backtest(args) => backtest::run(&args).await?.print(json),
        What::Log(args) if smoke => log::run(&args.smoke()).await?.print_smoke(json),
        What::Log(args) => log::run(&args).await?.print(json),
        What::Approvals(args) if smoke => approvals::run(&args.smoke()).await?.print_smoke(json),
        What::Approvals(args) => approvals::run(&args).await?.print(json),
        What::Kill(args) if smoke => kill::run(&args.smoke()).await?.print_smoke(json),
        What::Kill(args) => kill::run(&args).await?.print(json),
        What::Overload(args) if smoke => overload::run(&args.smoke()).await?.print_smoke(json),
        What::Overload(args) => overload::run(&args).await?.print(json),
        What::Load(args) => load::run(args).await,
        What::Ill(args) => kill::serve_ill(*args).await,
        What::Constant(args) => server::constant(args).await,
    }
}
