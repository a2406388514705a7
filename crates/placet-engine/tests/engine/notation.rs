//! Scenarios as text: a command a row, what came of it behind the arrow. `check` runs the rows and
//! compares the whole text, so a failing one shows what it should say.
//!
//! ```text
//! person ann operator              agent bot            service gate
//! rule ID SURFACE allow|constrain|hold|throttle|deny [floor] [advice] [error] [limit=2/1000]
//!                          [roles=operator:1,…] [expires=MS] [use=MS] [max_retries=N] [wait=MS] [after=MS]
//!                          [hours=FROM-UNTIL (minutes of each day, UTC)] [untied] [outcomes=PERMIT,…]
//!                          [from=MS] [until=MS]     (instants since the start) [outside] [stale]
//! decide bot pay d1 [key=k] [nonce=n] [for=gate] [behalf=ann,…] [deadline=±MS] [window=MS] [notag] [about=NAME]
//!                                [capability=…] [branch=…] [model=…] [alias=…] [execution=ID] [job=ID]
//! trip ann SCOPE [freeze|disable|revoke]           lift ann SCOPE          revoke d1 [SCOPE MODE]
//! ```

use super::asking::{brought, counts, later, windows};
use super::exceptions::under;
use super::world::{START, World, actor, digest, tag};
use placet_engine::{
    Acknowledge, Bounds, Collect, Command, Consume, CreateKey, Drill, Erase, Lift, PlaceHold, Plan,
    Rejection, Report, Target, Trip, Vote, Who,
};
use placet_types::Digest;
use placet_types::event::{
    ActorRef, BundleArmed, Event, HoldScope, KillScope, KillSource, OverrideMode, ReportedResult,
    SessionNarrowed, VoteChannel,
};
use placet_types::ids::{ApprovalId, DecisionId, ExecutionId, HoldId, KeyId};
use placet_types::json::Object;
use placet_types::policy::{
    AfterSpec, ApprovalSpec, ConditionError, Constraints, Effect, Force, Hit, Layer, LimitSpec,
    Outcome, Reason, RuleEffect, Schedule, Verdict, Weekday,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

#[track_caller]
pub(crate) fn check(text: &str) {
    let mut scene = Scene::default();
    let (mut expected, mut actual) = (String::new(), String::new());
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let (command, want) = line.split_once("->").unwrap_or((line, ""));
        let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
        let got = scene.line(&command);
        let _ = writeln!(expected, "{command:60} -> {}", want.trim());
        let _ = writeln!(actual, "{command:60} -> {got}");
    }
    assert!(expected == actual, "expected\n{expected}\nactual\n{actual}");
    if let Some(world) = &scene.world {
        world.check_replay();
    }
}

/// A rule of the bundle with the surface it matches.
#[derive(Clone)]
pub(crate) struct Rule {
    pub(crate) surface: String,
    pub(crate) effect: Arc<RuleEffect>,
    pub(crate) error: Option<ConditionError>,
    pub(crate) force: Force,
    pub(crate) key: Option<Vec<Option<String>>>,
}

#[derive(Default)]
pub(crate) struct Scene {
    pub(crate) world: Option<World>,
    bounds: Bounds,
    dev: bool,
    solo: bool,
    no_bundle: bool,
    people: BTreeMap<String, (ActorRef, Vec<String>)>,
    pub(crate) rules: BTreeMap<(Layer, String), Rule>,
    bundles: u32,
    pub(crate) names: BTreeMap<String, DecisionId>,
    pub(crate) sessions: BTreeMap<String, KeyId>,
    pub(crate) narrowed: Vec<SessionNarrowed>,
}

/// `key=value` words and plain ones.
pub(crate) struct Options<'t>(Vec<&'t str>);

impl<'t> Options<'t> {
    pub(crate) fn get(&self, key: &str) -> Option<&'t str> {
        self.0.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    pub(crate) fn num(&self, key: &str) -> Option<u64> {
        self.get(key).map(|text| text.parse().expect("a number"))
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.0.contains(&word)
    }
}

