//! `approvals:` which roles have to approve what. Each row becomes a rule of its layer, found as all rules
//! are: it restricts what others grant, and a condition that fails demands the approval.

use super::fields::{self, Fields, Form};
use super::matches::{self, Conditions};
use super::rule::{self, optional};
use crate::diagnostic::{Code, Place, Report};
use crate::model::Rule;
use crate::syntax::{Data, Node};
use placet_types::policy::{ApprovalSpec, Effect, Layer, Reason, RuleEffect, StepSpec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const KEYS: [&str; 9] =
    ["escalate", "expires", "id", "match", "owner", "reason", "remind", "roles", "use_within"];
/// Most steps of an escalation.
const STEPS_MAX: usize = 8;

/// Reads one row; `None` after an error. The place is that of its id.
pub(super) fn row(
    node: &Node,
    form: Form,
    conditions: &mut Conditions,
    report: &mut Report<'_>,
) -> Option<(Rule, Place)> {
    let mut fields = Fields::open(node, "an approval", report)?;
    let id = rule::required(&mut fields, node, "id", report).and_then(|it| rule::id(it, report));
    let matches = rule::required(&mut fields, node, "match", report)
        .and_then(|it| matches::matches(it, conditions, report));
    let roles =
        rule::required(&mut fields, node, "roles", report).and_then(|it| rule::roles(it, report));
    let default = ApprovalSpec::HOUR_MS;
    let mut duration = |key: &str, report: &mut Report<'_>| {
        let read = |it: &Node| Some((fields::duration(it, key, form, report)?, it.place));
        optional(fields.take(key), read)
    };
    let expires = duration("expires", report);
    let use_within = duration("use_within", report);
    let remind = duration("remind", report);
    let escalate = optional(fields.take("escalate"), |it| steps(it, form, report));
    let reason = optional(fields.take("reason"), |it| fields::prose(it, "reason", 1024, report));
    let owner = optional(fields.take("owner"), |it| fields::owner(it, report));
    fields.refuse_rest("an approval", &KEYS, report);
    let expires_ms = expires?.map_or(default, |(ms, _)| ms);
    let (remind, steps) = (remind?, escalate?.unwrap_or_default());
    let late = steps.iter().map(|(ms, _, place)| (*ms, *place)).chain(remind);
    for (ms, place) in late {
        if ms >= expires_ms {
            let message = "this comes when the approval has expired";
            let hint = "name a time shorter than `expires`, which is 1h by default";
            report.error_hint(Code::Conflict, place, message, hint);
            return None;
        }
    }
    let (id, place) = id?;
    let roles = roles?;
    let instead_of: BTreeSet<String> = roles.keys().cloned().collect();
    let step =
        |(after_ms, roles, _): Step| StepSpec { after_ms, instead_of: instead_of.clone(), roles };
    let spec = ApprovalSpec {
        steps: steps.into_iter().map(step).collect(),
        remind_ms: remind.map(|(ms, _)| ms),
        roles,
        expires_ms,
        use_within_ms: use_within?.map_or(default, |(ms, _)| ms),
    };
    let layer = Layer::Approvals;
    let effect = RuleEffect {
        cause: Reason::ApprovalRule,
        reason: reason?,
        approval: Some(spec),
        ..RuleEffect::new(format!("{}{id}", layer.prefix()), layer, Effect::RequireApproval)
    };
    let rule = Rule {
        effect: Arc::new(effect),
        matches: matches?,
        limit_key: Vec::new(),
        owner: owner?,
        after: None,
    };
    Some((rule, place))
}

type Step = (u64, BTreeMap<String, u32>, Place);

/// `[{after, roles}]`, each later than the one before.
fn steps(node: &Node, form: Form, report: &mut Report<'_>) -> Option<Vec<Step>> {
    let Data::List(items) = &node.value else {
        let message = format!("`escalate` takes a list, not {}", node.value.kind());
        let hint = "write `escalate: [{ after: 30m, roles: { admin: 1 } }]`";
        report.error_hint(Code::WrongType, node.place, message, hint);
        return None;
    };
    if items.len() > STEPS_MAX {
        report.error(
            Code::Bound,
            node.place,
            format!("`escalate` takes at most {STEPS_MAX} steps"),
        );
        return None;
    }
    let mut out: Vec<Step> = Vec::new();
    for item in items {
        let mut fields = Fields::open(item, "a step of `escalate`", report)?;
        let after = rule::required(&mut fields, item, "after", report)
            .and_then(|it| fields::duration(it, "after", form, report));
        let roles = rule::required(&mut fields, item, "roles", report)
            .and_then(|it| rule::roles(it, report));
        fields.refuse_rest("a step of `escalate`", &["after", "roles"], report);
        let after = after?;
        if out.last().is_some_and(|(before, _, _)| *before >= after) {
            let message = "a step of `escalate` comes later than the one before";
            report.error(Code::Conflict, item.place, message);
            return None;
        }
        out.push((after, roles?, item.place));
    }
    Some(out)
}
