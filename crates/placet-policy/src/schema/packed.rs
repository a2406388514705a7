//! A schema as the hot path reads it: equal parts of all schemas of a bundle are one, and nothing that only
//! people read lies between them. Refuses to know what keywords mean.

use super::{Additional, Arrays, Node, Numbers, Objects, Schema, Texts};
use placet_types::json::{Object, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub(crate) struct Packed(Node);

impl Packed {
    #[inline]
    pub(crate) fn fits(&self, value: &Value) -> bool {
        self.0.fits(value)
    }

    #[inline]
    pub(crate) fn fits_object(&self, object: &Object) -> bool {
        self.0.fits_object(object)
    }

    /// The JSON pointer of the first value that does not fit, and why; `None` when all fits.
    pub(crate) fn fault(&self, value: &Value) -> Option<(String, String)> {
        self.0.fault(value, String::new())
    }

    /// A number that depends on what is asked of most values.
    #[inline]
    pub(crate) fn warm(&self) -> usize {
        let Some(object) = self.0.object.as_deref() else { return 0 };
        let bounds = object
            .properties
            .iter()
            .take(4)
            .map(|(name, node)| name.len() ^ node.number.as_ref().map_or(0, Arc::strong_count));
        bounds.fold(object.required.len(), |sum, count| sum ^ count)
    }
}

/// Least and greatest length, and pattern.
type TextKey = (Option<usize>, Option<usize>, Option<String>);

/// Parts of the schemas of one bundle, by what they say.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    names: BTreeMap<Arc<str>, ()>,
    lists: BTreeMap<Arc<[Arc<str>]>, ()>,
    numbers: BTreeMap<Arc<Numbers>, ()>,
    texts: BTreeMap<TextKey, Arc<Texts>>,
}

impl Pool {
    /// The schema, packed.
    pub(crate) fn packed(&mut self, schema: &Schema) -> Arc<Packed> {
        Arc::new(Packed(self.node(&schema.root)))
    }

    fn node(&mut self, node: &Node) -> Node {
        Node {
            types: node.types,
            number: node.number.as_ref().map(|it| shared(&mut self.numbers, it)),
            text: node.text.as_ref().map(|it| self.text(it)),
            array: node.array.as_ref().map(|it| {
                let items = it.items.as_ref().map(|it| self.node(it));
                Box::new(Arrays { items, ..Arrays::clone(it) })
            }),
            object: node.object.as_ref().map(|it| Box::new(self.object(it))),
            any: node.any.clone(),
        }
    }

    fn text(&mut self, text: &Arc<Texts>) -> Arc<Texts> {
        let pattern = text.pattern.as_ref().map(|it| it.as_str().to_owned());
        let key = (text.min_length, text.max_length, pattern);
        self.texts.entry(key).or_insert_with(|| text.clone()).clone()
    }

    fn object(&mut self, object: &Objects) -> Objects {
        let required: Arc<[Arc<str>]> =
            object.required.iter().map(|name| shared(&mut self.names, name)).collect();
        let mut properties = Vec::with_capacity(object.properties.len());
        for (name, node) in &object.properties {
            properties.push((shared(&mut self.names, name), self.node(node)));
        }
        Objects {
            properties,
            required: shared(&mut self.lists, &required),
            additional: match &object.additional {
                Additional::Anything => Additional::Anything,
                Additional::Nothing => Additional::Nothing,
                Additional::These(node) => Additional::These(Box::new(self.node(node))),
            },
        }
    }
}

/// The one that is there and equal, or this one from now on.
fn shared<T: ?Sized + Ord>(all: &mut BTreeMap<Arc<T>, ()>, one: &Arc<T>) -> Arc<T> {
    if let Some((known, ())) = all.get_key_value(one) {
        return known.clone();
    }
    all.insert(one.clone(), ());
    one.clone()
}
