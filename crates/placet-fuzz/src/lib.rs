//! What must hold of every parser whatever bytes it is given: it refuses, or it reads what the bytes
//! say and nothing else, and what it read is written back as it was. One function for each format, in
//! the form that a coverage-guided fuzzer takes, too. Owns these properties and how good inputs are
//! spoilt; no part of the product.
//!
//! Each answers `Ok(true)` for bytes that were accepted, `Ok(false)` for refused ones, and `Err` with
//! what does not hold.

mod format;
mod mutate;

pub use format::Format;
pub use mutate::{Change, WORDS, apply};

use placet_engine::{Bounds, IdempotencyKeys, State};
use placet_policy::{Bundle, Scratch, Source};
use placet_runtime::frame::{frames, push};
use placet_tlog::verify::{PortableHasher, verify_checkpoint, verify_receipt};
use placet_tlog::{Checkpoint, Note, Receipt, Trust};
use placet_types::event::Entry;
use placet_types::ids::{ActorId, TimeMs, WorkspaceName};
use placet_types::json::{self, Limits, Writer};
use placet_types::{Caller, Request};
use std::collections::BTreeSet;

type H = PortableHasher;

/// Whether the bytes were accepted, or what does not hold of them.
pub type Held = Result<bool, String>;

fn same<T: PartialEq + std::fmt::Debug>(what: &str, one: &T, other: &T) -> Result<(), String> {
    if one == other { Ok(()) } else { Err(format!("{what}: {one:?} and {other:?}")) }
}

/// The caller that requests are read for.
///
/// # Errors
/// Never, as long as the names are names.
pub fn caller() -> Result<Caller, String> {
    Ok(Caller {
        workspace: WorkspaceName::parse("main").ok_or("workspace")?,
        environment: "production".to_owned(),
        actor: ActorId::parse("agent:bot").ok_or("actor")?,
        roles: BTreeSet::from(["operator".to_owned()]),
        chain: Vec::new(),
    })
}

/// Strict JSON: whatever is accepted, a lenient reader reads alike, and the canonical bytes are
/// those of RFC 8785 by another implementation.
///
/// # Errors
/// What does not hold.
pub fn strict_json(bytes: &[u8], limits: Limits) -> Held {
    let Ok(value) = json::parse(bytes, limits) else { return Ok(false) };
    let lenient: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| format!("accepted, but serde_json refuses it: {error}"))?;
    let canonical = value.to_canonical();
    let other = serde_json_canonicalizer::to_vec(&lenient).map_err(|error| error.to_string())?;
    same("canonical bytes", &lossy(&canonical), &lossy(&other))?;
    let again = json::parse(&canonical, Limits { bytes_max: usize::MAX, ..limits });
    same("read back", &again.map_err(|error| error.to_string())?, &value)?;
    Ok(true)
}

/// An execution request: its members are those of the text, and its digests survive being written
/// and read back.
///
/// # Errors
/// What does not hold.
pub fn request(bytes: &[u8]) -> Held {
    if !strict_json(bytes, Limits::REQUEST)? {
        return Ok(false);
    }
    let caller = caller()?;
    let value = json::parse(bytes, Limits::REQUEST).map_err(|error| error.to_string())?;
    let Ok(request) = Request::read(value, &caller) else { return Ok(false) };
    let text: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let member = |name: &str| text.get(name).and_then(serde_json::Value::as_str);
    same("surface", &Some(&*request.surface), &member("surface"))?;
    same("action", &Some(&*request.action), &member("action"))?;
    same("target", &request.target.as_deref(), &member("target"))?;
    same("nonce", &request.attempt_nonce.as_deref(), &member("attempt_nonce"))?;
    let arguments = request.arguments.as_ref().map(json::Value::to_canonical);
    let wanted = text.get("arguments").map(serde_json_canonicalizer::to_vec).transpose();
    same("arguments", &arguments, &wanted.map_err(|error| error.to_string())?)?;
    let mut written = Vec::new();
    Writer::object(&mut written, |w| request.write_members(w));
    let kept = json::parse(&written, Limits::PAYLOAD).map_err(|error| error.to_string())?;
    let again = Request::read(kept, &caller).map_err(|error| format!("{error:?}"))?;
    let digests = |request: &Request| request.digests::<H>(&caller);
    same("digests", &format!("{:?}", digests(&request)), &format!("{:?}", digests(&again)))?;
    Ok(true)
}

