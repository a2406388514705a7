//! Held decisions: who may decide them, how they end, and what is checked at release.

use super::notation::check;

#[test]
fn a_second_person_with_the_role_approves_what_was_seen() {
    check(
        "person ann operator
         person eve auditor
         agent bot
         agent ops operator
         service svc operator
         rule h pay hold
         decide bot pay d1               -> REQUIRE_APPROVAL operator:1
         vote ann nothing                -> ! not_found
         vote ops d1                     -> ! not_human
         vote svc d1                     -> ! not_human
         vote eve d1                     -> ! role_missing
         vote eve d1 no                  -> ! role_missing
         vote ann d1 digest=stale        -> ! stale_approval_digest
         vote ann d1 digest=none         -> ! approval_digest_missing
         vote ann d1 no digest=stale     -> ! stale_approval_digest
         collect bot d1                  -> ! approval_pending
         vote ann d1                     -> approved
         vote ann d1 no                  -> ! approval_final
         show d1                         -> approved
         collect ops d1                  -> ! foreign
         collect bot d1 nonce=1          -> collected consumed
         collect bot d1 nonce=1          -> nothing
         collect bot d1 nonce=2          -> ! permit_consumed
         collect bot d1                  -> ! permit_consumed
         withdraw bot d1                 -> ! approval_final
         # The same vote again is no other vote, and changes nothing.
         vote ann d1                     -> nothing
         # Fetching again ends with the permit.
         +60000
         collect bot d1 nonce=1          -> ! permit_consumed
         counters -> [0, 0, 1, 0, 0] consumed 1 reported 0 expired 0 revoked 0 approvals [1, 0, 0]",
    );
}

#[test]
fn nobody_decides_what_they_or_an_agent_of_theirs_proposed() {
    check(
        "person ann operator
         person bob operator
         person cat operator
         agent bot
         rule h pay hold roles=operator:1
         decide ann pay d1                  -> REQUIRE_APPROVAL operator:1
         vote ann d1                        -> ! own_approval
         vote ann d1 no                     -> ! own_approval
         vote bob d1                        -> approved
         decide bot pay d2 behalf=ann,bob   -> REQUIRE_APPROVAL operator:1
         vote ann d2                        -> ! own_approval
         vote bob d2                        -> ! own_approval
         vote cat d2                        -> approved
         collect ann d2                     -> ! foreign
         withdraw cat d2                    -> ! foreign
         withdraw bot d2                    -> withdrawn
         collect bot d2                     -> ! approval_final",
    );
}

#[test]
fn a_quorum_counts_people_and_one_person_fills_every_role_held() {
    check(
        "person ann operator
         person bob operator
         person two operator,owner
         person off owner
         agent bot
         rule h pay hold roles=operator:2
         decide bot pay d1   -> REQUIRE_APPROVAL operator:2
         vote ann d1         -> missing operator:1
         vote ann d1         -> nothing
         vote ann d1 no      -> ! already_voted
         collect bot d1      -> ! approval_pending
         vote bob d1         -> approved
         rule h pay hold roles=operator:1,owner:1 -> bundle.armed
         decide bot pay d2   -> REQUIRE_APPROVAL operator:1,owner:1
         vote two d2         -> approved
         decide bot pay d3   -> REQUIRE_APPROVAL operator:1,owner:1
         vote ann d3         -> missing owner:1
         vote bob d3         -> missing owner:1
         vote off d3         -> approved
         rule h pay hold roles=operator:2,owner:1 -> bundle.armed
         decide bot pay d4   -> REQUIRE_APPROVAL operator:2,owner:1
         vote two d4         -> missing operator:1
         vote off d4         -> missing operator:1
         vote ann d4 no      -> rejected
         vote bob d4         -> ! approval_final
         collect bot d4      -> ! approval_final
         show d4             -> rejected",
    );
}

#[test]
fn an_approval_expires_at_its_instant() {
    check(
        "person ann operator
         agent bot
         rule h pay hold expires=1000 use=500
         decide bot pay d1    -> REQUIRE_APPROVAL operator:1
         decide bot pay d2    -> REQUIRE_APPROVAL operator:1
         decide bot pay d3    -> REQUIRE_APPROVAL operator:1
         +999
         vote ann d1          -> approved
         vote ann d2          -> approved
         tick                 -> nothing
         +1
         vote ann d3          -> ! approval_final
         vote ann d3 no       -> ! approval_final
         show d3              -> pending
         tick                 -> expired
         show d3              -> expired
         held                 -> 2
         +498
         collect bot d1       -> collected consumed
         +1
         # Approved at 999, to be used within 500.
         collect bot d2       -> expired
         collect bot d2       -> ! approval_final
         tick                 -> nothing
         held                 -> 0
         counters -> [0, 0, 3, 0, 0] consumed 1 reported 0 expired 0 revoked 0 approvals [2, 0, 2]",
    );
    check(
        "person ann operator
         agent bot
         rule h pay hold use=500
         decide bot pay d1    -> REQUIRE_APPROVAL operator:1
         vote ann d1          -> approved
         +500
         tick                 -> expired
         collect bot d1       -> ! approval_final",
    );
}

