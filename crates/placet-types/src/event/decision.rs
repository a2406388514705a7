//! The event `decision`: outcome, what it rests on, and the permit or approval it opens. Nothing
//! personal is in it but commitments and pseudonyms.

use super::approval::{EscalationStep, read_steps, write_counts, write_steps};
use super::exception::Passage;
use super::overrides::read_scopes;
use super::read::Reader;
use super::shadow::Would;
use super::{ActorRef, EntryError, KillScope, Pseudonym, Tag};
use crate::hash::{Digest, hex_encode};
use crate::ids::{ApprovalId, DecisionId, KeyId, PermitId, TimeMs, is_label};
use crate::json::{Object, Writer};
use crate::policy::{ConditionError, Effect, Layer, Outcome, Reason};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A decision. Fields as in the contract; absent members are omitted.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionEvent {
    /// Its id.
    pub decision: DecisionId,
    /// Commitment to the action digest.
    pub action_commitment: Digest,
    /// Commitment to the request digest.
    pub request_commitment: Digest,
    /// Commitment to the verified facts.
    pub facts_commitment: Digest,
    /// Who proposed.
    pub actor: ActorRef,
    /// With which key; absent in development mode.
    pub key: Option<KeyId>,
    /// Verified environment.
    pub environment: String,
    /// Surface.
    pub surface: String,
    /// Action on it.
    pub action: String,
    /// Topic, if any.
    pub topic: Option<String>,
    /// Pseudonym of the target, if any.
    pub target: Option<Pseudonym>,
    /// Whose personal data the payload holds: tags of the subjects, sorted, at most as many as a
    /// request may name. Never cut: a subject that is not found cannot be erased.
    pub subjects: Vec<Tag>,
    /// Trace id, if any.
    pub trace: Option<String>,
    /// Pseudonym of the idempotency key (scope: workspace and actor).
    pub idempotency: Tag,
    /// How long the key stays bound, milliseconds.
    pub window_ms: u64,
    /// Log index of the attempt before this one under the same key.
    pub previous: Option<u64>,
    /// On whose behalf, outermost first.
    pub on_behalf_of: Vec<ActorRef>,
    /// Bundle that was in force.
    pub policy: Option<Digest>,
    /// Version of the condition language.
    pub language: u32,
    /// Whether the bundle knows the surface.
    pub surface_known: bool,
    /// The outcome.
    pub outcome: Outcome,
    /// Why, most important first.
    pub reasons: Vec<Reason>,
    /// Ids of the deciding rules, sorted.
    pub rules: Vec<String>,
    /// All rules that matched, sorted by layer and id, at most [`DecisionEvent::MATCHED_MAX`].
    pub matched: Vec<Matched>,
    /// If there were more: how many in all, and the SHA-256 of their canonical list.
    pub matched_all: Option<(u64, Digest)>,
    /// United constraints.
    pub constraints: Object,
    /// The approval it waits for.
    pub approval: Option<ApprovalOpened>,
    /// For THROTTLE.
    pub retry_after_ms: Option<u64>,
    /// For PERMIT.
    pub permit: Option<PermitIssued>,
    /// The instant after which it would have been SILENCE.
    pub deadline: TimeMs,
    /// What the shadow bundle would have said, where that is something else.
    pub would: Option<Would>,
    /// The exception that it rests on.
    pub exception: Option<Passage>,
    /// For what was done already: what policy came to. Nothing is permitted by it.
    pub retroactive: Option<Outcome>,
    /// Where a mode lets gates proceed: what it would have been. Nothing is permitted by it, and nothing waits.
    pub would_outcome: Option<Outcome>,
    /// What an override can stop it by besides its surface and its actors: capability, branch, model,
    /// execution, job, and the alias that it changes. In the order of their texts.
    pub under: Vec<KillScope>,
    /// Where the names in `under` led when it was decided, as far as they are aliases: what stops that stops it
    /// as well. In the order of their texts.
    pub leads_to: Vec<KillScope>,
}

