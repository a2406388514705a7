//! Lays a tree out: two spaces, keys in the order of their shape, patterns in quotes, what was written in
//! braces and fits on a line stays there.

use super::tree::{Comment, Entry, Value, What};
use crate::documents::shape_of;
use crate::shape::Shape;
use serde_saphyr::granit_parser::ScalarStyle;

/// Longest line of a collection in braces.
const WIDTH: usize = 100;

pub(super) fn write(mut root: Value, comments: Vec<Comment>) -> String {
    open_flows(&mut root, &comments, &Known::Document, 0, 0);
    let head_until = first_start(&root);
    let (head, rest): (Vec<Comment>, Vec<Comment>) =
        comments.into_iter().partition(|it| it.alone && (it.line, it.column) < head_until);
    let foot = attach(&mut root, rest);
    let mut writer = Writer { out: String::new() };
    for comment in &head {
        writer.comment(comment, 0);
    }
    // The entry that followed them keeps its distance, unless another is first now.
    writer.block(&root, 0, Position::Line, &Known::Document);
    for comment in &foot {
        writer.comment(comment, 0);
    }
    writer.out
}

/// What is known of the shape at some place.
enum Known {
    Document,
    Of(Option<&'static Shape>),
}

fn first_start(root: &Value) -> (usize, usize) {
    match &root.what {
        What::Map { members: entries, .. } | What::List { items: entries, .. } => {
            entries.first().map_or(root.start, |entry| entry.start)
        }
        What::Scalar { .. } => root.start,
    }
}

fn entries(value: &Value) -> &[Entry] {
    match &value.what {
        What::Map { members: entries, .. } | What::List { items: entries, .. } => entries,
        What::Scalar { .. } => &[],
    }
}

fn entries_mut(value: &mut Value) -> &mut [Entry] {
    match &mut value.what {
        What::Map { members: entries, .. } | What::List { items: entries, .. } => entries,
        What::Scalar { .. } => &mut [],
    }
}

fn is_flow(value: &Value) -> bool {
    match &value.what {
        What::Map { members, flow } => *flow || members.is_empty(),
        What::List { items, flow } => *flow || items.is_empty(),
        What::Scalar { .. } => true,
    }
}

/// Collections in braces that hold comments or that no line takes become blocks. The value would begin at
/// `column`, its entries as a block at `indent`.
fn open_flows(
    value: &mut Value,
    comments: &[Comment],
    known: &Known,
    indent: usize,
    column: usize,
) {
    let shape = match known {
        Known::Document => None,
        Known::Of(shape) => *shape,
    };
    let (start, end) = (value.start, value.end);
    let inside = |it: &Comment| (it.line, it.column) > start && (it.line, it.column) < end;
    let filled = !entries(value).is_empty();
    let stays = !matches!(known, Known::Document)
        && is_flow(value)
        && !comments.iter().any(inside)
        && column + flow_text(value, shape).chars().count() <= WIDTH;
    if filled && !stays {
        match &mut value.what {
            What::Map { flow, .. } | What::List { flow, .. } => *flow = false,
            What::Scalar { .. } => {}
        }
    }
    if is_flow(value) {
        return;
    }
    for entry in entries_mut(value) {
        let (inner, before) = match (&entry.key, known) {
            (Some(key), Known::Document) => (shape_of(key), key.chars().count()),
            (Some(key), Known::Of(shape)) => (of_entry(*shape, key), key.chars().count()),
            (None, _) => (item_shape(shape), 0),
        };
        let column = indent + before + 2;
        open_flows(&mut entry.value, comments, &Known::Of(inner), indent + 2, column);
    }
}

fn member_shape(shape: Option<&'static Shape>, key: &str) -> Option<&'static Shape> {
    match shape? {
        Shape::Record(fields) => {
            fields.iter().find(|field| field.name == key).map(|field| &field.shape)
        }
        Shape::Map(_, value) => Some(*value),
        _ => None,
    }
}

fn item_shape(shape: Option<&'static Shape>) -> Option<&'static Shape> {
    match shape? {
        Shape::List(item) | Shape::Set(item) | Shape::Several(item) | Shape::OneOrMore(item) => {
            Some(*item)
        }
        entries @ Shape::Entries(_) => Some(entries),
        _ => None,
    }
}

fn order(shape: Option<&'static Shape>, key: &str) -> usize {
    match shape {
        Some(Shape::Record(fields) | Shape::Entries(fields)) => {
            fields.iter().position(|field| field.name == key).unwrap_or(fields.len())
        }
        _ => 0,
    }
}

/// The shape of the members of a record that is an entry of a list.
fn of_entry(shape: Option<&'static Shape>, key: &str) -> Option<&'static Shape> {
    match shape {
        Some(Shape::Entries(fields)) => {
            fields.iter().find(|field| field.name == key).map(|field| &field.shape)
        }
        other => member_shape(other, key),
    }
}

fn sorted<'e>(members: &'e [Entry], shape: &Known) -> Vec<&'e Entry> {
    let mut out: Vec<&Entry> = members.iter().collect();
    let rank = |entry: &&Entry| {
        let key = entry.key.as_deref().unwrap_or_default();
        match shape {
            Known::Document => match key {
                "version" => 0,
                "kind" => 1,
                _ => 2,
            },
            Known::Of(shape) => order(*shape, key),
        }
    };
    out.sort_by_key(rank);
    out
}

/// Gives each comment to what it stands above or behind; what is left stands at the end.
fn attach(root: &mut Value, comments: Vec<Comment>) -> Vec<Comment> {
    let mut left = Vec::new();
    for comment in comments {
        let mut comment = Some(comment);
        if comment.as_ref().is_some_and(|it| !it.alone) {
            behind(root, &mut comment);
        }
        if let Some(it) = comment.take() {
            let mut it = Some(Comment { alone: true, ..it });
            above(root, &mut it);
            left.extend(it);
        }
    }
    left
}

/// The last entry in block style that begins or ends on the line of the comment.
fn behind(value: &mut Value, comment: &mut Option<Comment>) {
    if is_flow(value) {
        return;
    }
    let Some(line) = comment.as_ref().map(|it| it.line) else { return };
    for entry in entries_mut(value).iter_mut().rev() {
        if entry.start.0 > line {
            continue;
        }
        behind(&mut entry.value, comment);
        let here = entry.start.0 == line || entry.value.end.0 == line;
        // Behind an item that is a block there is no place: its first member has it.
        let takes = entry.key.is_some() || is_flow(&entry.value);
        if comment.is_some() && here && takes && entry.behind.is_none() {
            entry.behind = comment.take();
        }
        return;
    }
}

/// The first entry in block style that begins below the comment, the outermost of these.
fn above(value: &mut Value, comment: &mut Option<Comment>) {
    if is_flow(value) {
        return;
    }
    let Some(line) = comment.as_ref().map(|it| it.line) else { return };
    for entry in entries_mut(value) {
        if entry.start.0 > line {
            if let Some(comment) = comment.take() {
                entry.above.push(comment);
            }
            return;
        }
        if entry.value.end.0 > line || entry.value.start.0 > line {
            above(&mut entry.value, comment);
            if comment.is_none() {
                return;
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    /// At the beginning of a line.
    Line,
    /// Behind `- `.
    Dash,
}

struct Writer {
    out: String,
}

impl Writer {
    fn comment(&mut self, comment: &Comment, indent: usize) {
        self.gap(comment.blank);
        self.out.push_str(&" ".repeat(indent));
        self.out.push('#');
        self.out.push_str(&comment.text);
        self.out.push('\n');
    }

    /// An empty line, where there is something before it and no empty line yet.
    fn gap(&mut self, wanted: bool) {
        if wanted && !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    /// A collection in block style, or any value on a line of its own.
    fn block(&mut self, value: &Value, indent: usize, position: Position, known: &Known) {
        let shape = match known {
            Known::Document => None,
            Known::Of(shape) => *shape,
        };
        match &value.what {
            _ if is_flow(value) => {
                let text = scalar_or_flow(value, shape, indent);
                self.out.push_str(&text);
                self.out.push('\n');
            }
            What::Map { members, .. } => {
                let members = sorted(members, known);
                for (at, entry) in members.iter().enumerate() {
                    let dash = position == Position::Dash && at == 0;
                    if !dash {
                        self.lead(entry, indent, at > 0);
                        self.out.push_str(&" ".repeat(indent));
                    }
                    let key = entry.key.as_deref().unwrap_or_default();
                    let inner = match known {
                        Known::Document => shape_of(key),
                        Known::Of(shape) => of_entry(*shape, key),
                    };
                    self.out.push_str(&key_text(key));
                    self.out.push(':');
                    self.tail(entry, indent, inner);
                }
            }
            What::List { items, .. } => {
                for (at, entry) in items.iter().enumerate() {
                    self.lead(entry, indent, at > 0);
                    if let (false, What::Map { members, .. }) =
                        (is_flow(&entry.value), &entry.value.what)
                    {
                        // What stood above a key that is first now stands above the dash.
                        let known = Known::Of(item_shape(shape));
                        for first in sorted(members, &known).first().iter().flat_map(|it| &it.above)
                        {
                            self.comment(first, indent);
                        }
                        self.out.push_str(&" ".repeat(indent));
                        self.out.push_str("- ");
                        self.block(&entry.value, indent + 2, Position::Dash, &known);
                        continue;
                    }
                    self.out.push_str(&" ".repeat(indent));
                    self.out.push('-');
                    self.tail(entry, indent, item_shape(shape));
                }
            }
            What::Scalar { .. } => {}
        }
    }

    fn lead(&mut self, entry: &Entry, indent: usize, follows: bool) {
        for comment in &entry.above {
            self.comment(comment, indent);
        }
        self.gap(entry.blank && (follows || !entry.above.is_empty()));
    }

    /// What follows `key:` or `-`: the value, with the comment behind it.
    fn tail(&mut self, entry: &Entry, indent: usize, shape: Option<&'static Shape>) {
        let behind = entry.behind.as_ref().map_or(String::new(), |it| format!(" #{}", it.text));
        if !is_flow(&entry.value) {
            self.out.push_str(&behind);
            self.out.push('\n');
            self.block(&entry.value, indent + 2, Position::Line, &Known::Of(shape));
            return;
        }
        let text = scalar_or_flow(&entry.value, shape, indent + 2);
        if !text.is_empty() {
            self.out.push(' ');
        }
        match text.split_once('\n') {
            Some((first, rest)) => {
                self.out.push_str(&format!("{first}{behind}\n{rest}\n"));
            }
            None => self.out.push_str(&format!("{text}{behind}\n")),
        }
    }
}

fn scalar_or_flow(value: &Value, shape: Option<&'static Shape>, indent: usize) -> String {
    match &value.what {
        What::Scalar { text, style } => scalar_text(text, *style, shape, Some(indent)),
        _ => flow_text(value, shape),
    }
}

/// A value on one line.
fn flow_text(value: &Value, shape: Option<&'static Shape>) -> String {
    match &value.what {
        What::Scalar { text, style } => {
            let text = scalar_text(text, *style, shape, None);
            if text.is_empty() { "null".to_owned() } else { text }
        }
        What::List { items, .. } => {
            let texts: Vec<String> =
                items.iter().map(|entry| flow_text(&entry.value, item_shape(shape))).collect();
            format!("[{}]", texts.join(", "))
        }
        What::Map { members, .. } if members.is_empty() => "{}".to_owned(),
        What::Map { members, .. } => {
            let texts: Vec<String> = sorted(members, &Known::Of(shape))
                .iter()
                .map(|entry| {
                    let key = entry.key.as_deref().unwrap_or_default();
                    let value = flow_text(&entry.value, of_entry(shape, key));
                    format!("{}: {value}", key_text(key))
                })
                .collect();
            format!("{{ {} }}", texts.join(", "))
        }
    }
}

fn key_text(key: &str) -> String {
    let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && key.starts_with(|c: char| c.is_ascii_alphabetic());
    if plain { key.to_owned() } else { quoted(key) }
}

/// `indent` is given where a text may take several lines.
fn scalar_text(
    text: &str,
    style: ScalarStyle,
    shape: Option<&'static Shape>,
    indent: Option<usize>,
) -> String {
    if style == ScalarStyle::Plain && !is_text(text) {
        return text.to_owned();
    }
    if text.contains('\n')
        && let Some(block) = indent.and_then(|indent| literal_block(text, indent))
    {
        return block;
    }
    let pattern = matches!(shape, Some(Shape::Pattern(_) | Shape::Condition));
    if style == ScalarStyle::Plain && !pattern && is_plain(text) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Whether a plain scalar is text and no number, Boolean or nothing.
fn is_text(text: &str) -> bool {
    let special = matches!(
        text,
        "" | "~"
            | "null"
            | "Null"
            | "NULL"
            | "true"
            | "True"
            | "TRUE"
            | "false"
            | "False"
            | "FALSE"
    );
    let number =
        text.trim_start_matches(['-', '+']).starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && text.parse::<f64>().is_ok();
    !special && !number
}

/// Text that stands without quotes wherever it is put.
fn is_plain(text: &str) -> bool {
    let first = text.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '/');
    let all = text.chars().all(|c| c.is_alphanumeric() || " _-./()=<>+%;!?'".contains(c));
    first && all && !text.ends_with(' ') && !text.contains(" #")
}

/// Single quotes where double ones would need escapes.
fn quoted(text: &str) -> String {
    let printable = text.chars().all(|c| {
        !c.is_control() && c != '\u{feff}' && c != '\u{2028}' && c != '\u{2029}' && c != '\u{85}'
    });
    if printable && text.contains(['"', '\\']) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            other
                if other.is_control() || matches!(other, '\u{feff}' | '\u{2028}' | '\u{2029}') =>
            {
                out.push_str(&format!("\\U{:08x}", u32::from(other)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// `|` with the text below it, where every line can stand there as it is.
fn literal_block(text: &str, indent: usize) -> Option<String> {
    let (body, mark) = match text.strip_suffix('\n') {
        Some(body) => (body, "|"),
        None => (text, "|-"),
    };
    let plain = |line: &str| {
        !line.ends_with([' ', '\t'])
            && line.chars().all(|c| !c.is_control() && c != '\u{feff}')
            && !line.contains(['\u{85}', '\u{2028}', '\u{2029}'])
    };
    let sound = !body.is_empty()
        && !body.starts_with([' ', '\n', '\t'])
        && !body.ends_with('\n')
        && body.split('\n').all(plain);
    let pad = " ".repeat(indent);
    let lines: Vec<String> = body
        .split('\n')
        .map(|line| if line.is_empty() { String::new() } else { format!("{pad}{line}") })
        .collect();
    sound.then(|| format!("{mark}\n{}", lines.join("\n")))
}
