//! Typed access to the members of a mapping: each is taken once, what is left over is unknown.
//! Owns the messages about types, durations and spelling.

use crate::diagnostic::{Code, Place, Report};
use crate::syntax::{Data, Member, Node};
use placet_types::duration::duration_ms;
use placet_types::json::{Object, Value};
use placet_types::nearest::nearest;

/// Which spelling of a bundle is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// YAML documents: durations are text with a unit.
    Document,
    /// The normal form: durations are integer milliseconds.
    Normal,
}

/// The members of one mapping.
pub(crate) struct Fields<'n> {
    members: Vec<&'n Member>,
}

impl<'n> Fields<'n> {
    pub(crate) fn open(node: &'n Node, what: &str, report: &mut Report<'_>) -> Option<Self> {
        match &node.value {
            Data::Map(members) => Some(Self { members: members.iter().collect() }),
            other => {
                let message = format!("{what} is a mapping, not {}", other.kind());
                report.error(Code::WrongType, node.place, message);
                None
            }
        }
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<&'n Node> {
        self.take_member(key).map(|member| &member.value)
    }

    pub(crate) fn take_member(&mut self, key: &str) -> Option<&'n Member> {
        let at = self.members.iter().position(|member| member.key == key)?;
        Some(self.members.remove(at))
    }

    /// What nobody took.
    pub(crate) fn rest(self) -> impl Iterator<Item = &'n Member> {
        self.members.into_iter()
    }

    /// Refuses what nobody took.
    pub(crate) fn refuse_rest(self, what: &str, known: &[&str], report: &mut Report<'_>) {
        for member in self.members {
            if report.is_full() {
                return;
            }
            let message = format!("unknown key `{}` of {what}", member.key);
            let hint = nearest(&member.key, known).map_or_else(
                || format!("known are {}", known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            report.error_hint(Code::UnknownKey, member.place, message, hint);
        }
    }
}

/// Words that YAML 1.1 reads as Booleans and YAML 1.2 as text.
fn is_ambiguous(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "yes" | "no" | "on" | "off" | "y" | "n")
}

/// Text. What two YAML versions read differently has to be quoted.
pub(crate) fn text(node: &Node, what: &str, report: &mut Report<'_>) -> Option<(String, Place)> {
    match &node.value {
        Data::Text { text, plain: true } if is_ambiguous(text) => {
            let message =
                format!("`{text}` is text or a boolean, depending on the version of YAML");
            report.error_hint(
                Code::WrongType,
                node.place,
                message,
                format!("put it in quotes: \"{text}\""),
            );
            None
        }
        Data::Text { text, .. } => Some((text.clone(), node.place)),
        other => {
            let message = format!("`{what}` takes text, not {}", other.kind());
            match other {
                Data::Int(_) | Data::Number(_) | Data::Bool(_) => {
                    report.error_hint(Code::WrongType, node.place, message, "put it in quotes");
                }
                _ => report.error(Code::WrongType, node.place, message),
            }
            None
        }
    }
}

pub(crate) fn boolean(node: &Node, what: &str, report: &mut Report<'_>) -> Option<bool> {
    match &node.value {
        Data::Bool(value) => Some(*value),
        Data::Text { text, plain: true } if is_ambiguous(text) => {
            let message = format!("`{text}` is no boolean");
            report.error_hint(Code::WrongType, node.place, message, "write true or false");
            None
        }
        other => {
            let message = format!("`{what}` takes true or false, not {}", other.kind());
            report.error(Code::WrongType, node.place, message);
            None
        }
    }
}

pub(crate) fn integer(
    node: &Node,
    what: &str,
    range: std::ops::RangeInclusive<i64>,
    report: &mut Report<'_>,
) -> Option<u32> {
    let Data::Int(value) = &node.value else {
        let message = format!("`{what}` takes an integer, not {}", node.value.kind());
        report.error(Code::WrongType, node.place, message);
        return None;
    };
    if !range.contains(value) {
        let message = format!("`{what}` lies between {} and {}", range.start(), range.end());
        report.error(Code::BadValue, node.place, message);
        return None;
    }
    u32::try_from(*value).ok()
}

/// Free text for people.
pub(crate) fn prose(
    node: &Node,
    what: &str,
    bytes_max: usize,
    report: &mut Report<'_>,
) -> Option<String> {
    let (text, place) = text(node, what, report)?;
    if text.trim().is_empty() || text.len() > bytes_max {
        let message = format!("`{what}` takes 1 to {bytes_max} bytes of text");
        report.error(Code::BadValue, place, message);
        return None;
    }
    Some(text)
}

