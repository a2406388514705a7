//! Bundles under the constitution: who may publish, go back, withdraw and review, and what no bundle
//! can close.
//!
//! ```text
//! draft bob BUNDLE [KEY]        arm bob d1 BUNDLE [replaces=BUNDLE] [KEY] [lends=ann/admin]      retract bob BUNDLE
//! review eve d1                 author bob trust|revoke KEY
//! ```

use super::notation::{Options, Scene, check};
use super::world::{Runs, digest};
use placet_engine::{ArmUnder, AuthorChange, Command, DraftBundle};
use placet_types::Digest;
use placet_types::event::{
    Arming, AuthorKey, BundleArmed, BundleWithdrawn, Event, ReviewClosed, Signed,
};
use placet_types::ids::{DecisionId, TimeMs};

const HOUR: u64 = 3_600_000;

impl Scene {
    pub(crate) fn policy(&mut self, words: &[&str], options: &Options<'_>) -> Command {
        let by = self.who(words[1]);
        let signed = |at: usize| {
            let key = words.get(at).filter(|word| !word.contains('='))?;
            Some(Signed { key: (*key).to_owned(), signature: "good".into() })
        };
        match words[0] {
            "draft" => Command::DraftBundle(Box::new(DraftBundle {
                bundle: bundle(words[2]),
                by,
                cases: 0,
                replaces: None,
                rules: 1,
                signed: signed(3),
                warnings: 0,
            })),
            "arm" => {
                let id = self.id(words[2]);
                let (index, prior) = self.world().decision(id);
                let named = words.iter().find_map(|word| word.strip_prefix("replaces="));
                let verdict = self.verdict(&prior.surface.clone());
                let lends = self.lends(options);
                let narrowed = std::mem::take(&mut self.narrowed);
                let world = self.world();
                let replaces = named.map_or(world.state.policy(), |name| Some(bundle(name)));
                Command::ArmUnder(Box::new(ArmUnder {
                    by,
                    index,
                    prior: prior.into(),
                    permit: world.id(),
                    permit_ms: 60_000,
                    windows: Vec::new(),
                    verdict,
                    lends,
                    evidence: Vec::new(),
                    bundle: bundle(words[3]),
                    replaces,
                    signed: signed(4),
                    language: 1,
                    solo_delay_ms: 600_000,
                    review_ms: 24 * HOUR,
                    narrowed,
                }))
            }
            "retract" => {
                let reason = "case-1".into();
                Command::WithdrawBundle { bundle: bundle(words[2]), reason, by }
            }
            "review" => Command::CloseReview { decision: self.id(words[2]), by },
            _ => {
                let (key, trust) = (words[3].to_owned(), words[2] == "trust");
                Command::ChangeAuthor(Box::new(AuthorChange { key, trust, by, decision: None }))
            }
        }
    }
}

/// `0` is the bundle of genesis.
fn bundle(name: &str) -> Digest {
    digest(&if name == "0" { "bundle 0".to_owned() } else { name.to_owned() })
}

const PEOPLE: &str = "person ann admin
     person bob admin
     person eve auditor
     person olga operator
     agent bot operator,admin
     rule a pay allow\n";

#[track_caller]
fn two(rows: &str) {
    check(&format!("{PEOPLE}{rows}"));
}

