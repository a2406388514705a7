//! What a surface demands of its requests: fields, arguments, context, evidence, outcomes. Owns the
//! validated surface, its normal form and the rules that follow from it; each only restricts.

use crate::model::Retention;
use crate::schema::{Packed, Pool, Schema};
use placet_types::evidence::FoundEvidence;
use placet_types::ids::{ActorId, TimeMs};
use placet_types::json::{Object, Value};
use placet_types::policy::{Effect, Force, Hit, Layer, Outcome, Reason, RuleEffect};
use placet_types::{Digest, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a `surfaces:` document says of one surface.
#[derive(Clone, Debug)]
pub(crate) struct Surface {
    pub(crate) owner: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) deadline_ms: u64,
    pub(crate) idempotency_window_ms: u64,
    pub(crate) retention: Retention,
    pub(crate) arguments: Option<Arc<Schema>>,
    pub(crate) context: Option<Arc<Schema>>,
    /// Sorted, without repetition.
    pub(crate) required: Vec<Needed>,
    /// By type.
    pub(crate) evidence: BTreeMap<String, EvidenceSpec>,
    /// Without DENY and SILENCE, which are always possible.
    pub(crate) outcomes: Option<BTreeSet<Outcome>>,
    /// Environments in which a gate may proceed when there is no decision, and why.
    pub(crate) open_in: BTreeMap<String, String>,
    pub(crate) receipts: Receipts,
}

/// When the receipt of a permit is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Receipts {
    /// When somebody asks.
    #[default]
    OnDemand,
    /// By the gate, before it executes.
    BeforeExecution,
}

impl Receipts {
    pub(crate) const WORDS: [&'static str; 2] = ["on_demand", "before_execution"];

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::OnDemand, Self::BeforeExecution].into_iter().find(|it| it.as_str() == word)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::OnDemand => "on_demand",
            Self::BeforeExecution => "before_execution",
        }
    }
}

/// A field that the request has to have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needed {
    Arguments,
    Branch,
    Capability,
    Change,
    Context,
    Execution,
    Model,
    OnBehalfOf,
    ParentDecision,
    Step,
    Subjects,
    Target,
    Team,
    Topic,
    Label(String),
    Estimate(String),
}

impl Needed {
    const FIXED: [(&'static str, Self); 14] = [
        ("arguments", Self::Arguments),
        ("branch", Self::Branch),
        ("capability", Self::Capability),
        ("change", Self::Change),
        ("context", Self::Context),
        ("execution", Self::Execution),
        ("model", Self::Model),
        ("on_behalf_of", Self::OnBehalfOf),
        ("parent_decision", Self::ParentDecision),
        ("step", Self::Step),
        ("subjects", Self::Subjects),
        ("target", Self::Target),
        ("team", Self::Team),
        ("topic", Self::Topic),
    ];

    /// All names without a part that one chooses.
    pub(crate) fn names() -> Vec<&'static str> {
        Self::FIXED.iter().map(|(name, _)| *name).collect()
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let label = |name: &str| is_id(name).then(|| name.to_owned());
        if let Some(name) = text.strip_prefix("labels.") {
            return label(name).map(Self::Label);
        }
        if let Some(unit) = text.strip_prefix("estimate.") {
            return label(unit).map(Self::Estimate);
        }
        Self::FIXED.iter().find(|(name, _)| *name == text).map(|(_, it)| it.clone())
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Label(name) => format!("labels.{name}"),
            Self::Estimate(unit) => format!("estimate.{unit}"),
            fixed => {
                let found = Self::FIXED.iter().find(|(_, it)| it == fixed);
                found.map_or_else(String::new, |(name, _)| (*name).to_owned())
            }
        }
    }

    fn is_in(&self, request: &Request) -> bool {
        match self {
            Self::Arguments => request.arguments.is_some(),
            Self::Branch => request.branch.is_some(),
            Self::Capability => request.capability.is_some(),
            Self::Change => request.change.is_some(),
            Self::Context => request.context.is_some(),
            Self::Execution => request.execution.is_some(),
            Self::Model => request.model.is_some(),
            Self::OnBehalfOf => !request.on_behalf_of.is_empty(),
            Self::ParentDecision => request.parent_decision.is_some(),
            Self::Step => request.step.is_some(),
            Self::Subjects => !request.subjects.is_empty(),
            Self::Target => request.target.is_some(),
            Self::Team => request.team.is_some(),
            Self::Topic => request.topic.is_some(),
            Self::Label(name) => request.labels.get(name).is_some_and(|it| !it.is_empty()),
            Self::Estimate(unit) => request.estimate.contains_key(unit),
        }
    }
}

