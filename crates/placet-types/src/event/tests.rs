//! Every event type once: written, read back equal, and refused when a byte or member differs.

use super::*;
use crate::ids::{
    ApprovalId, DecisionId, DelegationId, EvidenceId, ExceptionId, HoldId, KeyId, PermitId,
};
use crate::json::Object;
use crate::policy::{Aspect, ConditionError, Effect, Layer, Outcome, Reason};
use crate::surface::SurfacePattern;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec;

fn entry(event: Event) -> Entry {
    Entry {
        time: TimeMs(1_795_219_199_999),
        workspace: WorkspaceName::parse("bank").unwrap(),
        epoch: 3,
        dev: true,
        solo: false,
        name: "dec_x".into(),
        commitment: Digest([7; 32]),
        payload: Digest([8; 32]),
        event,
    }
}

fn actor() -> ActorRef {
    ActorRef::parse("agent:support").unwrap()
}

fn permit() -> PermitIssued {
    PermitIssued {
        id: PermitId::from_bytes([3; 16]),
        audience: actor(),
        expires: TimeMs(5),
        nonce: Some(Digest([9; 32])),
        consumed: true,
    }
}

fn decision() -> DecisionEvent {
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
    }
}

fn steps() -> Vec<EscalationStep> {
    let step = |at, role: &str| EscalationStep {
        at: TimeMs(at),
        instead_of: BTreeSet::from(["operator".into()]),
        roles: BTreeMap::from([(role.into(), 1)]),
    };
    vec![step(4, "admin"), step(5, "release_owner")]
}

fn hold(scope: HoldScope) -> Event {
    let hold = HoldId::from_bytes([5; 16]);
    Event::HoldPlaced(HoldPlaced { hold, scope, by: actor(), reason: "case-2026.7".into() })
}

fn signed() -> Signed {
    Signed { key: "ann+00000001+A".into(), signature: "c2ln".into() }
}

fn exception() -> ExceptionOpened {
    let mut waives = Waives::default();
    for text in ["floor", "evidence", "rule:no-git", "rule:surface:git.change:field.x"] {
        assert!(waives.add(text), "{text}");
    }
    let controls = ["constraint:{\"read_only\":true}", "evidence:ticket", "max_uses:3"];
    let more = ["notify:ops", "second_person"];
    let controls = controls.into_iter().chain(more).map(|it| Control::parse(it).unwrap());
    ExceptionOpened {
        exception: ExceptionId::from_bytes([6; 16]),
        scope: ExceptionScope {
            surface: "git.change".into(),
            actor: actor(),
            action: Some("push".into()),
            environment: Some("production".into()),
            capability: Some("crm-writer".into()),
            target: Some(Pseudonym([1; 32])),
            execution: Some(Pseudonym([2; 32])),
        },
        waives,
        controls: controls.collect(),
        reason: "incident-7".into(),
        owner: actor(),
        by: actor(),
        key: Some(KeyId::from_bytes([4; 16])),
        decision: DecisionId::from_bytes([1; 16]),
        break_glass: true,
        ends: TimeMs(9),
        review_ms: 86_400_000,
        retroactive: Some((TimeMs(1), TimeMs(2))),
        policy: Some(Digest([1; 32])),
    }
}

fn author() -> AuthorKey {
    let decision = Some(DecisionId::from_bytes([1; 16]));
    AuthorKey { by: actor(), decision, key: "ann+00000001+A".into() }
}

