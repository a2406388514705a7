//! Text of others in few and safe lines: each value on one, invisible characters and padding shown. Where
//! not all of them fit, long ones are cut in the middle with their length, so that none hides the name of a
//! later one; and what was cut was not shown.

use placet_types::json::Value;
use placet_types::visible;

/// Longest value that is shown whole where not all of them fit, in characters.
const WHOLE: usize = 240;
/// Characters of a longer one that are shown: at its beginning, at its end.
const HEAD: usize = 160;
const TAIL: usize = 60;

/// One value of what is asked and where it stands: whole, on one line, nothing in it invisible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// JSON pointer.
    pub pointer: String,
    /// Its canonical text.
    pub value: String,
}

impl Member {
    /// `• /amount: 5`, whole.
    pub(crate) fn whole(&self) -> String {
        format!("• {}: {}", self.pointer, self.value)
    }

    /// The same with both cut to their bound.
    pub(crate) fn short(&self) -> String {
        format!("• {}: {}", cut(&self.pointer), cut(&self.value))
    }
}

/// Text of others on one line.
pub(crate) fn line(text: &str) -> String {
    cut(&safe(text))
}

/// Nothing in it is invisible, and nothing makes it look like a line of its own.
fn safe(text: &str) -> String {
    visible::flat(&visible::escape(text))
}

/// Whether [`line`] shows all of it.
pub(crate) fn is_whole(text: &str) -> bool {
    safe(text).chars().count() <= WHOLE
}

fn cut(text: &str) -> String {
    let count = text.chars().count();
    if count <= WHOLE {
        return text.to_owned();
    }
    let head: String = text.chars().take(HEAD).collect();
    let tail: String = text.chars().skip(count.saturating_sub(TAIL)).collect();
    format!("{head} …[{count} characters]… {tail}")
}

/// All values of a JSON value with their places, in their order. Empty objects and lists are values.
#[must_use]
pub fn members(value: &Value) -> Vec<Member> {
    let mut out = Vec::new();
    walk(value, &mut String::new(), &mut out);
    out
}

fn walk(value: &Value, pointer: &mut String, out: &mut Vec<Member>) {
    let end = pointer.len();
    let mut enter = |name: &str, value: &Value| {
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        walk(value, pointer, out);
        pointer.truncate(end);
    };
    match value {
        Value::Object(object) if !object.is_empty() => {
            object.iter().for_each(|(name, value)| enter(name, value));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(at, value)| enter(&at.to_string(), value));
        }
        _ => {
            let pointer = if pointer.is_empty() { "/" } else { pointer.as_str() };
            out.push(Member { pointer: safe(pointer), value: safe(&value.to_text()) });
        }
    }
}

/// The length of a text as Telegram counts it.
pub(crate) fn utf16(text: &str) -> usize {
    text.encode_utf16().count()
}