#[test]
fn the_demand_is_checked_again_when_voting_and_at_release() {
    check(
        "person ann operator
         agent bot
         rule a pay allow
         rule h pay hold max_retries=3
         rule o other deny
         decide bot pay d1          -> REQUIRE_APPROVAL max_retries=3 operator:1
         decide bot pay d2          -> REQUIRE_APPROVAL max_retries=3 operator:1
         decide bot pay d3          -> REQUIRE_APPROVAL max_retries=3 operator:1
         decide bot pay d4          -> REQUIRE_APPROVAL max_retries=3 operator:1
         vote ann d1                -> approved
         # Rules elsewhere change nothing here, and neither does another bundle's digest.
         rule o other allow         -> bundle.armed
         rule p other throttle      -> bundle.armed
         rule b pay allow           -> bundle.armed
         vote ann d2                -> approved
         collect bot d1             -> collected consumed
         rule x pay deny            -> bundle.armed
         # A no is a no under every bundle.
         vote ann d3 no             -> rejected
         vote ann d4                -> invalidated
         vote ann d4                -> ! approval_final
         collect bot d2             -> invalidated
         collect bot d2             -> ! approval_final
         held                       -> 0",
    );
}

const NARROWER: &str = "reopened operator:1 max_retries=2 dropped";

#[test]
fn a_stricter_demand_re_opens_an_approval_and_a_looser_one_is_still_fine() {
    for (change, voted, collected) in [
        ("rule h pay hold max_retries=2", NARROWER, NARROWER),
        ("rule h pay hold max_retries=4", "approved", "collected consumed"),
        (
            "rule h pay hold max_retries=3 roles=operator:2",
            "reopened operator:2 max_retries=3",
            "reopened operator:2 max_retries=3",
        ),
        // No demand falls while an action waits: both roles are asked for.
        (
            "rule h pay hold max_retries=3 roles=owner:1",
            "reopened operator:1,owner:1 max_retries=3",
            "reopened operator:1,owner:1 max_retries=3",
        ),
        // Another rule demands the same: it is recorded, and what was approved suffices.
        (
            "rule i pay hold max_retries=3",
            "reopened operator:1 max_retries=3",
            "reopened operator:1 max_retries=3 complete; collected consumed max_retries=3",
        ),
        ("rule h pay hold max_retries=3 expires=1 use=1", "approved", "collected consumed"),
        ("rule h pay throttle", "invalidated", "invalidated"),
        ("rule h pay deny", "invalidated", "invalidated"),
        ("drop h", "approved", "collected consumed"),
        ("rule h pay constrain max_retries=3", "approved", "collected consumed"),
        ("rule h pay constrain max_retries=4", "approved", "collected consumed"),
        // Narrower than what was approved: people have to see the narrower bound.
        ("rule h pay constrain max_retries=2", NARROWER, NARROWER),
    ] {
        check(&format!(
            "person ann operator
             agent bot
             rule a pay allow
             rule h pay hold max_retries=3
             decide bot pay d1  -> REQUIRE_APPROVAL max_retries=3 operator:1
             decide bot pay d2  -> REQUIRE_APPROVAL max_retries=3 operator:1
             vote ann d1        -> approved
             {change}           -> bundle.armed
             collect bot d1     -> {collected}
             vote ann d2        -> {voted}"
        ));
    }
    // Nothing grants any more.
    check(
        "person ann operator
         agent bot
         rule h pay hold
         decide bot pay d1      -> REQUIRE_APPROVAL operator:1
         drop h                 -> bundle.armed
         vote ann d1            -> invalidated",
    );
}

#[test]
fn a_permit_carries_the_constraints_that_were_approved_last() {
    check(
        "person ann operator
         agent bot
         rule h pay hold
         decide bot pay d1                 -> REQUIRE_APPROVAL operator:1
         vote ann d1                       -> approved
         rule h pay constrain max_retries=1 -> bundle.armed
         collect bot d1                    -> reopened operator:1 max_retries=1 dropped
         show d1                           -> pending
         vote ann d1 seen                  -> approved
         collect bot d1                    -> collected consumed max_retries=1",
    );
}

#[test]
fn a_kill_holds_back_what_was_approved_and_what_was_collected() {
    check(
        "person ann operator
         person bob admin
         agent bot
         rule h pay hold
         decide bot pay d1        -> REQUIRE_APPROVAL operator:1
         decide bot pay d2        -> REQUIRE_APPROVAL operator:1
         vote ann d1              -> approved
         vote ann d2              -> approved
         collect bot d2 nonce=2   -> collected consumed
         trip bob everything      -> kill.tripped
         collect bot d1 nonce=1   -> ! killed
         # Not even the attempt that has it may fetch it again.
         collect bot d2 nonce=2   -> ! killed
         lift ann everything      -> asked
         lift bob everything      -> kill.lifted
         collect bot d1 nonce=1   -> collected consumed",
    );
}

