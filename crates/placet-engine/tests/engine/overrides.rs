//! What people stop, scope by scope: the table of scopes and ways against everything that hands out or
//! uses a permit; who may stop and lift; and what is remembered after a lift.

use super::notation::check;
use super::world::{Portable, World};
use placet_engine::{Bounds, Command, Plan, Rejection, Trip, Who, step};
use placet_types::event::{KillScope, KillSource, OverrideMode};
use placet_types::ids::TimeMs;
use std::fmt::Write as _;

/// A run that is none of ours goes by its pseudonym.
const RUN: &str = "abababababababababababababababababababababababababababababababab";
const JOB: &str = "job_00000000000000000000000000000001";

/// The request that all scopes of the table cover, and one that they do not.
fn covered() -> String {
    format!("behalf=boss branch=b1 capability=crm execution={RUN} job={JOB} model=m1")
}

/// Rows of what happens to actions that a scope covers, while it is stopped and after the lift: `D` the
/// decision, `H` a held action that is complete, `O` a permit that another gate has not consumed, `C` one
/// that is consumed at the same time as it is fetched again, `A` fetching a consumed permit again.
fn row(scope: &str, mode: &str, stopped: &[&str; 5], after: &[&str; 5]) {
    let [decide, collect, consume, again, held_again] = stopped;
    let [decide2, collect2, consume2, again2, held_again2] = after;
    let covered = covered();
    check(&format!(
        "person ann operator
         person olga operator,admin
         person zoe operator
         agent bot
         service gate
         person boss
         rule a pay allow
         rule h big hold
         decide bot pay plain nonce=n {covered} -> PERMIT
         decide bot pay open for=gate nonce=n {covered} -> PERMIT open
         decide bot big held {covered} -> REQUIRE_APPROVAL operator:1
         decide bot big fetched {covered} -> REQUIRE_APPROVAL operator:1
         vote ann held -> approved
         vote ann fetched -> approved
         collect bot fetched nonce=c -> collected consumed
         decide bot pay other for=gate nonce=n -> PERMIT open
         +1
         trip ann {scope} {mode} -> kill.tripped
         trip ann {scope} {mode} -> nothing
         +1
         decide bot pay now {covered} key=now -> {decide}
         collect bot held -> {collect}
         consume gate open -> {consume}
         again plain -> {again}
         collect bot fetched nonce=c -> {held_again}
         consume gate other -> permit.consumed
         +1
         lift olga {scope} -> asked
         lift olga {scope} -> ! second_person_needed
         lift zoe {scope} -> kill.lifted
         +1
         decide bot pay later {covered} key=now -> {decide2}
         collect bot held -> {collect2}
         consume gate open -> {consume2}
         again plain -> {again2}
         collect bot fetched nonce=c -> {held_again2}
         decide bot pay fine nonce=n {covered} -> PERMIT
         again fine -> shown"
    ));
}

#[test]
fn a_killed_scope_stops_everything_of_it_and_what_it_ended_stays_ended() {
    let scopes = [
        ("capability:crm", "capability"),
        ("branch:b1", "branch"),
        ("model:m1", "model"),
        ("actor:agent:bot-none", ""),
        ("actor:human:boss", "actor"),
        ("alias:crm", "alias"),
        ("alias:b1", "alias"),
        ("alias:m1", "alias"),
        (&format!("execution:{RUN}"), "execution"),
        (&format!("job:{JOB}"), "job"),
    ];
    for (scope, code) in scopes.into_iter().filter(|(_, code)| !code.is_empty()) {
        let denied = format!("DENY killed_{code}");
        row(
            scope,
            "kill",
            &[&denied, "! killed", "! killed", "! killed", "! killed"],
            &[
                "PERMIT after now",
                "collected consumed",
                "! permit_revoked",
                "! permit_revoked",
                "! permit_consumed",
            ],
        );
    }
}

#[test]
fn what_is_disabled_is_not_used_and_what_was_open_is_over() {
    for scope in ["capability:crm", "branch:b1", "model:m1", "alias:m1"] {
        row(
            scope,
            "disable",
            &["DENY disabled", "! disabled", "! disabled", "! disabled", "! disabled"],
            &[
                "PERMIT after now",
                "collected consumed",
                "! permit_revoked",
                "! permit_revoked",
                "! permit_consumed",
            ],
        );
    }
}

#[test]
fn what_is_frozen_begins_nothing_new_and_uses_what_it_has() {
    for scope in ["capability:crm", "branch:b1", "model:m1", "actor:human:boss"] {
        row(
            scope,
            "freeze",
            &["DENY frozen", "! frozen", "permit.consumed", "shown", "nothing"],
            &["PERMIT after now", "collected consumed", "! permit_consumed", "shown", "nothing"],
        );
    }
}