impl Scene {
    pub(crate) fn line(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let options = Options(words.get(1..).unwrap_or_default().to_vec());
        match words[0] {
            "world" => self.setup(&options),
            "person" | "agent" | "service" if self.world.is_none() => self.actor(&words),
            "rule" | "drop" => return self.rule(&words, &options),
            "mode" => {
                let world = self.world();
                (world.dev, world.solo) = (options.has("dev"), options.has("solo"));
            }
            word if word.starts_with('+') => {
                let ms = word[1..].parse().expect("milliseconds");
                let world = self.world();
                world.now = world.now.plus(ms);
            }
            "narrow" => self.narrow(&words),
            "may" => return self.may(words[1]),
            "show" => return self.show(words[1]),
            "again" => return self.again(words[1]),
            "owes" => return self.owes(words[1]),
            "run" => return self.stands(words[1]),
            "sizes" => return format!("{:?}", self.world().state.sizes()),
            "held" => return self.world().state.held_open().to_string(),
            "counters" => {
                let c = *self.world().state.counters();
                return format!(
                    "{:?} consumed {} reported {} expired {} revoked {} approvals {:?}",
                    c.decisions, c.consumed, c.reported, c.expired, c.revoked, c.approvals
                );
            }
            _ => {
                let command = self.parse(line);
                return self.execute(&words, &command);
            }
        }
        String::new()
    }

    /// The command that a row stands for.
    pub(crate) fn parse(&mut self, line: &str) -> Command {
        let words: Vec<&str> = line.split_whitespace().collect();
        let options = Options(words.get(1..).unwrap_or_default().to_vec());
        self.command(&words, &options)
    }

    pub(crate) fn execute(&mut self, words: &[&str], command: &Command) -> String {
        let result = self.world().run(command);
        if let (Command::Decide(decide), Ok(Plan::Append(_))) = (command, &result) {
            self.names.insert(words[3].to_owned(), decide.ids.0);
        }
        self.text(&result)
    }

    fn setup(&mut self, options: &Options<'_>) {
        (self.dev, self.solo) = (options.has("dev"), options.has("solo"));
        self.no_bundle = options.has("no-bundle");
        let bound = |key, default| options.num(key).map_or(default, |n| n as usize);
        let default = Bounds::default();
        self.bounds = Bounds {
            idempotency_max: bound("keys", default.idempotency_max),
            velocity_max: bound("windows", default.velocity_max),
            held_max: bound("queue", default.held_max),
            reserve: bound("reserve", 4),
            final_max: bound("finals", default.final_max),
            executions_max: bound("executions", default.executions_max),
            executions_queued_max: bound("waiting", default.executions_queued_max),
            executions_queued_each: bound("waiting_each", default.executions_queued_each),
            overrides_max: bound("overrides", default.overrides_max),
            legal_holds_max: bound("holds", default.legal_holds_max),
            exceptions_max: bound("exceptions", default.exceptions_max),
            delegations_max: bound("delegations", default.delegations_max),
            delegations_each: bound("given", default.delegations_each),
            sessions_max: bound("sessions", default.sessions_max),
            sessions_each: bound("each", default.sessions_each),
            drafts_max: bound("drafts", default.drafts_max),
            withdrawn_max: bound("withdrawn", default.withdrawn_max),
            ..default
        };
    }

    fn actor(&mut self, words: &[&str]) {
        let kind = if words[0] == "person" { "human" } else { words[0] };
        let roles = words.get(2).map_or("", |roles| roles).split(',').filter(|r| !r.is_empty());
        let roles = roles.map(str::to_owned).collect();
        self.people.insert(words[1].to_owned(), (actor(&format!("{kind}:{}", words[1])), roles));
    }