/// A rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// Its id.
    pub rule: String,
    /// Where it stands.
    pub layer: Layer,
    /// What it says.
    pub effect: Effect,
    /// Why its condition failed, if it did.
    pub error: Option<ConditionError>,
    /// Its sliding window, if it has one.
    pub window: Option<WindowUse>,
    /// Only a note.
    pub advice: bool,
}

/// A sliding window that a decision looked at and, if it permits or holds, counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowUse {
    /// Pseudonym of rule and key values.
    pub tag: Tag,
    /// Permits and holds that fit; 0 where the window was only looked at.
    pub count: u32,
    /// Length in milliseconds.
    pub per_ms: u64,
    /// Whether it was full.
    pub full: bool,
}

/// The approval a held decision waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalOpened {
    /// Its id.
    pub id: ApprovalId,
    /// Who will execute it.
    pub audience: ActorRef,
    /// People per role.
    pub roles: BTreeMap<String, u32>,
    /// Undecided, it expires then.
    pub expires: TimeMs,
    /// Approved, it must be collected within.
    pub use_within_ms: u64,
    /// SHA-256 over roles, counts, constraints and deciding rules (`placet/requirement/1`).
    pub requirement: Digest,
    /// Steps of the escalation, in the order of their instants.
    pub escalate: Vec<EscalationStep>,
    /// Undecided, the approvers are reminded then.
    pub remind: Option<TimeMs>,
}

/// A permit, authoritative through the entry that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitIssued {
    /// Its id.
    pub id: PermitId,
    /// Who may consume it.
    pub audience: ActorRef,
    /// Until when.
    pub expires: TimeMs,
    /// SHA-256 of the nonce of the attempt that may fetch it again.
    pub nonce: Option<Digest>,
    /// Whether this entry consumes it.
    pub consumed: bool,
}

impl DecisionEvent {
    /// Longest list of matched rules in an entry.
    pub const MATCHED_MAX: usize = 32;
    /// Longest list of deciding rules in an entry; the rest is in `matched`.
    pub const RULES_MAX: usize = 16;

    /// Whether the idempotency key is bound to this decision. THROTTLE, passing SILENCE and DENY
    /// by an override or before its execution runs leave it open for the next attempt, and so does what a mode
    /// lets pass: a repeated question is answered by the mode of today.
    #[must_use]
    pub fn binds(&self) -> bool {
        let passing = |reason: &Reason| {
            let waits = Reason::ExecutionQueued;
            let now = matches!(reason, Reason::NoBundle | Reason::DeadlineExceeded);
            now || [waits, Reason::Unenforced].contains(reason) || reason.is_override()
        };
        self.outcome != Outcome::Throttle && !self.reasons.iter().any(passing)
    }

    /// What an override can stop it by, the two widest scopes apart. Names that are used stand as
    /// aliases as well: whoever kills a route means what is asked of it.
    #[must_use]
    pub fn scopes(&self) -> Vec<KillScope> {
        let under = [&*self.under, &*self.leads_to].concat();
        KillScope::all(&self.surface, &self.actor, &self.on_behalf_of, &under)
    }

