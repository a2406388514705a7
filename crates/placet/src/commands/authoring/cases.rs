//! `policy test`.

use super::TestArgs;
use super::junit;
use crate::exit::{self, Done};
use crate::{local, output};
use anyhow::Context;
use placet_policy::{Bundle, Coverage};
use placet_runtime::{CaseResult, run_case};
use serde_json::{Value, json};
use std::process::ExitCode;

pub(super) fn run(args: &TestArgs) -> Done {
    let bundle = local::compile(&args.bundle)?;
    let wanted = |id: &str| args.filter.as_deref().is_none_or(|part| id.contains(part));
    let results: Vec<CaseResult> = bundle
        .cases()
        .filter(|case| wanted(&case.id))
        .map(|case| run_case(&bundle, case))
        .collect();
    if let Some(file) = &args.junit {
        let suite = args.bundle.to_string_lossy();
        std::fs::write(file, junit::document(&suite, &results))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    let coverage = args.coverage.then(|| coverage(&bundle, &results));
    if args.json {
        output::document(&document(&bundle, &results, coverage.as_ref()));
    } else {
        print(args, &results, coverage.as_ref());
    }
    // A run of nothing proves nothing: a filter with a typing error must not look like success.
    let sound = !results.is_empty() && results.iter().all(CaseResult::passed);
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILURE) })
}

fn coverage(bundle: &Bundle, results: &[CaseResult]) -> Coverage {
    let mut coverage = Coverage::of(bundle);
    for result in results {
        // Where nothing was decided no rule took part.
        if let Some(event) = &result.event {
            coverage.add(bundle, &result.case.request, &result.case.caller, event);
        }
    }
    coverage
}

fn outcome(result: &CaseResult) -> &'static str {
    result.event.as_ref().map_or("-", |event| event.outcome.as_str())
}

fn rules(result: &CaseResult) -> &[String] {
    result.event.as_ref().map_or(&[], |event| &event.rules)
}

fn print(args: &TestArgs, results: &[CaseResult], coverage: Option<&Coverage>) {
    let rows: Vec<Vec<String>> = results
        .iter()
        .map(|result| {
            let word = if result.passed() { "pass" } else { "FAIL" };
            let texts: Vec<String> = result.differences.iter().map(ToString::to_string).collect();
            vec![
                word.to_owned(),
                output::safe(&result.case.id),
                outcome(result).to_owned(),
                output::safe(&rules(result).join(", ")),
                output::safe(&texts.join("\n")),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let head = ["", "case", "outcome", "decided by", "what differs"];
        output::line(&output::table(&head, &rows));
    }
    if let Some(coverage) = coverage {
        print_coverage(coverage);
    }
    let failed = results.iter().filter(|result| !result.passed()).count();
    let (style, word) = match (results.len(), failed) {
        (0, _) => (output::RED, "no case"),
        (_, 0) => (output::GREEN, "passed"),
        _ => (output::RED, "failed"),
    };
    let word = output::paint(style, word);
    if results.is_empty() {
        let why = match &args.filter {
            Some(part) => format!("no id contains {part:?}"),
            None => "the bundle has no `tests:`".to_owned(),
        };
        output::line(&format!("{word}: {}", output::safe(&why)));
    } else {
        output::line(&format!("{word}: {} cases, {failed} failed", results.len()));
    }
}

fn print_coverage(coverage: &Coverage) {
    let mut rows = Vec::new();
    for rule in &coverage.rules {
        if rule.matched == 0 {
            let why = "it applies in no case".to_owned();
            rows.push(vec![rule.document.to_owned(), rule.id.clone(), why]);
        }
        for term in rule.terms.iter().filter(|term| !term.is_whole()) {
            let why = match (term.was_true, term.was_false) {
                (0, 0) => "never asked",
                (0, _) => "never true",
                _ => "never false",
            };
            let text = format!("{why}: {}", output::safe(&term.text));
            rows.push(vec![rule.document.to_owned(), rule.id.clone(), text]);
        }
    }
    if !rows.is_empty() {
        output::line(&output::table(&["layer", "rule", "not covered"], &rows));
    }
    let ((rules, rules_all), (sides, sides_all)) =
        (coverage.rules_touched(), coverage.branches_seen());
    output::line(&format!(
        "coverage: {rules} of {rules_all} rules, {sides} of {sides_all} sides of terms"
    ));
}

fn document(bundle: &Bundle, results: &[CaseResult], coverage: Option<&Coverage>) -> Value {
    let cases: Vec<Value> = results
        .iter()
        .map(|result| {
            let differences: Vec<Value> = result
                .differences
                .iter()
                .map(|it| json!({"what": it.what, "expected": it.expected, "found": it.found}))
                .collect();
            json!({
                "id": result.case.id,
                "passed": result.passed(),
                "must_deny": result.case.must_deny,
                "outcome": result.event.as_ref().map(|event| event.outcome.as_str()),
                "rules": rules(result),
                "differences": differences,
            })
        })
        .collect();
    let failed = results.iter().filter(|result| !result.passed()).count();
    let mut document = json!({
        "ok": failed == 0 && !results.is_empty(),
        "policy": bundle.digest().to_string(),
        "cases": cases,
        "failed": failed,
    });
    if let Some(coverage) = coverage {
        document["coverage"] = coverage_document(coverage);
    }
    document
}

fn coverage_document(coverage: &Coverage) -> Value {
    let rules: Vec<Value> = coverage
        .rules
        .iter()
        .map(|rule| {
            let terms: Vec<Value> = rule
                .terms
                .iter()
                .map(|term| {
                    json!({
                        "text": term.text,
                        "true": term.was_true,
                        "false": term.was_false,
                        "failed": term.failed,
                    })
                })
                .collect();
            json!({
                "id": rule.id,
                "layer": rule.document,
                "matched": rule.matched,
                "decided": rule.decided,
                "terms": terms,
            })
        })
        .collect();
    let ((touched, all), (sides, sides_all)) = (coverage.rules_touched(), coverage.branches_seen());
    json!({
        "rules": rules,
        "rules_touched": touched,
        "rules_total": all,
        "sides_seen": sides,
        "sides_total": sides_all,
    })
}
