//! What changed between two decisions on one request. Owns the kinds of change, in one vocabulary for
//! comparing bundles, for deciding a log again and for shadow bundles; refuses to know where the
//! decisions come from.

use placet_types::json::{Object, Value};
use placet_types::policy::{ApprovalSpec, Aspect, Combined, Hit, Outcome, StepSpec, Verdict};
use std::fmt;

/// From one decision to the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transition {
    /// The outcome before.
    pub from: Outcome,
    /// The outcome after.
    pub to: Outcome,
    /// What else differs, where the outcome does not.
    pub aspects: Vec<Aspect>,
}

impl fmt::Display for Transition {
    /// `PERMIT -> DENY`, or `PERMIT, other constraints, rules`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from != self.to {
            return write!(f, "{} -> {}", self.from.as_str(), self.to.as_str());
        }
        write!(f, "{}, other ", self.from.as_str())?;
        for (at, aspect) in self.aspects.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}", aspect.as_str())?;
        }
        Ok(())
    }
}

/// One decision as it is compared and shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// Its outcome.
    pub outcome: Outcome,
    /// Ids of the deciding rules, sorted.
    pub rules: Vec<String>,
    /// United constraints.
    pub constraints: Object,
    /// Who has to approve.
    pub approval: Option<ApprovalSpec>,
    /// For THROTTLE.
    pub retry_after_ms: Option<u64>,
    /// The windows, sequences and schedules it looks at, as declared.
    pub limits: Vec<Value>,
}

impl Side {
    /// From what a bundle says; windows are compared as declared, not as they stand.
    #[must_use]
    pub fn new(verdict: &Verdict, combined: &Combined) -> Self {
        Self {
            outcome: combined.outcome,
            rules: combined.deciding.iter().map(|rule| rule.id.clone()).collect(),
            constraints: combined.constraints.to_object(),
            approval: combined.approval.clone(),
            retry_after_ms: combined.retry_after_ms,
            limits: verdict.hits.iter().filter_map(limit).collect(),
        }
    }

    /// The change from this decision to `other`, if there is one.
    #[must_use]
    pub fn change(&self, other: &Self) -> Option<Transition> {
        let (from, to) = (self.outcome, other.outcome);
        if from != to {
            return Some(Transition { from, to, aspects: Vec::new() });
        }
        let all = [
            (Aspect::Constraints, self.constraints != other.constraints),
            (Aspect::Approval, self.approval != other.approval),
            (Aspect::RetryAfter, self.retry_after_ms != other.retry_after_ms),
            (Aspect::Limits, self.limits != other.limits),
            (Aspect::Rules, self.rules != other.rules),
        ];
        let aspects: Vec<Aspect> =
            all.into_iter().filter(|(_, differs)| *differs).map(|(aspect, _)| aspect).collect();
        (!aspects.is_empty()).then_some(Transition { from, to, aspects })
    }

    /// As JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let rules: Vec<Value> = self.rules.iter().map(|id| Value::from(id.as_str())).collect();
        let approval = self.approval.as_ref().map(|approval| {
            let roles = approval
                .roles
                .iter()
                .fold(Object::new(), |object, (role, count)| object.with(role.as_str(), *count));
            Object::new()
                .with("roles", roles)
                .with("expires_ms", approval.expires_ms)
                .with("use_within_ms", approval.use_within_ms)
                .with_opt("remind_ms", approval.remind_ms)
                .with_opt("escalate", steps(&approval.steps))
        });
        let constraints = (!self.constraints.is_empty()).then(|| self.constraints.clone());
        Value::Object(
            Object::new()
                .with("outcome", self.outcome.as_str())
                .with("rules", rules)
                .with_opt("constraints", constraints)
                .with_opt("approval", approval)
                .with_opt("retry_after_ms", self.retry_after_ms)
                .with_opt("limits", (!self.limits.is_empty()).then(|| self.limits.clone())),
        )
    }
}

/// The steps of an escalation, where there are any.
fn steps(steps: &[StepSpec]) -> Option<Vec<Value>> {
    let one = |step: &StepSpec| {
        let named: Vec<Value> =
            step.instead_of.iter().map(|role| Value::from(role.as_str())).collect();
        let roles = step
            .roles
            .iter()
            .fold(Object::new(), |object, (role, count)| object.with(role.as_str(), *count));
        Value::Object(
            Object::new()
                .with("after_ms", step.after_ms)
                .with("instead_of", named)
                .with("roles", roles),
        )
    };
    (!steps.is_empty()).then(|| steps.iter().map(one).collect())
}

/// What depends on time or on what happened before, as it is declared.
fn limit(hit: &Hit) -> Option<Value> {
    let rule = &hit.rule;
    if rule.advice || (rule.limit.is_none() && rule.after.is_none() && rule.schedule.is_none()) {
        return None;
    }
    let key: Vec<Value> = hit
        .limit_key
        .iter()
        .flatten()
        .map(|value| value.as_deref().map_or(Value::Null, Value::from))
        .collect();
    let schedule = rule.schedule.as_ref().map(|schedule| {
        let days: Vec<Value> = schedule.days.iter().map(|day| Value::from(day.as_str())).collect();
        Object::new()
            .with("days", days)
            .with("from", schedule.from)
            .with("until", schedule.until)
            .with("utc_offset", i64::from(schedule.offset_minutes))
    });
    Some(Value::Object(
        Object::new()
            .with("rule", rule.id.as_str())
            .with("decision", rule.effect.as_str())
            .with_opt("count", rule.limit.map(|limit| limit.count))
            .with_opt("per_ms", rule.limit.map(|limit| limit.per_ms))
            .with_opt("within_ms", rule.after.map(|after| after.within_ms))
            .with_opt("schedule", schedule)
            .with_opt("retry_after_ms", rule.retry_after_ms)
            .with("key", key),
    ))
}
