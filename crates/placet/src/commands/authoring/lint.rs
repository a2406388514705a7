//! `policy lint`.

use super::{Deny, LintArgs};
use crate::exit::{self, Done};
use crate::{local, output};
use placet_policy::{Totals, lint, sarif};
use placet_runtime::crypto::Fast;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(super) fn run(args: &LintArgs) -> Done {
    let sources = local::sources(&args.bundle)?;
    let linted = lint::<Fast>(&sources);
    let findings = &linted.findings;
    let Totals { errors, warnings, infos } = linted.totals;
    let counts = (errors, warnings, infos);
    if args.sarif {
        let directory = args.bundle.to_string_lossy();
        let log: Value = serde_json::from_str(&sarif(findings, &directory).to_text())?;
        output::document(&log);
    } else if args.json {
        output::document(&json!({
            "ok": counts.0 == 0,
            "digest": linted.digest.map(|digest| digest.to_string()),
            "errors": counts.0,
            "warnings": counts.1,
            "infos": counts.2,
            "shown": findings.len(),
            "findings": local::diagnostics(findings),
        }));
    } else {
        for finding in findings {
            output::line(&output::safe(&finding.to_string()));
            output::line("");
        }
        let all = errors + warnings + infos;
        if findings.len() < all {
            output::line(&format!("{} of {all} shown", findings.len()));
        }
        let word = if findings.is_empty() { "clean" } else { "found" };
        let style = if errors > 0 { output::RED } else { output::GREEN };
        let word = output::paint(style, word);
        output::line(&format!("{word} {errors} errors, {warnings} warnings, {infos} infos"));
    }
    let failed = match args.deny {
        Deny::Errors => counts.0 > 0,
        Deny::Warnings => counts.0 + counts.1 > 0,
        Deny::Info => !findings.is_empty(),
    };
    Ok(if failed { ExitCode::from(exit::FAILURE) } else { ExitCode::SUCCESS })
}
