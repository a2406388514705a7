//! Keys, notes, checkpoints and the trust file: what is read is what is written, nothing else is.

use crate::fixture::{ORIGIN, key, line, note, trust_one};
use placet_tlog::note::{NoteError, SIGNATURES_MAX};
use placet_tlog::trust::{KeyStatus, TrustError, TrustKey};
use placet_tlog::verify::PortableHasher as H;
use placet_tlog::{Checkpoint, Note, Trust, VerifierKey};

#[test]
fn a_published_key_is_read() {
    // The test key of golang.org/x/mod/sumdb/note.
    let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let key = VerifierKey::parse::<H>(text).unwrap();
    assert_eq!(key.name(), "PeterNeumann");
    assert_eq!(key.id(), [0xc7, 0x4f, 0x20, 0xa3]);
    assert_eq!(key.to_string(), text);
}

#[test]
fn keys_have_one_spelling() {
    let good = key(7, ORIGIN).to_string();
    assert_eq!(VerifierKey::parse::<H>(&good).unwrap(), key(7, ORIGIN));
    let check =
        |text: &str, want| assert_eq!(VerifierKey::parse::<H>(text).unwrap_err(), want, "{text}");
    check(&good.replacen("placet", "Placet", 1), NoteError::KeyId);
    check(&good.replacen('+', "+0", 1), NoteError::VerifierKey);
    check(&good.replacen('+', "", 1), NoteError::VerifierKey);
    check(&format!("{good}="), NoteError::NotCanonical);
    check("a b+00000000+AQ==", NoteError::KeyType);
    let other_type = good.replacen("+A", "+B", 1);
    assert!(VerifierKey::parse::<H>(&other_type).is_err());
    for name in ["", "a b", "a+b", "a\nb", "a\u{a0}b", "a\u{2003}b", "a\u{85}b"] {
        assert_eq!(VerifierKey::new::<H>(name, [1; 32]), Err(NoteError::Name), "{name:?}");
    }
}

#[test]
fn notes_are_read_whole_or_not_at_all() {
    let good = note("a\nb\n", &[(7, ORIGIN), (8, "witness")]);
    let parsed = Note::parse(&good).unwrap();
    assert_eq!(parsed.text(), "a\nb\n");
    let names: Vec<_> = parsed.signatures().iter().map(|s| s.name()).collect();
    assert_eq!(names, [ORIGIN, "witness"]);
    assert_eq!(parsed.signatures()[0].bytes().len(), 64);
    assert_eq!(parsed.signatures()[1].key_id(), key(8, "witness").id());
    // The text may have empty lines: the last one parts it from the signatures.
    let empty_lines = note("a\n\nb\n", &[(7, ORIGIN)]);
    assert_eq!(Note::parse(&empty_lines).unwrap().text(), "a\n\nb\n");

    let check = |text: &str, want| assert_eq!(Note::parse(text).unwrap_err(), want, "{text:?}");
    check("", NoteError::Incomplete);
    check("a\n", NoteError::Incomplete);
    check("a\n\n", NoteError::Incomplete);
    check(good.trim_end(), NoteError::Incomplete);
    check(&format!("{good}\n"), NoteError::Incomplete);
    check(&format!("{good}x\n"), NoteError::SignatureLine);
    check(&good.replace('\u{2014}', "-"), NoteError::SignatureLine);
    check(&good.replace(" witness ", " wit+ness "), NoteError::Name);
    check(&good.replace('\n', "\r\n"), NoteError::ControlCharacter);
    check(&good.replace('b', "b\u{7}"), NoteError::ControlCharacter);
    check(&format!("a\n\n{}", line("n", [0; 4], &[])), NoteError::SignatureLine);
    let many = |count| format!("a\n\n{}", line("n", [0; 4], &[1]).repeat(count));
    assert_eq!(Note::parse(&many(SIGNATURES_MAX)).unwrap().signatures().len(), SIGNATURES_MAX);
    check(&many(SIGNATURES_MAX + 1), NoteError::SignatureCount);
    assert_eq!(key(7, "n").sign_note("a", |_| [0; 64]), Err(NoteError::Incomplete));
    assert_eq!(key(7, "n").sign_note("a\r\n", |_| [0; 64]), Err(NoteError::ControlCharacter));
}

#[test]
fn checkpoints_have_one_spelling() {
    let mut checkpoint = Checkpoint::new(ORIGIN, 0, [9; 32]);
    assert_eq!(Checkpoint::parse(&checkpoint.body()).unwrap(), checkpoint);
    checkpoint.size = u64::MAX;
    checkpoint.extensions = vec!["one".into(), "two".into()];
    let body = checkpoint.body();
    assert_eq!(Checkpoint::parse(&body).unwrap(), checkpoint);
    let note = checkpoint.sign(&key(7, ORIGIN), |_| [5; 64]).unwrap();
    assert_eq!(Note::parse(&note).unwrap().text(), body);

    let check =
        |text: &str, want| assert_eq!(Checkpoint::parse(text).unwrap_err(), want, "{text:?}");
    check("o\n1\n", NoteError::Checkpoint);
    check(body.trim_end(), NoteError::Checkpoint);
    check(&body.replacen(ORIGIN, "", 1), NoteError::Checkpoint);
    check(&body.replace("one", ""), NoteError::Checkpoint);
    check(&body.replace("18446744073709551615", "18446744073709551616"), NoteError::Checkpoint);
    check(&body.replace("18446744073709551615", "0018"), NoteError::NotCanonical);
    check(&body.replace("18446744073709551615", "-1"), NoteError::Checkpoint);
    check(&body.replace('=', ""), NoteError::NotCanonical);
    check("o\n1\nAAAA\n", NoteError::Checkpoint);
}

#[test]
fn trust_files_are_read_as_written() {
    let keys = vec![
        TrustKey::active(key(7, ORIGIN)),
        TrustKey {
            to_size: Some(10),
            status: KeyStatus::Retired,
            ..TrustKey::active(key(8, ORIGIN))
        },
        TrustKey { from_size: 3, status: KeyStatus::Revoked, ..TrustKey::active(key(9, "other")) },
    ];
    let trust = Trust::new(keys.clone()).unwrap();
    let text = trust.write();
    assert!(
        text.starts_with(r#"{"keys":[{"from_size":0,"status":"active","vkey":"placet/"#),
        "{text}"
    );
    assert_eq!(Trust::parse::<H>(text.as_bytes()).unwrap(), trust);
    assert!(trust.knows("other") && !trust.knows("nobody"));
    assert_eq!(trust.find(ORIGIN, key(8, ORIGIN).id()), Some(&keys[1]));
    assert_eq!(trust.find("other", key(8, ORIGIN).id()), None);
    assert!(!keys[1].covers(11) && keys[1].covers(10) && !keys[2].covers(2) && keys[2].covers(3));

    let twice = Trust::new(vec![keys[0].clone(), keys[0].clone()]);
    assert_eq!(twice, Err(TrustError::Duplicate { at: 1 }));
    let open = TrustKey { status: KeyStatus::Retired, ..keys[0].clone() };
    assert_eq!(Trust::new(vec![open]), Err(TrustError::Range { at: 0 }));
    assert!(trust_one(key(7, ORIGIN), KeyStatus::Active, 5, Some(5)).keys()[0].covers(5));
}
