//! Releases and aliases: which papers lead from a change to what is released, and where names lead. Owns when
//! a lineage is complete; refuses to know requests, which say what a decision was about.

use crate::codec::{Code, Reader, Writer};
use crate::command::{Plan, Who};
use crate::overrides::Stop;
use crate::rejection::Rejection;
use crate::state::{Bounds, State};
use crate::step::append;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use placet_types::Digest;
use placet_types::event::{ActorRef, AliasChanged, Event, KillScope, ReleaseRegistered};
use placet_types::ids::{ApprovalId, DecisionId, EvidenceId, TimeMs};

/// A change as the log has it.
#[derive(Clone, Debug)]
pub struct LinkedChange {
    /// Index of its decision.
    pub index: u64,
    /// What its request is about.
    pub subject: Option<Digest>,
    /// It was permitted, or approved.
    pub permitted: bool,
    /// Who proposed it, and on whose behalf.
    pub proposers: Vec<ActorRef>,
    /// Surface of its decision.
    pub surface: String,
}

/// An approval as the log has it.
#[derive(Clone, Debug)]
pub struct LinkedApproval {
    /// What the approved request is about.
    pub subject: Option<Digest>,
    /// Index of the vote that completed it; none where it is not given, or was taken back.
    pub given: Option<u64>,
    /// Who approved.
    pub voters: Vec<ActorRef>,
    /// Surface of its decision.
    pub surface: String,
}

/// What is said to lead to a release, each with what the log has of it.
#[derive(Clone, Debug)]
pub struct Lineage {
    /// What is released.
    pub subject: Digest,
    /// The decision on the change.
    pub change: Option<(DecisionId, Option<LinkedChange>)>,
    /// Evidence about it.
    pub evaluations: Vec<EvidenceId>,
    /// Approvals of it.
    pub approvals: Vec<(ApprovalId, Option<LinkedApproval>)>,
}

/// Register a release under a decision.
#[derive(Clone, Debug)]
pub struct RegisterRelease {
    /// Its name.
    pub name: String,
    /// Who.
    pub by: Who,
    /// The decision that permitted it.
    pub decision: DecisionId,
    /// Its papers.
    pub lineage: Lineage,
    /// The decision rests on papers that were complete.
    pub complete: bool,
}

/// Change where a name leads under a decision.
#[derive(Clone, Debug)]
pub struct ChangeAlias {
    /// The name.
    pub alias: String,
    /// Where it is to lead.
    pub to: String,
    /// Who.
    pub by: Who,
    /// The decision that permitted it.
    pub decision: DecisionId,
    /// The decision rests on papers of the release that were complete.
    pub complete: bool,
}

/// A release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Index of its entry.
    pub index: u64,
    /// Since when.
    pub since: TimeMs,
    /// What the entry says.
    pub event: ReleaseRegistered,
}

/// A name that leads to a model, a branch or a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Index of its entry.
    pub index: u64,
    /// Since when.
    pub since: TimeMs,
    /// What the entry says.
    pub event: AliasChanged,
}

#[derive(Debug, Default)]
pub(crate) struct Releases {
    all: BTreeMap<String, Release>,
    /// Names by the index of their entry. Follows from `all`.
    order: BTreeMap<u64, String>,
    /// Names of releases that are forgotten otherwise.
    gone: BTreeSet<String>,
    aliases: BTreeMap<String, Alias>,
    /// How many aliases lead to a release. Follows from `aliases`.
    led: BTreeMap<String, u32>,
}

/// How many aliases may lead to one another in a row.
const CHAIN_MAX: usize = 8;
/// The prefix of a target that is a release.
const RELEASE: &str = "release:";

