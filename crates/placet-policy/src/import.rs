//! Import of the first-match rule files that came before: what can be said in this language is, what cannot
//! is named. A rule that restricts is imported without the key that cannot be said, so that it restricts
//! more; a rule that grants is left out then, so that nothing is granted that was not. One that does both
//! restricts what others grant and grants nothing itself.

mod order;
mod read;

use crate::bundle::{Bundle, on_big_stack};
use crate::diagnostic::{Code, Diagnostic, Report, Severity};
use crate::format::format;
use crate::syntax;
use placet_types::Hasher;
use placet_types::json::Value;

pub use order::OrderDifference;

/// What `*` in the topics of the file means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Star {
    /// One segment, as in this language.
    #[default]
    Segment,
    /// Any text, dots as well, as in the engine that the format comes from.
    Any,
}

/// An imported file.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The policy document.
    pub document: String,
    /// What was changed or left out, with its place in the file.
    pub notes: Vec<Diagnostic>,
    /// Requests that first match would have decided otherwise.
    pub differences: Vec<OrderDifference>,
}

/// Imports one file.
///
/// # Errors
/// What keeps the text from being such a file.
pub fn import<H: Hasher>(name: &str, text: &str, star: Star) -> Result<Imported, Vec<Diagnostic>> {
    let (document, notes, order) = on_big_stack(|| {
        let mut report = Report::new([(name, text)]);
        let node = syntax::parse_yaml(0, text, &mut report);
        let Some(node) = node.filter(|_| !report.has_errors()) else { return Err(report.finish()) };
        let rules = read::file(&node, star, &mut report);
        if report.has_errors() {
            return Err(report.finish());
        }
        let order: Vec<String> = rules.iter().map(|rule| rule.id.clone()).collect();
        let of = |floor: bool| -> Vec<Value> {
            let some = rules.iter().filter(|rule| rule.floor == floor);
            some.map(|rule| Value::Object(rule.object.clone())).collect()
        };
        let mut out = String::from("version: v1\n");
        if rules.iter().any(|rule| rule.floor) {
            out.push_str(&section("floor", &of(true)));
        }
        out.push_str(&section("rules", &of(false)));
        Ok((out, report.finish(), order))
    })?;
    let document = format("imported.yaml", &document)?;
    let source = crate::Source { name: "imported.yaml".to_owned(), text: document.clone() };
    let bundle = Bundle::compile::<H>(&[source])?;
    let differences = order::differences(&bundle, &order);
    Ok(Imported { document, notes, differences })
}

fn section(name: &str, rules: &[Value]) -> String {
    if rules.is_empty() {
        return format!("{name}: []\n");
    }
    let lines = rules.iter().map(|rule| format!("  - {}\n", rule.to_text()));
    format!("{name}:\n{}", lines.collect::<String>())
}

/// A note: the file can be read, and something of it is said otherwise.
fn note(report: &mut Report<'_>, place: crate::diagnostic::Place, message: String) {
    report.push(Code::NotSupported, Severity::Warning, place, message, None);
}
