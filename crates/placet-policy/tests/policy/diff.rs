//! Comparing bundles: what is enumerated is all there is, what is sampled says so, and each witness
//! really is decided as it is said to be.

use crate::generated::{Section, document, request as any_request, rules};
use crate::support::{Sha2, bundle, source};
use placet_policy::diff::{Coverage, Diff, Extent, Side, diff};
use placet_policy::generate::SplitMix;
use placet_policy::{Bundle, Scratch};
use placet_types::ids::TimeMs;
use placet_types::policy::{Force, Velocity, Verdict, combine};
use placet_types::{Caller, Request};
use std::collections::BTreeSet;

pub(crate) fn side(
    bundle: &Bundle,
    request: &Request,
    caller: &Caller,
    at: Option<TimeMs>,
) -> Side {
    let verdict = bundle.evaluate(request, caller, &mut Scratch::default());
    // Windows are open and nothing came before: what depends on time and history is compared as declared.
    let asked = verdict
        .hits
        .iter()
        .filter(|hit| hit.force != Force::Asked && at.is_none_or(|at| hit.force.by_time(at)));
    let timeless = Verdict { hits: asked.cloned().collect(), ..verdict.clone() };
    Side::new(&verdict, &combine(&timeless, |_| Velocity::Open))
}

/// The instants around which evidence begins and ceases to count under either bundle.
pub(crate) fn instants(
    before: &Bundle,
    after: &Bundle,
    request: &Request,
    caller: &Caller,
) -> Vec<Option<TimeMs>> {
    let mut out = Vec::new();
    for bundle in [before, after] {
        let verdict = bundle.evaluate(request, caller, &mut Scratch::default());
        for hit in verdict.hits {
            if let Force::From(at) | Force::Until(at) = hit.force {
                out.extend([Some(TimeMs(at.0 - 1)), Some(at)]);
            }
        }
    }
    if out.is_empty() { vec![None] } else { out }
}

fn compare(before: &str, after: &str) -> Diff {
    let (before, after) = (bundle(before), bundle(after));
    let found = diff(&before, &after, &Extent::default(), &mut |_| {});
    believe(&found, &before, &after);
    found
}

/// Decides every witness again.
pub(crate) fn believe(found: &Diff, before: &Bundle, after: &Bundle) {
    for group in &found.groups {
        assert!(group.count > 0 && !group.witnesses.is_empty());
        for witness in &group.witnesses {
            let caller = Caller::from_facts(&witness.facts).unwrap();
            let request = Request::read(witness.request.clone(), &caller).unwrap();
            assert_eq!(side(before, &request, &caller, witness.at), witness.before);
            assert_eq!(side(after, &request, &caller, witness.at), witness.after);
            assert_eq!(witness.before.change(&witness.after).as_ref(), Some(&group.transition));
        }
    }
}

/// A line for each kind of change, and one of what was looked at.
pub(crate) fn text(found: &Diff) -> String {
    let mut lines = vec![match &found.coverage {
        Coverage::Identical => "identical".to_owned(),
        Coverage::Enumerated { cells } => format!("enumerated {cells}"),
        Coverage::Sampled { not_covered, .. } => format!("sampled: {}", not_covered.join("; ")),
    }];
    for group in &found.groups {
        let rules: Vec<&str> = group.rules.iter().map(String::as_str).collect();
        lines.push(format!("{} {}x by {}", group.transition, group.count, rules.join(",")));
    }
    for part in &found.parts {
        let members = part.members.join(",");
        lines.push(format!("{} {} {} {members}", part.section, part.name, part.how.as_str()));
    }
    lines.join("\n")
}

#[track_caller]
fn check(before: &str, after: &str, want: &[&str]) {
    let found = text(&compare(before, after));
    assert_eq!(found.lines().map(str::trim_end).collect::<Vec<_>>(), want, "{found}");
}

fn of(rules: &str) -> String {
    format!("version: v1\nrules:\n{rules}")
}

const READ: &str =
    "  - { id: read, match: { surfaces: [crm], actions: [read, list] }, decision: allow }\n";

#[test]
fn the_same_meaning_is_no_difference() {
    check(&of(READ), &of(&READ.replace("read, list", "list, read, list")), &["identical"]);
}

#[test]
fn literal_keys_are_enumerated() {
    // crm or anything else, times read, list, or anything else.
    let stricter = READ.replace("decision: allow", "decision: deny");
    check(
        &of(READ),
        &of(&stricter),
        &["enumerated 6", "PERMIT -> DENY 2x by read", "rules read altered decision"],
    );
    let more =
        format!("{READ}  - {{ id: prod, match: {{ risk_tags: [prod] }}, decision: deny }}\n");
    check(
        &of(READ),
        &of(&more),
        &[
            "enumerated 12",
            "SILENCE -> DENY 4x by prod",
            "PERMIT -> DENY 2x by prod",
            "rules prod added",
        ],
    );
    // Written otherwise, meaning the same: a rule that another covers.
    let twice = format!(
        "{READ}  - {{ id: also, match: {{ surfaces: [crm], actions: [read] }}, decision: allow }}\n"
    );
    check(
        &of(READ),
        &of(&twice),
        &["enumerated 6", "PERMIT, other rules 1x by also", "rules also added"],
    );
}

