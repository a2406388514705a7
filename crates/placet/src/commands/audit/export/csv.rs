//! An entry as a row of a table (RFC 4180). Fields from elsewhere cannot become formulas of the
//! program that opens it, and a row is always one line.

use super::{Held, Record};
use serde_json::Value;
use std::fmt::Write as _;

/// The columns, fixed.
pub(super) const HEADER: &str = "workspace,index,time,type,decision,outcome,actor,environment,\
surface,action,topic,target,trace,key,rules,reasons,policy,approval,permit,result\r\n";

pub(super) fn write(record: &Record<'_>, out: &mut Vec<u8>) {
    let data = record.data();
    let id = |part: &Value| part.as_str().or_else(|| part["id"].as_str()).map(str::to_owned);
    let result = data["result"].as_str().or_else(|| data["state"].as_str());
    let vote = data["approve"].as_bool().map(|yes| if yes { "approved" } else { "rejected" });
    let columns = [
        Some(record.workspace.to_owned()),
        Some(record.index.to_string()),
        Some(record.entry.time.rfc3339()),
        Some(record.entry.event.type_name().to_owned()),
        text(&data["decision"]),
        text(&data["outcome"]),
        record.actor().map(str::to_owned),
        text(&data["environment"]),
        text(&data["surface"]),
        text(&data["action"]),
        text(&data["topic"]),
        text(&data["target"]),
        text(&data["trace"]),
        text(&data["key"]),
        text(&data["rules"]),
        text(&data["reasons"]).or_else(|| text(&data["reason"])),
        text(&data["policy"]),
        id(&data["approval"]),
        id(&data["permit"]),
        result.or(vote).map(str::to_owned),
    ];
    for (at, column) in columns.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        field(column.as_deref().unwrap_or_default(), out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Strings as they are, lists joined by `;`.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => Some(items.iter().filter_map(text).collect::<Vec<_>>().join(";")),
        other => Some(other.to_string()),
    }
}

/// A field: control characters escaped, what a spreadsheet takes for a formula behind an
/// apostrophe, quotes where RFC 4180 wants them.
fn field(text: &str, out: &mut Vec<u8>) {
    let mut safe = String::with_capacity(text.len());
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        safe.push('\'');
    }
    for character in text.chars() {
        if character.is_control() {
            // Writing to a string cannot fail.
            let _ = write!(safe, "{}", character.escape_default());
        } else {
            safe.push(character);
        }
    }
    if safe.contains([',', '"', ' ', ';', '\'']) {
        out.push(b'"');
        out.extend_from_slice(safe.replace('"', "\"\"").as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(safe.as_bytes());
    }
}

/// The entry of a row.
pub(super) fn held(row: &str) -> Option<Held> {
    let mut columns = row.splitn(3, ',');
    // A workspace may begin with a hyphen; its name has no comma, quote or apostrophe.
    let name = columns.next()?.trim_matches('"').trim_start_matches('\'');
    let index = columns.next()?.parse().ok()?;
    Some(Held { log: name.to_owned(), index, entry: columns.next().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_is_a_formula_and_no_row_two_lines() {
        let of = |text: &str| {
            let mut out = Vec::new();
            field(text, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(of("payments.refund"), "payments.refund");
        assert_eq!(of("a,b"), "\"a,b\"");
        assert_eq!(of("say \"no\""), "\"say \"\"no\"\"\"");
        for start in ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "＝1"] {
            assert!(of(start).starts_with("\"'"), "{start}");
        }
        assert_eq!(of("a\nb"), "a\\nb");
        let row = Held { log: "-eu".to_owned(), index: 7, entry: "x,y".into() };
        assert_eq!(held(&format!("{},7,x,y", of("-eu"))), Some(row));
        assert_eq!(of("=cmd|' /C calc'!A0"), "\"'=cmd|' /C calc'!A0\"");
    }
}
