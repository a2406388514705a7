//! Random exceptions opened, passed under, closed, reviewed and run out, beside a list of them that is looked through
//! from its beginning each time. What passes, under which of them, what each came to and who owes a review: both say
//! the same after every step.

use super::notation::Scene;
use super::property::Random;
use placet_engine::{Command, Plan};
use placet_types::event::{DecisionEvent, Event};
use placet_types::ids::{ExceptionId, TimeMs};
use placet_types::policy::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

const SETUP: &str = "person ann operator
person bob admin
person cat admin
person eve auditor
agent bot
agent other
rule a s1 allow
rule c s2 constrain max_retries=1
rule d s3 deny
rule f s3 deny floor
rule h s4 hold roles=owner:1
rule i s4 constrain max_retries=2
rule k s5 hold roles=operator:1
rule n s6 deny floor";
const PEOPLE: [&str; 4] = ["ann", "bob", "cat", "eve"];
const AGENTS: [&str; 2] = ["bot", "other"];
const SURFACES: [&str; 7] = ["s1", "s2", "s3", "s4", "s5", "s6", "unknown"];
const WAIVES: [&str; 10] = [
    "governance",
    "rules",
    "floor",
    "rules,floor",
    "rule:c",
    "rule:d",
    "rule:d,rule:f",
    "rule:h",
    "rule:h,rule:i",
    "approvals",
];

/// What a rule of [`SETUP`] does.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    Allow,
    Deny,
    Hold(&'static str),
    Retries(u64),
}

/// Surface, id, whether it stands in the floor, and what it does.
const RULES: [(&str, &str, bool, Does); 8] = [
    ("s1", "a", false, Does::Allow),
    ("s2", "c", false, Does::Retries(1)),
    ("s3", "d", false, Does::Deny),
    ("s3", "f", true, Does::Deny),
    ("s4", "h", false, Does::Hold("owner")),
    ("s4", "i", false, Does::Retries(2)),
    ("s5", "k", false, Does::Hold("operator")),
    ("s6", "n", true, Does::Deny),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Standing {
    Live,
    UsedUp,
    RunOut,
    Closed,
}

impl Standing {
    fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::UsedUp => "used_up",
            Self::RunOut => "run_out",
            Self::Closed => "closed",
        }
    }
}

#[derive(Debug)]
struct Known {
    id: ExceptionId,
    surface: String,
    actor: String,
    action: Option<String>,
    capability: Option<String>,
    waives: BTreeSet<String>,
    second: bool,
    evidence: bool,
    retries: Option<u64>,
    most: Option<u64>,
    owner: String,
    ends: TimeMs,
    review_ms: u64,
    uses: u64,
    /// Whether an action was held under it. Nobody decides here, and none runs out before the exception ends.
    held: bool,
    standing: Standing,
    ended: Option<TimeMs>,
    reviewed: bool,
}

impl Known {
    fn covers(&self, ask: &Ask<'_>, now: TimeMs) -> bool {
        self.standing == Standing::Live
            && now < self.ends
            && (self.surface == "*" || self.surface == ask.surface)
            && self.actor == ask.actor
            && self.action.as_deref().is_none_or(|it| it == ask.action)
            && self.capability.as_deref().is_none_or(|it| Some(it) == ask.capability)
            && (!self.evidence || ask.evidence)
    }

    fn waives(&self, id: &str, floor: bool) -> bool {
        let part = if floor { "floor" } else { "rules" };
        let all = ["governance", part].iter().any(|it| self.waives.contains(*it));
        all || self.waives.contains(&format!("rule:{id}"))
    }

    fn due(&self) -> TimeMs {
        self.ended.unwrap_or(self.ends).plus(self.review_ms)
    }
}

struct Ask<'a> {
    actor: &'a str,
    surface: &'a str,
    action: &'a str,
    capability: Option<&'a str>,
    evidence: bool,
}

/// What a request comes to: people who are asked, or nobody; constraints.
#[derive(Clone, Debug, PartialEq)]
struct Came {
    outcome: Outcome,
    roles: BTreeSet<&'static str>,
    retries: Option<u64>,
}

fn denied() -> Came {
    Came { outcome: Outcome::Deny, roles: BTreeSet::new(), retries: None }
}

