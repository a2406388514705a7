//! Idempotency, combination, deadlines, errors of conditions.

use super::notation::check;

#[test]
fn a_key_binds_and_the_first_decision_is_found_again() {
    check(
        "agent bot
         agent two
         rule a pay allow
         decide bot pay d1 key=k          -> PERMIT
         decide bot pay d2 key=k          -> bound d1
         decide bot pay d3 key=other      -> PERMIT
         # Another actor's key of the same text is another key.
         decide two pay d4 key=k          -> PERMIT
         +86399999
         decide bot pay d5 key=k          -> bound d1
         +1
         decide bot pay d6 key=k          -> PERMIT
         counters -> [0, 4, 0, 0, 0] consumed 4 reported 0 expired 0 revoked 0 approvals [0, 0, 0]",
    );
}

#[test]
fn denials_by_rules_holds_and_silence_for_want_of_rules_bind() {
    check(
        "agent bot
         rule d no deny
         rule h wait hold
         decide bot no d1      -> DENY d
         decide bot no d2 key=d1 -> bound d1
         decide bot wait d3    -> REQUIRE_APPROVAL operator:1
         decide bot wait d4 key=d3 -> bound d3
         decide bot else d5    -> SILENCE no_rule_matches
         decide bot else d6 key=d5 -> bound d5
         decide bot unknown d7 -> SILENCE unknown_surface
         decide bot unknown d8 key=d7 -> bound d7",
    );
}

#[test]
fn what_is_over_soon_does_not_bind_and_the_next_attempt_is_linked() {
    check(
        "person ann operator
         person bob admin
         agent bot
         rule a pay allow
         rule t slow allow
         rule u slow throttle wait=250
         decide bot slow t1 key=t            -> THROTTLE retry=250
         decide bot slow t2 key=t            -> THROTTLE retry=250 after t1
         decide bot pay  t3 key=t            -> PERMIT after t2
         decide bot pay  t4 key=t            -> bound t3
         decide bot pay  s1 key=s deadline=-1 -> SILENCE deadline_exceeded
         decide bot pay  s2 key=s            -> PERMIT after s1
         trip ann workspace                  -> kill.tripped
         decide bot pay  k1 key=k            -> DENY killed_workspace
         decide bot pay  k2 key=k            -> DENY killed_workspace after k1
         # Found before the kill is looked at: whoever answers withholds the permit.
         decide bot pay  k3 key=t            -> bound t3
         lift ann workspace                  -> asked
         lift bob workspace                  -> kill.lifted
         decide bot pay  k4 key=k            -> PERMIT after k2",
    );
    check(
        "world no-bundle
         agent bot
         decide bot pay d1 key=k -> SILENCE no_bundle
         rule a pay allow        -> bundle.armed
         decide bot pay d2 key=k -> PERMIT after d1",
    );
}

#[test]
fn a_window_ends_at_its_instant_and_a_later_attempt_starts_its_own() {
    check(
        "agent bot
         rule a pay allow
         rule u slow throttle
         rule v slow allow
         decide bot slow d1 key=k window=1000 -> THROTTLE retry=1000
         +999
         decide bot pay d2 key=k window=1000  -> PERMIT after d1
         +999
         decide bot pay d3 key=k window=1000  -> bound d2
         +1
         decide bot pay d4 key=k window=1000  -> PERMIT
         sizes -> [1, 0, 0, 0]",
    );
}

#[test]
fn at_the_bound_new_keys_are_refused_and_old_ones_are_not_forgotten_early() {
    check(
        "world keys=3
         agent bot
         rule a pay allow
         rule u slow throttle
         rule v slow allow
         decide bot pay  d1 window=60000   -> PERMIT
         decide bot pay  d2 window=60000   -> PERMIT
         decide bot slow d3 window=60000   -> THROTTLE retry=1000
         decide bot pay  d4                -> ! idempotency_full
         # Keys that are known need no room.
         decide bot pay  d5 key=d1         -> bound d1
         decide bot slow d6 key=d3 window=60000 -> THROTTLE retry=1000 after d3
         sizes -> [3, 0, 0, 0]
         # Nothing but decisions is written here: they themselves have to make room.
         +120000
         decide bot pay  d7 window=60000   -> PERMIT
         sizes -> [1, 0, 0, 0]",
    );
}

