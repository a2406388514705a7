//! Patterns of `match:` keys: what each key reads, which alphabet its values have, and what `*`
//! and `**` mean there. Owns what is refused; refuses to know rules or requests.

use placet_types::ids::{ActorKind, is_label, is_name};

/// How the values of a key are taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Segments separated by dots.
    Dotted,
    /// Segments separated by slashes.
    Path,
    /// A kind, a colon, a name whose segments are separated by slashes.
    Actor,
    /// One name.
    Name,
    /// The name of an environment.
    Environment,
    /// `agent`, `service` or `human`.
    ActorKind,
    /// Free text.
    Text,
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Exactly this text.
    Literal,
    /// Any value, as long as there is one.
    Any,
    /// Segments, at least one of them a wildcard.
    Segments(Vec<Segment>),
}

/// One segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Exactly this text.
    Literal(String),
    /// `*`: one segment.
    One,
    /// `**`: any number of segments, also none.
    Many,
}

/// Why a pattern is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Refusal {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    fn hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }
}

impl Dialect {
    /// The segments of a value or pattern; one for dialects without segments.
    pub(crate) fn split(self, text: &str) -> impl Iterator<Item = &str> {
        let separators: &'static [char] = match self {
            Self::Dotted => &['.'],
            Self::Path => &['/'],
            Self::Actor => &[':', '/'],
            Self::Name | Self::Environment | Self::ActorKind | Self::Text => &[],
        };
        text.split(separators)
    }

    /// The first segment of a value and what follows it, if anything: [`Dialect::split`], for the
    /// hot path.
    #[inline]
    pub(crate) fn split_first(self, text: &[u8]) -> (&[u8], Option<&[u8]>) {
        let (one, other) = match self {
            Self::Dotted => (b'.', b'.'),
            Self::Path => (b'/', b'/'),
            Self::Actor => (b':', b'/'),
            Self::Name | Self::Environment | Self::ActorKind | Self::Text => return (text, None),
        };
        match text.iter().position(|byte| *byte == one || *byte == other) {
            Some(at) => (text.get(..at).unwrap_or_default(), text.get(at.saturating_add(1)..)),
            None => (text, None),
        }
    }

    const fn segmented(self) -> bool {
        matches!(self, Self::Dotted | Self::Path | Self::Actor)
    }

    /// Parses a pattern. What looks like one and is not supported is refused, never a literal.
    pub(crate) fn parse(self, text: &str) -> Result<Pattern, Refusal> {
        if text.is_empty() {
            return Err(Refusal::new("an empty pattern matches nothing"));
        }
        if text.len() > 2048 {
            return Err(Refusal::new("a pattern has at most 2048 bytes"));
        }
        if let Some(bad) = text.chars().find(|c| matches!(c, '?' | '[' | ']' | '{' | '}' | '\\')) {
            return Err(Refusal::hint(
                format!("`{bad}` is not supported in patterns"),
                "there is only `*` for a whole segment and `**` for any number of them; list the alternatives, or compare in `when:`",
            ));
        }
        if text.starts_with('!') {
            return Err(Refusal::hint(
                "patterns cannot be negated",
                "compare in `when:`, or write a stricter rule for the rest",
            ));
        }
        if !text.contains('*') {
            self.literal(text)?;
            return Ok(Pattern::Literal);
        }
        if self.segmented() { self.segments(text) } else { self.whole(text) }
    }

    /// Patterns of keys without segments: a literal or `*` alone.
    fn whole(self, text: &str) -> Result<Pattern, Refusal> {
        match (self, text) {
            (Self::ActorKind, _) => Err(Refusal::hint(
                "actor kinds have no wildcards",
                "list them: agent, service, human; or leave the key out",
            )),
            (_, "*") => Ok(Pattern::Any),
            (_, "**") => {
                Err(Refusal::hint("this value has no segments", "write `*` for any value"))
            }
            _ => Err(Refusal::hint(
                "`*` cannot be glued to text here",
                "this value has no segments: write it in full, or `*` alone for any value; part of it can be compared in `when:`",
            )),
        }
    }

    fn segments(self, text: &str) -> Result<Pattern, Refusal> {
        let mut out = Vec::new();
        for (at, segment) in self.split(text).enumerate() {
            let many = out.last() == Some(&Segment::Many);
            out.push(match segment {
                "*" => Segment::One,
                "**" if many => return Err(Refusal::new("`**` next to `**` says the same twice")),
                "**" => Segment::Many,
                _ if segment.contains('*') => return Err(glued(segment)),
                _ => {
                    self.check_segment(at, segment, &out)?;
                    Segment::Literal(segment.to_owned())
                }
            });
        }
        if self == Self::Actor {
            check_actor(text, &out)?;
        }
        if self == Self::Path && out.last() == Some(&Segment::Literal(String::new())) {
            return Err(Refusal::new(
                "an empty segment at the end: targets below a directory are `dir/**`",
            ));
        }
        Ok(Pattern::Segments(out))
    }

    fn check_segment(self, at: usize, segment: &str, before: &[Segment]) -> Result<(), Refusal> {
        if segment.is_empty() {
            // A leading slash, or the two after the scheme of a URL; one at the end is seen later.
            let legal = self == Self::Path
                && (at == 0
                    || matches!(before.last(), Some(Segment::Literal(last)) if at == 1 && last.ends_with(':')));
            return if legal { Ok(()) } else { Err(Refusal::new("an empty segment")) };
        }
        match self {
            Self::Dotted if !segment.bytes().all(is_dotted_byte) => Err(dotted_refusal()),
            Self::Actor
                if at > 0
                    && !segment
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"._@-".contains(&b)) =>
            {
                Err(Refusal::new(
                    "the name of an actor consists of letters, digits and . _ @ - in segments separated by '/'",
                ))
            }
            _ => Ok(()),
        }
    }

    /// A literal that no request could carry is a mistake, not a rule that never matches.
    fn literal(self, text: &str) -> Result<(), Refusal> {
        match self {
            Self::Dotted if text.split('.').any(str::is_empty) => {
                Err(Refusal::new("an empty segment"))
            }
            Self::Dotted if text.len() > 200 => {
                Err(Refusal::new("no value is longer than 200 bytes"))
            }
            Self::Dotted if !text.bytes().all(|b| b == b'.' || is_dotted_byte(b)) => {
                Err(dotted_refusal())
            }
            Self::Actor => match placet_types::ids::ActorId::parse(text) {
                Some(_) if !text.contains("//") && !text.ends_with('/') && !text.contains(":/") => {
                    Ok(())
                }
                Some(_) => Err(Refusal::new("an empty segment")),
                None => Err(Refusal::hint(
                    "no actor: expected kind:name",
                    "kinds are agent, service and human: `agent:mailer`, `agent:mailer/*`",
                )),
            },
            Self::Name if !is_name(text) => Err(Refusal::new(
                "no name: expected letters, digits and . _ @ : / + -, up to 200 bytes",
            )),
            Self::Environment if !is_label(text) => Err(Refusal::new(
                "no environment: expected lower-case letters, digits and -, up to 63 bytes",
            )),
            Self::ActorKind if ActorKind::parse(text).is_none() => {
                Err(Refusal::new("no actor kind: expected agent, service or human"))
            }
            Self::Text if text.len() > 256 => {
                Err(Refusal::new("no label is longer than 256 bytes"))
            }
            _ => Ok(()),
        }
    }
}

