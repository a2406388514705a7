//! Kill switch, keys and the constitution.

use super::notation::{Scene, check, roles};
use super::world::actor;
use placet_engine::{Command, Follow, Lift, Plan, Who};
use placet_types::event::{Event, KillScope, KillSource, OverrideMode};

const PEOPLE: &str = "person ann operator
     person bob admin
     person eve auditor
     agent bot operator,admin
     service svc admin
     rule a pay allow\n";

#[track_caller]
fn governed(rows: &str) {
    check(&format!("{PEOPLE}{rows}"));
}

#[test]
fn one_authorised_person_trips_and_two_lift() {
    governed(
        "trip eve workspace       -> ! role_missing
         trip bot workspace       -> ! not_human
         trip svc everything      -> ! not_human
         trip nobody everything   -> ! not_human
         lift ann workspace       -> ! not_tripped
         trip ann workspace       -> kill.tripped
         trip bob workspace       -> nothing
         decide bot pay d1        -> DENY killed_workspace
         trip bob everything      -> kill.tripped
         decide bot pay d2        -> DENY killed_everything
         lift eve everything      -> ! role_missing
         lift bot everything      -> ! not_human
         lift bob everything      -> asked
         lift bob everything      -> ! second_person_needed
         # Asking for one is not asking for the other.
         lift ann workspace       -> asked
         lift ann everything      -> kill.lifted
         decide bot pay d3        -> DENY killed_workspace
         lift bob workspace       -> kill.lifted
         decide bot pay d4        -> PERMIT
         lift bob workspace       -> ! not_tripped",
    );
}

#[test]
fn file_and_signal_trip_without_anybody() {
    governed(
        "trip file everything     -> kill.tripped
         trip file everything     -> nothing
         decide bot pay d1        -> DENY killed_everything
         lift ann everything      -> asked
         lift bob everything      -> kill.lifted
         # A new trip forgets who asked to lift the last one.
         trip ann workspace       -> kill.tripped
         lift ann workspace       -> asked
         lift bob workspace       -> kill.lifted
         trip ann workspace       -> kill.tripped
         lift bob workspace       -> asked
         lift bob workspace       -> ! second_person_needed",
    );
}

#[test]
fn who_asked_to_lift_must_still_be_entitled_to() {
    check(
        "person ann operator
         person bob admin
         person cat admin
         trip ann workspace       -> kill.tripped
         lift ann workspace       -> asked
         revokekey bob ann        -> key.revoked
         lift ann workspace       -> ! key_revoked
         lift bob workspace       -> asked
         lift cat workspace       -> kill.lifted",
    );
}

#[test]
fn alone_one_lifts_after_a_delay_and_in_development_at_once() {
    check(
        "world solo
         person ann admin
         trip ann workspace       -> kill.tripped
         lift ann workspace       -> asked, not before +600000
         +599999
         lift ann workspace       -> ! too_early
         +1
         lift ann workspace       -> kill.lifted",
    );
    check(
        "world dev
         person ann operator
         trip ann workspace       -> kill.tripped
         lift ann workspace       -> kill.lifted",
    );
    // The delay of solo mode is worth nothing once solo mode has ended, and asking before it began
    // starts none.
    check(
        "world solo
         person ann admin
         person bob admin
         rule a pay allow
         agent bot
         trip ann workspace       -> kill.tripped
         lift ann workspace       -> asked, not before +600000
         +600000
         mode plain
         decide bot pay d1        -> DENY killed_workspace
         lift ann workspace       -> ! second_person_needed
         lift bob workspace       -> kill.lifted
         trip ann workspace       -> kill.tripped
         lift ann workspace       -> asked
         mode solo
         decide bot pay d2        -> DENY killed_workspace
         lift ann workspace       -> asked, not before +600000
         +600000
         lift ann workspace       -> kill.lifted",
    );
}

#[test]
fn the_constitution_needs_two_admins_where_there_are_two() {
    check(
        "person ann operator
         person adm admin
         person adn admin
         agent bot admin
         service svc admin
         decide ann key.create d1          -> DENY constitution.admin-only
         # An agent never writes its own limits, whatever its key says.
         decide bot policy.publish d2      -> DENY constitution.admin-only
         decide adm key.create d3          -> REQUIRE_APPROVAL admin:1
         vote adm d3                       -> ! own_approval
         vote ann d3                       -> ! role_missing
         vote adn d3                       -> approved
         collect adm d3                    -> collected consumed
         newkey adm cat operator           -> key.created
         newkey ann cat operator           -> ! role_missing
         # A machine governs nothing, or it could be the second person.
         decide svc policy.publish d4  -> DENY constitution.admin-only
         revokekey ann adn                 -> ! role_missing
         revokekey adm zoe                 -> ! not_found
         decide adm role.grant d5          -> REQUIRE_APPROVAL admin:1
         revokekey adn adm                 -> key.revoked
         decide adm role.grant d6          -> ! key_revoked
         vote adn d5                       -> approved
         # Its proposer is nobody any more.
         collect adm d5                    -> ! key_revoked
         decide adn override.x d7          -> PERMIT
         revokekey adn adn                 -> ! last_admin
         revokekey adn ann                 -> key.revoked
         decide adn keys.create d8         -> SILENCE no_rule_matches",
    );
}

