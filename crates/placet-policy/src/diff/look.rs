//! Comparing requests: each is decided under both bundles, and what changes is put into groups. Owns which
//! requests are compared and in which order: those aimed at what differs come first.

use super::aim::{Aim, Goal};
use super::change::Side;
use super::draft::{Draft, body, place, print_of};
use super::elements::Elements;
use super::free::Tried;
use super::going::Going;
use super::space::Space;
use super::{Element, Extent, Group, Part, Transition, Witness};
use crate::bundle::{Bundle, Scratch};
use crate::generate::SplitMix;
use crate::model::Rule;
use placet_types::ids::TimeMs;
use placet_types::policy::{Combined, Force, Hit, Velocity, Verdict, combine};
use placet_types::{Caller, Request};
use std::collections::{BTreeMap, BTreeSet};

/// Most instants at which one request is looked at.
const INSTANTS_MAX: usize = 32;

pub(super) struct Looking<'a> {
    bundles: [&'a Bundle; 2],
    changed: BTreeSet<String>,
    elements: Elements,
    extent: &'a Extent,
    going: &'a Going<'a>,
    groups: BTreeMap<Transition, Group>,
    scratch: [Scratch; 2],
    /// What has been compared among what was generated.
    seen: BTreeSet<u64>,
}

impl<'a> Looking<'a> {
    pub(super) fn new(
        bundles: [&'a Bundle; 2],
        parts: &[Part],
        extent: &'a Extent,
        going: &'a Going<'a>,
    ) -> Self {
        let ruling = parts.iter().filter_map(|part| match part.section.as_str() {
            "rules" | "floor" => Some(part.name.clone()),
            "approvals" => Some(format!("approvals:{}", part.name)),
            _ => None,
        });
        Self {
            bundles,
            changed: ruling.collect(),
            elements: Elements::of(parts),
            extent,
            going,
            groups: BTreeMap::new(),
            scratch: [Scratch::default(), Scratch::default()],
            seen: BTreeSet::new(),
        }
    }

    /// The groups, and what was not seen to decide otherwise.
    pub(super) fn finish(self) -> (Vec<Group>, Vec<Element>) {
        (self.groups.into_values().collect(), self.elements.unseen())
    }

    pub(super) fn enumerate(&mut self, space: &Space, base: &Draft) -> u64 {
        let mut picks = vec![0_usize; space.axes.len()];
        let mut cells = 0_u64;
        loop {
            if self.going.is_over() {
                return cells;
            }
            if space.counts(&picks) {
                cells = cells.saturating_add(1);
                let (request, caller) = space.request(&picks, base);
                self.look(&request, &caller, false);
            }
            if !next(space, &mut picks) {
                return cells;
            }
        }
    }

    /// Compares so many requests, no more than the extent says: those aimed at what differs, the cases of
    /// `tests:` with one value replaced at a time, those that each rule matches, and pairs of choices.
    pub(super) fn sample(&mut self, space: &Space, base: &Draft) -> u64 {
        let limit = usize::try_from(self.extent.samples).unwrap_or(usize::MAX);
        let aim = Aim::new(space, self.bundles, self.going);
        let mut random = SplitMix(0x0070_1ace_d1ff);
        let cases: Vec<Draft> = self
            .bundles
            .iter()
            .flat_map(|bundle| bundle.cases())
            .map(|case| (case.request, case.caller))
            .collect();
        for case in &cases {
            self.attempt(case, limit / 10);
        }
        self.aimed(&aim, base, &cases, limit / 10 * 6);
        self.varied(space, &cases, limit / 10 * 7);
        self.around_rules(&aim, space, base, &mut random, limit / 10 * 9);
        self.paired(&aim, space, base, &mut random, limit);
        u64::try_from(self.seen.len()).unwrap_or(u64::MAX)
    }

    /// Requests aimed at each element that differs. Each has its share, and leaves what it does not need.
    fn aimed(&mut self, aim: &Aim<'_>, base: &Draft, cases: &[Draft], limit: usize) {
        let elements: Vec<Element> = self.elements.elements().cloned().collect();
        let mut starts = vec![base.clone()];
        let mut roled = base.clone();
        roled.1.roles.insert("anything-else".to_owned());
        starts.push(roled);
        for (at, element) in elements.iter().enumerate() {
            if self.going.is_over() {
                return;
            }
            let left = elements.len().saturating_sub(at).max(1);
            let share = limit.saturating_sub(self.seen.len()) / left;
            let until = self.seen.len().saturating_add(share).min(limit);
            let goals = aim.goals(element);
            // Bases first, so that every goal has some; then along one axis, then along two.
            let mut ready: Vec<(&Goal, Draft)> = Vec::new();
            for goal in &goals {
                for draft in starts.iter().flat_map(|start| aim.bases(goal, start)) {
                    if self.is_full(until) {
                        break;
                    }
                    self.attempt(&draft, until);
                    for side in [0, 1] {
                        let freed = self.freed(aim, side, &draft, goal, Tried::Nothing);
                        if self.attempt(&freed, until) {
                            ready.push((goal, freed));
                        }
                    }
                }
            }
            // What the cases ask has been thought of: the goal's values are tried on them as well.
            for goal in goals.iter().take(1) {
                let own = cases
                    .iter()
                    .filter(|case| element.section != "surfaces" || case.0.surface == element.name);
                ready.extend(own.take(16).map(|case| (goal, case.clone())));
            }
            let half = share / 4 * 3;
            let until_one = self.seen.len().saturating_add(half).min(until);
            self.along_one(aim, &ready, until_one);
            self.crossed(aim, &ready, until);
        }
    }

    /// Each base with each whole value of its goal, and with each choice on each of its axes.
    fn along_one(&mut self, aim: &Aim<'_>, ready: &[(&Goal, Draft)], until: usize) {
        let mut one_of_each: Vec<(&Goal, &Draft)> = Vec::new();
        // Round by round over the goals, so that none of them takes it all.
        let mut by_goal: Vec<Vec<(&Goal, &Draft)>> = Vec::new();
        for (goal, draft) in ready {
            match by_goal.iter_mut().find(|all| all.iter().any(|(it, _)| std::ptr::eq(*it, *goal)))
            {
                Some(all) => all.push((goal, draft)),
                None => by_goal.push(vec![(goal, draft)]),
            }
        }
        let most = by_goal.iter().map(Vec::len).max().unwrap_or(0);
        for round in 0..most {
            one_of_each.extend(by_goal.iter().filter_map(|all| all.get(round).copied()));
        }
        for (goal, draft) in one_of_each {
            if self.is_full(until) {
                return;
            }
            for (kind, value) in &goal.values {
                let next = aim.given(draft, kind, value);
                self.attempt(&next, until);
                for side in [0, 1] {
                    let freed = self.freed(aim, side, &next, goal, Tried::Value);
                    self.attempt(&freed, until);
                }
            }
            for (slot, choices) in aim.variations(goal) {
                for choice in choices {
                    if self.is_full(until) {
                        return;
                    }
                    let mut next = draft.clone();
                    place(&mut next, &slot, choice);
                    self.attempt(&next, until);
                    for side in [0, 1] {
                        let freed = self.freed(aim, side, &next, goal, Tried::Axis(&slot));
                        self.attempt(&freed, until);
                    }
                }
            }
        }
    }

    /// Each base with every combination of choices on the axes whose constants differ, as far as the
    /// bound allows: on two of them at a time.
    fn crossed(&mut self, aim: &Aim<'_>, ready: &[(&Goal, Draft)], until: usize) {
        for (goal, draft) in ready {
            let variations = aim.variations(goal);
            for (at, (slot, choices)) in variations.iter().enumerate() {
                for (other, others) in variations.iter().skip(at.saturating_add(1)) {
                    for choice in choices {
                        for second in others {
                            if self.is_full(until) {
                                return;
                            }
                            let mut next = draft.clone();
                            place(&mut next, slot, choice);
                            place(&mut next, other, second);
                            self.attempt(&next, until);
                        }
                    }
                }
            }
        }
    }

    /// The requests of all `tests:`, each with one value replaced by every other of its axis: what people
    /// thought of passes contracts and floors that made-up requests seldom pass.
    fn varied(&mut self, space: &Space, cases: &[Draft], until: usize) {
        for case in cases {
            for axis in &space.axes {
                for choice in &axis.choices {
                    if self.is_full(until) {
                        return;
                    }
                    let mut next = case.clone();
                    place(&mut next, &axis.slot, choice);
                    self.attempt(&next, until);
                }
            }
        }
    }

    /// For each rule requests that its keys match, with every other value varied one at a time.
    fn around_rules(
        &mut self,
        aim: &Aim<'_>,
        space: &Space,
        base: &Draft,
        random: &mut SplitMix,
        until: usize,
    ) {
        let rules: Vec<&Rule> =
            self.bundles.iter().flat_map(|bundle| &bundle.model().rules).collect();
        for round in 0..4 {
            for rule in &rules {
                if self.is_full(until) {
                    return;
                }
                if round == 0 {
                    for goal in aim.goals_of(rule) {
                        for draft in aim.bases(&goal, base) {
                            self.attempt(&draft, until);
                            let freed = self.freed(aim, 1, &draft, &goal, Tried::Nothing);
                            self.attempt(&freed, until);
                        }
                    }
                }
                let keys = space.matching(rule);
                let mut picks = any(space, random, round > 0);
                for (axis, choices) in &keys {
                    if let (Some(pick), Some(choice)) = (picks.get_mut(*axis), random.pick(choices))
                    {
                        *pick = *choice;
                    }
                }
                for (at, axis) in space.axes.iter().enumerate() {
                    for choice in 0..axis.choices.len() {
                        if self.is_full(until) {
                            return;
                        }
                        let mut picks = picks.clone();
                        if let Some(pick) = picks.get_mut(at) {
                            *pick = choice;
                        }
                        if space.counts(&picks) {
                            self.attempt(&space.request(&picks, base), until);
                        }
                    }
                }
            }
        }
    }

    /// Combinations that have pairs of choices which no earlier one had, each as it is and freed of what a
    /// contract or a manifest has against it; when all pairs were there, any.
    fn paired(
        &mut self,
        aim: &Aim<'_>,
        space: &Space,
        base: &Draft,
        random: &mut SplitMix,
        until: usize,
    ) {
        let mut pairs: BTreeSet<(usize, usize, usize, usize)> = BTreeSet::new();
        for _ in 0..until.saturating_mul(2) {
            if self.is_full(until) {
                return;
            }
            // Of a few combinations the one with the most new pairs.
            let fresh = |picks: &[usize]| -> Vec<(usize, usize, usize, usize)> {
                let mut out = Vec::new();
                for (at, pick) in picks.iter().enumerate() {
                    for (other, second) in picks.iter().enumerate().skip(at.saturating_add(1)) {
                        let pair = (at, *pick, other, *second);
                        if !pairs.contains(&pair) {
                            out.push(pair);
                        }
                    }
                }
                out
            };
            let small = space.axes.len() <= 48;
            let tries = if small { 3 } else { 1 };
            let all: Vec<Vec<usize>> = (0..tries).map(|_| any(space, random, true)).collect();
            let best = all.into_iter().max_by_key(|it| if small { fresh(it).len() } else { 0 });
            let Some(picks) = best else { return };
            if small {
                let new = fresh(&picks);
                pairs.extend(new);
            }
            let draft = space.request(&picks, base);
            self.attempt(&draft, until);
            let side = random.below(2);
            let freed = self.freed(aim, side, &draft, &Goal::default(), Tried::Nothing);
            self.attempt(&freed, until);
        }
    }

    fn freed(
        &mut self,
        aim: &Aim<'_>,
        side: usize,
        draft: &Draft,
        goal: &Goal,
        tried: Tried<'_>,
    ) -> Draft {
        match self.scratch.get_mut(side) {
            Some(scratch) => aim.freed(side, draft, goal, tried, scratch),
            None => draft.clone(),
        }
    }

    /// Whether no more is to be compared: there are so many, or it has to end.
    fn is_full(&self, until: usize) -> bool {
        self.seen.len() >= until || self.going.is_over()
    }

    /// Compares a request that was not compared before; false when there is no room, or it was.
    fn attempt(&mut self, draft: &Draft, until: usize) -> bool {
        if self.is_full(until) || !self.seen.insert(print_of(draft)) {
            return false;
        }
        self.look(&draft.0, &draft.1, false);
        true
    }

    /// Compares a request.
    pub(super) fn look(&mut self, request: &Request, caller: &Caller, given: bool) {
        let [before, after] = self.bundles;
        let [one, other] = &mut self.scratch;
        let a = before.evaluate(request, caller, one);
        let b = after.evaluate(request, caller, other);
        let mut changed = false;
        if a.hits != b.hits || a.surface_known != b.surface_known {
            for at in instants(&a, &b) {
                changed |= self.compare(request, caller, (&a, &b), at, given);
            }
        }
        let verdicts = [&a, &b];
        self.elements.count(self.bundles, &mut self.scratch, (request, caller), verdicts, changed);
    }

    fn compare(
        &mut self,
        request: &Request,
        caller: &Caller,
        (a, b): (&Verdict, &Verdict),
        at: Option<TimeMs>,
        given: bool,
    ) -> bool {
        let (before, after) = (Side::new(a, &said(a, at)), Side::new(b, &said(b, at)));
        let Some(transition) = before.change(&after) else { return false };
        let group = self.groups.entry(transition.clone()).or_insert_with(|| Group {
            transition,
            count: 0,
            rules: BTreeSet::new(),
            witnesses: Vec::new(),
        });
        group.count = group.count.saturating_add(1);
        let hits = a.hits.iter().chain(&b.hits).map(|hit| hit.rule.id.as_str());
        let responsible: BTreeSet<&str> = hits.filter(|id| self.changed.contains(*id)).collect();
        if responsible.is_empty() {
            group.rules.extend(before.rules.iter().chain(&after.rules).cloned());
        } else {
            group.rules.extend(responsible.into_iter().map(str::to_owned));
        }
        if group.witnesses.len() < self.extent.witnesses {
            let (request, facts) = (body(request), caller.facts());
            group.witnesses.push(Witness { request, facts, before, after, given, at });
        }
        true
    }
}

/// Every instant at which what two verdicts say turns, and the one before it; none where it never does.
fn instants(a: &Verdict, b: &Verdict) -> Vec<Option<TimeMs>> {
    let turns = a.hits.iter().chain(&b.hits).filter_map(|hit| match hit.force {
        Force::From(instant) | Force::Until(instant) => Some(instant),
        Force::Always | Force::Asked => None,
    });
    let mut out: Vec<Option<TimeMs>> =
        turns.flat_map(|it| [TimeMs(it.0.saturating_sub(1)), it]).map(Some).collect();
    out.sort_unstable();
    out.dedup();
    out.truncate(INSTANTS_MAX);
    if out.is_empty() { vec![None] } else { out }
}

/// Windows count as empty, and what waits for a time of the week or for something earlier does not
/// apply: what it is, is compared apart.
fn said(verdict: &Verdict, at: Option<TimeMs>) -> Combined {
    let applies =
        |hit: &Hit| hit.force != Force::Asked && at.is_none_or(|at| hit.force.by_time(at));
    if verdict.hits.iter().all(applies) {
        return combine(verdict, |_| Velocity::Open);
    }
    let hits = verdict.hits.iter().filter(|hit| applies(hit)).cloned().collect();
    combine(&Verdict { hits, ..verdict.clone() }, |_| Velocity::Open)
}

/// The next combination, the last axis first; false after the last one.
fn next(space: &Space, picks: &mut [usize]) -> bool {
    for (axis, pick) in space.axes.iter().zip(picks.iter_mut()).rev() {
        *pick = pick.saturating_add(1);
        if *pick < axis.choices.len() {
            return true;
        }
        *pick = 0;
    }
    false
}

/// Any combination, or the first choices: literals, and nothing that may be left out of a list.
fn any(space: &Space, random: &mut SplitMix, wild: bool) -> Vec<usize> {
    let mut picks: Vec<usize> = space
        .axes
        .iter()
        .map(|axis| if wild { random.below(axis.choices.len()) } else { 0 })
        .collect();
    for at in 0..picks.len() {
        if !space.held(at, &picks)
            && let Some(pick) = picks.get_mut(at)
        {
            *pick = 0;
        }
    }
    picks
}
