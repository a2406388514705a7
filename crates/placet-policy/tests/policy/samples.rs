//! A policy of jobs and its requests, decided as they say; and what a bundle is when there is little.

use crate::support::{Sha2, bundle, caller, decide, request, request_of, source, value, verdict};
use placet_policy::{Bundle, Scratch, read_dir};
use placet_types::policy::{Outcome, Reason};
use std::path::Path;

#[test]
fn seed_5_is_decided_as_printed() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let sources = read_dir(&dir).unwrap();
    assert_eq!(sources.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["seed5.yaml"]);
    let bundle = Bundle::compile::<Sha2>(&sources).unwrap();
    assert_eq!(bundle.rule_count(), 4);
    for line in std::fs::read_to_string(dir.join("requests.jsonl")).unwrap().lines() {
        let case = value(line);
        let combined = decide(&bundle, &request_of(case.get("request").unwrap().clone()));
        assert_eq!(Some(combined.outcome.as_str()), case.get("want").unwrap().as_str(), "{line}");
        let rule = combined.deciding.first().map(|rule| rule.id.as_str());
        assert_eq!(rule, case.get("rule").unwrap().as_str(), "{line}");
        if let Some(constraints) = case.get("constraints") {
            assert_eq!(combined.constraints.to_string(), constraints.to_text());
        }
    }
    assert!(read_dir(&dir.join("missing")).is_err());
}