#[test]
fn a_bundle_tightens_what_the_constitution_says_and_does_not_loosen_it() {
    check(
        "person ann operator
         person adm admin
         person adn admin
         rule a policy.publish allow
         rule h key.create hold roles=operator:1
         rule z role.grant deny
         decide ann policy.publish d1  -> DENY constitution.admin-only
         decide adm policy.publish d2  -> REQUIRE_APPROVAL admin:1
         decide adm key.create d3      -> REQUIRE_APPROVAL admin:1,operator:1
         vote adn d3                   -> missing operator:1
         vote ann d3                   -> approved
         collect adm d3                -> collected consumed
         decide adm role.grant d4      -> DENY z
         # Demanded when it was held, demanded when it is voted: dropping a rule loosens nothing.
         drop a                        -> bundle.armed
         vote adn d2                   -> approved
         collect adm d2                -> collected consumed",
    );
}

#[test]
fn a_single_admin_and_development_suffice_alone_and_without_a_bundle() {
    check(
        "world no-bundle
         person adm admin
         decide adm key.create d1       -> PERMIT
         decide adm other d2            -> SILENCE no_bundle
         newkey adm adn admin           -> key.created
         decide adm key.create d3       -> REQUIRE_APPROVAL admin:1
         vote adn d3                    -> approved
         collect adm d3                 -> collected consumed",
    );
    check(
        "world dev no-bundle
         person local admin
         decide local policy.publish d1 -> PERMIT",
    );
}

#[test]
fn a_held_change_of_governance_is_released_to_an_admin_alone() {
    check(
        "person adm admin
         person adn admin
         person ado admin
         decide adm key.create d1  -> REQUIRE_APPROVAL admin:1
         vote adn d1               -> approved
         newkey ado adm operator   -> key.created
         # The same person with a lesser key.
         collect adm d1            -> ! role_missing
         show d1                   -> approved",
    );
}

#[test]
fn what_the_first_workspace_has_done_about_everything_asks_nobody_here() {
    let mut scene = Scene::default();
    for line in ["person zoe admin,operator", "person ann auditor", "agent bot", "rule a pay allow"]
    {
        scene.line(line);
    }
    assert_eq!(scene.line("trip zoe role:operator revoke"), "kill.tripped");
    // Known here, without a role that counts.
    let by = Some(actor("human:ann"));
    let (mode, source) = (OverrideMode::Kill, KillSource::Api);
    let trip = Follow::Trip { mode, source, by: by.clone(), waiting: 2 };
    let events = |plan| if let Ok(Plan::Append(events)) = plan { events } else { vec![] };
    let mut follow = |it: &Follow| events(scene.world().run(&Command::Follow(it.clone())));
    assert!(follow(&Follow::Lift { by: by.clone() }).is_empty(), "nothing is tripped");
    assert!(
        matches!(&follow(&trip)[..], [Event::KillTripped(it)] if it.by == by && it.waiting == 2)
    );
    assert!(follow(&trip).is_empty(), "it is in this log already");
    let drill = Follow::Drill { by: actor("human:ann"), waiting: 0 };
    assert!(matches!(follow(&drill)[..], [Event::KillDrilled(_)]));
    assert!(
        matches!(&follow(&Follow::Lift { by: by.clone() })[..], [Event::KillLifted(it)] if it.by == by)
    );
    assert_eq!(scene.line("decide bot pay p"), "PERMIT");
}

/// A person of a session that is remembered no more.
#[test]
fn a_request_of_somebody_who_is_known_no_more_does_not_count() {
    for scope in ["workspace", "everything", "capability:crm"] {
        let mut scene = Scene::default();
        for line in ["person ann operator", "person olga operator"] {
            scene.line(line);
        }
        assert_eq!(scene.line(&format!("trip ann {scope}")), "kill.tripped");
        let key = scene.world().id();
        let who = Who { actor: actor("human:gone"), key: Some(key), roles: roles(&["operator"]) };
        let scoped = KillScope::parse(scope).expect("a scope");
        let lift = Lift { scope: scoped, who, solo_delay_ms: 0 };
        assert!(scene.world().run(&Command::Lift(lift)).is_ok());
        assert_eq!(scene.line(&format!("lift olga {scope}")), "asked", "anew");
        assert_eq!(scene.line(&format!("lift ann {scope}")), "kill.lifted");
    }
}

#[test]
fn a_certificate_stands_for_one_principal_for_good() {
    governed(
        "newkey bob cat operator cert=c1  -> key.created
         newkey bob dan operator cert=c1  -> ! certificate_taken
         newkey bob cat operator cert=c1  -> ! certificate_taken
         # Another one of the same person, before the first runs out.
         newkey bob cat operator cert=c2  -> key.created
         revokekey bob cat                -> key.revoked
         # What was revoked may be stolen: it does not come back, for anybody.
         newkey bob dan operator cert=c2  -> ! certificate_taken
         newkey bob dan operator cert=c1  -> ! certificate_taken
         newkey bob dan operator cert=c3  -> key.created",
    );
}