    /// Whether an override of this scope covers it, the two widest included.
    #[must_use]
    pub fn is_under(&self, scope: &KillScope) -> bool {
        let mut under = self.under.iter().chain(&self.leads_to);
        let mut uses = |name: &String| under.any(|it| it.used() == Some(name));
        match scope {
            KillScope::Everything | KillScope::Workspace => true,
            KillScope::Surface(surface) => *surface == self.surface,
            KillScope::Actor(actor) => *actor == self.actor || self.on_behalf_of.contains(actor),
            KillScope::Alias(name) => uses(name) || self.under.contains(scope),
            _ => under.any(|it| it == scope),
        }
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("action", &self.action);
        w.digest("action_commitment", &self.action_commitment);
        w.str("actor", self.actor.as_str());
        if let Some(approval) = &self.approval {
            w.nested("approval", |w| approval.write(w));
        }
        if !self.constraints.is_empty() {
            w.object_value("constraints", &self.constraints);
        }
        w.uint("deadline_ms", self.deadline.0);
        w.str("decision", &self.decision.to_string());
        w.str("environment", &self.environment);
        if let Some(passage) = &self.exception {
            w.nested("exception", |w| passage.write(w));
        }
        w.digest("facts_commitment", &self.facts_commitment);
        w.hex_member("idempotency", &self.idempotency);
        w.str_opt("key", self.key.map(|key| key.to_string()).as_deref());
        w.uint("language", u64::from(self.language));
        if !self.leads_to.is_empty() {
            w.strings("leads_to", self.leads_to.iter().map(ToString::to_string));
        }
        w.objects("matched", &self.matched, |w, matched| matched.write(w));
        if let Some((count, digest)) = &self.matched_all {
            w.nested("matched_all", |w| {
                w.uint("count", *count);
                w.digest("digest", digest);
            });
        }
        if !self.on_behalf_of.is_empty() {
            w.strings("on_behalf_of", self.on_behalf_of.iter().map(ActorRef::as_str));
        }
        w.str("outcome", self.outcome.as_str());
        if let Some(permit) = &self.permit {
            w.nested("permit", |w| permit.write(w));
        }
        w.digest_opt("policy", self.policy.as_ref());
        w.uint_opt("previous", self.previous);
        w.strings("reasons", self.reasons.iter().map(|reason| reason.as_str()));
        w.digest("request_commitment", &self.request_commitment);
        w.str_opt("retroactive", self.retroactive.map(Outcome::as_str));
        w.uint_opt("retry_after_ms", self.retry_after_ms);
        w.strings("rules", &self.rules);
        if !self.subjects.is_empty() {
            w.strings("subjects", self.subjects.iter().map(|tag| hex_encode(tag)));
        }
        w.str("surface", &self.surface);
        w.flag("surface_unknown", !self.surface_known);
        if let Some(target) = &self.target {
            w.hex_member("target", &target.0);
        }
        w.str_opt("topic", self.topic.as_deref());
        w.str_opt("trace", self.trace.as_deref());
        if !self.under.is_empty() {
            w.strings("under", self.under.iter().map(ToString::to_string));
        }
        w.uint("window_ms", self.window_ms);
        if let Some(would) = &self.would {
            w.nested("would", |w| would.write(w));
        }
        w.str_opt("would_outcome", self.would_outcome.map(Outcome::as_str));
    }

    /// Bytes of its canonical form.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let mut out = Vec::with_capacity(2048);
        Writer::object(&mut out, |w| self.write(w));
        out.len()
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        let reasons = r.reasons("reasons")?;
        let chain = if r.has("on_behalf_of") { r.strings("on_behalf_of")? } else { Vec::new() };
        let chain: Option<Vec<_>> = chain.iter().map(|actor| ActorRef::parse(actor)).collect();
        let matched_all = match r.object_opt("matched_all")? {
            None => None,
            Some(mut all) => {
                let pair = (all.uint("count")?, all.digest("digest")?);
                all.end()?;
                Some(pair)
            }
        };
        Ok(Self {
            decision: r.parsed("decision", DecisionId::parse)?,
            action_commitment: r.digest("action_commitment")?,
            request_commitment: r.digest("request_commitment")?,
            facts_commitment: r.digest("facts_commitment")?,
            actor: r.parsed("actor", ActorRef::parse)?,
            key: r.parsed_opt("key", KeyId::parse)?,
            environment: r.parsed("environment", |text| is_label(text).then(|| text.to_owned()))?,
            surface: r.str("surface")?,
            action: r.str("action")?,
            topic: r.str_opt("topic")?,
            target: r.has("target").then(|| r.bytes("target").map(Pseudonym)).transpose()?,
            subjects: r.tags_opt("subjects")?,
            trace: r.str_opt("trace")?,
            idempotency: r.bytes("idempotency")?,
            window_ms: r.uint("window_ms")?,
            previous: r.uint_opt("previous")?,
            on_behalf_of: chain
                .ok_or_else(|| EntryError::new("on_behalf_of is no list of actors"))?,
            policy: r.digest_opt("policy")?,
            language: r.count("language")?,
            surface_known: !r.flag("surface_unknown")?,
            outcome: r.parsed("outcome", Outcome::parse)?,
            reasons,
            rules: r.strings("rules")?,
            matched: r
                .objects("matched")?
                .into_iter()
                .map(Matched::read)
                .collect::<Result<_, _>>()?,
            matched_all,
            constraints: if r.has("constraints") {
                r.plain_object("constraints")?
            } else {
                Object::new()
            },
            approval: r.object_opt("approval")?.map(ApprovalOpened::read).transpose()?,
            retry_after_ms: r.uint_opt("retry_after_ms")?,
            permit: r.object_opt("permit")?.map(PermitIssued::read).transpose()?,
            deadline: TimeMs(r.uint("deadline_ms")?),
            would: r.object_opt("would")?.map(Would::read).transpose()?,
            exception: r.object_opt("exception")?.map(Passage::read).transpose()?,
            retroactive: r.parsed_opt("retroactive", Outcome::parse)?,
            would_outcome: r.parsed_opt("would_outcome", Outcome::parse)?,
            under: read_scopes(r, "under")?,
            leads_to: read_scopes(r, "leads_to")?,
        })
    }
}

