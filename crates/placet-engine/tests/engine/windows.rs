//! Velocity: sliding windows, and the bounds of queue and keys.

use super::notation::check;

#[test]
fn the_count_th_action_fits_and_the_next_waits_to_the_millisecond() {
    check(
        "agent bot
         agent two
         rule a pay allow
         rule l pay throttle limit=2/1000
         decide bot pay d1 -> PERMIT
         +400
         decide bot pay d2 -> PERMIT
         decide bot pay d3 -> THROTTLE velocity retry=600
         # The window is the actor's.
         decide two pay d4 -> PERMIT
         +599
         decide bot pay d5 -> THROTTLE velocity retry=1
         +1
         # Exactly a window's length after the first.
         decide bot pay d6 -> PERMIT
         decide bot pay d7 -> THROTTLE velocity retry=400
         +400
         decide bot pay d8 -> PERMIT",
    );
}

#[test]
fn permits_and_holds_count_and_nothing_else_does() {
    check(
        "agent bot
         rule a pay allow
         rule l pay deny limit=2/1000
         rule b pay throttle
         decide bot pay t1 -> THROTTLE retry=1000
         decide bot pay t2 -> THROTTLE retry=1000
         decide bot pay t3 -> THROTTLE retry=1000
         drop b            -> bundle.armed
         decide bot pay s1 deadline=-1 -> SILENCE deadline_exceeded
         decide bot pay d1 -> PERMIT
         rule h pay hold   -> bundle.armed
         decide bot pay d2 -> REQUIRE_APPROVAL operator:1
         decide bot pay d3 -> DENY velocity l
         +1000
         decide bot pay d4 -> REQUIRE_APPROVAL operator:1",
    );
}

#[test]
fn a_window_can_hold_and_its_approval_survives_the_window() {
    check(
        "agent bot
         person ann operator
         rule a pay allow
         rule l pay hold limit=1/1000
         decide bot pay d1       -> PERMIT
         decide bot pay d2       -> REQUIRE_APPROVAL velocity operator:1
         # The window is empty by now; the demand is what it was.
         +2000
         vote ann d2             -> approved
         collect bot d2 nonce=1  -> collected consumed",
    );
}

#[test]
fn a_full_window_that_was_open_when_held_does_not_count_against_the_hold() {
    check(
        "agent bot
         person ann operator
         rule h pay hold
         rule l pay deny limit=2/1000000
         decide bot pay d1       -> REQUIRE_APPROVAL operator:1
         decide bot pay d2       -> REQUIRE_APPROVAL operator:1
         decide bot pay d3       -> DENY velocity l
         vote ann d1             -> approved
         collect bot d1          -> collected consumed",
    );
}

#[test]
fn a_window_nobody_can_look_up_counts_as_full() {
    check(
        "agent bot
         rule a pay allow
         rule l pay throttle limit=5/700
         decide bot pay d1 notag  -> THROTTLE velocity retry=700
         rule l pay throttle limit=5/700 error -> bundle.armed
         decide bot pay d2        -> PERMIT condition_error
         rule l pay throttle limit=0/700 -> bundle.armed
         decide bot pay d3        -> THROTTLE velocity retry=700",
    );
}

#[test]
fn at_the_bounds_of_queue_and_windows_callers_are_asked_to_come_back() {
    check(
        "world queue=2 windows=2
         agent bot
         agent two
         agent six
         person ann operator
         rule h wait hold
         rule a pay allow
         rule l pay throttle limit=9/1000
         decide bot wait d1 -> REQUIRE_APPROVAL operator:1
         decide bot wait d2 -> REQUIRE_APPROVAL operator:1
         decide bot wait d3 -> THROTTLE approval_queue_full retry=5000
         vote ann d1        -> approved
         # Approved and not collected is still held.
         decide bot wait d4 key=d3 -> THROTTLE approval_queue_full retry=5000 after d3
         collect bot d1     -> collected consumed
         decide bot wait d5 key=d3 -> REQUIRE_APPROVAL operator:1 after d4
         decide bot pay d6  -> PERMIT
         decide two pay d7  -> PERMIT
         decide six pay d8  -> THROTTLE velocity_bound retry=5000
         decide bot pay d9  -> PERMIT
         +1000
         decide six pay d10 -> THROTTLE velocity_bound retry=5000
         decide six pay d11 -> PERMIT
         sizes              -> [9, 1, 3, 0]",
    );
}
