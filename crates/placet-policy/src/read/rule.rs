//! One rule: its keys, their bounds and which of them go together. Owns the reasons for refusing
//! a combination; `matches` reads the part below `match:`.

use super::fields::{self, Fields, Form};
use super::matches::{self, Conditions};
use super::timing;
use crate::diagnostic::{Code, Place, Report};
use crate::model::{LimitKey, Rule};
use crate::syntax::{Data, Node};
use placet_types::ids::is_name;
use placet_types::nearest::nearest;
use placet_types::policy::{
    AfterSpec, ApprovalSpec, Constraints, Effect, Layer, LimitSpec, RuleEffect,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const KEYS: [&str; 12] = [
    "advice",
    "after",
    "approval",
    "constraints",
    "decision",
    "id",
    "limit",
    "match",
    "owner",
    "reason",
    "retry_after",
    "schedule",
];

/// Largest canonical form of the constraints of one rule.
const CONSTRAINT_BYTES_MAX: usize = 4096;

/// Reads one rule; `None` after an error. The place is that of its id.
pub(super) fn rule(
    layer: Layer,
    node: &Node,
    form: Form,
    conditions: &mut Conditions,
    report: &mut Report<'_>,
) -> Option<(Rule, Place)> {
    let mut fields = Fields::open(node, "a rule", report)?;
    let id = required(&mut fields, node, "id", report).and_then(|it| id(it, report));
    let matches = required(&mut fields, node, "match", report)
        .and_then(|it| matches::matches(it, conditions, report));
    let decision =
        required(&mut fields, node, "decision", report).and_then(|it| decision(it, layer, report));
    let reason = optional(fields.take("reason"), |it| fields::prose(it, "reason", 1024, report));
    let owner = optional(fields.take("owner"), |it| fields::owner(it, report));
    let advice = optional(fields.take("advice"), |it| advice(it, layer, report));
    let constraints = fields.take("constraints");
    let approval = fields.take_member("approval");
    let limit = fields.take_member("limit");
    let retry_after = fields.take_member("retry_after");
    let after = fields.take_member("after");
    let schedule = optional(fields.take("schedule"), |it| timing::schedule(it, form, report));
    fields.refuse_rest("a rule", &KEYS, report);
    // What depends on the decision is read once that is known.
    let effect = decision?;
    let constraints = optional_or(constraints, effect, node, report);
    let with_limit = limit.is_some();
    let approval = optional(approval, |it| {
        if effect != Effect::RequireApproval {
            let message = format!(
                "`approval` goes with require_approval alone, not with {}",
                effect.as_str()
            );
            report.error(Code::Conflict, it.place, message);
            return None;
        }
        self::approval(&it.value, form, report)
    });
    let limit = optional(limit, |it| {
        refuse_limit(effect, it.place, report)?;
        self::limit(&it.value, form, report)
    });
    let retry_after_ms = optional(retry_after, |it| {
        if effect != Effect::Throttle || with_limit {
            let message = if with_limit {
                "`retry_after` and `limit` exclude one another: the window says when there is room again".to_owned()
            } else {
                format!("`retry_after` goes with throttle alone, not with {}", effect.as_str())
            };
            report.error(Code::Conflict, it.place, message);
            return None;
        }
        fields::duration(&it.value, "retry_after", form, report)
    });
    let after = optional(after, |it| {
        if with_limit {
            let message =
                "`after` and `limit` exclude one another: each looks into a window of its own";
            report.error_hint(Code::Conflict, it.place, message, "write two rules");
            return None;
        }
        timing::after(&it.value, form, report)
    });
    let after = after?;
    let (limit, limit_key) = match (limit?, &after) {
        (Some((limit, key)), _) => (Some(limit), key),
        (None, Some(after)) => (None, after.same.clone()),
        (None, None) => (None, Vec::new()),
    };
    let (id, place) = id?;
    let effect = RuleEffect {
        reason: reason?,
        constraints: constraints?,
        approval: approval?,
        limit,
        retry_after_ms: retry_after_ms?,
        advice: advice?.unwrap_or(false),
        after: after.as_ref().map(|after| AfterSpec { within_ms: after.within_ms }),
        schedule: schedule?,
        ..RuleEffect::new(id, layer, effect)
    };
    let effect = Arc::new(effect);
    let rule = Rule { effect, matches: matches?, limit_key, owner: owner?, after };
    Some((rule, place))
}

/// `Some(None)` when the key is absent, `None` after an error.
pub(super) fn optional<N, T>(
    node: Option<N>,
    read: impl FnOnce(N) -> Option<T>,
) -> Option<Option<T>> {
    match node {
        None => Some(None),
        Some(node) => read(node).map(Some),
    }
}

pub(super) fn required<'n>(
    fields: &mut Fields<'n>,
    rule: &Node,
    key: &str,
    report: &mut Report<'_>,
) -> Option<&'n Node> {
    let found = fields.take(key);
    if found.is_none() {
        let hint =
            (key == "match").then(|| "a rule for everything says so: `match: {}`".to_owned());
        let message = format!("`{key}` is missing");
        report.push(Code::MissingKey, crate::Severity::Error, rule.place, message, hint);
    }
    found
}

