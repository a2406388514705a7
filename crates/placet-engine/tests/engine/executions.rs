//! Executions: who begins and goes on in one, how it ends, and what a kill does to it.

use super::notation::check;

/// People, an agent that runs things, and rules for its steps.
const BEGIN: &str = "person ann operator
    person olga operator
    agent bot
    agent other
    rule s execution allow
    rule a pay allow
    rule h big hold
    rule o out deny outside
    decide bot execution e1 action=start capability=crm branch=b1 -> PERMIT
    start other e1 -> ! foreign
    start bot e1 -> execution.started
    start bot e1 -> nothing
    run e1 -> running steps 0 waiting 0";
/// What a step of it names.
const STEP: &str = "execution=@e1 capability=crm branch=b1";

fn table(rows: &str) {
    check(&format!("{BEGIN}\n{}", rows.replace("STEP", STEP)));
}

#[test]
fn an_execution_begins_under_a_permit_of_its_own_and_once() {
    check(
        "world executions=1 waiting=0
         agent bot
         rule s execution allow
         rule a pay allow
         decide bot pay p1 capability=crm -> PERMIT
         start bot p1 -> ! no_permit
         decide bot execution e0 action=start -> PERMIT
         start bot e0 -> ! not_found
         decide bot execution e1 action=stop capability=crm -> PERMIT
         start bot e1 -> ! no_permit
         decide bot execution e2 action=start capability=crm -> PERMIT
         decide bot execution e3 action=start capability=crm -> PERMIT
         decide bot execution e4 action=start capability=crm permit=5 -> PERMIT
         start bot e2 -> execution.started
         start bot e3 -> ! executions_full
         end bot e2 succeeded -> execution.ended
         start bot e2 -> nothing
         start bot e3 -> execution.started
         end bot e3 failed -> execution.ended
         +5
         start bot e4 -> ! permit_expired",
    );
    // A start that people have to approve begins with the permit that is collected.
    check(
        "person ann operator
         agent bot
         rule s execution hold
         decide bot execution e1 action=start capability=crm -> REQUIRE_APPROVAL operator:1
         start bot e1 -> ! no_permit
         vote ann e1 -> approved
         start bot e1 -> ! no_permit
         collect bot e1 -> collected consumed
         start bot e1 -> execution.started
         run e1 -> running steps 0 waiting 0",
    );
}

#[test]
fn a_step_belongs_to_who_runs_it_and_to_what_runs() {
    table(
        "decide bot pay p1 STEP -> PERMIT
         decide other pay p2 STEP -> DENY execution_foreign
         # Saying that one acts for its runner is not enough.
         decide other pay p3 STEP behalf=bot -> DENY execution_foreign
         decide bot pay p4 execution=@e1 branch=b1 -> DENY execution_mismatch
         decide bot pay p5 execution=@e1 capability=mail branch=b1 -> DENY execution_mismatch
         decide bot pay p6 execution=@e1 capability=crm -> DENY execution_mismatch
         decide bot pay p7 execution=@e1 capability=crm branch=b2 -> DENY execution_mismatch
         decide bot pay p8 execution=exe_00000000000000000000000000000009 -> DENY execution_unknown
         run e1 -> running steps 5 waiting 0
         end other e1 failed -> ! foreign
         end bot e1 succeeded -> execution.ended
         end bot e1 succeeded -> nothing
         end bot e1 failed -> ! execution_ended
         decide bot pay p9 STEP -> DENY execution_ended
         run e1 -> succeeded steps 6 waiting 0",
    );
}

#[test]
fn a_held_step_shows_and_a_rejected_one_ends_it() {
    table(
        "decide bot big h1 STEP -> REQUIRE_APPROVAL operator:1
         decide bot big h2 STEP -> REQUIRE_APPROVAL operator:1
         decide bot big h3 STEP -> REQUIRE_APPROVAL operator:1
         run e1 -> waiting_approval steps 3 waiting 3
         vote ann h1 -> approved
         collect bot h1 -> collected consumed
         withdraw bot h2 -> withdrawn
         run e1 -> waiting_approval steps 3 waiting 1
         vote ann h3 no -> rejected
         run e1 -> rejected steps 3 waiting 0
         decide bot pay p1 STEP -> DENY execution_ended",
    );
    table(
        "decide bot big h1 STEP -> REQUIRE_APPROVAL operator:1
         vote ann h1 -> approved
         end bot e1 failed -> execution.ended
         collect bot h1 -> ! execution_ended
         run e1 -> failed steps 1 waiting 1",
    );
}