/// A policy document: diagnostics that name a place, or a bundle whose normal form compiles to the
/// same bundle, under which a request gets the same verdict.
///
/// # Errors
/// What does not hold.
pub fn bundle(bytes: &[u8]) -> Held {
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(false) };
    let source = Source { name: "fuzz.yaml".to_owned(), text: text.to_owned() };
    let bundle = match Bundle::compile::<H>(&[source]) {
        Ok(bundle) => bundle,
        Err(found) if found.is_empty() => return Err("refused without a diagnostic".to_owned()),
        Err(_) => return Ok(false),
    };
    let again = Bundle::from_normalised::<H>(bundle.normalised())
        .map_err(|found| format!("the normal form is refused: {found:?}"))?;
    same("digest", &bundle.digest(), &again.digest())?;
    let caller = caller()?;
    let body = br#"{"surface":"payments.refund","action":"create","idempotency_key":"k","arguments":{"amount":12.5}}"#;
    let value = json::parse(body, Limits::REQUEST).map_err(|error| error.to_string())?;
    let request = Request::read(value, &caller).map_err(|error| format!("{error:?}"))?;
    let verdict = |bundle: &Bundle| {
        format!("{:?}", bundle.evaluate(&request, &caller, &mut Scratch::default()))
    };
    same("verdict", &verdict(&bundle), &verdict(&again))?;
    Ok(true)
}

/// The normal form of a bundle: exactly one spelling.
///
/// # Errors
/// What does not hold.
pub fn normal_bundle(bytes: &[u8]) -> Held {
    match Bundle::from_normalised::<H>(bytes) {
        Ok(bundle) => same("spelling", &lossy(bundle.normalised()), &lossy(bytes)).map(|()| true),
        Err(found) if found.is_empty() => Err("refused without a diagnostic".to_owned()),
        Err(_) => Ok(false),
    }
}

/// A log entry: exactly one spelling, which is canonical by another implementation, too.
///
/// # Errors
/// What does not hold.
pub fn entry(bytes: &[u8]) -> Held {
    let Ok(entry) = Entry::parse(bytes) else { return Ok(false) };
    same("spelling", &lossy(&entry.to_bytes()), &lossy(bytes))?;
    strict_json(bytes, Limits::ENTRY)?;
    // A state that it is applied to takes it or refuses it.
    let _ = State::new(Bounds::default()).apply(&entry);
    Ok(true)
}

/// A receipt: exactly one spelling; and if it verifies, it proves what a genuine one proves.
///
/// # Errors
/// What does not hold.
pub fn receipt(bytes: &[u8], genuine: &[Vec<u8>], trust: &Trust) -> Held {
    let Ok(receipt) = Receipt::parse(bytes) else { return Ok(false) };
    same("spelling", &lossy(receipt.write().as_bytes()), &lossy(bytes))?;
    let Ok(proven) = verify_receipt(bytes, trust) else { return Ok(false) };
    let statement = |bytes: &[u8]| {
        let it = verify_receipt(bytes, trust).ok()?;
        Some((it.entry, it.index, it.size, it.root, it.origin))
    };
    let claimed = (proven.entry, proven.index, proven.size, proven.root, proven.origin);
    if genuine.iter().any(|genuine| statement(genuine).as_ref() == Some(&claimed)) {
        Ok(true)
    } else {
        Err(format!("verified, but it was never signed: {claimed:?}"))
    }
}

