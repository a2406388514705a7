//! `exceptions:` documents: what compiles, and which bounds an exception has to keep.

use crate::support::{compile, render};
use placet_policy::{Bundle, ExceptionPolicy};

const MIN: u64 = 60_000;

#[track_caller]
fn bundle(text: &str) -> Bundle {
    let text = format!("version: v1\nexceptions:\n{text}");
    compile(&text).unwrap_or_else(|found| panic!("{}", render(&found)))
}

#[test]
fn without_a_document_there_are_defaults_and_nobody_breaks_the_glass() {
    let policy = ExceptionPolicy::default();
    let allowed = policy.allowed(Some("payments.refund"), None, false);
    assert_eq!((allowed.default_ms, allowed.max_ms), (60 * MIN, 240 * MIN));
    assert_eq!(allowed.review_ms, 24 * 60 * MIN);
    assert_eq!(allowed.roles, ["admin".to_owned(), "operator".to_owned()].into());
    let alone = policy.allowed(Some("payments.refund"), None, true);
    assert!(alone.roles.is_empty() && alone.max_ms == 0);
}

#[test]
fn the_narrowest_limit_that_an_exception_touches_counts() {
    let bundle = bundle(
        "  roles: [admin]
  max: 2h
  break_glass: { roles: [operator], max: 20m, review: 4h }
  limits:
    - { surface: payments.**, max: 15m }
    - { environment: production, max: 1h }
    - { surface: shell.exec, environment: production, none: true }
",
    );
    let max = |surface, environment, glass| {
        bundle.exceptions().allowed(surface, environment, glass).max_ms / MIN
    };
    for (surface, environment, glass, expected) in [
        (Some("git.change"), Some("staging"), false, 120),
        (Some("git.change"), Some("production"), false, 60),
        (Some("payments.refund"), Some("staging"), false, 15),
        (Some("payments.refund"), Some("production"), true, 15),
        (Some("git.change"), Some("production"), true, 20),
        (Some("shell.exec"), Some("production"), false, 0),
        (Some("shell.exec"), Some("staging"), false, 120),
        // What names no environment is for production as well, what names no surface for all.
        (Some("git.change"), None, false, 60),
        (Some("shell.exec"), None, true, 0),
        (None, Some("staging"), false, 15),
        (None, None, false, 0),
    ] {
        assert_eq!(
            max(surface, environment, glass),
            expected,
            "{surface:?} {environment:?} {glass}"
        );
    }
    assert_eq!(bundle.exceptions().allowed(None, None, false).roles, ["admin".to_owned()].into());
    let again = Bundle::from_normalised::<crate::support::Sha2>(bundle.normalised()).unwrap();
    assert_eq!(again.digest(), bundle.digest());
    assert_eq!(again.exceptions().allowed(Some("payments.x"), None, false).max_ms, 15 * MIN);
}

#[test]
fn what_is_no_bound_does_not_compile() {
    for (text, expected) in [
        ("  max: 25h\n", "more than 24h"),
        ("  review: 8d\n", "more than 7d"),
        ("  default: 5h\n", "more than its `max`"),
        ("  default: 0s\n", "between 1ms"),
        ("  break_glass: { roles: [operator], max: 5h }\n", "more than its `max`"),
        ("  break_glass: { max: 5m }\n", "roles"),
        ("  roles: [agent]\n", "agent"),
        ("  limits: [{ surface: payments.** }]\n", "either `max` or `none: true`"),
        ("  limits: [{ max: 1h, none: true }]\n", "either `max` or `none: true`"),
        ("  forever: true\n", "forever"),
    ] {
        let found = compile(&format!("version: v1\nexceptions:\n{text}"));
        let found = render(&found.err().unwrap_or_else(|| panic!("{text} compiles")));
        assert!(found.contains(expected), "{text}: {found}");
    }
}
