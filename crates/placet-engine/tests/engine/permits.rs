//! Permits: consumed once, by whom they name, in time, and by nobody after a kill. Outcomes.

use super::notation::check;

#[test]
fn a_permit_for_the_caller_is_consumed_by_the_decision() {
    check(
        "agent bot
         agent other
         rule a pay allow
         decide bot pay d1 nonce=n   -> PERMIT
         show d1                     ->
         sizes                       -> [1, 0, 0, 0]
         consume bot d1 nonce=n      -> ! permit_consumed
         consume other d1 nonce=n    -> ! foreign
         tick                        -> nothing
         decide bot pay d2 for=bot   -> PERMIT
         counters -> [0, 2, 0, 0, 0] consumed 2 reported 0 expired 0 revoked 0 approvals [0, 0, 0]",
    );
}

#[test]
fn a_permit_for_another_gate_is_consumed_once_by_it() {
    check(
        "agent bot
         service gate
         service thief
         rule a pay allow
         rule d no deny
         decide bot pay d1 for=gate  -> PERMIT open
         show d1                     -> open
         consume bot d1 nonce=1      -> ! foreign
         consume thief d1 nonce=1    -> ! foreign
         report gate d1              -> ! no_permit
         consume gate d1 nonce=1     -> permit.consumed
         consume gate d1 nonce=1     -> nothing
         consume gate d1 nonce=2     -> ! permit_consumed
         consume gate d1             -> ! permit_consumed
         consume thief d1 nonce=1    -> ! foreign
         show d1                     -> consumed-later
         # Fetching again ends with the permit.
         +60000
         consume gate d1 nonce=1     -> ! permit_expired
         decide bot no d2 for=gate   -> DENY d
         consume gate d2             -> ! no_permit
         consume gate d1 nonce=1     -> ! permit_consumed
         decide bot pay d3 for=gate  -> PERMIT open
         consume gate d3             -> permit.consumed
         # Without a nonce nobody can show that he is the same attempt.
         consume gate d3             -> ! permit_consumed",
    );
}

#[test]
fn a_permit_expires_at_its_instant() {
    check(
        "agent bot
         service gate
         rule a pay allow
         decide bot pay d1 for=gate permit=1000 -> PERMIT open
         decide bot pay d2 for=gate permit=1000 -> PERMIT open
         +999
         tick                                   -> nothing
         consume gate d1                        -> permit.consumed
         +1
         consume gate d2                        -> ! permit_expired
         tick                                   -> expired d2
         tick                                   -> nothing
         consume gate d2                        -> ! permit_expired
         report gate d2                         -> ! no_permit
         sizes                                  -> [2, 0, 0, 0]
         counters -> [0, 2, 0, 0, 0] consumed 1 reported 0 expired 1 revoked 0 approvals [0, 0, 0]",
    );
}

#[test]
fn open_permits_die_with_a_kill_and_stay_dead() {
    check(
        "person ann operator
         person bob admin
         agent bot
         service gate
         rule a pay allow
         decide bot pay d1 for=gate     -> PERMIT open
         decide bot pay d2 for=gate     -> PERMIT open
         consume gate d2 nonce=1        -> permit.consumed
         trip ann workspace             -> kill.tripped
         consume gate d1 nonce=1        -> ! killed
         consume gate d2 nonce=1        -> ! killed
         show d1                        -> revoked
         lift ann workspace             -> asked
         consume gate d1 nonce=1        -> ! killed
         lift bob workspace             -> kill.lifted
         consume gate d1 nonce=1        -> ! permit_revoked
         report gate d1                 -> ! permit_revoked
         tick                           -> nothing
         report gate d2                 -> outcome.reported
         counters -> [0, 2, 0, 0, 0] consumed 1 reported 1 expired 0 revoked 1 approvals [0, 0, 0]",
    );
}

#[test]
fn permits_whose_answer_has_not_left_are_revoked() {
    check(
        "person ann operator
         agent bot
         service gate
         rule a pay allow
         rule h wait hold
         decide bot pay d1 nonce=1      -> PERMIT
         decide bot pay d2 for=gate     -> PERMIT open
         decide bot wait d3             -> REQUIRE_APPROVAL operator:1
         vote ann d3                    -> approved
         collect bot d3 nonce=1         -> collected consumed
         trip ann everything            -> kill.tripped
         revoke d1                      -> revoked d1 killed_everything
         revoke d1                      -> nothing
         # The trip has revoked it already.
         revoke d2                      -> nothing
         revoke d3                      -> revoked d3 killed_everything
         report bot d1                  -> ! permit_revoked
         report bot d3                  -> ! permit_revoked
         collect bot d3 nonce=1         -> ! permit_revoked
         show d3                        -> consumed consumed-later revoked",
    );
}

#[test]
fn an_outcome_is_reported_once_by_proposer_or_audience() {
    check(
        "agent bot
         service gate
         person ann operator
         rule a pay allow
         rule d no deny
         rule h wait hold
         decide bot pay d1            -> PERMIT
         report gate d1               -> ! foreign
         report bot d1                -> outcome.reported
         report bot d1                -> ! already_reported
         decide bot pay d2 for=gate   -> PERMIT open
         report gate d2               -> ! no_permit
         consume gate d2              -> permit.consumed
         report ann d2                -> ! foreign
         report gate d2               -> outcome.reported
         report bot d2                -> ! already_reported
         decide bot no d3             -> DENY d
         report bot d3                -> ! no_permit
         decide bot wait d4 for=gate  -> REQUIRE_APPROVAL operator:1
         report bot d4                -> ! no_permit
         consume gate d4              -> ! approval_pending
         vote ann d4                  -> approved
         consume gate d4              -> ! no_permit
         collect bot d4 nonce=1       -> collected open
         report bot d4                -> ! no_permit
         consume bot d4               -> ! foreign
         consume gate d4 nonce=2      -> permit.consumed
         consume gate d4 nonce=3      -> ! permit_consumed
         report bot d4                -> outcome.reported
         report gate d4               -> ! already_reported
         show d4                      -> consumed consumed-later reported",
    );
}

#[test]
fn what_was_consumed_before_a_kill_is_not_fetched_again_after_it() {
    check(
        "person ann operator
         person bob admin
         agent bot
         service gate
         rule a pay allow
         rule h wait hold
         decide bot pay d1 nonce=1        -> PERMIT
         decide bot pay d2 for=gate       -> PERMIT open
         consume gate d2 nonce=1          -> permit.consumed
         decide bot wait d3               -> REQUIRE_APPROVAL operator:1
         vote ann d3                      -> approved
         collect bot d3 nonce=1           -> collected consumed
         again d1                         -> shown
         consume gate d2 nonce=1          -> nothing
         collect bot d3 nonce=1           -> nothing
         trip ann workspace               -> kill.tripped
         again d1                         -> ! killed
         lift ann workspace               -> asked
         lift bob workspace               -> kill.lifted
         again d1                         -> ! permit_revoked
         consume gate d2 nonce=1          -> ! permit_consumed
         collect bot d3 nonce=1           -> ! permit_consumed
         # What they did meanwhile is still reported.
         report bot d1                    -> outcome.reported
         report gate d2                   -> outcome.reported
         report bot d3                    -> outcome.reported
         decide bot pay d4 nonce=1        -> PERMIT
         again d4                         -> shown",
    );
}
