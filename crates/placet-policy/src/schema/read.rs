//! From a document to the normal form of a schema. Owns which keywords there are, with what they go, and
//! the bounds; every refusal names its place.

use super::{Type, regex};
use crate::diagnostic::{Code, Report, Severity};
use crate::read::fields::{self, Fields};
use crate::syntax::{Data, Member, Node};
use placet_types::json::{Object, Value};
use placet_types::nearest::nearest;

/// Most subschemas of one schema: each value is looked at by at most so many.
const NODES_MAX: usize = 512;
/// Deepest nesting of subschemas.
const DEPTH_MAX: usize = 12;
/// Most alternatives of one `oneOf`, `anyOf` or `allOf`.
const BRANCHES_MAX: usize = 16;
/// Deepest nesting of alternatives within alternatives.
const COMBINED_MAX: usize = 3;
/// Largest canonical form of one schema.
const BYTES_MAX: usize = 64 << 10;
/// Most values of one `enum`.
const VALUES_MAX: usize = 256;

/// What a keyword takes.
#[derive(Clone, Copy)]
enum Takes {
    Type,
    Prose(usize),
    Values,
    Value,
    Bound,
    Positive,
    Count,
    Flag,
    Pattern,
    Schema,
    Schemas,
    Properties,
    Names,
    Additional,
}

/// Every keyword, what it takes, and the types that it goes with; none where it goes with any.
const KEYWORDS: [(&str, Takes, &[Type]); 23] = [
    ("type", Takes::Type, &[]),
    ("title", Takes::Prose(200), &[]),
    ("description", Takes::Prose(1024), &[]),
    ("enum", Takes::Values, &[]),
    ("const", Takes::Value, &[]),
    ("minimum", Takes::Bound, NUMBERS),
    ("maximum", Takes::Bound, NUMBERS),
    ("exclusiveMinimum", Takes::Bound, NUMBERS),
    ("exclusiveMaximum", Takes::Bound, NUMBERS),
    ("multipleOf", Takes::Positive, NUMBERS),
    ("minLength", Takes::Count, &[Type::String]),
    ("maxLength", Takes::Count, &[Type::String]),
    ("pattern", Takes::Pattern, &[Type::String]),
    ("items", Takes::Schema, &[Type::Array]),
    ("minItems", Takes::Count, &[Type::Array]),
    ("maxItems", Takes::Count, &[Type::Array]),
    ("uniqueItems", Takes::Flag, &[Type::Array]),
    ("properties", Takes::Properties, &[Type::Object]),
    ("required", Takes::Names, &[Type::Object]),
    ("additionalProperties", Takes::Additional, &[Type::Object]),
    ("oneOf", Takes::Schemas, &[]),
    ("anyOf", Takes::Schemas, &[]),
    ("allOf", Takes::Schemas, &[]),
];
const NUMBERS: &[Type] = &[Type::Integer, Type::Number];

/// Reads a schema; `None` after an error.
pub(crate) fn schema(node: &Node, what: &str, report: &mut Report<'_>) -> Option<Value> {
    let value = Read { report, nodes: 0 }.node(node, what, 0, 0)?;
    let bytes = value.to_canonical().len();
    if bytes > BYTES_MAX {
        let message = format!("a schema of {bytes} bytes, more than the {BYTES_MAX} allowed");
        report.error(Code::Bound, node.place, message);
        return None;
    }
    Some(value)
}

struct Read<'a, 'r> {
    report: &'r mut Report<'a>,
    nodes: usize,
}

