//! Evidence, seen from outside: adding and taking back, keys of issuers, and what the store says of the
//! evidence that a request names. Signatures are verified here, before anything is sequenced; refuses to
//! know what policy demands.

use crate::crypto::{Fast, verify_ed25519};
use crate::error::PlaneError;
use crate::plane::{Plane, Principal};
use crate::pseudonyms::Pseudonyms;
use crate::releases::{ALIAS_CHANGE, RELEASE_REGISTER};
use crate::sequencer::Outstanding;
use crate::workspace::Workspace;
use placet_engine::{
    AddEvidence, Command, Evidence, EvidenceKey, EvidencePiece, IssuerChange, Rejection,
};
use placet_policy::Bundle;
use placet_tlog::VerifierKey;
use placet_tlog::envelope::{Envelope, EnvelopeSignature, Statement};
use placet_types::event::ActorRef;
use placet_types::evidence::{FOUND_MAX, Found, FoundEvidence};
use placet_types::hash::{Hasher, hex_encode};
use placet_types::ids::{ActorId, ActorKind, DecisionId, EvidenceId, TimeMs};
use placet_types::json::{Object, Value};
use placet_types::{Caller, Digest, Request};
use std::borrow::Cow;
use std::sync::Arc;

/// Life of a piece where nobody says how long: ninety days.
const LIFE_MS: u64 = 90 * 24 * 3_600_000;

/// What somebody brings.
#[derive(Clone, Debug)]
pub enum AddSpec {
    /// Their own word.
    Own {
        /// Type of evidence.
        kind: String,
        /// Digest of the evidence itself.
        digest: Digest,
        /// Digest of what it speaks of.
        subject: Digest,
        /// When it was issued; now where that is not said.
        issued: Option<TimeMs>,
        /// Until when it counts; for ninety days where that is not said.
        expires: Option<TimeMs>,
        /// In words, for people.
        note: Option<String>,
    },
    /// The word of whoever signed it.
    Signed {
        /// The envelope as it came.
        envelope: Value,
        /// The same, read.
        read: Box<(Envelope, Statement)>,
        /// Which of its subjects, where there are several.
        subject: Option<Digest>,
        /// Whose word, where several have signed.
        issuer: Option<ActorId>,
    },
}

/// The request that stands for trusting the key of an issuer of evidence, or for trusting it no more.
#[must_use]
pub fn issuer_request(
    issuer: &ActorId,
    key: &str,
    trust: bool,
    idempotency_key: String,
    nonce: String,
) -> Value {
    let action = if trust { "trust" } else { "revoke" };
    let arguments = Object::new().with("issuer", issuer.as_str()).with("key", key);
    crate::privacy::governed("key.issuer", action, arguments, idempotency_key, nonce)
}