#[test]
fn a_kill_over_its_scope_ends_it_for_good() {
    for scope in [
        "workspace",
        "everything",
        "capability:crm",
        "branch:b1",
        "actor:agent:bot",
        "surface:execution",
        "alias:crm",
        "execution:@e1",
    ] {
        table(&format!(
            "decide bot pay p1 for=other STEP -> PERMIT open
             trip ann {scope} -> kill.tripped
             run e1 -> killed steps 1 waiting 0
             lift ann {scope} -> asked
             lift olga {scope} -> kill.lifted
             run e1 -> killed steps 1 waiting 0
             decide bot pay p2 STEP -> DENY killed_execution
             end bot e1 succeeded -> ! execution_ended
             decide bot pay p3 -> PERMIT"
        ));
    }
    // What is not in its scope, and what lets it end, leaves it alone.
    for scope in ["capability:mail", "model:m1", "surface:pay", "capability:crm freeze"] {
        table(&format!(
            "trip ann {scope} -> kill.tripped
             run e1 -> running steps 0 waiting 0"
        ));
    }
    table(
        "trip certificate everything -> kill.tripped
         run e1 -> kill_switch_tampered steps 0 waiting 0
         lift ann everything -> asked
         lift olga everything -> kill.lifted
         run e1 -> kill_switch_tampered steps 0 waiting 0
         decide bot pay p1 STEP -> DENY killed_execution",
    );
}

#[test]
fn a_freeze_lets_what_runs_come_to_its_end() {
    table(
        "decide bot big h1 STEP -> REQUIRE_APPROVAL operator:1
         decide bot big h2 -> REQUIRE_APPROVAL operator:1
         vote ann h1 -> approved
         vote ann h2 -> approved
         decide bot execution e2 action=start capability=crm -> PERMIT
         trip ann workspace freeze -> kill.tripped
         decide bot pay p1 STEP -> PERMIT
         collect bot h1 -> collected consumed
         decide bot pay p2 -> DENY frozen
         collect bot h2 -> ! frozen
         decide bot execution e3 action=start capability=crm -> DENY frozen
         start bot e2 -> ! frozen
         decide other pay p3 STEP -> DENY execution_foreign
         end bot e1 succeeded -> execution.ended
         decide bot pay p4 STEP -> DENY frozen",
    );
}

#[test]
fn a_step_outside_the_manifest_kills_its_execution_by_itself() {
    table(
        "decide bot pay open for=other nonce=n STEP -> PERMIT open
         decide bot big h1 STEP -> REQUIRE_APPROVAL operator:1
         vote ann h1 -> approved
         decide other out x1 STEP -> DENY execution_foreign
         decide bot out x2 -> DENY outside_manifest o
         run e1 -> waiting_approval steps 2 waiting 1
         decide bot out x3 STEP -> DENY outside_manifest o; kill.tripped
         run e1 -> killed steps 3 waiting 1
         consume other open -> ! killed
         again open -> ! killed
         collect bot h1 -> ! killed
         decide bot pay p1 STEP -> DENY killed_execution
         # It takes no place among what people stop, and nobody lifts it.
         lift ann execution:@e1 -> ! not_tripped
         decide bot pay p2 capability=crm branch=b1 -> PERMIT",
    );
}