/// Names that become part of a rule's id.
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Evidence that the request has to carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EvidenceSpec {
    pub(crate) max_age_ms: u64,
    /// Any issuer where there is none; of what is verified, any but whoever asks.
    pub(crate) issuers: BTreeSet<String>,
    pub(crate) proof: Proof,
}

/// Whose word it takes that there is evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The client's.
    #[default]
    Asserted,
    /// The store's: added by its issuer about what the request is about, and not taken back.
    Verified,
    /// As verified, and signed by a key of its issuer.
    Attested,
}

/// Types of evidence are names that become part of a rule's id.
pub(crate) use placet_types::evidence::is_evidence_type;

/// Clocks of issuers may run ahead by so much.
pub(crate) const EVIDENCE_SKEW_MS: u64 = 60_000;

/// One piece of evidence as a request asserts it: nobody but the client vouches for any of it.
struct Piece {
    kind: String,
    digest: Digest,
    issuer: ActorId,
    issued: TimeMs,
    expires: Option<TimeMs>,
}

impl Piece {
    /// `None` for anything that is not exactly `{type, digest, issuer, issued, expires?}`.
    fn read(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let known = ["digest", "expires", "issued", "issuer", "type"];
        if !object.iter().all(|(name, _)| known.contains(&name)) {
            return None;
        }
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        let expires = match object.get("expires") {
            None => None,
            Some(expires) => Some(TimeMs::parse_rfc3339(expires.as_str()?)?),
        };
        let piece = Self {
            kind: text("type").filter(|it| is_evidence_type(it))?.to_owned(),
            digest: Digest::parse(text("digest")?)?,
            issuer: ActorId::parse(text("issuer")?)?,
            issued: TimeMs::parse_rfc3339(text("issued")?)?,
            expires,
        };
        piece.expires.is_none_or(|it| it > piece.issued).then_some(piece)
    }

    /// From when to when it counts.
    fn counts(&self, max_age_ms: u64) -> (TimeMs, TimeMs) {
        let until = self.issued.plus(max_age_ms);
        let from = TimeMs(self.issued.0.saturating_sub(EVIDENCE_SKEW_MS));
        (from, self.expires.map_or(until, |it| it.min(until)))
    }
}

/// How the evidence of one type stands. What comes later is nearer to what is demanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// None is named.
    Missing,
    /// What is named is unknown here, of another issuer, or about something else.
    Foreign,
    /// It is not signed.
    Unattested,
    /// It was taken back.
    Revoked,
    /// It counts up to an instant, and from one on.
    Counts(TimeMs, TimeMs),
}

fn standing(spec: &EvidenceSpec, kind: &str, request: &Request) -> Standing {
    if spec.proof == Proof::Asserted {
        let best = best(spec, kind, request);
        return best.map_or(Standing::Missing, |(from, until)| Standing::Counts(until, from));
    }
    let found = &request.found;
    let unknown = found.unknown.iter().any(|it| it.as_deref().is_none_or(|it| it == kind));
    let nothing = if unknown { Standing::Foreign } else { Standing::Missing };
    let pieces = found.evidence.iter().filter(|piece| piece.kind == kind);
    let all = pieces.map(|piece| {
        let known = match spec.issuers.is_empty() {
            true => !piece.own,
            false => spec.issuers.contains(&piece.issuer),
        };
        if !known || found.subject != Some(piece.subject) {
            Standing::Foreign
        } else if spec.proof == Proof::Attested && !piece.attested && !piece.revoked {
            Standing::Unattested
        } else if piece.revoked {
            Standing::Revoked
        } else {
            let (from, until) = span(piece, spec.max_age_ms);
            Standing::Counts(until, from)
        }
    });
    all.max().unwrap_or(nothing)
}

/// From when to when a piece of the store counts.
fn span(piece: &FoundEvidence, max_age_ms: u64) -> (TimeMs, TimeMs) {
    let from = TimeMs(piece.issued.0.saturating_sub(EVIDENCE_SKEW_MS));
    (from, piece.expires.min(piece.issued.plus(max_age_ms)))
}