pub(crate) fn owner(node: &Node, report: &mut Report<'_>) -> Option<String> {
    prose(node, "owner", 200, report)
}

/// Longest duration: a year.
const DURATION_MS_MAX: u64 = 366 * 86_400_000;

/// Longest retention: a century.
const RETENTION_MS_MAX: u64 = 36_525 * 86_400_000;

/// A positive duration of up to a year in milliseconds.
pub(crate) fn duration(
    node: &Node,
    what: &str,
    form: Form,
    report: &mut Report<'_>,
) -> Option<u64> {
    duration_up_to(node, what, form, DURATION_MS_MAX, report)
}

/// A positive duration of up to a century in milliseconds.
pub(crate) fn age(node: &Node, what: &str, form: Form, report: &mut Report<'_>) -> Option<u64> {
    duration_up_to(node, what, form, RETENTION_MS_MAX, report)
}

fn duration_up_to(
    node: &Node,
    what: &str,
    form: Form,
    ms_max: u64,
    report: &mut Report<'_>,
) -> Option<u64> {
    let hint = "an integer and a unit: 500ms, 30s, 30m, 1h or 7d";
    let ms = match (&node.value, form) {
        (Data::Int(ms), Form::Normal) => u64::try_from(*ms).ok(),
        (Data::Text { text, .. }, Form::Document) => duration_ms(text),
        (other, Form::Document) => {
            let message = format!("`{what}` takes a duration, not {}", other.kind());
            report.error_hint(Code::WrongType, node.place, message, hint);
            return None;
        }
        _ => None,
    };
    match ms {
        Some(ms) if (1..=ms_max).contains(&ms) => Some(ms),
        Some(_) => {
            let days = ms_max / 86_400_000;
            let message = format!("`{what}` lies between 1ms and {days}d");
            report.error(Code::BadValue, node.place, message);
            None
        }
        None => {
            report.error_hint(Code::BadValue, node.place, format!("`{what}` is no duration"), hint);
            None
        }
    }
}

/// Longest list.
const ITEMS_MAX: usize = 256;

/// A list of texts with their places; `None` after an error.
pub(crate) fn texts(
    node: &Node,
    what: &str,
    report: &mut Report<'_>,
) -> Option<Vec<(String, Place)>> {
    let Data::List(items) = &node.value else {
        let message = format!("`{what}` takes a list, not {}", node.value.kind());
        let hint = match &node.value {
            Data::Text { text, .. } => format!("write [\"{text}\"]"),
            _ => "write [\"…\"], or leave the key out".to_owned(),
        };
        report.error_hint(Code::WrongType, node.place, message, hint);
        return None;
    };
    if items.len() > ITEMS_MAX {
        report.error(Code::Bound, node.place, format!("`{what}` takes at most {ITEMS_MAX} items"));
        return None;
    }
    let read: Vec<_> = items.iter().map(|item| text(item, what, report)).collect();
    read.into_iter().collect()
}

/// A JSON value; decimals and ambiguous words are refused.
pub(crate) fn json(node: &Node, report: &mut Report<'_>) -> Option<Value> {
    value(node, false, report)
}

/// As [`json`], with the numbers that a request may have.
pub(crate) fn body(node: &Node, report: &mut Report<'_>) -> Option<Value> {
    value(node, true, report)
}

fn value(node: &Node, doubles: bool, report: &mut Report<'_>) -> Option<Value> {
    Some(match &node.value {
        Data::Null => {
            report.error_hint(
                Code::WrongType,
                node.place,
                "nothing stands here",
                "leave the key out",
            );
            return None;
        }
        Data::Bool(value) => Value::Bool(*value),
        Data::Int(value) if value.unsigned_abs() <= 1 << 53 => Value::from(*value),
        Data::Number(Some(number)) if doubles => Value::Number(*number),
        Data::Int(_) | Data::Number(_) => {
            let message = if doubles {
                "no double holds this number exactly, or JSON has no such spelling"
            } else {
                "only integers up to 2^53 are legal here"
            };
            report.error(Code::WrongType, node.place, message);
            return None;
        }
        Data::Text { .. } => Value::String(text(node, "this key", report)?.0),
        Data::List(items) => {
            let read: Vec<_> = items.iter().map(|item| value(item, doubles, report)).collect();
            Value::Array(read.into_iter().collect::<Option<_>>()?)
        }
        Data::Map(members) => {
            let mut object = Object::new();
            for member in members {
                object.set(member.key.as_str(), value(&member.value, doubles, report)?);
            }
            Value::Object(object)
        }
    })
}