#[test]
fn globs_overlap_as_they_match() {
    let glob = |pattern: &str| {
        of(&format!("  - {{ id: all, match: {{ topics: [\"{pattern}\"] }}, decision: allow }}\n"))
    };
    // a.x, a.b.c, a and anything else, or no topic; times one surface and one action.
    let found = compare(&glob("a.*"), &glob("a.**"));
    let Coverage::Enumerated { .. } = found.coverage else { panic!("{}", text(&found)) };
    let [group] = found.groups.as_slice() else { panic!("{}", text(&found)) };
    assert_eq!(group.transition.to_string(), "SILENCE -> PERMIT");
    let topics: BTreeSet<&str> = group
        .witnesses
        .iter()
        .map(|witness| witness.request.get("topic").unwrap().as_str().unwrap())
        .collect();
    assert!(topics.iter().all(|topic| topic.split('.').count() != 2), "{topics:?}");
}

#[test]
fn thresholds_are_compared_at_their_edges() {
    let refund = |most: u32| {
        of(&format!(
            "  - {{ id: small, match: {{ surfaces: [refund], when: \"request.arguments.cents > 0 && request.arguments.cents <= {most}\" }}, decision: allow }}\n  - {{ id: large, match: {{ surfaces: [refund], when: \"request.arguments.cents > 5000\" }}, decision: require_approval }}\n"
        ))
    };
    let found = compare(&refund(5000), &refund(4000));
    assert!(matches!(found.coverage, Coverage::Enumerated { .. }), "{}", text(&found));
    let [group] = found.groups.as_slice() else { panic!("{}", text(&found)) };
    // Between them nothing grants any more.
    assert_eq!(group.transition.to_string(), "PERMIT -> SILENCE");
    for witness in &group.witnesses {
        let cents = witness.request.get("arguments").unwrap().get("cents").unwrap();
        assert!((4001..=5000).contains(&cents.as_i64().unwrap()), "{cents:?}");
    }
    // A refund of nothing: an integer more or less, a double between two constants.
    let found = compare(&refund(5000), &refund(5000).replace("cents > 0", "cents >= 0"));
    assert_eq!(found.groups.len(), 1, "{}", text(&found));
    assert_eq!(found.groups[0].count, 1);
    let found = compare(&refund(5000), &refund(5000).replace("cents > 5000", "cents > 5001"));
    assert!(text(&found).contains("REQUIRE_APPROVAL -> SILENCE"), "{}", text(&found));
}

#[test]
fn what_is_granted_is_compared_too() {
    let rule = |more: &str| of(&format!("  - {{ id: r, match: {{ surfaces: [a] }}, {more} }}\n"));
    for (before, after, want) in [
        (
            "decision: allow_with_constraints, constraints: { max_retries: 1 }",
            "decision: allow_with_constraints, constraints: { max_retries: 2 }",
            "PERMIT, other constraints",
        ),
        (
            "decision: require_approval, approval: { roles: { operator: 1 } }",
            "decision: require_approval, approval: { roles: { operator: 2 } }",
            "REQUIRE_APPROVAL, other approval",
        ),
        (
            "decision: require_approval, approval: { expires: 1h }",
            "decision: require_approval, approval: { expires: 2h }",
            "REQUIRE_APPROVAL, other approval",
        ),
    ] {
        let found = compare(&rule(before), &rule(after));
        let changes: Vec<String> =
            found.groups.iter().map(|group| group.transition.to_string()).collect();
        assert_eq!(changes, [want]);
    }
    let limited = |limit: &str| {
        of(&format!(
            "  - {{ id: r, match: {{ surfaces: [a] }}, decision: allow }}\n  - {{ id: burst, match: {{ surfaces: [a] }}, decision: throttle, limit: {limit} }}\n"
        ))
    };
    let found = compare(&limited("{ count: 3, per: 1m }"), &limited("{ count: 4, per: 1m }"));
    assert_eq!(
        text(&found),
        "enumerated 2\nPERMIT, other limits 1x by burst\nrules burst altered limit"
    );
}

