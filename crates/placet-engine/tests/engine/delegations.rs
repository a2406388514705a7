//! Escalation, reminders, re-opening in parts, and the right to approve in the hands of another.

use super::notation::{Scene, check};

#[test]
fn after_a_while_further_people_may_approve_and_never_fewer() {
    check(
        "person ann operator
         person bob admin
         person cat admin
         person dan operator,admin
         agent bot
         rule h pay hold roles=operator:2 expires=9000 escalate=1000/admin:1|2000/auditor:2
         decide bot pay d1      -> REQUIRE_APPROVAL operator:2
         decide bot pay d2      -> REQUIRE_APPROVAL operator:2
         decide bot pay d3      -> REQUIRE_APPROVAL operator:2
         vote bob d1            -> ! role_missing
         +999
         tick                   -> nothing
         +1
         # What the clock says is not enough: the entry is.
         vote bob d1            -> ! role_missing
         tick                   -> escalated admin:1; escalated admin:1; escalated admin:1
         tick                   -> nothing
         vote bob d1            -> missing operator:1 as admin
         vote bob d1            -> nothing
         vote cat d1            -> approved as admin
         collect bot d1         -> collected consumed
         vote ann d2            -> missing operator:1
         # Whoever fills the role stands in for nobody.
         vote dan d2            -> approved
         vote cat d3 no         -> rejected
         +1000
         tick                   -> nothing",
    );
    // Two auditors make up one place together, one of them none.
    check(
        "person eve auditor
         person fay auditor
         agent bot
         rule h pay hold roles=operator:1 escalate=1000/auditor:2
         decide bot pay d1      -> REQUIRE_APPROVAL operator:1
         +1000
         tick                   -> escalated auditor:2
         vote eve d1            -> missing operator:1 as auditor
         vote fay d1            -> approved as auditor
         collect bot d1         -> collected consumed",
    );
}

#[test]
fn who_stands_in_and_loses_the_role_has_approved_nothing() {
    check(
        "person bob admin
         person cat admin
         agent bot
         rule h pay hold roles=operator:1 escalate=1000/admin:1
         decide bot pay d1      -> REQUIRE_APPROVAL operator:1
         +1000
         tick                   -> escalated admin:1
         vote bob d1            -> approved as admin
         revokekey cat bob      -> key.revoked
         collect bot d1         -> invalidated",
    );
}

#[test]
fn demands_of_several_rules_are_one_approval_and_escalate_where_all_of_them_do() {
    check(
        "person ann operator
         person own owner
         person bob admin
         agent bot
         rule a pay hold roles=operator:1 escalate=1000/admin:1
         rule approvals:b pay hold floor roles=owner:1,operator:1 expires=5000
         decide bot pay d1      -> REQUIRE_APPROVAL operator:1,owner:1
         +1000
         # The second demands the operator without any escalation.
         tick                   -> nothing
         vote bob d1            -> ! role_missing
         vote own d1            -> missing operator:1
         vote ann d1            -> approved",
    );
}

#[test]
fn approvers_are_reminded_once_before_it_expires() {
    check(
        "person ann operator
         agent bot
         rule h pay hold expires=5000 remind=1000
         decide bot pay d1      -> REQUIRE_APPROVAL operator:1
         decide bot pay d2      -> REQUIRE_APPROVAL operator:1
         vote ann d2            -> approved
         +3999
         tick                   -> nothing
         +1
         tick                   -> reminded operator:1
         tick                   -> nothing
         +999
         tick                   -> nothing
         +1
         tick                   -> expired",
    );
    // Slept through: what is over is over, and nobody is reminded of it.
    check(
        "person ann operator
         agent bot
         rule h pay hold expires=5000 remind=1000 escalate=1000/admin:1
         decide bot pay d1      -> REQUIRE_APPROVAL operator:1
         +5000
         tick                   -> expired
         tick                   -> nothing
         counters -> [0, 0, 1, 0, 0] consumed 0 reported 0 expired 0 revoked 0 approvals [0, 0, 1]",
    );
}

