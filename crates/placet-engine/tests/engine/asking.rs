//! Rows about approvals beyond voting, and how their events read.
//!
//! ```text
//! rule … escalate=MS/role:1,other:1|MS/… remind=MS        (after it was held; before it expires)
//! vote ann d1 [seen|seen=stale] [waiting=bot/NONCE]        (the requirement that was looked at)
//! vote, collect … lends=bot/role,role                      (roles of the proposer that the verdict rests on)
//! delegate ann bob g1 operator,owner MS [on=pay.*]         undelegate ann g1
//! ```

use super::notation::{Options, Scene, pairs, roles};
use super::world::{digest, tag};
use placet_engine::{
    Brought, Command, Decide, Delegate, EndExecution, Lends, Passing, StartExecution, Waiting,
};
use placet_types::Digest;
use placet_types::event::{
    ActorRef, ApprovalReopened, ApprovalVoted, EndState, Event, KillScope, Pseudonym, Tag,
};
use placet_types::ids::{DecisionId, DelegationId, ExecutionId, TimeMs};
use placet_types::policy::{ApprovalSpec, Hit, StepSpec, Verdict};
use placet_types::surface::SurfacePattern;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `operator:1,owner:2`
pub(crate) fn counts(roles: &BTreeMap<String, u32>) -> String {
    let all: Vec<_> = roles.iter().map(|(role, count)| format!("{role}:{count}")).collect();
    all.join(",")
}

/// The part of a demand that comes later.
pub(crate) fn later(spec: ApprovalSpec, options: &Options<'_>) -> ApprovalSpec {
    let instead_of: Vec<&str> = spec.roles.keys().map(String::as_str).collect();
    let step = |text: &str| {
        let (after, roles_of) = text.split_once('/').expect("MS/role:count");
        StepSpec {
            after_ms: after.parse().expect("milliseconds"),
            instead_of: roles(&instead_of),
            roles: pairs(roles_of),
        }
    };
    let steps = options.get("escalate").into_iter().flat_map(|text| text.split('|'));
    ApprovalSpec { steps: steps.map(step).collect(), remind_ms: options.num("remind"), ..spec }
}

impl Scene {
    /// The requirement that a voter says to have seen.
    pub(crate) fn seen(&mut self, id: DecisionId, options: &Options<'_>) -> Option<Digest> {
        match options.get("seen") {
            Some(other) => Some(digest(other)),
            None if options.has("seen") => {
                self.world().state.approval_of(id).map(|held| held.requirement)
            }
            None => None,
        }
    }

    /// Whose roles a verdict rests on.
    pub(crate) fn lends(&mut self, options: &Options<'_>) -> Option<Lends> {
        let (name, names) = options.get("lends")?.split_once('/').expect("name/roles");
        let names: Vec<&str> = names.split(',').collect();
        Some(Lends { actor: self.who(name).actor, roles: roles(&names) })
    }

    pub(crate) fn waiting(&mut self, options: &Options<'_>) -> Option<Waiting> {
        let (name, nonce) = options.get("waiting")?.split_once('/').expect("name/nonce");
        let who = self.who(name);
        let permit = self.world().id();
        Some(Waiting { who, nonce: digest(nonce), permit, permit_ms: 60_000 })
    }

    pub(crate) fn delegation(&mut self, words: &[&str], options: &Options<'_>) -> Command {
        let named = |name: &str| DelegationId::from_bytes(tag(name));
        let by = self.who(words[1]);
        if words[0] == "undelegate" {
            return Command::EndDelegation { delegation: named(words[2]), by };
        }
        let to = self.who(words[2]).actor;
        let names: Vec<&str> = words[4].split(',').filter(|role| *role != "none").collect();
        let until = self.world().now.plus(words[5].parse().expect("milliseconds"));
        let surfaces = options.get("on").into_iter().flat_map(|text| text.split(','));
        Command::Delegate(Box::new(Delegate {
            delegation: named(words[3]),
            by,
            to,
            roles: roles(&names),
            surfaces: surfaces.map(|text| SurfacePattern::parse(text).unwrap()).collect(),
            until,
        }))
    }

    pub(crate) fn asked(&mut self, event: &Event) -> Option<String> {
        Some(match event {
            Event::ApprovalVoted(vote) if !vote.approve => "rejected".into(),
            Event::ApprovalVoted(vote) => self.voted(vote),
            Event::ApprovalReopened(event) => reopened(event),
            Event::ApprovalEscalated(event) => format!("escalated {}", counts(&event.roles)),
            Event::ApprovalReminded(event) => format!("reminded {}", counts(&event.missing)),
            Event::DelegationGranted(_) => "delegated".into(),
            Event::DelegationEnded(event) => {
                if event.by.is_some() {
                    "ended".into()
                } else {
                    "run out".into()
                }
            }
            _ => return None,
        })
    }

    fn voted(&mut self, vote: &ApprovalVoted) -> String {
        let mut out = if vote.complete {
            format!("approved{}", if vote.unechoed { " unechoed" } else { "" })
        } else {
            let state = &self.world().state;
            let held = state.approval(vote.approval).unwrap();
            format!("missing {}", counts(&state.missing(held)))
        };
        if let Some(stands_in) = &vote.stands_in {
            out += &format!(" as {}", stands_in.role);
        }
        let of = |actor: &ActorRef| actor.as_str().trim_start_matches("human:").to_owned();
        for through in &vote.through {
            out += &format!(" for {}", of(&through.of));
        }
        out
    }
}

/// Evidence that the store has: `ev=TYPE`.
pub(crate) fn brought(options: &Options<'_>) -> Vec<Brought> {
    options.get("ev").map(|kind| (kind.into(), TimeMs(0), None)).into_iter().collect()
}