impl Lineage {
    /// What is missing or does not fit, sorted: each link is looked for in the log, has to be about the same
    /// subject, come after the one before it, and count at `now`.
    #[must_use]
    pub fn gaps(&self, state: &State, now: TimeMs) -> Vec<String> {
        let mut gaps = BTreeSet::new();
        let change = match &self.change {
            None => {
                gaps.insert("change_missing");
                None
            }
            Some((_, None)) => {
                gaps.insert("change_unknown");
                None
            }
            Some((_, Some(change))) => {
                if change.subject != Some(self.subject) {
                    gaps.insert("change_other_subject");
                }
                if !change.permitted {
                    gaps.insert("change_not_permitted");
                }
                Some(change)
            }
        };
        if self.evaluations.is_empty() {
            gaps.insert("evaluation_missing");
        }
        let mut last = change.map_or(0, |change| change.index);
        for id in &self.evaluations {
            let Some(piece) = state.evidence.get(id) else {
                gaps.insert("evaluation_unknown");
                continue;
            };
            if piece.subject != self.subject {
                gaps.insert("evaluation_other_subject");
            }
            if change.is_some_and(|change| piece.index <= change.index) {
                gaps.insert("evaluation_before_change");
            }
            // Nobody evaluates their own change by their bare word, but in development, where nobody else is.
            let own = |change: &LinkedChange| change.proposers.contains(&piece.issuer);
            if !state.dev && !piece.attested && change.is_some_and(own) {
                gaps.insert("evaluation_own");
            }
            last = last.max(piece.index);
            gaps.extend(lapsed(state, id, now));
        }
        if self.approvals.is_empty() {
            gaps.insert("approval_missing");
        }
        for (_, found) in &self.approvals {
            let Some(found) = found else {
                gaps.insert("approval_unknown");
                continue;
            };
            if found.subject != Some(self.subject) {
                gaps.insert("approval_other_subject");
            }
            match found.given {
                None => drop(gaps.insert("approval_not_given")),
                Some(index) if index <= last => drop(gaps.insert("approval_before_evaluation")),
                Some(_) => {}
            }
            let proposed = |who: &&ActorRef| change.is_some_and(|it| it.proposers.contains(who));
            if found.given.is_some() && found.voters.iter().all(|who| proposed(&who)) {
                gaps.insert("approval_own");
            }
        }
        gaps.into_iter().map(ToString::to_string).collect()
    }
}

/// Why a piece does not count any more.
fn lapsed(state: &State, id: &EvidenceId, now: TimeMs) -> Option<&'static str> {
    match state.evidence.get(id) {
        Some(_) if !state.evidence.stands(id) => Some("evaluation_revoked"),
        Some(piece) if now < piece.expires => None,
        // What is forgotten has expired before.
        _ => Some("evaluation_expired"),
    }
}

/// A name belongs to one subject for good. One permit registers one release.
pub(crate) fn register(
    state: &State,
    command: &RegisterRelease,
    now: TimeMs,
) -> Result<Plan, Rejection> {
    let RegisterRelease { name, by, decision, lineage, complete } = command;
    may_use(state, by, *decision)?;
    if state.releases.is_taken(name) {
        return Err(Rejection::Exists("release"));
    }
    if state.releases.room(&state.bounds).is_none() {
        return Err(Rejection::ReleasesFull);
    }
    let gaps = lineage.gaps(state, now);
    still_complete(*complete, &gaps)?;
    append(Event::ReleaseRegistered(ReleaseRegistered {
        approvals: lineage.approvals.iter().map(|(id, _)| *id).collect(),
        by: by.actor.clone(),
        change: lineage.change.as_ref().map(|(id, _)| *id),
        decision: *decision,
        evaluations: lineage.evaluations.clone(),
        gaps,
        name: name.clone(),
        subject: lineage.subject,
    }))
}

/// Between deciding and this the evidence of a release may have expired or been taken back.
fn still_complete(complete: bool, gaps: &[String]) -> Result<(), Rejection> {
    if complete && !gaps.is_empty() {
        return Err(Rejection::PapersLapsed(gaps.to_vec()));
    }
    Ok(())
}

pub(crate) fn change_alias(
    state: &State,
    command: &ChangeAlias,
    now: TimeMs,
) -> Result<Plan, Rejection> {
    let ChangeAlias { alias, to, by, decision, complete } = command;
    may_use(state, by, *decision)?;
    if let Some(name) = to.strip_prefix(RELEASE) {
        let release = state.releases.all.get(name).ok_or(Rejection::NotFound("release"))?;
        still_complete(*complete, &state.release_gaps(release, now))?;
    }
    let before = state.releases.aliases.get(alias).map(|it| it.event.to.clone());
    if before.is_none() && state.releases.aliases.len() >= state.bounds.aliases_max {
        return Err(Rejection::AliasesFull);
    }
    // Nothing is led to what is stopped, also not by whoever decided before.
    if let Some(stop) = KillScope::parse(to).and_then(|to| state.stop_led(&[to])) {
        return Err(stop.rejection());
    }
    if state.releases.is_long_with(alias, to) {
        return Err(Rejection::AliasChain);
    }
    append(Event::AliasChanged(AliasChanged {
        alias: alias.clone(),
        before,
        by: by.actor.clone(),
        decision: *decision,
        to: to.clone(),
    }))
}

fn may_use(state: &State, by: &Who, decision: DecisionId) -> Result<(), Rejection> {
    state.may_act(Some(&by.actor))?;
    if state.spent.contains(&decision) { Err(Rejection::PermitConsumed) } else { Ok(()) }
}

