//! What is wrong with a policy document, and where. Owns the shape and the rendering of messages;
//! refuses to know the language they speak of.

use placet_types::json::Object;
use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The bundle does not compile.
    Error,
    /// The bundle compiles; somebody should look.
    Warning,
    /// A matter of order rather than of what is decided.
    Info,
}

impl Severity {
    /// `error`, `warning`, `info`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident $text:literal;)*) => {
        /// Stable codes of diagnostics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// One sentence for people.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+).trim_start(),)*
                }
            }
        }
    };
}

codes! {
    /// Not well-formed YAML.
    YamlSyntax "yaml_syntax";
    /// An alias, anchor, tag or merge key.
    YamlAlias "yaml_alias";
    /// The same key twice in one mapping.
    DuplicateKey "duplicate_key";
    /// Larger, deeper or more than allowed.
    Bound "bound";
    /// A key that does not exist here.
    UnknownKey "unknown_key";
    /// A document kind of a later version.
    NotSupported "not_supported";
    /// A key that must be there.
    MissingKey "missing_key";
    /// A value of another type.
    WrongType "wrong_type";
    /// A value of the right type that is not allowed.
    BadValue "bad_value";
    /// A pattern that is malformed or could never match.
    BadPattern "bad_pattern";
    /// A rule id or surface that occurs twice.
    DuplicateId "duplicate_id";
    /// Keys that do not go together.
    Conflict "conflict";
    /// A condition that does not parse.
    ConditionSyntax "condition_syntax";
    /// A condition that could never be evaluated.
    ConditionType "condition_type";
    /// Bytes that are not the normal form of a bundle.
    NotNormal "not_normal";
    /// A rule that is a candidate for every request.
    AlwaysCandidate "always_candidate";
    /// A rule that never decides, since another denies whatever it matches.
    UnreachableRule "unreachable_rule";
    /// A rule that adds nothing to another that applies wherever it matches.
    RedundantRule "redundant_rule";
    /// A rule that asks for an approval of what another always denies.
    ApprovalAlwaysDenied "approval_always_denied";
    /// Constraints that always apply together and exclude one another.
    ConstraintsConflict "constraints_conflict";
    /// A condition or a term of one that is the same for every request.
    ConstantCondition "constant_condition";
    /// A condition that is true for no request.
    ContradictoryCondition "contradictory_condition";
    /// A term that is there already.
    RepeatedTerm "repeated_term";
    /// Keys of a match that never hold together.
    ImpossibleMatch "impossible_match";
    /// A pattern that matches nothing that another of its list does not match.
    RedundantPattern "redundant_pattern";
    /// A pattern of surfaces that no declared surface matches.
    UnknownSurface "unknown_surface";
    /// A floor rule for surfaces that are not there.
    FloorNeverApplies "floor_never_applies";
    /// A surface that no rule covers.
    UncoveredSurface "uncovered_surface";
    /// An action that a role or a manifest names and that no rule covers.
    UncoveredAction "uncovered_action";
    /// A rule that grants on what the client says of itself alone.
    AssertedOnly "asserted_only";
    /// Rules of which none grants.
    NothingGrants "nothing_grants";
    /// Something that nobody answers for.
    OwnerMissing "owner_missing";
    /// A bundle without cases.
    NoTests "no_tests";
    /// A rule that no case asks.
    UntestedRule "untested_rule";
    /// A case that names a rule that is not there.
    UnknownRule "unknown_rule";
    /// A capability that is named and that has no manifest.
    UnknownCapability "unknown_capability";
    /// A model that is named and not on the allow list.
    UnknownModel "unknown_model";
    /// A value that a field never has.
    ImpossibleValue "impossible_value";
    /// A role that is named and that `roles:` does not declare.
    UndeclaredRole "undeclared_role";
    /// A deriver whose findings nothing uses.
    UnusedDeriver "unused_deriver";
    /// A fact that no condition reads.
    UnusedFact "unused_fact";
    /// A tag that no rule asks for.
    UnusedTag "unused_tag";
    /// Evidence that nobody but the client vouches for.
    EvidenceAsserted "evidence_asserted";
}

/// One finding, with the place it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable code.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// Name of the source.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// How many characters are meant, at least 1.
    pub width: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The source line.
    pub snippet: Option<String>,
}

/// Longest source line shown with a caret.
const SNIPPET_CHARS_MAX: usize = 200;

impl Diagnostic {
    /// As JSON, for machines.
    #[must_use]
    pub fn to_value(&self) -> Object {
        Object::new()
            .with("code", self.code.as_str())
            .with("severity", self.severity.as_str())
            .with("file", self.file.as_str())
            .with("line", self.line)
            .with("column", self.column)
            .with("width", self.width)
            .with("message", self.message.as_str())
            .with_opt("hint", self.hint.as_deref())
            .with_opt("snippet", self.snippet.as_deref())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (severity, code) = (self.severity.as_str(), self.code.as_str());
        write!(f, "{}:{}:{}: {severity}[{code}]: ", self.file, self.line, self.column)?;
        f.write_str(&self.message)?;
        if let Some(snippet) = &self.snippet {
            // Tabs stay tabs in the padding so that the caret stands below its character.
            let before = (self.column.saturating_sub(1)) as usize;
            let pad: String = snippet
                .chars()
                .take(before)
                .map(|character| if character == '\t' { '\t' } else { ' ' })
                .collect();
            let carets = "^".repeat(self.width.clamp(1, 80) as usize);
            write!(f, "\n  | {snippet}\n  | {pad}{carets}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  = hint: {hint}")?;
        }
        Ok(())
    }
}

