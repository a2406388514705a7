//! `freeze`, `disable`, `revoke`, `overrides`: what people stop besides killing it. Owns how a scope is
//! given on the command line.

use crate::commands::ask::{Ask, Governed};
use crate::commands::key::{RevokeSigner, revoke_key, revoke_signer};
use crate::commands::trips;
use crate::exit::Done;
use crate::output;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// What is to be stopped: the workspace, unless one of these says otherwise.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub(crate) struct Which {
    /// Every workspace, not only that of the key.
    #[arg(long)]
    everything: bool,
    /// One unit of automation.
    #[arg(long, value_name = "NAME")]
    capability: Option<String>,
    /// One variant of a capability.
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// One actor, alone or as one on whose behalf another acts.
    #[arg(long, value_name = "ACTOR")]
    actor: Option<String>,
    /// One class of effects.
    #[arg(long, value_name = "NAME")]
    surface: Option<String>,
    /// One model.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// One named route to a model, branch or release.
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
    /// One run.
    #[arg(long, value_name = "ID")]
    execution: Option<String>,
    /// One job.
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// The generation of candidates: the surface `candidate.generate`.
    #[arg(long)]
    candidates: bool,
}

impl Which {
    /// The text of the scope.
    pub(crate) fn scope(&self) -> String {
        if self.everything {
            return "everything".to_owned();
        }
        if self.candidates {
            return "surface:candidate.generate".to_owned();
        }
        let given = [
            ("capability", &self.capability),
            ("branch", &self.branch),
            ("actor", &self.actor),
            ("surface", &self.surface),
            ("model", &self.model),
            ("alias", &self.alias),
            ("execution", &self.execution),
            ("job", &self.job),
        ];
        let one = given.into_iter().find_map(|(kind, value)| Some((kind, value.as_ref()?)));
        one.map_or_else(|| "workspace".to_owned(), |(kind, value)| format!("{kind}:{value}"))
    }
}

/// Let nothing new begin, while what runs may end.
///
/// What was permitted before may still be done, and executions that were running go on; what is held
/// besides waits until it is lifted.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet freeze                      # nothing new in this workspace
  placet freeze --capability triage  # nothing new of one capability
  placet freeze --alias main         # where `main` leads is not changed; its use goes on
  placet freeze --candidates         # no further candidates are generated")]
pub(crate) struct FreezeArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    ask: Ask,
}

/// Take a capability, branch, model, surface or alias out of use.
///
/// Permits that are open are over; executions end in their own way.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet disable --capability crm-writer
  placet disable --model acme/large")]
pub(crate) struct DisableArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    ask: Ask,
}

/// Revoke a key or a signer for good, or a role until two people lift that.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet revoke role release_owner             # nobody has it any more
  placet revoke key key_018f…
  placet revoke signer VKEY --everywhere       # a former signing key was stolen")]
pub(crate) struct RevokeArgs {
    #[command(subcommand)]
    what: Revoke,
}

#[derive(Subcommand, Debug)]
enum Revoke {
    /// An API key, at once and for good.
    Key {
        /// `key_…`, without the secret part.
        id: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// A former signing key of the log: what it signed counts no more.
    Signer {
        #[command(flatten)]
        signer: RevokeSigner,
        #[command(flatten)]
        governed: Governed,
    },
    /// A role, for everybody; `placet lift --role NAME` by two people gives it back.
    Role {
        /// Its name; `admin` cannot be revoked as a whole.
        name: String,
        #[command(flatten)]
        ask: Ask,
    },
}

/// List what is stopped in the workspace.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  placet overrides --json")]
pub(crate) struct OverridesArgs {
    #[command(flatten)]
    ask: Ask,
}

/// Runs `freeze`.
pub(crate) async fn freeze(args: FreezeArgs) -> Done {
    stop(&args.ask, &args.which.scope(), "freeze").await
}

/// Runs `disable`.
pub(crate) async fn disable(args: DisableArgs) -> Done {
    stop(&args.ask, &args.which.scope(), "disable").await
}

/// Runs `revoke`.
pub(crate) async fn revoke(args: RevokeArgs) -> Done {
    match args.what {
        Revoke::Key { id, ask } => revoke_key(&ask, &id).await,
        Revoke::Signer { signer, governed } => revoke_signer(&governed, signer).await,
        Revoke::Role { name, ask } => stop(&ask, &format!("role:{name}"), "revoke").await,
    }
}

/// Runs `overrides`.
pub(crate) async fn overrides(args: OverridesArgs) -> Done {
    args.ask
        .get("/api/v1/overrides", |listed| {
            let rows: Vec<Vec<String>> = listed["overrides"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|one| {
                    let keys = ["index", "mode", "since", "source", "lift_requested_by"];
                    let rest = keys.map(|key| output::plain(&one[key]));
                    std::iter::once(called(one)).chain(rest).collect()
                })
                .collect();
            if rows.is_empty() {
                return output::line("nothing is stopped");
            }
            let header = ["scope", "entry", "how", "since", "source", "lift asked for by"];
            output::line(&output::table(&header, &rows));
        })
        .await
}

/// Stops a scope, and shows of a kill what it came to.
pub(crate) async fn stop(ask: &Ask, scope: &str, mode: &str) -> Done {
    let client = ask.client()?;
    let body = json!({"scope": scope, "mode": mode});
    let mut document = client.post("/api/v1/overrides", &body).await?;
    if mode == "kill" {
        // It is done; that its report cannot be had makes it no failure.
        document["report"] = trips::at(&client, &document["index"]).await.unwrap_or_default();
    }
    ask.show(&document, |state| {
        let stands = state["mode"].as_str().unwrap_or(mode);
        let done = output::paint(output::RED, past(stands));
        output::line(&format!("{done}: {}", called(state)));
        if stands != mode {
            output::line(&format!(
                "  it was {} before, in entry {}, and stays so: a {mode} is less",
                past(stands),
                output::plain(&state["index"])
            ));
        }
        if state["report"].is_object() {
            trips::show(&state["report"]);
        }
    })
}

fn past(mode: &str) -> &'static str {
    match mode {
        "freeze" => "frozen",
        "disable" => "disabled",
        "revoke" => "revoked",
        _ => "killed",
    }
}

/// A scope with the name of the person, where the caller may see it.
pub(crate) fn called(stopped: &Value) -> String {
    output::plain(if stopped["name"].is_string() { &stopped["name"] } else { &stopped["scope"] })
}

/// Asks for, or completes, the lift of a narrower scope.
pub(crate) async fn lift(ask: &Ask, scope: &str) -> Done {
    let (kind, value) = scope.split_once(':').unwrap_or((scope, ""));
    let command = format!("placet lift --{kind} {}", output::safe(value));
    lift_of(ask, &json!({"scope": scope}), &output::safe(scope), &command).await
}

/// The same of whatever the entry at a log index has stopped.
pub(crate) async fn lift_entry(ask: &Ask, index: u64) -> Done {
    let command = format!("placet lift --entry {index}");
    lift_of(ask, &json!({"index": index}), &format!("entry {index}"), &command).await
}

async fn lift_of(ask: &Ask, body: &Value, what: &str, command: &str) -> Done {
    let state = ask.client()?.post("/api/v1/overrides:lift", body).await?;
    super::kill::show_lift(ask, &state, what, command)
}
