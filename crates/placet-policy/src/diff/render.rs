//! A difference as JSON, and as lines of text. Refuses to know how it was found.

use super::{Coverage, Diff, Element, Group, Part, Witness};
use placet_types::json::{Object, Value};
use std::fmt;

impl Diff {
    /// Whether no decision that was looked at differs. That alone proves nothing where it is sampled: see
    /// [`Diff::unseen`].
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.groups.is_empty()
    }

    /// As JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let groups: Vec<Value> = self.groups.iter().map(Group::to_value).collect();
        let parts: Vec<Value> = self.parts.iter().map(Part::to_value).collect();
        let unseen: Vec<Value> = self.unseen.iter().map(Element::to_value).collect();
        let [before, after] = &self.digests;
        Value::Object(
            Object::new()
                .with("before", before.to_string())
                .with("after", after.to_string())
                .with("coverage", self.coverage.to_value())
                .with("changes", groups)
                .with("documents", parts)
                .with_opt("unseen", (!unseen.is_empty()).then_some(unseen)),
        )
    }
}

impl fmt::Display for Diff {
    /// For people: what was looked at, a line for each kind of change with a request that shows it, what was not
    /// seen to decide, and which parts of documents differ.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, after] = &self.digests;
        writeln!(f, "before {before}\nafter  {after}")?;
        match &self.coverage {
            Coverage::Identical => writeln!(f, "identical: the bundles have one digest")?,
            Coverage::Enumerated { cells } => {
                writeln!(f, "enumerated: {cells} cells, and every request is in one of them")?;
            }
            Coverage::Sampled { generated, given, not_covered } => {
                writeln!(
                    f,
                    "sampled: {generated} generated requests, {given} of the log; not every request was looked at, because"
                )?;
                for why in not_covered {
                    writeln!(f, "  - {why}")?;
                }
            }
        }
        match (self.is_same(), self.unseen.is_empty()) {
            (true, true) => writeln!(f, "no decision changes")?,
            (true, false) => {
                writeln!(f, "nothing was seen to change, and that is no proof: see below")?;
            }
            (false, _) => {}
        }
        for group in &self.groups {
            let rules: Vec<&str> = group.rules.iter().map(String::as_str).take(8).collect();
            writeln!(f, "{}  {}  {}", group.transition, group.count, rules.join(", "))?;
            if let Some(witness) = group.witnesses.first() {
                writeln!(f, "  for example {}", witness.request.to_text())?;
                writeln!(f, "  by {}", Value::Object(witness.facts.clone()).to_text())?;
            }
        }
        for element in &self.unseen {
            writeln!(f, "not seen to decide otherwise: {}: {}", element.text(), element.why())?;
        }
        for part in &self.parts {
            let (how, members) = (part.how.as_str(), part.members.join(", "));
            writeln!(f, "{} {} {how} {members}", part.section, part.name)?;
        }
        Ok(())
    }
}

impl Coverage {
    fn to_value(&self) -> Value {
        Value::Object(match self {
            Self::Identical => Object::new().with("kind", "identical"),
            Self::Enumerated { cells } => {
                Object::new().with("kind", "enumerated").with("cells", *cells)
            }
            Self::Sampled { generated, given, not_covered } => {
                let not_covered: Vec<Value> =
                    not_covered.iter().map(|why| Value::from(why.as_str())).collect();
                Object::new()
                    .with("kind", "sampled")
                    .with("generated", *generated)
                    .with("given", *given)
                    .with("not_covered", not_covered)
            }
        })
    }
}

impl Group {
    fn to_value(&self) -> Value {
        let texts = |items: &mut dyn Iterator<Item = &str>| -> Vec<Value> {
            items.map(Value::from).collect()
        };
        let witnesses: Vec<Value> = self.witnesses.iter().map(Witness::to_value).collect();
        let mut aspects = self.transition.aspects.iter().map(|aspect| aspect.as_str());
        Value::Object(
            Object::new()
                .with("change", self.transition.to_string())
                .with("from", self.transition.from.as_str())
                .with("to", self.transition.to.as_str())
                .with("aspects", texts(&mut aspects))
                .with("count", self.count)
                .with("rules", texts(&mut self.rules.iter().map(String::as_str)))
                .with("witnesses", witnesses),
        )
    }
}

impl Witness {
    fn to_value(&self) -> Value {
        Value::Object(
            Object::new()
                .with("request", self.request.clone())
                .with("caller", self.facts.clone())
                .with("before", self.before.to_value())
                .with("after", self.after.to_value())
                .with_opt("from_log", self.given.then_some(true))
                .with_opt("at", self.at.map(|at| at.rfc3339())),
        )
    }
}
