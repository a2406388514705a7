//! A bundle beside the one in force: what of its word is recorded, and that nobody hears it.

use super::notation::Scene;
use super::world::{Runs, digest};
use placet_engine::{Command, Decide, Plan, Rejection, Shadow, ShadowBundle, step};
use placet_types::event::{DecisionEvent, Differing, Event, Would};
use placet_types::policy::{Aspect, Effect, Hit, Layer, LimitSpec, Outcome, RuleEffect, Verdict};
use std::sync::Arc;

const PEOPLE: &str = "person ann admin
    agent bot
    rule a pay allow
    rule h wait hold roles=operator:2
    rule d never deny
    rule l pay throttle limit=2/1000";

fn scene() -> Scene {
    let mut scene = Scene::default();
    for row in PEOPLE.lines().map(str::trim) {
        let out = scene.line(row);
        assert!(!out.starts_with('!'), "{row}: {out}");
    }
    // The world begins with the first command.
    let first = scene.line("decide bot other first");
    assert!(first.starts_with("SILENCE"), "{first}");
    scene
}

fn set(scene: &mut Scene, by: &str, bundle: Option<&str>) -> Result<Plan, Rejection> {
    let by = scene.who(by);
    let bundle = bundle.map(digest);
    let command = ShadowBundle { by, bundle, language: 1, decision: None };
    scene.world().run(&Command::ShadowBundle(command))
}

fn rule(id: &str, effect: Effect) -> RuleEffect {
    RuleEffect::new(id, Layer::Rules, effect)
}

/// What a bundle with these rules says.
fn says(bundle: &str, rules: Vec<RuleEffect>) -> Box<Shadow> {
    let hits: Vec<Hit> = rules.into_iter().map(|rule| Hit::of(Arc::new(rule))).collect();
    let windows = vec![None; hits.len()];
    let verdict =
        Verdict { policy: Some(digest(bundle)), surface_known: true, hits, ..Verdict::default() };
    Box::new(Shadow { verdict, windows })
}

fn command(scene: &mut Scene, row: &str) -> Decide {
    match scene.parse(row) {
        Command::Decide(decide) => *decide,
        other => panic!("{other:?}"),
    }
}