impl Plane {
    /// Keeps a piece of evidence. The same again is the piece that is there.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn add_evidence(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        spec: AddSpec,
    ) -> Result<EvidencePiece, PlaneError> {
        let _counted = Outstanding::new(&self.gauges);
        let now = self.clock.wall();
        let by = self.who(workspace, principal);
        let plain = Object::new().with("actor", principal.caller.actor.as_str());
        let (command, plain) = match spec {
            AddSpec::Own { kind, digest, subject, issued, expires, note } => {
                let issued = issued.unwrap_or(now);
                let expires = expires.unwrap_or_else(|| issued.plus(LIFE_MS));
                let issuer = by.actor.clone();
                let command =
                    AddEvidence { by, digest, expires, issued, issuer, key: None, kind, subject };
                (command, plain.with_opt("note", note))
            }
            AddSpec::Signed { envelope, read, subject, issuer } => {
                let (parts, statement) = *read;
                let store = workspace.evidence.load_full();
                let wanted = issuer.as_ref().map(|issuer| workspace.actor_ref(issuer));
                let key = signer(&store, &parts, wanted.as_ref())?;
                let issued = statement.issued;
                let command = AddEvidence {
                    by,
                    digest: statement.digest,
                    expires: statement.expires.unwrap_or_else(|| issued.plus(LIFE_MS)),
                    issued,
                    issuer: key.issuer.clone(),
                    key: Some(key.key.clone()),
                    kind: statement.kind,
                    subject: chosen(&statement.subjects, subject)?,
                };
                (command, plain.with("envelope", envelope))
            }
        };
        let payload = self.payload(plain)?;
        let command = Command::AddEvidence(Box::new(command));
        let done = self.submit(workspace.no, command, payload).await?;
        let index = done.written.and_then(|it| it.events().map(|(index, _)| index).next());
        let index = done.bound.or(index);
        let found = index.and_then(|index| self.evidence(workspace).at(index));
        found.ok_or_else(|| PlaneError::Internal("evidence left no piece".to_owned()))
    }

    /// Takes a piece back: from the moment this returns nothing new rests on it.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn revoke_evidence(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        evidence: EvidenceId,
        reason: String,
        note: Option<String>,
    ) -> Result<EvidencePiece, PlaneError> {
        let _counted = Outstanding::new(&self.gauges);
        let by = self.who(workspace, principal);
        let actor = principal.caller.actor.as_str();
        let payload = self.payload(Object::new().with("actor", actor).with_opt("note", note))?;
        let command = Command::RevokeEvidence { evidence, reason, by };
        self.submit(workspace.no, command, payload).await?;
        self.evidence(workspace).get(&evidence).ok_or(PlaneError::NotFound("evidence"))
    }

    /// Trusts the key of an issuer or trusts it no more, under the permit of `decision` on `key.issuer`.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn change_issuer(
        &self,
        workspace: &Arc<Workspace>,
        principal: &Principal,
        issuer: &ActorId,
        key: String,
        trust: bool,
        decision: DecisionId,
    ) -> Result<(), PlaneError> {
        let by = self.who(workspace, principal);
        let change = IssuerChange {
            issuer: workspace.actor_ref(issuer),
            key,
            trust,
            by,
            decision: Some(decision),
        };
        let plain = Object::new()
            .with("actor", principal.caller.actor.as_str())
            .with("issuer", issuer.as_str());
        let command = Command::ChangeIssuer(Box::new(change));
        self.submit(workspace.no, command, self.payload(plain)?).await.map(drop)
    }

    /// All evidence of the durable log.
    #[must_use]
    pub fn evidence(&self, workspace: &Workspace) -> Arc<Evidence> {
        workspace.evidence.load_full()
    }

    /// What travels beside the entry of a piece: who brought it, and the envelope or the note; `None`
    /// once it was erased.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn evidence_payload(
        &self,
        workspace: &Workspace,
        piece: &EvidencePiece,
    ) -> Result<Option<Object>, PlaneError> {
        Ok(self.open_or_entry(workspace, piece.index)?.ok().map(|opened| opened.payload))
    }

    /// What the stores say of what a request names.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub(crate) async fn found(
        &self,
        workspace: &Workspace,
        bundle: Option<&Bundle>,
        (request, caller): (&Request, &Caller),
    ) -> Result<Found, PlaneError> {
        let mut found = Found::default();
        if !request.evidence.is_empty() {
            let store = workspace.evidence.load_full();
            found = find_evidence(&store, workspace.names(), bundle, request, caller);
        }
        if [RELEASE_REGISTER.0, ALIAS_CHANGE.0].contains(&request.surface.as_str())
            && let Some(fact) = self.release_fact(workspace, request).await?
        {
            found.facts.set("release", fact);
        }
        Ok(found)
    }

    /// The request with what is found for it.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub(crate) async fn with_found<'r>(
        &self,
        workspace: &Workspace,
        bundle: Option<&Bundle>,
        (request, caller): (&'r Request, &Caller),
    ) -> Result<Cow<'r, Request>, PlaneError> {
        let found = self.found(workspace, bundle, (request, caller)).await?;
        if found.is_empty() && request.found.is_empty() {
            return Ok(Cow::Borrowed(request));
        }
        Ok(Cow::Owned(Request { found, ..request.clone() }))
    }
}