fn rank(result: &Came) -> u8 {
    match result.outcome {
        Outcome::Permit => 0,
        Outcome::RequireApproval => 1,
        _ => 2,
    }
}

/// All rules that apply, without those that the exception waives and with what it adds.
fn combined(surface: &str, exception: Option<&Known>) -> Came {
    let governance = exception.is_some_and(|it| it.waives.contains("governance"));
    if surface == "unknown" && !governance {
        return Came { outcome: Outcome::Silence, ..denied() };
    }
    let (mut grants, mut denies) = (exception.is_some(), false);
    let mut result = Came { outcome: Outcome::Permit, roles: BTreeSet::new(), retries: None };
    let mut retries = |count: u64| {
        result.retries = Some(result.retries.map_or(count, |it| it.min(count)));
    };
    for (of, id, floor, does) in RULES {
        if of != surface {
            continue;
        }
        // A plain grant takes nothing away, so there is nothing to waive.
        if does != Does::Allow && exception.is_some_and(|it| it.waives(id, floor)) {
            continue;
        }
        match does {
            Does::Allow => grants = true,
            Does::Deny => denies = true,
            Does::Hold(role) => {
                grants = true;
                result.roles.insert(role);
            }
            Does::Retries(count) => {
                grants = true;
                retries(count);
            }
        }
    }
    if let Some(it) = exception {
        if let Some(count) = it.retries {
            retries(count);
        }
        if it.second {
            result.roles.insert("operator");
        }
    }
    if denies || !grants {
        return denied();
    }
    if !result.roles.is_empty() {
        result.outcome = Outcome::RequireApproval;
    }
    result
}

/// Whether one lets through more than the other.
fn is_looser(with: &Came, without: &Came) -> bool {
    if rank(with) != rank(without) {
        return rank(with) < rank(without);
    }
    let held = with.outcome == Outcome::RequireApproval;
    let fewer = held && !without.roles.is_subset(&with.roles);
    let freer = match (with.retries, without.retries) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(with), Some(without)) => with > without,
    };
    fewer || (rank(with) <= 1 && freer)
}

/// The list.
#[derive(Default)]
struct Naive {
    all: Vec<Known>,
    passages: u64,
    killed: BTreeSet<String>,
    asked: BTreeMap<String, &'static str>,
}

impl Naive {
    /// The exception under which a request passes, and what it comes to.
    fn decide(&self, ask: &Ask<'_>, now: TimeMs) -> (Option<ExceptionId>, Came) {
        let without = combined(ask.surface, None);
        if self.killed.contains(ask.surface) {
            return (None, denied());
        }
        let mut best: Option<(ExceptionId, Came)> = None;
        // Oldest first: a later one has to grant more.
        for it in self.all.iter().filter(|it| it.covers(ask, now)) {
            let with = combined(ask.surface, Some(it));
            let better = best.as_ref().is_none_or(|(_, best)| rank(&with) < rank(best));
            if rank(&with) <= 1 && is_looser(&with, &without) && better {
                best = Some((it.id, with));
            }
        }
        match best {
            Some((id, result)) => (Some(id), result),
            None => (None, without),
        }
    }

    fn passed(&mut self, id: ExceptionId, now: TimeMs, held: bool) {
        self.passages += 1;
        let it = self.all.iter_mut().find(|it| it.id == id).expect("one of the list");
        it.uses += 1;
        it.held |= held;
        if it.most.is_some_and(|most| it.uses >= most) {
            (it.standing, it.ended) = (Standing::UsedUp, Some(now));
        }
    }

    /// Whether somebody has left a review open.
    fn owes(&self, person: &str, now: TimeMs) -> bool {
        self.all.iter().any(|it| {
            it.owner == person && it.standing != Standing::Live && !it.reviewed && it.due() <= now
        })
    }

    fn run_out(&mut self, now: TimeMs) {
        for it in self.all.iter_mut().filter(|it| it.standing == Standing::Live && it.ends <= now) {
            (it.standing, it.ended) = (Standing::RunOut, Some(it.ends));
        }
    }
}

#[derive(Default)]
struct Run {
    rows: String,
    /// Passages permitted, held; opened, refused for a review, closed, reviewed, used up, run out.
    totals: [u64; 8],
}

struct Twins<'a> {
    scene: Scene,
    naive: Naive,
    random: Random,
    out: &'a mut Run,
}