/// A checkpoint note: its text has one spelling; if it verifies, size and root are those signed.
///
/// # Errors
/// What does not hold.
pub fn checkpoint(bytes: &[u8], genuine: &[u8], trust: &Trust) -> Held {
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(false) };
    if let Ok(note) = Note::parse(text) {
        let lines: String = note.signatures().iter().map(|line| line.line()).collect();
        same("note", &format!("{}\n{lines}", note.text()).as_str(), &text)?;
        if let Ok(read) = Checkpoint::parse(note.text()) {
            same("checkpoint", &read.body().as_str(), &note.text())?;
        }
    }
    let Ok((read, _)) = verify_checkpoint(text, trust) else { return Ok(false) };
    let signed = std::str::from_utf8(genuine).map_err(|error| error.to_string())?;
    let signed = verify_checkpoint(signed, trust).map_err(|error| format!("{error:?}"))?;
    same("signed", &read, &signed.0)?;
    Ok(true)
}

/// A trust file: written and read back it pins the same keys, and no member was passed over.
///
/// # Errors
/// What does not hold.
pub fn trust(bytes: &[u8]) -> Held {
    let Ok(trust) = Trust::parse::<H>(bytes) else { return Ok(false) };
    let written = trust.write();
    let again = Trust::parse::<H>(written.as_bytes()).map_err(|error| error.to_string())?;
    same("read back", &again, &trust)?;
    let members = |bytes: &[u8]| -> Result<Vec<u8>, String> {
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        serde_json_canonicalizer::to_vec(&value).map_err(|error| error.to_string())
    };
    same("members", &lossy(&members(bytes)?), &lossy(&members(written.as_bytes())?))?;
    Ok(true)
}

/// The frames of a batch: every byte belongs to one, or they are refused.
///
/// # Errors
/// What does not hold.
pub fn frame(bytes: &[u8]) -> Held {
    let mut written = Vec::new();
    let mut ended = false;
    for frame in frames(bytes) {
        if ended {
            return Err("something follows an error".to_owned());
        }
        match frame {
            Ok(frame) => push(&mut written, frame),
            Err(_) => ended = true,
        }
    }
    if ended {
        return Ok(false);
    }
    same("frames", &written.as_slice(), &bytes)?;
    Ok(true)
}

/// The state in a snapshot: written again it is the same. What it says is not looked at: a head is
/// believed only with its digest, this instance's signature and the index of a batch in the log.
///
/// # Errors
/// What does not hold.
pub fn snapshot(bytes: &[u8]) -> Held {
    let Some(size) = bytes.get(8..16).and_then(|size| size.try_into().ok()).map(u64::from_le_bytes)
    else {
        return Ok(false);
    };
    let Some(state) = State::read_snapshot(bytes, Bounds::default(), size) else {
        return Ok(false);
    };
    let mut written = Vec::new();
    state.write_snapshot(&mut written);
    same("snapshot", &written.as_slice(), &bytes)?;
    // An index beyond the log would ask the next event for a bit of memory per entry before it.
    if state.next_index() != size || state.approvals(None).any(|held| held.index >= size) {
        return Err(format!("a state of {size} entries points beyond them"));
    }
    Ok(true)
}

/// A run of idempotency keys: those that still say something are written again, in any order.
///
/// # Errors
/// What does not hold.
pub fn keys(bytes: &[u8]) -> Held {
    let now = TimeMs(0);
    let mut keys = IdempotencyKeys::default();
    if keys.read_run(bytes, 0, u64::MAX, now).is_none() {
        return Ok(false);
    }
    let mut written = Vec::new();
    keys.write_run(now, &mut written);
    if written.len() > bytes.len() {
        return Err(format!("{} bytes were read, {} written", bytes.len(), written.len()));
    }
    let mut again = IdempotencyKeys::default();
    if again.read_run(&written, 0, u64::MAX, now).is_none() {
        return Err("what was written is refused".to_owned());
    }
    same("count", &keys.len(), &again.len())?;
    Ok(true)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