/// How many findings there are of each severity, shown or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Errors; a compiler that has met a hundred may stop looking.
    pub errors: usize,
    /// Warnings.
    pub warnings: usize,
    /// Infos.
    pub infos: usize,
}

impl Totals {
    pub(crate) fn of(found: &[Diagnostic]) -> Self {
        let mut totals = Self::default();
        for one in found {
            *totals.slot(one.severity) += 1;
        }
        totals
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            errors: self.errors.saturating_add(other.errors),
            warnings: self.warnings.saturating_add(other.warnings),
            infos: self.infos.saturating_add(other.infos),
        }
    }

    const fn slot(&mut self, severity: Severity) -> &mut usize {
        match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
            Severity::Info => &mut self.infos,
        }
    }
}

/// A place in one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index of the source.
    pub(crate) source: usize,
    /// Line, from 1.
    pub(crate) line: u32,
    /// Column in characters, from 1.
    pub(crate) column: u32,
    /// Characters meant.
    pub(crate) width: u32,
}

/// Findings on their way to become diagnostics; at most so many are kept.
const DIAGNOSTICS_MAX: usize = 100;

/// Most characters of what a message quotes from a document, and of a message.
const QUOTE_CHARS_MAX: usize = 100;
const MESSAGE_CHARS_MAX: usize = 2000;

/// A message may quote megabytes: whoever reads it finds them at its place.
fn shortened(message: &str) -> String {
    let cut = |(at, part): (usize, &str)| {
        let end = part.char_indices().nth(QUOTE_CHARS_MAX).filter(|_| at % 2 == 1);
        end.and_then(|(end, _)| part.get(..end)).map_or(part.to_owned(), |it| format!("{it}…"))
    };
    let parts: Vec<String> = message.split('`').enumerate().map(cut).collect();
    parts.join("`").chars().take(MESSAGE_CHARS_MAX).collect()
}

/// Collects diagnostics over sources whose lines it can show.
pub(crate) struct Report<'a> {
    sources: Vec<(&'a str, &'a str)>,
    found: Vec<Diagnostic>,
    totals: Totals,
    expressions: usize,
}

/// Most regular expressions of a bundle. Each may take a quarter of a MiB and milliseconds to compile.
const EXPRESSIONS_MAX: usize = 256;

impl<'a> Report<'a> {
    pub(crate) fn new(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self {
            sources: sources.into_iter().collect(),
            found: Vec::new(),
            totals: Totals::default(),
            expressions: 0,
        }
    }

    /// Whether another regular expression may be compiled; asked before each.
    pub(crate) fn expression(&mut self, place: Place) -> bool {
        self.expressions = self.expressions.saturating_add(1);
        if self.expressions == EXPRESSIONS_MAX + 1 {
            let message = format!("a bundle has at most {EXPRESSIONS_MAX} regular expressions");
            self.error_hint(Code::Bound, place, message, "join some of them with `|`");
        }
        self.expressions <= EXPRESSIONS_MAX
    }

    pub(crate) fn error(&mut self, code: Code, place: Place, message: impl Into<String>) {
        self.push(code, Severity::Error, place, message.into(), None);
    }

    pub(crate) fn error_hint(
        &mut self,
        code: Code,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(code, Severity::Error, place, message.into(), Some(hint.into()));
    }

    pub(crate) fn push(
        &mut self,
        code: Code,
        severity: Severity,
        place: Place,
        message: String,
        hint: Option<String>,
    ) {
        // Counted apart, so that warnings never crowd out an error.
        let total = self.totals.slot(severity);
        *total = total.saturating_add(1);
        if *total > DIAGNOSTICS_MAX {
            return;
        }
        let (file, text) = self.sources.get(place.source).copied().unwrap_or(("", ""));
        let line = text.lines().nth(place.line.saturating_sub(1) as usize);
        let snippet = line
            .filter(|line| place.line > 0 && line.chars().count() <= SNIPPET_CHARS_MAX)
            .map(str::to_owned);
        self.found.push(Diagnostic {
            code,
            severity,
            file: file.to_owned(),
            line: place.line.max(1),
            column: place.column.max(1),
            width: place.width.max(1),
            message: shortened(&message),
            hint,
            snippet,
        });
    }

    /// Whether further errors would be left out: what only looks for more may stop.
    pub(crate) fn is_full(&self) -> bool {
        self.totals.errors >= DIAGNOSTICS_MAX
    }

    /// What was found, shown or not.
    pub(crate) const fn totals(&self) -> Totals {
        self.totals
    }

    pub(crate) fn source_text(&self, place: Place) -> &'a str {
        self.sources.get(place.source).map_or("", |(_, text)| text)
    }

    pub(crate) fn source_name(&self, place: Place) -> &'a str {
        self.sources.get(place.source).map_or("", |(name, _)| name)
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.iter().any(|found| found.severity == Severity::Error)
    }

    /// Everything found, by file, line and column; errors alone when there are any.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        if self.has_errors() {
            self.found.retain(|found| found.severity == Severity::Error);
        }
        self.found.sort_by(|a, b| {
            (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code))
        });
        self.found
    }
}