/// Decides, with the word of a shadow.
fn decide(scene: &mut Scene, row: &str, shadow: Option<Box<Shadow>>) -> DecisionEvent {
    let mut command = command(scene, row);
    command.shadow = shadow;
    match scene.world().run(&Command::Decide(Box::new(command))) {
        Ok(Plan::Append(events)) => match events.as_slice() {
            [Event::Decision(event)] => (**event).clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn counts(scene: &mut Scene) -> [u64; 3] {
    let shadow = scene.world().state.shadow().cloned().unwrap();
    [shadow.compared, shadow.differed, shadow.skipped]
}

#[test]
fn admins_set_and_clear_it() {
    let mut scene = scene();
    assert_eq!(set(&mut scene, "bot", Some("next")), Err(Rejection::NotHuman));
    assert!(matches!(set(&mut scene, "ann", Some("next")), Ok(Plan::Append(_))));
    assert_eq!(set(&mut scene, "ann", Some("next")), Ok(Plan::Nothing));
    assert!(matches!(set(&mut scene, "ann", Some("other")), Ok(Plan::Append(_))));
    assert!(matches!(set(&mut scene, "ann", None), Ok(Plan::Append(_))));
    assert_eq!(set(&mut scene, "ann", None), Ok(Plan::Nothing));
    assert!(scene.world().state.shadow().is_none());
}

#[test]
fn what_differs_is_recorded_and_what_does_not_is_counted() {
    let mut scene = scene();
    let allow = || says("next", vec![rule("a", Effect::Allow)]);
    assert_eq!(decide(&mut scene, "decide bot pay d0", Some(allow())).would, None);
    set(&mut scene, "ann", Some("next")).unwrap();
    assert_eq!(decide(&mut scene, "decide bot pay d1", Some(allow())).would, None);
    assert_eq!(counts(&mut scene), [1, 0, 0]);
    let deny = says("next", vec![rule("a", Effect::Allow), rule("no", Effect::Deny)]);
    // The window of the bundle in force is full by now, and it is not the shadow's.
    let event = decide(&mut scene, "decide bot pay d2", Some(deny));
    assert_eq!(event.outcome, Outcome::Throttle);
    assert_eq!(
        event.would,
        Some(Would::Differ(Differing {
            policy: digest("next"),
            outcome: Outcome::Deny,
            aspects: vec![Aspect::RetryAfter, Aspect::Rules],
            rules: vec!["no".into()],
        }))
    );
    let renamed = says("next", vec![rule("other", Effect::Deny)]);
    let event = decide(&mut scene, "decide bot never d3", Some(renamed));
    let would = event.would.as_ref().and_then(Would::differing).unwrap();
    assert_eq!((would.outcome, &would.aspects), (Outcome::Deny, &vec![Aspect::Rules]));
    assert_eq!(counts(&mut scene), [3, 2, 0]);
    // Another bundle was set meanwhile, or the request was evaluated before any was.
    let stale = says("before", vec![rule("no", Effect::Deny)]);
    assert_eq!(decide(&mut scene, "decide bot never d4", Some(stale)).would, Some(Would::Skipped));
    assert_eq!(decide(&mut scene, "decide bot never d5", None).would, Some(Would::Skipped));
    assert_eq!(counts(&mut scene), [3, 2, 2]);
    // Before any policy: nothing is said, and nothing is counted.
    let late = says("next", vec![rule("no", Effect::Deny)]);
    assert_eq!(decide(&mut scene, "decide bot pay d6 deadline=-1", Some(late)).would, None);
    let governed = says("next", vec![rule("no", Effect::Deny)]);
    assert_eq!(decide(&mut scene, "decide ann key.create d7", Some(governed)).would, None);
    assert_eq!(counts(&mut scene), [3, 2, 2]);
    // The fold says the same, from the beginning and from a snapshot.
    let world = scene.world();
    let state = world.state.shadow().cloned();
    assert_eq!(world.replayed().shadow().cloned(), state);
    for at in 1..world.log.len() {
        let mut runs = Runs::default();
        assert_eq!(world.revived(&mut runs, at).shadow().cloned(), state, "after {at}");
    }
}

#[test]
fn nothing_else_depends_on_it() {
    let mut scene = scene();
    set(&mut scene, "ann", Some("next")).unwrap();
    let effects = [
        Effect::Allow,
        Effect::AllowWithConstraints,
        Effect::RequireApproval,
        Effect::Throttle,
        Effect::Deny,
    ];
    let mut differed = 0;
    for (at, surface) in ["pay", "wait", "never", "nothing", "pay", "pay"].iter().enumerate() {
        let row = format!("decide bot {surface} s{at}");
        let command = command(&mut scene, &row);
        let now = scene.world().now;
        for many in 0..effects.len() * effects.len() {
            let mut rules = vec![rule("one", effects[many % 5]), rule("two", effects[many / 5])];
            if many % 3 == 0 {
                rules[0].limit = Some(LimitSpec { count: 1, per_ms: 1000 });
            }
            let plan = |shadow: Option<Box<Shadow>>| {
                let mut command = command.clone();
                command.shadow = shadow;
                step::<super::world::Portable>(
                    &scene.world.as_ref().unwrap().state,
                    &Command::Decide(Box::new(command)),
                    now,
                )
            };
            let (with, without) = (plan(Some(says("next", rules))), plan(None));
            let event = |plan: Result<Plan, Rejection>| match plan {
                Ok(Plan::Append(events)) => match events.into_iter().next() {
                    Some(Event::Decision(event)) => (*event).clone(),
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            };
            let (with, without) = (event(with), event(without));
            differed += usize::from(with.would.is_some());
            assert_eq!(
                DecisionEvent { would: None, ..with },
                DecisionEvent { would: None, ..without }
            );
        }
        scene.line(&row);
    }
    assert!(differed > 50, "{differed}");
}

#[test]
fn a_decision_names_the_shadow_that_was_set() {
    let mut scene = scene();
    let mut event = decide(&mut scene, "decide bot never d1", None);
    event.idempotency = [9; 16];
    let fold = |scene: &mut Scene, event: &DecisionEvent| {
        let world = scene.world();
        let entry = world.entry(Event::Decision(Arc::new(event.clone())));
        let mut state = world.replayed();
        state.apply(&entry).map_or_else(|error| error.to_string(), |()| "applied".to_owned())
    };
    event.would = Some(Would::Skipped);
    assert!(fold(&mut scene, &event).contains("there is none"));
    set(&mut scene, "ann", Some("next")).unwrap();
    assert_eq!(fold(&mut scene, &event), "applied");
    let differing = Differing {
        policy: digest("else"),
        outcome: Outcome::Permit,
        aspects: vec![],
        rules: vec![],
    };
    event.would = Some(Would::Differ(differing));
    assert!(fold(&mut scene, &event).contains("another shadow bundle"));
}

#[test]
fn a_large_decision_is_made_all_the_same() {
    let mut scene = scene();
    for at in 0..32 {
        let id = format!("{}{at}", "r".repeat(253));
        scene.line(&format!("rule {id} big deny"));
    }
    set(&mut scene, "ann", Some("next")).unwrap();
    let rules = (0..8).map(|at| rule(&format!("{}{at}", "w".repeat(190)), Effect::Throttle));
    let mut rules: Vec<RuleEffect> = rules.collect();
    rules.push(rule("a", Effect::Allow));
    let event = decide(&mut scene, "decide bot big d1", Some(says("next", rules)));
    assert_eq!(event.outcome, Outcome::Deny);
    let would = event.would.as_ref().and_then(Would::differing).unwrap();
    assert_eq!((would.outcome, would.rules.len()), (Outcome::Throttle, 0));
    assert!(event.bytes() <= 15 << 10, "{}", event.bytes());
}