impl State {
    /// The release of this name.
    #[must_use]
    pub fn release(&self, name: &str) -> Option<&Release> {
        self.releases.all.get(name)
    }

    /// Releases, newest first, those before the entry `before`.
    pub fn releases(&self, before: Option<u64>) -> impl Iterator<Item = &Release> {
        let names = self.releases.order.range(..before.unwrap_or(u64::MAX)).rev();
        names.filter_map(|(_, name)| self.releases.all.get(name))
    }

    /// What is missing of the papers of a release at `now`: what was when it was registered, and evidence that
    /// has expired or was taken back since.
    #[must_use]
    pub fn release_gaps(&self, release: &Release, now: TimeMs) -> Vec<String> {
        // Of what was never known, nothing has lapsed.
        let unknown = release.event.gaps.iter().any(|gap| gap == "evaluation_unknown");
        let ids = release.event.evaluations.iter();
        let ids = ids.filter(|id| !unknown || self.evidence.get(id).is_some());
        let lapsed = ids.filter_map(|id| lapsed(self, id, now));
        let mut gaps: BTreeSet<String> = lapsed.map(ToString::to_string).collect();
        gaps.extend(release.event.gaps.iter().cloned());
        gaps.into_iter().collect()
    }

    /// Aliases by name.
    pub fn aliases(&self) -> impl Iterator<Item = &Alias> {
        self.releases.aliases.values()
    }

    /// The alias of this name.
    #[must_use]
    pub fn alias(&self, name: &str) -> Option<&Alias> {
        self.releases.aliases.get(name)
    }

    /// Where the names lead that an action uses, as far as they are aliases: aliases that lead to aliases
    /// included, and what is among `under` already apart. In the order of the texts.
    pub(crate) fn leads_to(&self, under: &[KillScope]) -> Vec<KillScope> {
        let mut led: Vec<KillScope> = Vec::new();
        let mut seen = 0;
        let to = |scope: &KillScope| {
            let alias = self.releases.aliases.get(scope.used()?)?;
            KillScope::parse(&alias.event.to)
        };
        // None is looked at twice, so a circle ends.
        while let Some(scope) = under.iter().chain(&led).nth(seen) {
            seen = seen.saturating_add(1);
            let new = |to: &KillScope| !under.contains(to) && !led.contains(to);
            let next = to(scope).filter(new);
            led.extend(next);
        }
        led.sort_unstable();
        led
    }

    /// What stops an action with these scopes, or what the names lead to at the moment that it uses. The fold
    /// looks at what stands in the entries alone.
    pub(crate) fn stop_led(&self, scopes: &[KillScope]) -> Option<Stop> {
        if self.override_count() == 0 {
            return self.stop(scopes);
        }
        let led = self.leads_to(scopes);
        let aliases = led.iter().filter_map(KillScope::used).cloned().map(KillScope::Alias);
        let all: Vec<KillScope> =
            scopes.iter().cloned().chain(aliases).chain(led.clone()).collect();
        self.stop(&all)
    }

    pub(crate) fn apply_released(
        &mut self,
        event: &ReleaseRegistered,
        index: u64,
    ) -> Result<(), &'static str> {
        // INVARIANT: one permit does one thing, and a name never gets another subject.
        if self.releases.is_taken(&event.name) || !self.spent.insert(event.decision) {
            return Err("its release is there, or its permit is used up");
        }
        let room = self.releases.room(&self.bounds);
        if let Some(oldest) = room.ok_or("there is no room for another release")? {
            self.releases.forget(oldest);
        }
        let release = Release { index, since: self.time, event: event.clone() };
        self.releases.insert(release);
        Ok(())
    }

    pub(crate) fn apply_alias(
        &mut self,
        event: &AliasChanged,
        index: u64,
    ) -> Result<(), &'static str> {
        let before = self.releases.aliases.get(&event.alias).map(|it| &it.event.to);
        if before != event.before.as_ref() || !self.spent.insert(event.decision) {
            return Err("its alias led elsewhere, or its permit is used up");
        }
        let alias = Alias { index, since: self.time, event: event.clone() };
        self.releases.lead(alias);
        Ok(())
    }
}

impl Releases {
    /// Whether a name belongs to a subject, or has belonged to one.
    fn is_taken(&self, name: &str) -> bool {
        self.all.contains_key(name) || self.gone.contains(name)
    }