#[test]
fn a_kill_reaches_what_runs_within_it() {
    table(
        "decide bot execution e2 action=start capability=mail -> PERMIT
         start bot e2 parent=e1 -> execution.started
         decide bot execution e3 action=start capability=mail -> PERMIT
         start bot e3 parent=e2 -> execution.started
         decide other execution e4 action=start capability=mail -> PERMIT
         start other e4 parent=e1 -> ! foreign
         trip ann execution:@e1 -> kill.tripped
         run e2 -> killed steps 0 waiting 0
         run e3 -> killed steps 0 waiting 0
         decide bot execution e5 action=start capability=mail -> PERMIT
         start bot e5 parent=e2 -> ! execution_ended
         start bot e5 -> execution.started",
    );
}

#[test]
fn where_there_is_no_place_it_waits_for_its_turn() {
    check(
        "world executions=2 waiting=2
         person ann operator
         person olga operator
         agent bot
         rule s execution allow
         rule a pay allow
         decide bot execution e1 action=start capability=crm -> PERMIT
         decide bot execution e2 action=start capability=crm -> PERMIT
         decide bot execution e3 action=start capability=crm -> PERMIT
         decide bot execution e4 action=start capability=mail -> PERMIT
         decide bot execution e5 action=start capability=mail -> PERMIT
         start bot e1 -> execution.started
         start bot e2 -> execution.started
         start bot e3 -> execution.queued
         start bot e3 -> nothing
         start bot e4 -> execution.queued
         start bot e5 -> ! executions_full
         tick -> nothing
         # What waits has no steps, and the key of one that came too early is not bound.
         decide bot pay p1 execution=@e3 capability=crm key=p -> DENY execution_queued
         end bot e1 succeeded -> execution.ended
         run e3 -> queued steps 0 waiting 0
         tick -> execution.started
         tick -> nothing
         run e3 -> running steps 0 waiting 0
         decide bot pay p2 execution=@e3 capability=crm key=p -> PERMIT after p1
         # The first place of whoever came first.
         start bot e5 -> execution.queued
         end bot e2 failed -> execution.ended
         tick -> execution.started
         run e4 -> running steps 0 waiting 0
         run e5 -> queued steps 0 waiting 0
         # What has not begun has no parts and has done nothing. Its runner may give it up; a kill ends it as one that runs.
         end bot e5 succeeded -> ! execution_queued
         decide bot execution e7 action=start capability=web -> PERMIT
         start bot e7 parent=e5 -> ! execution_queued
         end bot e5 failed -> execution.ended
         decide bot execution e6 action=start capability=mail -> PERMIT
         start bot e6 -> execution.queued
         trip ann capability:mail -> kill.tripped
         run e6 -> killed steps 0 waiting 0
         lift ann capability:mail -> asked
         lift olga capability:mail -> kill.lifted
         tick -> nothing",
    );
}

/// Who waits keeps a place for up to a day: of those, nobody takes all.
#[test]
fn nobody_takes_all_places_of_those_that_wait() {
    check(
        "world waiting=4 waiting_each=2
         agent bot
         agent other
         rule s execution constrain max_concurrent=1
         decide bot execution e1 action=start capability=crm -> PERMIT max_concurrent=1
         decide bot execution e2 action=start capability=crm -> PERMIT max_concurrent=1
         decide bot execution e3 action=start capability=crm -> PERMIT max_concurrent=1
         decide bot execution e4 action=start capability=crm -> PERMIT max_concurrent=1
         start bot e1 -> execution.started
         start bot e2 -> execution.queued
         start bot e3 -> execution.queued
         start bot e4 -> ! executions_full
         # Another runner's start of the same capability finds its place, and so does one that need not wait.
         decide other execution o1 action=start capability=crm -> PERMIT max_concurrent=1
         start other o1 -> execution.queued
         decide bot execution e5 action=start capability=mail -> PERMIT max_concurrent=1
         start bot e5 -> execution.started
         # One that begins waits no more, and one that is given up neither.
         end bot e1 succeeded -> execution.ended
         tick -> execution.started
         start bot e4 -> execution.queued
         decide bot execution e6 action=start capability=crm -> PERMIT max_concurrent=1
         start bot e6 -> ! executions_full
         end bot e4 failed -> execution.ended
         start bot e6 -> execution.queued",
    );
}

