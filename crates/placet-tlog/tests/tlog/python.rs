//! The Python verifier as a second opinion: same verdict and code on every case of the corpus. That
//! none of its checks is idle is shown by `verify/test_corpus.py`.

use crate::corpus::{Case, Expected, cases};
use crate::fixture::{INDEX, Log, ORIGIN, entry, trust};
use placet_tlog::verify::PortableHasher;
use placet_types::hash::{Hasher as _, hex_encode};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../verify/placet_verify.py")
}

fn python() -> Command {
    Command::new("python3")
}

fn run(command: &mut Command) -> Output {
    command
        .output()
        .expect("python3 (3.9 or later) is a prerequisite of the tests and could not be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Writes the corpus as `<n>.receipt`, `<n>.trust`, `<n>.expected`.
fn write_corpus(cases: &[Case]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (at, case) in cases.iter().enumerate() {
        let code = match case.expected {
            Expected::Verified => "verified",
            Expected::Refused(code) => code,
        };
        let write = |suffix: &str, bytes: &[u8]| {
            std::fs::write(dir.path().join(format!("{at:03}.{suffix}")), bytes).unwrap();
        };
        write("receipt", &case.receipt);
        write("trust", &case.trust);
        write("expected", code.as_bytes());
    }
    dir
}

/// Where Python leaves a check out that another one implies: it refuses all the same, for the reason
/// that it meets first.
const OTHER_REASON: [(&str, &str); 4] = [
    ("cut in the path", "not_canonical"),
    ("path of 65 lines", "inclusion_bad"),
    ("entry beyond the format", "inclusion_bad"),
    ("checkpoint without an origin", "unknown_origin"),
];

/// Loads the verifier's source and compares every case with its expected code.
const DRIVER: &str = include_str!("driver.py");

fn drive() -> (Vec<Case>, Output) {
    let cases = cases();
    let dir = write_corpus(&cases);
    let mut command = python();
    command.args(["-B", "-c", DRIVER]).arg(script()).arg(dir.path());
    let output = run(&mut command);
    assert!(output.status.success(), "{}", text(&output.stderr));
    (cases, output)
}

#[test]
fn python_and_rust_agree_on_every_case() {
    let (cases, output) = drive();
    let out = text(&output.stdout);
    let named: Vec<String> = out
        .lines()
        .map(|line| {
            let at: usize = line.split(':').next().unwrap().parse().unwrap();
            (cases[at].name, line)
        })
        .filter(|(name, line)| {
            !OTHER_REASON.iter().any(|(known, got)| name == known && line.ends_with(got))
        })
        .map(|(name, line)| format!("{name} ({line})"))
        .collect();
    assert!(named.is_empty(), "{named:#?}");
}

struct Files {
    dir: TempDir,
}

impl Files {
    fn new(receipt: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("r.tlog-proof"), receipt).unwrap();
        std::fs::write(dir.path().join("trust.json"), trust().write()).unwrap();
        Self { dir }
    }

    fn verify(&self, extra: &[&str]) -> (Option<i32>, String) {
        let mut command = python();
        command
            .arg(script())
            .arg(self.dir.path().join("r.tlog-proof"))
            .arg("--trust")
            .arg(self.dir.path().join("trust.json"))
            .args(extra);
        let output = run(&mut command);
        (output.status.code(), text(&output.stdout))
    }
}

#[test]
fn the_command_line_says_what_was_proven() {
    let good = Files::new(&Log::good().receipt(INDEX));
    let (code, out) = good.verify(&[]);
    assert_eq!(code, Some(0));
    for line in [
        "verified\n",
        "  origin    \"placet/0123456789abcdef/acme\"\n",
        "  index     6\n",
        "  size      11\n",
        "  type      \"decision\"\n",
        "  decision  \"dec_00000000000000000000000000000006\"\n",
        "  outcome   \"PERMIT\"\n",
        "  rules     [\"allow-small\"]\n",
        "  policy    \"sha256:",
    ] {
        assert!(out.contains(line), "{line:?} is missing in {out}");
    }
    let (code, out) = good.verify(&["--json", "--expect", "PERMIT"]);
    let object: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &object["verified"], &object["code"]),
        (Some(0), &true.into(), &"verified".into())
    );
    assert_eq!((&object["origin"], &object["index"]), (&ORIGIN.into(), &INDEX.into()));
    assert_eq!(object["statement"]["predicate"]["data"]["outcome"], "PERMIT");
    let (code, out) = good.verify(&["--expect", "DENY"]);
    assert_eq!(
        (code, out.as_str()),
        (Some(1), "refused: outcome_mismatch: the outcome is not DENY\n")
    );

    let bad = Files::new(&Log::good().receipt(INDEX).replace("index 6", "index 7"));
    let (code, out) = bad.verify(&[]);
    let want = "refused: inclusion_bad: the entry is not in the signed tree at this index\n";
    assert_eq!((code, out.as_str()), (Some(1), want));
    let (code, out) = bad.verify(&["--json"]);
    let object: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &object["verified"], &object["code"]),
        (Some(1), &false.into(), &"inclusion_bad".into())
    );
    assert_eq!(bad.verify(&["--no-such-flag"]).0, Some(2));
    assert_eq!(bad.verify(&["--digest", "x"]).0, Some(2));
    std::fs::remove_file(bad.dir.path().join("trust.json")).unwrap();
    assert_eq!(bad.verify(&[]).0, Some(2));
}

#[test]
fn a_digest_is_compared_with_the_commitment() {
    let (salt, digest) = ([5_u8; 32], [6_u8; 32]);
    let commitment = hex_encode(&PortableHasher::hmac(&salt, &[&digest]));
    let placeholder = format!("{INDEX:064x}\"}},\"name");
    let odd = text(&entry(INDEX)).replace(&placeholder, &format!("{commitment}\"}},\"name"));
    let files = Files::new(&Log::with(odd).receipt(INDEX));
    let (salt, digest) = (hex_encode(&salt), format!("sha256:{}", hex_encode(&digest)));
    assert_eq!(files.verify(&["--digest", &digest, "--salt", &salt]).0, Some(0));
    for (digest, salt) in [
        (&digest, &salt.replace('5', "6")),
        (&digest.replace('6', "7"), &salt),
        (&digest, &String::new()),
    ] {
        let (code, out) = files.verify(&["--digest", digest, &format!("--salt={salt}")]);
        let refused = code == Some(1) && out.starts_with("refused: digest_mismatch: ");
        assert!(refused || code == Some(2), "{out}");
    }
}

#[test]
fn an_entry_cannot_write_to_the_terminal() {
    let odd = text(&entry(INDEX)).replace("allow-small", "\\u001b[2Jverified\u{202e}");
    let (code, out) = Files::new(&Log::with(odd).receipt(INDEX)).verify(&[]);
    assert_eq!(code, Some(0));
    assert!(out.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{out:?}");
}

#[test]
fn the_self_test_passes() {
    let output = run(python().arg(script()).arg("--self-test"));
    assert_eq!(text(&output.stdout), "self-test: ok\n", "{}", text(&output.stderr));
}