/// All segments of a pattern against all parts of a value, by the set of places reached so far: the work
/// is bounded by one times the other.
pub(crate) fn matches<'v>(segments: &[Segment], parts: impl Iterator<Item = &'v str>) -> bool {
    let mut reached = vec![false; segments.len().saturating_add(1)];
    let enter = |reached: &mut Vec<bool>| {
        for (at, segment) in segments.iter().enumerate() {
            if *segment == Segment::Many
                && reached.get(at) == Some(&true)
                && let Some(next) = reached.get_mut(at.saturating_add(1))
            {
                *next = true;
            }
        }
    };
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    enter(&mut reached);
    for part in parts {
        let mut next = vec![false; reached.len()];
        for (at, segment) in segments.iter().enumerate() {
            if reached.get(at) != Some(&true) {
                continue;
            }
            let to = match segment {
                Segment::Literal(text) if text == part => at.saturating_add(1),
                Segment::One => at.saturating_add(1),
                Segment::Many => at,
                Segment::Literal(_) => continue,
            };
            if let Some(slot) = next.get_mut(to) {
                *slot = true;
            }
        }
        reached = next;
        enter(&mut reached);
    }
    reached.last() == Some(&true)
}

const fn is_dotted_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn dotted_refusal() -> Refusal {
    Refusal::hint(
        "a segment consists of letters, digits, '_' and '-'",
        "segments are separated by '.', one segment is `*`, any number of them `**`",
    )
}

