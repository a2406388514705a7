//! One constant of a bundle is altered, in a document of any kind. Where that changes what a request is
//! answered, the difference shows a change or names what it has not seen; it never says that there is none.

use crate::diff::{instants, side};
use crate::generated::{document, pick, request as any_request, rules};
use crate::support::{Sha2, source};
use placet_policy::diff::{Coverage, Extent, diff};
use placet_policy::generate::SplitMix;
use placet_policy::{Bundle, Source, read_dir};

/// Words that may stand in for one another, and still make a bundle.
const WORDS: [&[&str]; 14] = [
    &["prod", "pii", "low", "cost"],
    &["a", "b", "job", "x-1"],
    &["admin", "operator", "support", "writer"],
    &["pay", "ops"],
    &["triage", "deploy"],
    &["v1", "v2"],
    &["small", "large"],
    &["production", "staging"],
    &["inside", "outside"],
    &["agent", "human", "service"],
    &["t1", "t2"],
    &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
    &["true", "false"],
    &["PERMIT", "REQUIRE_APPROVAL", "THROTTLE"],
];

/// Where each word and number of a text begins and ends.
fn words(text: &str) -> Vec<(usize, usize)> {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut out = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (start, inner(c)) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                out.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    out
}

/// A text with one word or number replaced; `None` where the one that was picked has no other.
fn altered(random: &mut SplitMix, text: &str) -> Option<String> {
    let (from, until) = *random.pick(&words(text))?;
    let word = &text[from..until];
    let other = match word.parse::<i64>() {
        Ok(number) => number.wrapping_add([-2, -1, 1, 2][random.below(4)]).to_string(),
        Err(_) => {
            let class = WORDS.iter().find(|class| class.contains(&word))?;
            pick(random, class)
        }
    };
    (other != word).then(|| format!("{}{other}{}", &text[..from], &text[until..]))
}

fn compiled(sources: &[Source]) -> Option<Bundle> {
    Bundle::compile::<Sha2>(sources).ok()
}

#[test]
fn no_change_goes_by_in_silence() {
    let mut random = SplitMix(0x5eed_d1ff);
    let extent = Extent { cells_max: 20_000, samples: 1200, witnesses: 1 };
    let (mut changing, mut shown, mut named) = (0, 0, 0);
    let mut kinds = std::collections::BTreeMap::<String, (usize, usize)>::new();
    for _ in 0..1500 {
        let generated = rules(&mut random);
        let mut texts = vec![document(generated.lines.iter())];
        texts.extend(generated.documents.iter().cloned());
        if !generated.surfaces.is_empty() {
            texts.push(format!("version: v1\nsurfaces:\n{}", generated.surfaces.join("")));
        }
        let sources = |texts: &[String]| -> Vec<Source> {
            let each = texts.iter().enumerate();
            each.map(|(at, text)| source(&format!("{at}.yaml"), text)).collect()
        };
        let Some(before) = compiled(&sources(&texts)) else { continue };
        let at = random.below(texts.len());
        let Some(text) = altered(&mut random, &texts[at]) else { continue };
        texts[at] = text;
        let Some(after) = compiled(&sources(&texts)) else { continue };
        let differs = (0..120).any(|_| {
            let (request, caller) = any_request(&mut random);
            instants(&before, &after, &request, &caller).into_iter().any(|at| {
                let (a, b) =
                    (side(&before, &request, &caller, at), side(&after, &request, &caller, at));
                a.change(&b).is_some()
            })
        });
        if !differs {
            continue;
        }
        changing += 1;
        let found = diff(&before, &after, &extent, &mut |_| {});
        let kind =
            found.parts.iter().map(|part| part.section.clone()).collect::<Vec<_>>().join("+");
        let tally = kinds.entry(kind).or_default();
        tally.0 += 1;
        if found.is_same() {
            let proved =
                matches!(found.coverage, Coverage::Enumerated { .. } | Coverage::Identical);
            assert!(!proved && !found.unseen.is_empty(), "{:?}", found.coverage);
            // It is named, and by its name.
            let parts: Vec<&str> = found.parts.iter().map(|part| part.name.as_str()).collect();
            assert!(found.unseen.iter().all(|it| parts.contains(&it.name.as_str())));
            named += 1;
        } else {
            shown += 1;
            tally.1 += 1;
        }
    }
    // Of what random requests find, nearly all is found.
    println!("changing {changing} shown {shown} named {named} {kinds:?}");
    assert!(changing > 80, "{changing}");
    assert!(shown * 100 >= changing * 95, "{shown} of {changing}: {kinds:?}");
}

/// A preset, with one text of one of its documents replaced.
fn preset(name: &str, replaced: &[(&str, &str)]) -> (Bundle, Bundle) {
    let dir = format!("{}/../../../{name}", env!("CARGO_MANIFEST_DIR"));
    let sources = read_dir(dir.as_ref()).unwrap();
    let mut other = sources.clone();
    for (old, new) in replaced {
        let found = other.iter().any(|source| source.text.contains(old));
        assert!(found, "{name} says {old}");
        for source in &mut other {
            source.text = source.text.replace(old, new);
        }
    }
    (compiled(&sources).unwrap(), compiled(&other).unwrap())
}