/// What the store has of evidence for a request: types, from when and until when each counts. Only what others
/// vouch for counts, and about what the request is about: what a client says of itself makes up for nothing.
#[must_use]
pub fn evidence_of(request: &Request) -> Vec<(String, TimeMs, Option<TimeMs>)> {
    let found = &request.found;
    let fits = |it: &&FoundEvidence| !it.revoked && !it.own && found.subject == Some(it.subject);
    let from = |issued: TimeMs| TimeMs(issued.0.saturating_sub(EVIDENCE_SKEW_MS));
    let stored = found.evidence.iter().filter(fits);
    stored.map(|it| (it.kind.clone(), from(it.issued), Some(it.expires))).collect()
}

/// The evidence of a type that counts the longest: from when to when. A piece that is dated ahead is not
/// passed over for another: whoever presents one is refused until its time has come. What the store has is
/// as good as what is asserted, and what was taken back there is not asserted any more.
fn best(spec: &EvidenceSpec, kind: &str, request: &Request) -> Option<(TimeMs, TimeMs)> {
    let pieces = request.evidence.iter().filter_map(Piece::read);
    let known = |issuer: &str| spec.issuers.is_empty() || spec.issuers.contains(issuer);
    let stored = || request.found.evidence.iter().filter(|it| it.kind == kind);
    let fitting = pieces.filter(|it| {
        it.kind == kind
            && known(it.issuer.as_str())
            && !stored().any(|stored| stored.revoked && stored.digest == it.digest)
    });
    let stored = stored().filter(|it| !it.revoked && known(&it.issuer));
    let asserted = fitting.map(|it| it.counts(spec.max_age_ms));
    let all = asserted.chain(stored.map(|it| span(it, spec.max_age_ms)));
    all.max_by_key(|(from, until)| (*until, *from))
}

/// One rule that follows from a surface.
#[derive(Debug)]
pub(crate) struct Demand {
    pub(crate) effect: Arc<RuleEffect>,
    what: What,
}

#[derive(Debug)]
enum What {
    Field(Needed),
    Arguments(Arc<Packed>),
    Context(Arc<Packed>),
    /// There is evidence of this type.
    Evidence(Box<(String, EvidenceSpec)>),
    /// It is not too old.
    Fresh(Box<(String, EvidenceSpec)>),
    /// What is named of it stands no worse than this.
    Stands(Box<(String, EvidenceSpec)>, Standing),
    Outcomes,
}

/// How a demand stands towards a request.
pub(crate) struct Answer {
    /// When the rule applies; `None` when the demand is met for good.
    pub(crate) force: Option<Force>,
    /// One line for people.
    pub(crate) note: String,
}

impl Demand {
    /// When its rule applies to a request; `None` when the demand is met for good.
    #[inline]
    pub(crate) fn force(&self, request: &Request) -> Option<Force> {
        match &self.what {
            What::Field(field) => (!field.is_in(request)).then_some(Force::Always),
            What::Arguments(schema) => {
                let arguments = request.arguments.as_ref()?;
                (!schema.fits(arguments)).then_some(Force::Always)
            }
            What::Context(schema) => {
                let nothing = Object::new();
                let context = request.context.as_ref().unwrap_or(&nothing);
                (!schema.fits_object(context)).then_some(Force::Always)
            }
            What::Evidence(of) => match standing(&of.1, &of.0, request) {
                Standing::Missing => Some(Force::Always),
                Standing::Counts(_, from) => Some(Force::Until(from)),
                _ => None,
            },
            What::Fresh(of) => match standing(&of.1, &of.0, request) {
                Standing::Counts(until, _) => Some(Force::From(until)),
                _ => None,
            },
            What::Stands(of, fault) => {
                (standing(&of.1, &of.0, request) == *fault).then_some(Force::Always)
            }
            What::Outcomes => Some(Force::Always),
        }
    }

