//! The document kinds that are declared by their shape: what each may say. Documents whose engine part
//! is in another crate are read, checked and digested here and handed out as normalised values.

pub(crate) mod approvals;
mod budgets;
mod capabilities;
mod changes;
mod models;
mod modes;
mod notify;
mod outputs;
pub(crate) mod roles;
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
    models::KIND,
    modes::KIND,
    notify::KIND,
    outputs::KIND,
    roles::KIND,
    tests::KIND,
    topics::KIND,
];

/// The JSON Schemas of all kinds that are declared by a shape, and of `approvals:`, by top key.
pub fn schemas() -> impl Iterator<Item = (&'static str, Object)> {
    let surfaces = Shape::Map(&Shape::Matching(&surfaces::NAME), &surfaces::SURFACE);
    let surfaces = surfaces.schema().with("description", "What each surface demands and promises.");
    DECLARED
        .iter()
        .map(|kind| (kind.name, kind.shape.schema().with("description", kind.doc)))
        .chain([("surfaces", surfaces), (approvals::NAME, approvals::schema())])
}

/// The kind with this top key.
pub(crate) fn declared(name: &str) -> Option<&'static Kind> {
    DECLARED.iter().find(|kind| kind.name == name)
}