#[track_caller]
fn seen(before: &Bundle, after: &Bundle, want: &str) {
    // Either way round.
    let extent = Extent { samples: 4000, ..Extent::default() };
    let found = [(before, after), (after, before)].map(|(before, after)| {
        let found = diff(before, after, &extent, &mut |_| {});
        crate::diff::believe(&found, before, after);
        let text = crate::diff::text(&found);
        assert!(!found.is_same(), "{want}: {text}");
        text
    });
    assert!(found[0].contains(want), "{want}: {}", found[0]);
}

fn pair(before: &str, after: &str) -> (Bundle, Bundle) {
    (crate::support::bundle(before), crate::support::bundle(after))
}

#[test]
fn a_threshold_on_a_derived_fact_is_tried_on_both_of_its_sides() {
    let (before, after) =
        preset("presets/duties", &[("verified.risk_level >= 2", "verified.risk_level >= 3")]);
    seen(&before, &after, "REQUIRE_APPROVAL, other approval");
}

const EGRESS: &str = r#"version: v1
derivers:
  - id: evil
    match: { surfaces: [http.egress] }
    read: arguments.url
    any_of: { hosts: ["*.evil.example"], networks: ["203.0.113.0/24"], regex: ["^ftp://[a-c]{3}$"] }
    risk_tags: [evil]
  - id: secrets
    read: target
    any_of: { paths: ["**/.env", "/etc/**"], values: [one, two] }
    risk_tier: high
  - { id: calm, risk_tier: low }
rules:
  - { id: out, match: { surfaces: [http.egress] }, decision: allow }
  - { id: stop, match: { risk_tags: [evil] }, decision: deny }
  - { id: ask, match: { surfaces: [files.read], when: "verified.risk_level >= 2" }, decision: require_approval }
  - { id: files, match: { surfaces: [files.read] }, decision: allow }
"#;

#[test]
fn what_derivers_look_for_is_tried() {
    for (old, new, want) in [
        ("*.evil.example", "*.evil.test", "DENY -> PERMIT"),
        ("*.evil.example", "evil.example", "DENY -> PERMIT"),
        ("203.0.113.0/24", "203.0.113.0/25", "DENY -> PERMIT"),
        ("[a-c]{3}", "[a-b]{3}", "DENY -> PERMIT"),
        ("[a-c]{3}", "[a-c]{4}", "DENY -> PERMIT"),
        ("\"**/.env\", ", "", "REQUIRE_APPROVAL -> PERMIT"),
        ("/etc/**", "/etc/*", "REQUIRE_APPROVAL -> PERMIT"),
        ("[one, two]", "[one]", "REQUIRE_APPROVAL -> PERMIT"),
        ("risk_tier: high", "risk_tier: medium", "REQUIRE_APPROVAL -> PERMIT"),
    ] {
        let altered = EGRESS.replace(old, new);
        assert_ne!(altered, EGRESS, "{old}");
        let (before, after) = pair(EGRESS, &altered);
        seen(&before, &after, want);
    }
}

const CRM: &str = r#"version: v1
models:
  allow: [small, large]
  routes: [{ id: r, teams: [support], models: [small] }]
capabilities:
  writer: { allowed_roles: [sales, boss], surfaces: [crm.record, crm.note], branches: [stable], permissions: ["propose:crm.*/write"], checkpoints: [{ id: c, actions: [write], surfaces: [crm.note], roles: { lead: 1 } }] }
roles:
  sales: { may: ["propose:crm.*"] }
  boss: { may: ["propose:**"], must_not_alone: [{ id: d, permission: "propose:crm.record", approvers: { lead: 1 } }] }
  lead: { may: ["approve:crm.**"] }
approvals:
  - { id: large, match: { surfaces: [crm.record], when: "request.arguments.rows > 10" }, roles: { lead: 1 } }
surfaces:
  crm.record:
    arguments: { type: object, required: [rows, kind], properties: { rows: { type: integer, minimum: 1, maximum: 100 }, kind: { enum: [red, green, blue], type: string }, note: { type: string, maxLength: 5, pattern: "^[a-z]+$" } }, additionalProperties: false }
    required: [team]
    evidence: [{ type: review, max_age: 4h, issuers: ["service:ci"] }]
  crm.note: { outcomes: [PERMIT, REQUIRE_APPROVAL], context: { type: object, required: [ticket], properties: { ticket: { type: string, minLength: 2 } } } }
rules:
  - { id: record, match: { surfaces: [crm.record], teams: [support, field] }, decision: allow }
  - { id: note, match: { surfaces: [crm.note], labels: { team: [a, b] } }, decision: allow }