#[test]
fn a_re_opened_approval_keeps_what_still_counts_and_its_expiry() {
    check(
        "person ann operator
         person bob operator,owner
         agent bot
         rule h pay hold roles=operator:1 expires=5000
         decide bot pay d1      -> REQUIRE_APPROVAL operator:1
         vote ann d1            -> approved
         rule i pay hold roles=owner:1 -> bundle.armed
         collect bot d1         -> reopened operator:1,owner:1
         collect bot d1         -> ! approval_pending
         # A vote that comes twice adds nothing, and one for the demand before is for another.
         vote ann d1            -> nothing
         vote bob d1 seen=stale -> ! approval_reopened
         +4000
         vote bob d1 seen       -> approved
         # Its time to be used runs anew, its time to be decided does not.
         +1000
         collect bot d1         -> collected consumed",
    );
    // Approved in time, asked for more when the time for deciding was up.
    check(
        "person ann operator
         agent bot
         rule h pay hold roles=operator:1 expires=1000
         decide bot pay d1      -> REQUIRE_APPROVAL operator:1
         vote ann d1            -> approved
         +1000
         rule h pay hold roles=operator:2 -> bundle.armed
         collect bot d1         -> expired",
    );
    // Who has approved adds the role that is asked for now, having seen that it is.
    check(
        "person bob operator,owner
         agent bot
         rule h pay hold roles=operator:1
         decide bot pay d1      -> REQUIRE_APPROVAL operator:1
         vote bob d1            -> approved
         rule h pay hold roles=operator:1,owner:1 -> bundle.armed
         collect bot d1         -> reopened operator:1,owner:1
         vote bob d1            -> nothing
         vote bob d1 seen       -> approved
         vote bob d1 seen       -> nothing
         collect bot d1         -> collected consumed",
    );
}

#[test]
fn re_opening_follows_the_escalation_of_the_bundle_in_force() {
    check(
        "person ann operator
         person bob admin
         agent bot
         rule h pay hold roles=operator:1 escalate=1000/admin:1
         decide bot pay d1      -> REQUIRE_APPROVAL operator:1
         +1000
         tick                   -> escalated admin:1
         vote bob d1            -> approved as admin
         # Nobody stands in for an operator any more: what was approved in that way is not.
         rule h pay hold roles=operator:1 -> bundle.armed
         collect bot d1         -> reopened operator:1
         vote ann d1            -> ! approval_reopened
         vote bob d1 seen       -> ! role_missing
         vote ann d1 seen       -> approved
         collect bot d1         -> collected consumed",
    );
    // A step that stays counts on; its entry comes again, for the demand of today.
    check(
        "person ann operator
         person own owner
         person bob admin
         agent bot
         rule h pay hold roles=operator:1 escalate=1000/admin:1
         decide bot pay d1      -> REQUIRE_APPROVAL operator:1
         +1000
         tick                   -> escalated admin:1
         vote bob d1            -> approved as admin
         rule i pay hold roles=owner:1 -> bundle.armed
         collect bot d1         -> reopened operator:1,owner:1
         tick                   -> escalated admin:1
         vote own d1 seen       -> approved
         collect bot d1         -> collected consumed",
    );
}

