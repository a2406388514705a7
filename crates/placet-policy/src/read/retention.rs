//! `retention:` of a surface: how long payloads are kept at most and at least, and for which
//! reasons they may go earlier.

use super::fields::{self, Fields, Form};
use crate::diagnostic::{Code, Report};
use crate::model::Retention;
use crate::syntax::Node;
use placet_types::event::PayloadErased;
use std::collections::BTreeSet;

pub(super) fn retention(node: &Node, form: Form, report: &mut Report<'_>) -> Option<Retention> {
    let mut members = Fields::open(node, "retention", report)?;
    let payload = members
        .take("payload")
        .and_then(|it| Some((it.place, fields::age(it, "payload", form, report)?)));
    let min = members.take("min").and_then(|it| fields::age(it, "min", form, report));
    let mut lawful = BTreeSet::new();
    if let Some(node) = members.take("lawful") {
        for (code, place) in fields::texts(node, "lawful", report)? {
            if !PayloadErased::is_reason(&code) {
                let message = format!("`{code}` is no code of a reason");
                let hint = "1 to 64 lower-case letters, digits, '.', '_' and '-': gdpr.art17";
                report.error_hint(Code::BadValue, place, message, hint);
            } else if !lawful.insert(code) {
                report.error(Code::DuplicateId, place, "this reason is listed twice");
            }
        }
    }
    members.refuse_rest("retention", &["payload", "min", "lawful"], report);
    if let (Some((place, payload)), Some(min)) = (payload, min)
        && payload < min
    {
        let message = "`payload` is shorter than `min`, so nothing could ever be erased in time";
        report.error(Code::Conflict, place, message);
    }
    Some(Retention { payload_ms: payload.map(|(_, ms)| ms), min_ms: min, lawful })
}