floor:
  - { id: env, match: { surfaces: ["crm.**"], environments: [production], actor_kinds: [human] }, decision: deny }
"#;

/// What the generator does not find a request for, though there is one; it is named all the same.
const MISSED: [&str; 0] = [];

#[test]
fn documents_of_every_kind_are_tried() {
    let mut missed = Vec::new();
    for (old, new) in [
        ("allow: [small, large]", "allow: [small]"),
        ("models: [small] }]", "models: [large] }]"),
        ("teams: [support], models", "teams: [field], models"),
        ("allowed_roles: [sales, boss]", "allowed_roles: [sales]"),
        ("surfaces: [crm.record, crm.note], branches", "surfaces: [crm.record], branches"),
        ("branches: [stable]", "branches: [canary]"),
        ("propose:crm.*/write", "propose:crm.*/read"),
        ("id: c, actions: [write]", "id: c, actions: [read]"),
        ("sales: { may: [\"propose:crm.*\"] }", "sales: { may: [\"propose:crm.note\"] }"),
        ("permission: \"propose:crm.record\"", "permission: \"propose:crm.note\""),
        ("rows > 10", "rows > 11"),
        ("match: { surfaces: [crm.record], when", "match: { surfaces: [crm.*], when"),
        ("maximum: 100", "maximum: 90"),
        ("minimum: 1,", "minimum: 2,"),
        ("enum: [red, green, blue]", "enum: [red, green]"),
        ("maxLength: 5", "maxLength: 6"),
        ("^[a-z]+$", "^[a-y]+$"),
        ("required: [rows, kind]", "required: [rows]"),
        (
            "additionalProperties: false }\n    required",
            "additionalProperties: true }\n    required",
        ),
        ("required: [team]", "required: [team, model]"),
        ("max_age: 4h", "max_age: 3h"),
        ("service:ci", "service:cd"),
        ("type: review", "type: audit"),
        ("outcomes: [PERMIT, REQUIRE_APPROVAL]", "outcomes: [PERMIT]"),
        ("minLength: 2", "minLength: 3"),
        ("teams: [support, field]", "teams: [support]"),
        ("labels: { team: [a, b] }", "labels: { team: [a] }"),
        ("environments: [production]", "environments: [staging]"),
        ("actor_kinds: [human]", "actor_kinds: [service]"),
    ] {
        let altered = CRM.replacen(old, new, 1);
        assert_ne!(altered, CRM, "{old}");
        let (before, after) = pair(CRM, &altered);
        let extent = Extent { samples: 4000, ..Extent::default() };
        let found = [(&before, &after), (&after, &before)]
            .map(|(before, after)| diff(before, after, &extent, &mut |_| {}));
        if found.iter().any(|found| found.is_same()) {
            assert!(
                found.iter().all(|found| !found.is_same() || !found.unseen.is_empty()),
                "{old}"
            );
            missed.push(old);
        }
    }
    assert_eq!(missed, MISSED);
}

#[test]
fn what_no_request_tells_apart_is_named() {
    // A look into texts that no constant of either bundle passes.
    let rule = |most: u32| {
        format!(
            "version: v1\nrules:\n  - {{ id: r, match: {{ surfaces: [a], when: 'request.arguments.n * request.arguments.n == {most}' }}, decision: allow }}\n"
        )
    };
    let (before, after) = pair(&rule(1_000_003), &rule(1_000_033));
    let found = diff(&before, &after, &Extent::default(), &mut |_| {});
    assert!(found.is_same());
    let texts: Vec<String> = found.unseen.iter().map(|it| it.text()).collect();
    assert_eq!(texts, ["rules r"]);
    // Nothing is generated: nothing was tried.
    let none = Extent { samples: 0, ..Extent::default() };
    let (before, after) = pair(EGRESS, &EGRESS.replace("evil.example", "evil.test"));
    let found = diff(&before, &after, &none, &mut |_| {});
    assert!(matches!(found.coverage, Coverage::Sampled { generated: 0, given: 0, .. }));
    let whys: Vec<String> = found.unseen.iter().map(|it| it.why()).collect();
    assert_eq!(whys, ["not tried: no request that was compared concerned it"]);
    // What says nothing of any request is not missed.
    let (before, after) = pair(EGRESS, &EGRESS.replace("id: out,", "id: out, owner: net,"));
    let found = diff(&before, &after, &Extent::default(), &mut |_| {});
    assert!(found.is_same() && found.unseen.is_empty(), "{}", crate::diff::text(&found));
}

#[test]
fn no_more_is_generated_than_was_asked_for() {
    let (before, after) = pair(CRM, &CRM.replace("maximum: 100", "maximum: 90"));
    for samples in [1, 10, 500] {
        let extent = Extent { samples, ..Extent::default() };
        let found = diff(&before, &after, &extent, &mut |_| {});
        let Coverage::Sampled { generated, .. } = found.coverage else { panic!() };
        assert!(generated <= u64::from(samples), "{generated} of {samples}");
    }
}
