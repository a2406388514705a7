//! What all tests share: a hasher, a caller, requests and bundles from text.

use placet_policy::{Bundle, Diagnostic, Scratch, Source};
use placet_types::ids::{ActorId, WorkspaceName};
use placet_types::json::{self, Limits, Value};
use placet_types::policy::{Combined, Velocity, Verdict, combine};
use placet_types::{Caller, Hasher, Request};

#[derive(Clone, Copy)]
pub(crate) struct Sha2;

impl Hasher for Sha2 {
    fn sha256(parts: &[&[u8]]) -> [u8; 32] {
        use sha2::Digest;
        let mut state = sha2::Sha256::new();
        for part in parts {
            state.update(part);
        }
        state.finalize().into()
    }

    fn hmac(_: &[u8], _: &[&[u8]]) -> [u8; 32] {
        unreachable!("policy computes no HMAC")
    }
}

pub(crate) fn caller() -> Caller {
    Caller {
        workspace: WorkspaceName::parse("default").unwrap(),
        environment: "production".to_owned(),
        actor: ActorId::parse("agent:bot").unwrap(),
        roles: ["operator".to_owned(), "support".to_owned()].into(),
        chain: Vec::new(),
    }
}

pub(crate) fn value(text: &str) -> Value {
    json::parse(text.as_bytes(), Limits::REQUEST).unwrap()
}

pub(crate) fn request_of(body: Value) -> Request {
    Request::read(body, &caller()).unwrap()
}

/// A request with the required fields and what `text` adds or replaces.
pub(crate) fn request(text: &str) -> Request {
    let Value::Object(extra) = value(text) else { panic!("an object") };
    let Value::Object(mut body) =
        value(r#"{"surface":"job","action":"dispatch","idempotency_key":"k"}"#)
    else {
        panic!("an object")
    };
    for (key, value) in extra {
        body.set(key, value);
    }
    request_of(Value::Object(body))
}

pub(crate) fn source(name: &str, text: &str) -> Source {
    Source { name: name.to_owned(), text: text.to_owned() }
}

pub(crate) fn compile(text: &str) -> Result<Bundle, Vec<Diagnostic>> {
    Bundle::compile::<Sha2>(&[source("policy.yaml", text)])
}

pub(crate) fn bundle(text: &str) -> Bundle {
    compile(text).unwrap_or_else(|found| panic!("{}", render(&found)))
}

pub(crate) fn render(found: &[Diagnostic]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

pub(crate) fn verdict(bundle: &Bundle, request: &Request) -> Verdict {
    let verdict = bundle.evaluate(request, &caller(), &mut Scratch::default());
    assert_eq!(bundle.explain(request, &caller()).verdict(), verdict);
    // What the index brings up holds all that matched.
    let near = bundle.explain_near(request, &caller(), &mut Scratch::default());
    assert_eq!(near.verdict(), verdict);
    for rule in &near.rules {
        let alone = bundle.explain_rule(request, &caller(), &rule.rule.id);
        assert!(alone.is_none_or(|it| (it.matched, &it.clauses) == (rule.matched, &rule.clauses)));
    }
    verdict
}

pub(crate) fn decide(bundle: &Bundle, request: &Request) -> Combined {
    combine(&verdict(bundle, request), |_| Velocity::Open)
}

/// Ids of the rules that matched, with the code of the error where there was one.
pub(crate) fn hits(bundle: &Bundle, request: &Request) -> String {
    let hits = verdict(bundle, request).hits;
    let texts = hits.iter().map(|hit| match hit.error {
        None => hit.rule.id.clone(),
        Some(error) => format!("{}!{}", hit.rule.id, error.as_str()),
    });
    texts.collect::<Vec<_>>().join(" ")
}
