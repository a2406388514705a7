//! The events of an exception: opened, run out, closed, reviewed; and what a decision says that passed under
//! one. What people wrote about it lies in the payload beside the entry.

use super::read::Reader;
use super::{ActorRef, EntryError, Pseudonym};
use crate::hash::Digest;
use crate::ids::{DecisionId, ExceptionId, KeyId, TimeMs, is_dotted_name, is_label, is_name};
use crate::json::{self, Limits, Value, Writer};
use crate::policy::{Constraints, Effect, Layer, Reason, RuleEffect};
use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The word for every surface.
pub const ANY_SURFACE: &str = "*";
/// Rules that stand for an exception in a decision begin with this.
pub const EXCEPTION_RULE: &str = "exception.";
/// The rules of the constitution begin with this.
pub const CONSTITUTION_RULE: &str = "constitution.";
/// Ids that begin so belong to rules of no bundle.
pub const RESERVED_RULES: [&str; 2] = [CONSTITUTION_RULE, EXCEPTION_RULE];

/// What an exception covers. All that is named has to agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptionScope {
    /// A surface, or `*`.
    pub surface: String,
    /// Who may pass.
    pub actor: ActorRef,
    /// The action.
    pub action: Option<String>,
    /// The verified environment.
    pub environment: Option<String>,
    /// The capability.
    pub capability: Option<String>,
    /// Pseudonym of the target.
    pub target: Option<Pseudonym>,
    /// Pseudonym of the execution.
    pub execution: Option<Pseudonym>,
}

impl ExceptionScope {
    fn write(&self, w: &mut Writer<'_>) {
        w.str_opt("action", self.action.as_deref());
        w.str("actor", self.actor.as_str());
        w.str_opt("capability", self.capability.as_deref());
        w.str_opt("environment", self.environment.as_deref());
        if let Some(execution) = &self.execution {
            w.hex_member("execution", &execution.0);
        }
        w.str("surface", &self.surface);
        if let Some(target) = &self.target {
            w.hex_member("target", &target.0);
        }
    }

    fn read(mut r: Reader) -> Result<Self, EntryError> {
        let name = |text: &str| is_name(text).then(|| text.to_owned());
        let pseudonym =
            |r: &mut Reader, key: &str| r.has(key).then(|| r.bytes(key).map(Pseudonym)).transpose();
        let scope = Self {
            surface: r.parsed("surface", |text| is_surface(text).then(|| text.to_owned()))?,
            actor: r.parsed("actor", ActorRef::parse)?,
            action: r.parsed_opt("action", |it| is_dotted_name(it).then(|| it.to_owned()))?,
            environment: r.parsed_opt("environment", |it| is_label(it).then(|| it.to_owned()))?,
            capability: r.parsed_opt("capability", name)?,
            target: pseudonym(&mut r, "target")?,
            execution: pseudonym(&mut r, "execution")?,
        };
        r.end()?;
        Ok(scope)
    }

    /// Whether it covers every surface.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.surface == ANY_SURFACE
    }
}

fn is_surface(text: &str) -> bool {
    text == ANY_SURFACE || is_dotted_name(text)
}

/// A part of policy that an exception can waive as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waived {
    /// Manifests and roles.
    Access,
    /// Who has to approve what is granted.
    Approvals,
    /// What a surface demands of its requests.
    Contract,
    /// Of these demands, the ones for evidence.
    Evidence,
    /// `floor:`
    Floor,
    /// All of policy.
    Governance,
    /// The allow list of models.
    Models,
    /// `rules:`
    Rules,
}

impl Waived {
    /// All of them, by their words.
    pub const ALL: [Self; 8] = [
        Self::Access,
        Self::Approvals,
        Self::Contract,
        Self::Evidence,
        Self::Floor,
        Self::Governance,
        Self::Models,
        Self::Rules,
    ];

