//! The document kinds that are declared by their shape: what each may say. Documents whose engine part
//! is in another crate are read, checked and digested here and handed out as normalised values.

mod approvals;
pub(crate) mod budgets;
mod capabilities;
mod changes;
pub(crate) mod channels;
pub(crate) mod exceptions;
mod identity;
mod models;
mod modes;
pub(crate) mod notify;
mod outputs;
pub(crate) mod roles;
mod rules;
pub(crate) mod surfaces;
mod tests;
mod topics;

use crate::shape::Shape;
use placet_types::json::Object;

/// One kind of document.
pub(crate) struct Kind {
    /// Its top key.
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// One sentence, for editors.
    pub(crate) doc: &'static str,
}

/// All kinds that are declared by a shape.
pub(crate) const DECLARED: &[Kind] = &[
    budgets::KIND,
    capabilities::KIND,
    changes::KIND,
    channels::KIND,
    exceptions::KIND,
    identity::KIND,
    models::KIND,
    modes::KIND,
    notify::KIND,
    outputs::KIND,
    roles::KIND,
    tests::KIND,
    topics::KIND,
];

/// Kinds with readers of their own, whose shape says what these accept but for what one key demands of
/// another.
const WRITTEN: &[Kind] = &[approvals::KIND, rules::DERIVERS, rules::FLOOR, rules::RULES, SURFACES];

const SURFACES: Kind = Kind {
    name: "surfaces",
    shape: Shape::Map(&Shape::Matching(&surfaces::NAME), &surfaces::SURFACE),
    doc: "What each surface demands and promises.",
};

/// The shape of a kind, whoever reads it.
pub(crate) fn shape_of(name: &str) -> Option<&'static Shape> {
    DECLARED.iter().chain(WRITTEN).find(|kind| kind.name == name).map(|kind| &kind.shape)
}

/// The JSON Schemas of what stands under each top key.
pub fn schemas() -> impl Iterator<Item = (&'static str, Object)> {
    let all = DECLARED.iter().chain(WRITTEN);
    all.map(|kind| (kind.name, kind.shape.schema().with("description", kind.doc)))
}

/// The JSON Schema (2020-12) of a whole document with what `only` names, or with everything.
#[must_use]
pub fn document_schema(only: Option<&str>) -> Object {
    let mut properties = Object::new()
        .with("version", Object::new().with("const", "v1"))
        .with("kind", Object::new().with("type", "string"));
    for (name, schema) in schemas().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        properties.set(name, schema);
    }
    let title = only.map_or("Placet policy document".to_owned(), |it| format!("Placet {it}"));
    let file = only.unwrap_or("policy");
    Object::new()
        .with("$schema", "https://json-schema.org/draft/2020-12/schema")
        .with("$id", format!("https://placet.dev/schemas/{file}.schema.json"))
        .with("title", title)
        .with("type", "object")
        .with("properties", properties)
        .with("required", vec![placet_types::json::Value::from("version")])
        .with("additionalProperties", only.is_some())
}

/// The kind with this top key.
pub(crate) fn declared(name: &str) -> Option<&'static Kind> {
    DECLARED.iter().find(|kind| kind.name == name)
}