impl Twins<'_> {
    fn say(&mut self, line: &str) -> String {
        let answer = self.scene.line(line);
        let _ = writeln!(self.out.rows, "{line} -> {answer}");
        answer
    }

    fn now(&mut self) -> TimeMs {
        self.scene.world().now
    }

    fn open(&mut self, n: usize) {
        let (opener, owner) = (self.random.one(&PEOPLE), self.random.one(&PEOPLE));
        let owner = if self.random.below(4) == 0 { owner } else { opener };
        let actor = self.random.one(&AGENTS);
        let surface = match self.random.below(5) {
            0 => "*",
            _ => self.random.one(&SURFACES),
        };
        let waives = self.random.one(&WAIVES);
        let mut controls = Vec::new();
        let most = (self.random.below(3) == 0).then(|| 1 + self.random.below(3) as u64);
        controls.extend(most.map(|most| format!("max_uses:{most}")));
        let second = self.random.below(4) == 0;
        controls.extend(second.then(|| "second_person".to_owned()));
        let evidence = self.random.below(6) == 0;
        controls.extend(evidence.then(|| "evidence:review".to_owned()));
        let retries = (self.random.below(4) == 0).then(|| self.random.below(4) as u64);
        controls.extend(retries.map(|it| format!("constraint:{{\"max_retries\":{it}}}")));
        let action = (self.random.below(4) == 0).then(|| self.random.one(&["create", "drop"]));
        let capability = (self.random.below(4) == 0).then(|| self.random.one(&["c1", "c2"]));
        let lasts: u64 = self.random.one(&["0", "500", "3000", "60000", "61000"]).parse().unwrap();
        let review_ms: u64 = self.random.one(&["1", "1000", "5000", "5001"]).parse().unwrap();

        let now = self.now();
        let (urgent, owes) = (opener != "eve", self.naive.owes(opener, now));
        let asked =
            self.say(&format!("decide {opener} override.exception e{n} action=break_glass"));
        assert_eq!(asked.starts_with("PERMIT"), urgent && !owes, "{asked}");
        if urgent && owes {
            self.out.totals[3] += 1;
        }
        let mut row = format!(
            "except {opener} e{n} x{n} {surface} {actor} waives={waives} owner={owner} \
             lasts={lasts} review={review_ms}"
        );
        for (key, value) in [("action", action), ("cap", capability)] {
            if let Some(value) = value {
                let _ = write!(row, " {key}={value}");
            }
        }
        if !controls.is_empty() {
            let _ = write!(row, " controls={}", controls.join("|"));
        }
        let mut command = self.scene.parse(&row);
        let id = ExceptionId::from_bytes((n as u128 + 1).to_be_bytes());
        if let Command::OpenException(open) = &mut command {
            open.exception = id;
        }
        let words: Vec<&str> = row.split_whitespace().collect();
        let answer = self.scene.execute(&words, &command);
        let _ = writeln!(self.out.rows, "{row} -> {answer}");
        let each = self.naive.all.iter().filter(|it| {
            it.standing == Standing::Live && it.surface == surface && it.actor == actor
        });
        let room = each.count() < placet_engine::EXCEPTIONS_EACH;
        let may = urgent && !owes && owner == opener && room;
        let fits = (1..=60_000).contains(&lasts) && review_ms <= 5000;
        let opens = answer == "exception.opened";
        assert_eq!(opens, may && fits, "{answer}");
        if opens {
            self.out.totals[2] += 1;
            self.naive.all.push(Known {
                id,
                surface: surface.to_owned(),
                actor: actor.to_owned(),
                action: action.map(str::to_owned),
                capability: capability.map(str::to_owned),
                waives: waives.split(',').map(str::to_owned).collect(),
                second,
                evidence,
                retries,
                most,
                owner: owner.to_owned(),
                ends: now.plus(lasts),
                review_ms,
                uses: 0,
                held: false,
                standing: Standing::Live,
                ended: None,
                reviewed: false,
            });
        }
    }

    fn decide(&mut self, n: usize) {
        let mut ask = Ask {
            actor: self.random.one(&AGENTS),
            surface: self.random.one(&SURFACES),
            action: self.random.one(&["create", "drop"]),
            capability: Some(self.random.one(&["c1", "c2", ""])).filter(|it| !it.is_empty()),
            evidence: self.random.below(3) == 0,
        };
        // Mostly what somebody was let do, or nearly that.
        if let Some(at) = self.pick().filter(|_| self.random.below(3) > 0) {
            let known = &self.naive.all[at];
            let same =
                |text: &str, all: &[&'static str]| all.iter().find(|it| **it == text).copied();
            ask.actor = same(&known.actor, &AGENTS).unwrap_or(ask.actor);
            ask.surface = same(&known.surface, &SURFACES).unwrap_or(ask.surface);
            let action = known.action.as_deref().unwrap_or_default();
            ask.action = same(action, &["create", "drop"]).unwrap_or(ask.action);
            let capability = known.capability.as_deref().unwrap_or_default();
            ask.capability = same(capability, &["c1", "c2"]).or(ask.capability);
            ask.evidence |= known.evidence;
        }
        let cap = ask.capability.map(|it| format!(" cap={it}")).unwrap_or_default();
        let Ask { actor, surface, action, .. } = &ask;
        let mut row = format!("decide {actor} {surface} d{n} action={action}{cap}");
        if ask.evidence {
            row.push_str(" ev=review");
        }
        let now = self.now();
        let (under, expected) = self.naive.decide(&ask, now);
        let command = self.scene.parse(&row);
        let plan = self.scene.world().run(&command).expect("a decision");
        let Plan::Append(events) = plan else { panic!("nothing was decided") };
        let Some(Event::Decision(event)) = events.first() else { panic!("no decision") };
        let _ = writeln!(self.out.rows, "{row} -> {:?} {:?}", event.outcome, event.exception);
        let given = given(event);
        assert_eq!(event.exception.as_ref().map(|it| it.exception), under, "{given:?}");
        assert_eq!(given, expected);
        if let (Some(permit), Some(id)) = (&event.permit, under) {
            let known = self.naive.all.iter().find(|it| it.id == id).expect("one of the list");
            assert!(permit.expires <= known.ends, "a permit outlives its exception");
        }
        if let Some(id) = under {
            self.naive.passed(id, now, expected.outcome == Outcome::RequireApproval);
            self.out.totals[usize::from(expected.outcome != Outcome::Permit)] += 1;
        }
    }

    /// One of the list, mostly a late one.
    fn pick(&mut self) -> Option<usize> {
        let count = self.naive.all.len();
        let late = count.min(6);
        match self.random.below(5) {
            _ if count == 0 => None,
            0 => Some(self.random.below(count)),
            _ => Some(count - 1 - self.random.below(late)),
        }
    }

    fn close(&mut self) {
        let Some(at) = self.pick() else { return };
        let by = self.random.one(&["ann", "bob", "cat", "eve", "bot"]);
        let (now, id) = (self.now(), self.naive.all[at].id);
        let who = self.scene.who(by);
        let plan = self.scene.world().run(&Command::CloseException { exception: id, by: who });
        let _ = writeln!(self.out.rows, "close {by} {id} -> {plan:?}");
        let it = &mut self.naive.all[at];
        let may = by != "bot" && (by != "eve" || it.owner == by);
        let stands = matches!(it.standing, Standing::Live | Standing::UsedUp) && now < it.ends;
        assert_eq!(matches!(plan, Ok(Plan::Append(_))), may && stands, "{plan:?}");
        if may && stands {
            it.standing = Standing::Closed;
            it.ended.get_or_insert(now);
            self.out.totals[4] += 1;
        }
    }

    fn review(&mut self) {
        let Some(at) = self.pick() else { return };
        let by = self.random.one(&["ann", "bob", "cat", "eve", "eve", "eve", "bot"]);
        let (now, id) = (self.now(), self.naive.all[at].id);
        let who = self.scene.who(by);
        let review = Command::ReviewException { exception: id, justified: true, by: who };
        let plan = self.scene.world().run(&review);
        let _ = writeln!(self.out.rows, "review {by} {id} -> {plan:?}");
        let it = &mut self.naive.all[at];
        // What is used up is not over while an action waits that was held under it.
        let waits = it.standing == Standing::UsedUp && it.held;
        let live = (it.standing == Standing::Live || waits) && now < it.ends;
        let may = by != "bot" && it.owner != by && !live && !it.reviewed;
        assert_eq!(matches!(plan, Ok(Plan::Append(_))), may, "{plan:?}");
        if may {
            it.reviewed = true;
            self.out.totals[5] += 1;
        }
    }

    /// Stops a surface, or lets it run again: two people, one after the other.
    fn stop(&mut self) {
        let surface = self.random.one(&["s3", "s4"]);
        if self.naive.killed.insert(surface.to_owned()) {
            self.say(&format!("trip ann surface:{surface}"));
            return;
        }
        let by = self.random.one(&["ann", "bob"]);
        let answer = self.say(&format!("lift {by} surface:{surface}"));
        match self.naive.asked.get(surface) {
            Some(first) if *first != by => {
                assert_eq!(answer, "kill.lifted");
                self.naive.asked.remove(surface);
                self.naive.killed.remove(surface);
            }
            _ => drop(self.naive.asked.insert(surface.to_owned(), by)),
        }
    }

    fn check(&mut self) {
        let now = self.now();
        let state = &self.scene.world.as_ref().expect("a world").state;
        let mut live = 0;
        for it in &self.naive.all {
            let known = state.exception(it.id).expect("it is remembered");
            assert_eq!(known.standing.as_str(), it.standing.word(), "{it:?}");
            assert_eq!((known.uses, known.reviewed.is_some()), (it.uses, it.reviewed), "{it:?}");
            assert_eq!(known.is_overdue(now), !it.reviewed && it.due() <= now, "{it:?}");
            live += usize::from(it.standing == Standing::Live);
        }
        let governance = self
            .naive
            .all
            .iter()
            .filter(|it| it.standing == Standing::Live && it.waives.contains("governance"));
        let counts = (live, governance.count(), self.naive.passages);
        assert_eq!(state.exception_counts(), counts);
        assert_eq!(state.exceptions().count(), self.naive.all.len());
    }
}