fn evidence() -> EvidenceAdded {
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

fn issuer_key() -> IssuerKey {
    let decision = Some(DecisionId::from_bytes([1; 16]));
    IssuerKey { by: actor(), decision, issuer: actor(), key: "ci+00000001+A".into() }
}

fn all() -> Vec<Event> {
    let decision_id = DecisionId::from_bytes([1; 16]);
    let approval = ApprovalId::from_bytes([2; 16]);
    let principal = Principal {
        key: KeyId::from_bytes([4; 16]),
        actor: ActorRef::new(&ActorId::parse("human:ann").unwrap(), |_| Pseudonym([1; 32])),
        hash: Digest([4; 32]),
        environment: "production".into(),
        roles: BTreeSet::from(["admin".into(), "operator".into()]),
    };
    let ended = PermitEnded {
        decision: decision_id,
        index: 4,
        permit: permit().id,
        reason: Some("killed".into()),
    };
    let kill = KillEvent {
        scope: KillScope::Workspace,
        mode: OverrideMode::Kill,
        source: KillSource::Api,
        by: Some(actor()),
        not_before: Some(TimeMs(1)),
    };
    vec![
        Event::Genesis(Genesis {
            instance: "0123456789abcdef".into(),
            origin: "placet/0123456789abcdef/bank".into(),
            vkeys: vec!["v".into()],
            principals: vec![principal.clone()],
            bundle: Some(Digest([1; 32])),
            constitution: 1,
        }),
        Event::Decision(Arc::new(decision())),
        Event::PermitCollected(PermitCollected {
            decision: decision_id,
            approval,
            permit: permit(),
            constraints: None,
            policy: Some(Digest([1; 32])),
        }),
        Event::PermitCollected(PermitCollected {
            decision: decision_id,
            approval,
            permit: permit(),
            constraints: Some(Object::new().with("max_retries", 1_i64)),
            policy: None,
        }),
        Event::PermitConsumed(PermitConsumed {
            decision: decision_id,
            permit: permit().id,
            by: actor(),
            nonce: None,
            surface: None,
        }),
        Event::PermitConsumed(PermitConsumed {
            decision: decision_id,
            permit: permit().id,
            by: actor(),
            nonce: Some(Digest([9; 32])),
            surface: Some("payments.refund".into()),
        }),
        Event::PermitExpired(PermitEnded { reason: None, ..ended.clone() }),
        Event::PermitRevoked(ended),
        Event::OutcomeReported(OutcomeReported {
            decision: decision_id,
            index: 4,
            by: actor(),
            result: ReportedResult::NotExecuted,
            surface: None,
        }),
        Event::OutcomeReported(OutcomeReported {
            decision: decision_id,
            index: 4,
            by: actor(),
            result: ReportedResult::Succeeded,
            surface: Some("payments.refund".into()),
        }),
        Event::PassageReported(PassageReported {
            surface: "payments.refund".into(),
            surface_known: true,
            action: "create".into(),
            environment: "production".into(),
            by: actor(),
            key: Some(KeyId::from_bytes([4; 16])),
            at: TimeMs(7),
            open: true,
            policy: Some(Digest([1; 32])),
        }),
        Event::PassageReported(PassageReported {
            surface: "x".into(),
            surface_known: false,
            action: "y".into(),
            environment: "development".into(),
            by: actor(),
            key: None,
            at: TimeMs(0),
            open: false,
            policy: None,
        }),
        Event::ApprovalVoted(ApprovalVoted {
            decision: decision_id,
            approval,
            by: actor(),
            key: None,
            roles: BTreeSet::from(["operator".into()]),
            stands_in: Some(StandsIn { step: 1, role: "admin".into() }),
            through: vec![Through {
                delegation: DelegationId::from_bytes([6; 16]),
                of: actor(),
                role: "operator".into(),
            }],
            approve: true,
            complete: true,
            requirement: Digest([1; 32]),
            unechoed: true,
            via: None,
        }),
        Event::ApprovalVoted(ApprovalVoted {
            decision: decision_id,
            approval,
            by: actor(),
            key: None,
            roles: BTreeSet::from(["operator".into()]),
            stands_in: None,
            through: Vec::new(),
            approve: false,
            complete: false,
            requirement: Digest([1; 32]),
            unechoed: false,
            via: Some(VoteChannel::Telegram),
        }),
        Event::ApprovalClosed(ApprovalClosed {
            decision: decision_id,
            approval,
            state: CloseState::Expired,
        }),
        Event::ApprovalReopened(ApprovalReopened {
            decision: decision_id,
            approval,
            policy: Some(Digest([1; 32])),
            was: Digest([2; 32]),
            requirement: Digest([3; 32]),
            roles: BTreeMap::from([("operator".into(), 2)]),
            constraints: Object::new().with("max_retries", 0_i64),
            rules: vec!["a".into()],
            escalate: steps(),
            remind: Some(TimeMs(3)),
            votes_dropped: true,
            complete: true,
        }),
        Event::ApprovalReopened(ApprovalReopened {
            decision: decision_id,
            approval,
            policy: None,
            was: Digest([2; 32]),
            requirement: Digest([3; 32]),
            roles: BTreeMap::new(),
            constraints: Object::new(),
            rules: Vec::new(),
            escalate: Vec::new(),
            remind: None,
            votes_dropped: false,
            complete: false,
        }),
        Event::ApprovalEscalated(ApprovalEscalated {
            decision: decision_id,
            approval,
            step: 1,
            roles: BTreeMap::from([("admin".into(), 1)]),
        }),
        Event::ApprovalReminded(ApprovalReminded {
            decision: decision_id,
            approval,
            expires: TimeMs(7),
            missing: BTreeMap::from([("operator".into(), 1)]),
        }),
        Event::DelegationGranted(DelegationGranted {
            delegation: DelegationId::from_bytes([6; 16]),
            by: actor(),
            key: Some(KeyId::from_bytes([4; 16])),
            to: actor(),
            roles: BTreeSet::from(["operator".into()]),
            surfaces: vec![SurfacePattern::parse("payments.**").unwrap()],
            until: TimeMs(9),
        }),
        Event::ExceptionOpened(Arc::new(exception())),
        Event::ExceptionOpened(Arc::new(ExceptionOpened {
            scope: ExceptionScope {
                surface: ANY_SURFACE.into(),
                actor: actor(),
                action: None,
                environment: None,
                capability: None,
                target: None,
                execution: None,
            },
            controls: Vec::new(),
            key: None,
            break_glass: false,
            retroactive: None,
            policy: None,
            ..exception()
        })),
        Event::ExceptionEnded(ExceptionEnded {
            exception: ExceptionId::from_bytes([6; 16]),
            by: None,
        }),
        Event::ExceptionClosed(ExceptionEnded {
            exception: ExceptionId::from_bytes([6; 16]),
            by: Some(actor()),
        }),
        Event::ExceptionReviewed(ExceptionReviewed {
            exception: ExceptionId::from_bytes([6; 16]),
            by: actor(),
            justified: false,
            passages: 12,
        }),
        Event::DelegationEnded(DelegationEnded {
            delegation: DelegationId::from_bytes([6; 16]),
            by: Some(actor()),
        }),
        Event::KillTripped(kill.clone()),
        Event::KillLiftRequested(kill.clone()),
        Event::KillLifted(kill),
        Event::KillTripped(KillEvent {
            scope: KillScope::Actor(actor()),
            mode: OverrideMode::Freeze,
            source: KillSource::Manifest,
            by: None,
            not_before: None,
        }),
        Event::BundleShadowed(BundleShadowed {
            by: actor(),
            bundle: Some(Digest([6; 32])),
            decision: Some(DecisionId::from_bytes([1; 16])),
            language: 1,
        }),
        Event::BundleShadowed(BundleShadowed {
            by: actor(),
            bundle: None,
            decision: None,
            language: 1,
        }),
        Event::Decision(Arc::new(DecisionEvent { would: Some(Would::Skipped), ..decision() })),
        Event::BundleArmed(BundleArmed {
            decision: Some(decision_id),
            ..BundleArmed::seed(Digest([1; 32]), 1)
        }),
        Event::BundleArmed(BundleArmed {
            approvers: vec![actor(), actor()],
            author: Some(actor()),
            bundle: Digest([1; 32]),
            by: Some(actor()),
            decision: Some(decision_id),
            how: Arming::Emergency,
            language: 1,
            replaces: Some(Digest([2; 32])),
            review_by: Some(TimeMs(8)),
            signed: Some(signed()),
        }),
        Event::BundleDrafted(BundleDrafted {
            bundle: Digest([1; 32]),
            by: actor(),
            cases: 7,
            replaces: Some(Digest([2; 32])),
            rules: 3,
            signed: Some(signed()),
            warnings: 1,
        }),
        Event::BundleWithdrawn(BundleWithdrawn {
            bundle: Digest([1; 32]),
            by: actor(),
            reason: "case-2026.7".into(),
        }),
        Event::ReviewClosed(ReviewClosed { by: actor(), decision: decision_id }),
        Event::EvidenceAdded(evidence()),
        Event::EvidenceAdded(EvidenceAdded { key: None, ..evidence() }),
        Event::EvidenceRevoked(EvidenceRevoked {
            evidence: EvidenceId::from_bytes([9; 16]),
            by: actor(),
            reason: "tests-were-wrong".into(),
        }),
        Event::IssuerTrusted(issuer_key()),
        Event::IssuerRevoked(IssuerKey { decision: None, ..issuer_key() }),
        Event::AuthorTrusted(author()),
        Event::AuthorRevoked(AuthorKey { decision: None, ..author() }),
        Event::KeyCreated(KeyGrant {
            principal: principal.clone(),
            by: actor(),
            decision: Some(decision_id),
        }),
        Event::SessionOpened(SessionOpened {
            principal: principal.clone(),
            issuer: Some("corp".into()),
            expires: TimeMs(9),
            chain: Vec::new(),
            parent: None,
            token: Some(TokenUse { hash: Digest([8; 32]), until: TimeMs(10) }),
        }),
        Event::SessionOpened(SessionOpened {
            principal,
            issuer: None,
            expires: TimeMs(9),
            chain: vec![actor(), actor()],
            parent: Some(KeyId::from_bytes([4; 16])),
            token: None,
        }),
        Event::SessionNarrowed(SessionNarrowed {
            key: KeyId::from_bytes([4; 16]),
            roles: BTreeSet::from(["operator".into()]),
        }),
        Event::SessionClosed(SessionClosed {
            key: KeyId::from_bytes([4; 16]),
            by: actor(),
            reason: CloseReason::TakenBack,
        }),
        Event::KeyRevoked(KeyRevoked { key: KeyId::from_bytes([4; 16]), by: actor() }),
        Event::PayloadErased(PayloadErased {
            by: Some(actor()),
            decision: Some(decision_id),
            indices: vec![3, 4, 1 << 40],
            policy: Some(Digest([1; 32])),
            reason: "gdpr.art17".into(),
            early: true,
        }),
        hold(HoldScope::Workspace),
        hold(HoldScope::Decision(decision_id)),
        hold(HoldScope::Subject([7; 16])),
        Event::HoldReleased(HoldReleased {
            hold: HoldId::from_bytes([5; 16]),
            by: actor(),
            decision: Some(decision_id),
        }),
        Event::SignerRotated(SignerRotated {
            by: Some(actor()),
            decision: Some(decision_id),
            new: "placet/0123456789abcdef/bank+00000002+B".into(),
            note: "placet/handover/1\norigin o\n\n\u{2014} o b2xk\n\u{2014} o bmV3\n".into(),
            old: "placet/0123456789abcdef/bank+00000001+A".into(),
        }),
        Event::SignerRotated(SignerRotated {
            by: None,
            decision: None,
            new: "b".into(),
            note: "n".into(),
            old: "a".into(),
        }),
        Event::SignerRevoked(SignerRevoked {
            by: actor(),
            decision: Some(decision_id),
            from_size: Some(7),
            vkey: "a".into(),
        }),
        Event::SignerRevoked(SignerRevoked {
            by: actor(),
            decision: None,
            from_size: None,
            vkey: "a".into(),
        }),
        Event::Gap(Gap { from: TimeMs(1), to: TimeMs(2), refused: 3, cause: "restart".into() }),
        Event::AdmissionRefused(Refused { minute: TimeMs(60_000), count: 5, keys: 1 }),
    ]
}

#[test]
fn every_event_reads_back_as_written() {
    for event in all() {
        let entry = entry(event);
        let bytes = entry.to_bytes();
        let value = json::parse(&bytes, Limits::ENTRY).unwrap();
        assert_eq!(value.to_canonical(), bytes, "{}", entry.event.type_name());
        assert_eq!(Entry::parse(&bytes).as_ref(), Ok(&entry));
    }
}

#[test]
fn nothing_unknown_missing_or_spelt_otherwise_passes() {
    for event in all() {
        let kind = event.type_name();
        let text = String::from_utf8(entry(event).to_bytes()).unwrap();
        let refused = |altered: String| {
            assert_ne!(altered, text);
            assert!(Entry::parse(altered.as_bytes()).is_err(), "{kind}: {altered}");
        };
        refused(text.replacen("{\"data\":{", "{\"data\":{\"aaa\":1,", 1));
        refused(text.replacen("\"v\":1", "\"v\":2", 1));
        refused(text.replacen(":", ": ", 1));
        refused(text.replacen(&alloc::format!("\"type\":\"{kind}\""), "\"type\":\"x\"", 1));
        refused(text.replacen("\"epoch\":3,", "", 1));
        refused(text.replacen("\"epoch\":3,", "\"epoch\":3,\"epoch\":3,", 1));
        refused(text.replacen("\"dev\":true", "\"dev\":false", 1));
    }
}

#[test]
fn erased_indices_and_subjects_have_one_order_and_a_reason_is_a_code() {
    let of = |event: Event| String::from_utf8(entry(event).to_bytes()).unwrap();
    let refused = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from} in {text}");
        assert!(Entry::parse(text.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
    };
    let erased = of(all().into_iter().find(|e| e.type_name() == "payload.erased").unwrap());
    for indices in ["[]", "[4,3]", "[3,3]", "[-1]", "[3.5]", "[\"3\"]"] {
        refused(&erased, "[3,4,1099511627776]", indices);
    }
    for reason in ["", "GDPR", "human:ann", "a b", &"x".repeat(65)] {
        refused(&erased, "gdpr.art17", reason);
    }
    let many = PayloadErased {
        by: None,
        decision: None,
        indices: (0..513).map(|at| (1 << 39) + at).collect(),
        policy: None,
        reason: "retention".into(),
        early: false,
    };
    assert!(Entry::parse(of(Event::PayloadErased(many.clone())).as_bytes()).is_err());
    let full = PayloadErased { indices: many.indices[..512].to_vec(), ..many };
    let bytes = of(Event::PayloadErased(full));
    assert!(bytes.len() <= ENTRY_BYTES_MAX && Entry::parse(bytes.as_bytes()).is_ok());
    let decided = of(Event::Decision(Arc::new(decision())));
    let (one, two) = ("01".repeat(16), "02".repeat(16));
    let listed = alloc::format!("[\"{one}\",\"{two}\"]");
    refused(&decided, &listed, &alloc::format!("[\"{two}\",\"{one}\"]"));
    refused(&decided, &listed, "[]");
    refused(&decided, &listed, "[\"01\"]");
}

#[test]
fn what_an_exception_waives_and_asks_for_is_read_strictly() {
    let bytes = exception().to_bytes();
    assert_eq!(ExceptionOpened::from_bytes(&bytes), Some(exception()));
    assert_eq!(ExceptionOpened::from_bytes(&bytes[1..]), None);
    for bad in ["", "everything", "rule:", "rule:constitution.two-admins", "Floor", "layer:floor"] {
        assert!(!Waives::default().add(bad), "{bad}");
    }
    let mut twice = Waives::default();
    assert!(twice.add("floor") && !twice.add("floor"));
    for bad in [
        "",
        "second_person:2",
        "max_uses:0",
        "max_uses:01",
        "max_uses:-1",
        "notify:",
        "notify:a b",
        "evidence:",
        "constraint:",
        "constraint:{}",
        "constraint:{\"unknown\":1}",
        "constraint:[]",
    ] {
        assert_eq!(Control::parse(bad), None, "{bad}");
    }
}
