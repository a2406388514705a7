//! What the samples are made of.

use super::*;

pub(super) fn actor() -> ActorRef {
    ActorRef::parse("agent:support").unwrap()
}

pub(super) fn permit() -> PermitIssued {
    PermitIssued {
        id: PermitId::from_bytes([3; 16]),
        audience: actor(),
        expires: TimeMs(5),
        nonce: Some(Digest([9; 32])),
        consumed: true,
    }
}

pub(super) fn decision() -> DecisionEvent {
    DecisionEvent {
        decision: DecisionId::from_bytes([1; 16]),
        action_commitment: Digest([1; 32]),
        request_commitment: Digest([2; 32]),
        facts_commitment: Digest([3; 32]),
        actor: actor(),
        key: Some(KeyId::from_bytes([4; 16])),
        environment: "production".into(),
        surface: "payments.refund".into(),
        action: "create".into(),
        topic: Some("job.x".into()),
        target: Some(Pseudonym([5; 32])),
        subjects: vec![[1; 16], [2; 16]],
        trace: Some("t-1".into()),
        idempotency: [6; 16],
        window_ms: 86_400_000,
        previous: Some(41),
        on_behalf_of: vec![actor()],
        policy: Some(Digest([7; 32])),
        language: 1,
        surface_known: true,
        outcome: Outcome::RequireApproval,
        reasons: vec![Reason::Rule, Reason::Velocity],
        rules: vec!["a".into()],
        matched: vec![Matched {
            rule: "a".into(),
            layer: Layer::Floor,
            effect: Effect::RequireApproval,
            error: Some(ConditionError::Missing),
            window: Some(WindowUse { tag: [1; 16], count: 2, per_ms: 3, full: true }),
            advice: false,
        }],
        matched_all: Some((99, Digest([1; 32]))),
        constraints: Object::new().with("max_retries", 1_i64),
        approval: Some(ApprovalOpened {
            id: ApprovalId::from_bytes([2; 16]),
            audience: actor(),
            roles: BTreeMap::from([("operator".into(), 1), ("security_owner".into(), 2)]),
            expires: TimeMs(7),
            use_within_ms: 8,
            requirement: Digest([3; 32]),
            escalate: steps(),
            remind: Some(TimeMs(6)),
        }),
        retry_after_ms: Some(5),
        permit: Some(permit()),
        deadline: TimeMs(9),
        under: ["alias:main", "capability:refunds", "model:acme/large"]
            .map(|text| KillScope::parse(text).unwrap())
            .into(),
        leads_to: vec![KillScope::Branch("b-1".into()), KillScope::Model("acme/small".into())],
        would: Some(Would::Differ(Differing {
            policy: Digest([8; 32]),
            outcome: Outcome::Deny,
            aspects: vec![Aspect::Constraints, Aspect::Rules],
            rules: vec!["stricter".into()],
        })),
        exception: Some(Passage {
            exception: ExceptionId::from_bytes([6; 16]),
            waived: vec!["floor-rule".into(), "surface:git:field.x".into()],
            waived_all: Some(17),
        }),
        retroactive: Some(Outcome::Permit),
        would_outcome: Some(Outcome::Deny),
    }
}

pub(super) fn steps() -> Vec<EscalationStep> {
    let step = |at, role: &str| EscalationStep {
        at: TimeMs(at),
        instead_of: BTreeSet::from(["operator".into()]),
        roles: BTreeMap::from([(role.into(), 1)]),
    };
    vec![step(4, "admin"), step(5, "release_owner")]
}

pub(super) fn hold(scope: HoldScope) -> Event {
    let hold = HoldId::from_bytes([5; 16]);
    Event::HoldPlaced(HoldPlaced { hold, scope, by: actor(), reason: "case-2026.7".into() })
}

pub(super) fn signed() -> Signed {
    Signed { key: "ann+00000001+A".into(), signature: "c2ln".into() }
}

pub(super) fn author() -> AuthorKey {
    let decision = Some(DecisionId::from_bytes([1; 16]));
    AuthorKey { by: actor(), decision, key: "ann+00000001+A".into() }
}

pub(super) fn evidence() -> EvidenceAdded {
    EvidenceAdded {
        evidence: EvidenceId::from_bytes([9; 16]),
        by: actor(),
        digest: Digest([1; 32]),
        expires: TimeMs(9),
        issued: TimeMs(4),
        issuer: actor(),
        key: Some("ci+00000001+A".into()),
        kind: "test_report".into(),
        subject: Digest([2; 32]),
    }
}

pub(super) fn issuer_key() -> IssuerKey {
    let decision = Some(DecisionId::from_bytes([1; 16]));
    IssuerKey { by: actor(), decision, issuer: actor(), key: "ci+00000001+A".into() }
}