/// Passing over one could lose a rule that denies.
#[test]
fn each_document_of_a_directory_is_read_or_refused() {
    use std::fs;
    use std::os::unix::fs::symlink;
    let dir = std::env::temp_dir().join(format!("placet-documents-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("later.d")).unwrap();
    let policy = "version: v1\nrules: []\n";
    for name in ["a.yaml", "b.YAML", "c.Yml", ".a.yaml.swp", ".hidden.yaml", "notes.txt", ".x.json"]
    {
        fs::write(dir.join(name), policy).unwrap();
    }
    symlink(dir.join("a.yaml"), dir.join("linked.yml")).unwrap();
    let names: Vec<String> = read_dir(&dir).unwrap().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["a.yaml", "b.YAML", "c.Yml", "linked.yml"]);
    let refused = |name: &str, make: &dyn Fn(&Path), why: &str| {
        let path = dir.join(name);
        make(&path);
        let error = read_dir(&dir).unwrap_err().to_string();
        let expected = format!("{}: {why}", path.display());
        assert!(error.starts_with(&expected), "{error}");
        fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
    };
    refused("floor.yaml", &|it| symlink("gone", it).unwrap(), "cannot be read: No such file");
    refused("floor.YML", &|it| fs::create_dir(it).unwrap(), "is no regular file");
    let pipe = |it: &Path| {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            it,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
    };
    refused("floor.yaml", &pipe, "is no regular file");
    refused("floor.JSON", &|it| fs::write(it, "{}").unwrap(), "is not read");
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn an_empty_bundle_grants_nothing() {
    let bundle = Bundle::compile::<Sha2>(&[]).unwrap();
    assert_eq!(bundle.normalised(), br#"{"type":"placet/bundle/1"}"#);
    let verdict = verdict(&bundle, &request("{}"));
    assert!(verdict.surface_known && verdict.hits.is_empty());
    let combined = decide(&bundle, &request("{}"));
    assert_eq!(
        (combined.outcome, combined.reasons),
        (Outcome::Silence, vec![Reason::NoRuleMatches])
    );
}

#[test]
fn surfaces_are_known_or_not() {
    let bundle = bundle(
        "version: v1\nsurfaces:\n  payments.transfer: { deadline: 500ms, owner: pay }\n  data.export:\nrules:\n  - { id: all, match: {}, decision: allow }\n",
    );
    let contract = bundle.surface("payments.transfer");
    assert_eq!(
        (contract.known, contract.deadline_ms, contract.idempotency_window_ms),
        (true, 500, 86_400_000)
    );
    assert_eq!(bundle.surface("data.export").deadline_ms, 2000);
    for name in ["job", "policy.publish", "override.lift", "role.grant", "key.revoke"] {
        assert!(bundle.surface(name).known, "{name}");
    }
    for name in ["payments", "policy", "jobs", "weather.change", "policyx.y"] {
        assert!(!bundle.surface(name).known, "{name}");
    }
    let unknown = verdict(&bundle, &request(r#"{"surface":"weather.change"}"#));
    assert!(!unknown.surface_known && unknown.hits.is_empty());
    let combined = decide(&bundle, &request(r#"{"surface":"weather.change"}"#));
    assert_eq!(combined.reasons, [Reason::UnknownSurface]);
    assert_eq!(decide(&bundle, &request("{}")).outcome, Outcome::Permit);
}

#[test]
fn the_digest_names_the_meaning_and_not_the_spelling() {
    let one = bundle(
        "version: v1\nrules:\n- id: a\n  match: {topics: [\"b.*\", a, a], teams: []}\n  decision: throttle\n  limit: {per: 1h, count: 5, key: [actor, topic]}\n- {id: b, match: {}, decision: allow}\n",
    );
    let two = Bundle::compile::<Sha2>(&[
        source("z.yaml", "# other file\nrules:\n  - decision: allow\n    id: b\n    match: { topics: [] }\n    advice: false\nversion: v1\n"),
        source("a.yaml", "version: v1\nkind: rules\nrules:\n  - id: a\n    limit: { count: 5, per: 60m, key: [actor, topic] }\n    decision: throttle\n    match:\n      topics: [a, \"b.*\"]\n"),
    ])
    .unwrap();
    assert_eq!(
        String::from_utf8_lossy(one.normalised()),
        r#"{"rules":[{"decision":"throttle","id":"a","limit":{"count":5,"key":["actor","topic"],"per":3600000},"match":{"topics":["a","b.*"]}},{"decision":"allow","id":"b","match":{}}],"type":"placet/bundle/1"}"#
    );
    assert_eq!(one.normalised(), two.normalised());
    assert_eq!(one.digest(), two.digest());
    let again = Bundle::from_normalised::<Sha2>(one.normalised()).unwrap();
    assert_eq!(again.digest(), one.digest());
    let asked = request(r#"{"topic":"b.x"}"#);
    let (mut scratch, caller) = (Scratch::default(), caller());
    let left = one.evaluate(&asked, &caller, &mut scratch);
    assert_eq!(left, again.evaluate(&asked, &caller, &mut scratch));
    let key = left.hits[0].limit_key.clone().unwrap();
    assert_eq!(key, [Some("agent:bot".to_owned()), Some("b.x".to_owned())]);
    let other = bundle("version: v1\nrules: [{id: b, match: {}, decision: deny}]\n");
    assert_ne!(other.digest(), one.digest());
}

#[test]
fn only_the_normal_form_replays() {
    for bytes in [
        &b"{\"type\":\"placet/bundle/2\"}"[..],
        b"{ \"type\":\"placet/bundle/1\"}",
        b"{\"rules\":[],\"type\":\"placet/bundle/1\"}",
        b"{\"rules\":[{\"decision\":\"allow\",\"id\":\"b\",\"match\":{\"topics\":[\"b\",\"a\"]}}],\"type\":\"placet/bundle/1\"}",
        b"{\"rules\":[{\"decision\":\"throttle\",\"id\":\"b\",\"match\":{},\"retry_after\":\"5s\"}],\"type\":\"placet/bundle/1\"}",
        b"{\"stories\":{},\"type\":\"placet/bundle/1\"}",
        b"[]",
        b"",
        b"\xff",
    ] {
        assert!(Bundle::from_normalised::<Sha2>(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn a_trace_shows_what_kept_a_rule_from_matching() {
    let bundle = bundle(
        "version: v1\nrules:\n  - { id: a, match: { topics: [\"job.*\"], teams: [pay] }, decision: allow }\n  - { id: b, match: { topics: [x], when: 'request.arguments.n > 1 && \"prod\" in request.risk_tags' }, decision: deny }\n",
    );
    let trace = bundle.explain(&request(r#"{"topic":"job.x","arguments":{"n":"2"}}"#), &caller());
    let text = trace.to_string();
    let (_, body) = text.split_once('\n').unwrap();
    assert_eq!(
        body,
        "rules a (allow): not matched\n  + topics: job.x among job.*\n  - teams: the request has none, wanted pay\n\
         rules b (deny): not matched\n  - topics: job.x, wanted x\n  - when: request.arguments.n > 1 && \"prod\" in request.risk_tags is false\n      request.arguments.n > 1 is type_mismatch\n      \"prod\" in request.risk_tags is false\n"
    );
    let value = trace.to_value().to_text();
    assert!(
        value.contains(r#"{"finding":"absent","found":[],"key":"teams","wanted":["pay"]}"#),
        "{value}"
    );
}

#[test]
fn surfaces_keep_payloads_as_long_as_they_say() {
    let text = |retention: &str| format!("version: v1\nsurfaces:\n  a: {{ {retention} }}\n  b:\n");
    let all = bundle(&text("retention: { payload: 3650d, min: 30d, lawful: [gdpr.art17, x] }"));
    let kept = all.retention("a");
    let day = 86_400_000;
    assert_eq!((kept.payload_ms, kept.min_ms), (Some(3650 * day), Some(30 * day)));
    assert!(kept.lawful.iter().map(String::as_str).eq(["gdpr.art17", "x"]));
    for other in ["b", "c", "job"] {
        assert_eq!(all.retention(other), Default::default(), "{other}");
    }
    assert!(all.retired().eq([("a", 3650 * day)]));
    let again = Bundle::from_normalised::<Sha2>(all.normalised()).unwrap();
    assert_eq!((again.digest(), again.retention("a")), (all.digest(), kept));
    // What says nothing has the digest that it always had.
    let none = bundle(&text(""));
    assert_eq!(bundle(&text("retention: {}")).digest(), none.digest());
    assert_ne!(none.digest(), all.digest());
    for wrong in [
        "retention: 30d",
        "retention: { payload: 10d, min: 11d }",
        "retention: { payload: 0s }",
        "retention: { min: forever }",
        "retention: { lawful: [GDPR] }",
        "retention: { lawful: [a, a] }",
        "retention: { payload: 1d, days: 3 }",
    ] {
        let source = placet_policy::Source { name: "a.yaml".into(), text: text(wrong) };
        assert!(Bundle::compile::<Sha2>(&[source]).is_err(), "{wrong}");
    }
}
