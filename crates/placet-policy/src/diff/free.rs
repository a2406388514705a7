//! Freeing a request of what stands between it and its goal: a missing field, a role, a rule that is stricter.
//! Owns what is amended; whether that helped is evaluated.

use super::aim::{Aim, Goal, piece, present, surface};
use super::draft::{self, Draft, place};
use super::gather::{members, texts};
use super::instances;
use super::solve::atoms;
use super::space::{Choice, Slot};
use crate::access::{Permission, Verb};
use crate::bundle::{Bundle, Scratch};
use crate::contract::Surface;
use crate::documents::roles;
use crate::model::{Match, MatchKey, Rule};
use crate::schema::Schema;
use placet_types::json::Value;
use placet_types::policy::{Effect, Force, Hit};

/// Most steps by which a request is freed of what stands in its way.
const STEPS_MAX: usize = 10;

/// What a request is tried with, and keeps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tried<'s> {
    /// Nothing yet: it has to meet everything.
    Nothing,
    /// Its choice on an axis.
    Axis(&'s Slot),
    /// A whole value.
    Value,
}

impl Aim<'_> {
    /// Frees a request of what stands between it and its goal under one of the bundles. What it is tried
    /// with, on `tried`, stays as it is, and so does what the goal's own demands have against it.
    pub(super) fn freed(
        &self,
        side: usize,
        draft: &Draft,
        goal: &Goal,
        tried: Tried<'_>,
        scratch: &mut Scratch,
    ) -> Draft {
        let mut draft = draft.clone();
        let Some(bundle) = self.bundles.get(side) else { return draft };
        let pinned = match tried {
            Tried::Axis(slot) => Some(slot),
            Tried::Nothing | Tried::Value => None,
        };
        for _ in 0..STEPS_MAX {
            if self.going.is_over() {
                break;
            }
            let verdict = bundle.evaluate(&draft.0, &draft.1, scratch);
            let own = matches!(tried, Tried::Nothing);
            let mut barring = verdict.hits.iter().filter(|hit| goal.is_barred(hit, own));
            let amended =
                barring.find_map(|hit| self.amended(side, hit, &draft, goal, pinned, scratch));
            match amended {
                Some(next) => draft = next,
                None => break,
            }
        }
        draft
    }

    fn amended(
        &self,
        side: usize,
        hit: &Hit,
        draft: &Draft,
        goal: &Goal,
        pinned: Option<&Slot>,
        scratch: &mut Scratch,
    ) -> Option<Draft> {
        let bundle = *self.bundles.get(side)?;
        let id = hit.rule.id.as_str();
        let mut next = draft.clone();
        let free = |slot: &Slot| pinned != Some(slot);
        let roles_free = !matches!(pinned, Some(Slot::Role(_)));
        let parts: Vec<&str> = id.splitn(4, ':').collect();
        match parts.as_slice() {
            ["surface", name, what] => {
                let surface = surface(bundle, name)?;
                contract(surface, what, &mut next);
            }
            ["access", "role-required"] if roles_free => {
                let document = bundle.model().documents.get("roles")?;
                let may = |role: &roles::Role| {
                    role.may.iter().filter_map(|it| Permission::parse(it).ok()).any(|it| {
                        it.verb == Verb::Propose && it.covers(&draft.0.surface, &draft.0.action)
                    })
                };
                let role = roles::in_force(document).into_iter().find(may)?;
                next.1.roles.insert(role.name);
            }
            ["access", "read-only", role] if roles_free => {
                next.1.roles.remove(*role);
            }
            ["access", "capability-unknown"] if free(&Slot::Capability) => {
                next.0.capability = None;
            }
            ["access", "capability", rest] => {
                let (name, list) = rest.rsplit_once('/')?;
                let document = bundle.model().documents.get("capabilities");
                let (_, manifest) = members(document).find(|(it, _)| *it == name)?;
                let first = texts(manifest.get(list)).next();
                let first = first.map(|it| if it == "*" { "anything-else" } else { it });
                match list {
                    "allowed_roles" if roles_free => next.1.roles.extend(first.map(str::to_owned)),
                    "branches" if free(&Slot::Branch) => next.0.branch = first.map(str::to_owned),
                    "models" if free(&Slot::Model) => next.0.model = None,
                    _ if goal.asks(MatchKey::Capabilities) || !free(&Slot::Capability) => {
                        return None;
                    }
                    _ => next.0.capability = None,
                }
            }
            ["models", _] if free(&Slot::Model) && !goal.asks(MatchKey::Models) => {
                next.0.model = None;
            }
            _ => {
                let rule = self.rules.get(side)?.get(id)?;
                return self.escaped(bundle, rule, draft, goal, pinned, scratch);
            }
        }
        (next != *draft).then_some(next)
    }

    /// A request that is as this one, and that a rule does not match.
    fn escaped(
        &self,
        bundle: &Bundle,
        rule: &Rule,
        draft: &Draft,
        goal: &Goal,
        pinned: Option<&Slot>,
        scratch: &mut Scratch,
    ) -> Option<Draft> {
        let id = rule.effect.id.as_str();
        let all: Vec<&Match> = goal.matches.iter().collect();
        let now = bundle.evaluate(&draft.0, &draft.1, scratch);
        let speaking: Vec<&String> =
            goal.keep.iter().filter(|id| now.hits.iter().any(|hit| hit.rule.id == **id)).collect();
        let mut out: Vec<Draft> = Vec::new();
        for key in [MatchKey::RiskTags, MatchKey::RiskTagsAll] {
            if let Some(tags) = rule.matches.lists.get(&key).filter(|_| !goal.asks(key)) {
                let mut next = draft.clone();
                next.0
                    .risk_tags
                    .retain(|tag| !tags.contains(tag) && !tags.iter().any(|it| it == "*"));
                out.push(next);
            }
        }
        if let Some(roles) = rule.matches.lists.get(&MatchKey::Roles)
            && !matches!(pinned, Some(Slot::Role(_)))
        {
            let mut next = draft.clone();
            next.1.roles.retain(|role| !roles.contains(role));
            out.push(next);
        }
        if let Some(when) = &rule.matches.when {
            let mut next = draft.clone();
            self.solver.solve(&mut next, when.ast(), false, &all, 0);
            out.push(next);
            for (atom, _) in atoms(when.ast()) {
                for want in [true, false] {
                    let mut next = draft.clone();
                    self.solver.solve(&mut next, atom, want, &all, 0);
                    out.push(next);
                }
            }
        }
        for slot in self.solver.slots(&[&Match { when: None, ..rule.matches.clone() }]) {
            if matches!(slot, Slot::RiskTag(_) | Slot::Role(_)) || pinned == Some(&slot) {
                continue;
            }
            let taken = self.solver.fitting(&slot, &[&rule.matches]);
            let asked = all.iter().any(|it| self.solver.slots(&[it]).contains(&slot));
            let choices = self.solver.fitting(&slot, &all);
            let absent = (!slot.required() && !asked).then_some(&Choice::Absent);
            let choices = choices.into_iter().filter(|it| !taken.contains(it));
            for choice in absent.into_iter().chain(choices.take(4)) {
                let mut next = draft.clone();
                place(&mut next, &slot, choice);
                out.push(next);
            }
        }
        out.into_iter().take_while(|_| !self.going.is_over()).find(|next| {
            let verdict = bundle.evaluate(&next.0, &next.1, scratch);
            let hits = |id: &str| verdict.hits.iter().any(|hit| hit.rule.id == id);
            next != draft && !hits(id) && speaking.iter().all(|id| hits(id))
        })
    }
}