#[test]
fn surfaces_and_actors_are_stopped_by_name() {
    check(
        "person ann operator
         person olga operator
         agent bot
         agent sub
         rule a pay allow
         rule b mail allow
         trip ann surface:pay -> kill.tripped
         decide bot pay p1 -> DENY killed_surface
         decide bot mail m1 -> PERMIT
         trip ann actor:agent:bot -> kill.tripped
         decide bot mail m2 -> DENY killed_actor
         decide sub mail m3 behalf=bot -> DENY killed_actor
         decide sub mail m4 -> PERMIT
         # The widest and the hardest say why.
         trip ann workspace freeze -> kill.tripped
         decide sub mail m5 -> DENY frozen
         decide bot mail m6 -> DENY killed_actor
         trip ann workspace -> kill.tripped
         decide bot mail m7 -> DENY killed_workspace
         # What is killed is not made milder by a freeze; lifting lifts all of it.
         trip ann workspace freeze -> nothing
         lift ann workspace -> asked
         lift olga workspace -> kill.lifted
         decide sub mail m8 -> PERMIT
         lift ann surface:mail -> ! not_tripped",
    );
}

#[test]
fn an_alias_is_frozen_against_change_disabled_in_use_and_killed_in_both() {
    check(
        "person ann operator
         person olga operator
         agent bot
         rule a call allow
         rule b alias.change allow
         trip ann alias:main freeze -> kill.tripped
         decide bot alias.change c1 alias=main -> DENY frozen
         decide bot alias.change c2 alias=other -> PERMIT
         decide bot call u1 model=main -> PERMIT
         trip ann alias:main disable -> kill.tripped
         decide bot alias.change c3 alias=main -> PERMIT
         decide bot call u2 model=main -> DENY disabled
         decide bot call u3 model=other -> PERMIT
         trip ann alias:main -> kill.tripped
         decide bot alias.change c4 alias=main -> DENY killed_alias
         decide bot call u4 branch=main -> DENY killed_alias",
    );
}

#[test]
fn a_revoked_role_counts_for_nobody() {
    check(
        "person ann operator,admin
         person olga owner,operator
         person zoe owner
         person bob admin
         agent bot owner
         agent sub
         rule a pay allow
         rule h big hold roles=owner:1
         decide bot big h1 -> REQUIRE_APPROVAL owner:1
         decide sub big h2 -> REQUIRE_APPROVAL owner:1
         decide sub big h3 -> REQUIRE_APPROVAL owner:1
         vote zoe h2 -> approved
         trip ann role:owner revoke -> kill.tripped
         decide bot pay p1 key=p -> DENY role_revoked
         decide sub pay p2 -> PERMIT
         # Who comes with it asks again without it; a vote that rests on it does not stand.
         vote zoe h3 -> ! role_revoked
         collect sub h2 -> invalidated
         trip olga surface:x -> kill.tripped
         trip ann role:admin revoke -> ! override_invalid
         trip ann role:owner -> ! override_invalid
         lift bob role:owner -> asked
         lift ann role:owner -> kill.lifted
         decide bot pay p3 key=p -> PERMIT after p1
         vote zoe h3 -> approved",
    );
    check(
        "person ann operator,admin
         person olga operator
         person bob admin
         agent bot
         rule a pay allow
         trip olga role:operator revoke -> kill.tripped
         # Nobody is an operator any more: admins lift.
         trip olga surface:x -> ! role_missing
         lift olga role:operator -> ! role_revoked
         lift ann role:operator -> ! role_revoked
         lift bob role:operator -> asked",
    );
}

#[test]
fn stopping_takes_one_person_and_lifting_two_never_the_one_it_names() {
    check(
        "person ann operator
         person olga operator
         person zoe operator
         person carl
         agent bot
         rule a pay allow
         trip carl capability:crm -> ! role_missing
         trip bot capability:crm -> ! not_human
         trip nobody capability:crm -> ! not_human
         trip ann actor:human:olga -> kill.tripped
         lift olga actor:human:olga -> ! own_override
         lift ann actor:human:olga -> asked
         # Stopping it again is an objection.
         trip zoe actor:human:olga -> kill.tripped
         lift zoe actor:human:olga -> asked
         lift olga actor:human:olga -> ! own_override
         lift ann actor:human:olga -> kill.lifted
         # Who is stopped may stop others all the same.
         trip ann actor:human:zoe -> kill.tripped
         trip zoe workspace -> kill.tripped
         trip zoe execution:exe_00000000000000000000000000000001 freeze -> ! override_invalid
         trip zoe actor:agent:bot disable -> ! override_invalid
         trip zoe workspace disable -> ! override_invalid",
    );
    check(
        "world dev
         person ann operator
         agent bot
         rule a pay allow
         trip ann model:m -> kill.tripped
         decide bot pay p model=m -> DENY killed_model
         lift ann model:m -> kill.lifted
         decide bot pay q model=m -> PERMIT",
    );
    check(
        "world solo
         person ann operator
         agent bot
         rule a pay allow
         trip ann model:m freeze -> kill.tripped
         lift ann model:m -> asked, not before +600000
         lift ann model:m -> ! too_early
         +600000
         lift ann model:m -> kill.lifted
         decide bot pay q model=m -> PERMIT",
    );
}

