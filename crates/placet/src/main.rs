//! The `placet` binary: one program for the server, for people and for scripts. Owns the command
//! line and how a command ends; everything else belongs to the commands.

mod bench;
mod client;
mod commands;
mod credentials;
mod demo;
mod exit;
mod local;
mod loud;
mod output;
mod presets;
mod stream;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use mimalloc::MiMalloc;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

/// Measured at a tenth of the server's time per decision beside the system's allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// No placet, no execution: may this action run now, and who can prove it?
#[derive(Parser, Debug)]
#[command(
    name = "placet",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Start here:
  placet demo                                        # the main job, live, in a scratch directory
  placet up --dev --bundle examples/bank             # a server to try things on
  placet decide request.json                         # ask it

Exit codes: 0 PERMIT or done, 10 REQUIRE_APPROVAL, 11 THROTTLE, 12 DENY, 13 SILENCE,
1 failure, 2 usage. With --json, standard output is exactly one JSON document."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Up(commands::up::Up),
    Demo(demo::DemoArgs),
    Decide(commands::decide::DecideArgs),
    Approvals(commands::approvals::ApprovalsArgs),
    /// Approve a held action: shows exactly what would run, and asks
    Approve(commands::approvals::VoteArgs),
    /// Reject a held action: shows exactly what would run, and asks
    Reject(commands::approvals::VoteArgs),
    Withdraw(commands::approvals::WithdrawArgs),
    Delegate(commands::delegate::DelegateArgs),
    Delegations(commands::delegate::DelegationsArgs),
    Evidence(commands::evidence::EvidenceArgs),
    Release(commands::release::ReleaseArgs),
    Alias(commands::release::AliasArgs),
    Verify(commands::verify::VerifyArgs),
    Witness(commands::witness::WitnessArgs),
    Login(commands::login::LoginArgs),
    Logout(commands::login::LogoutArgs),
    Whoami(commands::login::WhoamiArgs),
    Key(commands::key::KeyArgs),
    Kill(commands::kill::KillArgs),
    Lift(commands::kill::LiftArgs),
    Freeze(commands::overrides::FreezeArgs),
    Disable(commands::overrides::DisableArgs),
    Revoke(commands::overrides::RevokeArgs),
    Overrides(commands::overrides::OverridesArgs),
    Clock(commands::clock::ClockArgs),
    Execution(commands::execution::ExecutionArgs),
    Workspace(commands::workspace::WorkspaceArgs),
    Audit(commands::audit::AuditArgs),
    Backup(commands::backup::BackupArgs),
    Restore(commands::backup::RestoreArgs),
    Data(commands::data::DataArgs),
    Exception(commands::exception::ExceptionArgs),
    Hold(commands::hold::HoldArgs),
    Outbox(commands::outbox::OutboxArgs),
    Metrics(commands::metrics::MetricsArgs),
    Coverage(commands::coverage::CoverageArgs),
    Init(commands::init::InitArgs),
    Policy(commands::policy::PolicyArgs),
    Bench(bench::Bench),
    /// Print a completion script for a shell
    #[command(after_help = "Example:
  placet completions bash > ~/.local/share/bash-completion/completions/placet")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the OpenAPI document that the server serves
    #[command(hide = true)]
    Openapi,
}

/// Threads for what blocks: somewhat more than a server lets read its store at once.
const BLOCKING_MAX: usize = 24;
/// How long they may go on once the command has ended.
const BLOCKING_TIME: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    loud::disobey(std::env::vars_os());
    let json = std::env::args_os().take_while(|word| word != "--").any(|word| word == "--json");
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if json && error.use_stderr() => {
            let text = error.to_string();
            let detail = text.trim().trim_start_matches("error: ").to_owned();
            return exit::report(&exit::Fault::usage(detail).into(), true);
        }
        Err(error) => error.exit(),
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // Each thread that reads keeps some megabytes for the next time.
    let runtime = match runtime.max_blocking_threads(BLOCKING_MAX).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&error.into(), json),
    };
    let code = match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        Err(error) => exit::report(&error, json),
    };
    // Everything that counts is stored by now; what blocks for longer is cut off.
    runtime.shutdown_timeout(BLOCKING_TIME);
    code
}

async fn run(command: Command) -> exit::Done {
    match command {
        Command::Up(args) => commands::up::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Decide(args) => commands::decide::run(args).await,
        Command::Approvals(args) => commands::approvals::list(args).await,
        Command::Approve(args) => commands::approvals::vote(args, true).await,
        Command::Reject(args) => commands::approvals::vote(args, false).await,
        Command::Withdraw(args) => commands::approvals::withdraw(args).await,
        Command::Delegate(args) => commands::delegate::grant(args).await,
        Command::Delegations(args) => commands::delegate::delegations(args).await,
        Command::Evidence(args) => commands::evidence::run(args).await,
        Command::Release(args) => commands::release::run(args).await,
        Command::Alias(args) => commands::release::alias(args).await,
        Command::Verify(args) => commands::verify::run(args).await,
        Command::Witness(args) => commands::witness::run(args).await,
        Command::Login(args) => commands::login::login(args).await,
        Command::Logout(args) => commands::login::logout(args).await,
        Command::Whoami(args) => commands::login::whoami(args).await,
        Command::Key(args) => commands::key::run(args).await,
        Command::Kill(args) => commands::kill::kill(args).await,
        Command::Lift(args) => commands::kill::lift(args).await,
        Command::Freeze(args) => commands::overrides::freeze(args).await,
        Command::Disable(args) => commands::overrides::disable(args).await,
        Command::Revoke(args) => commands::overrides::revoke(args).await,
        Command::Overrides(args) => commands::overrides::overrides(args).await,
        Command::Clock(args) => commands::clock::run(args).await,
        Command::Execution(args) => commands::execution::run(args).await,
        Command::Workspace(args) => commands::workspace::run(args).await,
        Command::Audit(args) => commands::audit::run(args).await,
        Command::Backup(args) => commands::backup::run(&args),
        Command::Restore(args) => commands::backup::restore(&args),
        Command::Data(args) => commands::data::run(args),
        Command::Exception(args) => commands::exception::run(args).await,
        Command::Hold(args) => commands::hold::run(args).await,
        Command::Outbox(args) => commands::outbox::run(args).await,
        Command::Metrics(args) => commands::metrics::run(args).await,
        Command::Coverage(args) => commands::coverage::run(args).await,
        Command::Init(args) => commands::init::run(&args),
        Command::Policy(args) => commands::policy::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "placet", &mut script);
            match std::io::stdout().write_all(&script) {
                // Whoever wanted the first lines only has them.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                done => done.context("the script cannot be written")?,
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Openapi => {
            output::line(placet_server::openapi_json().trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;
    use std::collections::BTreeSet;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// By hand, as clap looks for it only where debug assertions are compiled in.
    #[test]
    fn no_two_arguments_of_a_command_share_a_name() {
        let mut root = Cli::command();
        root.build();
        let mut commands = vec![&root];
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands());
            let mut names = BTreeSet::new();
            for argument in command.get_arguments() {
                let longs = argument.get_long_and_visible_aliases().into_iter().flatten();
                let shorts = argument.get_short_and_visible_aliases().into_iter().flatten();
                let id = argument.get_id();
                let own = std::iter::once(format!("the id {id}"))
                    .chain(longs.map(|long| format!("--{long}")))
                    .chain(shorts.map(|short| format!("-{short}")));
                for name in own {
                    assert!(names.insert(name.clone()), "{}: {name} twice", command.get_name());
                }
            }
        }
    }
}
