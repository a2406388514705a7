//! `match:` of one rule: lists of patterns, labels and the condition. Owns where a fault inside a
//! condition lies in the document.

use super::fields::{self, Fields};
use crate::condition::{Condition, Fault, Scope};
use crate::diagnostic::{Code, Place, Report};
use crate::model::{Match, MatchKey};
use crate::pattern::Dialect;
use crate::syntax::{Data, Node};
use placet_types::ids::is_name;
use std::collections::BTreeMap;

/// Most labels of one rule.
const LABELS_MAX: usize = 16;

/// Conditions as they are compiled.
#[derive(Default)]
pub(crate) struct Conditions {
    /// What they may read besides the request.
    pub(crate) scope: Scope,
    /// One tree per scope and text: what many rules ask is compiled and kept once.
    known: BTreeMap<(String, String), Condition>,
}

/// Reads `match:`; `None` after an error.
pub(crate) fn matches(
    node: &Node,
    conditions: &mut Conditions,
    report: &mut Report<'_>,
) -> Option<Match> {
    let mut fields = Fields::open(node, "`match`", report)?;
    let mut out = Match::default();
    let mut sound = true;
    for key in MatchKey::ALL {
        if let Some(node) = fields.take(key.as_str()) {
            match patterns(node, key.as_str(), key.dialect(), key == MatchKey::RiskTagsAll, report)
            {
                Some(items) if items.is_empty() => {}
                Some(items) => {
                    out.lists.insert(key, items);
                }
                None => sound = false,
            }
        }
    }
    if let Some(node) = fields.take("labels") {
        sound &= labels(node, &mut out, report).is_some();
    }
    if let Some(node) = fields.take("when") {
        let surfaces = out.lists.get(&MatchKey::Surfaces).map_or(&[][..], Vec::as_slice);
        let scope = conditions.scope.narrow(surfaces);
        out.when = when(node, scope, conditions, report);
        sound &= out.when.is_some();
    }
    let mut known: Vec<&str> = MatchKey::ALL.iter().map(|key| key.as_str()).collect();
    known.extend(["labels", "when"]);
    fields.refuse_rest("`match`", &known, report);
    sound.then_some(out)
}

fn patterns(
    node: &Node,
    what: &str,
    dialect: Dialect,
    all: bool,
    report: &mut Report<'_>,
) -> Option<Vec<String>> {
    let items = fields::texts(node, what, report)?;
    let mut out = Vec::with_capacity(items.len());
    let mut sound = true;
    for (text, place) in items {
        match dialect.parse(&text) {
            Ok(_) if all && text.contains('*') => {
                let hint = "`risk_tags: [\"*\"]` asks for any tag";
                report.error_hint(
                    Code::BadPattern,
                    place,
                    format!("`{what}` takes tags without wildcards"),
                    hint,
                );
                sound = false;
            }
            Ok(_) => out.push(text),
            Err(refusal) => {
                let message = format!("bad pattern `{text}` in `{what}`: {}", refusal.message);
                report.push(Code::BadPattern, crate::Severity::Error, place, message, refusal.hint);
                sound = false;
            }
        }
    }
    out.sort();
    out.dedup();
    sound.then_some(out)
}

fn labels(node: &Node, out: &mut Match, report: &mut Report<'_>) -> Option<()> {
    let Data::Map(members) = &node.value else {
        let message =
            format!("`labels` takes a mapping from name to values, not {}", node.value.kind());
        report.error_hint(
            Code::WrongType,
            node.place,
            message,
            "write `labels: { mcp.action: [\"write\"] }`",
        );
        return None;
    };
    if members.len() > LABELS_MAX {
        report.error(Code::Bound, node.place, format!("`labels` takes at most {LABELS_MAX} names"));
        return None;
    }
    let mut sound = true;
    for member in members {
        if !is_name(&member.key) {
            report.error(
                Code::BadPattern,
                member.place,
                format!("`{}` is no name of a label", member.key),
            );
            sound = false;
            continue;
        }
        // One value may stand without brackets.
        let single =
            Node { place: member.value.place, value: Data::List(vec![member.value.clone()]) };
        let node =
            if matches!(member.value.value, Data::Text { .. }) { &single } else { &member.value };
        match patterns(node, &member.key, Dialect::Text, false, report) {
            Some(items) if items.is_empty() => {}
            Some(items) => {
                out.labels.insert(member.key.clone(), items);
            }
            None => sound = false,
        }
    }
    sound.then_some(())
}