#[test]
fn another_admin_releases_what_an_admin_proposed() {
    two("draft ann b1                                     -> bundle.drafted
         draft ann b1                                     -> nothing
         draft olga b1                                    -> ! role_missing
         draft bot b1                                     -> ! not_human
         decide bot policy.publish d0 action=publish      -> DENY constitution.admin-only
         decide olga policy.publish d1 action=publish     -> DENY constitution.admin-only
         decide ann policy.publish d2 action=publish      -> REQUIRE_APPROVAL admin:1
         arm ann d2 b1                                    -> ! approval_pending
         vote ann d2                                      -> ! own_approval
         vote olga d2                                     -> ! role_missing
         vote bot d2                                      -> ! not_human
         vote bob d2                                      -> approved
         arm olga d2 b1                                   -> ! role_missing
         arm bot d2 b1                                    -> ! not_human
         arm bob d2 b1 replaces=b7                        -> ! publication_stale
         arm bob d2 0                                     -> ! bundle_in_force
         arm bob d2 b1       -> collected consumed; bundle.armed; outcome.reported
         arm bob d2 b2                                    -> ! permit_consumed
         arm ann d2 b1                                    -> ! permit_consumed
         report ann d2                                    -> ! already_reported");
}

/// The verdict under which it is released rests on roles that its author has then, not on those it had.
#[test]
fn a_role_that_its_author_lost_releases_no_bundle() {
    two("newkey ann cem admin,builder                     -> key.created
         decide cem policy.publish d1 action=publish      -> REQUIRE_APPROVAL admin:1
         decide cem policy.publish d2 action=publish      -> REQUIRE_APPROVAL admin:1
         vote bob d1                                      -> approved
         vote bob d2                                      -> approved
         arm bob d1 b1 lends=cem/builder -> collected consumed; bundle.armed; outcome.reported
         trip bob role:builder revoke                     -> kill.tripped
         arm bob d2 b2 lends=cem/builder                  -> ! policy_moved");
}

#[test]
fn either_of_them_collects_and_nobody_else() {
    two("newkey ann cem admin                             -> key.created
         decide ann policy.publish d1 action=publish      -> REQUIRE_APPROVAL admin:1
         vote bob d1                                      -> approved
         arm cem d1 b1                                    -> ! foreign
         arm ann d1 b1       -> collected consumed; bundle.armed; outcome.reported
         # A permit that was collected and not used, as a crash leaves it, is used by its author.
         decide ann policy.publish d2 action=publish      -> REQUIRE_APPROVAL admin:1
         vote bob d2                                      -> approved
         collect ann d2 nonce=n                           -> collected consumed
         arm bob d2 b2                                    -> ! foreign
         arm ann d2 b2                                    -> bundle.armed; outcome.reported
         decide ann policy.publish d3 action=publish      -> REQUIRE_APPROVAL admin:1
         vote bob d3                                      -> approved
         collect ann d3 nonce=n                           -> collected consumed
         +60000
         arm ann d3 b3                                    -> ! permit_expired
         # Another action of the surface, another surface: no permit to arm anything.
         decide ann policy.publish d4                     -> REQUIRE_APPROVAL admin:1
         vote bob d4                                      -> approved
         arm ann d4 b4                                    -> ! no_permit
         decide ann pay d5                                -> PERMIT
         arm ann d5 b4                                    -> ! no_permit");
}

#[test]
fn everything_is_checked_again_at_the_release() {
    two("decide ann policy.publish d1 action=publish      -> REQUIRE_APPROVAL admin:1
         vote bob d1                                      -> approved
         trip olga workspace                              -> kill.tripped
         arm bob d1 b1                                    -> ! killed
         lift ann workspace                               -> asked
         lift bob workspace                               -> kill.lifted
         arm bob d1 b1                                    -> ! permit_revoked
         decide ann policy.publish d2 action=publish      -> REQUIRE_APPROVAL admin:1
         vote bob d2                                      -> approved
         +3600000
         tick                                             -> expired; expired
         arm bob d2 b1                                    -> ! approval_final
         # The approver, then the author, lose the role.
         decide ann policy.publish d3 action=publish      -> REQUIRE_APPROVAL admin:1
         vote bob d3                                      -> approved
         newkey ann cem admin                             -> key.created
         revokekey cem bob                                -> key.revoked
         arm ann d3 b1                                    -> invalidated
         decide ann policy.publish d4 action=publish      -> REQUIRE_APPROVAL admin:1
         vote cem d4                                      -> approved
         revokekey cem ann                                -> key.revoked
         arm cem d4 b1                                    -> invalidated");
}

/// What a hostile bundle could say on the surfaces of the constitution, and what comes of it.
#[test]
fn no_bundle_closes_the_way_to_the_next() {
    for hostile in [
        "rule x policy.publish deny floor",
        "rule x policy.publish deny",
        "rule x policy.publish throttle wait=86400000",
        "rule x policy.publish allow",
        "rule x policy.publish deny error",
        "rule x policy.publish hold roles=unicorn:1",
        "rule x policy.publish hold roles=admin:1000",
        "rule x policy.publish hold roles=admin:2",
        "rule x policy.publish hold limit=0/1000 roles=unicorn:1",
        "rule x policy.publish hold advice roles=admin:1",
        "rule constitution.single-admin policy.publish hold roles=eve:1",
        "rule x policy.publish constrain max_retries=1",
    ] {
        let demand = "REQUIRE_APPROVAL admin:1";
        two(&format!(
            "{hostile}
             decide ann policy.publish d1 action=publish   -> {demand}
             vote bob d1                                   -> approved
             arm bob d1 b1   -> collected consumed; bundle.armed; outcome.reported"
        ));
    }
    // A demand that people of today can meet counts, without its haste.
    two("rule x policy.publish hold roles=auditor:1 expires=1 use=1
         decide ann policy.publish d1 action=publish       -> REQUIRE_APPROVAL admin:1,auditor:1
         +1000
         tick                                              -> nothing
         vote bob d1                                       -> missing auditor:1
         vote eve d1                                       -> approved
         +1000
         arm bob d1 b1   -> collected consumed; bundle.armed; outcome.reported
         # Once nobody can meet it any more, it falls; what waits keeps its demand, and is asked for anew.
         decide ann policy.publish d2 action=publish       -> REQUIRE_APPROVAL admin:1,auditor:1
         revokekey ann eve                                 -> key.revoked
         vote bob d2                                       -> missing auditor:1
         decide ann policy.publish d3 action=publish       -> REQUIRE_APPROVAL admin:1");
    // On the other surfaces of the constitution a bundle may say no, and is replaced.
    two("rule x key.create deny floor
         rule y override.freeze hold roles=unicorn:1
         rule z role.grant allow
         decide ann key.create d1                          -> DENY x
         decide ann override.freeze d2                     -> REQUIRE_APPROVAL admin:1,unicorn:1
         decide ann role.grant d3                          -> REQUIRE_APPROVAL admin:1
         decide ann policy.publish d4 action=publish       -> REQUIRE_APPROVAL admin:1");
}

#[test]
fn nobodys_flood_keeps_people_from_publishing() {
    two(
        "world queue=1 keys=3
         rule h pay hold
         rule a pay allow
         decide bot pay d1                                 -> REQUIRE_APPROVAL operator:1
         decide bot pay d2                                 -> THROTTLE approval_queue_full retry=5000
         decide bot pay d3                                 -> THROTTLE approval_queue_full retry=5000
         decide bot pay d4                                 -> ! idempotency_full
         decide ann policy.publish p1 action=publish       -> REQUIRE_APPROVAL admin:1",
    );
}

#[test]
fn a_single_admin_publishes_alone_and_solo_sleeps_on_it() {
    check(
        "person ann admin
         decide ann policy.publish d1 action=publish      -> PERMIT
         arm ann d1 b1                                    -> bundle.armed; outcome.reported
         arm ann d1 b2                                    -> ! permit_consumed
         decide ann policy.publish d2 action=publish      -> PERMIT
         +60000
         arm ann d2 b2                                    -> ! permit_expired",
    );
    check(
        "world solo
         person ann admin
         person bob admin
         decide ann policy.publish d1 action=publish      -> PERMIT
         arm ann d1 b1                                    -> ! not_found
         draft ann b1                                     -> bundle.drafted
         arm ann d1 b1                                    -> ! too_early
         +599999
         decide ann policy.publish d2 action=publish      -> PERMIT
         arm ann d2 b1                                    -> ! too_early
         +1
         arm ann d2 b1                                    -> bundle.armed; outcome.reported",
    );
    check(
        "world dev no-bundle
         person ann admin
         agent bot admin
         decide bot policy.publish d1 action=publish      -> DENY constitution.admin-only
         decide ann policy.publish d2 action=publish      -> PERMIT
         arm ann d2 b1                                    -> bundle.armed; outcome.reported",
    );
}

#[test]
fn one_person_goes_back_once_and_answers_for_it() {
    two("decide olga policy.rollback r0 action=emergency  -> PERMIT
         arm olga r0 b7                                   -> ! nothing_before
         decide ann policy.publish d1 action=publish      -> REQUIRE_APPROVAL admin:1
         vote bob d1                                      -> approved
         arm bob d1 b1       -> collected consumed; bundle.armed; outcome.reported
         # Not to any other, not by a machine, not by an auditor; a bundle has no say.
         rule x policy.rollback deny floor                -> bundle.armed
         decide eve policy.rollback r1 action=emergency   -> DENY constitution.operator-only
         decide bot policy.rollback r2 action=emergency   -> DENY constitution.operator-only
         decide olga policy.rollback r3 action=emergency  -> PERMIT
         arm olga r3 0                                    -> ! nothing_before
         arm ann r3 b1                                    -> ! foreign
         arm olga r3 b1                                   -> bundle.armed; outcome.reported
         # What was left does not come back by one person's word.
         decide ann policy.rollback r4 action=emergency   -> PERMIT
         arm ann r4 b1                                    -> ! bundle_in_force
         arm ann r4 0                                     -> ! nothing_before
         review olga r3                                   -> ! own_review
         review bot r3                                    -> ! not_human
         +86400000
         decide olga policy.rollback r5 action=emergency  -> DENY constitution.review-overdue
         decide ann policy.rollback r6 action=emergency   -> PERMIT
         review eve r3                                    -> review.closed
         review eve r3                                    -> ! not_found
         decide olga policy.rollback r7 action=emergency  -> PERMIT");
}

#[test]
fn two_people_go_back_to_any_bundle_that_was_in_force_and_is_not_withdrawn() {
    two("decide ann policy.publish d1 action=publish      -> REQUIRE_APPROVAL admin:1
         vote bob d1                                      -> approved
         arm bob d1 b1       -> collected consumed; bundle.armed; outcome.reported
         decide ann policy.publish d2 action=publish      -> REQUIRE_APPROVAL admin:1
         vote bob d2                                      -> approved
         arm bob d2 b2       -> collected consumed; bundle.armed; outcome.reported
         decide olga policy.rollback r0 action=rollback   -> DENY constitution.admin-only
         decide ann policy.rollback r1 action=rollback    -> REQUIRE_APPROVAL admin:1
         vote bob r1                                      -> approved
         arm ann r1 b9                                    -> ! not_found
         arm ann r1 0        -> collected consumed; bundle.armed; outcome.reported
         retract olga b1                                  -> ! role_missing
         retract bot b1                                   -> ! not_human
         retract ann 0                                    -> ! bundle_in_force
         retract ann b9                                   -> ! not_found
         retract ann b1                                   -> bundle.withdrawn
         retract bob b1                                   -> nothing
         draft ann b1                                     -> ! bundle_withdrawn
         decide ann policy.rollback r2 action=rollback    -> REQUIRE_APPROVAL admin:1
         vote bob r2                                      -> approved
         arm bob r2 b1                                    -> ! bundle_withdrawn
         arm bob r2 b2       -> collected consumed; bundle.armed; outcome.reported
         # The bundle before the last publication may be withdrawn too.
         decide ann policy.publish d3 action=publish      -> REQUIRE_APPROVAL admin:1
         vote bob d3                                      -> approved
         arm bob d3 b3       -> collected consumed; bundle.armed; outcome.reported
         retract ann b2                                   -> bundle.withdrawn
         decide olga policy.rollback r3 action=emergency  -> PERMIT
         arm olga r3 b2                                   -> ! bundle_withdrawn");
}

#[test]
fn where_authors_count_every_bundle_needs_one() {
    two("author olga trust k1                             -> ! role_missing
         author bot trust k1                              -> ! not_human
         author ann revoke k1                             -> ! not_found
         author ann trust k1                              -> author.trusted
         author bob trust k1                              -> nothing
         decide ann policy.publish d1 action=publish      -> REQUIRE_APPROVAL admin:1
         vote bob d1                                      -> approved
         arm bob d1 b1                                    -> ! bundle_unsigned
         arm bob d1 b1 k2                                 -> ! bundle_unsigned
         arm bob d1 b1 k1    -> collected consumed; bundle.armed; outcome.reported
         # What was in force unsigned does not come back unsigned, not even in an emergency.
         decide olga policy.rollback r1 action=emergency  -> PERMIT
         arm olga r1 0                                    -> ! bundle_unsigned
         # Nor by way of a start.
         rule q pay deny                                  -> ! bundle_unsigned
         author bob revoke k1                             -> author.revoked
         arm olga r1 0                                    -> bundle.armed; outcome.reported");
}

#[test]
fn what_is_remembered_is_bounded() {
    two("world drafts=2 withdrawn=1
         draft ann b1                                     -> bundle.drafted
         draft ann b2                                     -> bundle.drafted
         draft ann b3                                     -> bundle.drafted
         retract ann b1                                   -> ! not_found
         retract ann b2                                   -> bundle.withdrawn
         retract ann b3                                   -> ! bundles_full");
}

/// A log that says what no step plans is refused, and a snapshot at any point goes on as the log.
#[test]
fn the_fold_refuses_what_no_step_plans_and_snapshots_agree() {
    let mut scene = Scene::default();
    for line in PEOPLE.lines().filter(|line| !line.is_empty()) {
        scene.line(line.trim());
    }
    for line in [
        "author ann trust k1",
        "draft ann b1 k1",
        "decide ann policy.publish d1 action=publish",
        "vote bob d1",
        "arm bob d1 b1 k1",
        "author ann revoke k1",
        "decide olga policy.rollback r1 action=emergency",
        "arm olga r1 0",
        "retract ann b1",
        "draft ann b2",
    ] {
        let said = scene.line(line);
        assert!(!said.contains('!'), "{line}: {said}");
    }
    let world = scene.world();
    world.check_replay();
    for at in 1..=world.log.len() {
        let revived = world.revived(&mut Runs::default(), at);
        assert_eq!(world.fingerprint(&revived), world.fingerprint(&world.state), "from {at}");
    }
    let fresh = DecisionId::from_bytes([9; 16]);
    let olga = world.state.reviews().next().unwrap().clone();
    let current = world.state.policy();
    let armed = BundleArmed {
        how: Arming::Published,
        decision: Some(fresh),
        replaces: current,
        ..BundleArmed::seed(bundle("b9"), 1)
    };
    let mut said = |event: Event| {
        let entry = world.entry(event);
        world.replayed().apply(&entry).map_or_else(|e| e.to_string(), |()| "applied".to_owned())
    };
    let refused = [
        (BundleArmed { decision: None, ..armed.clone() }, "without a decision"),
        (BundleArmed { replaces: None, ..armed.clone() }, "another bundle"),
        (BundleArmed { decision: Some(olga.decision), ..armed.clone() }, "a second bundle"),
        (BundleArmed { bundle: bundle("b1"), ..armed.clone() }, "withdrawn"),
    ];
    for (event, why) in refused {
        assert!(said(Event::BundleArmed(event)).contains(why), "{why}");
    }
    assert_eq!(said(Event::BundleArmed(armed)), "applied");
    let own = ReviewClosed { by: olga.by.clone(), decision: olga.decision };
    assert!(said(Event::ReviewClosed(own.clone())).contains("its reviewer did"));
    let other = ReviewClosed { decision: fresh, ..own };
    assert!(said(Event::ReviewClosed(other)).contains("not open"));
    let (by, reason) = (olga.by.clone(), "case-1".to_owned());
    let again = BundleWithdrawn { bundle: bundle("b1"), by: by.clone(), reason };
    assert!(said(Event::BundleWithdrawn(again.clone())).contains("a second time"));
    let current = BundleWithdrawn { bundle: current.unwrap(), ..again };
    assert!(said(Event::BundleWithdrawn(current)).contains("in force"));
    let key = AuthorKey { by, decision: None, key: "k1".into() };
    assert!(said(Event::AuthorRevoked(key)).contains("unknown author"));
    assert_eq!(olga.due, olga.since.plus(24 * HOUR));
    assert!(olga.since > TimeMs(0));
}
