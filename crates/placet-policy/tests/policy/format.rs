//! The formatter: its layout, and that nothing is lost by it.

use crate::generated;
use crate::support::{Sha2, source};
use placet_policy::generate::SplitMix;
use placet_policy::{Bundle, format};
use std::path::Path;

#[track_caller]
fn check(text: &str, expected: &str) {
    let out = format("policy.yaml", text).unwrap();
    assert_eq!(out, expected);
    assert_eq!(format("policy.yaml", &out).unwrap(), out, "once is enough");
}

#[test]
fn one_layout() {
    check(
        r#"
# Who may pay.

rules:
# the small ones
- decision: allow      # at once
  match: {topics: [job.pay],   surfaces: ['pay.*',
     'refund'], when: request.arguments.n < 5 }
  id: small


- id:   "large"
  match:
      surfaces:
      - pay.out   # only this
      # and nothing else
      when: 'request.topic == "x"'
  reason: >-
    two
    lines
  decision: deny
# the end
version: v1
"#,
        r#"# Who may pay.
# the end
version: v1

rules:
  # the small ones
  - id: small
    match: { surfaces: ["pay.*", "refund"], topics: ["job.pay"], when: "request.arguments.n < 5" }
    decision: allow # at once

  - id: "large"
    match:
      surfaces:
        - "pay.out" # only this
      # and nothing else
      when: 'request.topic == "x"'
    decision: deny
    reason: "two lines"
"#,
    );
}

#[test]
fn what_no_line_takes_becomes_a_block() {
    let long = "request.arguments.amount_cents > 0 && request.arguments.amount_cents <= 5000";
    check(
        &format!(
            "version: v1\nrules:\n  - {{ id: a, match: {{ surfaces: [x], actions: [create], when: \"{long}\" }}, decision: allow }}\n"
        ),
        &format!(
            "version: v1\nrules:\n  - id: a\n    match:\n      surfaces: [\"x\"]\n      actions: [\"create\"]\n      when: \"{long}\"\n    decision: allow\n"
        ),
    );
    check(
        "version: v1\nrules:\n  - id: a\n    match: {}\n    decision: deny\n    reason: |\n      one\n\n      two # no comment\n",
        "version: v1\nrules:\n  - id: a\n    match: {}\n    decision: deny\n    reason: |\n      one\n\n      two # no comment\n",
    );
}

#[test]
fn what_is_no_document_is_left_alone() {
    assert!(format("a", "rules: [").is_err());
    assert!(format("a", "rules: &x []").is_err());
    assert!(format("a", "").is_err());
    for text in ["hello", "- a", "7", "null"] {
        assert!(format("a", text).is_err(), "{text}");
    }
}

#[test]
fn what_is_shipped_is_formatted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let mut bundles = vec![root.join("examples/bank"), root.join("examples/coding-agent")];
    let presets = std::fs::read_dir(root.join("presets")).unwrap();
    bundles.extend(presets.map(|it| it.unwrap().path()).filter(|path| path.is_dir()));
    assert!(bundles.len() >= 7, "{bundles:?}");
    for dir in bundles {
        for file in placet_policy::read_dir(&dir).unwrap() {
            let out = format(&file.name, &file.text).unwrap();
            if std::env::var_os("PLACET_BLESS").is_some() {
                std::fs::write(dir.join(&file.name), &out).unwrap();
                continue;
            }
            assert_eq!(out, file.text, "placet policy fmt {}/{}", dir.display(), file.name);
        }
    }
}

/// Comments at random places of generated documents in several spellings.
fn scattered(random: &mut SplitMix, text: &str) -> String {
    let mut out = String::new();
    for (number, line) in text.lines().enumerate() {
        if random.percent(20) {
            let pad = " ".repeat(random.below(6));
            out.push_str(&format!("{pad}# above {number}\n"));
        }
        if random.percent(15) {
            out.push('\n');
        }
        out.push_str(line);
        if random.percent(20) {
            out.push_str(&format!("  # behind {number}"));
        }
        out.push('\n');
    }
    out
}

/// Keys of the rules on lines of their own, in another order; what follows the decision is left out.
fn blocks(text: &str) -> String {
    let line = |line: &str| {
        let parts = line.strip_prefix("  - { id: ").and_then(|rest| rest.split_once(", match: "));
        let Some((id, rest)) = parts else { return format!("{line}\n") };
        let Some((matches, tail)) = rest.rsplit_once(", decision: ") else {
            return format!("{line}\n");
        };
        let word = tail.split([',', ' ']).next().unwrap();
        format!("  - decision: {word}\n    match: {matches}\n    id: {id}\n")
    };
    text.lines().map(line).collect()
}

#[test]
fn meaning_and_comments_stay() {
    let mut random = SplitMix(7);
    let mut formatted = 0;
    for round in 0..1500 {
        let lines = generated::rules(&mut random).lines;
        let plain = generated::document(lines.iter());
        for text in [plain.clone(), blocks(&plain)] {
            let Ok(before) = Bundle::compile::<Sha2>(&[source("a", &text)]) else { continue };
            let text = scattered(&mut random, &text);
            let out = format("a", &text)
                .unwrap_or_else(|found| panic!("round {round}: {found:?}\n{text}"));
            let after = Bundle::compile::<Sha2>(&[source("a", &out)]).unwrap();
            assert_eq!(after.digest(), before.digest(), "{text}\n{out}");
            let again = format("a", &out).unwrap();
            assert_eq!(again, out, "round {round}\n{text}");
            let count =
                |text: &str| text.matches("# above ").count() + text.matches("# behind ").count();
            assert_eq!(count(&out), count(&text), "{text}\n{out}");
            formatted += 1;
        }
    }
    assert!(formatted > 1500, "{formatted}");
}