#[test]
fn a_right_is_delegated_within_bounds() {
    check(
        "world delegations=2
         person ann operator
         person bob auditor
         person adm admin
         agent bot operator
         service svc operator
         delegate ann bob g1 operator 60000            -> delegated
         delegate ann ann g2 operator 60000            -> ! own_delegation
         delegate ann bot g2 operator 60000            -> ! not_human
         delegate bot bob g2 operator 60000            -> ! not_human
         delegate ann nobody g2 operator 60000         -> ! not_found
         delegate ann bob g2 owner 60000               -> ! role_missing
         delegate ann bob g2 none 60000                -> ! role_missing
         # What was delegated to somebody is not theirs to pass on.
         delegate bob adm g2 operator 60000            -> ! role_missing
         delegate ann bob g2 operator 0                -> ! delegation_end_invalid
         delegate ann bob g2 operator 2592000001       -> ! delegation_end_invalid
         delegate ann bob g2 operator 2592000000       -> delegated
         delegate ann bob g3 operator 60000            -> ! delegations_full
         undelegate bot g2                             -> ! not_human
         undelegate bob g2                             -> ended
         undelegate bob g2                             -> nothing
         delegate ann adm g3 operator 60000            -> delegated
         undelegate bob g3                             -> ! not_found
         undelegate adm g1                             -> ended
         +60000
         tick                                          -> run out
         undelegate ann g3                             -> nothing",
    );
}

#[test]
fn a_delegate_approves_in_the_right_of_another_and_only_where_it_reaches() {
    check(
        "person ann operator
         person bob auditor
         person own owner,operator
         agent bot
         rule h pay.big hold
         rule i pull hold
         rule j pay.two hold roles=operator:2
         delegate ann bob g1 operator 60000 on=pay.*   -> delegated
         decide bot pay.big d1   -> REQUIRE_APPROVAL operator:1
         decide bot pull d2      -> REQUIRE_APPROVAL operator:1
         vote bob d2             -> ! role_missing
         vote bob d1             -> approved for ann
         collect bot d1          -> collected consumed
         # One right, one place: neither the giver nor another delegate adds to it.
         delegate ann own g2 operator 60000            -> delegated
         decide bot pay.two d3   -> REQUIRE_APPROVAL operator:2
         vote bob d3             -> missing operator:1 for ann
         vote ann d3             -> ! already_voted
         vote own d3             -> approved
         decide bot pay.two d4   -> REQUIRE_APPROVAL operator:2
         vote ann d4             -> missing operator:1
         vote bob d4             -> ! role_missing
         # A no takes nothing from anybody: it ends the matter.
         vote bob d4 no          -> rejected
         decide bot pay.two d5   -> REQUIRE_APPROVAL operator:2
         vote bob d5             -> missing operator:1 for ann
         vote ann d5 no          -> rejected
         +60000
         decide bot pay.big d6   -> REQUIRE_APPROVAL operator:1
         vote bob d6             -> ! role_missing",
    );
}

#[test]
fn nobody_decides_their_own_through_the_hands_of_another() {
    check(
        "person ann operator
         person bob auditor
         person own operator
         agent bot
         rule h pay hold
         delegate ann bob g1 operator 60000   -> delegated
         delegate own ann g2 operator 60000   -> delegated
         # The giver proposed, or stands in the chain.
         decide ann pay d1                    -> REQUIRE_APPROVAL operator:1
         vote bob d1                          -> ! own_approval
         vote bob d1 no                       -> ! own_approval
         decide bot pay d2 behalf=ann         -> REQUIRE_APPROVAL operator:1
         vote bob d2                          -> ! own_approval
         # The one who has it proposed.
         vote ann d1                          -> ! own_approval
         vote ann d2                          -> ! own_approval
         decide bob pay d3                    -> REQUIRE_APPROVAL operator:1
         vote bob d3                          -> ! own_approval
         vote ann d3                          -> approved
         vote own d1                          -> approved",
    );
}

