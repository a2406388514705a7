//! A corpus of bad DSSE envelopes and bad statements, each one change away from a good one, with the field
//! that is named; and signatures that are good for something else.

use super::fixture::{key, signing};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use placet_tlog::envelope::{Envelope, SIGNATURES_MAX, STATEMENT_PAYLOAD, Statement};
use placet_tlog::verify::PortableHasher;
use placet_types::Digest;
use placet_types::json::{Limits, parse};
use serde_json::{Value, json};

fn statement() -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "app", "digest": {"sha256": "a".repeat(64)}}],
        "predicateType": "urn:placet:evidence:test_report",
        "predicate": {"issued": "2026-11-01T12:00:00Z", "expires": "2026-12-01T12:00:00Z",
                      "result": "PASSED"},
    })
}

fn envelope(payload: &[u8]) -> Value {
    let message = message(STATEMENT_PAYLOAD, payload);
    let sig = signing(7).sign(&message).to_bytes();
    json!({
        "payload": STANDARD.encode(payload),
        "payloadType": STATEMENT_PAYLOAD,
        "signatures": [{"keyid": key(7, "ci").to_string(), "sig": STANDARD.encode(sig)}],
    })
}

/// The pre-authentication encoding, written down a second time.
fn message(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

fn read(envelope: &Value) -> Result<Envelope, String> {
    let bytes = envelope.to_string();
    let value = parse(bytes.as_bytes(), Limits::REQUEST).map_err(|error| error.to_string())?;
    Envelope::parse(&value).map_err(|error| error.field().to_owned())
}

/// The field that is at fault in a statement.
fn fault(payload: &[u8]) -> String {
    match read(&envelope(payload)).expect("a good envelope").statement::<PortableHasher>() {
        Ok(statement) => format!("accepted: {statement:?}"),
        Err(error) => error.field().to_owned(),
    }
}

fn verify(key: &[u8; 32], message: &[u8], sig: &[u8; 64]) -> bool {
    use ed25519_dalek::{Signature, VerifyingKey};
    VerifyingKey::from_bytes(key)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(sig)).is_ok())
}

fn is_signed(envelope: &Value, seed: u8) -> bool {
    let read = read(envelope).unwrap();
    let public = signing(seed).verifying_key().to_bytes();
    read.signatures().iter().any(|signature| read.is_signed(signature, &public, verify))
}

#[test]
fn a_good_envelope_says_what_was_signed() {
    let payload = statement().to_string();
    let good = envelope(payload.as_bytes());
    let read = read(&good).unwrap();
    assert_eq!(read.payload(), payload.as_bytes());
    assert!(is_signed(&good, 7) && !is_signed(&good, 8));
    let said = read.statement::<PortableHasher>().unwrap();
    assert_eq!(said.kind, "test_report");
    assert_eq!(said.subjects, [Digest([0xaa; 32])].into());
    assert_eq!(said.issued.rfc3339(), "2026-11-01T12:00:00.000Z");
    assert_eq!(said.expires.unwrap().rfc3339(), "2026-12-01T12:00:00.000Z");
    let made = Envelope::sign(payload.as_bytes(), &key(7, "ci").to_string(), |bytes| {
        signing(7).sign(bytes).to_bytes()
    });
    assert_eq!(serde_json::from_str::<Value>(&made.to_text()).unwrap(), good);
    // Statements of other tools: their types, and where they say when.
    let others = [
        (
            "https://slsa.dev/provenance/v1",
            json!({"runDetails": {"metadata": {"finishedOn": "2026-11-01T12:00:00Z"}}}),
            "slsa.dev-provenance-v1",
        ),
        (
            "https://slsa.dev/provenance/v0.2",
            json!({"metadata": {"buildFinishedOn": "2026-11-01T12:00:00Z"}}),
            "slsa.dev-provenance-v0.2",
        ),
        (
            "https://slsa.dev/verification_summary/v1",
            json!({"timeVerified": "2026-11-01T12:00:00Z", "verificationResult": "PASSED"}),
            "slsa.dev-verification_summary-v1",
        ),
    ];
    for (kind, predicate, wanted) in others {
        let mut other = statement();
        other["predicateType"] = kind.into();
        other["predicate"] = predicate;
        let said = Statement::parse::<PortableHasher>(other.to_string().as_bytes()).unwrap();
        assert_eq!((said.kind.as_str(), said.expires), (wanted, None));
    }
}