fn given(event: &DecisionEvent) -> Came {
    let role = |role: &String| match role.as_str() {
        "owner" => "owner",
        "operator" => "operator",
        other => panic!("nobody asked for {other}"),
    };
    let held = event.approval.iter();
    let denied = matches!(event.outcome, Outcome::Deny | Outcome::Silence);
    let retries = event.constraints.get("max_retries").and_then(|it| it.as_u64());
    Came {
        outcome: event.outcome,
        roles: held.flat_map(|it| it.roles.keys().map(role)).collect(),
        retries: retries.filter(|_| !denied),
    }
}

fn run(seed: u64, length: usize, out: &mut Run) {
    let mut scene = Scene::default();
    for line in SETUP.lines() {
        scene.line(line);
    }
    let random = Random(seed);
    let mut twins = Twins { scene, naive: Naive::default(), random, out };
    for n in 0..length {
        match twins.random.below(100) {
            0..20 => twins.open(n),
            20..68 => twins.decide(n),
            68..71 => twins.close(),
            71..84 => twins.review(),
            84..87 => twins.stop(),
            87..93 => {
                let now = twins.now();
                while twins.say("tick") != "nothing" {}
                twins.naive.run_out(now);
            }
            _ => {
                let by = twins.random.one(&["1", "499", "1000", "4000", "60000"]);
                twins.say(&format!("+{by}"));
            }
        }
        twins.check();
    }
    twins.scene.world().check_replay();
    let ended = |standing| twins.naive.all.iter().filter(|it| it.standing == standing).count();
    twins.out.totals[6] += ended(Standing::UsedUp) as u64;
    twins.out.totals[7] += ended(Standing::RunOut) as u64;
}

#[test]
fn random_exceptions_are_those_of_a_list() {
    let sequences: u64 = if cfg!(debug_assertions) { 30 } else { 600 };
    let mut totals = [0; 8];
    for seed in 0..sequences {
        let mut out = Run { rows: String::new(), totals };
        let result = catch_unwind(AssertUnwindSafe(|| run(seed, 150, &mut out)));
        if let Err(panic) = result {
            eprintln!("seed {seed}\n{}", out.rows);
            resume_unwind(panic);
        }
        totals = out.totals;
    }
    // None of them is rare, or the sequences say nothing.
    assert!(totals.iter().all(|total| *total > sequences / 10), "{totals:?}");
}