#[test]
fn a_delegation_counts_as_long_as_the_right_behind_it_does() {
    check(
        "person ann operator
         person bob auditor
         person cat operator
         person adm admin
         agent bot
         rule h pay hold
         delegate ann bob g1 operator 1000    -> delegated
         decide bot pay d1                    -> REQUIRE_APPROVAL operator:1
         decide bot pay d2                    -> REQUIRE_APPROVAL operator:1
         decide bot pay d3                    -> REQUIRE_APPROVAL operator:1
         vote bob d1                          -> approved for ann
         +1000
         tick                                 -> run out
         # What was approved while it ran stands.
         collect bot d1                       -> collected consumed
         delegate cat bob g2 operator 90000   -> delegated
         vote bob d2                          -> approved for cat
         undelegate cat g2                    -> ended
         # Taken back, it was for nothing.
         collect bot d2                       -> invalidated
         delegate cat bob g3 operator 90000   -> delegated
         vote bob d3                          -> approved for cat
         revokekey adm cat                    -> key.revoked
         collect bot d3                       -> invalidated
         decide bot pay d4                    -> REQUIRE_APPROVAL operator:1
         vote bob d4                          -> ! role_missing",
    );
}

#[test]
fn what_the_constitution_governs_is_decided_in_ones_own_right() {
    check(
        "person ann admin
         person bob admin
         person cat operator
         delegate bob cat g1 admin 60000      -> delegated
         decide ann key.create d1 action=make -> REQUIRE_APPROVAL admin:1
         vote cat d1                          -> ! role_missing
         vote bob d1                          -> approved",
    );
}

#[test]
fn who_waits_gets_the_permit_with_the_last_vote() {
    check(
        "person ann operator
         person bob operator
         person adm admin
         agent bot
         agent other
         rule h pay hold roles=operator:2
         decide bot pay d1                    -> REQUIRE_APPROVAL operator:2
         vote ann d1 waiting=bot/1            -> missing operator:1
         vote bob d1 waiting=bot/1            -> approved; collected consumed
         collect bot d1 nonce=1               -> nothing
         collect bot d1 nonce=2               -> ! permit_consumed
         # Nobody else, none whose key is gone, and nobody under a kill.
         decide bot pay d2                    -> REQUIRE_APPROVAL operator:2
         vote ann d2                          -> missing operator:1
         vote bob d2 waiting=other/1          -> approved
         decide bot pay d3                    -> REQUIRE_APPROVAL operator:2
         decide bot pay d4                    -> REQUIRE_APPROVAL operator:2
         vote ann d3                          -> missing operator:1
         vote ann d4                          -> missing operator:1
         trip ann workspace                   -> kill.tripped
         vote bob d3 waiting=bot/1            -> approved
         lift ann workspace                   -> asked
         lift bob workspace                   -> kill.lifted
         revokekey adm bot                    -> key.revoked
         vote bob d4 waiting=bot/1            -> approved",
    );
}