type Change = fn(&mut Value);

#[test]
fn envelopes_one_change_away_from_good_are_refused() {
    let cases: [(&str, &str, Change); 31] = [
        ("no payload", "/payload", |e| drop(e.as_object_mut().unwrap().remove("payload"))),
        ("payload is no text", "/payload", |e| e["payload"] = json!({})),
        ("payload is empty", "/payload", |e| e["payload"] = "".into()),
        ("payload is no base64", "/payload", |e| e["payload"] = "not base64!".into()),
        ("payload lacks padding", "/payload", |e| e["payload"] = "eyJ".into()),
        ("payload in the URL alphabet", "/payload", |e| e["payload"] = "_-_-".into()),
        ("payload with white space", "/payload", |e| {
            e["payload"] = format!("{}\n", e["payload"].as_str().unwrap()).into();
        }),
        ("payload with unused bits", "/payload", |e| e["payload"] = "AB==".into()),
        ("no payload type", "/payloadType", |e| {
            drop(e.as_object_mut().unwrap().remove("payloadType"))
        }),
        ("payload type of a bundle", "/payloadType", |e| {
            e["payloadType"] = "application/vnd.placet.bundle-signature+json".into();
        }),
        ("payload type in capitals", "/payloadType", |e| {
            e["payloadType"] = "application/vnd.In-Toto+json".into();
        }),
        ("payload type with a parameter", "/payloadType", |e| {
            e["payloadType"] = "application/vnd.in-toto+json; charset=utf-8".into();
        }),
        ("payload type is a list", "/payloadType", |e| {
            e["payloadType"] = json!([STATEMENT_PAYLOAD])
        }),
        ("no signatures", "/signatures", |e| drop(e.as_object_mut().unwrap().remove("signatures"))),
        ("signatures are empty", "/signatures", |e| e["signatures"] = json!([])),
        ("signatures are no list", "/signatures", |e| {
            let one = e["signatures"][0].take();
            e["signatures"] = one;
        }),
        ("a signature is a text", "/signatures/0", |e| e["signatures"][0] = "sig".into()),
        ("too many signatures", "/signatures", |e| {
            let one = e["signatures"][0].clone();
            e["signatures"] = vec![one; SIGNATURES_MAX + 1].into();
        }),
        ("the same signature twice", "/signatures/1", |e| {
            let one = e["signatures"][0].clone();
            e["signatures"] = vec![one; 2].into();
        }),
        ("the same signature under two names", "/signatures/1", |e| {
            let mut other = e["signatures"][0].clone();
            other["keyid"] = "another".into();
            e["signatures"].as_array_mut().unwrap().push(other);
        }),
        ("no sig", "/signatures/0/sig", |e| {
            drop(e["signatures"][0].as_object_mut().unwrap().remove("sig"));
        }),
        ("sig is empty", "/signatures/0/sig", |e| e["signatures"][0]["sig"] = "".into()),
        ("sig in hex", "/signatures/0/sig", |e| e["signatures"][0]["sig"] = "zz".into()),
        ("sig in the URL alphabet", "/signatures/0/sig", |e| {
            e["signatures"][0]["sig"] = "_-_-".into()
        }),
        ("sig is enormous", "/signatures/0/sig", |e| {
            e["signatures"][0]["sig"] = STANDARD.encode([7; 9000]).into();
        }),
        ("keyid is a number", "/signatures/0/keyid", |e| e["signatures"][0]["keyid"] = 7.into()),
        ("keyid is null", "/signatures/0/keyid", |e| e["signatures"][0]["keyid"] = Value::Null),
        ("an algorithm of its own", "/signatures/0/alg", |e| {
            e["signatures"][0]["alg"] = "none".into();
        }),
        ("a certificate", "/signatures/0/cert", |e| e["signatures"][0]["cert"] = "MII".into()),
        ("a key beside the signatures", "/key", |e| e["key"] = "AAAA".into()),
        ("a bundle of envelopes", "/dsseEnvelope", |e| *e = json!({"dsseEnvelope": e.clone()})),
    ];
    let good = envelope(statement().to_string().as_bytes());
    for (what, field, change) in cases {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(read(&bad).err().as_deref(), Some(field), "{what}");
    }
    for bad in [json!([]), json!("text"), json!(null), json!(7)] {
        assert!(read(&bad).is_err(), "{bad}");
    }
    // A member twice is refused before anybody looks at either.
    let twice = good.to_string().replacen('{', r#"{"payload":"AAAA","#, 1);
    assert!(parse(twice.as_bytes(), Limits::REQUEST).is_err());
}

#[test]
fn statements_one_change_away_from_good_are_refused() {
    let cases: [(&str, &str, Change); 27] = [
        ("no type", "/payload/_type", |s| drop(s.as_object_mut().unwrap().remove("_type"))),
        ("another type", "/payload/_type", |s| s["_type"] = "https://in-toto.io/Link/v1".into()),
        ("a newer type", "/payload/_type", |s| {
            s["_type"] = "https://in-toto.io/Statement/v2".into()
        }),
        ("no predicate type", "/payload/predicateType", |s| {
            drop(s.as_object_mut().unwrap().remove("predicateType"));
        }),
        ("an empty type of evidence", "/payload/predicateType", |s| {
            s["predicateType"] = "urn:placet:evidence:".into();
        }),
        ("a type of evidence with a space", "/payload/predicateType", |s| {
            s["predicateType"] = "urn:placet:evidence:test report".into();
        }),
        ("a type that is too long", "/payload/predicateType", |s| {
            s["predicateType"] = format!("https://example.com/{}", "x".repeat(60)).into();
        }),
        ("a scheme without protection", "/payload/predicateType", |s| {
            s["predicateType"] = "http://slsa.dev/provenance/v1".into();
        }),
        ("a query", "/payload/predicateType", |s| {
            s["predicateType"] = "https://slsa.dev/provenance?v=1".into();
        }),
        ("no subject", "/payload/subject", |s| drop(s.as_object_mut().unwrap().remove("subject"))),
        ("subjects are empty", "/payload/subject", |s| s["subject"] = json!([])),
        ("the subject is no list", "/payload/subject", |s| s["subject"] = json!({})),
        ("too many subjects", "/payload/subject", |s| s["subject"] = vec![json!({}); 1025].into()),
        ("a subject without digest", "/payload/subject/0/digest/sha256", |s| {
            s["subject"][0] = json!({"name": "app"});
        }),
        ("a subject by SHA-1 alone", "/payload/subject/0/digest/sha256", |s| {
            s["subject"][0]["digest"] = json!({"sha1": "a".repeat(40)});
        }),
        ("a digest in capitals", "/payload/subject/0/digest/sha256", |s| {
            s["subject"][0]["digest"]["sha256"] = "A".repeat(64).into();
        }),
        ("a digest that is short", "/payload/subject/0/digest/sha256", |s| {
            s["subject"][0]["digest"]["sha256"] = "a".repeat(63).into();
        }),
        ("a digest with its name", "/payload/subject/0/digest/sha256", |s| {
            s["subject"][0]["digest"]["sha256"] = format!("sha256:{}", "a".repeat(64)).into();
        }),
        ("the same subject twice", "/payload/subject/1/digest/sha256", |s| {
            let one = s["subject"][0].clone();
            s["subject"].as_array_mut().unwrap().push(one);
        }),
        ("the predicate is a text", "/payload/predicate", |s| s["predicate"] = "passed".into()),
        ("it does not say when", "/payload/predicate", |s| {
            drop(s["predicate"].as_object_mut().unwrap().remove("issued"));
        }),
        ("it says when as a number", "/payload/predicate", |s| s["predicate"]["issued"] = 7.into()),
        ("it was issued on no day", "/payload/predicate", |s| {
            s["predicate"]["issued"] = "2026-02-30T00:00:00Z".into();
        }),
        ("it expires on no day", "/payload/predicate/expires", |s| {
            s["predicate"]["expires"] = "soon".into();
        }),
        ("it failed", "/payload/predicate/result", |s| s["predicate"]["result"] = "FAILED".into()),
        ("it warns", "/payload/predicate/result", |s| s["predicate"]["result"] = "WARNED".into()),
        ("it was not verified", "/payload/predicate/verificationResult", |s| {
            s["predicate"]["verificationResult"] = "FAILED".into();
        }),
    ];
    for (what, field, change) in cases {
        let mut bad = statement();
        change(&mut bad);
        assert_eq!(fault(bad.to_string().as_bytes()), field, "{what}");
    }
    let good = statement().to_string();
    let bytes: [(&str, Vec<u8>); 6] = [
        ("no JSON", b"PASSED".to_vec()),
        ("a list", b"[]".to_vec()),
        ("two documents", format!("{good}{good}").into_bytes()),
        ("invalid UTF-8", [good.as_bytes(), b"\xff"].concat()),
        (
            "a member twice",
            good.replacen('{', r#"{"predicateType":"urn:placet:evidence:review","#, 1).into_bytes(),
        ),
        ("an unknown member", good.replacen('{', r#"{"also":1,"#, 1).into_bytes()),
    ];
    for (what, payload) in bytes {
        let found = fault(&payload);
        assert!(found.starts_with("/payload"), "{what}: {found}");
    }
}

#[test]
fn signatures_over_anything_else_are_not_good() {
    let payload = statement().to_string();
    let good = envelope(payload.as_bytes());
    let signed = |message: &[u8]| STANDARD.encode(signing(7).sign(message).to_bytes());
    let mut other = statement();
    other["subject"][0]["digest"]["sha256"] = "b".repeat(64).into();
    let mut flipped = signing(7).sign(&message(STATEMENT_PAYLOAD, payload.as_bytes())).to_bytes();
    flipped[63] ^= 0x80;
    let forged: [(&str, String); 8] = [
        ("the bare payload", signed(payload.as_bytes())),
        ("the payload in base64", signed(STANDARD.encode(&payload).as_bytes())),
        ("another payload type", signed(&message("application/json", payload.as_bytes()))),
        ("another payload", signed(&message(STATEMENT_PAYLOAD, other.to_string().as_bytes()))),
        ("an older version", signed(&message(STATEMENT_PAYLOAD, payload.as_bytes())[7..])),
        ("no lengths", signed(format!("DSSEv1 {STATEMENT_PAYLOAD} {payload}").as_bytes())),
        ("a bit flipped", STANDARD.encode(flipped)),
        ("too few bytes", STANDARD.encode([7; 63])),
    ];
    for (what, sig) in forged {
        let mut bad = good.clone();
        bad["signatures"][0]["sig"] = sig.into();
        assert!(!is_signed(&bad, 7), "{what}");
    }
    // The payload changed under a good signature.
    let mut bad = good.clone();
    bad["payload"] = STANDARD.encode(other.to_string()).into();
    assert!(!is_signed(&bad, 7));
    // Other signers' signatures, of whatever length, neither help nor harm.
    let mut beside = good;
    let other = json!({"keyid": "ecdsa", "sig": STANDARD.encode([7; 71])});
    beside["signatures"].as_array_mut().unwrap().insert(0, other);
    assert!(is_signed(&beside, 7) && !is_signed(&beside, 8));
}
