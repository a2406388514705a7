//! `delegate`, `delegations`: lending one's right to approve for a while. Refuses to know what the
//! roles are for; the server holds that nobody lends what is not theirs.

use crate::client::escape;
use crate::commands::ask::Ask;
use crate::exit::{Done, Fault};
use crate::output;
use clap::{ArgGroup, Args, Subcommand};
use placet_types::duration::duration_ms;
use placet_types::ids::TimeMs;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Let somebody else approve in your place, for a while.
///
/// The other person fills the roles as you do, and never in your right approves what either of you proposed.
#[derive(Args, Debug)]
#[command(
    group = ArgGroup::new("end").required(true).args(["for_", "until"]),
    after_help = "Examples:
  placet delegate refund_approver --to human:bob --for 7d
  placet delegate operator treasurer --to human:bob --until 2026-12-24T18:00:00Z
  placet delegate operator --to human:bob --for 8h --surfaces 'payments.**'"
)]
pub(crate) struct DelegateArgs {
    /// Roles of yours that the other person is to fill.
    #[arg(required = true, value_name = "ROLE")]
    roles: Vec<String>,
    /// The person, `human:…`.
    #[arg(long, value_name = "ACTOR")]
    to: String,
    /// How long: `8h`, `7d`.
    #[arg(long = "for", id = "for_", value_name = "TIME", value_parser = span)]
    for_: Option<u64>,
    /// Until when (RFC 3339), instead.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<TimeMs>,
    /// Only for actions on surfaces that match; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    surfaces: Vec<String>,
    #[command(flatten)]
    ask: Ask,
}

/// Delegations of the right to approve.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  placet delegations
  placet delegations end dlg_018f…"
)]
pub(crate) struct DelegationsArgs {
    #[command(subcommand)]
    command: Option<DelegationsCommand>,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Subcommand, Debug)]
enum DelegationsCommand {
    /// End one before its time
    End {
        /// Its id.
        id: String,
        #[command(flatten)]
        ask: Ask,
    },
}

/// Milliseconds of `90s`, `30m`, `8h`, `7d`.
pub(super) fn span(text: &str) -> std::result::Result<u64, String> {
    let expected = || "expected a number of s, m, h or d, such as 8h or 7d".to_owned();
    duration_ms(text).filter(|span| *span > 0).ok_or_else(expected)
}

pub(super) fn instant(text: &str) -> std::result::Result<TimeMs, String> {
    let expected = "expected an RFC 3339 time such as 2026-12-24T18:00:00Z";
    TimeMs::parse_rfc3339(text).ok_or_else(|| expected.to_owned())
}

/// Runs `delegate`.
pub(crate) async fn grant(args: DelegateArgs) -> Done {
    let until = match (args.until, args.for_) {
        (Some(until), _) => until,
        (None, Some(span)) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            TimeMs(u64::try_from(now.as_millis()).unwrap_or(u64::MAX)).plus(span)
        }
        (None, None) => return Err(Fault::usage("say --for how long, or --until when").into()),
    };
    let mut body = json!({"to": args.to, "roles": args.roles, "until": until.rfc3339()});
    if !args.surfaces.is_empty() {
        body["surfaces"] = json!(args.surfaces);
    }
    args.ask
        .post("/api/v1/delegations", &body, |made| {
            output::line(&format!("delegated: {}", output::plain(&made["id"])));
            output::field("to", &output::plain(&made["to"]));
            output::field("roles", &output::plain(&made["roles"]));
            output::field("until", &output::plain(&made["until"]));
        })
        .await
}

/// Runs `delegations`.
pub(crate) async fn delegations(args: DelegationsArgs) -> Done {
    if let Some(DelegationsCommand::End { id, ask }) = args.command {
        let path = format!("/api/v1/delegations/{}", escape(&id));
        let client = ask.client()?;
        let reply = client.expect(hyper::Method::DELETE, &path, &[], None).await?;
        let ended = match reply.body.is_empty() {
            true => json!({"id": id, "ended": true}),
            false => reply.json()?,
        };
        return ask.show(&ended, |_| output::line(&format!("ended: {}", output::safe(&id))));
    }
    let listed =
        json!({"delegations": args.ask.client()?.all("/api/v1/delegations", "delegations").await?});
    args.ask.show(&listed, |listed| {
        let rows: Vec<_> =
            listed["delegations"].as_array().into_iter().flatten().map(row).collect();
        if rows.is_empty() {
            output::line("nobody approves in another's place");
            return;
        }
        let head = ["id", "of", "to", "roles", "surfaces", "until", "state"];
        output::line(&output::table(&head, &rows));
    })
}

fn row(one: &Value) -> Vec<String> {
    let cell = |name: &str| output::plain(&one[name]);
    let mut row = vec![cell("id"), cell("by"), cell("to"), cell("roles"), cell("surfaces")];
    row.extend([cell("until"), cell("state")]);
    row
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_have_a_unit() {
        let read = ["90s", "30m", "8h", "7d"].map(|text| span(text).ok());
        assert_eq!(read, [Some(90_000), Some(1_800_000), Some(28_800_000), Some(604_800_000)]);
        for text in ["", "7", "d", "0d", "7w", "-1d", "99999999999999999999d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