fn when(
    node: &Node,
    scope: String,
    conditions: &mut Conditions,
    report: &mut Report<'_>,
) -> Option<Condition> {
    let (text, place) = fields::text(node, "when", report)?;
    let trimmed = text.trim();
    let trimmed_at = text.len().saturating_sub(text.trim_start().len());
    let key = (scope, trimmed.to_owned());
    if let Some(known) = conditions.known.get(&key) {
        return Some(known.clone());
    }
    match Condition::compile(trimmed, &conditions.scope) {
        Ok(condition) => {
            conditions.known.insert(key, condition.clone());
            Some(condition)
        }
        Err(fault) => {
            let (place, note) =
                locate(trimmed, trimmed_at, &fault, place, report.source_text(place));
            let code = if fault.typing { Code::ConditionType } else { Code::ConditionSyntax };
            let message = format!("{}{note}", fault.message);
            report.push(code, crate::Severity::Error, place, message, fault.hint);
            None
        }
    }
}

/// Where a fault lies in the document; when that cannot be told, the place of the whole condition
/// and a note.
fn locate(
    text: &str,
    trimmed_at: usize,
    fault: &Fault,
    start: Place,
    source: &str,
) -> (Place, String) {
    let before = text.get(..fault.at).unwrap_or(text).chars().count().saturating_add(trimmed_at);
    let rest = text.get(fault.at..).unwrap_or("");
    let word = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"_.".contains(b)).count();
    let first: String = rest.chars().take(word).collect();
    let mut lines = source.lines().skip(start.line.saturating_sub(1) as usize);
    let indent = start.column.saturating_sub(1) as usize;
    let head: String = lines.next().unwrap_or("").chars().skip(indent).collect();
    let quoted = head.starts_with(['"', '\'']);
    let found = if quoted {
        in_quotes(&head, before).map(|column| (0, indent.saturating_add(column)))
    } else {
        in_lines(&head, lines, indent, before)
    };
    let there = |(line, column): &(u32, usize)| {
        let number = start.line.saturating_sub(1).saturating_add(*line) as usize;
        let tail: String = source.lines().nth(number).unwrap_or("").chars().skip(*column).collect();
        tail.starts_with(&first)
    };
    match found.filter(there) {
        Some((line, column)) => {
            let place = Place {
                line: start.line.saturating_add(line),
                column: u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1),
                width: u32::try_from(word.max(1)).unwrap_or(1),
                ..start
            };
            (place, String::new())
        }
        None => (start, format!(" (at byte {} of the condition)", fault.at)),
    }
}

/// The column of a character in a quoted scalar on one line, where an escape stands for one.
fn in_quotes(head: &str, before: usize) -> Option<usize> {
    let mut characters = head.chars().enumerate();
    let (_, quote) = characters.next()?;
    let mut seen = 0_usize;
    while let Some((column, character)) = characters.next() {
        if seen == before {
            return Some(column);
        }
        seen = seen.saturating_add(1);
        if (quote == '"' && character == '\\') || (quote == '\'' && character == '\'') {
            characters.next();
        }
    }
    None
}

/// Line and column of a character in a scalar without quotes: a break counts as one character,
/// kept or folded, and the lines of a block are indented alike.
fn in_lines<'s>(
    head: &str,
    following: impl Iterator<Item = &'s str>,
    indent: usize,
    before: usize,
) -> Option<(u32, usize)> {
    let mut left = before;
    let mut line_number = 0_u32;
    let mut content = head.chars().count();
    for next in following.map(Some).chain([None]) {
        if left <= content {
            return Some((line_number, indent.saturating_add(left)));
        }
        left = left.saturating_sub(content.saturating_add(1));
        line_number = line_number.saturating_add(1);
        content = next?.chars().count().saturating_sub(indent);
    }
    None
}
