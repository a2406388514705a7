//! `after:` and `schedule:` of a rule: what has to have happened before, and when the rule applies.

use super::fields::{self, Fields, Form};
use super::rule::optional;
use crate::diagnostic::{Code, Report};
use crate::model::{After, LimitKey, MatchKey};
use crate::pattern::Dialect;
use crate::shape::{self, Shape};
use crate::syntax::{Data, Node};
use placet_types::json::Value;
use placet_types::policy::{Schedule, Weekday};
use std::collections::{BTreeMap, BTreeSet};

/// What ties two actions together.
const SAME: [&str; 3] = ["execution", "actor", "workspace"];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DOTTED: Shape = Shape::Pattern(Dialect::Dotted);

pub(super) fn after(node: &Node, form: Form, report: &mut Report<'_>) -> Option<After> {
    let mut fields = Fields::open(node, "`after`", report)?;
    let (surface, action) = (fields.take("surface"), fields.take("action"));
    let within = fields.take("within");
    let same = optional(fields.take("same"), |it| {
        let words = Shape::Set(&Shape::Word(&SAME));
        shape::read(&words, it, "same", form, report)
    });
    fields.refuse_rest("`after`", &["action", "same", "surface", "within"], report);
    let (Some(surface), Some(within)) = (surface, within) else {
        let hint = "write `after: { surface: data.export, within: 10m, same: [execution] }`";
        let message = "`after` takes surface and within";
        report.error_hint(Code::MissingKey, node.place, message, hint);
        return None;
    };
    let mut earlier = BTreeMap::new();
    let surface = shape::read(&DOTTED, surface, "surface", form, report);
    let action = optional(action, |it| shape::read(&DOTTED, it, "action", form, report));
    let within_ms = fields::duration(within, "within", form, report)?;
    earlier.insert(MatchKey::Surfaces, vec![surface?.as_str()?.to_owned()]);
    if let Some(action) = action? {
        earlier.insert(MatchKey::Actions, vec![action.as_str()?.to_owned()]);
    }
    let same = match same? {
        None => vec![LimitKey::Actor],
        Some(words) => {
            let words = words.as_array()?.iter().filter_map(Value::as_str);
            words.filter_map(LimitKey::parse).collect()
        }
    };
    if same.is_empty() {
        let hint = format!("one of {}, or leave it out for actor", SAME.join(", "));
        report.error_hint(Code::BadValue, node.place, "`same` names nothing", hint);
        return None;
    }
    Some(After { earlier, within_ms, same })
}

pub(super) fn schedule(node: &Node, form: Form, report: &mut Report<'_>) -> Option<Schedule> {
    let mut fields = Fields::open(node, "`schedule`", report)?;
    let days = optional(fields.take("days"), |it| {
        shape::read(&Shape::Set(&Shape::Word(&DAYS)), it, "days", form, report)
    });
    let mut time = |key: &str, default: u32, report: &mut Report<'_>| match fields.take(key) {
        None => Some(default),
        Some(node) => {
            let minutes = shape::read(&Shape::TimeOfDay, node, key, form, report)?;
            u32::try_from(minutes.as_i64()?).ok()
        }
    };
    let from = time("from", 0, report);
    let until = time("until", 1440, report);
    let offset = optional(fields.take("utc_offset"), |it| utc_offset(it, form, report));
    fields.refuse_rest("`schedule`", &["days", "from", "until", "utc_offset"], report);
    let days: BTreeSet<Weekday> = match days? {
        None => Weekday::ALL.into(),
        Some(words) => {
            let words = words.as_array()?.iter().filter_map(Value::as_str);
            words.filter_map(Weekday::parse).collect()
        }
    };
    let (from, until) = (from?, until?);
    let never = days.is_empty() || from == until || from == 1440 || until == 0;
    if never {
        let hint = "days: [mon, fri], from: \"09:00\", until: \"17:00\"; over midnight: from \"22:00\" until \"06:00\"";
        report.error_hint(Code::BadValue, node.place, "this schedule never applies", hint);
        return None;
    }
    Some(Schedule { days, from, until, offset_minutes: offset?.unwrap_or(0) })
}

/// `"+02:00"`; minutes in the normal form.
fn utc_offset(node: &Node, form: Form, report: &mut Report<'_>) -> Option<i32> {
    let minutes = match (&node.value, form) {
        (Data::Int(minutes), Form::Normal) => i32::try_from(*minutes).ok(),
        (Data::Text { text, .. }, Form::Document) => parse_offset(text),
        _ => None,
    };
    let fits = minutes.filter(|minutes| (-840..=840).contains(minutes));
    if fits.is_none() {
        let hint = "in quotes: \"+02:00\"; zones with summer time are not offered, since their rules change";
        let message = "`utc_offset` takes a distance from UTC of up to 14 hours";
        report.error_hint(Code::BadValue, node.place, message, hint);
    }
    fits
}

fn parse_offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let minutes = shape::minutes_of_day(rest)?;
    i32::try_from(minutes).ok()?.checked_mul(sign)
}