impl Read<'_, '_> {
    fn node(&mut self, node: &Node, what: &str, depth: usize, combined: usize) -> Option<Value> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > NODES_MAX || depth > DEPTH_MAX {
            let message = format!(
                "a schema has at most {NODES_MAX} subschemas and {DEPTH_MAX} levels of them"
            );
            self.report.error(Code::Bound, node.place, message);
            return None;
        }
        let mut fields = Fields::open(node, &format!("`{what}`, a schema,"), self.report)?;
        let mut out = Object::new();
        let mut sound = true;
        let mut found: Vec<(&Member, &[Type])> = Vec::new();
        for (name, takes, types) in KEYWORDS {
            let Some(member) = fields.take_member(name) else { continue };
            match self.keyword(name, takes, &member.value, depth, combined) {
                Some(Some(value)) => out.set(name, value),
                Some(None) => {}
                None => sound = false,
            }
            if !types.is_empty() {
                found.push((member, types));
            }
        }
        for member in fields.rest() {
            self.refuse(member);
            sound = false;
        }
        if !sound {
            return None;
        }
        self.consistent(&out, &found, node)?;
        Some(Value::Object(out))
    }

    /// `Some(None)` for what says nothing; `None` after an error.
    fn keyword(
        &mut self,
        name: &str,
        takes: Takes,
        node: &Node,
        depth: usize,
        combined: usize,
    ) -> Option<Option<Value>> {
        let below = depth.saturating_add(1);
        let some = |value: Option<Value>| value.map(Some);
        match takes {
            Takes::Type => some(self.types(node)),
            Takes::Prose(most) => {
                some(fields::prose(node, name, most, self.report).map(Value::from))
            }
            Takes::Value => some(fields::json(node, self.report)),
            Takes::Values => some(self.values(node)),
            Takes::Bound => some(self.integer(name, node, -EXACT, EXACT)),
            Takes::Positive => some(self.integer(name, node, 1, EXACT)),
            Takes::Count => some(self.integer(name, node, 0, 1 << 30)),
            Takes::Flag => {
                let flag = fields::boolean(node, name, self.report)?;
                Some(flag.then_some(Value::Bool(true)))
            }
            Takes::Pattern => some(self.pattern(node)),
            Takes::Schema => some(self.node(node, name, below, combined)),
            Takes::Schemas => some(self.schemas(name, node, below, combined)),
            Takes::Properties => self.properties(node, below, combined),
            Takes::Names => self.names(node),
            Takes::Additional => match &node.value {
                Data::Bool(true) => Some(None),
                Data::Bool(false) => Some(Some(Value::Bool(false))),
                _ => some(self.node(node, name, below, combined)),
            },
        }
    }

    fn types(&mut self, node: &Node) -> Option<Value> {
        let single;
        let items = match &node.value {
            Data::List(items) => items.as_slice(),
            _ => {
                single = [node.clone()];
                &single
            }
        };
        let mut types = Vec::new();
        for item in items {
            // A bare `null` in YAML is no text.
            let (word, place) = match &item.value {
                Data::Null => ("null".to_owned(), item.place),
                _ => fields::text(item, "type", self.report)?,
            };
            let Some(ty) = Type::parse(&word) else {
                let hint = match word.as_str() {
                    "int" | "long" => "did you mean `integer`?".to_owned(),
                    "float" | "double" | "decimal" => "did you mean `number`?".to_owned(),
                    "bool" => "did you mean `boolean`?".to_owned(),
                    "str" | "text" => "did you mean `string`?".to_owned(),
                    "list" => "did you mean `array`?".to_owned(),
                    "map" | "dict" | "struct" => "did you mean `object`?".to_owned(),
                    _ => nearest(&word, &Type::WORDS).map_or_else(
                        || format!("types are {}", Type::WORDS.join(", ")),
                        |near| format!("did you mean `{near}`?"),
                    ),
                };
                let message = format!("unknown type `{word}`");
                self.report.error_hint(Code::BadValue, place, message, hint);
                return None;
            };
            if types.contains(&ty) {
                self.report.error(Code::BadValue, place, format!("`{word}` occurs twice"));
                return None;
            }
            types.push(ty);
        }
        types.sort();
        let words: Vec<Value> = types.iter().map(|it| Value::from(it.word())).collect();
        match <[Value; 1]>::try_from(words) {
            Ok([word]) => Some(word),
            Err(words) if words.is_empty() => {
                self.report.error(Code::BadValue, node.place, "`type` names no type at all");
                None
            }
            Err(words) => Some(Value::Array(words)),
        }
    }

    fn list<'n>(&mut self, name: &str, node: &'n Node, most: usize) -> Option<&'n [Node]> {
        let Data::List(items) = &node.value else {
            let message = format!("`{name}` takes a list, not {}", node.value.kind());
            self.report.error(Code::WrongType, node.place, message);
            return None;
        };
        if items.is_empty() || items.len() > most {
            let message = format!("`{name}` takes 1 to {most} items");
            self.report.error(Code::Bound, node.place, message);
            return None;
        }
        Some(items)
    }

    fn values(&mut self, node: &Node) -> Option<Value> {
        let mut values: Vec<(Vec<u8>, Value)> = Vec::new();
        for item in self.list("enum", node, VALUES_MAX)? {
            let value = fields::json(item, self.report)?;
            let bytes = value.to_canonical();
            if values.iter().any(|(known, _)| *known == bytes) {
                self.report.error(Code::BadValue, item.place, "a value that occurs twice");
                return None;
            }
            values.push((bytes, value));
        }
        values.sort_by(|a, b| a.0.cmp(&b.0));
        Some(Value::Array(values.into_iter().map(|(_, value)| value).collect()))
    }

    fn integer(&mut self, name: &str, node: &Node, least: i64, most: i64) -> Option<Value> {
        let value = match &node.value {
            Data::Int(value) => *value,
            other => {
                let message = format!("`{name}` takes an integer, not {}", other.kind());
                let hint = match other {
                    Data::Number(_) => "bounds are integers; count in smaller units",
                    _ => "write it without quotes",
                };
                self.report.error_hint(Code::WrongType, node.place, message, hint);
                return None;
            }
        };
        if !(least..=most).contains(&value) {
            let message = format!("`{name}` lies between {least} and {most}");
            self.report.error(Code::BadValue, node.place, message);
            return None;
        }
        Some(Value::from(value))
    }

    fn pattern(&mut self, node: &Node) -> Option<Value> {
        let (text, place) = fields::text(node, "pattern", self.report)?;
        if !self.report.expression(place) {
            return None;
        }
        let error = match regex(&text) {
            Ok(_) if (1..=1024).contains(&text.len()) => return Some(Value::from(text)),
            Ok(_) => "1 to 1024 bytes are allowed".to_owned(),
            Err(error) => error,
        };
        let message = format!("bad pattern `{text}`: {error}");
        let hint = "a regular expression without look-around and back-references, matched anywhere";
        self.report.error_hint(Code::BadPattern, place, message, hint);
        None
    }

    fn schemas(&mut self, name: &str, node: &Node, depth: usize, combined: usize) -> Option<Value> {
        let combined = combined.saturating_add(1);
        if combined > COMBINED_MAX {
            let message = format!("alternatives nest at most {COMBINED_MAX} deep");
            self.report.error(Code::Bound, node.place, message);
            return None;
        }
        let items = self.list(name, node, BRANCHES_MAX)?;
        let read: Vec<_> = items.iter().map(|it| self.node(it, name, depth, combined)).collect();
        Some(Value::Array(read.into_iter().collect::<Option<_>>()?))
    }

    fn properties(&mut self, node: &Node, depth: usize, combined: usize) -> Option<Option<Value>> {
        let Data::Map(members) = &node.value else {
            let message = format!("`properties` takes a mapping, not {}", node.value.kind());
            self.report.error(Code::WrongType, node.place, message);
            return None;
        };
        let mut out = Object::new();
        let mut sound = true;
        for member in members {
            if member.key.len() > 200 {
                let message = "the name of a property has at most 200 bytes";
                self.report.error(Code::Bound, member.place, message);
                sound = false;
                continue;
            }
            match self.node(&member.value, &member.key, depth, combined) {
                Some(value) => out.set(member.key.as_str(), value),
                None => sound = false,
            }
        }
        sound.then(|| (!out.is_empty()).then_some(Value::Object(out)))
    }

    fn names(&mut self, node: &Node) -> Option<Option<Value>> {
        let mut names = Vec::new();
        for (name, place) in fields::texts(node, "required", self.report)? {
            if names.contains(&name) {
                self.report.error(Code::BadValue, place, format!("`{name}` occurs twice"));
                return None;
            }
            names.push(name);
        }
        names.sort();
        let names: Vec<Value> = names.into_iter().map(Value::from).collect();
        Some((!names.is_empty()).then_some(Value::Array(names)))
    }

    /// Keywords go with the types that they speak of: of a value of another type they would say nothing.
    fn consistent(
        &mut self,
        out: &Object,
        found: &[(&Member, &[Type])],
        node: &Node,
    ) -> Option<()> {
        let types: Vec<Type> = match out.get("type") {
            Some(Value::Array(words)) => {
                words.iter().filter_map(|it| Type::parse(it.as_str()?)).collect()
            }
            Some(word) => word.as_str().and_then(Type::parse).into_iter().collect(),
            None => Vec::new(),
        };
        for (member, wanted) in found {
            if wanted.iter().any(|ty| types.contains(ty)) {
                continue;
            }
            let words: Vec<&str> = wanted.iter().map(|it| it.word()).collect();
            let message =
                format!("`{}` says nothing without `type: {}`", member.key, words.join("` or `"));
            let hint = format!("add `type: {}`, or leave it out", words.first().unwrap_or(&""));
            self.report.error_hint(Code::Conflict, member.place, message, hint);
            return None;
        }
        for (least, most) in
            [("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")]
        {
            let bound = |key: &str| out.get(key).and_then(Value::as_i64);
            if let (Some(a), Some(b)) = (bound(least), bound(most))
                && a > b
            {
                let message = format!("`{least}` is more than `{most}`, so nothing fits");
                self.report.error(Code::Conflict, node.place, message);
                return None;
            }
        }
        self.declared(out, found)
    }

    /// A required name that a closed object does not have could never be given.
    fn declared(&mut self, out: &Object, found: &[(&Member, &[Type])]) -> Option<()> {
        if out.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Some(());
        }
        let nothing = Object::new();
        let properties = out.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
        let known: Vec<&str> = properties.iter().map(|(name, _)| name).collect();
        let required = out.get("required").and_then(Value::as_array).unwrap_or_default();
        let strange = required.iter().filter_map(Value::as_str).find(|it| !known.contains(it));
        let Some(name) = strange else { return Some(()) };
        let member = found.iter().find(|(member, _)| member.key == "required")?.0;
        let hint = nearest(name, &known).map(|near| format!("did you mean `{near}`?"));
        let message = format!("`{name}` is required, and no property of that name is allowed");
        self.report.push(Code::Conflict, Severity::Error, member.value.place, message, hint);
        None
    }

    fn refuse(&mut self, member: &Member) {
        let key = member.key.as_str();
        let known: Vec<&str> = KEYWORDS.iter().map(|(name, ..)| *name).collect();
        let hint = match key {
            "$ref" | "$defs" | "definitions" | "$anchor" | "$dynamicRef" => {
                "write the schema out where it is used".to_owned()
            }
            "$schema" | "$id" | "$comment" | "$vocabulary" => "leave it out".to_owned(),
            "format" | "contentEncoding" | "contentMediaType" => "use `pattern`".to_owned(),
            "default" => {
                "a gate executes the bytes that were decided: nothing is filled in".to_owned()
            }
            "not" | "if" | "then" | "else" => {
                "say what is allowed, or write a rule with a condition".to_owned()
            }
            "patternProperties" | "propertyNames" | "dependentRequired" | "dependentSchemas" => {
                "name the properties, or give `additionalProperties` a schema".to_owned()
            }
            _ => nearest(key, &known).map_or_else(
                || format!("known are {}", known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            ),
        };
        let message = format!("`{key}` is not among the keywords of schemas here");
        self.report.error_hint(Code::UnknownKey, member.place, message, hint);
    }
}

/// 2^53: integers up to this magnitude are exact in every JSON reader.
const EXACT: i64 = 1 << 53;
