//! What a bundle changes, in short: what the people read who approve it. Owns that it follows from
//! the two normal forms alone; refuses to know what any of it means.

use placet_types::json::{self, Limits, Object, Value};
use std::collections::BTreeMap;

/// Names that are listed; the counts are always whole.
const LISTED_MAX: usize = 20;
/// Lists of the normal form whose items have ids of their own.
const RULES: [&str; 2] = ["floor", "rules"];

/// Rules added, removed and altered, with counts, and the other documents that differ. `before` is
/// the normal form of the bundle that is replaced.
#[must_use]
pub fn changes(before: Option<&[u8]>, after: &[u8]) -> Object {
    let old = before.and_then(parse).unwrap_or_default();
    let new = parse(after).unwrap_or_default();
    let (old_rules, new_rules) = (rules(&old), rules(&new));
    let added: Vec<&String> = new_rules.keys().filter(|id| !old_rules.contains_key(*id)).collect();
    let removed: Vec<&String> =
        old_rules.keys().filter(|id| !new_rules.contains_key(*id)).collect();
    let altered: Vec<&String> = new_rules
        .iter()
        .filter(|(id, rule)| old_rules.get(*id).is_some_and(|before| before != *rule))
        .map(|(id, _)| id)
        .collect();
    let mut documents: Vec<Value> = Vec::new();
    let names = old.iter().chain(new.iter()).map(|(name, _)| name);
    for name in names.filter(|name| !RULES.contains(name) && *name != "type") {
        if old.get(name) != new.get(name) && !documents.iter().any(|it| it.as_str() == Some(name)) {
            documents.push(Value::from(name));
        }
    }
    documents.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    let count = |list: &[&String]| i64::try_from(list.len()).unwrap_or(i64::MAX);
    let counts = Object::new()
        .with("added", count(&added))
        .with("altered", count(&altered))
        .with("removed", count(&removed));
    Object::new()
        .with("added", listed(&added))
        .with("altered", listed(&altered))
        .with("counts", counts)
        .with("documents", documents)
        .with("removed", listed(&removed))
}

fn parse(bytes: &[u8]) -> Option<Object> {
    match json::parse(bytes, Limits::DOCUMENT) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// Rules by their ids, as canonical bytes with the layer they stand in.
fn rules(bundle: &Object) -> BTreeMap<String, (&'static str, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for layer in RULES {
        let Some(Value::Array(rules)) = bundle.get(layer) else { continue };
        for rule in rules {
            let id = rule.as_object().and_then(|rule| rule.get("id")).and_then(Value::as_str);
            if let Some(id) = id {
                all.insert(id.to_owned(), (layer, rule.to_canonical()));
            }
        }
    }
    all
}

fn listed(ids: &[&String]) -> Vec<Value> {
    ids.iter().take(LISTED_MAX).map(|id| Value::from(id.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_documents_are_compared_by_what_they_say() {
        let old = br#"{"rules":[{"id":"a"},{"id":"b"},{"id":"c"}],"surfaces":{},"type":"t"}"#;
        let new = br#"{"floor":[{"id":"c"}],"modes":{},"rules":[{"id":"a"},{"id":"b","x":1},{"id":"d"}],"type":"t"}"#;
        let text = Value::Object(changes(Some(old), new)).to_text();
        assert_eq!(
            text,
            r#"{"added":["d"],"altered":["b","c"],"counts":{"added":1,"altered":2,"removed":0},"documents":["modes","surfaces"],"removed":[]}"#
        );
        let text = Value::Object(changes(None, old)).to_text();
        assert!(text.starts_with(r#"{"added":["a","b","c"],"altered":[]"#), "{text}");
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let ids: Vec<String> = (0..50).map(|n| format!("{{\"id\":\"r{n:02}\"}}")).collect();
        let text = format!("{{\"rules\":[{}]}}", ids.join(","));
        let changes = changes(None, text.as_bytes());
        let Some(Value::Array(added)) = changes.get("added") else { panic!("a list") };
        assert_eq!(added.len(), LISTED_MAX);
        assert!(Value::Object(changes.clone()).to_text().contains(r#""added":50"#));
    }
}