/// An override leaves no trace in the window of the idempotency key, the limits, or the queue.
#[test]
fn what_is_stopped_is_not_held_against_the_request() {
    check(
        "person ann operator
         person olga operator
         agent bot
         rule a pay allow
         rule l pay throttle limit=1/100000
         trip ann capability:crm -> kill.tripped
         decide bot pay a key=k capability=crm -> DENY killed_capability
         decide bot pay b key=k capability=crm -> DENY killed_capability after a
         lift ann capability:crm -> asked
         lift olga capability:crm -> kill.lifted
         decide bot pay c key=k capability=crm -> PERMIT after b
         decide bot pay d capability=crm -> THROTTLE velocity retry=100000",
    );
}

fn tripped(world: &mut World, scope: KillScope) -> Result<Plan, Rejection> {
    let source = KillSource::File;
    let command = Command::Trip(Trip { scope, mode: OverrideMode::Kill, source, who: None });
    world.run(&command)
}

#[test]
fn at_the_bound_a_narrower_scope_is_refused_and_the_widest_fit() {
    let bounds = Bounds { overrides_max: 3, ..Bounds::default() };
    let mut world = World::new(bounds, false, false);
    world.genesis(vec![], None);
    for n in 0..3 {
        assert!(tripped(&mut world, KillScope::Model(format!("m{n}"))).is_ok());
    }
    let fourth = tripped(&mut world, KillScope::Model("m3".into()));
    assert_eq!(fourth, Err(Rejection::OverridesFull));
    assert_eq!(tripped(&mut world, KillScope::Model("m2".into())), Ok(Plan::Nothing));
    assert!(tripped(&mut world, KillScope::Workspace).is_ok());
    assert!(tripped(&mut world, KillScope::Everything).is_ok());
    world.check_replay();
}

/// More lifted scopes than are remembered one by one: what was permitted before the oldest trip that is
/// forgotten stays withheld.
#[test]
fn what_a_lifted_scope_ended_stays_ended_however_many_were_lifted_since() {
    let mut world = World::new(Bounds::default(), true, false);
    let ann = world.principal("human:ann", &["operator"]);
    world.genesis(vec![], None);
    let who = Who { actor: ann.actor, key: None, roles: ann.roles };
    let mut first = None;
    for n in 0..1500_u64 {
        let scope = KillScope::Model(format!("m{n}"));
        world.now = TimeMs(world.now.0 + 1);
        assert!(tripped(&mut world, scope.clone()).is_ok());
        first = first.or(Some(world.state.next_index() - 1));
        let lift = placet_engine::Lift { scope, who: who.clone(), solo_delay_ms: 0 };
        assert!(world.run(&Command::Lift(lift)).is_ok());
    }
    let trip = first.expect("a trip");
    for n in [0_u64, 700, 1499] {
        let scopes = [KillScope::Model(format!("m{n}"))];
        assert_eq!(world.state.withheld(trip - 1, &scopes), Some(Rejection::PermitRevoked), "{n}");
    }
    // What comes after all of them is untouched.
    let after = world.state.next_index();
    assert_eq!(world.state.withheld(after, &[KillScope::Model("m1499".into())]), None);
    world.check_replay();
}

/// Snapshots hold what is tripped, and what a trip after them reaches.
#[test]
fn a_state_that_was_saved_knows_what_is_stopped_and_what_that_reaches() {
    let mut world = World::new(Bounds::default(), true, false);
    world.genesis(vec![], None);
    for scope in ["capability:a", "model:b", "role:c", "actor:agent:d", "surface:e.f"] {
        let scope = KillScope::parse(scope).expect("a scope");
        let mode = OverrideMode::ALL.into_iter().rfind(|mode| scope.takes(*mode)).expect("a way");
        let trip = Trip { scope, mode, source: KillSource::File, who: None };
        assert!(world.run(&Command::Trip(trip)).is_ok());
    }
    let mut shown = String::new();
    for at in 1..=world.log.len() {
        let revived = world.revived(&mut super::world::Runs::default(), at);
        let _ = writeln!(shown, "{at}");
        assert_eq!(world.fingerprint(&world.state), world.fingerprint(&revived), "{shown}");
        assert_eq!(revived.revoked_roles().collect::<Vec<_>>(), ["c"]);
    }
    assert!(step::<Portable>(&world.state, &Command::Tick, world.now).is_ok());
}