pub(super) fn id(node: &Node, report: &mut Report<'_>) -> Option<(String, Place)> {
    let (text, place) = fields::text(node, "id", report)?;
    let fits = (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !fits {
        let message = "an id consists of 1 to 128 letters, digits and . _ -";
        report.error(Code::BadValue, place, message);
        return None;
    }
    Some((text, place))
}

fn decision(node: &Node, layer: Layer, report: &mut Report<'_>) -> Option<Effect> {
    let (text, place) = fields::text(node, "decision", report)?;
    let Some(effect) = Effect::parse(&text) else {
        let words: Vec<&str> = Effect::ALL.iter().map(|effect| effect.as_str()).collect();
        let synonym = match text.to_ascii_lowercase().as_str() {
            "permit" | "approve" | "dispatch" => Some("allow"),
            "block" | "reject" | "forbid" => Some("deny"),
            "hold" | "review" | "approval" => Some("require_approval"),
            "constrain" | "limit_to" => Some("allow_with_constraints"),
            "rate_limit" => Some("throttle"),
            _ => None,
        };
        let hint = match synonym.or_else(|| nearest(&text.to_ascii_lowercase(), &words)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("decisions are {}", words.join(", ")),
        };
        report.error_hint(Code::BadValue, place, format!("unknown decision `{text}`"), hint);
        return None;
    };
    if layer == Layer::Floor && matches!(effect, Effect::Allow | Effect::AllowWithConstraints) {
        let message = format!(
            "a floor rule restricts: deny, require_approval or throttle, not {}",
            effect.as_str()
        );
        report.error_hint(Code::Conflict, place, message, "what grants belongs under `rules:`");
        return None;
    }
    Some(effect)
}

fn advice(node: &Node, layer: Layer, report: &mut Report<'_>) -> Option<bool> {
    let advice = fields::boolean(node, "advice", report)?;
    if advice && layer == Layer::Floor {
        report.error(Code::Conflict, node.place, "a floor rule cannot be mere advice");
        return None;
    }
    Some(advice)
}

fn optional_or(
    node: Option<&Node>,
    effect: Effect,
    rule: &Node,
    report: &mut Report<'_>,
) -> Option<Option<Constraints>> {
    let Some(node) = node else {
        if effect == Effect::AllowWithConstraints {
            let message = "allow_with_constraints without `constraints`";
            report.error_hint(
                Code::MissingKey,
                rule.place,
                message,
                "name them, or write `decision: allow`",
            );
            return None;
        }
        return Some(None);
    };
    if matches!(effect, Effect::Deny | Effect::Throttle) {
        let message =
            format!("constraints with {} never take effect: nothing is granted", effect.as_str());
        report.error(Code::Conflict, node.place, message);
        return None;
    }
    constraints(node, report).map(Some)
}

fn constraints(node: &Node, report: &mut Report<'_>) -> Option<Constraints> {
    let Data::Map(members) = &node.value else {
        let message = format!("`constraints` takes a mapping, not {}", node.value.kind());
        report.error(Code::WrongType, node.place, message);
        return None;
    };
    let value = fields::json(node, report)?;
    let constraints = match Constraints::from_object(value.as_object()?) {
        Ok(constraints) => constraints,
        Err(error) => {
            let (text, key) = (error.to_string(), error.key());
            let member = members.iter().find(|member| member.key == key);
            if !Constraints::KEYS.contains(&key) && member.is_some() {
                let place = member.map_or(node.place, |member| member.place);
                let hint = nearest(key, &Constraints::KEYS).map_or_else(
                    || format!("constraints are {}", Constraints::KEYS.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                report.error_hint(
                    Code::UnknownKey,
                    place,
                    format!("unknown constraint `{key}`"),
                    hint,
                );
            } else {
                // Of `arguments` the key of the error is the pointer of one.
                let inner = members.iter().find(|member| member.key == "arguments");
                let inner = inner.and_then(|member| match &member.value.value {
                    Data::Map(members) => members.iter().find(|member| member.key == key),
                    _ => None,
                });
                let place = member.or(inner).map_or(node.place, |member| member.value.place);
                report.error(Code::BadValue, place, text);
            }
            return None;
        }
    };
    // `read_only: false` says nothing, which is as good as no constraints at all.
    if constraints.is_empty() {
        report.error_hint(
            Code::BadValue,
            node.place,
            "`constraints` constrains nothing",
            "leave it out",
        );
        return None;
    }
    let bytes = placet_types::json::Value::Object(constraints.to_object()).to_canonical().len();
    if bytes > CONSTRAINT_BYTES_MAX {
        let message =
            format!("constraints of {bytes} bytes, more than the {CONSTRAINT_BYTES_MAX} allowed");
        report.error(Code::Bound, node.place, message);
        return None;
    }
    Some(constraints)
}

fn approval(node: &Node, form: Form, report: &mut Report<'_>) -> Option<ApprovalSpec> {
    let mut fields = Fields::open(node, "`approval`", report)?;
    let mut spec = ApprovalSpec::default();
    let roles = optional(fields.take("roles"), |it| roles(it, report));
    let expires =
        optional(fields.take("expires"), |it| fields::duration(it, "expires", form, report));
    let use_within =
        optional(fields.take("use_within"), |it| fields::duration(it, "use_within", form, report));
    fields.refuse_rest("`approval`", &["expires", "roles", "use_within"], report);
    if let Some(roles) = roles? {
        spec.roles = roles;
    }
    spec.expires_ms = expires?.unwrap_or(spec.expires_ms);
    spec.use_within_ms = use_within?.unwrap_or(spec.use_within_ms);
    Some(spec)
}

pub(super) fn roles(node: &Node, report: &mut Report<'_>) -> Option<BTreeMap<String, u32>> {
    let Data::Map(members) = &node.value else {
        let message =
            format!("`roles` takes a mapping from role to count, not {}", node.value.kind());
        report.error_hint(
            Code::WrongType,
            node.place,
            message,
            "write `roles: { release_owner: 1 }`",
        );
        return None;
    };
    if !(1..=16).contains(&members.len()) {
        report.error(Code::BadValue, node.place, "`roles` names 1 to 16 roles");
        return None;
    }
    let mut out = BTreeMap::new();
    for member in members {
        if !is_name(&member.key) {
            report.error(Code::BadValue, member.place, format!("`{}` is no role", member.key));
            return None;
        }
        let count = fields::integer(&member.value, &member.key, 1..=16, report)?;
        out.insert(member.key.clone(), count);
    }
    Some(out)
}

/// A window only restricts, so it goes with what restricts.
fn refuse_limit(effect: Effect, place: Place, report: &mut Report<'_>) -> Option<()> {
    let why = match effect {
        Effect::Throttle | Effect::RequireApproval | Effect::Deny => return Some(()),
        Effect::Allow => {
            "`limit` applies once the window is full, and an allow rule that began to allow then would be no limit"
        }
        Effect::AllowWithConstraints => {
            "`limit` applies once the window is full; constraints that begin then would have been absent before"
        }
    };
    report.error_hint(
        Code::Conflict,
        place,
        why,
        "write a second rule with `decision: throttle`, require_approval or deny",
    );
    None
}

fn limit(node: &Node, form: Form, report: &mut Report<'_>) -> Option<(LimitSpec, Vec<LimitKey>)> {
    let mut fields = Fields::open(node, "`limit`", report)?;
    let count = fields.take("count");
    let per = fields.take("per");
    let key = optional(fields.take("key"), |it| limit_key(it, report));
    fields.refuse_rest("`limit`", &["count", "key", "per"], report);
    let (Some(count), Some(per)) = (count, per) else {
        report.error_hint(
            Code::MissingKey,
            node.place,
            "`limit` takes count and per",
            "write `limit: { count: 20, per: 1h, key: [actor] }`",
        );
        return None;
    };
    let count = fields::integer(count, "count", 1..=1_000_000, report);
    let per_ms = fields::duration(per, "per", form, report);
    Some((LimitSpec { count: count?, per_ms: per_ms? }, key?.unwrap_or_default()))
}

fn limit_key(node: &Node, report: &mut Report<'_>) -> Option<Vec<LimitKey>> {
    let items = fields::texts(node, "key", report)?;
    if items.len() > 8 {
        report.error(Code::Bound, node.place, "`key` takes at most 8 components");
        return None;
    }
    let mut out = Vec::new();
    for (text, place) in items {
        let Some(key) = LimitKey::parse(&text) else {
            let hint = nearest(&text, &LimitKey::NAMES).map_or_else(
                || format!("components are {} and labels.<name>", LimitKey::NAMES.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            report.error_hint(
                Code::BadValue,
                place,
                format!("unknown component `{text}` of a limit's key"),
                hint,
            );
            return None;
        };
        if out.contains(&key) {
            report.error(Code::BadValue, place, format!("`{text}` occurs twice"));
            return None;
        }
        out.push(key);
    }
    Some(out)
}