#[test]
fn the_constraint_of_its_permit_bounds_those_that_run() {
    check(
        "person ann operator
         person olga operator
         agent bot
         rule s execution constrain max_concurrent=1
         decide bot execution e1 action=start capability=crm -> PERMIT max_concurrent=1
         decide bot execution e2 action=start capability=crm -> PERMIT max_concurrent=1
         decide bot execution e3 action=start capability=mail -> PERMIT max_concurrent=1
         start bot e1 -> execution.started
         start bot e2 -> execution.queued
         # Another capability has places of its own.
         start bot e3 -> execution.started
         # A freeze lets nothing begin; once it is lifted the turn comes.
         trip ann capability:crm freeze -> kill.tripped
         decide bot pay p1 execution=@e2 capability=crm -> DENY frozen
         run e2 -> queued steps 0 waiting 0
         end bot e1 succeeded -> execution.ended
         tick -> nothing
         lift ann capability:crm -> asked
         lift olga capability:crm -> kill.lifted
         tick -> execution.started
         run e2 -> running steps 0 waiting 0",
    );
    // Nobody waits for ever, nor for a parent that is gone.
    check(
        "agent bot
         rule s execution constrain max_concurrent=1
         decide bot execution e1 action=start capability=crm -> PERMIT max_concurrent=1
         decide bot execution e2 action=start capability=crm permit=9 -> PERMIT max_concurrent=1
         decide bot execution e3 action=start capability=mail -> PERMIT max_concurrent=1
         decide bot execution e4 action=start capability=crm -> PERMIT max_concurrent=1
         start bot e1 -> execution.started
         start bot e3 -> execution.started
         start bot e2 -> execution.queued
         start bot e4 parent=e3 -> execution.queued
         +86399999
         tick -> nothing
         end bot e3 succeeded -> execution.ended
         +1
         tick -> execution.terminated; execution.terminated
         run e2 -> failed steps 0 waiting 0
         run e1 -> running steps 0 waiting 0
         decide bot execution e5 action=start capability=mail -> PERMIT max_concurrent=1
         start bot e5 -> execution.started
         decide bot execution e6 action=start capability=crm -> PERMIT max_concurrent=1
         start bot e6 parent=e5 -> execution.queued
         end bot e5 failed -> execution.ended
         end bot e1 failed -> execution.ended
         tick -> execution.terminated
         run e6 -> failed steps 0 waiting 0",
    );
}

#[test]
fn a_step_too_many_ends_it() {
    check(
        "person ann operator
         agent bot
         agent other
         rule s execution allow
         rule a pay allow
         rule h big hold
         decide bot execution e1 action=start capability=crm -> PERMIT
         start bot e1 steps=2 -> execution.started
         decide bot big h1 execution=@e1 capability=crm -> REQUIRE_APPROVAL operator:1
         decide other pay p1 execution=@e1 capability=crm -> DENY execution_foreign
         decide bot pay p2 execution=@e1 capability=crm -> PERMIT
         decide other pay p3 execution=@e1 capability=crm -> DENY execution_foreign
         run e1 -> waiting_approval steps 2 waiting 1
         decide bot pay p4 execution=@e1 capability=crm -> DENY execution_budget; execution.terminated
         run e1 -> terminated_budget steps 3 waiting 1
         # That is final, for what is held as well.
         decide bot pay p5 execution=@e1 capability=crm -> DENY execution_ended
         vote ann h1 -> approved
         collect bot h1 -> ! execution_ended
         end bot e1 succeeded -> ! execution_ended",
    );
}

