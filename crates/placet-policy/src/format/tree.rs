//! A document with what a formatter needs: how things were written, on which lines, and its comments.

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, Span};

/// A comment.
#[derive(Clone, Debug)]
pub(super) struct Comment {
    pub(super) line: usize,
    pub(super) column: usize,
    /// Without `#`.
    pub(super) text: String,
    /// Whether it has its line for itself.
    pub(super) alone: bool,
    /// Whether the line before it is empty.
    pub(super) blank: bool,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Scalar { text: String, style: ScalarStyle },
    List { items: Vec<Entry>, flow: bool },
    Map { members: Vec<Entry>, flow: bool },
}

/// A value with the lines and columns on which it begins and ends.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) what: What,
    pub(super) start: (usize, usize),
    pub(super) end: (usize, usize),
}

/// An item of a list or a member of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The key of a member.
    pub(super) key: Option<String>,
    pub(super) value: Value,
    /// Where the item or the key begins.
    pub(super) start: (usize, usize),
    /// Whether the line before it is empty.
    pub(super) blank: bool,
    /// Comments above it and behind it.
    pub(super) above: Vec<Comment>,
    pub(super) behind: Option<Comment>,
}

pub(super) struct Parsed {
    pub(super) root: Value,
    pub(super) comments: Vec<Comment>,
}

struct Open {
    start: (usize, usize),
    flow: bool,
    entries: Vec<Entry>,
    map: bool,
    key: Option<(String, (usize, usize))>,
}

/// `None` for what `syntax` refuses: it has been asked before.
pub(super) fn parse(text: &str) -> Option<Parsed> {
    let lines: Vec<&str> = text.lines().collect();
    let blank_before = |line: usize| {
        line >= 2 && lines.get(line.wrapping_sub(2)).is_some_and(|before| before.trim().is_empty())
    };
    let options = granit_parser::options! {
        strict_indentation: true,
        disallow_directives: true,
        emit_unresolved_aliases: true,
        flow_nesting_limit: 32,
        block_nesting_limit: 32,
    };
    let mut scalars = Vec::new();
    let mut stack: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.ok()?;
        let (start, end) = places(span);
        let done = match event {
            Event::Scalar(text, style, ..) => {
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                scalars.push((start, end, block));
                if let Some(Open { map: true, key: key @ None, .. }) = stack.last_mut() {
                    *key = Some((text.into_owned(), start));
                    None
                } else {
                    let what = What::Scalar { text: text.into_owned(), style };
                    Some(Value { what, start, end })
                }
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                let map = matches!(event, Event::MappingStart(..));
                let first = lines.get(start.0.wrapping_sub(1)).copied().unwrap_or("");
                let mark = first.chars().nth(start.1);
                // A block mapping may begin with a flow collection as its key, which is refused.
                let flow = mark == Some(if map { '{' } else { '[' });
                stack.push(Open { start, flow, entries: Vec::new(), map, key: None });
                None
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let open = stack.pop()?;
                let flow = open.flow;
                // A block collection ends where its last entry does, not before the next token.
                let end = match open.entries.last() {
                    Some(last) if !flow => last.value.end,
                    _ => end,
                };
                let what = if open.map {
                    What::Map { members: open.entries, flow }
                } else {
                    What::List { items: open.entries, flow }
                };
                Some(Value { what, start: open.start, end })
            }
            _ => None,
        };
        let Some(value) = done else { continue };
        let Some(open) = stack.last_mut() else {
            root = Some(value);
            continue;
        };
        let (key, start) = match open.key.take() {
            Some((key, start)) if open.map => (Some(key), start),
            _ => (None, value.start),
        };
        let blank = blank_before(start.0);
        open.entries.push(Entry { key, value, start, blank, above: Vec::new(), behind: None });
    }
    Some(Parsed { root: root?, comments: comments(&lines, &scalars) })
}

type Place = (usize, usize);

/// Every `#` at the beginning of a line or behind a space that lies in no scalar, to the end of its line. The
/// parser tells of scalars in the order of the text.
fn comments(lines: &[&str], scalars: &[(Place, Place, bool)]) -> Vec<Comment> {
    let mut out = Vec::new();
    let mut next = 0;
    for (line, text) in (1..).zip(lines) {
        let mut before = ' ';
        for (column, (byte, character)) in text.char_indices().enumerate() {
            let place = (line, column);
            let opens = character == '#' && before.is_whitespace();
            before = character;
            while scalars.get(next).is_some_and(|(_, end, _)| *end <= place) {
                next += 1;
            }
            let inside = scalars.get(next).is_some_and(|(start, end, block)| {
                // Behind the mark of a block a comment may follow.
                *start <= place && place < *end && !(*block && start.0 == line)
            });
            if opens && !inside {
                let blank = line >= 2 && lines.get(line - 2).is_some_and(|it| it.trim().is_empty());
                let alone = text.get(..byte).is_some_and(|it| it.trim().is_empty());
                let body = text.get(byte..).unwrap_or_default().trim_start_matches('#');
                let marks = text.get(byte..).unwrap_or_default().len() - body.len();
                out.push(Comment {
                    line,
                    column,
                    text: format!("{}{}", "#".repeat(marks - 1), body.trim_end()),
                    alone,
                    blank: alone && blank,
                });
                break;
            }
        }
    }
    out
}

fn places(span: Span) -> ((usize, usize), (usize, usize)) {
    ((span.start.line(), span.start.col()), (span.end.line(), span.end.col()))
}
