//! The formatter: one layout for every document, with its comments and its meaning. Owns the layout;
//! that nothing is lost is checked on every text before it is handed out.

mod tree;
mod write;

use crate::bundle::on_big_stack;
use crate::diagnostic::{Code, Diagnostic, Place, Report};
use crate::syntax::{self, Data, Node};

/// Formats one document.
///
/// # Errors
/// What keeps the text from being a policy document. What only a later step refuses (an unknown rule, a bad
/// pattern) is formatted.
pub fn format(name: &str, text: &str) -> Result<String, Vec<Diagnostic>> {
    on_big_stack(|| {
        let mut report = Report::new([(name, text)]);
        let before = syntax::parse_yaml(0, text, &mut report);
        if let Some(node) = before.as_ref().filter(|it| !matches!(it.value, Data::Map(_))) {
            let message = format!("a document is a mapping, not {}", node.value.kind());
            report.error(Code::WrongType, node.place, message);
        }
        let Some(before) = before.filter(|_| !report.has_errors()) else {
            return Err(report.finish());
        };
        let lost = |mut report: Report<'_>, what: &str| {
            let message =
                format!("the formatter would change {what}, which is a defect: left alone");
            report.error(Code::Bound, Place::default(), message);
            Err(report.finish())
        };
        let Some(parsed) = tree::parse(text) else {
            return lost(report, "this text");
        };
        let comments = parsed.comments;
        let out = write::write(parsed.root, comments.clone());
        // Checked here and not in tests alone: a file is overwritten with this.
        let mut again = Report::new([(name, out.as_str())]);
        let after = syntax::parse_yaml(0, &out, &mut again);
        if !after.is_some_and(|after| same(&before, &after)) {
            return lost(report, "the meaning");
        }
        let mut kept: Vec<String> = comments.into_iter().map(|it| it.text).collect();
        let mut now: Vec<String> = tree::parse(&out)
            .map(|it| it.comments.into_iter().map(|it| it.text).collect())
            .unwrap_or_default();
        kept.sort();
        now.sort();
        if kept != now {
            return lost(report, "a comment");
        }
        Ok(out)
    })
}

/// Equal but for the order of keys, which says nothing.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Data::Null, Data::Null) | (Data::Number(_), Data::Number(_)) => true,
        (Data::Bool(a), Data::Bool(b)) => a == b,
        (Data::Int(a), Data::Int(b)) => a == b,
        (Data::Text { text: a, .. }, Data::Text { text: b, .. }) => a == b,
        (Data::List(a), Data::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Data::Map(a), Data::Map(b)) => {
            a.len() == b.len()
                && a.iter().all(|member| {
                    b.iter()
                        .find(|other| other.key == member.key)
                        .is_some_and(|other| same(&member.value, &other.value))
                })
        }
        _ => false,
    }
}