    /// The workspace; its genesis is written when it is needed first.
    pub(crate) fn world(&mut self) -> &mut World {
        if self.world.is_none() {
            let mut world = World::new(self.bounds, self.dev, self.solo);
            let mut principals = Vec::new();
            for (actor, roles) in self.people.values().filter(|_| !self.dev) {
                let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
                principals.push(world.principal(actor.as_str(), &roles));
            }
            world.genesis(principals, (!self.no_bundle).then(|| digest("bundle 0")));
            self.world = Some(world);
        }
        self.world.as_mut().unwrap()
    }

    fn rule(&mut self, words: &[&str], options: &Options<'_>) -> String {
        // As an entry is read back: the id tells the layers apart that never grant.
        let layer = Layer::of(words[1], !options.has("floor"));
        let key = (layer, words[1].to_owned());
        if words[0] == "drop" {
            self.rules.remove(&key);
        } else {
            let spec = ApprovalSpec::default();
            let effect = match words[3] {
                "allow" => Effect::Allow,
                "constrain" => Effect::AllowWithConstraints,
                "hold" => Effect::RequireApproval,
                "throttle" => Effect::Throttle,
                "deny" => Effect::Deny,
                other => panic!("no effect {other}"),
            };
            let of = |key: &str| Some((key.to_owned(), options.num(key)?));
            let keys =
                ["max_retries", "max_concurrent", "max_runtime_sec"].into_iter().filter_map(of);
            let object = keys.fold(Object::new(), |all, (key, n)| all.with(&key, n));
            let constraints =
                (!object.is_empty()).then(|| Constraints::from_object(&object).unwrap());
            let limit = options.get("limit").map(|text| {
                let (count, per) = text.split_once('/').unwrap();
                LimitSpec { count: count.parse().unwrap(), per_ms: per.parse().unwrap() }
            });
            let rule = RuleEffect {
                constraints,
                approval: (effect == Effect::RequireApproval).then(|| {
                    let spec = ApprovalSpec {
                        roles: options.get("roles").map_or(spec.roles, pairs),
                        expires_ms: options.num("expires").unwrap_or(spec.expires_ms),
                        use_within_ms: options.num("use").unwrap_or(spec.use_within_ms),
                        ..ApprovalSpec::default()
                    };
                    later(spec, options)
                }),
                limit,
                retry_after_ms: options.num("wait"),
                advice: options.has("advice"),
                after: options.num("after").map(|within_ms| AfterSpec { within_ms }),
                schedule: options.get("hours").map(|hours| {
                    let (from, until) = hours.split_once('-').unwrap();
                    Schedule {
                        days: Weekday::ALL.into(),
                        from: from.parse().unwrap(),
                        until: until.parse().unwrap(),
                        offset_minutes: 0,
                    }
                }),
                outcomes: options
                    .get("outcomes")
                    .map(|all| all.split(',').filter_map(Outcome::parse).collect()),
                cause: match [options.has("outside"), options.has("stale")] {
                    [true, _] => Reason::OutsideManifest,
                    [_, stale] => {
                        if stale {
                            Reason::EvidenceExpired
                        } else {
                            Reason::Rule
                        }
                    }
                },
                ..RuleEffect::new(words[1], layer, effect)
            };
            let error = options.has("error").then_some(ConditionError::Missing);
            let asked = rule.after.is_some() || rule.schedule.is_some();
            let instant = |key| options.num(key).map(|ms| START.plus(ms));
            let force = match (instant("from"), instant("until")) {
                (Some(from), _) => Force::From(from),
                (_, Some(until)) => Force::Until(until),
                _ if asked => Force::Asked,
                _ => Force::Always,
            };
            let tied = options.has("untied").then(|| vec![None]);
            let surface = words[2].to_owned();
            let rule = Rule { surface, effect: Arc::new(rule), error, force, key: tied };
            self.rules.insert(key, rule);
        }
        if self.world.is_none() {
            return String::new();
        }
        self.bundles += 1;
        let bundle = digest(&format!("bundle {}", self.bundles));
        let armed = self.world().run(&Command::ArmBundle(Box::new(BundleArmed::seed(bundle, 1))));
        self.text(&armed)
    }

