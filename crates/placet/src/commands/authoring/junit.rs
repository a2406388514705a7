//! Results of cases as JUnit XML, as build servers read it.

use placet_runtime::CaseResult;
use std::fmt::Write as _;

/// One suite named after the bundle.
pub(super) fn document(suite: &str, results: &[CaseResult]) -> String {
    let failures = results.iter().filter(|result| !result.passed()).count();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "<testsuites>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\">",
        escaped(suite),
        results.len()
    );
    for result in results {
        let id = escaped(&result.case.id);
        let class = escaped(&format!("policy.{}", result.case.request.surface));
        if result.passed() {
            let _ = writeln!(out, "<testcase classname=\"{class}\" name=\"{id}\"/>");
            continue;
        }
        let texts: Vec<String> = result.differences.iter().map(ToString::to_string).collect();
        let first = escaped(texts.first().map_or("", String::as_str));
        let all = escaped(&texts.join("\n"));
        let _ = writeln!(
            out,
            "<testcase classname=\"{class}\" name=\"{id}\"><failure message=\"{first}\">{all}</failure></testcase>"
        );
    }
    out.push_str("</testsuite>\n</testsuites>\n");
    out
}

/// What XML 1.0 cannot hold becomes a replacement character.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other if other.is_control() && other != '\r' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}
