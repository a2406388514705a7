//! Findings about names that no document declares. Which keys hold names the shapes say, and what is declared
//! `references`.

use super::{Lint, Severity};
use crate::diagnostic::{Code, Place};
use crate::references::{Declared, Mention, mentions};
use crate::syntax::{Data, Node};
use placet_types::policy::Layer;
use std::collections::BTreeMap;

pub(super) fn check(lint: &mut Lint<'_, '_>, documents: &[Node]) {
    let declared = Declared::of(lint.bundle.model());
    for document in documents {
        let Data::Map(sections) = &document.value else { continue };
        for section in sections {
            let all = mentions(&section.key, &section.value);
            let never = never_apply(&all, &declared);
            for mention in all.iter().filter(|it| !never.contains_key(it.entry) || !of_match(it)) {
                // What does not compile has been said.
                let unknown = declared.judge(mention);
                if let Some(it) = unknown.filter(|it| it.severity != Severity::Error) {
                    lint.push(it.code, it.severity, mention.place, it.message, Some(it.hint));
                }
            }
            for (id, place) in never {
                let message =
                    format!("floor rule `{id}` never applies: no declared surface matches");
                let hint = "declare the surface under `surfaces:`, or correct the pattern";
                let (code, hint) = (Code::FloorNeverApplies, Some(hint.to_owned()));
                lint.push(code, Severity::Warning, place, message, hint);
            }
        }
    }
}

/// Whether it stands in the `surfaces` of a `match:`.
fn of_match(mention: &Mention<'_>) -> bool {
    mention.path == ["match", "surfaces"]
}

/// Floor rules all of whose surfaces are unknown, with the places of their lists.
fn never_apply<'n>(all: &[Mention<'n>], declared: &Declared<'_>) -> BTreeMap<&'n str, Place> {
    let mut out = BTreeMap::new();
    if declared.surfaces.is_none() {
        return out;
    }
    let floor = |it: &&Mention<'_>| it.kind == Layer::Floor.as_str() && of_match(it);
    for mention in all.iter().filter(floor) {
        out.insert(mention.entry, mention.list);
    }
    for mention in all.iter().filter(floor).filter(|it| declared.has_surface(it.text)) {
        out.remove(mention.entry);
    }
    out
}
