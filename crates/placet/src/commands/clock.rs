//! `clock confirm`: a person says that the server's wall clock is right. Owns nothing; the server knows who may.

use crate::commands::ask::Ask;
use crate::exit::Done;
use crate::output;
use clap::{Args, Subcommand};
use serde_json::json;

/// Say that the server's clock is right, after it ran off (`clock_unsure`)
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  date && placet clock confirm                # an operator of the first workspace, who has looked

Expiries, schedules and windows count from the clock that is confirmed; time in the log never goes back. A
rotation of the signing key that a doubtful clock has kept back is completed.")]
pub(crate) struct ClockArgs {
    #[command(subcommand)]
    command: ClockCommand,
}

#[derive(Subcommand, Debug)]
enum ClockCommand {
    /// Believe the wall clock from here on.
    Confirm(ConfirmArgs),
}

#[derive(Args, Debug)]
struct ConfirmArgs {
    #[command(flatten)]
    ask: Ask,
}

/// Runs it.
pub(crate) async fn run(args: ClockArgs) -> Done {
    let ClockCommand::Confirm(ConfirmArgs { ask }) = args.command;
    let answer = ask.client()?.post("/api/v1/clock/confirm", &json!({})).await?;
    ask.show(&answer, |answer| {
        output::line(&format!("the clock is {}", output::plain(&answer["status"])));
    })
}