    pub(crate) fn verdict(&mut self, surface: &str) -> Verdict {
        let hits = self.rules.values().filter(|rule| [surface, "*"].contains(&&*rule.surface));
        let hits = hits.map(|rule| Hit {
            rule: rule.effect.clone(),
            error: rule.error,
            limit_key: rule.key.clone().or_else(|| rule.effect.limit.map(|_| vec![])),
            force: rule.force,
        });
        Verdict {
            hits: hits.collect(),
            surface_known: !surface.starts_with("unknown"),
            policy: self.world().state.policy(),
            evidence: Vec::new(),
            unenforced: surface.starts_with("lax"),
        }
    }

    pub(crate) fn who(&mut self, name: &str) -> Who {
        if let Some(name) = name.strip_prefix('@') {
            return self.who_by(name);
        }
        let known = self.people.get(name).cloned();
        let (actor, roles) = known.unwrap_or_else(|| (actor(&format!("human:{name}")), vec![]));
        match self.world().key_of(&actor) {
            Some((key, roles)) => Who { actor, key: Some(key), roles },
            None => Who { actor, key: None, roles: roles.into_iter().collect() },
        }
    }

    pub(crate) fn id(&self, name: &str) -> DecisionId {
        self.names.get(name).copied().unwrap_or_else(|| DecisionId::from_bytes([0; 16]))
    }