    /// `access`, `approvals`, `contract`, `evidence`, `floor`, `governance`, `models`, `rules`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Approvals => "approvals",
            Self::Contract => "contract",
            Self::Evidence => "evidence",
            Self::Floor => "floor",
            Self::Governance => "governance",
            Self::Models => "models",
            Self::Rules => "rules",
        }
    }

    fn of(rule: &RuleEffect, parts: &BTreeSet<Self>) -> bool {
        let layer = match rule.layer {
            Layer::Access => Self::Access,
            Layer::Contract => Self::Contract,
            Layer::Floor => Self::Floor,
            Layer::Rules => Self::Rules,
            Layer::Models => Self::Models,
            Layer::Approvals => Self::Approvals,
        };
        let evidence = matches!(rule.cause, Reason::EvidenceMissing | Reason::EvidenceExpired);
        parts.contains(&Self::Governance)
            || parts.contains(&layer)
            || (evidence && layer == Self::Contract && parts.contains(&Self::Evidence))
    }
}

/// What an exception waives: parts of policy, and single rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waives {
    /// Whole parts.
    pub parts: BTreeSet<Waived>,
    /// Ids of rules.
    pub rules: BTreeSet<String>,
}

impl Waives {
    /// Most that one exception names.
    pub const MAX: usize = 32;

    /// Adds what a text names: the word of a part, or `rule:` and an id.
    #[must_use]
    pub fn add(&mut self, text: &str) -> bool {
        match text.strip_prefix("rule:") {
            Some(id) if (1..=200).contains(&id.len()) && !id.starts_with("constitution.") => {
                self.rules.insert(id.to_owned())
            }
            Some(_) => false,
            None => match Waived::ALL.into_iter().find(|part| part.as_str() == text) {
                Some(part) => self.parts.insert(part),
                None => false,
            },
        }
    }

    /// The texts, parts first.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let parts = self.parts.iter().map(|part| part.as_str().to_owned());
        parts.chain(self.rules.iter().map(|id| format!("rule:{id}"))).collect()
    }

    /// Whether all of policy is waived.
    #[must_use]
    pub fn is_governance(&self) -> bool {
        self.parts.contains(&Waived::Governance)
    }

    /// Whether a rule is waived. Notes, marks and plain grants stay: they take nothing away.
    #[must_use]
    pub fn covers(&self, rule: &RuleEffect) -> bool {
        let takes =
            rule.effect != Effect::Allow || rule.constraints.is_some() || rule.outcomes.is_some();
        takes
            && !rule.advice
            && !RuleEffect::is_marker(&rule.id)
            && (self.rules.contains(&rule.id) || Waived::of(rule, &self.parts))
    }
}

/// What makes up for an exception.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// Constraints that each permit carries.
    Constraint(Constraints),
    /// Evidence of this type has to come with each request.
    Evidence(String),
    /// So many passages at most.
    MaxUses(u32),
    /// A channel that is told when it opens, is used first, ends, and is not reviewed in time.
    Notify(String),
    /// A second person approves each passage.
    SecondPerson,
}

impl Control {
    /// Most of one exception.
    pub const MAX: usize = 16;

    /// Reads `constraint:{…}`, `evidence:type`, `max_uses:N`, `notify:channel` or `second_person`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "constraint" if rest.len() <= 1000 => {
                let value = json::parse(rest.as_bytes(), Limits::ENTRY).ok()?;
                let constraints = Constraints::from_object(value.as_object()?).ok()?;
                (!constraints.is_empty()).then_some(Self::Constraint(constraints))
            }
            "evidence" => is_name(rest).then(|| Self::Evidence(rest.to_owned())),
            "max_uses" => {
                let count: u32 = rest.parse().ok()?;
                (count > 0 && count.to_string() == rest).then_some(Self::MaxUses(count))
            }
            "notify" => is_name(rest).then(|| Self::Notify(rest.to_owned())),
            "second_person" if text == kind => Some(Self::SecondPerson),
            _ => None,
        }
    }

    /// The text that [`Control::parse`] reads.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Constraint(constraints) => {
                let canonical = Value::Object(constraints.to_object()).to_canonical();
                format!("constraint:{}", String::from_utf8_lossy(&canonical))
            }
            Self::Evidence(kind) => format!("evidence:{kind}"),
            Self::MaxUses(count) => format!("max_uses:{count}"),
            Self::Notify(channel) => format!("notify:{channel}"),
            Self::SecondPerson => "second_person".to_owned(),
        }
    }

    /// Whether it is checked at each passage; a notice is sent instead.
    #[must_use]
    pub const fn is_checked(&self) -> bool {
        !matches!(self, Self::Notify(_))
    }
}