    /// Whether there is room for one more, and the entry of the release that is forgotten for it: the oldest
    /// to which no alias leads.
    fn room(&self, bounds: &Bounds) -> Option<Option<u64>> {
        if self.all.len() < bounds.releases_max {
            return Some(None);
        }
        if self.gone.len() >= bounds.release_names_max {
            return None;
        }
        let oldest = self.order.iter().find(|(_, name)| !self.led.contains_key(*name));
        oldest.map(|(index, _)| Some(*index))
    }

    /// Forgets the papers of a release; its name stays taken.
    fn forget(&mut self, index: u64) {
        if let Some(name) = self.order.remove(&index) {
            self.all.remove(&name);
            self.gone.insert(name);
        }
    }

    /// Whether a way through this alias would be longer than so many, or a circle; other ways are not looked at.
    /// A name that leads to its like leads no further.
    fn is_long_with(&self, alias: &str, to: &str) -> bool {
        let led = |name: &str, to: &str| {
            let led = KillScope::parse(to)?.used()?.clone();
            (led != name).then_some(led)
        };
        let mut hops = 0_usize;
        let mut next = led(alias, to);
        while let Some(name) = next {
            hops = hops.saturating_add(1);
            if name == alias || hops > CHAIN_MAX {
                return true;
            }
            next = self.aliases.get(&name).and_then(|it| led(&name, &it.event.to));
        }
        let mut from: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, it) in self.aliases.iter().filter(|(name, _)| *name != alias) {
            if let Some(to) = led(name, &it.event.to) {
                from.entry(to).or_default().push(name);
            }
        }
        let mut level = Vec::from([alias]);
        while !level.is_empty() {
            level = level.iter().filter_map(|name| from.get(*name)).flatten().copied().collect();
            if !level.is_empty() {
                hops = hops.saturating_add(1);
            }
            if hops > CHAIN_MAX {
                return true;
            }
        }
        false
    }

    /// Lets an alias lead to where it says.
    fn lead(&mut self, alias: Alias) {
        if let Some(name) = alias.event.to.strip_prefix(RELEASE) {
            let count = self.led.entry(name.into()).or_default();
            *count = count.saturating_add(1);
        }
        let before = self.aliases.insert(alias.event.alias.clone(), alias);
        let name = before.as_ref().and_then(|it| it.event.to.strip_prefix(RELEASE));
        if let Some((name, count)) = name.and_then(|name| Some((name, self.led.get_mut(name)?))) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.led.remove(name);
            }
        }
    }

    fn insert(&mut self, release: Release) {
        self.order.insert(release.index, release.event.name.clone());
        self.all.insert(release.event.name.clone(), release);
    }
}

impl Code for Releases {
    fn put(&self, w: &mut Writer<'_>) {
        w.list(self.all.values(), Writer::put);
        w.list(self.gone.iter(), Writer::put);
        w.list(self.aliases.values(), Writer::put);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        let mut releases = Self::default();
        let all: Vec<Release> = r.rising(|it: &Release| &it.event.name, Reader::get)?;
        for release in all {
            releases.insert(release);
        }
        releases.gone = r.rising(|name: &String| name, Reader::get)?;
        let aliases: Vec<Alias> = r.rising(|it: &Alias| &it.event.alias, Reader::get)?;
        aliases.into_iter().for_each(|alias| releases.lead(alias));
        Some(releases)
    }
}

impl Code for Release {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { index, since, event } = self;
        let ReleaseRegistered { approvals, by, change, decision, evaluations, gaps, name, subject } =
            event;
        w.put(index);
        w.put(since);
        w.list(approvals.iter(), Writer::put);
        w.put(by);
        w.put(change);
        w.put(decision);
        w.list(evaluations.iter(), Writer::put);
        w.list(gaps.iter(), Writer::put);
        w.put(name);
        w.put(subject);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            index: r.get()?,
            since: r.get()?,
            event: ReleaseRegistered {
                approvals: r.list(Reader::get)?,
                by: r.get()?,
                change: r.get()?,
                decision: r.get()?,
                evaluations: r.list(Reader::get)?,
                gaps: r.list(Reader::get)?,
                name: r.get()?,
                subject: r.get()?,
            },
        })
    }
}

impl Code for Alias {
    fn put(&self, w: &mut Writer<'_>) {
        let Self { index, since, event } = self;
        let AliasChanged { alias, before, by, decision, to } = event;
        w.put(index);
        w.put(since);
        w.put(alias);
        w.put(before);
        w.put(by);
        w.put(decision);
        w.put(to);
    }
    fn get(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            index: r.get()?,
            since: r.get()?,
            event: AliasChanged {
                alias: r.get()?,
                before: r.get()?,
                by: r.get()?,
                decision: r.get()?,
                to: r.get()?,
            },
        })
    }
}