    /// As [`Demand::force`], with what there is to say of it.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let force = self.force(request);
        let note = match (&self.what, force) {
            (What::Field(field), None) => format!("{} is there", field.text()),
            (What::Field(field), _) => format!("{} is missing", field.text()),
            (What::Arguments(schema), Some(_)) => fault(schema, request.arguments.as_ref()),
            (What::Arguments(_), None) if request.arguments.is_none() => {
                "there are no arguments".to_owned()
            }
            (What::Context(schema), Some(_)) => {
                fault(schema, Some(&Value::Object(request.context.clone().unwrap_or_default())))
            }
            (What::Arguments(_) | What::Context(_), None) => "fits".to_owned(),
            (What::Evidence(of), Some(Force::Until(from))) => {
                let kind = &of.0;
                format!("{kind} is there and counts from {}", from.rfc3339())
            }
            (What::Evidence(of), Some(_)) if of.1.proof != Proof::Asserted => {
                format!("no {} of the store is named", of.0)
            }
            (What::Evidence(of), Some(_)) => format!("no well-formed {} of a known issuer", of.0),
            (What::Evidence(of), None) => format!("{} is named, and does not count", of.0),
            (What::Stands(of, _), Some(_)) => format!("no {} that is named counts", of.0),
            (What::Stands(of, _), None) => format!("{} is not at fault in this way", of.0),
            (What::Fresh(of), Some(Force::From(until))) => {
                let kind = &of.0;
                format!("{kind} counts until {}", until.rfc3339())
            }
            (What::Fresh(of), _) => format!("there is no {} that could expire", of.0),
            (What::Outcomes, _) => {
                let allowed = self.effect.outcomes.as_deref().unwrap_or_default();
                let words: Vec<&str> = allowed.iter().map(|it| it.as_str()).collect();
                format!("anything but {} becomes DENY", list_or_nothing(&words))
            }
        };
        Answer { force, note }
    }

    /// A number that depends on what the demand points to, and on nothing else that matters.
    #[inline]
    pub(crate) fn warm(&self) -> usize {
        match &self.what {
            What::Arguments(schema) | What::Context(schema) => schema.warm(),
            // Always a hit, which is counted and asked for its outcomes.
            What::Outcomes => {
                let allowed = self.effect.outcomes.as_deref().and_then(<[_]>::first);
                Arc::strong_count(&self.effect) ^ usize::from(allowed.is_some())
            }
            What::Field(_) | What::Evidence(_) | What::Fresh(_) | What::Stands(..) => 0,
        }
    }

    /// Where the rule applies, as a hit.
    pub(crate) fn hit(&self, request: &Request) -> Option<Hit> {
        Some(Hit { force: self.force(request)?, ..Hit::of(self.effect.clone()) })
    }
}

fn list_or_nothing(words: &[&str]) -> String {
    if words.is_empty() { "SILENCE".to_owned() } else { words.join(", ") }
}

fn fault(schema: &Packed, value: Option<&Value>) -> String {
    match value.and_then(|value| schema.fault(value)) {
        Some((pointer, why)) => {
            let pointer = if pointer.is_empty() { "the whole".to_owned() } else { pointer };
            format!("{pointer}: {why}")
        }
        None => "fits".to_owned(),
    }
}

impl Surface {
    /// The rules that follow from it, sorted by id.
    pub(crate) fn demands(&self, name: &str, pool: &mut Pool) -> Vec<Demand> {
        let mut out = Vec::new();
        let mut add = |what: &str, cause: Reason, text: &str, outcomes, demand: What| {
            let id = format!("{}{name}:{what}", Layer::Contract.prefix());
            let effect = RuleEffect {
                cause,
                reason: Some(text.to_owned()),
                outcomes,
                ..RuleEffect::new(id, Layer::Contract, Effect::Deny)
            };
            out.push(Demand { effect: Arc::new(effect), what: demand });
        };
        let mut required: BTreeSet<Needed> = self.required.iter().cloned().collect();
        if let Some(schema) = &self.arguments {
            required.insert(Needed::Arguments);
            let text = Reason::ArgumentsInvalid.text();
            add(
                "arguments",
                Reason::ArgumentsInvalid,
                text,
                None,
                What::Arguments(pool.packed(schema)),
            );
        }
        for field in required {
            let text = format!("the surface demands {}", field.text());
            let what = format!("required.{}", field.text());
            add(&what, Reason::FieldMissing, &text, None, What::Field(field));
        }
        if let Some(schema) = &self.context {
            let text = Reason::ContextInvalid.text();
            add("context", Reason::ContextInvalid, text, None, What::Context(pool.packed(schema)));
        }
        for (kind, spec) in &self.evidence {
            let text = format!("the surface demands evidence of type {kind}");
            let what = format!("evidence.{kind}");
            let demand = What::Evidence(Box::new((kind.clone(), spec.clone())));
            add(&what, Reason::EvidenceMissing, &text, None, demand);
            let text = format!("evidence of type {kind} is too old");
            let what = format!("fresh.{kind}");
            let demand = What::Fresh(Box::new((kind.clone(), spec.clone())));
            add(&what, Reason::EvidenceExpired, &text, None, demand);
            if spec.proof == Proof::Asserted {
                continue;
            }
            let mut faults = vec![
                ("foreign", Standing::Foreign, Reason::EvidenceForeign),
                ("revoked", Standing::Revoked, Reason::EvidenceRevoked),
            ];
            if spec.proof == Proof::Attested {
                faults.push(("unattested", Standing::Unattested, Reason::EvidenceUnattested));
            }
            for (word, fault, cause) in faults {
                let demand = What::Stands(Box::new((kind.clone(), spec.clone())), fault);
                add(&format!("{word}.{kind}"), cause, cause.text(), None, demand);
            }
        }
        if let Some(outcomes) = &self.outcomes {
            let text = Reason::OutcomeNotAllowed.text();
            let outcomes = Some(outcomes.iter().copied().collect());
            add("outcomes", Reason::OutcomeNotAllowed, text, outcomes, What::Outcomes);
        }
        out.sort_by(|a, b| a.effect.id.cmp(&b.effect.id));
        out
    }