#[test]
fn a_page_of_the_inbox_is_what_its_reader_may_see() {
    let mut scene = Scene::default();
    for line in "person ann operator
         person own owner
         person bob auditor
         agent bot
         agent other
         rule h pay hold roles=operator:1 escalate=1000/security:1
         rule i pull hold roles=owner:1
         decide bot pay d1
         decide other pull d2
         decide bot pull d3
         decide other pay d4
         vote ann d4 no"
        .lines()
    {
        scene.line(line.trim());
    }
    let mut page = |who: &str, roles: &[&str], oversees: bool, skip: usize, limit: usize| {
        let actor = scene.who(who).actor;
        let roles = super::notation::roles(roles);
        let viewer = placet_engine::Viewer { actor: Some(actor), roles, oversees };
        let names: Vec<String> = ["d1", "d2", "d3", "d4"].map(str::to_owned).into();
        let ids: Vec<_> = names.iter().map(|name| scene.id(name)).collect();
        let world = scene.world();
        let after = (skip > 0).then(|| world.approval_of(ids[skip - 1]));
        let found = world.state.inbox(&viewer, after, limit, world.now);
        let named = found.iter().map(|held| {
            assert!(world.state.may_see(&viewer, held, world.now));
            names[ids.iter().position(|id| *id == held.decision).unwrap()].as_str()
        });
        named.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(page("ann", &["operator"], false, 0, 9), "d1");
    assert_eq!(page("own", &["owner"], false, 0, 9), "d2 d3");
    assert_eq!(page("own", &["owner", "operator"], false, 0, 2), "d1 d2");
    assert_eq!(page("own", &["owner", "operator"], false, 2, 9), "d3");
    assert_eq!(page("bot", &[], false, 0, 9), "d1 d3");
    assert_eq!(page("other", &["owner"], false, 0, 9), "d2 d3");
    assert_eq!(page("bob", &[], false, 0, 9), "");
    assert_eq!(page("bob", &[], true, 1, 1), "d2");
    assert_eq!(page("bob", &["security"], false, 0, 9), "");
    scene.line("+1000");
    scene.line("tick");
    scene.line("delegate own bob g1 owner 60000");
    let mut page = |roles: &[&str]| {
        let actor = scene.who("bob").actor;
        let roles = super::notation::roles(roles);
        let viewer = placet_engine::Viewer { actor: Some(actor), roles, oversees: false };
        let world = scene.world();
        world.state.inbox(&viewer, None, 9, world.now).len()
    };
    // Escalated to security, and delegated to bob.
    assert_eq!(page(&["security"]), 3);
    assert_eq!(page(&[]), 2);
}

#[test]
fn nobody_fills_the_share_of_others_or_makes_their_votes_count_no_more() {
    // One's own share, and what is forgotten for it is one's own.
    check(
        "world delegations=9 given=2
         person ann operator
         person own operator
         person bob auditor
         agent bot
         rule h pay hold
         delegate own bob g1 operator 1000             -> delegated
         decide bot pay d1                             -> REQUIRE_APPROVAL operator:1
         vote bob d1                                   -> approved for own
         +1000
         tick                                          -> run out
         delegate ann bob g2 operator 60000            -> delegated
         delegate ann bob g3 operator 60000            -> delegated
         delegate ann bob g4 operator 60000            -> ! delegations_full
         delegate own ann g4 operator 60000            -> delegated
         undelegate ann g2                             -> ended
         delegate ann bob g5 operator 60000            -> delegated
         undelegate ann g5                             -> ended
         delegate ann bob g6 operator 60000            -> delegated
         undelegate ann g2                             -> ! not_found
         collect bot d1                                -> collected consumed",
    );
    // Where all is full, what counts no more goes before that under which votes stand.
    check(
        "world delegations=3
         person ann operator
         person own operator
         person bob auditor
         agent bot
         rule h pay hold
         delegate own bob g1 operator 1000             -> delegated
         decide bot pay d1                             -> REQUIRE_APPROVAL operator:1
         vote bob d1                                   -> approved for own
         +1000
         tick                                          -> run out
         delegate ann bob g2 operator 60000            -> delegated
         delegate ann bob g3 operator 60000            -> delegated
         undelegate ann g2                             -> ended
         delegate ann bob g4 operator 60000            -> delegated
         collect bot d1                                -> collected consumed",
    );
}

#[test]
fn a_delegation_that_a_vote_rests_on_is_not_forgotten() {
    check(
        "world delegations=3
         person ann operator
         person own operator
         person bob auditor
         agent bot
         rule h pay hold
         delegate own bob g1 operator 1000             -> delegated
         decide bot pay d1                             -> REQUIRE_APPROVAL operator:1
         vote bob d1                                   -> approved for own
         delegate own bob g2 operator 1000             -> delegated
         +1000
         tick                                          -> run out; run out
         delegate ann bob g3 operator 60000            -> delegated
         # The oldest whose time was up carries a vote; the next one goes.
         delegate ann bob g4 operator 60000            -> delegated
         undelegate own g2                             -> ! not_found
         delegate ann bob g5 operator 60000            -> ! delegations_full
         collect bot d1                                -> collected consumed
         # What is released needs it no more.
         delegate ann bob g5 operator 60000            -> delegated",
    );
}
