//! `derivers:` what the server finds out about a request by itself: risk tags, verified facts, the risk
//! tier. Owns which tests go with what is read.

use super::fields::{self, Fields, Form};
use super::matches::{self, Conditions};
use super::rule::optional;
use crate::derive::{Probe, Test, TestKind};
use crate::diagnostic::{Code, Place, Report};
use crate::model::{Deriver, RiskTier};
use crate::shape::{self, Shape};
use crate::syntax::{Data, Node};
use placet_types::ids::is_name;
use placet_types::json::{Object, Value};

const KEYS: [&str; 9] =
    ["id", "match", "read", "any_of", "missing", "risk_tags", "facts", "risk_tier", "owner"];

/// Reads one deriver; `None` after an error. The place is that of its id.
pub(super) fn deriver(
    node: &Node,
    form: Form,
    conditions: &mut Conditions,
    report: &mut Report<'_>,
) -> Option<(Deriver, Place)> {
    let mut fields = Fields::open(node, "a deriver", report)?;
    let Some(id) = fields.take("id") else {
        report.error(Code::MissingKey, node.place, "`id` is missing");
        return None;
    };
    let id_place = id.place;
    let id = shape::read(&Shape::Id, id, "id", form, report);
    let matches = optional(fields.take("match"), |it| matches::matches(it, conditions, report));
    let read = optional(fields.take("read"), |it| probe(it, report));
    let tests = optional(fields.take("any_of"), |it| tests(it, report));
    let missing = optional(fields.take("missing"), |it| fields::boolean(it, "missing", report));
    let risk_tags = optional(fields.take("risk_tags"), |it| {
        shape::read(&Shape::Set(&Shape::Name), it, "risk_tags", form, report)
    });
    let facts = optional(fields.take("facts"), |it| facts(it, conditions, report));
    let risk_tier = optional(fields.take("risk_tier"), |it| {
        // Also where the rest is wrong: conditions are not to be blamed for it.
        conditions.scope.declare(RiskTier::FACT, &Value::from("low"));
        conditions.scope.declare(RiskTier::LEVEL, &Value::from(0_u32));
        let word = shape::read(&Shape::Word(&RiskTier::WORDS), it, "risk_tier", form, report)?;
        RiskTier::parse(word.as_str()?)
    });
    let owner = optional(fields.take("owner"), |it| fields::owner(it, report));
    fields.refuse_rest("a deriver", &KEYS, report);
    let (read, tests, missing) = (read?, tests?, missing?);
    let fault = match (&read, &tests, missing) {
        (Some(_), None, _) => Some("`read` without `any_of`: nothing is asked of what is read"),
        (None, Some(_), _) => Some("`any_of` without `read`: nothing is read"),
        (None, _, Some(_)) => Some("`missing` without `read`: nothing is read"),
        _ => None,
    };
    if let Some(fault) = fault {
        report.error(Code::Conflict, node.place, fault);
        return None;
    }
    let risk_tags: Vec<String> = risk_tags?
        .iter()
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(|tag| tag.as_str().map(str::to_owned))
        .collect();
    let (facts, risk_tier) = (facts?.unwrap_or_default(), risk_tier?);
    if risk_tags.is_empty() && facts.is_empty() && risk_tier.is_none() {
        let hint = "name risk_tags, facts or risk_tier";
        report.error_hint(Code::MissingKey, node.place, "the deriver derives nothing", hint);
        return None;
    }
    let deriver = Deriver {
        id: id?.as_str()?.to_owned(),
        matches: matches?.unwrap_or_default(),
        read: read.zip(tests),
        missing: missing.unwrap_or(false),
        risk_tags,
        facts,
        risk_tier,
        owner: owner?,
    };
    Some((deriver, id_place))
}

fn probe(node: &Node, report: &mut Report<'_>) -> Option<Probe> {
    let (text, place) = fields::text(node, "read", report)?;
    let probe = Probe::parse(&text);
    if probe.is_none() {
        let hint =
            "target, topic, action, model, or a path such as arguments.host or context.region";
        report.error_hint(Code::BadValue, place, format!("`{text}` cannot be read"), hint);
    }
    probe
}

fn tests(node: &Node, report: &mut Report<'_>) -> Option<Vec<(TestKind, Vec<Test>)>> {
    let mut fields = Fields::open(node, "`any_of`", report)?;
    let mut out = Vec::new();
    let mut sound = true;
    for kind in TestKind::ALL {
        let Some(node) = fields.take(kind.as_str()) else { continue };
        let Some(texts) = fields::texts(node, kind.as_str(), report) else {
            sound = false;
            continue;
        };
        let mut tests = Vec::with_capacity(texts.len());
        for (text, place) in texts {
            if kind == TestKind::Regex && !report.expression(place) {
                sound = false;
                break;
            }
            match Test::compile(kind, &text) {
                Ok(test) => tests.push(test),
                Err(why) => {
                    let message = format!("bad `{text}` in `{}`: {why}", kind.as_str());
                    report.error(Code::BadPattern, place, message);
                    sound = false;
                }
            }
        }
        tests.sort_by(|a, b| a.text().cmp(b.text()));
        tests.dedup_by(|a, b| a.text() == b.text());
        if !tests.is_empty() {
            out.push((kind, tests));
        }
    }
    let known: Vec<&str> = TestKind::ALL.iter().map(|kind| kind.as_str()).collect();
    fields.refuse_rest("`any_of`", &known, report);
    if sound && out.is_empty() {
        let hint = format!("known are {}", known.join(", "));
        report.error_hint(Code::MissingKey, node.place, "`any_of` asks nothing", hint);
        return None;
    }
    sound.then_some(out)
}

fn facts(node: &Node, conditions: &mut Conditions, report: &mut Report<'_>) -> Option<Object> {
    let Data::Map(members) = &node.value else {
        let message = format!("`facts` takes a mapping, not {}", node.value.kind());
        report.error(Code::WrongType, node.place, message);
        return None;
    };
    let mut out = Object::new();
    let mut sound = true;
    for member in members {
        let name = member.key.as_str();
        let reserved = crate::condition::Scope::is_authenticated(name)
            || [RiskTier::FACT, RiskTier::LEVEL].contains(&name);
        let fits = is_name(name)
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if reserved || !fits {
            let message = format!("`{name}` is no name for a fact");
            let hint = if reserved {
                "authentication or `risk_tier` finds a fact of this name"
            } else {
                "letters, digits and _, so that a condition can ask for verified.<name>"
            };
            report.error_hint(Code::BadValue, member.place, message, hint);
            sound = false;
            continue;
        }
        let Some(value) = fields::json(&member.value, report) else {
            sound = false;
            continue;
        };
        if matches!(value, Value::Array(_) | Value::Object(_)) {
            let message = format!("`{name}` takes text, an integer, true or false");
            report.error(Code::WrongType, member.value.place, message);
            sound = false;
        } else if conditions.scope.declare(name, &value) {
            out.set(name, value);
        } else {
            let message = format!("`{name}` has a value of another type in another deriver");
            report.error(Code::Conflict, member.value.place, message);
            sound = false;
        }
    }
    sound.then_some(out)
}
