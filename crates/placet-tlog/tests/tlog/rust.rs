//! The Rust verifier over the corpus, over every prefix and every altered byte, and in batches.

use crate::corpus::{Expected, cases};
use crate::fixture::{INDEX, Log, ORIGIN, key, note, signing, trust};
use ed25519_dalek::Signer as _;
use placet_tlog::receipt::ReceiptError;
use placet_tlog::verify::{PortableHasher, Verifier, VerifyError, verify_receipt};
use placet_tlog::{Checkpoint, Receipt, Trust};
use std::error::Error as _;

#[test]
fn every_case_of_the_corpus_gets_its_code() {
    for case in cases() {
        let got = match Trust::parse::<PortableHasher>(&case.trust) {
            Err(_) => Err("trust_malformed"),
            Ok(trust) => verify_receipt(&case.receipt, &trust).map_err(|error| error.code()),
        };
        let want = match case.expected {
            Expected::Verified => Ok(()),
            Expected::Refused(code) => Err(code),
        };
        assert_eq!(got.map(|_| ()), want, "{}", case.name);
    }
}

#[test]
fn a_good_receipt_says_what_it_proved() {
    let log = Log::good();
    let text = log.receipt(INDEX);
    let proven = verify_receipt(text.as_bytes(), &trust()).unwrap();
    assert_eq!(proven.entry, log.entries[INDEX as usize]);
    assert_eq!((proven.index, proven.size, proven.root), (INDEX, 11, log.tree.root()));
    assert_eq!((proven.origin.as_str(), proven.key_id), (ORIGIN, key(7, ORIGIN).id()));
    let parsed = Receipt::parse(text.as_bytes()).unwrap();
    assert_eq!(parsed.write(), text);
    let signed = Checkpoint::new(ORIGIN, 11, log.tree.root())
        .sign(&key(7, ORIGIN), |bytes| signing(7).sign(bytes).to_bytes())
        .unwrap();
    assert_eq!(parsed.note_text, signed);
}

/// Reading alone already refuses a path that cannot belong to index and size.
#[test]
fn a_path_of_the_wrong_length_is_not_even_read() {
    let good = Log::good().receipt(INDEX);
    for index in ["index 8", "index 11", "index 22"] {
        let altered = good.replace("index 6", index);
        assert_eq!(Receipt::parse(altered.as_bytes()), Err(ReceiptError::PathLength), "{index}");
    }
}

/// Whatever is read is the one spelling of what it says.
#[test]
fn every_prefix_and_every_altered_byte_is_refused() {
    let text = Log::good().receipt(INDEX).into_bytes();
    let trust = trust();
    let mut verifier = Verifier::new(&trust);
    verifier.verify(&text).unwrap();
    for end in 0..text.len() {
        assert!(verifier.verify(&text[..end]).is_err(), "prefix of {end} bytes");
    }
    for at in 0..text.len() {
        for mask in [1_u8, 2, 0x20, 0x80] {
            let mut altered = text.clone();
            altered[at] ^= mask;
            assert!(verifier.verify(&altered).is_err(), "byte {at} mask {mask:#x}");
        }
    }
}

/// The cached checkpoint serves its own bytes only.
#[test]
fn a_batch_is_as_strict_as_one_by_one() {
    let log = Log::good();
    let trust = trust();
    let mut verifier = Verifier::new(&trust);
    for case in cases() {
        let Ok(pinned) = Trust::parse::<PortableHasher>(&case.trust) else {
            continue;
        };
        verifier.verify(log.receipt(1).as_bytes()).unwrap();
        if pinned == trust {
            let batched = verifier.verify(&case.receipt);
            assert_eq!(batched, verify_receipt(&case.receipt, &trust), "{}", case.name);
        }
    }
    // A note whose signature is bad stays bad after a good one with the same text.
    let mut forged = log.receipt(2);
    let good = note(&log.body(), &[(7, ORIGIN)]);
    let bad = note(&log.body().replace("11", "12"), &[(7, ORIGIN)]);
    let (good_line, bad_line) = (good.lines().last().unwrap(), bad.lines().last().unwrap());
    forged = forged.replace(good_line, bad_line);
    assert_eq!(verifier.verify(forged.as_bytes()), Err(VerifyError::SignatureBad));
    assert_eq!(verifier.verify(forged.as_bytes()), Err(VerifyError::SignatureBad));
}

#[test]
fn refusals_read_as_one_lower_case_line() {
    for case in cases() {
        let Ok(trust) = Trust::parse::<PortableHasher>(&case.trust) else {
            continue;
        };
        let Err(error) = verify_receipt(&case.receipt, &trust) else {
            continue;
        };
        let mut texts = vec![error.to_string()];
        let mut source = error.source();
        while let Some(inner) = source {
            texts.push(inner.to_string());
            source = inner.source();
        }
        for text in &texts {
            assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
            assert!(text.chars().all(|c| !c.is_uppercase()), "{text}");
        }
        assert!(!texts[0].contains(texts.get(1).map_or("\0", String::as_str)));
    }
}
