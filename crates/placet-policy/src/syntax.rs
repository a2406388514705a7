//! The one module that knows the YAML parser: text in, a tree with places out. Owns what YAML is
//! accepted (no aliases, tags, merge keys, second documents or duplicate keys) and its bounds.

use crate::diagnostic::{Code, Place, Report};
use crate::source::FILE_BYTES_MAX;
use placet_types::json;
use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, Span};
use std::collections::BTreeMap;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Data,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Int(i64),
    /// A number that is no integer within 64 bits: legal in requests of cases alone, and only where JSON
    /// has it and a double holds it.
    Number(Option<json::Number>),
    /// Text; `plain` when it stood there without quotes.
    Text {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Member>),
}

/// One member of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Node,
}

impl Data {
    /// For messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Number(_) => "a number",
            Self::Text { .. } => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Deepest nesting: rules need seven levels.
const DEPTH_MAX: usize = 32;
/// Most scalars and collections of one document: some hundred bytes each. 20,000 rules have half of it.
const NODES_MAX: usize = 600_000;

/// Most keys of one mapping.
const MEMBERS_MAX: usize = 4096;
/// With more keys than this, duplicates are looked up instead of compared one by one.
const SEARCHED_MAX: usize = 16;

/// Parses one document; `None` when errors were reported.
pub(crate) fn parse_yaml(source: usize, text: &str, report: &mut Report<'_>) -> Option<Node> {
    let start = Place { source, line: 1, column: 1, width: 1 };
    if text.len() > FILE_BYTES_MAX {
        report.error(Code::Bound, start, format!("longer than {FILE_BYTES_MAX} bytes"));
        return None;
    }
    let options = granit_parser::options! {
        strict_indentation: true,
        disallow_directives: true,
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut options = options;
    options.set_emit_comments(false);
    let mut builder =
        Builder { source, report, stack: Vec::new(), root: None, nodes: 0, documents: 0 };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => builder.event(event, span)?,
            Err(error) => {
                scan_error(source, text, &error, builder.report);
                return None;
            }
        }
    }
    let root = builder.root.take();
    if root.is_none() {
        report.error(Code::MissingKey, start, "the file holds no document");
    }
    root
}

