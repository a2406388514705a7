//! Text written to exhaust whoever reads it: refused, within a bound on memory, and never by an abort. Each is
//! read by a process of its own, which says at its end how much it has held.

use crate::support::{Sha2, compile, render, source};
use placet_policy::{Source, lint};
use std::process::Command;

/// Largest resident set of a process that refuses one of these, its own text among it.
const RESIDENT_KIB_MAX: u64 = 200 << 10;

fn rules(body: &str) -> String {
    format!("version: v1\nrules:\n{body}")
}

fn filled(unit: &str, bytes: usize) -> String {
    unit.repeat(bytes / unit.len())
}

/// Name, documents, and the code of the refusal.
fn hostile(name: &str) -> (Vec<Source>, &'static str) {
    let one = |text: String, code| (vec![Source { name: "a.yaml".to_owned(), text }], code);
    let when = |text: &str| {
        rules(&format!("  - {{ id: a, match: {{ when: \"{text}\" }}, decision: deny }}\n"))
    };
    match name {
        "64 MiB" => one(filled("# nothing to see\n", 64 << 20), "bound"),
        "many files" => {
            let text = filled("# nothing to see\n", 2 << 20);
            ((0..20).map(|at| source(&format!("{at}.yaml"), &text)).collect(), "bound")
        }
        "deep brackets" => one(rules(&filled("[", 1 << 20)), "yaml_syntax"),
        "deep blocks" => {
            let lines: String = (0..2000).map(|at| format!("{}- \n", " ".repeat(at))).collect();
            one(rules(&lines), "yaml_syntax")
        }
        "aliases" => {
            let mut text = String::from("version: v1\na0: &a0 [x, x, x, x, x, x, x, x, x]\n");
            for at in 1..30 {
                let before = format!("*a{}, ", at - 1);
                text.push_str(&format!("a{at}: &a{at} [{}]\n", before.repeat(9)));
            }
            one(text, "yaml_alias")
        }
        "many values" => one(rules(&filled("  - 0\n", 8 << 20)), "bound"),
        "many values, twice" => {
            let text = rules(&filled("  - 0\n", 3 << 20));
            (vec![source("a.yaml", &text), source("b.yaml", &text)], "wrong_type")
        }
        "many keys" => {
            let keys: String = (0..4000).map(|at| format!("k{at}: 1, ")).collect();
            let lines: String =
                (0..70).map(|at| format!("  - {{ id: r{at}, {keys} }}\n")).collect();
            // The first by place: a rule without `match` and `decision`; its keys come after.
            one(rules(&lines), "missing_key")
        }
        "10,000 terms" => {
            one(when(&vec!["request.topic == 'a'"; 10_000].join(" || ")), "condition_syntax")
        }
        "deep condition" => one(when(&format!("{}true", "!".repeat(4000))), "condition_syntax"),
        "brackets in a condition" => {
            one(when(&format!("{}true{}", "(".repeat(2000), ")".repeat(2000))), "condition_syntax")
        }
        "long pattern" => {
            let text = filled("*.", 1 << 20);
            one(
                rules(&format!(
                    "  - {{ id: a, match: {{ topics: [\"{text}a\"] }}, decision: deny }}\n"
                )),
                "bad_pattern",
            )
        }
        "counted repetition" => {
            let text = "version: v1\nderivers:\n  - id: d\n    read: target\n    any_of: { regex: [\"((a{1000}){1000}){1000}\"] }\n    risk_tags: [x]\n";
            one(text.to_owned(), "bad_pattern")
        }
        "many expressions" => {
            let lines: String = (0..20_000)
                .map(|at| {
                    format!("  - {{ id: d{at}, read: target, any_of: {{ regex: [\"(a{{1,900}}){{1,2}}\"] }}, risk_tags: [x] }}\n")
                })
                .collect();
            one(format!("version: v1\nderivers:\n{lines}"), "bound")
        }
        "many patterns" => {
            let lines: String = (0..3000)
                .map(|at| {
                    format!("  s.n{at}: {{ arguments: {{ type: object, properties: {{ a: {{ type: string, pattern: \"(a{{1,999}}b{{1,99}})\" }} }} }} }}\n")
                })
                .collect();
            one(format!("version: v1\nsurfaces:\n{lines}"), "bound")
        }
        "a large request, many times" => {
            let list = vec!["1"; 20_000].join(",");
            let text = format!(
                "version: v1\ntests:\n  - id: t\n    request: {{ surface: a, action: b }}\n    history: [{{ ago: 1h, times: 1000, request: {{ surface: a, action: b, arguments: [{list}] }} }}]\n"
            );
            one(text, "bad_value")
        }
        other => panic!("{other}"),
    }
}

const NAMES: [&str; 16] = [
    "64 MiB",
    "many files",
    "deep brackets",
    "deep blocks",
    "aliases",
    "many values",
    "many values, twice",
    "many keys",
    "10,000 terms",
    "deep condition",
    "brackets in a condition",
    "long pattern",
    "counted repetition",
    "many expressions",
    "many patterns",
    "a large request, many times",
];

/// The child: reads what `PLACET_HOSTILE` names.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn child() {
    let name = std::env::var("PLACET_HOSTILE").unwrap();
    let (sources, _) = hostile(&name);
    let start = std::time::Instant::now();
    let linted = lint::<Sha2>(&sources);
    let spent = start.elapsed().as_millis();
    assert_eq!(linted.digest, None, "{name} compiles");
    let code = linted.findings[0].code.as_str();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    println!("\nhostile {code} {} {spent}", resident.trim().trim_end_matches(" kB"));
}

#[test]
fn hostile_text_is_refused_within_bounds() {
    let binary = std::env::current_exe().unwrap();
    for name in NAMES {
        let output = Command::new(&binary)
            .args(["--exact", "hostile::child", "--ignored", "--nocapture", "--test-threads=1"])
            .env("PLACET_HOSTILE", name)
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{name}: {printed}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let line = printed.lines().find_map(|line| line.strip_prefix("hostile ")).unwrap();
        let parts: Vec<&str> = line.split(' ').collect();
        assert_eq!(parts[0], hostile(name).1, "{name}");
        let resident: u64 = parts[1].parse().unwrap();
        println!("{name}: {} in {} ms, {} KiB resident", parts[0], parts[2], resident);
        assert!(resident <= RESIDENT_KIB_MAX, "{name}: {resident} KiB");
    }
}

/// A document may have megabytes in one line; what is wrong with it has not.
#[test]
fn what_a_message_quotes_is_shortened() {
    let long = "\u{e9}".repeat(1_000_000);
    for text in [
        format!(
            "version: v1\nrules: [{{ id: a, match: {{ topics: [\"{long}?\"] }}, decision: deny }}]\n"
        ),
        format!("version: v1\nrules: [{{ id: a, match: {{}}, decision: \"`{long}\" }}]\n"),
    ] {
        let found = render(&compile(&text).unwrap_err());
        assert!(found.chars().count() < 2500, "{} characters", found.chars().count());
        let start: String = found.chars().take(400).collect();
        assert!(found.contains(&"\u{e9}".repeat(100)), "{start}");
    }
}
