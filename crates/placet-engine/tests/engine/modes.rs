//! Modes of enforcement: what becomes of decisions where gates proceed anyway, and who has to have said so.
//! Surfaces that begin with `lax` are those that a mode of the bundle is about.

use super::notation::{Scene, check};

const PEOPLE: &str = "person ann admin
     person bob admin
     person olga operator
     agent bot worker
     rule a lax.allowed allow
     rule d lax.denied deny
     rule h lax.held hold
     rule t lax.slow throttle
     rule u lax.slow allow
     rule s strict deny\n";

/// Two people publish.
const PUBLISHED: &str = "decide ann policy.publish p1 action=publish -> REQUIRE_APPROVAL admin:1
     vote bob p1                                      -> approved
     arm bob p1 b1       -> collected consumed; bundle.armed; outcome.reported\n";

#[track_caller]
fn rows(rows: &str) {
    check(&format!("{PEOPLE}{rows}"));
}

#[test]
fn what_two_people_published_lets_pass_and_permits_nothing() {
    rows(&format!(
        "{PUBLISHED}
         decide bot lax.denied d1   -> SILENCE unenforced would=DENY
         decide bot lax.slow d2     -> SILENCE unenforced would=THROTTLE
         # Nobody waits, so nobody is asked.
         decide bot lax.held d3     -> SILENCE unenforced would=REQUIRE_APPROVAL
         vote olga d3               -> ! not_found
         decide bot lax.other d4    -> SILENCE unenforced no_rule_matches would=SILENCE
         # What is permitted is permitted as ever.
         decide bot lax.allowed d5  -> PERMIT
         # Nothing is let pass that no mode is about.
         decide bot strict d6       -> DENY s"
    ));
}

#[test]
fn a_mode_of_one_person_does_not_count() {
    // What came with the start.
    rows("decide bot lax.denied d1   -> DENY d");
    // What two people published and one took back.
    rows(&format!(
        "{PUBLISHED}
         decide bot lax.denied d1   -> SILENCE unenforced would=DENY
         decide ann policy.rollback r1 action=emergency -> PERMIT
         arm ann r1 0               -> bundle.armed; outcome.reported
         decide bot lax.denied d2   -> DENY d"
    ));
    // Who is alone has slept on it.
    check(
        "world solo
         person ann admin
         agent bot worker
         rule d lax.denied deny
         decide bot lax.denied d1   -> DENY d
         draft ann b1               -> bundle.drafted
         decide ann policy.publish p1 action=publish -> PERMIT
         arm ann p1 b1              -> ! too_early
         +600000
         decide ann policy.publish p2 action=publish -> PERMIT
         arm ann p2 b1              -> bundle.armed; outcome.reported
         decide bot lax.denied d2   -> SILENCE unenforced would=DENY",
    );
}

#[test]
fn what_is_stopped_stays_stopped() {
    rows(&format!(
        "{PUBLISHED}
         trip olga surface:lax.denied     -> kill.tripped
         decide bot lax.denied d1         -> DENY killed_surface
         trip olga workspace              -> kill.tripped
         decide bot lax.allowed d2        -> DENY killed_workspace
         decide bot lax.slow d3           -> DENY killed_workspace"
    ));
}

#[test]
fn a_manifest_that_is_tried_ends_no_run() {
    rows(&format!(
        "rule r execution allow
         rule o lax.out deny outside
         rule p out deny outside
         {PUBLISHED}
         decide bot execution e1 action=start capability=crm -> PERMIT
         start bot e1                     -> execution.started
         decide bot lax.out x1 execution=@e1 capability=crm -> SILENCE unenforced outside_manifest would=DENY
         run e1                           -> running steps 1 waiting 0
         # Where it is enforced it is the end of the run.
         decide bot out x2 execution=@e1 capability=crm -> DENY outside_manifest p; kill.tripped
         run e1                           -> killed steps 2 waiting 0
         decide bot lax.out x3 execution=@e1 capability=crm -> DENY killed_execution"
    ));
}

#[test]
fn an_answer_of_a_mode_is_not_kept_for_the_next_question() {
    rows(&format!(
        "{PUBLISHED}
         decide bot lax.denied d1         -> SILENCE unenforced would=DENY
         # Under the same key: the mode of today answers.
         decide bot lax.denied d1         -> SILENCE unenforced after ? would=DENY
         decide ann policy.rollback r1 action=emergency -> PERMIT
         arm ann r1 0                     -> bundle.armed; outcome.reported
         decide bot lax.denied d1         -> DENY d after ?"
    ));
}

#[test]
fn what_passes_is_counted_as_ungoverned() {
    let mut scene = Scene::default();
    let published = PUBLISHED.lines().filter_map(|row| row.split("->").next());
    let rows = format!(
        "{PEOPLE}{}
         decide bot lax.denied d1
         decide bot lax.held d2
         decide bot lax.allowed d3
         decide bot strict d4",
        published.collect::<Vec<_>>().join("\n")
    );
    for row in rows.lines().map(str::trim) {
        let out = scene.line(row);
        assert!(!out.starts_with('!'), "{row}: {out}");
    }
    let measures = scene.world().state.measures();
    assert_eq!(measures.total().passages, [2, 0]);
    let of = |name: &str| measures.surfaces().named.get(name).map(|seen| seen.passages);
    assert_eq!(of("lax.denied"), Some([1, 0]));
    assert_eq!(of("lax.allowed"), Some([0, 0]));
    assert_eq!(of("strict"), Some([0, 0]));
}
