//! How a command ends: exit codes, failures with a stable code and a next step, and their printing.
//! Owns what programs read from an exit; refuses to know any command.

use crate::output;
use placet_api::PAGES;
use placet_runtime::StartError;
use placet_runtime::ports::PortError;
use placet_store::OpenError;
use serde_json::{Value, json};
use std::fmt;
use std::process::ExitCode;

/// It failed.
pub(crate) const FAILURE: u8 = 1;
/// The command line does not say what to do.
pub(crate) const USAGE: u8 = 2;

/// Decisions would change: `policy diff` and `policy backtest`.
pub(crate) const CHANGES: u8 = 14;
/// No decision was seen to change, and something differs of which that is not proved: `policy diff`.
pub(crate) const UNSEEN: u8 = 15;

/// Something is not governed, or nobody would notice: `coverage`.
pub(crate) const HOLES: u8 = 16;

/// What every command returns.
pub(crate) type Done = anyhow::Result<ExitCode>;

/// The exit code of an outcome; an unknown word is a failure, never a success.
pub(crate) fn of_outcome(outcome: &str) -> u8 {
    match outcome {
        "PERMIT" => 0,
        "REQUIRE_APPROVAL" => 10,
        "THROTTLE" => 11,
        "DENY" => 12,
        "SILENCE" => 13,
        _ => FAILURE,
    }
}

/// The stable code of a failure.
pub(crate) fn code(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Fault>().map(Fault::code)
}

/// Whether the same call may succeed a little later.
pub(crate) fn passes(error: &anyhow::Error) -> bool {
    let codes = [
        "server_unreachable",
        "overloaded",
        "too_many_requests",
        "shutting_down",
        "indexing",
        "store_failed",
        "clock_unsure",
    ];
    code(error).is_some_and(|code| codes.contains(&code))
}

/// A failure that says which kind it is and what to do next.
#[derive(Debug)]
pub(crate) struct Fault {
    code: String,
    detail: String,
    next: Option<String>,
    status: u8,
    document: Option<Value>,
}

impl Fault {
    /// A failure with a stable code.
    pub(crate) fn new(code: impl Into<String>, detail: impl Into<String>) -> Self {
        let (code, detail) = (code.into(), detail.into());
        Self { code, detail, next: None, status: FAILURE, document: None }
    }

    /// The command line is not one that can be followed.
    pub(crate) fn usage(detail: impl Into<String>) -> Self {
        Self { status: USAGE, ..Self::new("usage", detail) }
    }

    /// Its stable code.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// What a person should do now.
    pub(crate) fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }

    /// What `--json` prints instead of a document made from code and detail.
    pub(crate) fn document(self, document: Value) -> Self {
        Self { document: Some(document), ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Fault {}

/// The code, next step and exit of any error.
struct Seen<'a> {
    code: &'a str,
    next: Option<String>,
    status: u8,
    document: Option<&'a Value>,
}

fn look(error: &anyhow::Error) -> Seen<'_> {
    let plain = |code| Seen { code, next: None, status: FAILURE, document: None };
    for cause in error.chain() {
        if let Some(fault) = cause.downcast_ref::<Fault>() {
            return Seen {
                code: &fault.code,
                next: fault.next.clone(),
                status: fault.status,
                document: fault.document.as_ref(),
            };
        }
        if let Some(open) = cause.downcast_ref::<OpenError>() {
            return plain(open.code());
        }
        if let Some(start) = cause.downcast_ref::<StartError>() {
            return plain(start.code());
        }
        if cause.downcast_ref::<PortError>().is_some() {
            return plain("store_failed");
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::AddrInUse
        {
            let next = "stop what listens there, or choose another with --listen".to_owned();
            return Seen { next: Some(next), ..plain("address_in_use") };
        }
    }
    plain("failed")
}

/// Prints an error for people, or as one problem document, and says how to exit.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    let seen = look(error);
    let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
    let detail = output::safe(&chain.join(": "));
    if json {
        let document = match seen.document {
            Some(document) => document.clone(),
            None => json!({
                "type": format!("{PAGES}{}", seen.code),
                "title": chain.last(),
                "code": seen.code,
                "detail": detail,
                "next": seen.next,
            }),
        };
        output::document(&document);
    }
    eprintln!("{} {detail}", output::err_paint(output::RED, "error:"));
    if let Some(next) = &seen.next {
        eprintln!("next:  {next}");
    }
    if !matches!(seen.code, "usage" | "failed") {
        eprintln!("see:   docs/errors/{}.md", seen.code);
    }
    ExitCode::from(seen.status)
}