impl Matched {
    /// Appends the canonical object.
    pub fn write(&self, w: &mut Writer<'_>) {
        w.flag("advice", self.advice);
        w.str("effect", self.effect.as_str());
        w.str_opt("error", self.error.map(ConditionError::as_str));
        w.flag("floor", self.layer != Layer::Rules);
        w.str("rule", &self.rule);
        if let Some(window) = &self.window {
            w.nested("window", |w| {
                w.uint("count", u64::from(window.count));
                w.flag("full", window.full);
                w.uint("per_ms", window.per_ms);
                w.hex_member("tag", &window.tag);
            });
        }
    }

    fn read(mut r: Reader) -> Result<Self, EntryError> {
        let window = match r.object_opt("window")? {
            None => None,
            Some(mut w) => {
                let window = WindowUse {
                    tag: w.bytes("tag")?,
                    count: w.count("count")?,
                    per_ms: w.uint("per_ms")?,
                    full: w.flag("full")?,
                };
                w.end()?;
                Some(window)
            }
        };
        let rule: String = r.str("rule")?;
        let layer = Layer::of(&rule, !r.flag("floor")?);
        let matched = Self {
            rule,
            layer,
            effect: r.parsed("effect", Effect::parse)?,
            error: r.parsed_opt("error", ConditionError::parse)?,
            window,
            advice: r.flag("advice")?,
        };
        r.end()?;
        Ok(matched)
    }
}

impl ApprovalOpened {
    fn write(&self, w: &mut Writer<'_>) {
        w.str("audience", self.audience.as_str());
        write_steps(w, &self.escalate);
        w.uint("expires_ms", self.expires.0);
        w.str("id", &self.id.to_string());
        w.uint_opt("remind_ms", self.remind.map(|at| at.0));
        w.digest("requirement", &self.requirement);
        write_counts(w, "roles", &self.roles);
        w.uint("use_within_ms", self.use_within_ms);
    }

    fn read(mut r: Reader) -> Result<Self, EntryError> {
        let approval = Self {
            id: r.parsed("id", ApprovalId::parse)?,
            audience: r.parsed("audience", ActorRef::parse)?,
            roles: r.counts("roles")?,
            expires: TimeMs(r.uint("expires_ms")?),
            use_within_ms: r.uint("use_within_ms")?,
            requirement: r.digest("requirement")?,
            escalate: read_steps(&mut r)?,
            remind: r.uint_opt("remind_ms")?.map(TimeMs),
        };
        r.end()?;
        Ok(approval)
    }
}

impl PermitIssued {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("audience", self.audience.as_str());
        w.bool("consumed", self.consumed);
        w.uint("expires_ms", self.expires.0);
        w.str("id", &self.id.to_string());
        w.digest_opt("nonce", self.nonce.as_ref());
    }

    pub(super) fn read(mut r: Reader) -> Result<Self, EntryError> {
        let permit = Self {
            id: r.parsed("id", PermitId::parse)?,
            audience: r.parsed("audience", ActorRef::parse)?,
            expires: TimeMs(r.uint("expires_ms")?),
            nonce: r.digest_opt("nonce")?,
            consumed: r.bool("consumed")?,
        };
        r.end()?;
        Ok(permit)
    }
}