#[test]
fn what_is_not_finite_is_sampled_and_says_why() {
    let rule = |when: &str| {
        of(&format!(
            "  - {{ id: r, match: {{ surfaces: [a], when: '{when}' }}, decision: allow }}\n"
        ))
    };
    let found =
        compare(&rule("request.arguments.n * 2 > 100"), &rule("request.arguments.n * 2 > 10"));
    let Coverage::Sampled { generated, given, not_covered } = &found.coverage else {
        panic!("{}", text(&found))
    };
    assert!(*generated > 0 && *given == 0);
    assert!(not_covered[0].contains("rule r") && not_covered[0].contains("* 2"), "{not_covered:?}");
    assert!(text(&found).contains("SILENCE -> PERMIT"), "{}", text(&found));
    let found = compare(
        &rule("request.topic.startsWith(\"pay\")"),
        &rule("request.topic.endsWith(\"pay\")"),
    );
    let found = text(&found);
    assert!(found.contains("SILENCE -> PERMIT") && found.contains("PERMIT -> SILENCE"), "{found}");
    // A request that no generator thinks of, from a log.
    let square = "request.arguments.n * request.arguments.n";
    let (before, after) = (
        bundle(&rule(&format!("{square} == 1000003"))),
        bundle(&rule(&format!("{square} == 998001"))),
    );
    let extent = Extent::default();
    let none = diff(&before, &after, &extent, &mut |_| {});
    assert!(none.is_same() && none.unseen.len() == 1, "{}", text(&none));
    let logged = crate::support::request(r#"{"surface":"a","arguments":{"n":999}}"#);
    let found =
        diff(&before, &after, &extent, &mut |look| look(&logged, &crate::support::caller()));
    believe(&found, &before, &after);
    assert!(text(&found).contains("SILENCE -> PERMIT 1x by r"), "{}", text(&found));
    assert!(matches!(found.coverage, Coverage::Sampled { given: 1, .. }));
}

const EXTRA: &str =
    "  - { id: extra, match: { risk_tags: [prod], actions: [\"a.**\", \"*\"] }, decision: deny }\n";

#[test]
fn what_is_enumerated_is_all_there_is() {
    let mut random = SplitMix(0x00d1_ff00);
    let extent = Extent { cells_max: 40_000, samples: 200, witnesses: 2 };
    let (mut enumerated, mut sampled, mut changed) = (0, 0, 0);
    for _ in 0..700 {
        // Derivers decide as well: bundles that have some are sampled.
        let mut lines = loop {
            let lines = rules(&mut random).lines;
            if lines.iter().all(|(section, _)| *section != Section::Derivers) {
                break lines;
            }
        };
        lines.truncate(4);
        let mut other = lines.clone();
        match random.below(3) {
            0 => drop(other.pop()),
            1 => other[0].1 = other[0].1.replace("id: r0,", "id: q0,"),
            _ => other.push((Section::Rules, EXTRA.to_owned())),
        }
        let compiled = |lines: &[(Section, String)]| {
            Bundle::compile::<Sha2>(&[source("p.yaml", &document(lines.iter()))]).unwrap()
        };
        let (before, after) = (compiled(&lines), compiled(&other));
        let found = diff(&before, &after, &extent, &mut |_| {});
        believe(&found, &before, &after);
        match found.coverage {
            Coverage::Enumerated { cells } => {
                assert!(cells <= extent.cells_max);
                enumerated += 1;
            }
            Coverage::Sampled { ref not_covered, .. } => {
                assert!(!not_covered.is_empty());
                sampled += 1;
                continue;
            }
            Coverage::Identical => continue,
        }
        let known: BTreeSet<String> =
            found.groups.iter().map(|group| group.transition.to_string()).collect();
        changed += usize::from(!known.is_empty());
        for _ in 0..400 {
            let (request, caller) = any_request(&mut random);
            let (a, b) =
                (side(&before, &request, &caller, None), side(&after, &request, &caller, None));
            if let Some(change) = a.change(&b) {
                assert!(known.contains(&change.to_string()), "{change}\n{}", text(&found));
            }
        }
    }
    assert!(enumerated > 60 && sampled > 60 && changed > 30, "{enumerated} {sampled} {changed}");
}

/// Made-up requests seldom pass what a floor demands; those of the cases do.
#[test]
fn what_the_cases_ask_is_looked_at_and_varied() {
    let starter = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../presets/starter");
    let sources = placet_policy::read_dir(starter.as_ref()).unwrap();
    let mut altered = sources.clone();
    let large = "amount_cents > 50000";
    for source in &mut altered {
        source.text = source.text.replace(large, "amount_cents > 50001");
    }
    assert_ne!(sources, altered);
    let bundle = |sources| Bundle::compile::<Sha2>(sources).unwrap();
    let (before, after) = (bundle(&sources), bundle(&altered));
    let found = diff(&before, &after, &Extent::default(), &mut |_| {});
    believe(&found, &before, &after);
    // Exactly at the boundary nobody grants any more.
    assert!(text(&found).contains("REQUIRE_APPROVAL -> SILENCE"), "{}", text(&found));
}