    fn command(&mut self, words: &[&str], options: &Options<'_>) -> Command {
        let nonce = options.get("nonce").map(digest);
        let id = self.id(words.get(2).unwrap_or(&""));
        let prior = self.names.contains_key(*words.get(2).unwrap_or(&""));
        let prior = prior.then(|| self.world().decision(id));
        let surface = prior.as_ref().map_or_else(String::new, |(_, prior)| prior.surface.clone());
        let who = |scene: &mut Self| scene.who(words[1]);
        let scope = |scene: &Self, word: &str| match word.strip_prefix("execution:@") {
            Some(name) => {
                let id = scene.names.get(name).copied().expect("a decision");
                KillScope::Execution(ExecutionId::from_bytes(*id.bytes()).to_string())
            }
            None => KillScope::parse(word).expect("a scope"),
        };
        match words[0] {
            "decide" => Command::Decide(Box::new(self.decide(words, options))),
            "vote" => {
                let held =
                    prior.as_ref().map_or(Digest([0; 32]), |(_, prior)| prior.action_commitment);
                let verdict = self.verdict(&surface);
                Command::Vote(Box::new(Vote {
                    approval: if surface.is_empty() {
                        ApprovalId::from_bytes([0; 16])
                    } else {
                        self.world().approval_of(id)
                    },
                    who: {
                        // A channel brings a person, never a key.
                        let who = who(self);
                        let key = who.key.filter(|_| options.get("via").is_none());
                        Who { key, ..who }
                    },
                    approve: !options.has("no"),
                    echo: match options.get("digest") {
                        Some("none") => None,
                        Some(other) => Some(digest(other)),
                        None => Some(held),
                    },
                    via: options
                        .get("via")
                        .map(|name| VoteChannel::parse(name).expect("a channel")),
                    requirement: self.seen(id, options),
                    lends: self.lends(options),
                    evidence: brought(options),
                    windows: prior.map_or(Vec::new(), |(_, it)| windows(&verdict, &it.actor)),
                    verdict,
                    waiting: self.waiting(options),
                }))
            }
            "delegate" | "undelegate" => self.delegation(words, options),
            "collect" => {
                let verdict = self.verdict(&surface);
                let lends = self.lends(options);
                let who = who(self);
                Command::Collect(Box::new(Collect {
                    decision: id,
                    nonce,
                    permit: self.world().id(),
                    permit_ms: options.num("permit").unwrap_or(60_000),
                    windows: windows(&verdict, &who.actor),
                    who,
                    verdict,
                    lends,
                    evidence: brought(options),
                }))
            }
            "withdraw" => Command::Withdraw { decision: id, by: who(self) },
            "consume" => {
                let (index, prior) = prior.expect("a decision");
                let prior = Box::new(prior);
                Command::Consume(Consume {
                    decision: id,
                    index,
                    who: who(self),
                    nonce,
                    prior: prior.into(),
                })
            }
            "report" => {
                let (index, prior) = prior.expect("a decision");
                let result = ReportedResult::Succeeded;
                let prior = Box::new(prior);
                Command::Report(Box::new(Report {
                    index,
                    prior: prior.into(),
                    who: who(self),
                    result,
                }))
            }
            "revoke" => self.unsent(words),
            "trip" => {
                let (source, who) = match words[1] {
                    "file" => (KillSource::File, None),
                    "certificate" => (KillSource::Certificate, None),
                    "nobody" => (KillSource::Api, None),
                    _ => (KillSource::Api, Some(who(self))),
                };
                let mode = OverrideMode::ALL.into_iter().find(|mode| options.has(mode.as_str()));
                let mode = mode.unwrap_or(OverrideMode::Kill);
                let scope = scope(self, words[2]);
                Command::Trip(Trip { scope, mode, source, who, waiting: 0 })
            }
            "drill" => {
                let (scope, waiting) = (scope(self, words[2]), options.num("waiting").unwrap_or(0));
                Command::Drill(Drill { scope, who: who(self), waiting })
            }
            // About the newest trip or drill, or the one at an index.
            "ack" => Command::Acknowledge(Acknowledge {
                index: options.num("at").unwrap_or_else(|| {
                    self.world().state.trips().next_back().map_or(0, |trip| trip.index)
                }),
                who: who(self),
                stopped: options.num("stopped").unwrap_or(0),
                unreachable: options.num("unreachable").unwrap_or(0),
            }),
            "lift" => Command::Lift(Lift {
                scope: scope(self, words[2]),
                who: who(self),
                solo_delay_ms: 600_000,
            }),
            "newkey" => {
                let roles: Vec<&str> = words[3].split(',').collect();
                let by = who(self);
                let kind = if words[2].contains(':') { "" } else { "human:" };
                let name = format!("{kind}{}", words[2]);
                let mut principal = self.world().principal(&name, &roles);
                // The public key of a certificate is no secret: whoever has seen it can bring it.
                principal.hash = options.get("cert").map_or(principal.hash, digest);
                Command::CreateKey(CreateKey { principal, by, decision: None })
            }
            "revokekey" => {
                let key = self.who(words[2]).key;
                let key = key.unwrap_or(placet_types::ids::KeyId::from_bytes([0; 16]));
                Command::RevokeKey { key, by: who(self) }
            }
            "except" | "endexc" | "revexc" => self.exception(words, options),
            "erase" | "hold" | "release" => self.privacy(words, options),
            "start" | "end" => self.running(words, options),
            "arm" | "draft" | "retract" | "review" | "author" => self.policy(words, options),
            "login" | "handon" | "logout" => self.session(words),
            "tick" => Command::Tick,
            other => panic!("no command {other}"),
        }
    }

    /// `erase ann d1,d2`, `hold ann h1 workspace`, `release ann h1`; `policy` is retention.
    fn privacy(&mut self, words: &[&str], options: &Options<'_>) -> Command {
        let by = (words[1] != "policy").then(|| self.who(words[1]));
        let hold = |name: &str| HoldId::from_bytes(tag(name));
        match words[0] {
            "erase" => {
                let mut targets = Vec::new();
                for name in words[2].split(',') {
                    let id = self.id(name);
                    let (index, prior) = self.world().decision(id);
                    let keep_until = options.num("keep").map(|ms| self.world().now.plus(ms));
                    let lawful = options.has("lawful");
                    let (decision, subjects) = (prior.decision, prior.subjects);
                    targets.push(Target { index, decision, subjects, keep_until, lawful });
                }
                let reason = "gdpr.art17".into();
                Command::Erase(Box::new(Erase {
                    by,
                    decision: None,
                    reason,
                    policy: None,
                    targets,
                }))
            }
            "hold" => Command::PlaceHold(PlaceHold {
                hold: hold(words[2]),
                scope: match words[3].split_once(':') {
                    None => HoldScope::Workspace,
                    Some(("subject", name)) => HoldScope::Subject(tag(name)),
                    Some((_, name)) => HoldScope::Decision(self.id(name)),
                },
                reason: "case-1".into(),
                by: by.expect("a person"),
            }),
            _ => Command::ReleaseHold {
                hold: hold(words[2]),
                by: by.expect("a person"),
                decision: None,
            },
        }
    }

