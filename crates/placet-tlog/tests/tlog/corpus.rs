//! Receipts that must verify and receipts that must be refused, each with its code. A refused one
//! differs from a good one in exactly one respect; where the log itself is odd, it is logged and
//! signed properly, so that no other check stands in.

use crate::fixture::{
    INDEX, Log, ORIGIN, entry, key, line, loose_base64, note, signing, trust, trust_one,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use curve25519_dalek::Scalar;
use ed25519_dalek::Signer as _;
use placet_tlog::trust::{KeyStatus, TrustKey};
use placet_tlog::verify::PortableHasher;
use placet_tlog::{Trust, VerifierKey};
use sha2::{Digest as _, Sha512};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Expected {
    Verified,
    Refused(&'static str),
}

#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) receipt: Vec<u8>,
    pub(crate) trust: Vec<u8>,
    pub(crate) expected: Expected,
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(
        &mut self,
        name: &'static str,
        receipt: impl Into<Vec<u8>>,
        trust: &Trust,
        code: &'static str,
    ) {
        self.raw(name, receipt, trust.write(), code);
    }

    fn raw(
        &mut self,
        name: &'static str,
        receipt: impl Into<Vec<u8>>,
        trust: impl Into<Vec<u8>>,
        code: &'static str,
    ) {
        let expected = match code {
            "" => Expected::Verified,
            code => Expected::Refused(code),
        };
        let (receipt, trust) = (receipt.into(), trust.into());
        self.0.push(Case { name, receipt, trust, expected });
    }

    /// A change of the good receipt's text.
    fn text(&mut self, name: &'static str, code: &'static str, change: impl Fn(&str) -> String) {
        let good = Log::good().receipt(INDEX);
        let altered = change(&good);
        assert_ne!(good, altered, "{name} changes nothing");
        self.add(name, altered, &trust(), code);
    }

    /// A change of the checkpoint's body, signed by the right key.
    fn body(&mut self, name: &'static str, code: &'static str, change: impl Fn(&str) -> String) {
        let log = Log::good();
        let body = change(&log.body());
        assert_ne!(log.body(), body, "{name} changes nothing");
        let receipt = log.receipt_with(INDEX, &note(&body, &[(7, ORIGIN)]));
        self.add(name, receipt, &trust(), code);
    }

    /// Another entry, properly logged.
    fn entry(&mut self, name: &'static str, code: &'static str, odd: impl Into<Vec<u8>>) {
        self.add(name, Log::with(odd).receipt(INDEX), &trust(), code);
    }

    /// The good entry with one text replaced, properly logged.
    fn edit(&mut self, name: &'static str, code: &'static str, from: &str, to: &str) {
        let good = String::from_utf8(entry(INDEX)).unwrap();
        assert!(good.contains(from), "{name}");
        self.entry(name, code, good.replacen(from, to, 1));
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Cases::default();
    good(&mut cases);
    altered(&mut cases);
    spelled_otherwise(&mut cases);
    malformed(&mut cases);
    keys(&mut cases);
    signatures(&mut cases);
    entries(&mut cases);
    trust_files(&mut cases);
    cases.0
}

fn good(cases: &mut Cases) {
    let log = Log::good();
    let trust = trust();
    cases.add("good", log.receipt(INDEX), &trust, "");
    cases.add("first entry", log.receipt(0), &trust, "");
    cases.add("last entry", log.receipt(10), &trust, "");
    cases.add("only entry", Log::new(vec![entry(0)]).receipt(0), &trust, "");
    let witness = line("witness.example/w", [1, 2, 3, 4], &[7; 72]);
    let post_quantum = line(ORIGIN, [9, 9, 9, 9], &[7; 2428]);
    cases.text("unknown signatures after", "", |good| format!("{good}{witness}{post_quantum}"));
    let text = log.body();
    let ours = note(&text, &[(7, ORIGIN)]);
    let after = ours.strip_prefix(&text).unwrap().strip_prefix('\n').unwrap();
    let before = format!("{text}\n{witness}{after}");
    cases.add("unknown signature before", log.receipt_with(INDEX, &before), &trust, "");
    let full = format!("{ours}{}", witness.repeat(63));
    cases.add("sixty-four signatures", log.receipt_with(INDEX, &full), &trust, "");
    cases.body("extension line", "", |body| format!("{body}extension\n"));
    cases.edit(
        "text beyond the basic plane",
        "",
        "allow-small",
        "\u{1f600}\u{e9}\u{2028}\u{7f}\\\"\\n\\u0001",
    );
    cases.edit(
        "keys in utf-16 order",
        "",
        r#","type""#,
        ",\"ts\":{\"\u{1f600}\":1,\"\u{fb33}\":2},\"type\"",
    );
    cases.edit("largest integer", "", "1795000000000", "9007199254740992");
    cases.edit("smallest integer", "", "1795000000000", "-9007199254740992");
    let deep = format!(r#"{}1{}"#, "[".repeat(60), "]".repeat(60));
    cases.edit("deepest nesting", "", r#"["allow-small"]"#, &format!("[{deep}]"));
    let room = 16_384 - entry(INDEX).len();
    cases.edit("largest entry", "", "allow-small", &format!("allow-small{}", "x".repeat(room)));
}

fn altered(cases: &mut Cases) {
    let b64 = |bytes: &[u8]| STANDARD.encode(bytes);
    cases.text("entry: PERMIT for DENY", "inclusion_bad", |good| {
        let forged = String::from_utf8(entry(INDEX)).unwrap().replace("PERMIT", "DENY");
        good.replace(&b64(&entry(INDEX)), &b64(forged.as_bytes()))
    });
    cases.text("entry: another of the log", "inclusion_bad", |good| {
        good.replace(&b64(&entry(INDEX)), &b64(&entry(5)))
    });
    cases.text("index: next", "inclusion_bad", |good| good.replace("index 6", "index 7"));
    cases.text("index: beyond the size", "inclusion_bad", |good| {
        good.replace("index 6", "index 11")
    });
    cases.text("index: far beyond", "inclusion_bad", |good| {
        good.replace("index 6", "index 18446744073709551615")
    });
    // The low bits are right, so every hash comes out right; only the bound on the index is left.
    cases.text("index: a bit above the size", "inclusion_bad", |good| {
        good.replace("index 6", "index 22")
    });
    let path_line = |good: &str, at: usize| good.lines().nth(3 + at).unwrap().to_string();
    cases.text("path: one bit", "inclusion_bad", |good| {
        let old = path_line(good, 1);
        let mut bytes = STANDARD.decode(&old).unwrap();
        bytes[31] ^= 1;
        good.replace(&old, &b64(&bytes))
    });
    cases.text("path: two swapped", "inclusion_bad", |good| {
        let (a, b) = (path_line(good, 0), path_line(good, 1));
        good.replace(&a, "*").replace(&b, &a).replace('*', &b)
    });
    cases.text("path: one missing", "inclusion_bad", |good| {
        good.replace(&format!("{}\n", path_line(good, 3)), "")
    });
    cases.text("path: one more", "inclusion_bad", |good| {
        let last = path_line(good, 3);
        good.replace(&last, &format!("{last}\n{last}"))
    });
    cases.text("size", "signature_bad", |good| good.replace("\n11\n", "\n12\n"));
    cases.text("root", "signature_bad", |good| {
        let root = b64(&Log::good().tree.root());
        good.replace(&root, &b64(&[1; 32]))
    });
    // Root, path and signature all fit; only the entry is not there.
    let forked = Log::with(String::from_utf8(entry(INDEX)).unwrap().replace("PERMIT", "DENY"));
    let note_of_fork = note(&forked.body(), &[(7, ORIGIN)]);
    let receipt = Log::good().receipt_with(INDEX, &note_of_fork);
    cases.add("another checkpoint of the same size", receipt, &trust(), "inclusion_bad");
}

fn spelled_otherwise(cases: &mut Cases) {
    const CODE: &str = "not_canonical";
    let last_line = |good: &str| good.trim_end().rsplit(' ').next().unwrap().to_string();
    let nth = |good: &str, at: usize| good.lines().nth(at).unwrap().to_string();
    // The entry must end in padding to have unused bits.
    let log =
        Log::with(String::from_utf8(entry(INDEX)).unwrap().replace("allow-small", "allow-smal"));
    let padded = [log, Log::with([entry(INDEX), b" ".to_vec()].concat())]
        .into_iter()
        .find(|log| nth(&log.receipt(INDEX), 1).ends_with('='))
        .unwrap();
    let text = padded.receipt(INDEX);
    let extra = nth(&text, 1);
    cases.add(
        "entry base64: unused bits",
        text.replace(&extra, &loose_base64(&extra)),
        &trust(),
        CODE,
    );
    cases.add(
        "entry base64: no padding",
        text.replace(&extra, extra.trim_end_matches('=')),
        &trust(),
        CODE,
    );
    cases.text("entry base64: a space", CODE, |good| good.replace("extra ", "extra  "));
    cases.text("path base64: unused bits", CODE, |good| {
        good.replace(&nth(good, 3), &loose_base64(&nth(good, 3)))
    });
    cases.text("signature base64: unused bits", CODE, |good| {
        good.replace(&last_line(good), &loose_base64(&last_line(good)))
    });
    cases.text("unknown signature base64: unused bits", CODE, |good| {
        let line = line("w", [1; 4], &[7; 64]);
        format!("{good}{}\n", loose_base64(line.trim_end()))
    });
    let root = STANDARD.encode(Log::good().tree.root());
    cases.body("root base64: unused bits", CODE, |body| body.replace(&root, &loose_base64(&root)));
    cases.body("size with a leading zero", CODE, |body| body.replace("\n11\n", "\n011\n"));
    cases.text("index with a leading zero", CODE, |good| good.replace("index 6", "index 06"));
    cases
        .text("duplicate index line", CODE, |good| good.replace("index 6\n", "index 6\nindex 6\n"));
    cases.edit("entry: a space", CODE, ",", ", ");
    cases.edit(
        "entry: key order",
        CODE,
        r#""epoch":1,"time_ms":1795000000000"#,
        r#""time_ms":1795000000000,"epoch":1"#,
    );
    cases.edit("entry: needless escape", CODE, "allow-small", "allow\\u002dsmall");
    cases.edit("entry: escaped solidus", CODE, "https://", "https:\\/\\/");
    cases.edit("entry: upper-case escape", CODE, "allow-small", "\\u001F");
    cases.edit("entry: minus zero", CODE, r#""epoch":1"#, r#""epoch":-0"#);
    cases.edit("entry: integer as a real", CODE, r#""epoch":1"#, r#""epoch":1.0"#);
    cases.edit("entry: integer with an exponent", CODE, r#""epoch":1"#, r#""epoch":1e0"#);
    cases.entry("entry: line feed at the end", CODE, [entry(INDEX), b"\n".to_vec()].concat());
}

fn malformed(cases: &mut Cases) {
    const CODE: &str = "receipt_malformed";
    cases.add("empty", "", &trust(), CODE);
    cases.text("crlf", CODE, |good| good.replace('\n', "\r\n"));
    cases.text("one carriage return", CODE, |good| good.replace("index 6\n", "index 6\r\n"));
    cases.text("tab", CODE, |good| good.replace("index 6", "index\t6"));
    cases.text("nul at the end", CODE, |good| format!("{good}\0"));
    cases.text("byte order mark", CODE, |good| format!("\u{feff}{good}"));
    cases.text("line feed at the end", CODE, |good| format!("{good}\n"));
    cases.text("text at the end", CODE, |good| format!("{good}x"));
    cases.text("line at the end", CODE, |good| format!("{good}x\n"));
    cases.text("receipt twice", CODE, |good| good.repeat(2));
    cases.text("no final line feed", CODE, |good| good.trim_end().to_string());
    cases
        .text("cut in the path", CODE, |good| good[..good.find("index").unwrap() + 30].to_string());
    cases.text("other version", CODE, |good| good.replace("@v1", "@v2"));
    cases.text("header goes on", CODE, |good| good.replace("@v1", "@v1 "));
    cases.text("no entry", CODE, |good| {
        let extra = good.lines().nth(1).unwrap();
        good.replace(&format!("{extra}\n"), "")
    });
    cases.text("no index", CODE, |good| good.replace("index 6\n", ""));
    cases.text("index is no number", CODE, |good| good.replace("index 6", "index six"));
    cases.text("index with a sign", CODE, |good| good.replace("index 6", "index +6"));
    cases.text("index is empty", CODE, |good| good.replace("index 6", "index "));
    cases.text("index in other digits", CODE, |good| good.replace("index 6", "index \u{666}"));
    cases.text("index beyond 64 bits", CODE, |good| {
        good.replace("index 6", "index 18446744073709551616")
    });
    cases.text("path line of 31 bytes", CODE, |good| {
        good.replace(good.lines().nth(3).unwrap(), &STANDARD.encode([1; 31]))
    });
    cases.text("path of 65 lines", CODE, |good| {
        let hash = format!("{}\n", STANDARD.encode([1; 32]));
        good.replace("index 6\n", &format!("index 6\n{}", hash.repeat(61)))
    });
    let huge = STANDARD.encode(vec![b' '; 65_537]);
    cases.text("entry beyond the format", CODE, |good| {
        good.replace(good.lines().nth(1).unwrap(), &format!("extra {huge}"))
    });
    let signature = line("w", [1; 4], &[7; 6500]);
    cases.text("too large", CODE, |good| format!("{good}{}", signature.repeat(63)));
    let short = line("w", [1; 4], &[7; 64]);
    cases.text("sixty-five signatures", CODE, |good| format!("{good}{}", short.repeat(64)));
    cases.text("signature without a dash", CODE, |good| good.replace('\u{2014}', "-"));
    cases.text("signature without a name", CODE, |good| format!("{good}\u{2014} AAAAAAA=\n"));
    cases.text("signature name with a plus", CODE, |good| {
        format!("{good}{}", short.replace(" w ", " w+w "))
    });
    cases.text("signature name with a space", CODE, |good| {
        format!("{good}{}", short.replace(" w ", " w\u{a0}w "))
    });
    cases.text("signature of the key id alone", CODE, |good| {
        format!("{good}{}", line("w", [1; 4], &[]))
    });
    let utf8 = Log::good().receipt(INDEX).replace("index 6", "index \u{ff}6").into_bytes();
    let latin1: Vec<u8> = utf8.iter().copied().filter(|byte| *byte != 0xc3).collect();
    cases.add("not utf-8", latin1, &trust(), CODE);
    cases.body("checkpoint of two lines", CODE, |body| {
        body.lines().take(2).map(|l| format!("{l}\n")).collect()
    });
    cases.body("checkpoint with an empty extension", CODE, |body| format!("{body}\nx\n"));
    cases.body("checkpoint with a control character", CODE, |body| format!("{body}\u{1}\n"));
    cases.body("checkpoint without an origin", CODE, |body| body.replace(ORIGIN, ""));
    cases.body("checkpoint size is no number", CODE, |body| body.replace("\n11\n", "\n1l\n"));
    cases.body("checkpoint size beyond 64 bits", CODE, |body| {
        body.replace("\n11\n", "\n99999999999999999999\n")
    });
    cases.body("checkpoint root of 31 bytes", CODE, |body| {
        body.replace(body.lines().nth(2).unwrap(), &STANDARD.encode([1; 31]))
    });
}

fn keys(cases: &mut Cases) {
    let log = Log::good();
    let good = log.receipt(INDEX);
    let mine = || key(7, ORIGIN);
    let other = "placet/0123456789abcdef/other";
    let one = |status, from, to| trust_one(mine(), status, from, to);
    use KeyStatus::{Active, Retired, Revoked};
    cases.add("no keys", good.clone(), &Trust::default(), "unknown_origin");
    cases.add(
        "key of another origin",
        good.clone(),
        &trust_one(key(7, other), Active, 0, None),
        "unknown_origin",
    );
    cases.add(
        "another key of the origin",
        good.clone(),
        &trust_one(key(8, ORIGIN), Active, 0, None),
        "unknown_key",
    );
    cases.add("revoked", good.clone(), &one(Revoked, 0, None), "key_revoked");
    cases.add("revoked, out of range too", good.clone(), &one(Revoked, 12, None), "key_revoked");
    cases.add("retired before", good.clone(), &one(Retired, 0, Some(10)), "key_out_of_range");
    cases.add("retired at this size", good.clone(), &one(Retired, 0, Some(11)), "");
    cases.add("not yet in use", good.clone(), &one(Active, 12, None), "key_out_of_range");
    cases.add("in use from this size", good.clone(), &one(Active, 11, Some(11)), "");

    let body = log.body();
    let rotation = Trust::new(vec![
        TrustKey { status: Revoked, ..TrustKey::active(mine()) },
        TrustKey::active(key(8, ORIGIN)),
    ])
    .unwrap();
    let both = log.receipt_with(INDEX, &note(&body, &[(7, ORIGIN), (8, ORIGIN)]));
    cases.add("revoked and good key both signed", both.clone(), &rotation, "");
    cases.add("only the revoked key signed", good.clone(), &rotation, "key_revoked");
    let forged = note(&body.replace("11", "12"), &[(8, ORIGIN)]);
    let forged_line = forged.lines().last().unwrap();
    let two = Trust::new(vec![TrustKey::active(mine()), TrustKey::active(key(8, ORIGIN))]).unwrap();
    cases.add(
        "one good signature, one bad",
        format!("{good}{forged_line}\n"),
        &two,
        "signature_bad",
    );

    // A pinned key of another log or of a witness does not vouch for this one.
    let pair = Trust::new(vec![TrustKey::active(mine()), TrustKey::active(key(8, other))]).unwrap();
    let foreign = log.receipt_with(INDEX, &note(&body, &[(8, other)]));
    cases.add("signed by the key of another log", foreign, &pair, "unknown_key");
    let witnessed = log.receipt_with(INDEX, &note(&body, &[(8, other), (7, ORIGIN)]));
    cases.add("signed by the other log's key too", witnessed, &pair, "");
    cases.text("key named in the receipt alone", "unknown_key", |good| {
        let signed = note(&body, &[(9, ORIGIN)]);
        let mine = good.lines().last().unwrap();
        good.replace(mine, signed.lines().last().unwrap())
    });
}

fn signatures(cases: &mut Cases) {
    const CODE: &str = "signature_bad";
    let log = Log::good();
    let (body, mine) = (log.body(), key(7, ORIGIN));
    let good = signing(7).sign(body.as_bytes()).to_bytes();
    let mut with = |name, code, key: &VerifierKey, signature: &[u8]| {
        let note = format!("{body}\n{}", line(ORIGIN, key.id(), signature));
        let trust = trust_one(key.clone(), KeyStatus::Active, 0, None);
        cases.add(name, log.receipt_with(INDEX, &note), &trust, code);
    };
    with("signature as it should be", "", &mine, &good);
    let flip = |at: usize| {
        let mut altered = good;
        altered[at] ^= 1;
        altered
    };
    with("signature: bit of R", CODE, &mine, &flip(0));
    with("signature: bit of s", CODE, &mine, &flip(40));
    with("signature: 63 bytes", CODE, &mine, &good[..63]);
    with("signature: 65 bytes", CODE, &mine, &[&good[..], &[0]].concat());
    // The order of the base point, little-endian: s + L is s in another spelling.
    let mut order = [0_u8; 32];
    order[..16].copy_from_slice(&0x14de_f9de_a2f7_9cd6_5812_631a_5cf5_d3ed_u128.to_le_bytes());
    order[31] = 0x10;
    let mut malleable = good;
    let mut carry = 0_u16;
    for (slot, add) in malleable[32..].iter_mut().zip(order) {
        carry += u16::from(*slot) + u16::from(add);
        *slot = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    with("signature: s beyond the order", CODE, &mine, &malleable);
    // With the identity as key, R = sB verifies any text in a lenient verifier.
    let mut identity = [0_u8; 32];
    identity[0] = 1;
    let weak = VerifierKey::new::<PortableHasher>(ORIGIN, identity).unwrap();
    let base = {
        let mut bytes = [0x66_u8; 32];
        bytes[0] = 0x58;
        bytes
    };
    let mut one = [0_u8; 64];
    one[..32].copy_from_slice(&base);
    one[32] = 1;
    with("small-order key", CODE, &weak, &one);
    // The same key in its other encoding, y = p + 1.
    let mut second = [0xff_u8; 32];
    (second[0], second[31]) = (0xee, 0x7f);
    let weak = VerifierKey::new::<PortableHasher>(ORIGIN, second).unwrap();
    with("non-canonical key", CODE, &weak, &one);
    // A signer that takes the nonce 0: the equation holds, and the key can be computed from it.
    let mut zero_nonce = [0_u8; 64];
    zero_nonce[..32].copy_from_slice(&identity);
    let hash =
        Sha512::new().chain_update(identity).chain_update(mine.public_key()).chain_update(&body);
    let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    zero_nonce[32..].copy_from_slice((k * signing(7).to_scalar()).as_bytes());
    with("small-order nonce", CODE, &mine, &zero_nonce);
    let off_curve = VerifierKey::new::<PortableHasher>(ORIGIN, {
        let mut bytes = [0; 32];
        bytes[0] = 2;
        bytes
    });
    with("key that is no point", CODE, &off_curve.unwrap(), &good);
}

fn entries(cases: &mut Cases) {
    const CODE: &str = "entry_malformed";
    cases.entry("no json", CODE, "decision");
    cases.entry("nothing", CODE, "");
    cases.entry("no object", CODE, "[]");
    cases.entry("not utf-8", CODE, [entry(INDEX), vec![0xff]].concat());
    cases.entry("byte order mark", CODE, [vec![0xef, 0xbb, 0xbf], entry(INDEX)].concat());
    cases.entry("json goes on", CODE, [entry(INDEX), b"{}".to_vec()].concat());
    cases.edit(
        "duplicate key",
        CODE,
        r#""outcome":"PERMIT""#,
        r#""outcome":"DENY","outcome":"PERMIT""#,
    );
    cases.edit("fraction", CODE, r#""epoch":1"#, r#""epoch":1.5"#);
    cases.edit("not a number", CODE, r#""epoch":1"#, r#""epoch":NaN"#);
    cases.edit("infinity", CODE, r#""epoch":1"#, r#""epoch":1e999"#);
    cases.edit("integer beyond 2^53", CODE, "1795000000000", "9007199254740994");
    cases.edit("lone surrogate", CODE, "allow-small", "\\ud800");
    cases.edit("control character", CODE, "allow-small", "\u{1}");
    let nested = format!("[{}{}]", "[".repeat(61), "]".repeat(61));
    cases.edit("nested too deep", CODE, r#"["allow-small"]"#, &nested);
    let bottomless = "[".repeat(8000);
    cases.edit("nested without end", CODE, r#"["allow-small"]"#, &bottomless);
    let room = 16_385 - entry(INDEX).len();
    cases.edit("too large", CODE, "allow-small", &format!("allow-small{}", "x".repeat(room)));
    cases.edit("other statement", CODE, "Statement/v1", "Statement/v0.1");
    cases.edit("other predicate type", CODE, "placet:event:1", "placet:event:2");
    cases.edit("other version", CODE, r#""v":1"#, r#""v":2"#);
    cases.edit("version true", CODE, r#""v":1"#, r#""v":true"#);
    cases.edit("version as text", CODE, r#""v":1"#, r#""v":"1""#);
    cases.edit("no version", CODE, r#""v":1,"#, "");
    cases.edit("no workspace", CODE, r#","workspace":"acme""#, "");
    cases.edit("workspace is no text", CODE, r#""workspace":"acme""#, r#""workspace":7"#);
    cases.edit("further member", CODE, r#"{"_type""#, r#"{"_t":1,"_type""#);
    cases.edit(
        "subject is no list",
        CODE,
        r#""subject":["#,
        r#""subject":{"x":["#.trim_end_matches(r#"{"x":["#),
    );
    cases.entry("subject missing", CODE, {
        let good = String::from_utf8(entry(INDEX)).unwrap();
        let at = good.find(r#","subject""#).unwrap();
        format!("{}}}", &good[..at])
    });
    cases.entry("subject is text", CODE, {
        let good = String::from_utf8(entry(INDEX)).unwrap();
        let at = good.find(r#","subject""#).unwrap();
        format!(r#"{},"subject":"x"}}"#, &good[..at])
    });
    cases.entry("predicate is no object", CODE, {
        r#"{"_type":"https://in-toto.io/Statement/v1","predicate":[],"predicateType":"urn:placet:event:1","subject":[]}"#
    });
    let other = "workspace_mismatch";
    cases.edit("other workspace", other, r#""workspace":"acme""#, r#""workspace":"acme2""#);
    for (name, origin) in [
        ("origin of another product", "plakat/0123456789abcdef/acme"),
        ("origin of two segments", "placet/acme"),
        ("origin of four segments", "placet/0123456789abcdef/acme/acme"),
        ("origin without an instance", "placet//acme"),
    ] {
        let log = Log::good();
        let body = log.body().replace(ORIGIN, origin);
        let receipt = log.receipt_with(INDEX, &note(&body, &[(7, origin)]));
        cases.add(name, receipt, &trust_one(key(7, origin), KeyStatus::Active, 0, None), other);
    }
}

fn trust_files(cases: &mut Cases) {
    const CODE: &str = "trust_malformed";
    let good = Log::good().receipt(INDEX);
    let file = trust().write();
    cases.raw(
        "trust: spaces are legal",
        good.clone(),
        format!(" {}\n", file.replace(',', ",\n  ")),
        "",
    );
    let mut edit = |name, from: &str, to: &str| {
        assert!(file.contains(from), "{name}");
        cases.raw(name, good.clone(), file.replacen(from, to, 1), CODE);
    };
    edit("trust: no json", "{", "");
    edit("trust: duplicate key", r#""v":1"#, r#""v":1,"v":1"#);
    edit("trust: other version", r#""v":1"#, r#""v":2"#);
    edit("trust: version true", r#""v":1"#, r#""v":true"#);
    edit("trust: further member", r#""v":1"#, r#""v":1,"w":1"#);
    edit("trust: no list", r#""keys":["#, r#""keys":1,"x":["#);
    edit("trust: unknown status", "active", "trusted");
    edit("trust: no status", r#""status":"active","#, "");
    edit("trust: unknown member", r#""status""#, r#""note":"x","status""#);
    edit("trust: null bound", r#""from_size":0"#, r#""from_size":0,"to_size":null"#);
    edit("trust: negative bound", r#""from_size":0"#, r#""from_size":-1"#);
    edit("trust: bound is text", r#""from_size":0"#, r#""from_size":"0""#);
    edit("trust: empty range", r#""from_size":0"#, r#""from_size":12,"to_size":11"#);
    edit("trust: retired without an end", "active", "retired");
    edit("trust: key id of another key", "acme+", "acme+0");
    edit("trust: key of another name", "acme+", "acne+");
    edit("trust: key is no text", r#""vkey":""#, r#""vkey":1,"x":""#);
    edit("trust: key with an empty name", ORIGIN, "");
    let vkey = key(7, ORIGIN).to_string();
    let (head, encoded) = vkey.split_at(vkey.find("+A").unwrap() + 1);
    let bytes = STANDARD.decode(encoded).unwrap();
    edit("trust: key without padding or type", encoded, &STANDARD.encode(&bytes[1..]));
    edit("trust: base64 cut", encoded, &encoded[..encoded.len() - 1]);
    assert!(head.ends_with('+'));
    // An ECDSA or cosignature type with a matching id is still no plain Ed25519 key.
    let mut typed = bytes;
    typed[0] = 4;
    let id = {
        use placet_types::hash::Hasher as _;
        PortableHasher::sha256(&[ORIGIN.as_bytes(), b"\n", &typed])
    };
    let other = format!(
        "{ORIGIN}+{}+{}",
        placet_types::hash::hex_encode(&id[..4]),
        STANDARD.encode(&typed)
    );
    edit("trust: key of another type", &vkey, &other);
    let item = &file[file.find(r#"{"from"#).unwrap()..file.rfind(']').unwrap()];
    edit("trust: key twice", item, &format!("{item},{item}"));
}