/// A runner that died gives its place back, and nobody goes on in a run that has had its time.
#[test]
fn no_execution_runs_for_ever() {
    check(
        "agent bot
         rule s execution constrain max_runtime_sec=60
         rule a pay allow
         decide bot execution e1 action=start capability=crm -> PERMIT max_runtime_sec=60
         decide bot execution e2 action=start capability=crm -> PERMIT max_runtime_sec=60
         decide bot execution e3 action=start capability=crm -> PERMIT max_runtime_sec=60
         # Its start may ask for less than its permit says, and not for more.
         start bot e1 runtime=30 -> execution.started
         start bot e2 runtime=90 -> execution.started
         start bot e3 -> execution.started
         +29999
         tick -> nothing
         decide bot pay p1 execution=@e1 capability=crm -> PERMIT
         +1
         # Before the plane has ended it, nobody goes on either; the step too late ends it.
         decide bot pay p2 execution=@e1 capability=crm -> DENY execution_budget; execution.terminated
         run e1 -> terminated_budget steps 2 waiting 0
         tick -> nothing
         end bot e2 succeeded -> execution.ended
         +30000
         # One that was ended before is not ended again.
         tick -> execution.terminated
         run e2 -> succeeded steps 0 waiting 0
         run e3 -> terminated_budget steps 0 waiting 0
         end bot e3 succeeded -> ! execution_ended",
    );
    // A week where nothing says so, and from its place on: what waits has not begun.
    check(
        "agent bot
         rule s execution constrain max_concurrent=1
         decide bot execution e1 action=start capability=crm -> PERMIT max_concurrent=1
         decide bot execution e2 action=start capability=crm -> PERMIT max_concurrent=1
         start bot e1 runtime=3600 -> execution.started
         start bot e2 -> execution.queued
         +3600000
         tick -> execution.terminated
         run e2 -> queued steps 0 waiting 0
         tick -> execution.started
         +604799999
         tick -> nothing
         +1
         tick -> execution.terminated
         run e2 -> terminated_budget steps 0 waiting 0",
    );
    // One that has had all its steps has its place until it is over, or until then.
    check(
        "agent bot
         rule s execution allow
         rule a pay allow
         decide bot execution e1 action=start capability=crm -> PERMIT
         start bot e1 steps=1 runtime=9 -> execution.started
         decide bot pay p1 execution=@e1 capability=crm -> PERMIT
         +9000
         tick -> execution.terminated
         run e1 -> terminated_budget steps 1 waiting 0",
    );
    // Between the end of its time and the look at the clock that ends it, nothing begins in it either.
    check(
        "person ann operator
         agent bot
         rule s execution allow
         rule r pay hold
         decide bot execution e1 action=start capability=crm -> PERMIT
         decide bot execution e2 action=start capability=crm -> PERMIT
         start bot e1 runtime=9 -> execution.started
         decide bot pay h1 execution=@e1 capability=crm -> REQUIRE_APPROVAL operator:1
         decide bot pay h2 execution=@e1 capability=crm -> REQUIRE_APPROVAL operator:1
         vote ann h1 -> approved
         vote ann h2 -> approved
         +8999
         collect bot h1 -> collected consumed
         +1
         collect bot h2 -> ! execution_ended
         start bot e2 parent=e1 -> ! execution_ended
         run e1 -> waiting_approval steps 2 waiting 1",
    );
    // Thirty days, whatever its permit says.
    check(
        "agent bot
         rule s execution constrain max_runtime_sec=9000000
         decide bot execution e1 action=start capability=crm -> PERMIT max_runtime_sec=9000000
         start bot e1 -> execution.started
         +2591999999
         tick -> nothing
         +1
         tick -> execution.terminated",
    );
}

/// People who release a start release it within the bounds that it was decided with.
#[test]
fn a_start_that_people_approved_keeps_to_its_constraints() {
    check(
        "person ann operator
         agent bot
         rule s execution hold max_concurrent=1 max_runtime_sec=60
         decide bot execution e1 action=start capability=crm -> REQUIRE_APPROVAL max_concurrent=1 max_runtime_sec=60 operator:1
         decide bot execution e2 action=start capability=crm -> REQUIRE_APPROVAL max_concurrent=1 max_runtime_sec=60 operator:1
         vote ann e1 -> approved
         vote ann e2 -> approved
         collect bot e1 -> collected consumed
         collect bot e2 -> collected consumed
         start bot e1 -> execution.started
         start bot e2 -> execution.queued
         +60000
         tick -> execution.terminated
         run e1 -> terminated_budget steps 0 waiting 0
         tick -> execution.started
         run e2 -> running steps 0 waiting 0",
    );
}