/// Looks up what a request names: `{"id": …}`, or `type` and `digest` among whatever else it says. What a
/// client says of a piece beside them is not looked at.
#[must_use]
pub fn find_evidence(
    store: &Evidence,
    names: &Pseudonyms,
    bundle: Option<&Bundle>,
    request: &Request,
    caller: &Caller,
) -> Found {
    let mut found = Found { subject: request.subject::<Fast>(), ..Found::default() };
    let mut pieces: Vec<EvidencePiece> = Vec::new();
    for item in &request.evidence {
        let text = |key: &str| item.get(key).and_then(Value::as_str);
        let named = match (text("id"), text("type"), text("digest").and_then(Digest::parse)) {
            (Some(id), ..) => {
                EvidenceId::parse(id).and_then(|id| store.get(&id)).into_iter().collect()
            }
            (None, Some(kind), Some(digest)) => {
                store.of_digest(kind, &digest, found.subject.as_ref(), FOUND_MAX)
            }
            _ => Vec::new(),
        };
        if named.is_empty() {
            found.unknown.push(text("type").filter(|it| it.len() <= 64).map(str::to_owned));
        }
        for piece in named {
            if pieces.len() < FOUND_MAX && pieces.iter().all(|it| it.id != piece.id) {
                pieces.push(piece);
            }
        }
    }
    // Entries know people by pseudonyms, policy by their names: those that it lists are tried.
    let listed = bundle.into_iter().flat_map(|bundle| bundle.evidence_issuers(&request.surface));
    let people = listed.filter_map(ActorId::parse).filter(|it| it.kind() == ActorKind::Human);
    let people: Vec<(ActorRef, ActorId)> = match pieces.iter().any(|it| it.issuer.is_human()) {
        true => people.map(|it| (names.actor_ref(&it), it)).collect(),
        false => Vec::new(),
    };
    let asking = std::iter::once(&caller.actor).chain(&caller.chain).chain(&request.on_behalf_of);
    let asking: Vec<ActorRef> = asking.map(|actor| names.actor_ref(actor)).collect();
    let issuer = |piece: &EvidencePiece| {
        let known = people.iter().find(|(known, _)| *known == piece.issuer);
        known.map_or_else(|| piece.issuer.as_str().to_owned(), |(_, name)| name.to_string())
    };
    found.evidence = pieces
        .iter()
        .map(|piece| FoundEvidence {
            id: piece.id,
            kind: piece.kind.clone(),
            digest: piece.digest,
            subject: piece.subject,
            issuer: issuer(piece),
            issued: piece.issued,
            expires: piece.expires,
            attested: piece.attested,
            // Nothing that a key signed counts once the key does not.
            revoked: piece.revoked || (piece.key.is_some() && !piece.attested),
            own: asking.contains(&piece.issuer),
        })
        .collect();
    found
}

/// The key whose signature makes an envelope the word of one issuer. Signatures of keys that are not known
/// here are passed over; one in the name of a key that is has to be good.
fn signer<'s>(
    store: &'s Evidence,
    envelope: &Envelope,
    wanted: Option<&ActorRef>,
) -> Result<&'s EvidenceKey, PlaneError> {
    let good = |signature: &EnvelopeSignature, key: &EvidenceKey| {
        VerifierKey::parse::<Fast>(&key.key).is_ok_and(|parsed| {
            envelope.is_signed(signature, parsed.public_key(), |key, message, sig| {
                verify_ed25519(key, message, sig)
            })
        })
    };
    let candidates =
        || store.keys().filter(|it| !it.revoked && wanted.is_none_or(|who| it.issuer == *who));
    let mut found: Vec<&EvidenceKey> = Vec::new();
    for signature in envelope.signatures() {
        match &signature.keyid {
            Some(keyid) => {
                let Some(key) = store.keys().find(|it| is_named(it, keyid)) else { continue };
                if key.revoked || !good(signature, key) {
                    return Err(PlaneError::Rejected(Rejection::EvidenceSignature));
                }
                found.extend(candidates().find(|it| it.key == key.key));
            }
            // Without a name each key would have to be tried: only those of one issuer are.
            None if wanted.is_some() => found.extend(candidates().find(|key| good(signature, key))),
            None => {}
        }
    }
    match found.split_first() {
        None => Err(PlaneError::Rejected(Rejection::IssuerKeyUnknown)),
        Some((first, rest)) if rest.iter().all(|it| it.issuer == first.issuer) => Ok(first),
        Some(_) => Err(PlaneError::Rejected(Rejection::IssuerUnclear)),
    }
}

/// Whether a keyid names a key: by its verifier key, whatever name stands in that, or by the SHA-256 of the
/// public key in hex.
fn is_named(key: &EvidenceKey, keyid: &str) -> bool {
    let Ok(parsed) = VerifierKey::parse::<Fast>(&key.key) else { return key.key == keyid };
    let same = |other: VerifierKey| other.public_key() == parsed.public_key();
    VerifierKey::parse::<Fast>(keyid).is_ok_and(same)
        || hex_encode(&Fast::sha256(&[parsed.public_key()])) == keyid
}

/// The subject of a statement that a piece is to speak of.
fn chosen(
    subjects: &std::collections::BTreeSet<Digest>,
    wanted: Option<Digest>,
) -> Result<Digest, PlaneError> {
    let unclear = || PlaneError::Rejected(Rejection::SubjectUnclear);
    match wanted {
        Some(wanted) => subjects.get(&wanted).copied().ok_or_else(unclear),
        None if subjects.len() == 1 => subjects.first().copied().ok_or_else(unclear),
        None => Err(unclear()),
    }
}
