//! What applies only after something else, at certain hours, or from an instant on.

use super::notation::check;

#[test]
fn a_sequence_restricts_after_the_earlier_action_and_no_longer_than_that() {
    check(
        "agent bot
         agent two
         rule a export allow
         rule b mail allow
         rule after:s export throttle limit=1/1000 advice
         rule s mail deny after=1000
         decide bot mail d1   -> PERMIT
         decide bot export d2 -> PERMIT
         decide bot mail d3   -> DENY s
         # The tie is the actor.
         decide two mail d4   -> PERMIT
         +999
         decide bot mail d5   -> DENY s
         +1
         decide bot mail d6   -> PERMIT
         decide bot export d7 -> PERMIT
         +600
         decide bot export d8 -> PERMIT
         +600
         # The newest of them counts.
         decide bot mail d9   -> DENY s
         +400
         decide bot mail d10  -> PERMIT",
    );
}

#[test]
fn what_was_refused_is_nothing_to_come_after() {
    check(
        "agent bot
         rule a export throttle
         rule g export allow
         rule b mail allow
         rule after:s export throttle limit=1/1000 advice
         rule s mail deny after=1000
         decide bot export d1 -> THROTTLE retry=1000
         decide bot mail d2   -> PERMIT",
    );
}

#[test]
fn a_sequence_can_grant_and_fails_closed_where_nothing_ties_the_actions() {
    check(
        "agent bot
         rule a test allow
         rule after:s test throttle limit=1/1000 advice
         rule s deploy allow after=1000
         decide bot deploy d1       -> SILENCE no_rule_matches
         decide bot test d2         -> PERMIT
         decide bot deploy d3       -> PERMIT
         decide bot deploy d4 notag -> SILENCE no_rule_matches
         rule s deploy allow after=1000 untied -> bundle.armed
         decide bot deploy d5       -> SILENCE no_rule_matches
         # A restricting rule that cannot look restricts.
         rule s deploy deny after=1000 -> bundle.armed
         rule g deploy allow        -> bundle.armed
         decide bot deploy d6 notag -> DENY s",
    );
}

#[test]
fn a_hold_that_came_after_is_released_as_it_was_held() {
    check(
        "agent bot
         person ann operator
         rule a export allow
         rule b mail allow
         rule after:s export throttle limit=1/1000 advice
         rule s mail hold after=1000
         decide bot export d1   -> PERMIT
         decide bot mail d2     -> REQUIRE_APPROVAL operator:1
         # The window is over; the demand is what it was.
         +5000
         vote ann d2            -> approved
         collect bot d2 nonce=1 -> collected consumed",
    );
}

#[test]
fn evidence_expires_at_its_instant_and_again_at_release() {
    check(
        "agent bot
         person ann operator
         rule h pay hold
         rule e pay deny from=500
         decide bot pay d1 -> REQUIRE_APPROVAL operator:1
         decide bot pay d2 -> REQUIRE_APPROVAL operator:1
         vote ann d1       -> approved
         +500
         decide bot pay d3 -> DENY e
         collect bot d1    -> invalidated
         vote ann d2       -> invalidated",
    );
}

#[test]
fn a_sequence_is_asked_again_when_a_held_action_is_released() {
    // Lesson 12: what was parked before is no way around what came in between.
    check(
        "person olga operator
         agent bot
         rule a export allow
         rule h mail hold
         rule after:s export throttle limit=1/1000 advice
         rule s mail deny after=1000
         decide bot mail d1            -> REQUIRE_APPROVAL operator:1
         decide bot mail d2            -> REQUIRE_APPROVAL operator:1
         vote olga d2                  -> approved
         decide bot export d3          -> PERMIT
         vote olga d1                  -> invalidated
         collect bot d2 nonce=n        -> invalidated
         decide bot mail d4            -> DENY s
         +1000
         decide bot mail d5            -> REQUIRE_APPROVAL operator:1
         vote olga d5                  -> approved
         collect bot d5 nonce=n        -> collected consumed",
    );
}

#[test]
fn what_was_held_is_come_after_from_its_permit_on() {
    check(
        "person olga operator
         agent bot
         rule h export hold
         rule b mail allow
         rule after:s export throttle limit=1/1000 advice
         rule s mail deny after=1000
         decide bot export d1          -> REQUIRE_APPROVAL operator:1
         decide bot mail d2            -> DENY s
         +1000
         decide bot mail d3            -> PERMIT
         vote olga d1                  -> approved
         collect bot d1 nonce=n        -> collected consumed
         decide bot mail d4            -> DENY s
         +1000
         decide bot mail d5            -> PERMIT",
    );
}

#[test]
fn nothing_is_granted_for_what_was_only_held() {
    check(
        "person olga operator
         agent bot
         rule h review hold
         rule after:s review allow limit=1/1000 advice
         rule s deploy allow after=1000
         decide bot review d1          -> REQUIRE_APPROVAL operator:1
         decide bot deploy d2          -> SILENCE no_rule_matches
         vote olga d1                  -> approved
         decide bot deploy d3          -> SILENCE no_rule_matches
         collect bot d1 nonce=n        -> collected consumed
         decide bot deploy d4          -> PERMIT",
    );
}

#[test]
fn an_action_does_not_come_after_itself() {
    check(
        "person olga operator
         agent bot
         rule h export hold
         rule after:s export throttle limit=1/1000 advice
         rule s export deny after=1000
         decide bot export d1          -> REQUIRE_APPROVAL operator:1
         vote olga d1                  -> approved
         collect bot d1 nonce=n        -> collected consumed
         decide bot export d2          -> DENY s",
    );
}

#[test]
fn at_one_instant_another_mark_is_told_from_the_own_one() {
    check(
        "person olga operator
         agent bot
         agent two
         rule h mail hold
         rule a export allow
         rule after:s * throttle limit=1/1000 advice
         rule s mail deny after=1000
         decide bot mail d1            -> REQUIRE_APPROVAL operator:1
         decide bot export d2          -> PERMIT
         decide two mail d3            -> REQUIRE_APPROVAL operator:1
         vote olga d1                  -> invalidated
         vote olga d3                  -> approved",
    );
}