#[test]
fn a_thousand_retries_under_one_key_take_the_room_of_one() {
    let mut rows = String::from(
        "world keys=2
         agent bot
         rule u slow throttle
         rule v slow allow
         decide bot slow d0 key=k window=3600000 -> THROTTLE retry=1000\n",
    );
    for n in 1..1000 {
        let last = n - 1;
        rows.push_str(&format!(
            "+1000\n decide bot slow d{n} key=k window=3600000 -> THROTTLE retry=1000 after d{last}\n"
        ));
    }
    rows.push_str("sizes -> [1, 0, 0, 0]\n+3660000\ndecide bot slow e -> THROTTLE retry=1000\nsizes -> [1, 0, 0, 0]");
    check(&rows);
}

#[test]
fn the_deadline_is_the_last_instant() {
    check(
        "agent bot
         rule a pay allow
         decide bot pay d1 deadline=0  -> PERMIT
         decide bot pay d2 deadline=-1 -> SILENCE deadline_exceeded",
    );
}

#[test]
fn strictest_wins_and_restricting_never_grants() {
    check(
        "agent bot
         rule a s1 allow
         rule b s1 constrain max_retries=3
         rule c s1 constrain max_retries=2
         decide bot s1 d1 -> PERMIT max_retries=2
         rule d s1 hold roles=owner:2  -> bundle.armed
         rule e s1 hold roles=owner:1,operator:1 -> bundle.armed
         decide bot s1 d2 -> REQUIRE_APPROVAL max_retries=2 operator:1,owner:2
         rule f s1 throttle -> bundle.armed
         decide bot s1 d3 -> THROTTLE retry=1000
         rule g s1 deny floor -> bundle.armed
         decide bot s1 d4 -> DENY g
         rule h s2 hold floor -> bundle.armed
         decide bot s2 d5 -> SILENCE nothing_grants
         rule i s3 allow error -> bundle.armed
         decide bot s3 d6 -> SILENCE no_rule_matches condition_error
         rule j s3 allow -> bundle.armed
         decide bot s3 d7 -> PERMIT condition_error
         rule k s3 deny error -> bundle.armed
         decide bot s3 d8 -> DENY condition_error k
         rule l s4 deny advice -> bundle.armed
         rule m s4 allow -> bundle.armed
         decide bot s4 d9 -> PERMIT",
    );
}

#[test]
fn what_is_dated_applies_from_or_until_its_instant() {
    check(
        "agent bot
         rule a pay allow
         rule surface:pay:evidence.t pay deny floor until=1000
         rule surface:pay:fresh.t pay deny floor from=3000
         decide bot pay d1      -> DENY surface:pay:evidence.t
         +999
         decide bot pay d2      -> DENY surface:pay:evidence.t
         +1
         decide bot pay d3      -> PERMIT
         +1999
         decide bot pay d4      -> PERMIT
         +1
         decide bot pay d5      -> DENY surface:pay:fresh.t",
    );
}

#[test]
fn what_expires_while_an_action_is_held_ends_its_approval() {
    check(
        "person ann operator
         agent bot
         rule h pay hold
         rule surface:pay:fresh.t pay deny floor from=3000
         decide bot pay d1      -> REQUIRE_APPROVAL operator:1
         decide bot pay d2      -> REQUIRE_APPROVAL operator:1
         vote ann d1            -> approved
         +2999
         collect bot d1         -> collected consumed
         vote ann d2            -> approved
         +1
         collect bot d2         -> invalidated",
    );
}

#[test]
fn an_outcome_that_the_surface_does_not_allow_is_denied() {
    check(
        "world queue=1
         person ann operator
         agent bot
         rule a pay allow
         rule surface:pay:outcomes pay deny floor outcomes=REQUIRE_APPROVAL
         decide bot pay d1      -> DENY outcome_not_allowed surface:pay:outcomes
         rule h pay hold -> bundle.armed
         decide bot pay d2      -> REQUIRE_APPROVAL operator:1
         # The queue is full: THROTTLE is not allowed either.
         decide bot pay d3      -> DENY outcome_not_allowed surface:pay:outcomes
         vote ann d2            -> approved
         collect bot d2         -> collected consumed
         decide bot pay d4      -> REQUIRE_APPROVAL operator:1
         vote ann d4            -> approved
         rule surface:pay:outcomes pay deny floor outcomes=PERMIT -> bundle.armed
         collect bot d4         -> invalidated
         decide bot pay d5      -> DENY outcome_not_allowed surface:pay:outcomes
         drop h -> bundle.armed
         decide bot pay d6      -> PERMIT
         # What executes nothing is always possible.
         decide bot else d7     -> SILENCE no_rule_matches
         rule n pay deny -> bundle.armed
         decide bot pay d8      -> DENY n",
    );
}
