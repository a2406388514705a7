//! Every event type once: written, read back equal, and refused when a byte or member differs.

mod exceptions;

mod parts;

use self::exceptions::exception;
use super::*;
use crate::ids::{
    ApprovalId, DecisionId, DelegationId, EvidenceId, ExceptionId, ExecutionId, HoldId, KeyId,
    PermitId,
};
use crate::json::Object;
use crate::policy::{Aspect, ConditionError, Effect, Layer, Outcome, Reason};
use crate::surface::SurfacePattern;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec;

use parts::*;

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
        trip: Some(3),
        own: true,
    };
    let kill = KillEvent {
        scope: KillScope::Workspace,
        mode: OverrideMode::Kill,
        source: KillSource::Api,
        by: Some(actor()),
        not_before: Some(TimeMs(1)),
        waiting: 0,
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
        Event::PermitExpired(PermitEnded { reason: None, trip: None, own: false, ..ended.clone() }),
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
            reasons: Vec::new(),
        }),
        Event::ApprovalClosed(ApprovalClosed {
            decision: decision_id,
            approval,
            state: CloseState::Invalidated,
            reasons: vec![Reason::EvidenceExpired, Reason::Rule],
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
        Event::ExceptionOverdue(ExceptionOverdue {
            exception: ExceptionId::from_bytes([6; 16]),
            due: TimeMs(9),
        }),
        Event::DelegationEnded(DelegationEnded {
            delegation: DelegationId::from_bytes([6; 16]),
            by: Some(actor()),
        }),
        Event::ExecutionStarted(ExecutionStarted {
            execution: ExecutionId::from_bytes([5; 16]),
            index: 7,
            by: actor(),
            on_behalf_of: vec![ActorRef::parse("agent:outer").unwrap()],
            capability: "refunds".into(),
            branch: Some("b-1".into()),
            parent: Some(ExecutionId::from_bytes([6; 16])),
            max_concurrent: None,
            max_runtime_sec: None,
            max_steps: None,
            leads_to: vec![KillScope::Branch("b-2".into())],
        }),
        Event::ExecutionQueued(ExecutionStarted {
            execution: ExecutionId::from_bytes([5; 16]),
            index: 7,
            by: actor(),
            on_behalf_of: Vec::new(),
            capability: "refunds".into(),
            branch: None,
            parent: None,
            max_concurrent: Some(2),
            max_runtime_sec: Some(3600),
            max_steps: Some(9),
            leads_to: Vec::new(),
        }),
        Event::ExecutionTerminated(ExecutionTerminated {
            execution: ExecutionId::from_bytes([5; 16]),
            cause: TerminateCause::Steps,
        }),
        Event::ExecutionEnded(ExecutionEnded {
            execution: ExecutionId::from_bytes([5; 16]),
            by: actor(),
            state: EndState::Failed,
        }),
        Event::KillTripped(kill.clone()),
        Event::KillLiftRequested(kill.clone()),
        Event::KillLifted(kill.clone()),
        Event::KillTripped(KillEvent { waiting: 3, ..kill }),
        Event::KillDrilled(KillDrilled { by: actor(), scope: KillScope::Everything, waiting: 0 }),
        Event::KillDrilled(KillDrilled { by: actor(), scope: KillScope::Workspace, waiting: 2 }),
        Event::OverrideAcknowledged(OverrideAcknowledged {
            by: actor(),
            index: 7,
            stopped: 2,
            unreachable: 1,
        }),
        Event::KillTripped(KillEvent {
            scope: KillScope::Actor(actor()),
            mode: OverrideMode::Freeze,
            source: KillSource::Manifest,
            by: None,
            not_before: None,
            waiting: 0,
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
        Event::ReleaseRegistered(ReleaseRegistered {
            approvals: vec![approval],
            by: actor(),
            change: Some(decision_id),
            decision: decision_id,
            evaluations: vec![EvidenceId::from_bytes([9; 16])],
            gaps: vec!["approval_own".into()],
            name: "app-1.4".into(),
            subject: Digest([2; 32]),
        }),
        Event::AliasChanged(AliasChanged {
            alias: "app".into(),
            before: Some("release:app-1.3".into()),
            by: actor(),
            decision: decision_id,
            to: "release:app-1.4".into(),
        }),
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
        Event::LogSucceeded(LogSucceeded {
            new: "placet/fedcba9876543210/bank+00000002+B".into(),
            note: "placet/succession/1\nsize 3\n\n\u{2014} o b2xk\n\u{2014} n bmV3\n".into(),
            old: "placet/0123456789abcdef/bank+00000001+A".into(),
            signed: Some(9),
        }),
        Event::LogSucceeded(LogSucceeded {
            new: "b".into(),
            note: "n".into(),
            old: "a".into(),
            signed: None,
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
fn every_type_is_listed() {
    let all: BTreeSet<&str> = all().iter().map(Event::type_name).collect();
    assert_eq!(all, Event::TYPES.into_iter().collect());
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
fn a_decision_is_under_its_scopes_and_no_other() {
    let under =
        ["branch:b", "capability:crm", "job:job_00000000000000000000000000000001", "model:m"];
    let scope = |text: &str| KillScope::parse(text).expect("a scope");
    let plain = DecisionEvent {
        under: Vec::new(),
        leads_to: Vec::new(),
        on_behalf_of: Vec::new(),
        ..decision()
    };
    let full =
        DecisionEvent { under: under.map(scope).into(), on_behalf_of: vec![actor()], ..decision() };
    let changes = DecisionEvent { under: vec![scope("alias:main")], ..plain.clone() };
    let names = ["crm", "b", "m", "main", "other"];
    let kinds = ["alias", "branch", "capability", "model", "role", "surface"];
    let named = kinds.iter().flat_map(|kind| names.map(|name| alloc::format!("{kind}:{name}")));
    let mut scopes: Vec<KillScope> = named.map(|text| scope(&text)).collect();
    scopes.extend(
        ["actor:agent:nobody", "execution:exe_00000000000000000000000000000001"].map(scope),
    );
    scopes.extend([plain.scopes(), full.scopes(), changes.scopes()].concat());
    for event in [plain, full, changes] {
        let own = event.scopes();
        for scope in &scopes {
            assert_eq!(event.is_under(scope), own.contains(scope), "{scope}");
        }
        assert!(event.is_under(&KillScope::Workspace) && event.is_under(&KillScope::Everything));
    }
}

#[test]
fn an_alias_is_stopped_in_its_use_or_its_change() {
    let alias = KillScope::Alias("main".into());
    let changes = [KillScope::Surface("alias.change".into())];
    let uses = [KillScope::Surface("git.change".into())];
    let of = |mode| [alias.stops(mode, &changes), alias.stops(mode, &uses)];
    assert_eq!(of(OverrideMode::Freeze), [true, false]);
    assert_eq!(of(OverrideMode::Disable), [false, true]);
    assert_eq!(of(OverrideMode::Kill), [true, true]);
    let surface = KillScope::Surface("alias.change".into());
    assert!(surface.stops(OverrideMode::Disable, &changes));
}