#[test]
fn who_has_lost_the_role_since_has_approved_nothing() {
    check(
        "person ann operator
         person bob operator
         person adm admin
         person adn admin
         agent bot
         rule h pay hold roles=operator:1
         rule g big hold roles=operator:2
         decide bot pay d1    -> REQUIRE_APPROVAL operator:1
         decide bot big d2    -> REQUIRE_APPROVAL operator:2
         decide bot pay d3    -> REQUIRE_APPROVAL operator:1
         vote ann d1          -> approved
         vote ann d2          -> missing operator:1
         revokekey adm ann    -> key.revoked
         # A command of the key that was waiting in the queue.
         vote ann d3          -> ! key_revoked
         vote bob d2          -> missing operator:1
         collect bot d1       -> invalidated
         collect bot d2       -> ! approval_pending
         vote bob d3          -> approved
         collect bot d3       -> collected consumed",
    );
}

#[test]
fn finished_approvals_are_forgotten_beyond_the_bound_and_never_open_again() {
    check(
        "world finals=1
         person ann operator
         agent bot
         rule h pay hold
         decide bot pay d1    -> REQUIRE_APPROVAL operator:1
         decide bot pay d2    -> REQUIRE_APPROVAL operator:1
         vote ann d1          -> approved
         collect bot d1 nonce=1 -> collected consumed
         withdraw bot d2      -> withdrawn
         show d1              -> consumed-later
         collect bot d1 nonce=1 -> ! not_found
         vote ann d1          -> ! not_found
         decide bot pay d3 key=d1 -> bound d1
         sizes                -> [2, 0, 1, 0]",
    );
}

#[test]
fn development_mode_says_when_the_digest_was_left_out() {
    check(
        "world dev
         person ann operator
         service local
         rule h pay hold
         decide local pay d1        -> REQUIRE_APPROVAL operator:1
         vote ann d1 digest=stale   -> ! stale_approval_digest
         vote ann d1 digest=none    -> approved unechoed
         collect local d1           -> collected consumed",
    );
}

#[test]
fn a_channel_vouches_for_a_person_and_the_keys_of_that_person_for_roles() {
    check(
        "person ann operator
         person bob operator
         person eve auditor
         agent bot operator
         rule h pay hold roles=operator:2
         decide ann pay d1 behalf=bot       -> REQUIRE_APPROVAL operator:2
         vote stranger d1 via=telegram      -> ! role_missing
         vote eve d1 via=telegram           -> ! role_missing
         vote bot d1 via=slack              -> ! not_human
         vote ann d1 via=telegram           -> ! own_approval
         vote bob d1 via=telegram digest=none  -> ! approval_digest_missing
         vote bob d1 via=telegram digest=stale -> ! stale_approval_digest
         vote bob d1 via=telegram           -> missing operator:1
         vote bob d1 via=telegram           -> nothing
         vote bob d1 via=slack              -> nothing
         vote bob d1                        -> nothing
         vote bob d1 via=slack no           -> ! already_voted
         withdraw ann d1                    -> withdrawn
         vote bob d1 via=slack no           -> ! approval_final",
    );
}

#[test]
fn a_person_whose_key_is_revoked_votes_through_no_channel() {
    check(
        "person root admin
         person bob operator
         agent bot
         rule h pay hold
         decide bot pay d1                  -> REQUIRE_APPROVAL operator:1
         decide bot pay d2                  -> REQUIRE_APPROVAL operator:1
         vote bob d1 via=slack              -> approved
         revokekey root bob                 -> key.revoked
         vote bob d2 via=slack              -> ! role_missing",
    );
}

#[test]
fn a_role_that_ends_before_the_turn_lends_nothing() {
    check(
        "person ann operator
         person bob admin
         agent bot builder
         rule h big hold
         rule a pay allow
         decide bot big h1 -> REQUIRE_APPROVAL operator:1
         decide bot big h2 -> REQUIRE_APPROVAL operator:1
         vote ann h1 lends=bot/builder -> approved
         # What was evaluated with the role comes after its end.
         revokekey bob bot -> key.revoked
         vote ann h2 lends=bot/builder -> ! policy_moved
         # Whoever has a key left that lacks the role collects nothing on the strength of it.
         newkey bob agent:bot reader -> key.created
         collect bot h1 lends=bot/builder -> ! policy_moved
         vote ann h2 -> approved",
    );
    check(
        "person ann operator
         person bob admin
         person cat admin
         agent bot builder
         rule h big hold
         decide bot big h1 -> REQUIRE_APPROVAL operator:1
         trip bob role:builder revoke -> kill.tripped
         vote ann h1 lends=bot/builder -> ! policy_moved
         lift bob role:builder -> asked
         lift cat role:builder -> kill.lifted
         vote ann h1 lends=bot/builder -> approved",
    );
}