fn scan_error(
    source: usize,
    text: &str,
    error: &granit_parser::ScanError,
    report: &mut Report<'_>,
) {
    let marker = error.marker();
    let place = Place {
        source,
        line: number(marker.line()),
        column: number(marker.col()).saturating_add(1),
        width: 1,
    };
    let line = text.lines().nth(marker.line().saturating_sub(1)).unwrap_or("");
    let near: String = line.chars().skip(marker.col().saturating_sub(1)).take(3).collect();
    let message = error.info().trim_end_matches('.').to_owned();
    if near.contains('*') {
        let hint =
            "text that begins with `*` is an alias in YAML: put a pattern such as \"*\" in quotes";
        report.error_hint(Code::YamlAlias, place, message, hint);
    } else if line.contains('\t') && line.trim_start_matches(' ').starts_with('\t') {
        report.error_hint(Code::YamlSyntax, place, message, "indent with spaces, not tabs");
    } else {
        report.error(Code::YamlSyntax, place, message);
    }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

enum Open {
    List(Place, Vec<Node>),
    /// Members, the key whose value comes, and where keys stand once there are many.
    Map(Place, Vec<Member>, Option<(String, Place)>, BTreeMap<String, u32>),
}

struct Builder<'a, 'r> {
    source: usize,
    report: &'r mut Report<'a>,
    stack: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
    documents: usize,
}

impl Builder<'_, '_> {
    fn place(&self, span: Span) -> Place {
        let one_line = span.start.line() == span.end.line();
        let width = if one_line { span.end.col().saturating_sub(span.start.col()) } else { 1 };
        Place {
            source: self.source,
            line: number(span.start.line()),
            column: number(span.start.col()).saturating_add(1),
            width: number(width.max(1)),
        }
    }

    /// Takes one event; `None` stops after an error that makes what follows meaningless.
    fn event(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let place = self.place(span);
        if event.is_node() {
            self.nodes = self.nodes.saturating_add(1);
            if self.nodes > NODES_MAX || self.stack.len() > DEPTH_MAX {
                self.report.error(Code::Bound, place, "more or deeper values than allowed");
                return None;
            }
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents = self.documents.saturating_add(1);
                if self.documents > 1 {
                    let hint = "put it into a file of its own";
                    self.report.error_hint(
                        Code::NotSupported,
                        place,
                        "a second document in one file",
                        hint,
                    );
                    return None;
                }
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let hint = "text that begins with `*` is an alias in YAML: put a pattern such as \"*.write\" in quotes";
                self.report.error_hint(Code::YamlAlias, place, "aliases are not allowed", hint);
                return None;
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_properties(place, anchor, tag.is_some())?;
                let value = scalar(&text, style);
                self.scalar(place, value, &text)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_properties(place, anchor, tag.is_some())?;
                self.refuse_as_key(place)?;
                self.stack.push(Open::List(place, Vec::new()));
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_properties(place, anchor, tag.is_some())?;
                self.refuse_as_key(place)?;
                self.stack.push(Open::Map(place, Vec::new(), None, BTreeMap::new()));
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Open::List(place, items)) => {
                    self.add(Node { place, value: Data::List(items) })
                }
                Some(Open::Map(place, members, ..)) => {
                    self.add(Node { place, value: Data::Map(members) });
                }
                None => {}
            },
            _ => {}
        }
        Some(())
    }

    fn refuse_properties(&mut self, place: Place, anchor: usize, tag: bool) -> Option<()> {
        if anchor == 0 && !tag {
            return Some(());
        }
        let what =
            if tag { "tags (`!…`) are not allowed" } else { "anchors (`&…`) are not allowed" };
        let hint = "put text that begins with `!` or `&` in quotes";
        self.report.error_hint(Code::YamlAlias, place, what, hint);
        None
    }

    fn refuse_as_key(&mut self, place: Place) -> Option<()> {
        if let Some(Open::Map(_, _, None, _)) = self.stack.last() {
            self.report.error(Code::WrongType, place, "a key must be text");
            return None;
        }
        Some(())
    }

    fn scalar(&mut self, place: Place, value: Data, text: &str) -> Option<()> {
        let Some(Open::Map(_, members, key @ None, seen)) = self.stack.last_mut() else {
            self.add(Node { place, value });
            return Some(());
        };
        if text == "<<" {
            self.report.error(Code::YamlAlias, place, "merge keys are not allowed");
            return None;
        }
        if text.is_empty() {
            self.report.error(Code::WrongType, place, "a key must be text");
            return None;
        }
        if members.len() >= MEMBERS_MAX {
            self.report.error(
                Code::Bound,
                place,
                format!("a mapping has at most {MEMBERS_MAX} keys"),
            );
            return None;
        }
        let first = if seen.is_empty() {
            members.iter().find(|member| member.key == text).map(|member| member.place.line)
        } else {
            seen.get(text).copied()
        };
        if members.len() == SEARCHED_MAX {
            seen.extend(members.iter().map(|member| (member.key.clone(), member.place.line)));
        }
        if members.len() >= SEARCHED_MAX {
            seen.entry(text.to_owned()).or_insert(place.line);
        }
        if let Some(line) = first {
            let message = format!("duplicate key `{text}`, first on line {line}");
            self.report.error(Code::DuplicateKey, place, message);
            // The first one stands; the second is read and dropped.
            *key = Some((String::new(), place));
            return Some(());
        }
        *key = Some((text.to_owned(), place));
        Some(())
    }

    fn add(&mut self, node: Node) {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, members, key, _)) => {
                if let Some((key, place)) = key.take()
                    && !key.is_empty()
                {
                    members.push(Member { key, place, value: node });
                }
            }
        }
    }
}

/// YAML 1.2 core schema, without octal, hex and special floats, which stay text.
fn scalar(text: &str, style: ScalarStyle) -> Data {
    let plain = style == ScalarStyle::Plain;
    if !plain {
        return Data::Text { text: text.to_owned(), plain };
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "true" | "True" | "TRUE" => return Data::Bool(true),
        "false" | "False" | "FALSE" => return Data::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && text.parse::<f64>().is_ok()
    {
        return match text.parse::<i64>() {
            Ok(value) if value.to_string() == text => Data::Int(value),
            _ => Data::Number(match json::parse(text.as_bytes(), json::Limits::REQUEST) {
                Ok(json::Value::Number(number)) => Some(number),
                _ => None,
            }),
        };
    }
    Data::Text { text: text.to_owned(), plain }
}

/// The tree of a JSON value, all at one place.
pub(crate) fn from_json(value: &json::Value, place: Place) -> Node {
    let value = match value {
        json::Value::Null => Data::Null,
        json::Value::Bool(value) => Data::Bool(*value),
        json::Value::Number(number) => match number.as_i64() {
            Some(value) => Data::Int(value),
            None => Data::Number(Some(*number)),
        },
        json::Value::String(text) => Data::Text { text: text.clone(), plain: false },
        json::Value::Array(items) => {
            Data::List(items.iter().map(|item| from_json(item, place)).collect())
        }
        json::Value::Object(object) => Data::Map(
            object
                .iter()
                .map(|(key, value)| Member {
                    key: key.to_owned(),
                    place,
                    value: from_json(value, place),
                })
                .collect(),
        ),
    };
    Node { place, value }
}