    /// As the API shows it: the normal form with units in the names.
    pub(crate) fn to_wire(&self) -> Object {
        const UNITS: [&str; 5] = ["deadline", "idempotency_window", "max_age", "min", "payload"];
        fn with_units(object: Object) -> Object {
            let mut out = Object::new();
            for (name, value) in object {
                let timed = UNITS.contains(&name.as_str());
                out.set(if timed { format!("{name}_ms") } else { name }, value);
            }
            out
        }
        let mut out = with_units(self.to_object());
        if let Some(Value::Object(retention)) = out.remove("retention") {
            out.set("retention", with_units(retention));
        }
        if let Some(Value::Array(evidence)) = out.remove("evidence") {
            let each = evidence.into_iter().map(|item| match item {
                Value::Object(item) => Value::Object(with_units(item)),
                other => other,
            });
            out.set("evidence", each.collect::<Vec<_>>());
        }
        out
    }

    /// The normal form. What says nothing is left out.
    pub(crate) fn to_object(&self) -> Object {
        let texts = |items: &mut dyn Iterator<Item = String>| -> Option<Vec<Value>> {
            let items: Vec<Value> = items.map(Value::from).collect();
            (!items.is_empty()).then_some(items)
        };
        let evidence: Vec<Value> = self
            .evidence
            .iter()
            .map(|(kind, spec)| {
                let issuers = texts(&mut spec.issuers.iter().cloned());
                let spec = Object::new()
                    .with("type", kind.as_str())
                    .with("max_age", spec.max_age_ms)
                    .with_opt("issuers", issuers)
                    .with_opt("verified", (spec.proof == Proof::Verified).then_some(true))
                    .with_opt("attested", (spec.proof == Proof::Attested).then_some(true));
                Value::Object(spec)
            })
            .collect();
        let outcomes = self
            .outcomes
            .as_ref()
            .map(|all| all.iter().map(|it| Value::from(it.as_str())).collect::<Vec<_>>());
        let open = self.open_in.iter().fold(Object::new(), |object, (name, reason)| {
            let mode = Object::new().with("mode", "open").with("reason", reason.as_str());
            object.with(name.as_str(), mode)
        });
        let receipts = (self.receipts != Receipts::default())
            .then(|| Object::new().with("verify", self.receipts.as_str()));
        Object::new()
            .with_opt("owner", self.owner.as_deref())
            .with_opt("description", self.description.as_deref())
            .with("deadline", self.deadline_ms)
            .with("idempotency_window", self.idempotency_window_ms)
            .with_opt("retention", self.retention.to_object())
            .with_opt("arguments", self.arguments.as_ref().map(|it| it.normal().clone()))
            .with_opt("context", self.context.as_ref().map(|it| it.normal().clone()))
            .with_opt("required", texts(&mut self.required.iter().map(Needed::text)))
            .with_opt("evidence", (!evidence.is_empty()).then_some(evidence))
            .with_opt("outcomes", outcomes)
            .with_opt("fail_mode", (!open.is_empty()).then_some(open))
            .with_opt("receipts", receipts)
    }
}
