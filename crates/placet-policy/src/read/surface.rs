//! `surfaces:` from the shape of one surface to the validated contract. Owns what its keys have to do
//! with one another.

use super::{Form, Reader, SURFACES_MAX, retention, shape};
use crate::condition::Asserted;
use crate::contract::{EvidenceSpec, Needed, Proof, Receipts, Surface};
use crate::diagnostic::{Code, Place, Report, Severity};
use crate::documents::surfaces::{NAME, SURFACE};
use crate::model::{DEADLINE_MS, IDEMPOTENCY_WINDOW_MS};
use crate::schema::Schema;
use crate::syntax::{Data, Member, Node};
use placet_types::json::{Object, Value};
use placet_types::policy::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Longest deadline to decide.
const DEADLINE_MS_MAX: u64 = 3_600_000;
/// Most pieces of evidence that one surface demands.
const EVIDENCE_MAX: usize = 16;

impl Reader<'_, '_> {
    pub(super) fn surfaces(&mut self, node: &Node) {
        let members = match &node.value {
            Data::Map(members) => members.as_slice(),
            other => {
                let message =
                    format!("`surfaces` takes a mapping from names, not {}", other.kind());
                let hint = matches!(other, Data::Null).then(|| "write `surfaces: {}`".to_owned());
                self.report.push(Code::WrongType, Severity::Error, node.place, message, hint);
                return;
            }
        };
        let mut surfaces = self.model.surfaces.take().unwrap_or_default();
        for member in members {
            if !(NAME.fits)(&member.key) {
                let message = format!("`{}` is no surface", member.key);
                self.report.error_hint(Code::BadValue, member.place, message, NAME.hint);
                continue;
            }
            if let Some(first) = self.surface_places.get(&member.key) {
                let message = format!(
                    "duplicate surface `{}`, first in {}:{}:{}",
                    member.key,
                    self.report.source_name(*first),
                    first.line,
                    first.column
                );
                self.report.error(Code::DuplicateId, member.place, message);
                continue;
            }
            self.surface_places.insert(member.key.clone(), member.place);
            if surfaces.len() >= SURFACES_MAX {
                let message = format!("a bundle has at most {SURFACES_MAX} surfaces");
                self.report.error(Code::Bound, member.place, message);
                break;
            }
            // `payments.transfer:` with nothing after it is a surface with defaults.
            let empty = Node { place: member.value.place, value: Data::Map(Vec::new()) };
            let node = match &member.value.value {
                Data::Null => &empty,
                Data::Map(_) => &member.value,
                other => {
                    let message = format!("a surface is a mapping, not {}", other.kind());
                    self.report.error(Code::WrongType, member.value.place, message);
                    continue;
                }
            };
            if let Some(surface) = surface(node, &member.key, self.form, self.report) {
                let known =
                    |schema: Option<&Arc<Schema>>| schema.map(|it| it.known()).unwrap_or_default();
                let asserted = Asserted {
                    arguments: known(surface.arguments.as_ref()),
                    context: known(surface.context.as_ref()),
                };
                if asserted != Asserted::default() {
                    self.conditions.scope.declare_surface(&member.key, asserted);
                }
                surfaces.insert(member.key.clone(), surface);
            }
        }
        self.model.surfaces = Some(surfaces);
    }
}

fn surface(node: &Node, name: &str, form: Form, report: &mut Report<'_>) -> Option<Surface> {
    let value = shape::read(&SURFACE, node, name, form, report)?;
    let of = value.as_object()?;
    let text = |key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
    let ms = |key: &str, default: u64| of.get(key).and_then(Value::as_u64).unwrap_or(default);
    let place = |key: &str| member(node, key).map_or(node.place, |member| member.value.place);
    let deadline_ms = ms("deadline", DEADLINE_MS);
    if deadline_ms > DEADLINE_MS_MAX {
        report.error(Code::BadValue, place("deadline"), "a deadline is at most 1h");
        return None;
    }
    let retention = match member(node, "retention") {
        Some(member) => retention::retention(&member.value, form, report)?,
        None => Default::default(),
    };
    let schema = |key: &str| of.get(key).and_then(Schema::compile).map(Arc::new);
    if let Some(ty) = of.get("context").and_then(|it| it.get("type"))
        && ty.as_str() != Some("object")
    {
        let message = "the context is an object, so its schema has `type: object`";
        report.error(Code::Conflict, place("context"), message);
        return None;
    }
    let required: BTreeSet<Needed> = words(of.get("required")).filter_map(Needed::parse).collect();
    Some(Surface {
        owner: text("owner"),
        description: text("description"),
        deadline_ms,
        idempotency_window_ms: ms("idempotency_window", IDEMPOTENCY_WINDOW_MS),
        retention,
        arguments: schema("arguments"),
        context: schema("context"),
        required: required.into_iter().collect(),
        evidence: evidence(of, member(node, "evidence"), form, report)?,
        outcomes: of.get("outcomes").map(outcomes),
        open_in: open_in(of, member(node, "fail_mode"), report)?,
        receipts: of
            .get("receipts")
            .and_then(|it| it.get("verify"))
            .and_then(|it| Receipts::parse(it.as_str()?))
            .unwrap_or_default(),
    })
}

