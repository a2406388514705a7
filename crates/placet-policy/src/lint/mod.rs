//! The linter: what compiles and is still wrong, as far as that can be shown for all requests. Owns which
//! findings there are and their places; changes no meaning.

mod conditions;
mod cover;
mod names;
mod rules;
mod sarif;
mod usage;

use crate::bundle::{Bundle, on_big_stack};
use crate::diagnostic::{Code, Diagnostic, Place, Report, Severity, Totals};
use crate::source::Source;
use crate::syntax::{Data, Member, Node};
use crate::values::Values;
use placet_types::{Digest, Hasher};
use std::collections::BTreeMap;
use std::rc::Rc;

pub(crate) use cover::pattern_covers;
pub(crate) use rules::written;
pub use sarif::sarif;

/// What the linter has to say of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linted {
    /// The digest; `None` when the bundle does not compile, and then the findings are its errors.
    pub digest: Option<Digest>,
    /// By file, line and column; at most 100 of each severity that the compiler finds, and of each that the
    /// linter finds.
    pub findings: Vec<Diagnostic>,
    /// How many there are, shown or not.
    pub totals: Totals,
}

/// Compiles documents and looks at what they say together.
#[must_use]
pub fn lint<H: Hasher>(sources: &[Source]) -> Linted {
    let found = on_big_stack(|| {
        let (bundle, documents) = Bundle::compile_with_trees::<H>(sources)?;
        let named = sources.iter().map(|it| (it.name.as_str(), it.text.as_str()));
        let mut report = Report::new(named);
        {
            let mut lint = Lint {
                bundle: &bundle,
                entries: entries(&documents),
                start: documents.first().map_or(Place::default(), |node| node.place),
                values: Rc::new(Values::of(bundle.model())),
                report: &mut report,
            };
            names::check(&mut lint, &documents);
            rules::check(&mut lint);
            usage::check(&mut lint);
        }
        let totals = report.totals().plus(bundle.warned());
        let mut findings = report.finish();
        findings.extend(bundle.warnings().iter().cloned());
        findings.sort_by(|a, b| {
            (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code))
        });
        Ok((bundle.digest(), findings, totals))
    });
    match found {
        Ok((digest, findings, totals)) => Linted { digest: Some(digest), findings, totals },
        Err(findings) => Linted { digest: None, totals: Totals::of(&findings), findings },
    }
}

/// Entries of the documents by kind and id: the mapping, and the place of the id.
type Entries<'n> = BTreeMap<(&'n str, &'n str), (&'n Node, Place)>;

struct Lint<'a, 'r> {
    bundle: &'a Bundle,
    entries: Entries<'a>,
    start: Place,
    values: Rc<Values<'a>>,
    report: &'a mut Report<'r>,
}

impl Lint<'_, '_> {
    fn push(
        &mut self,
        code: Code,
        severity: Severity,
        place: Place,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.report.push(code, severity, place, message.into(), hint);
    }

    /// Where the first document begins.
    fn start(&self) -> Place {
        self.start
    }

    /// The place of a value inside an entry; of the id for the path `id`; of the entry where the path leads
    /// nowhere; of the first document for an entry that stands in none.
    fn at(&self, kind: &str, id: &str, path: &[&str]) -> Place {
        let Some((node, id_place)) = self.entries.get(&(kind, id)) else { return self.start };
        if matches!(path, [] | ["id"]) {
            return *id_place;
        }
        follow(node, path).map_or(*id_place, |node| node.place)
    }

    /// The place of one text in the list at `path`.
    fn item(&self, kind: &str, id: &str, path: &[&str], text: &str) -> Place {
        let list = self.entries.get(&(kind, id)).and_then(|(node, _)| follow(node, path));
        let found = match list.map(|node| &node.value) {
            Some(Data::List(items)) => items.iter().find(
                |item| matches!(&item.value, Data::Text { text: found, .. } if found == text),
            ),
            _ => None,
        };
        found.map_or_else(|| self.at(kind, id, path), |node| node.place)
    }
}

fn member<'n>(node: &'n Node, key: &str) -> Option<&'n Member> {
    match &node.value {
        Data::Map(members) => members.iter().find(|member| member.key == key),
        _ => None,
    }
}

fn follow<'n>(node: &'n Node, path: &[&str]) -> Option<&'n Node> {
    path.iter().try_fold(node, |node, key| member(node, key).map(|member| &member.value))
}

fn entries(documents: &[Node]) -> Entries<'_> {
    let mut out = BTreeMap::new();
    for document in documents {
        let Data::Map(sections) = &document.value else { continue };
        for section in sections {
            let kind = section.key.as_str();
            match &section.value.value {
                Data::List(items) => {
                    for item in items {
                        let Some(id) = member(item, "id") else { continue };
                        if let Data::Text { text, .. } = &id.value.value {
                            out.insert((kind, text.as_str()), (item, id.value.place));
                        }
                    }
                }
                Data::Map(members) => {
                    for entry in members {
                        out.insert((kind, entry.key.as_str()), (&entry.value, entry.place));
                    }
                }
                _ => {}
            }
        }
    }
    out
}
