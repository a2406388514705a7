//! From a request to the command that decides it: commitments, pseudonyms, window tags, payload.
//! Serving and replaying build it with this one function.

use crate::committer::seal;
use crate::crypto::Fast;
use crate::error::PlaneError;
use crate::frame::{SaltFor, SlotKeys};
use crate::pseudonyms::Pseudonyms;
use crate::sequencer::Payload;
use placet_engine::{Decide, Passing, Shadow, Who, is_governed};
use placet_policy::{Bundle, Scratch, evidence_of};
use placet_types::evidence::Found;
use placet_types::hash::Hasher;
use placet_types::ids::{ApprovalId, DecisionId, KeyId, PermitId, TimeMs};
use placet_types::json::{Object, Value, Writer};
use placet_types::policy::Verdict;
use placet_types::{Caller, Digest, Digests, Request};
use std::cell::RefCell;

/// A request of a verified caller, digested.
#[derive(Clone, Copy)]
pub(crate) struct Proposal<'a> {
    pub(crate) names: &'a Pseudonyms,
    pub(crate) caller: &'a Caller,
    pub(crate) key: Option<KeyId>,
    pub(crate) request: &'a Request,
    pub(crate) digests: &'a Digests,
}

/// What is not in the request: fresh when serving, recorded when replaying.
pub(crate) struct Given {
    pub(crate) ids: (DecisionId, ApprovalId, PermitId),
    pub(crate) nonce: Option<Digest>,
    pub(crate) window_ms: u64,
    pub(crate) deadline: TimeMs,
    pub(crate) permit_ms: u64,
    pub(crate) approval_ms: Option<u64>,
}

/// The verified facts as they are committed to: who asks, and what the server's own stores say.
pub(crate) fn facts_of(caller: &Caller, request: &Request) -> Object {
    caller.facts().with_opt("found", request.found.to_object())
}

/// The surface on which people are asked for an approval of something outside.
pub const APPROVAL_REQUEST: &str = "approval.request";

/// How long a request is willing to wait for its approval: on the surface of requests for an approval,
/// `timeout_seconds` of its arguments. Policy bounds it.
pub(crate) fn approval_ms(request: &Request) -> Option<u64> {
    let arguments = request.arguments.as_ref().filter(|_| request.surface == APPROVAL_REQUEST)?;
    arguments.get("timeout_seconds")?.as_u64()?.checked_mul(1000)
}