    fn name_at(&mut self, index: u64) -> String {
        let id =
            self.world().decisions.iter().find(|(at, _)| *at == index).map(|(_, d)| d.decision);
        self.name_of(id)
    }

    fn name_of(&self, id: Option<DecisionId>) -> String {
        let found = self.names.iter().find(|(_, known)| Some(**known) == id);
        found.map_or_else(|| "?".to_owned(), |(name, _)| name.clone())
    }

    fn text(&mut self, result: &Result<Plan, Rejection>) -> String {
        match result {
            Err(rejection) => format!("! {}", rejection.code()),
            Ok(Plan::Nothing) => "nothing".into(),
            Ok(Plan::Bound { index }) => format!("bound {}", self.name_at(*index)),
            Ok(Plan::Append(events)) => {
                let texts: Vec<String> = events.iter().map(|event| self.event(event)).collect();
                texts.join("; ")
            }
        }
    }

    fn event(&mut self, event: &Event) -> String {
        match event {
            Event::Decision(event) => {
                let mut out = event.outcome.as_str().to_owned();
                for reason in event.reasons.iter().filter(|reason| **reason != Reason::Rule) {
                    let _ = write!(out, " {}", reason.as_str());
                }
                if event.outcome == Outcome::Deny && !event.rules.is_empty() {
                    let _ = write!(out, " {}", event.rules.join(","));
                }
                for (key, value) in event.constraints.iter() {
                    let _ = write!(out, " {key}={value}");
                }
                if let Some(ms) = event.retry_after_ms {
                    let _ = write!(out, " retry={ms}");
                }
                if let Some(opened) = &event.approval {
                    let _ = write!(out, " {}", counts(&opened.roles));
                }
                match &event.permit {
                    Some(permit) if !permit.consumed => out.push_str(" open"),
                    _ => {}
                }
                if let Some(previous) = event.previous {
                    let _ = write!(out, " after {}", self.name_at(previous));
                }
                out + &under(event)
            }
            Event::ApprovalClosed(event) => event.state.as_str().into(),
            Event::PermitCollected(event) => {
                let how = if event.permit.consumed { "consumed" } else { "open" };
                let mut out = format!("collected {how}");
                for (key, value) in event.constraints.iter().flat_map(Object::iter) {
                    let _ = write!(out, " {key}={value}");
                }
                out
            }
            Event::PayloadErased(event) => {
                let names: Vec<_> = event.indices.iter().map(|at| self.name_at(*at)).collect();
                format!("erased {}{}", names.join(","), if event.early { " early" } else { "" })
            }
            Event::PermitExpired(event) => {
                format!("expired {}", self.name_of(Some(event.decision)))
            }
            Event::PermitRevoked(event) => {
                let reason = event.reason.as_deref().unwrap_or("");
                format!("revoked {} {reason}", self.name_of(Some(event.decision)))
            }
            Event::KillLiftRequested(event) => match event.not_before {
                Some(time) => format!("asked, not before +{}", time.since(self.world().now)),
                None => "asked".into(),
            },
            other => self.asked(other).unwrap_or_else(|| other.type_name().into()),
        }
    }
}

/// `role:count,…`
pub(crate) fn pairs(text: &str) -> BTreeMap<String, u32> {
    let pairs = text.split(',').map(|pair| pair.split_once(':').expect("role:count"));
    pairs.map(|(role, count)| (role.to_owned(), count.parse().unwrap())).collect()
}

/// Roles as a set.
pub(crate) fn roles(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}
