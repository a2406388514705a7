//! The parts of two bundles that differ and may decide, and what the requests that were compared came to on
//! each: whether any of them concerned it, was answered otherwise by it, was decided otherwise. What no
//! request was decided otherwise on is named, so that silence is never taken for sameness.

use super::documents::{How, Part};
use crate::bundle::{Bundle, Scratch};
use placet_types::json::{Object, Value};
use placet_types::policy::{Hit, Verdict};
use placet_types::{Caller, Request};
use std::collections::BTreeMap;

/// A part that differs and may decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Its top key.
    pub section: String,
    /// Its id or name.
    pub name: String,
    /// The member of it that differs; empty for the whole.
    pub member: String,
    /// Requests that concerned it.
    pub touched: u64,
    /// Those of them to which it itself answers otherwise.
    pub differed: u64,
    /// Those of them that are decided otherwise.
    pub changed: u64,
}

impl Element {
    /// `roles payer: may`.
    #[must_use]
    pub fn text(&self) -> String {
        let name = if self.name.is_empty() { String::new() } else { format!(" {}", self.name) };
        let member =
            if self.member.is_empty() { String::new() } else { format!(": {}", self.member) };
        format!("{}{name}{member}", self.section)
    }

    /// What the requests that were compared came to, for people.
    #[must_use]
    pub fn why(&self) -> String {
        match (self.touched, self.differed) {
            (0, _) => "not tried: no request that was compared concerned it".to_owned(),
            (touched, 0) => format!("{touched} requests concerned it, and none told it apart"),
            (_, differed) => {
                format!("it answers {differed} requests otherwise, and others decided all of them")
            }
        }
    }

    pub(super) fn to_value(&self) -> Value {
        let member = (!self.member.is_empty()).then_some(self.member.as_str());
        Value::Object(
            Object::new()
                .with("section", self.section.as_str())
                .with("name", self.name.as_str())
                .with_opt("member", member)
                .with("touched", self.touched)
                .with("differed", self.differed)
                .with("changed", self.changed)
                .with("why", self.why()),
        )
    }
}

/// How it shows that a request concerns an element.
#[derive(Debug)]
enum Sign {
    /// A rule of this id is a hit.
    Rule(String),
    Deriver,
    Surface,
    Capability,
    Role,
    Model,
    Always,
    /// Nothing that is compared.
    Nothing,
}

#[derive(Debug)]
struct Tally {
    element: Element,
    sign: Sign,
    /// Ids of hits begin so.
    prefixes: Vec<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Elements {
    all: Vec<Tally>,
    rules: BTreeMap<String, usize>,
    /// Those that are not found by the id of a rule.
    rest: Vec<usize>,
    derivers: bool,
}

/// Members that say nothing about any decision.
const SILENT: [&str; 13] = [
    "ceilings",
    "deadline",
    "description",
    "fail_mode",
    "idempotency_window",
    "max_steps",
    "owner",
    "prices",
    "reason",
    "receipts",
    "retention",
    "tests",
    "type",
];
/// Kinds that no request is decided by.
const SILENT_KINDS: [&str; 6] = ["channels", "exceptions", "identity", "notify", "tests", "type"];

impl Elements {
    pub(super) fn of(parts: &[Part]) -> Self {
        let mut out = Self::default();
        for part in parts.iter().filter(|it| !SILENT_KINDS.contains(&it.section.as_str())) {
            let (section, name) = (part.section.as_str(), part.name.as_str());
            let members: Vec<&str> = part
                .members
                .iter()
                .map(String::as_str)
                .filter(|member| !SILENT.contains(member))
                .collect();
            if part.how == How::Altered && !part.members.is_empty() && members.is_empty() {
                continue;
            }
            let apart = part.how == How::Altered
                && matches!(section, "surfaces" | "capabilities" | "roles");
            match section {
                "models" if SILENT.contains(&name) => {}
                _ if apart => members.into_iter().for_each(|it| out.add(section, name, it)),
                _ => out.add(section, name, ""),
            }
        }
        out
    }

