//! Whether a rule that matched counts: at which time, after what, within which window, or as advice alone.
//! Owns the words for it; what counted is what the engine decided, and is asked of its event.

use crate::explain::{RuleTrace, Trace};
use crate::model::{LimitKey, MatchKey, Rule};
use placet_types::event::DecisionEvent;
use placet_types::ids::TimeMs;
use placet_types::json::{Object, Value};
use placet_types::policy::{Effect, Force, RuleEffect, Schedule};

/// Whether a rule counts, and why not or on what it hangs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// `None` for a rule that did not match, and before time and history are known.
    pub applies: Option<bool>,
    /// For people: why it does not apply, or what it hangs on.
    pub why: Option<String>,
}

/// What a rule hangs on besides its keys and its condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hinge {
    /// Names of the parts of its window's key: of `limit.key`, or of `after.same`.
    pub key: Vec<String>,
    /// For `after:` what has to have come before: surface and action, as patterns.
    pub after: Option<(Option<String>, Option<String>)>,
}

impl Hinge {
    pub(crate) fn of(rule: &Rule) -> Option<Self> {
        let effect = &rule.effect;
        if effect.limit.is_none() && effect.after.is_none() {
            return None;
        }
        let pattern = |key| {
            let after = rule.after.as_ref()?;
            after.earlier.get(&key).and_then(|it| it.first()).cloned()
        };
        Some(Self {
            key: rule.limit_key.iter().map(LimitKey::text).collect(),
            after: effect.after.map(|_| (pattern(MatchKey::Surfaces), pattern(MatchKey::Actions))),
        })
    }
}

/// `90s`, `30m`, `1h`.
fn span(ms: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let whole = units.into_iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit));
    whole.map_or(format!("{ms}ms"), |(unit, name)| format!("{}{name}", ms / unit))
}

fn schedule_text(schedule: &Schedule) -> String {
    let days: Vec<&str> = schedule.days.iter().map(|day| day.as_str()).collect();
    let days = if days.len() == 7 { String::new() } else { format!("{} ", days.join(", ")) };
    let clock = |minutes: u32| format!("{:02}:{:02}", minutes / 60, minutes % 60);
    let offset = schedule.offset_minutes;
    let sign = if offset < 0 { '-' } else { '+' };
    let zone = match offset {
        0 => "UTC".to_owned(),
        _ => format!("{sign}{}", clock(offset.unsigned_abs())),
    };
    format!("{days}{}-{} {zone}", clock(schedule.from), clock(schedule.until))
}

/// `actor=agent:a, execution=none`.
fn key_text(rule: &RuleTrace) -> String {
    let names = rule.hinge.iter().flat_map(|it| &it.key);
    let values = rule.limit_key.iter().flatten();
    let each: Vec<String> = names
        .zip(values)
        .map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("none")))
        .collect();
    if each.is_empty() { "the whole workspace".to_owned() } else { each.join(", ") }
}

/// What has to have come before.
fn earlier_text(rule: &RuleTrace) -> String {
    let within = rule.rule.after.map_or(0, |after| after.within_ms);
    let (surface, action) = rule.hinge.as_ref().and_then(|it| it.after.clone()).unwrap_or_default();
    let what = match (surface, action) {
        (Some(surface), Some(action)) => format!("{action} on {surface}"),
        (Some(surface), None) => format!("an action on {surface}"),
        (None, Some(action)) => action,
        (None, None) => "any action".to_owned(),
    };
    format!("{what} within {} with the same {}", span(within), key_text(rule))
}

fn limit_text(rule: &RuleTrace) -> String {
    let (count, per) = rule.rule.limit.map_or((0, 0), |limit| (limit.count, limit.per_ms));
    format!("limit of {count} in {}, counted by {}", span(per), key_text(rule))
}

impl Trace {
    /// Tells of every rule that matched whether it applied to a decision made at `now`. A rule that the
    /// decision does not name did not.
    pub fn settle(&mut self, now: TimeMs, decision: &DecisionEvent) {
        let cut = decision.matched.len() >= DecisionEvent::MATCHED_MAX;
        for rule in self.rules.iter_mut().filter(|rule| rule.matched) {
            let spoken = decision.matched.iter().find(|it| it.rule == rule.rule.id);
            let full = spoken.and_then(|it| it.window).is_some_and(|window| window.full);
            rule.standing = standing(rule, now, spoken.is_some() || cut, full);
        }
    }

