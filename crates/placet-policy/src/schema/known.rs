//! What a schema tells the conditions of rules about the types of fields. Where it leaves a choice nothing
//! is known.

use super::{Additional, Node, Objects, Schema, Type};
use crate::condition::{Known, Record};

impl Schema {
    pub(crate) fn known(&self) -> Known {
        self.root.known()
    }
}

impl Node {
    fn known(&self) -> Known {
        let only = |types: &[Type]| self.types == types.iter().fold(0, |all, it| all | it.bit());
        if only(&[Type::Boolean]) {
            Known::Bool
        } else if only(&[Type::Integer]) {
            Known::Int
        } else if only(&[Type::Number]) || only(&[Type::Integer, Type::Number]) {
            Known::Number
        } else if only(&[Type::String]) {
            Known::Text
        } else if only(&[Type::Array]) {
            Known::List(Box::new(self.items().map_or(Known::Dynamic, Self::known)))
        } else if only(&[Type::Object]) {
            Known::Record(self.object.as_deref().map(Objects::known).unwrap_or_default())
        } else {
            Known::Dynamic
        }
    }
}

impl Objects {
    fn known(&self) -> Record {
        let fields = self.properties.iter().map(|(name, node)| (name.to_string(), node.known()));
        Record { fields: fields.collect(), closed: matches!(self.additional, Additional::Nothing) }
    }
}