/// `exception.opened`: a narrow, owned deviation from policy that ends by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ExceptionOpened {
    /// Its id.
    pub exception: ExceptionId,
    /// What it covers.
    pub scope: ExceptionScope,
    /// What it waives.
    pub waives: Waives,
    /// What makes up for it.
    pub controls: Vec<Control>,
    /// Code of the reason.
    pub reason: String,
    /// The person who answers for it.
    pub owner: ActorRef,
    /// Who opened it.
    pub by: ActorRef,
    /// With which key; absent in development mode.
    pub key: Option<KeyId>,
    /// The decision that permitted it.
    pub decision: DecisionId,
    /// Opened by one person, in an emergency.
    pub break_glass: bool,
    /// It covers nothing from then on.
    pub ends: TimeMs,
    /// So long after its end it has to be reviewed.
    pub review_ms: u64,
    /// Filed afterwards for what was done from when to when: it permits nothing.
    pub retroactive: Option<(TimeMs, TimeMs)>,
    /// The bundle whose bounds it keeps.
    pub policy: Option<Digest>,
}

impl ExceptionOpened {
    /// The id of the rule that stands for it in decisions.
    #[must_use]
    pub fn rule_id(&self) -> String {
        exception_rule(self.exception)
    }

    /// How many passages it allows, if that is bounded.
    #[must_use]
    pub fn max_uses(&self) -> Option<u32> {
        let uses = self.controls.iter().filter_map(|control| match control {
            Control::MaxUses(count) => Some(*count),
            _ => None,
        });
        uses.min()
    }

    /// The channels that are told what becomes of it.
    pub fn notifies(&self) -> impl Iterator<Item = &str> {
        self.controls.iter().filter_map(|control| match control {
            Control::Notify(channel) => Some(channel.as_str()),
            _ => None,
        })
    }