fn glued(segment: &str) -> Refusal {
    if segment.bytes().all(|byte| byte == b'*') {
        return Refusal::hint(
            format!("`{segment}` is no wildcard"),
            "`*` is one segment, `**` any number of them",
        );
    }
    Refusal::hint(
        format!("`*` cannot be glued to text, as in `{segment}`"),
        "`*` stands for one whole segment, `**` for any number of them",
    )
}

fn check_actor(text: &str, segments: &[Segment]) -> Result<(), Refusal> {
    let kind = match segments.first() {
        Some(Segment::One) => true,
        Some(Segment::Literal(kind)) => ActorKind::parse(kind).is_some(),
        _ => false,
    };
    let colon =
        text.split_once(':').is_some_and(|(kind, rest)| !kind.contains('/') && !rest.contains(':'));
    if kind && colon {
        return Ok(());
    }
    Err(Refusal::hint(
        "no pattern of actors: expected kind:name",
        "`agent:*` is every agent without a '/', `agent:**` every agent, `*:ops` any kind named ops",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(dialect: Dialect, text: &str, message: &str) {
        let refusal = dialect.parse(text).unwrap_err();
        assert!(refusal.message.contains(message), "{text}: {}", refusal.message);
    }

    #[test]
    fn what_looks_like_a_pattern_is_one_or_is_refused() {
        refused(Dialect::Dotted, "pay*", "glued");
        refused(Dialect::Dotted, "a.***", "no wildcard");
        refused(Dialect::Dotted, "a..b", "empty segment");
        refused(Dialect::Dotted, "a.*.", "empty segment");
        refused(Dialect::Dotted, "a.**.**", "twice");
        refused(Dialect::Dotted, "a.b c", "a segment consists");
        refused(Dialect::Dotted, "a.?", "`?`");
        refused(Dialect::Dotted, "!a", "negated");
        refused(Dialect::Name, "prod*", "glued");
        refused(Dialect::Name, "**", "no segments");
        refused(Dialect::Name, "a b", "no name");
        refused(Dialect::Actor, "robot:x", "no actor");
        refused(Dialect::Actor, "**", "expected kind:name");
        refused(Dialect::Actor, "agent/*", "expected kind:name");
        refused(Dialect::Path, "src/*.rs", "glued");
        refused(Dialect::Path, "src//*", "empty segment");
        refused(Dialect::Path, "src/*/", "empty segment");
        refused(Dialect::ActorKind, "*", "no wildcards");
        refused(Dialect::ActorKind, "robot", "no actor kind");
        refused(Dialect::Environment, "Prod", "no environment");
        refused(Dialect::Text, "a{b}", "`{`");
    }

    #[test]
    fn patterns_parse() {
        assert_eq!(Dialect::Dotted.parse("job.read"), Ok(Pattern::Literal));
        assert_eq!(
            Dialect::Dotted.parse("a.*.**"),
            Ok(Pattern::Segments(vec![Segment::Literal("a".into()), Segment::One, Segment::Many]))
        );
        assert!(Dialect::Path.parse("https://api.example/**").is_ok());
        assert!(Dialect::Path.parse("/etc/**").is_ok());
        assert!(Dialect::Actor.parse("agent:bot/*").is_ok());
        assert!(Dialect::Actor.parse("*:bot").is_ok());
        assert_eq!(Dialect::Name.parse("*"), Ok(Pattern::Any));
    }
}
