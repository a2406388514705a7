//! `identity:` documents: what compiles, and what claims give.

use crate::support::{compile, render};
use placet_policy::{Bundle, Issuer, TokenAlgorithm, claim};
use placet_types::ids::ActorKind;
use placet_types::json::{self, Limits, Object, Value};

const CORP: &str = "version: v1
identity:
  - id: corp
    issuer: https://login.example.com/realms/a
    audience: placet
    environment: production
    name: /user/name
    prefix: corp
    session: 2h
    algorithms: [RS256, ES256]
    grants:
      - { claim: groups, value: ops, roles: [operator] }
      - { claim: groups, value: all, roles: [] }
      - { claim: /realm_access/roles, value: placet-admin, roles: [admin] }
      - { claim: scope, value: placet.gate, roles: [gate] }
";

#[track_caller]
fn bundle(text: &str) -> Bundle {
    compile(text).unwrap_or_else(|found| panic!("{}", render(&found)))
}

fn object(text: &str) -> Object {
    match json::parse(text.as_bytes(), Limits::REQUEST) {
        Ok(Value::Object(object)) => object,
        other => panic!("{other:?}"),
    }
}

fn granted(issuer: &Issuer, token: &str) -> Option<Vec<String>> {
    let claims = issuer.claims(&object(token));
    let kept = placet_policy::Claims::from_object(&claims.to_object()).unwrap();
    assert_eq!(kept, claims, "as it is kept in payloads");
    issuer.granted(&claims).map(|roles| roles.into_iter().collect())
}

#[test]
fn an_issuer_is_read_with_its_defaults() {
    let bundle = bundle(CORP);
    let [issuer] = bundle.issuers() else { panic!() };
    assert_eq!(
        (issuer.leeway_ms, issuer.max_life_ms, issuer.session_ms),
        (30_000, 86_400_000, 7_200_000)
    );
    assert_eq!((issuer.actor, issuer.delegates), (ActorKind::Human, ActorKind::Agent));
    assert_eq!(issuer.algorithms, [TokenAlgorithm::Rs256, TokenAlgorithm::Es256].into());
    assert_eq!(issuer.named("ann"), "corp/ann");
    let again = Bundle::from_normalised::<crate::support::Sha2>(bundle.normalised()).unwrap();
    assert_eq!(again.digest(), bundle.digest());
    let shuffled = CORP.replace(
        "      - { claim: groups, value: ops, roles: [operator] }\n      - { claim: groups, value: all, roles: [] }\n",
        "      - { claim: groups, value: all, roles: [] }\n      - { claim: groups, value: ops, roles: [operator] }\n",
    );
    assert_ne!(shuffled, CORP);
    assert_eq!(self::bundle(&shuffled).digest(), bundle.digest(), "order says nothing");
}

#[test]
fn claims_give_what_the_grants_say_and_nothing_else() {
    let bundle = bundle(CORP);
    let issuer = &bundle.issuers()[0];
    let rows: &[(&str, Option<&[&str]>)] = &[
        (r#"{"groups":["ops","x"]}"#, Some(&["operator"])),
        (r#"{"groups":"ops"}"#, Some(&["operator"])),
        // A grant of nothing is an admission; no grant is none.
        (r#"{"groups":["all"]}"#, Some(&[])),
        (r#"{"groups":["Ops"]}"#, None),
        (r#"{"groups":"ops all"}"#, None),
        (r#"{"groups":{"ops":true}}"#, None),
        (r#"{"groups":[["ops"]]}"#, None),
        (r#"{"group":["ops"]}"#, None),
        ("{}", None),
        (
            r#"{"realm_access":{"roles":["placet-admin"]},"groups":["ops"]}"#,
            Some(&["admin", "operator"]),
        ),
        (r#"{"/realm_access/roles":["placet-admin"]}"#, None),
        // A scope is a list of words.
        (r#"{"scope":"openid placet.gate"}"#, Some(&["gate"])),
        (r#"{"scope":"openid placet.gates"}"#, None),
    ];
    for (token, roles) in rows {
        let roles = roles.map(|roles| roles.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(granted(issuer, token), roles, "{token}");
    }
    let token = object(r#"{"user":{"name":"ann"},"a/b":{"c~d":1}}"#);
    assert_eq!(claim(&token, "/user/name"), Some(&Value::from("ann")));
    assert_eq!(claim(&token, "/a~1b/c~0d"), Some(&Value::from(1_i64)));
    assert_eq!(claim(&token, "/user/name/first"), None);
}

#[test]
fn what_could_be_mistaken_does_not_compile() {
    let with = |from: &str, to: &str| {
        assert!(CORP.contains(from), "{from}");
        CORP.replacen(from, to, 1)
    };
    let https = "https://login.example.com/realms/a";
    let second = |more: &str| {
        format!(
            "{CORP}  - {{ id: other, issuer: \"https://other.example.com\", audience: placet, environment: production, grants: [{{ claim: g, value: v, roles: [] }}]{more} }}\n"
        )
    };
    let rows = [
        (with(https, "http://login.example.com"), "plain http"),
        (with(https, "https://ann@login.example.com"), "user name"),
        (with(https, "https://login.example.com?x=1"), "without a query"),
        (with(https, "login.example.com"), "https:// URL"),
        (
            with("algorithms: [RS256, ES256]", "algorithms: [HS256]"),
            "unknown `algorithms`: `HS256`",
        ),
        (with("algorithms: [RS256, ES256]", "algorithms: [none]"), "unknown `algorithms`: `none`"),
        (with("algorithms: [RS256, ES256]", "algorithms: []"), "names none"),
        (with("session: 2h", "session: 8d"), "more than 7d"),
        (with("session: 2h", "leeway: 6m"), "more than 5m"),
        (with("name: /user/name", "name: /user//name"), "no JSON pointer"),
        (with("    audience: placet\n", ""), "audience"),
        (with("roles: [operator]", "role: operator"), "role"),
        (second(", prefix: corp"), "give one of them"),
        (second(", prefix: corp, actor: service, delegates: service"), ""),
        (second(", prefix: corp, actor: service"), "name the same agents"),
        (second(", prefix: other"), ""),
        (second(", prefix: other").replace("https://other.example.com", https), "would be of both"),
        (with("environment: production", "environment: Production"), "lower-case"),
        (format!("{CORP}roles: {{}}\n"), "does not know the role `gate`"),
    ];
    for (text, wanted) in rows {
        match compile(&text) {
            Ok(_) => assert!(wanted.is_empty(), "compiles, wanted {wanted}: {text}"),
            Err(found) => {
                let all = render(&found);
                assert!(!wanted.is_empty() && all.contains(wanted), "wanted {wanted:?}: {all}");
            }
        }
    }
    for here in ["http://127.0.0.1:9", "http://[::1]/x", "http://localhost:80/a"] {
        bundle(&with(https, here));
    }
}