fn reopened(event: &ApprovalReopened) -> String {
    let mut out = format!("reopened {}", counts(&event.roles));
    for (key, value) in event.constraints.iter() {
        out += &format!(" {key}={value}");
    }
    out += if event.votes_dropped { " dropped" } else { "" };
    out + if event.complete { " complete" } else { "" }
}

impl Scene {
    pub(crate) fn decide(&mut self, words: &[&str], options: &Options<'_>) -> Decide {
        let (surface, name) = (words[2], words[3]);
        let verdict = self.verdict(surface);
        let who = self.who(words[1]);
        let windows = match options.has("notag") {
            true => vec![None; verdict.hits.len()],
            false => windows(&verdict, &who.actor),
        };
        let mut actors = |key| -> Vec<ActorRef> {
            let names = options.get(key).into_iter().flat_map(|names| names.split(','));
            names.map(|name| self.who(name).actor).collect()
        };
        let (behalf, audience) = (actors("behalf"), actors("for").pop());
        let under = self.under(options);
        let world = self.world();
        let deadline = options.get("deadline").map_or(2000, |ms| ms.parse::<i64>().unwrap());
        let scope = format!("{} {}", who.actor.as_str(), options.get("key").unwrap_or(name));
        Decide {
            ids: (world.id(), world.id(), world.id()),
            idempotency: tag(&scope),
            action_commitment: digest(&format!("action {name}")),
            request_commitment: digest("request"),
            facts_commitment: digest("facts"),
            who,
            on_behalf_of: behalf,
            audience,
            environment: options.get("env").unwrap_or("production").into(),
            surface: surface.into(),
            action: options.get("action").unwrap_or("do").into(),
            topic: None,
            target: options.get("target").map(|it| Pseudonym(digest(it).0)),
            subjects: options.get("about").into_iter().map(tag).collect(),
            trace: None,
            window_ms: options.num("window").unwrap_or(86_400_000),
            nonce: options.get("nonce").map(digest),
            deadline: TimeMs(world.now.0.saturating_add_signed(deadline)),
            permit_ms: options.num("permit").unwrap_or(60_000),
            approval_ms: options.num("within"),
            verdict,
            windows,
            shadow: None,
            passing: Passing {
                capability: options.get("cap").map(Into::into),
                execution: options.get("exe").map(|it| Pseudonym(digest(it).0)),
                evidence: brought(options),
                recorded: None,
            },
            retroactive: options.has("retroactive"),
            under,
        }
    }
}

impl Scene {
    /// What a request can be stopped by besides its surface and its actors. `@d1` is the execution that
    /// the decision `d1` permitted.
    fn under(&self, options: &Options<'_>) -> Vec<KillScope> {
        let kinds = ["alias", "branch", "capability", "execution", "job", "model"];
        let named = kinds.iter().filter_map(|kind| Some((*kind, options.get(kind)?)));
        let scope = |(kind, value): (&str, &str)| {
            let value = match value.strip_prefix('@') {
                Some(name) => self.execution(name).to_string(),
                None => value.to_owned(),
            };
            KillScope::of(kind, Some(&value)).expect("a scope")
        };
        named.map(scope).collect()
    }

    pub(crate) fn execution(&self, name: &str) -> ExecutionId {
        ExecutionId::from_bytes(*self.id(name).bytes())
    }

    /// `start bot d1 [parent=d0] [steps=N] [runtime=SECONDS]`, `end bot d1 succeeded|failed`
    pub(crate) fn running(&mut self, words: &[&str], options: &Options<'_>) -> Command {
        let by = self.who(words[1]);
        if words[0] == "end" {
            let state = EndState::parse(words[3]).expect("a state");
            let execution = self.execution(words[2]);
            return Command::EndExecution(EndExecution { execution, by, state });
        }
        let id = self.id(words[2]);
        let (index, prior) = self.world().decision(id);
        let parent = options.get("parent").map(|name| self.execution(name));
        let prior = Arc::new(prior);
        let max_steps = options.num("steps");
        let max_runtime_sec = options.num("runtime");
        let start =
            StartExecution { by, index, prior, parent, max_steps, max_runtime_sec, policy: None };
        Command::StartExecution(Box::new(start))
    }

    /// What is known of a decision beyond its entry.
    pub(crate) fn show(&mut self, name: &str) -> String {
        let id = self.id(name);
        let (index, event) = self.world().decision(id);
        let status = self.world().state.status(id, index, &event.scopes(), None);
        let mut out = Vec::new();
        out.extend(status.held.map(|held| held.state.as_str()));
        out.extend(status.open_permit.map(|_| "open"));
        out.extend(status.consumed_later.then_some("consumed-later"));
        out.extend(status.reported.then_some("reported"));
        out.extend(status.revoked.then_some("revoked"));
        out.join(" ")
    }

    /// How an execution stands: state, steps, those that wait.
    pub(crate) fn stands(&mut self, name: &str) -> String {
        let id = self.execution(name);
        self.world().state.execution(id).map_or("forgotten".into(), |it| {
            format!("{} steps {} waiting {}", it.state().as_str(), it.steps, it.waiting)
        })
    }
}

/// The windows of an actor's request.
pub(crate) fn windows(verdict: &Verdict, actor: &ActorRef) -> Vec<Option<Tag>> {
    let window = |hit: &Hit| {
        let windowed = hit.rule.limit.is_some() || hit.rule.after.is_some();
        windowed.then(|| tag(&format!("{} {}", hit.rule.window_name(), actor.as_str())))
    };
    verdict.hits.iter().map(window).collect()
}
