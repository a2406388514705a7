//! What a schema tells the conditions of rules about the types of fields. Where it leaves a choice nothing
//! is known.

use super::{Additional, Node, Schema, Type};
use crate::condition::{Known, Record};

impl Schema {
    pub(crate) fn known(&self) -> Known {
        self.root.known()
    }
}

impl Node {
    fn known(&self) -> Known {
        let Some(types) = &self.types else { return Known::Dynamic };
        match types.as_slice() {
            [Type::Boolean] => Known::Bool,
            [Type::Integer] => Known::Int,
            [Type::Number] | [Type::Integer, Type::Number] => Known::Number,
            [Type::String] => Known::Text,
            [Type::Array] => {
                let item = self.items.as_ref().map_or(Known::Dynamic, |items| items.known());
                Known::List(Box::new(item))
            }
            [Type::Object] => {
                let fields = self.properties.iter().map(|(name, node)| (name.to_string(), node.known()));
                let closed = matches!(self.additional, Additional::Nothing);
                Known::Record(Record { fields: fields.collect(), closed })
            }
            _ => Known::Dynamic,
        }
    }
}
