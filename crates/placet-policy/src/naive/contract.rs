//! The reference for what a surface demands: keyword by keyword over the text of the schema, evidence
//! member by member. Shares no code of checking with the product but the regular expressions.

use super::{Mutant, Naive, compare_decimals, copy, decimal};
use crate::bundle::Bundle;
use crate::contract::{EvidenceSpec, Needed, Proof, Surface};
use crate::pattern::Dialect;
use placet_types::ids::TimeMs;
use placet_types::json::{Number, Object, Value as Json};
use placet_types::policy::{Effect, Force, Hit, Layer, RuleEffect};
use std::cmp::Ordering;
use std::sync::Arc;

impl Naive<'_> {
    /// Whether a mode lets it pass: one says so, and none the contrary.
    pub(super) fn unenforced(&self, bundle: &Bundle) -> bool {
        let modes = bundle.model().documents.get("modes").and_then(Json::as_array);
        let any = |mode: &Json, key: &str, dialect: Dialect, value: &str| {
            let list = mode.get(key).and_then(Json::as_array).unwrap_or_default();
            list.iter().filter_map(Json::as_str).any(|it| self.glob(dialect, it, value))
        };
        let says = |word: &str| {
            modes.unwrap_or_default().iter().any(|mode| {
                mode.get("mode").and_then(Json::as_str) == Some(word)
                    && any(mode, "surfaces", Dialect::Dotted, &self.request.surface)
                    && any(mode, "environments", Dialect::Environment, &self.caller.environment)
            })
        };
        says("shadow") && !says("enforce")
    }

    pub(super) fn contract(&self, bundle: &Bundle, surface: &Surface) -> Vec<Hit> {
        let request = self.request;
        let mut found: Vec<(String, Force)> = Vec::new();
        let mut demanded: Vec<String> = surface.required.iter().map(Needed::text).collect();
        if surface.arguments.is_some() && !demanded.contains(&"arguments".to_owned()) {
            demanded.push("arguments".to_owned());
        }
        for field in demanded {
            if !self.has_field(&field) && !self.is(Mutant::FieldsIgnored) {
                found.push((format!("required.{field}"), Force::Always));
            }
        }
        if let (Some(schema), Some(arguments)) = (&surface.arguments, &request.arguments)
            && !self.valid(schema.normal(), arguments, 0)
        {
            found.push(("arguments".to_owned(), Force::Always));
        }
        if let Some(schema) = &surface.context {
            let context = Json::Object(request.context.clone().unwrap_or_default());
            if !self.valid(schema.normal(), &context, 0) && !self.is(Mutant::ContextIgnored) {
                found.push(("context".to_owned(), Force::Always));
            }
        }
        for (kind, spec) in &surface.evidence {
            if spec.proof != Proof::Asserted {
                found.extend(self.stored(kind, spec));
                continue;
            }
            let mut span: Option<(u64, u64)> = None;
            for piece in &request.evidence {
                let Some((issuer, issued, expires)) = self.piece(piece, kind) else { continue };
                let known = spec.issuers.is_empty() || spec.issuers.contains(&issuer);
                let digest = piece.get("digest").and_then(Json::as_str).unwrap_or_default();
                if request
                    .found
                    .evidence
                    .iter()
                    .any(|it| it.kind == *kind && it.revoked && it.digest.to_string() == digest)
                {
                    continue;
                }
                if !known && !self.is(Mutant::AnyIssuer) {
                    continue;
                }
                let until = (issued + spec.max_age_ms).min(expires);
                let from = issued.saturating_sub(60_000);
                if span.is_none_or(|(before, end)| (until, from) > (end, before)) {
                    span = Some((from, until));
                }
            }
            for piece in request.found.evidence.iter().filter(|it| it.kind == *kind && !it.revoked)
            {
                if !spec.issuers.is_empty() && !spec.issuers.contains(&piece.issuer) {
                    continue;
                }
                let until = (piece.issued.0 + spec.max_age_ms).min(piece.expires.0);
                let from = piece.issued.0.saturating_sub(60_000);
                if span.is_none_or(|(before, end)| (until, from) > (end, before)) {
                    span = Some((from, until));
                }
            }
            match span {
                None => found.push((format!("evidence.{kind}"), Force::Always)),
                Some((from, until)) => {
                    if !self.is(Mutant::FutureEvidence) {
                        found.push((format!("evidence.{kind}"), Force::Until(TimeMs(from))));
                    }
                    if !self.is(Mutant::AgelessEvidence) {
                        found.push((format!("fresh.{kind}"), Force::From(TimeMs(until))));
                    }
                }
            }
        }
        if surface.outcomes.is_some() && !self.is(Mutant::OutcomesIgnored) {
            found.push(("outcomes".to_owned(), Force::Always));
        }
        let hits = found.into_iter().map(|(what, force)| {
            let id = format!("surface:{}:{what}", request.surface);
            let unknown = || Arc::new(RuleEffect::new(&*id, Layer::Contract, Effect::Deny));
            let rule = bundle.rules().find(|rule| rule.id == id).cloned();
            Hit { force, ..Hit::of(rule.unwrap_or_else(unknown)) }
        });
        hits.collect()
    }

    /// What a type of evidence comes to that has to be in the store: each test by itself, in the order in
    /// which they are passed.
    fn stored(&self, kind: &str, spec: &EvidenceSpec) -> Vec<(String, Force)> {
        let found = &self.request.found;
        let of_kind: Vec<_> = found.evidence.iter().filter(|it| it.kind == kind).collect();
        let mut ours = of_kind.clone();
        ours.retain(|it| Some(it.subject) == found.subject);
        if spec.issuers.is_empty() {
            ours.retain(|it| !it.own);
        } else {
            ours.retain(|it| spec.issuers.iter().any(|issuer| *issuer == it.issuer));
        }
        let mut signed = ours.clone();
        signed.retain(|it| spec.proof != Proof::Attested || it.attested || it.revoked);
        let mut standing = signed.clone();
        standing.retain(|it| !it.revoked);
        let stranger = found.unknown.iter().any(|it| it.is_none() || it.as_deref() == Some(kind));
        let rule = |word: &str, force| vec![(format!("{word}.{kind}"), force)];
        let times = standing.iter().map(|it| {
            let until = (it.issued.0 + spec.max_age_ms).min(it.expires.0);
            (until, it.issued.0.saturating_sub(60_000))
        });
        match times.max() {
            Some((until, from)) => {
                let mut both = rule("evidence", Force::Until(TimeMs(from)));
                both.extend(rule("fresh", Force::From(TimeMs(until))));
                both
            }
            None if !signed.is_empty() => rule("revoked", Force::Always),
            None if !ours.is_empty() => rule("unattested", Force::Always),
            None if !of_kind.is_empty() || stranger => rule("foreign", Force::Always),
            None => rule("evidence", Force::Always),
        }
    }

    fn has_field(&self, field: &str) -> bool {
        let request = self.request;
        match field.split_once('.') {
            Some(("labels", name)) => request.labels.get(name).is_some_and(|it| !it.is_empty()),
            Some(("estimate", unit)) => request.estimate.contains_key(unit),
            _ => match field {
                "arguments" => request.arguments.is_some(),
                "branch" => request.branch.is_some(),
                "capability" => request.capability.is_some(),
                "change" => request.change.is_some(),
                "context" => request.context.is_some(),
                "execution" => request.execution.is_some(),
                "model" => request.model.is_some(),
                "on_behalf_of" => !request.on_behalf_of.is_empty(),
                "parent_decision" => request.parent_decision.is_some(),
                "step" => request.step.is_some(),
                "subjects" => !request.subjects.is_empty(),
                "target" => request.target.is_some(),
                "team" => request.team.is_some(),
                "topic" => request.topic.is_some(),
                _ => false,
            },
        }
    }

    /// Issuer, issued and expires of a well-formed piece of one type.
    fn piece(&self, value: &Json, kind: &str) -> Option<(String, u64, u64)> {
        let mut members: Vec<(String, Json)> = match value {
            Json::Object(object) => object.clone().into_iter().collect(),
            _ => return None,
        };
        let mut text = |name: &str| -> Option<String> {
            let at = members.iter().position(|(have, _)| have == name)?;
            members.remove(at).1.as_str().map(str::to_owned)
        };
        let (have, digest) = (text("type")?, text("digest")?);
        let (issuer, issued) = (text("issuer")?, text("issued")?);
        let expires = text("expires");
        // What is left was not taken: unknown, or no text.
        if !members.is_empty() && !self.is(Mutant::SloppyEvidence) {
            return None;
        }
        if value.get("expires").is_some() && expires.is_none() {
            return None;
        }
        let hex = digest.strip_prefix("sha256:")?;
        let sound = hex.len() == 64 && hex.chars().all(|c| "0123456789abcdef".contains(c));
        let (actor, name) = issuer.split_once(':')?;
        let named = ["agent", "human", "service"].contains(&actor) && !name.is_empty();
        if !sound || !named || have != kind {
            return None;
        }
        let issued = TimeMs::parse_rfc3339(&issued)?.0;
        let expires = match expires {
            None => u64::MAX,
            Some(text) => TimeMs::parse_rfc3339(&text)?.0,
        };
        if expires <= issued {
            return None;
        }
        let expires = if self.is(Mutant::ExpiryIgnored) { u64::MAX } else { expires };
        Some((issuer, issued, expires))
    }

    /// Whether a value fits a schema in normal form.
    fn valid(&self, schema: &Json, value: &Json, depth: usize) -> bool {
        let Some(keywords) = schema.as_object() else { return false };
        if depth > 1 && self.is(Mutant::ShallowSchema) {
            return true;
        }
        keywords.iter().all(|(name, says)| self.keyword(name, says, keywords, value, depth))
    }

    fn keyword(&self, name: &str, says: &Json, all: &Object, value: &Json, depth: usize) -> bool {
        let below = |schema: &Json, value: &Json| self.valid(schema, value, depth + 1);
        let branches = || says.as_array().unwrap_or_default().iter();
        let fitting = || branches().filter(|it| self.valid(it, value, depth)).count();
        let says_count = says.as_u64().unwrap_or(0);
        match (name, value) {
            ("type", _) => match says {
                Json::Array(words) => words.iter().any(|word| self.of_type(word, value)),
                word => self.of_type(word, value),
            },
            ("enum", _) => branches().any(|it| same(it, value)),
            ("const", _) => same(says, value),
            ("oneOf", _) if self.is(Mutant::OneOfIsAnyOf) => fitting() >= 1,
            ("oneOf", _) => fitting() == 1,
            ("anyOf", _) => fitting() >= 1,
            ("allOf", _) => fitting() == branches().count(),
            ("minimum", Json::Number(_)) => order(value, says) != Ordering::Less,
            ("maximum", Json::Number(_)) => order(value, says) != Ordering::Greater,
            ("exclusiveMinimum", Json::Number(_)) => match order(value, says) {
                Ordering::Less => false,
                Ordering::Equal => self.is(Mutant::BoundsInclusive),
                Ordering::Greater => true,
            },
            ("exclusiveMaximum", Json::Number(_)) => match order(value, says) {
                Ordering::Less => true,
                Ordering::Equal => self.is(Mutant::BoundsInclusive),
                Ordering::Greater => false,
            },
            ("multipleOf", Json::Number(Number::Int(value))) => {
                says.as_i64().is_some_and(|of| *value == value / of * of)
            }
            ("multipleOf", Json::Number(_)) => false,
            ("minLength", Json::String(text)) => self.length(text) >= says_count,
            ("maxLength", Json::String(text)) => self.length(text) <= says_count,
            ("pattern", Json::String(text)) => {
                let pattern = says.as_str().unwrap_or("$^");
                let pattern = if self.is(Mutant::PatternAnchored) {
                    format!("^(?:{pattern})$")
                } else {
                    pattern.to_owned()
                };
                regex::Regex::new(&pattern).is_ok_and(|it| it.find(text).is_some())
            }
            ("items", Json::Array(items)) => items.iter().all(|item| below(says, item)),
            ("minItems", Json::Array(items)) => items.len() as u64 >= says_count,
            ("maxItems", Json::Array(items)) => items.len() as u64 <= says_count,
            ("uniqueItems", Json::Array(items)) => {
                let twice = |at: usize, item: &Json| {
                    items.iter().skip(at + 1).any(|other| same(item, other))
                };
                self.is(Mutant::RepetitionAllowed)
                    || !items.iter().enumerate().any(|(at, item)| twice(at, item))
            }
            ("required", Json::Object(object)) => {
                let mut names = branches().filter_map(Json::as_str);
                self.is(Mutant::RequiredIgnored)
                    || names.all(|name| object.iter().any(|(have, _)| have == name))
            }
            ("properties", Json::Object(object)) => says.as_object().is_some_and(|properties| {
                properties.iter().all(|(name, schema)| {
                    object.iter().all(|(have, value)| have != name || below(schema, value))
                })
            }),
            ("additionalProperties", Json::Object(object)) => {
                let properties = all.get("properties").and_then(Json::as_object);
                let named = |name: &str| {
                    properties.is_some_and(|it| it.iter().any(|(known, _)| known == name))
                };
                let mut rest = object.iter().filter(|(name, _)| !named(name));
                match says {
                    Json::Bool(false) => self.is(Mutant::MembersAllowed) || rest.next().is_none(),
                    schema => rest.all(|(_, value)| below(schema, value)),
                }
            }
            _ => true,
        }
    }

    fn of_type(&self, word: &Json, value: &Json) -> bool {
        match (word.as_str(), value) {
            (Some("integer"), Json::Number(Number::Double(_))) => self.is(Mutant::IntegerTakesAll),
            (Some("integer" | "number"), Json::Number(_)) => true,
            (Some(word), value) => word == value.kind(),
            (None, _) => false,
        }
    }

    fn length(&self, text: &str) -> u64 {
        let length = if self.is(Mutant::LengthInBytes) { text.len() } else { text.chars().count() };
        length as u64
    }
}

fn order(a: &Json, b: &Json) -> Ordering {
    match (decimal(&copy(a)), decimal(&copy(b))) {
        (Some(a), Some(b)) => compare_decimals(&a, &b),
        _ => Ordering::Less,
    }
}

fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(_), Json::Number(_)) => order(a, b) == Ordering::Equal,
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, a)| b.iter().any(|(other, b)| name == other && same(a, b)))
        }
        _ => a == b,
    }
}