impl Goal {
    /// Whether a hit drowns what the goal is about; with `own`, what the goal itself demands, too.
    fn is_barred(&self, hit: &Hit, own: bool) -> bool {
        let id = &hit.rule.id;
        let demand = |it: &String| it.ends_with([':', '/']) && id.starts_with(it.as_str());
        !self.keep.contains(id)
            && (own || !self.keep.iter().any(demand))
            && !hit.rule.advice
            && hit.rule.limit.is_none()
            && matches!(hit.force, Force::Always | Force::Until(_))
            && (hit.rule.effect == Effect::Deny
                || self.effect.is_none_or(|it| hit.rule.effect > it))
    }

    fn asks(&self, key: MatchKey) -> bool {
        self.matches.iter().any(|it| it.lists.contains_key(&key))
    }
}

/// Meets one demand of a surface.
fn contract(surface: &Surface, what: &str, draft: &mut Draft) {
    let fit = |schema: &Option<std::sync::Arc<Schema>>, value: Option<&Value>| {
        let schema = schema.as_deref()?;
        Some(instances::overlaid(schema, &instances::fitting(schema)?, value))
    };
    match what {
        "arguments" | "required.arguments" if surface.arguments.is_some() => {
            let value = fit(&surface.arguments, draft.0.arguments.as_ref());
            draft.0.arguments = value.or(draft.0.arguments.take());
        }
        "context" => {
            let wanted = draft.0.context.clone().map(Value::Object);
            if let Some(Value::Object(context)) = fit(&surface.context, wanted.as_ref()) {
                draft.0.context = Some(context);
            }
        }
        _ => {
            if let Some(field) = what.strip_prefix("required.") {
                draft::supply(draft, field);
            } else if let Some(kind) = what.strip_prefix("evidence.")
                && let Some(spec) = surface.evidence.get(kind)
            {
                let issuer =
                    spec.issuers.iter().next().map_or("service:anything-else", String::as_str);
                draft.0.evidence.retain(|it| it.get("type").and_then(Value::as_str) != Some(kind));
                present(&mut draft.0, piece(kind, issuer));
            }
        }
    }
}