    fn add(&mut self, section: &str, name: &str, member: &str) {
        let (sign, prefixes) = match section {
            "rules" | "floor" => (Sign::Rule(name.to_owned()), Vec::new()),
            "approvals" => (Sign::Rule(format!("approvals:{name}")), Vec::new()),
            "derivers" => (Sign::Deriver, Vec::new()),
            "surfaces" if name.is_empty() => (Sign::Always, vec!["surface:".to_owned()]),
            "surfaces" => {
                let prefix = format!("surface:{name}:");
                let prefixes = match member {
                    "" => vec![prefix],
                    "required" => vec![format!("{prefix}required.")],
                    "evidence" => ["evidence", "fresh", "foreign", "revoked", "unattested"]
                        .map(|word| format!("{prefix}{word}."))
                        .into(),
                    "outcomes" => vec![format!("{prefix}outcomes")],
                    root => vec![format!("{prefix}{root}"), format!("{prefix}required.{root}")],
                };
                (Sign::Surface, prefixes)
            }
            "capabilities" => {
                let prefixes = match member {
                    "" => {
                        vec!["access:capability".to_owned(), format!("access:checkpoint:{name}/")]
                    }
                    "checkpoints" => vec![format!("access:checkpoint:{name}/")],
                    list => vec![format!("access:capability:{name}/{list}")],
                };
                (Sign::Capability, prefixes)
            }
            "roles" => {
                let read_only = format!("access:read-only:{name}");
                let alone = format!("access:alone:{name}/");
                let required = "access:role-required".to_owned();
                let prefixes = match member {
                    "" => vec![required, read_only, alone],
                    "must_not_alone" => vec![alone],
                    "read_only" => vec![read_only],
                    _ => vec![required, read_only],
                };
                if name.is_empty() {
                    (Sign::Always, vec!["access:".to_owned()])
                } else {
                    (Sign::Role, prefixes)
                }
            }
            "models" => {
                let id = if name == "allow" { "models:not-allowed" } else { "models:off-route" };
                (Sign::Model, vec![id.to_owned()])
            }
            _ => (Sign::Nothing, Vec::new()),
        };
        let at = self.all.len();
        if let Sign::Rule(id) = &sign {
            self.rules.insert(id.clone(), at);
            self.rules.insert(format!("after:{id}"), at);
        } else {
            self.rest.push(at);
        }
        self.derivers |= matches!(sign, Sign::Deriver);
        let element = Element {
            section: section.to_owned(),
            name: name.to_owned(),
            member: member.to_owned(),
            touched: 0,
            differed: 0,
            changed: 0,
        };
        self.all.push(Tally { element, sign, prefixes });
    }

    /// All of them, with what they came to.
    pub(super) fn elements(&self) -> impl Iterator<Item = &Element> {
        self.all.iter().map(|tally| &tally.element)
    }

    /// Those on which no request was decided otherwise.
    pub(super) fn unseen(self) -> Vec<Element> {
        let unseen = self.all.into_iter().map(|tally| tally.element);
        unseen.filter(|element| element.changed == 0).collect()
    }

    /// Counts one request that was compared.
    pub(super) fn count(
        &mut self,
        bundles: [&Bundle; 2],
        scratch: &mut [Scratch; 2],
        of: (&Request, &Caller),
        verdicts: [&Verdict; 2],
        changed: bool,
    ) {
        let (request, caller) = of;
        let [a, b] = verdicts;
        let same = a.hits == b.hits && a.surface_known == b.surface_known;
        let mut seen = Vec::new();
        for hit in a.hits.iter().chain(&b.hits) {
            if let Some(at) = self.rules.get(&hit.rule.id)
                && !seen.contains(at)
            {
                seen.push(*at);
                let id = hit.rule.id.as_str();
                let find =
                    |verdict: &Verdict| verdict.hits.iter().find(|hit| hit.rule.id == id).cloned();
                let differs = !same && find(a) != find(b);
                if let Some(tally) = self.all.get_mut(*at) {
                    tally.add(differs, changed);
                }
            }
        }
        let derived = self.derivers.then(|| {
            let [one, other] = scratch;
            let [first, second] = bundles;
            let first = first.derive(request, caller, one);
            (first, second.derive(request, caller, other))
        });
        for at in &self.rest {
            let Some(tally) = self.all.get_mut(*at) else { continue };
            let name = tally.element.name.as_str();
            let touched = match tally.sign {
                Sign::Surface => request.surface == name,
                Sign::Capability => match &request.capability {
                    Some(capability) => name.is_empty() || capability == name,
                    None => false,
                },
                Sign::Role => caller.roles.contains(name),
                Sign::Model => request.model.is_some(),
                Sign::Always => true,
                Sign::Deriver => derived.as_ref().is_some_and(|(a, b)| {
                    let applied = |it: &[String]| it.iter().any(|id| id == name);
                    applied(&a.applied) || applied(&b.applied)
                }),
                Sign::Nothing | Sign::Rule(_) => false,
            };
            let differs = match (&tally.sign, &derived) {
                (Sign::Deriver, Some((a, b))) => {
                    let tags = |it: &crate::derive::Derived| {
                        it.request.as_ref().map(|it| it.risk_tags.clone())
                    };
                    touched && (a.facts != b.facts || tags(a) != tags(b))
                }
                _ => !same && (tally.of(a) != tally.of(b) || a.surface_known != b.surface_known),
            };
            if touched || (differs && !matches!(tally.sign, Sign::Surface | Sign::Capability)) {
                tally.add(differs, changed);
            }
        }
    }
}

impl Tally {
    fn of<'v>(&self, verdict: &'v Verdict) -> Vec<&'v Hit> {
        let own = |hit: &&Hit| self.prefixes.iter().any(|it| hit.rule.id.starts_with(it.as_str()));
        verdict.hits.iter().filter(own).collect()
    }

    fn add(&mut self, differs: bool, changed: bool) {
        self.element.touched += 1;
        self.element.differed += u64::from(differs);
        self.element.changed += u64::from(differs && changed);
    }
}