impl Proposal<'_> {
    /// The command, committed to under the keys of a slot.
    pub(crate) fn command(
        &self,
        keys: &SlotKeys,
        verdicts: (Verdict, Option<Verdict>),
        given: Given,
    ) -> Decide {
        self.with_facts(keys, verdicts, given, &self.facts())
    }

    /// The command and the payload that travels beside it: facts and request, without the nonce.
    pub(crate) fn sealed(
        &self,
        keys: &SlotKeys,
        slot: u64,
        verdicts: (Verdict, Option<Verdict>),
        given: Given,
    ) -> (Decide, Payload) {
        let facts = self.facts();
        let mut plain = Vec::with_capacity(2048);
        Writer::object(&mut plain, |w| {
            w.canonical("facts", &facts);
            w.nested("request", |w| self.request.write_members(w));
        });
        (self.with_facts(keys, verdicts, given, &facts), seal(keys, slot, plain))
    }

    fn facts(&self) -> Vec<u8> {
        Value::Object(facts_of(self.caller, self.request)).to_canonical()
    }

    fn with_facts(
        &self,
        keys: &SlotKeys,
        (verdict, shadow): (Verdict, Option<Verdict>),
        given: Given,
        facts: &[u8],
    ) -> Decide {
        let tags = |verdict: &Verdict| self.names.window_tags(verdict);
        let shadow = shadow.map(|verdict| Box::new(Shadow { windows: tags(&verdict), verdict }));
        let Self { names, caller, key, request, digests } = self;
        Decide {
            ids: given.ids,
            who: Who {
                actor: names.actor_ref(&caller.actor),
                key: *key,
                roles: caller.roles.clone(),
            },
            // What is verified first: nothing that a client says shortens it.
            on_behalf_of: caller
                .chain
                .iter()
                .chain(request.on_behalf_of.iter().filter(|actor| !caller.chain.contains(actor)))
                .map(|actor| names.actor_ref(actor))
                .collect(),
            audience: request.audience.as_ref().map(|actor| names.actor_ref(actor)),
            environment: caller.environment.clone(),
            surface: request.surface.clone(),
            action: request.action.clone(),
            topic: request.topic.clone(),
            target: request.target.as_deref().map(|target| names.of("target", target)),
            subjects: names.subject_tags(&request.subjects),
            trace: request.trace_id.clone(),
            action_commitment: keys.commit(SaltFor::Action, &digests.action.0),
            request_commitment: keys.commit(SaltFor::Request, &digests.request.0),
            facts_commitment: keys.commit(SaltFor::Facts, &Fast::sha256(&[facts])),
            idempotency: names.idempotency_tag(&caller.actor, &request.idempotency_key),
            window_ms: given.window_ms,
            nonce: given.nonce,
            deadline: given.deadline,
            permit_ms: given.permit_ms,
            approval_ms: given.approval_ms,
            windows: tags(&verdict),
            verdict,
            shadow,
            passing: Passing {
                capability: request.capability.clone(),
                execution: request.execution.as_deref().map(|it| names.of("execution", it)),
                evidence: evidence_of(request),
                recorded: None,
            },
            retroactive: request.retroactive,
            under: names.scopes(request),
        }
    }
}

thread_local! {
    /// Buffers for the bundle in force, and for the one beside it: they have other dimensions.
    static SCRATCH: RefCell<[Scratch; 2]> = RefCell::default();
}

/// Evaluates with a scratch of this thread.
pub(crate) fn evaluate(bundle: Option<&Bundle>, request: &Request, caller: &Caller) -> Verdict {
    match bundle {
        None => Verdict::default(),
        Some(bundle) => {
            let verdict =
                SCRATCH.with_borrow_mut(|[scratch, _]| bundle.evaluate(request, caller, scratch));
            let counts = request.found.evidence.iter().filter(|piece| !piece.revoked);
            Verdict { evidence: counts.map(|piece| piece.id).collect(), ..verdict }
        }
    }
}

/// The word of a shadow bundle; it has none where the constitution decides.
pub(crate) fn evaluate_beside(
    bundle: Option<&Bundle>,
    request: &Request,
    caller: &Caller,
) -> Option<Verdict> {
    let bundle = bundle.filter(|_| !is_governed(&request.surface))?;
    Some(SCRATCH.with_borrow_mut(|[_, scratch]| bundle.evaluate(request, caller, scratch)))
}

/// Request and caller from a decision's payload.
pub(crate) fn reread(payload: &Object) -> Result<(Request, Caller), PlaneError> {
    reread_owned(payload.clone())
}

/// The same of a payload that nobody needs any more.
pub(crate) fn reread_owned(mut payload: Object) -> Result<(Request, Caller), PlaneError> {
    let damaged = || PlaneError::Internal("a payload does not hold a request".to_owned());
    let facts = payload.get("facts").and_then(Value::as_object).ok_or_else(damaged)?;
    let caller = Caller::from_facts(facts).ok_or_else(damaged)?;
    let found = match facts.get("found") {
        None => Found::default(),
        Some(found) => found.as_object().and_then(Found::of_object).ok_or_else(damaged)?,
    };
    let request = payload.remove("request").ok_or_else(damaged)?;
    let request = Request::read(request, &caller).map_err(|_| damaged())?;
    let request = Request { found, ..request };
    Ok((request, caller))
}