    /// What is known without a time: what can be told of a rule by itself.
    pub(crate) fn stand(&mut self) {
        for rule in self.rules.iter_mut().filter(|rule| rule.matched) {
            rule.standing = unsettled(rule);
        }
    }
}

fn no(why: impl Into<String>) -> Standing {
    Standing { applies: Some(false), why: Some(why.into()) }
}

/// Why a rule never applies, whatever the time and whatever came before.
fn never(rule: &RuleTrace) -> Option<Standing> {
    let effect = &rule.rule;
    if let Some(of) = effect.id.strip_prefix("after:") {
        return Some(no(format!("only remembers this action for rule {of}")));
    }
    if effect.advice {
        return Some(no("advice only: it is noted on the decision and changes nothing"));
    }
    let failed = rule.condition.as_ref().is_some_and(|it| it.value.is_err());
    (failed && effect.effect == Effect::Allow)
        .then(|| no("its condition could not be evaluated, so it allows nothing"))
}

fn unsettled(rule: &RuleTrace) -> Standing {
    if let Some(never) = never(rule) {
        return never;
    }
    let effect = &rule.rule;
    let mut hangs = Vec::new();
    if let Some(schedule) = &effect.schedule {
        hangs.push(format!("applies at {}", schedule_text(schedule)));
    }
    if effect.after.is_some() {
        hangs.push(format!("applies only after {}", earlier_text(rule)));
    }
    if effect.limit.is_some() {
        hangs.push(format!("applies once its window is full: {}", limit_text(rule)));
    }
    match rule.force {
        Force::From(at) => hangs.push(format!("applies from {}", at.rfc3339())),
        Force::Until(at) => hangs.push(format!("applies until {}", at.rfc3339())),
        Force::Always | Force::Asked => {}
    }
    let applies = (hangs.is_empty() && effect.outcomes.is_none()).then_some(true);
    Standing { applies, why: (!hangs.is_empty()).then(|| hangs.join("; ")) }
}

fn standing(rule: &RuleTrace, now: TimeMs, spoken: bool, full: bool) -> Standing {
    let effect: &RuleEffect = &rule.rule;
    if let Some(never) = never(rule) {
        return never;
    }
    if !rule.force.by_time(now) {
        return match rule.force {
            Force::From(at) => no(format!("applies from {} on", at.rfc3339())),
            _ => no("its time has passed"),
        };
    }
    if let Some(schedule) = effect.schedule.as_ref().filter(|it| !it.contains(now)) {
        let (times, now) = (schedule_text(schedule), now.rfc3339());
        return no(format!("outside its schedule: {times}, and it is {now}"));
    }
    if effect.after.is_some() {
        let what = earlier_text(rule);
        return if spoken {
            Standing { applies: Some(true), why: Some(format!("after {what}")) }
        } else {
            no(format!("applies only after {what}: nothing of the kind was found"))
        };
    }
    if effect.limit.is_some() {
        let what = limit_text(rule);
        return if full {
            Standing { applies: Some(true), why: Some(format!("its window is full: {what}")) }
        } else {
            no(format!("its window has room: {what}"))
        };
    }
    if !spoken {
        return no(match effect.outcomes {
            Some(_) => "the surface allows the outcome",
            None => "it does not count on this surface, which the constitution governs",
        });
    }
    let why =
        effect.schedule.as_ref().map(|it| format!("within its schedule: {}", schedule_text(it)));
    Standing { applies: Some(true), why }
}

/// What a rule hangs on, as JSON.
pub(crate) fn members(rule: &RuleTrace, object: Object) -> Object {
    let effect = &rule.rule;
    let key = || {
        let names = rule.hinge.iter().flat_map(|it| &it.key);
        let values = rule.limit_key.iter().flatten();
        names.zip(values).fold(Object::new(), |all, (name, value)| {
            all.with(name.as_str(), value.as_deref().map_or(Value::Null, Value::from))
        })
    };
    let limit = effect.limit.map(|limit| {
        Object::new().with("count", limit.count).with("per_ms", limit.per_ms).with("key", key())
    });
    let after = effect.after.map(|after| {
        let (surface, action) =
            rule.hinge.as_ref().and_then(|it| it.after.clone()).unwrap_or_default();
        Object::new()
            .with_opt("surface", surface)
            .with_opt("action", action)
            .with("within_ms", after.within_ms)
            .with("same", key())
    });
    object
        .with_opt("limit", limit)
        .with_opt("after", after)
        .with_opt("schedule", effect.schedule.as_ref().map(schedule_text))
        .with_opt("applies", rule.standing.applies)
        .with_opt("why", rule.standing.why.as_deref())
}