fn member<'n>(node: &'n Node, key: &str) -> Option<&'n Member> {
    match &node.value {
        Data::Map(members) => members.iter().find(|member| member.key == key),
        _ => None,
    }
}

fn words(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value.and_then(Value::as_array).unwrap_or_default().iter().filter_map(Value::as_str)
}

fn outcomes(value: &Value) -> BTreeSet<Outcome> {
    let all = words(Some(value)).filter_map(Outcome::parse);
    all.filter(|it| !matches!(it, Outcome::Deny | Outcome::Silence)).collect()
}

fn evidence(
    of: &Object,
    member: Option<&Member>,
    form: Form,
    report: &mut Report<'_>,
) -> Option<BTreeMap<String, EvidenceSpec>> {
    let mut out = BTreeMap::new();
    let Some(member) = member else { return Some(out) };
    let items = of.get("evidence").and_then(Value::as_array).unwrap_or_default();
    if items.len() > EVIDENCE_MAX {
        let message = format!("a surface demands at most {EVIDENCE_MAX} types of evidence");
        report.error(Code::Bound, member.value.place, message);
        return None;
    }
    for (at, item) in items.iter().enumerate() {
        let kind = item.get("type").and_then(Value::as_str).unwrap_or_default();
        let spec = EvidenceSpec {
            max_age_ms: item.get("max_age").and_then(Value::as_u64).unwrap_or_default(),
            issuers: words(item.get("issuers")).map(str::to_owned).collect(),
            proof: match (flag(item, "attested"), flag(item, "verified")) {
                (true, _) => Proof::Attested,
                (_, true) => Proof::Verified,
                _ => Proof::Asserted,
            },
        };
        if out.insert(kind.to_owned(), spec).is_some() {
            let message = format!("evidence of type `{kind}` is demanded twice");
            report.error(Code::DuplicateId, item_place(member, at), message);
            return None;
        }
    }
    if form == Form::Document && out.values().any(|it| it.proof == Proof::Asserted) {
        let message = "evidence is what the client asserts: nobody else vouches for it";
        let hint = "say `verified: true`, or `attested: true` where its issuer signs";
        let hint = Some(hint.to_owned());
        report.push(Code::EvidenceAsserted, Severity::Warning, member.place, message.into(), hint);
    }
    Some(out)
}

fn flag(item: &Value, name: &str) -> bool {
    item.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn item_place(member: &Member, at: usize) -> Place {
    match &member.value.value {
        Data::List(items) => items.get(at).map_or(member.place, |item| item.place),
        _ => member.place,
    }
}

/// Environments with `open`; closed is what holds without a word.
fn open_in(
    of: &Object,
    member: Option<&Member>,
    report: &mut Report<'_>,
) -> Option<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    let modes = of.get("fail_mode").and_then(Value::as_object);
    for (environment, mode) in modes.into_iter().flat_map(Object::iter) {
        let reason = mode.get("reason").and_then(Value::as_str);
        match (mode.get("mode").and_then(Value::as_str), reason) {
            (Some("open"), Some(reason)) => {
                out.insert(environment.to_owned(), reason.to_owned());
            }
            (Some("open"), None) => {
                let message = format!("`{environment}` fails open without a `reason`");
                let hint = "whoever lets actions pass without a decision says why";
                let place =
                    member.map(|it| self::member(&it.value, environment).unwrap_or(it).place);
                report.error_hint(Code::MissingKey, place.unwrap_or_default(), message, hint);
                return None;
            }
            _ => {}
        }
    }
    Some(out)
}
