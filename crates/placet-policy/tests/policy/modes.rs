//! `modes:` documents: where a bundle is not enforced, by the compiled evaluator and by the reference.

use crate::support::{Sha2, caller, compile, render, request};
use placet_policy::{Bundle, Scratch, naive};
use placet_types::Caller;

const MODES: &str = "version: v1
modes:
  - { id: a, surfaces: [\"payments.**\", mail.send], environments: [staging, dev], mode: shadow }
  - { id: b, surfaces: [\"**\"], environments: [dev], mode: shadow }
  - { id: c, surfaces: [\"*.refund\"], environments: [\"*\"], mode: enforce }
";

#[test]
fn shadow_is_where_a_mode_says_so_and_none_says_otherwise() {
    let bundle = compile(MODES).unwrap_or_else(|found| panic!("{}", render(&found)));
    // The same from its normal form: what the log keeps.
    let again = Bundle::from_normalised::<Sha2>(bundle.normalised()).unwrap();
    for (surface, environment, expected) in [
        ("payments.transfer", "staging", true),
        ("payments.transfer.big", "staging", true),
        ("payments", "staging", true),
        ("payments.transfer", "production", false),
        ("payments.refund", "staging", false),
        ("mail.send", "staging", true),
        ("mail.read", "staging", false),
        ("mail.read", "dev", true),
        ("shop.refund", "dev", false),
    ] {
        let caller = Caller { environment: environment.to_owned(), ..caller() };
        let asked = request(&format!(r#"{{"surface":"{surface}"}}"#));
        for bundle in [&bundle, &again] {
            let verdict = bundle.evaluate(&asked, &caller, &mut Scratch::default());
            assert_eq!(verdict.unenforced, expected, "{surface} in {environment}");
            assert_eq!(verdict, naive::evaluate(bundle, &asked, &caller, None));
            assert_eq!(bundle.is_unenforced(surface, environment), expected);
            assert_eq!(bundle.explain(&asked, &caller).verdict(), verdict);
        }
    }
}

#[test]
fn without_a_document_everything_is_enforced() {
    let bundle = compile("version: v1\nrules: []\n").unwrap();
    let verdict = bundle.evaluate(&request("{}"), &caller(), &mut Scratch::default());
    assert!(!verdict.unenforced);
}
