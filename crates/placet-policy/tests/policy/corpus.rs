//! Deliberately wrong bundles, one per file: its first lines say what has to be found, and where.

use crate::support::{Sha2, render, source};
use placet_policy::{Code, Severity, lint, sarif};
use placet_types::json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What almost every small bundle has, too; counted only where a file names it.
const USUAL: [Code; 4] =
    [Code::OwnerMissing, Code::NoTests, Code::UntestedRule, Code::AlwaysCandidate];

fn files() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("policy/corpus");
    let mut out: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    out.sort();
    out
}

#[test]
fn each_is_caught_with_its_code_and_place() {
    let files = files();
    assert!(files.len() >= 60, "{}", files.len());
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, text) in &files {
        let expected: BTreeSet<String> = text
            .lines()
            .map_while(|line| line.strip_prefix("# expect: "))
            .map(str::to_owned)
            .collect();
        assert!(!expected.is_empty(), "{name} expects nothing");
        let findings = lint::<Sha2>(&[source(name, text)]).findings;
        let named =
            |code: Code| expected.iter().any(|line| line.split(' ').next() == Some(code.as_str()));
        let found: BTreeSet<String> = findings
            .iter()
            .filter(|it| !USUAL.contains(&it.code) || named(it.code))
            .map(|it| format!("{} {}:{}", it.code.as_str(), it.line, it.column))
            .collect();
        seen.extend(findings.iter().map(|it| it.code));
        if found != expected {
            wrong.push(format!("{name}: {expected:?}\n{}", render(&findings)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    // `bound` takes megabytes, the normal form is no document, imports have notes of their own.
    let not_here = [Code::Bound, Code::NotNormal, Code::NotSupported];
    let missing: Vec<_> =
        Code::ALL.iter().filter(|it| !seen.contains(it) && !not_here.contains(it)).collect();
    assert!(missing.is_empty(), "no file of the corpus shows {missing:?}");
}

#[test]
fn every_code_has_a_page() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/lint");
    for code in Code::ALL {
        let page = fs::read_to_string(dir.join(format!("{}.md", code.as_str())));
        let page = page.unwrap_or_else(|error| panic!("docs/lint/{}.md: {error}", code.as_str()));
        assert!(page.starts_with(&format!("# {}\n", code.as_str())), "{}", code.as_str());
    }
    let pages = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    for page in pages.map(|name| name.to_string_lossy().into_owned()) {
        let code = page.trim_end_matches(".md");
        let known = code == "README" || Code::ALL.iter().any(|it| it.as_str() == code);
        assert!(known, "docs/lint/{page} is of no code");
    }
}

#[test]
fn sarif_has_the_structure_that_the_standard_asks_for() {
    let mut findings = Vec::new();
    for (name, text) in files() {
        findings.extend(lint::<Sha2>(&[source(&name, &text)]).findings);
    }
    let log = sarif(&findings, "policy dir/");
    let get =
        |of: &Value, key: &str| of.get(key).cloned().unwrap_or_else(|| panic!("{key}: {of:?}"));
    assert_eq!(get(&log, "version").as_str(), Some("2.1.0"));
    assert!(get(&log, "$schema").as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
    let runs = get(&log, "runs");
    let [run] = runs.as_array().unwrap() else { panic!("one run") };
    let driver = get(&get(run, "tool"), "driver");
    assert!(get(&driver, "name").as_str().is_some());
    let rules = get(&driver, "rules");
    let rules = rules.as_array().unwrap();
    let ids: BTreeSet<_> = rules.iter().map(|rule| get(rule, "id").to_text()).collect();
    assert_eq!(ids.len(), rules.len(), "ids of rules are unique");
    let results = get(run, "results");
    assert_eq!(results.as_array().unwrap().len(), findings.len());
    for (result, finding) in results.as_array().unwrap().iter().zip(&findings) {
        let index = usize::try_from(get(result, "ruleIndex").as_u64().unwrap()).unwrap();
        assert_eq!(get(&rules[index], "id"), get(result, "ruleId"));
        assert_eq!(get(result, "ruleId").as_str(), Some(finding.code.as_str()));
        let level = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "note",
        };
        assert_eq!(get(result, "level").as_str(), Some(level));
        assert!(!get(&get(result, "message"), "text").as_str().unwrap().is_empty());
        let locations = get(result, "locations");
        let place = get(&locations.as_array().unwrap()[0], "physicalLocation");
        let uri = get(&get(&place, "artifactLocation"), "uri");
        assert!(uri.as_str().unwrap().starts_with("policy%20dir/"), "{uri:?}");
        let region = get(&place, "region");
        let number = |key: &str| get(&region, key).as_u64().unwrap();
        assert!(number("startLine") >= 1 && number("startColumn") >= 1);
        assert!(number("endColumn") > number("startColumn"));
    }
}

/// What is not shown is counted.
#[test]
fn totals_are_those_of_all_findings() {
    let mut text = "version: v1\nsurfaces: { pay.out: {} }\nrules:\n".to_owned();
    for number in 0..10_000 {
        text.push_str(&format!(
            "  - {{ id: r{number}, match: {{ surfaces: [pay.uot{number}] }}, decision: deny }}\n"
        ));
    }
    let linted = lint::<Sha2>(&[source("policy.yaml", &text)]);
    let shown = linted.findings.iter().filter(|it| it.code == Code::UnknownSurface).count();
    assert_eq!(shown, 100);
    // And: nothing grants, the surface is not covered, there are no cases.
    assert_eq!(linted.totals.warnings, 10_003);
    assert_eq!((linted.totals.errors, linted.totals.infos), (0, 10_001));
}

/// The bundles that are shipped have nothing to find.
#[test]
fn shipped_bundles_are_clean() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let mut bundles = vec![root.join("examples/bank"), root.join("examples/coding-agent")];
    if let Ok(presets) = fs::read_dir(root.join("presets")) {
        bundles.extend(presets.map(|it| it.unwrap().path()).filter(|path| path.is_dir()));
    }
    for bundle in bundles {
        let linted = lint::<Sha2>(&placet_policy::read_dir(&bundle).unwrap());
        assert!(linted.digest.is_some());
        assert_eq!(render(&linted.findings), "", "{}", bundle.display());
    }
}
