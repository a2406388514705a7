//! Findings as SARIF 2.1.0, for code hosts and editors.

use crate::diagnostic::{Code, Diagnostic, Severity};
use placet_types::json::{Object, Value};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// Where the pages of the codes lie.
const PAGES: &str = "https://placet.dev/lint/";

/// One SARIF log with one run. `directory` goes before the names of files: URIs in a repository.
#[must_use]
pub fn sarif(findings: &[Diagnostic], directory: &str) -> Value {
    let mut codes: Vec<Code> = findings.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Vec<Value> = codes.iter().map(|code| Value::Object(rule(*code))).collect();
    let results: Vec<Value> =
        findings.iter().map(|it| Value::Object(result(it, &codes, directory))).collect();
    let driver = Object::new()
        .with("name", "placet policy lint")
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("informationUri", "https://placet.dev/")
        .with("rules", rules);
    let run = Object::new()
        .with("tool", Object::new().with("driver", driver))
        .with("columnKind", "unicodeCodePoints")
        .with("results", results);
    Value::Object(
        Object::new()
            .with("$schema", SCHEMA)
            .with("version", "2.1.0")
            .with("runs", vec![Value::Object(run)]),
    )
}

fn text(text: &str) -> Object {
    Object::new().with("text", text)
}

fn rule(code: Code) -> Object {
    Object::new()
        .with("id", code.as_str())
        .with("shortDescription", text(code.summary()))
        .with("helpUri", format!("{PAGES}{}", code.as_str()))
}

fn result(finding: &Diagnostic, codes: &[Code], directory: &str) -> Object {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    };
    let message = match &finding.hint {
        Some(hint) => format!("{}. {hint}", finding.message),
        None => finding.message.clone(),
    };
    let region = Object::new()
        .with("startLine", finding.line)
        .with("startColumn", finding.column)
        .with("endColumn", finding.column.saturating_add(finding.width));
    let artifact = Object::new().with("uri", uri(directory, &finding.file));
    let place = Object::new().with("artifactLocation", artifact).with("region", region);
    let location = Object::new().with("physicalLocation", place);
    let index = codes.iter().position(|code| *code == finding.code).unwrap_or(0);
    Object::new()
        .with("ruleId", finding.code.as_str())
        .with("ruleIndex", i64::try_from(index).unwrap_or(0))
        .with("level", level)
        .with("message", text(&message))
        .with("locations", vec![Value::Object(location)])
}

/// A relative reference: what may not stand in one is escaped.
fn uri(directory: &str, file: &str) -> String {
    let joined = match directory.trim_end_matches('/') {
        "" | "." => file.to_owned(),
        directory => format!("{directory}/{file}"),
    };
    let mut out = String::with_capacity(joined.len());
    for byte in joined.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