    /// The canonical bytes of what the entry says.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        Writer::object(&mut out, |w| self.write(w));
        out
    }

    /// Reads [`ExceptionOpened::to_bytes`], and nothing else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let value = json::parse(bytes, Limits::ENTRY).ok()?;
        let mut r = Reader::new(value).ok()?;
        let event = Self::read(&mut r).ok()?;
        r.end().ok()?;
        (event.to_bytes() == bytes).then_some(event)
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.flag("break_glass", self.break_glass);
        w.str("by", self.by.as_str());
        if !self.controls.is_empty() {
            w.strings("controls", self.controls.iter().map(Control::text));
        }
        w.str("decision", &self.decision.to_string());
        w.uint("ends_ms", self.ends.0);
        w.str("exception", &self.exception.to_string());
        w.str_opt("key", self.key.map(|key| key.to_string()).as_deref());
        w.str("owner", self.owner.as_str());
        w.digest_opt("policy", self.policy.as_ref());
        w.str("reason", &self.reason);
        if let Some((from, to)) = self.retroactive {
            w.nested("retroactive", |w| {
                w.uint("from_ms", from.0);
                w.uint("to_ms", to.0);
            });
        }
        w.uint("review_ms", self.review_ms);
        w.nested("scope", |w| self.scope.write(w));
        w.strings("waives", self.waives.texts());
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        let mut waives = Waives::default();
        let mut good = true;
        for text in r.strings("waives")? {
            good &= waives.add(&text);
        }
        if !good || waives == Waives::default() {
            return Err(EntryError::new("what an exception waives is unknown or said twice"));
        }
        let controls = if r.has("controls") { r.strings("controls")? } else { Vec::new() };
        let wrong = || EntryError::new("unknown control of an exception");
        let controls = controls.iter().map(|text| Control::parse(text).ok_or_else(wrong));
        let retroactive = match r.object_opt("retroactive")? {
            None => None,
            Some(mut span) => {
                let pair = (TimeMs(span.uint("from_ms")?), TimeMs(span.uint("to_ms")?));
                span.end()?;
                Some(pair)
            }
        };
        Ok(Self {
            exception: r.parsed("exception", ExceptionId::parse)?,
            scope: ExceptionScope::read(r.object("scope")?)?,
            waives,
            controls: controls.collect::<Result<_, _>>()?,
            reason: super::privacy::reason(r)?,
            owner: r.parsed("owner", ActorRef::parse)?,
            by: r.parsed("by", ActorRef::parse)?,
            key: r.parsed_opt("key", KeyId::parse)?,
            decision: r.parsed("decision", DecisionId::parse)?,
            break_glass: r.flag("break_glass")?,
            ends: TimeMs(r.uint("ends_ms")?),
            review_ms: r.uint("review_ms")?,
            retroactive,
            policy: r.digest_opt("policy")?,
        })
    }
}

/// The id of the rule that stands for an exception in decisions.
#[must_use]
pub fn exception_rule(id: ExceptionId) -> String {
    format!("{EXCEPTION_RULE}{id}")
}

/// `exception.ended`: its time was up. `exception.closed`: somebody ended it before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptionEnded {
    /// The exception.
    pub exception: ExceptionId,
    /// Who closed it; absent where its time was up.
    pub by: Option<ActorRef>,
}

impl ExceptionEnded {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str_opt("by", self.by.as_ref().map(ActorRef::as_str));
        w.str("exception", &self.exception.to_string());
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            exception: r.parsed("exception", ExceptionId::parse)?,
            by: r.parsed_opt("by", ActorRef::parse)?,
        })
    }
}

/// `exception.reviewed`: another person has looked at what passed under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptionReviewed {
    /// The exception.
    pub exception: ExceptionId,
    /// Who reviewed it.
    pub by: ActorRef,
    /// Whether it was right to open it.
    pub justified: bool,
    /// Passages that were to be looked at.
    pub passages: u64,
}

impl ExceptionReviewed {
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("by", self.by.as_str());
        w.str("exception", &self.exception.to_string());
        w.bool("justified", self.justified);
        w.uint("passages", self.passages);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self, EntryError> {
        Ok(Self {
            exception: r.parsed("exception", ExceptionId::parse)?,
            by: r.parsed("by", ActorRef::parse)?,
            justified: r.bool("justified")?,
            passages: r.uint("passages")?,
        })
    }
}

/// Under which exception a decision passed, and what it passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The exception.
    pub exception: ExceptionId,
    /// Ids of the rules that applied and were waived, at most [`Passage::WAIVED_MAX`].
    pub waived: Vec<String>,
    /// How many there were, where that is more.
    pub waived_all: Option<u64>,
}

impl Passage {
    /// Most rules that an entry names.
    pub const WAIVED_MAX: usize = 16;

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.str("id", &self.exception.to_string());
        w.strings("waived", &self.waived);
        w.uint_opt("waived_all", self.waived_all);
    }

    pub(super) fn read(mut r: Reader) -> Result<Self, EntryError> {
        let passage = Self {
            exception: r.parsed("id", ExceptionId::parse)?,
            waived: r.strings("waived")?,
            waived_all: r.uint_opt("waived_all")?,
        };
        r.end()?;
        Ok(passage)
    }
}
