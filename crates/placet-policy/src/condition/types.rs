//! What is known of values before any request: types, what schemas say of fields, and the scope that a
//! condition is checked in. Refuses to know expressions.

use super::Fault;
use placet_types::json::{Number, Value};
use placet_types::nearest::nearest;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of a value for good: the owned form of [`Type`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Known {
    Bool,
    Int,
    Double,
    /// An integer or a double.
    Number,
    Text,
    List(Box<Known>),
    Record(Record),
    #[default]
    Dynamic,
}

/// An object whose members a schema names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) fields: BTreeMap<String, Known>,
    /// Whether it has no other members.
    pub(crate) closed: bool,
}

impl Known {
    /// What holds of a value of either.
    pub(crate) fn either(&self, other: &Self) -> Self {
        match (self, other) {
            _ if self == other => self.clone(),
            (Self::Int | Self::Double | Self::Number, Self::Int | Self::Double | Self::Number) => {
                Self::Number
            }
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.either(b))),
            (Self::Record(a), Self::Record(b)) => Self::Record(a.either(b)),
            _ => Self::Dynamic,
        }
    }

    pub(super) fn ty(&self) -> Type<'_> {
        match self {
            Self::Bool => Type::Bool,
            Self::Int => Type::Int,
            Self::Double => Type::Double,
            Self::Number => Type::Number,
            Self::Text => Type::Text,
            Self::List(item) => Type::List(Item::of(item.ty())),
            Self::Record(record) => Type::Record(record),
            Self::Dynamic => Type::Dynamic,
        }
    }
}

impl Record {
    /// A member that only one of them names may still be in the other, or not.
    fn either(&self, other: &Self) -> Self {
        let names = self.fields.keys().chain(other.fields.keys());
        let fields = names.map(|name| {
            let known = match (self.fields.get(name), other.fields.get(name)) {
                (Some(a), Some(b)) => a.either(b),
                _ => Known::Dynamic,
            };
            (name.clone(), known)
        });
        Self { fields: fields.collect(), closed: self.closed && other.closed }
    }

    /// What is known of a member; an error where there can be none of that name. `path` is what it
    /// belongs to.
    pub(super) fn member(&self, at: usize, path: &str, name: &str) -> Result<Type<'_>, Fault> {
        if let Some(known) = self.fields.get(name) {
            return Ok(known.ty());
        }
        if !self.closed {
            return Ok(Type::Dynamic);
        }
        let names: Vec<&str> = self.fields.keys().map(String::as_str).collect();
        let fault = Fault::typing(at, format!("the schema of `{path}` has no `{name}`"));
        Err(fault.hint(match nearest(name, &names) {
            Some(near) => format!("did you mean `{path}.{near}`?"),
            None if names.is_empty() => "it has no members at all".to_owned(),
            None => format!("its members are {}", names.join(", ")),
        }))
    }
}

/// What the schemas of surfaces say of the facts that clients assert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asserted {
    pub(crate) arguments: Known,
    pub(crate) context: Known,
}

/// What the documents of the bundle declare of the facts that conditions read.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// Types of the facts that derivers find, by name.
    pub(super) facts: BTreeMap<String, Known>,
    /// What surfaces say, by name.
    surfaces: BTreeMap<String, Arc<Asserted>>,
    /// What holds of all surfaces that the rule at hand names.
    pub(super) asserted: Arc<Asserted>,
}

impl Scope {
    /// Declares a fact with the type of one of its values; whether that agrees with what was declared of
    /// it before.
    pub(crate) fn declare(&mut self, name: &str, value: &Value) -> bool {
        let known = match value {
            Value::Bool(_) => Known::Bool,
            Value::Number(Number::Int(_)) => Known::Int,
            Value::Number(Number::Double(_)) => Known::Double,
            Value::String(_) => Known::Text,
            Value::Null | Value::Array(_) | Value::Object(_) => Known::Dynamic,
        };
        *self.facts.entry(name.to_owned()).or_insert_with(|| known.clone()) == known
    }

    /// Declares what the schemas of a surface say.
    pub(crate) fn declare_surface(&mut self, name: &str, asserted: Asserted) {
        self.surfaces.insert(name.to_owned(), Arc::new(asserted));
    }

    /// Narrows the scope to what holds of all these surfaces. Where one of them is a pattern or has no
    /// schema nothing is known. Answers what tells this scope from others.
    pub(crate) fn narrow(&mut self, surfaces: &[String]) -> String {
        let known: Option<Vec<_>> = surfaces.iter().map(|it| self.surfaces.get(it)).collect();
        let all = known.unwrap_or_default();
        let mut rest = all.iter();
        let together = rest.next().map(|first| {
            rest.fold(Asserted::clone(first), |so_far, next| Asserted {
                arguments: so_far.arguments.either(&next.arguments),
                context: so_far.context.either(&next.context),
            })
        });
        self.asserted = Arc::new(together.unwrap_or_default());
        if *self.asserted == Asserted::default() { String::new() } else { surfaces.join(",") }
    }
}

/// What is known of a value before any request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type<'s> {
    Bool,
    Int,
    Double,
    Number,
    Text,
    List(Item<'s>),
    Map(Item<'s>),
    Record(&'s Record),
    Dynamic,
}

/// Elements of a list or values of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'s> {
    Bool,
    Int,
    Double,
    Number,
    Text,
    Record(&'s Record),
    Dynamic,
}

impl<'s> Item<'s> {
    pub(super) const fn of(ty: Type<'s>) -> Self {
        match ty {
            Type::Bool => Self::Bool,
            Type::Int => Self::Int,
            Type::Double => Self::Double,
            Type::Number => Self::Number,
            Type::Text => Self::Text,
            Type::Record(record) => Self::Record(record),
            Type::List(_) | Type::Map(_) | Type::Dynamic => Self::Dynamic,
        }
    }

    pub(super) const fn ty(self) -> Type<'s> {
        match self {
            Self::Bool => Type::Bool,
            Self::Int => Type::Int,
            Self::Double => Type::Double,
            Self::Number => Type::Number,
            Self::Text => Type::Text,
            Self::Record(record) => Type::Record(record),
            Self::Dynamic => Type::Dynamic,
        }
    }
}

impl Type<'_> {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bool => "a Boolean",
            Self::Int => "an integer",
            Self::Double => "a double",
            Self::Number => "a number",
            Self::Text => "text",
            Self::List(_) => "a list",
            Self::Map(_) | Self::Record(_) => "a map",
            Self::Dynamic => "a value",
        }
    }

    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::Bool => "Booleans",
            Self::Int => "integers",
            Self::Double => "doubles",
            Self::Number => "numbers",
            Self::Text => "texts",
            Self::List(_) => "lists",
            Self::Map(_) | Self::Record(_) => "maps",
            Self::Dynamic => "values",
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Double | Self::Number)
    }

    /// Whether values of both can be equal at all.
    pub(super) fn comparable(self, other: Self) -> bool {
        match (self, other) {
            (Self::Dynamic, _) | (_, Self::Dynamic) => true,
            (Self::List(a), Self::List(b)) | (Self::Map(a), Self::Map(b)) => {
                a.ty().comparable(b.ty())
            }
            (Self::Record(_) | Self::Map(_), Self::Record(_) | Self::Map(_)) => true,
            _ => self == other || (self.is_number() && other.is_number()),
        }
    }
}
