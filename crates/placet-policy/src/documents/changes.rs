//! `changes:` path lists, tiers, risk weights and quality gates for code changes.

use super::Kind;
use crate::shape::{Field, Matching, Shape};

const PATHS: Shape = Shape::Set(&Shape::Matching(&GLOB));

const GLOB: Matching = Matching {
    fits: is_glob,
    kind: "a pattern as in gitignore",
    known: Vec::new,
    hint: "*.pem, /src/**, build/: `**` a whole segment, `[a-z]` closed, no `!`, `.` or `..` segments",
};

/// Patterns of gitignore that mean something by themselves: a list here has no order, so nothing takes back
/// what another one says.
fn is_glob(text: &str) -> bool {
    let inner = text.strip_prefix('/').unwrap_or(text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let sound = !text.starts_with(['!', '#']) && !text.contains(char::is_control);
    let spaced = text.trim() != text;
    sound && !spaced && text.len() <= 1024 && inner.split('/').all(is_segment)
}

fn is_segment(segment: &str) -> bool {
    if matches!(segment, "" | "." | "..") || (segment.contains("**") && segment != "**") {
        return false;
    }
    let mut rest = segment.chars();
    while let Some(character) = rest.next() {
        match character {
            // A back-slash takes the next character as it is.
            '\\' if rest.next().is_none() => return false,
            '[' => {
                let inner = rest.as_str();
                let inner = inner.strip_prefix(['!', '^']).unwrap_or(inner);
                // A bracket right at the beginning is one of the characters.
                let Some(end) = inner.char_indices().skip(1).find(|(_, it)| *it == ']') else {
                    return false;
                };
                rest = inner.get(end.0.saturating_add(1)..).unwrap_or_default().chars();
            }
            _ => {}
        }
    }
    true
}

pub(super) const KIND: Kind = Kind {
    name: "changes",
    shape: Shape::Record(&[
        Field::optional("allowed", PATHS, "paths that may change, as in gitignore"),
        Field::optional("protected", PATHS, "paths whose change needs an approval"),
        Field::optional("never", PATHS, "paths that are never approved automatically"),
        Field::optional("denied", PATHS, "paths that no change may touch"),
        Field::optional(
            "tiers",
            Shape::Record(&[
                Field::optional("auto_lines", Shape::Int(0, 1_000_000), "most lines of tier 1"),
                Field::optional("auto_deleted", Shape::Int(0, 1_000_000), "most deleted of tier 1"),
                Field::optional("auto_score", Shape::Int(0, 100), "score from which not tier 1"),
                Field::optional("notify_lines", Shape::Int(0, 1_000_000), "most lines of tier 2"),
                Field::optional(
                    "notify_deleted",
                    Shape::Int(0, 1_000_000),
                    "most deleted lines of tier 2",
                ),
            ]),
            "the bounds of the tiers",
        ),
        Field::optional(
            "weights",
            Shape::Record(&[
                Field::optional("scope", Shape::Int(0, 100), "how much changes"),
                Field::optional("protected_paths", Shape::Int(0, 100), "a protected path changes"),
                Field::optional(
                    "category",
                    Shape::Int(0, 100),
                    "what kind of change it says it is",
                ),
                Field::optional("cross_cutting", Shape::Int(0, 100), "how many directories change"),
            ]),
            "what each factor adds to the risk score",
        ),
        Field::optional(
            "gates",
            Shape::Entries(&[
                Field::required("id", Shape::Id, "unique among the gates"),
                Field::required(
                    "command",
                    Shape::List(&Shape::Prose(1024)),
                    "the program and its arguments",
                ),
                Field::optional("timeout", Shape::Duration, "longest run"),
            ]),
            "commands that have to succeed after a change",
        ),
        Field::optional("owner", Shape::Prose(200), "who answers for it"),
    ]),
    doc: "Which paths code changes may touch, and what they need.",
};
