//! C2SP signed notes, their verifier keys, and checkpoints (`c2sp.org/signed-note`,
//! `c2sp.org/tlog-checkpoint`). Owns the text; refuses to know keys' secrets and which keys count.

use crate::merkle::Hash;
use crate::text::{
    AtomError, base64_decode, base64_encode, decimal, hash_decode, is_plain, push_base64,
};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use placet_types::hash::{Hasher, hex_decode, hex_encode};

/// The signature type of plain Ed25519 keys.
pub(crate) const ED25519: u8 = 0x01;
/// The signature line starts with an em dash and a space.
const DASH: &str = "\u{2014} ";
/// Signature lines that a note may have; the specification asks for 16 at least.
pub const SIGNATURES_MAX: usize = 64;

/// First four bytes of a key's hash: which of the keys of a name signed.
pub type KeyId = [u8; 4];

/// Why a key, note or checkpoint is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteError {
    /// A control character other than newline.
    ControlCharacter,
    /// The note does not end with a newline, or has no empty line before the signatures.
    Incomplete,
    /// No signature line, or more than [`SIGNATURES_MAX`].
    SignatureCount,
    /// A line among the signatures is none.
    SignatureLine,
    /// A key name is empty or has a space or plus in it.
    Name,
    /// The text is not `name+hexkeyid+base64`.
    VerifierKey,
    /// The key is not of the wanted type, or not 32 bytes long.
    KeyType,
    /// The key id is not the hash of name and key.
    KeyId,
    /// The body is not origin, size, root and non-empty further lines.
    Checkpoint,
    /// A base64 text or a number has another, canonical spelling.
    NotCanonical,
    /// A cosignature's time exceeds 2^63 - 1 seconds.
    Time,
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ControlCharacter => "the note has a control character",
            Self::Incomplete => "the note is incomplete",
            Self::SignatureCount => "the note has no or too many signatures",
            Self::SignatureLine => "a line among the signatures is none",
            Self::Name => "a key name is empty or has a space or plus in it",
            Self::VerifierKey => "the key is not of the form name+id+key",
            Self::KeyType => "the key is not an ed25519 key of the wanted type",
            Self::KeyId => "the key id does not belong to the key",
            Self::Checkpoint => "the checkpoint has not the lines origin, size and root",
            Self::NotCanonical => "a number or base64 text is not in canonical form",
            Self::Time => "the time of a cosignature is out of range",
        })
    }
}

impl core::error::Error for NoteError {}

/// A public Ed25519 key with the name under which it signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: KeyId,
    public: [u8; 32],
}

impl VerifierKey {
    /// The key `public` (32 bytes, RFC 8032) under `name`; for a log, the name is the origin.
    ///
    /// # Errors
    /// [`NoteError::Name`].
    pub fn new<H: Hasher>(name: &str, public: [u8; 32]) -> Result<Self, NoteError> {
        let id = key_id::<H>(name, ED25519, &public)?;
        Ok(Self { name: name.to_string(), id, public })
    }

    /// Parses `name+<8 hex digits>+base64(0x01 ‖ key)`; its [`Display`](fmt::Display) writes it.
    ///
    /// # Errors
    /// `Name`, `VerifierKey`, `KeyType`, `KeyId` or `NotCanonical`.
    pub fn parse<H: Hasher>(text: &str) -> Result<Self, NoteError> {
        let (name, id, public) = parse_key::<H>(text, ED25519)?;
        Ok(Self { name: name.to_string(), id, public })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The 32 bytes of the public key.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public
    }

    /// The line, newline included, with which a note carries `signature` by this key.
    #[must_use]
    pub fn signature_line(&self, signature: &[u8; 64]) -> String {
        signature_line(&self.name, self.id, signature)
    }

    /// The signed note over `text`, which must end with a newline. `sign` is Ed25519 over the
    /// bytes it gets.
    ///
    /// # Errors
    /// `ControlCharacter` or `Incomplete` if `text` cannot be the text of a note.
    pub fn sign_note(
        &self,
        text: &str,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<String, NoteError> {
        if !is_plain(text) {
            return Err(NoteError::ControlCharacter);
        }
        if !text.ends_with('\n') {
            return Err(NoteError::Incomplete);
        }
        let mut note = String::with_capacity(text.len().saturating_add(256));
        note.push_str(text);
        note.push('\n');
        note.push_str(&self.signature_line(&sign(text.as_bytes())));
        Ok(note)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_key(f, &self.name, self.id, ED25519, &self.public)
    }
}

/// `SHA-256(name ‖ 0x0a ‖ type ‖ key)`, its first four bytes.
pub(crate) fn key_id<H: Hasher>(
    name: &str,
    key_type: u8,
    public: &[u8; 32],
) -> Result<KeyId, NoteError> {
    check_name(name)?;
    let [a, b, c, d, ..] = H::sha256(&[name.as_bytes(), &[b'\n', key_type], public]);
    Ok([a, b, c, d])
}

/// `name+id+base64(type ‖ key)` taken apart, the key id checked.
pub(crate) fn parse_key<H: Hasher>(
    text: &str,
    key_type: u8,
) -> Result<(&str, KeyId, [u8; 32]), NoteError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(hex), Some(base64)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::VerifierKey);
    };
    let mut id = KeyId::default();
    hex_decode(hex, &mut id).ok_or(NoteError::VerifierKey)?;
    let bytes = base64_decode(base64).map_err(|_| NoteError::NotCanonical)?;
    let public = match bytes.split_first() {
        Some((first, key)) if *first == key_type => <[u8; 32]>::try_from(key).ok(),
        _ => None,
    };
    let public = public.ok_or(NoteError::KeyType)?;
    if key_id::<H>(name, key_type, &public)? != id {
        return Err(NoteError::KeyId);
    }
    Ok((name, id, public))
}

pub(crate) fn write_key(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    id: KeyId,
    key_type: u8,
    public: &[u8; 32],
) -> fmt::Result {
    let mut bytes = Vec::with_capacity(33);
    bytes.push(key_type);
    bytes.extend_from_slice(public);
    write!(f, "{name}+{}+{}", hex_encode(&id), base64_encode(&bytes))
}

/// A signature line, newline included.
pub(crate) fn signature_line(name: &str, id: KeyId, signature: &[u8]) -> String {
    let mut line = String::with_capacity(name.len().saturating_add(112));
    let mut bytes = Vec::with_capacity(signature.len().saturating_add(4));
    bytes.extend_from_slice(&id);
    bytes.extend_from_slice(signature);
    line.push_str(DASH);
    line.push_str(name);
    line.push(' ');
    push_base64(&mut line, &bytes);
    line.push('\n');
    line
}

fn check_name(name: &str) -> Result<(), NoteError> {
    let bad = |c: char| c == '+' || c < ' ' || c.is_whitespace();
    if name.is_empty() || name.contains(bad) {
        return Err(NoteError::Name);
    }
    Ok(())
}

/// One signature line: by whom it says it is, and the bytes after the key id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    name: String,
    key_id: KeyId,
    bytes: Vec<u8>,
}

impl Signature {
    /// Parses one signature line, given without its newline.
    ///
    /// # Errors
    /// `SignatureLine`, `Name` or `NotCanonical`.
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        let rest = line.strip_prefix(DASH).ok_or(NoteError::SignatureLine)?;
        let (name, base64) = rest.split_once(' ').ok_or(NoteError::SignatureLine)?;
        check_name(name)?;
        let bytes = base64_decode(base64).map_err(|_| NoteError::NotCanonical)?;
        match bytes.split_first_chunk::<4>() {
            Some((key_id, bytes)) if !bytes.is_empty() => {
                Ok(Self { name: name.to_string(), key_id: *key_id, bytes: bytes.to_vec() })
            }
            _ => Err(NoteError::SignatureLine),
        }
    }

    /// The name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The signature proper; 64 bytes for Ed25519, 72 for a cosignature.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The line that [`parse`](Self::parse) read, newline included.
    #[must_use]
    pub fn line(&self) -> String {
        signature_line(&self.name, self.key_id, &self.bytes)
    }
}

/// A signed note taken apart. Nothing in it is proven by parsing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// Parses the whole of `note`: text, empty line, signature lines, end.
    ///
    /// # Errors
    /// `ControlCharacter`, `Incomplete`, `SignatureCount`, `SignatureLine`, `Name`, `NotCanonical`.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if !is_plain(note) {
            return Err(NoteError::ControlCharacter);
        }
        // The last empty line parts text and signatures; the text keeps its own newline.
        let gap = note.rfind("\n\n").ok_or(NoteError::Incomplete)?;
        let (text, rest) =
            note.split_at_checked(gap.saturating_add(1)).ok_or(NoteError::Incomplete)?;
        let lines = rest
            .strip_prefix('\n')
            .and_then(|rest| rest.strip_suffix('\n'))
            .ok_or(NoteError::Incomplete)?;
        Ok(Self { text: text.to_string(), signatures: parse_signatures(lines)? })
    }

    /// The signed text, final newline included.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures in their order; at least one.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }
}

/// Signature lines, the last without its newline.
pub(crate) fn parse_signatures(lines: &str) -> Result<Vec<Signature>, NoteError> {
    let mut signatures = Vec::new();
    for line in lines.split('\n') {
        if signatures.len() >= SIGNATURES_MAX {
            return Err(NoteError::SignatureCount);
        }
        signatures.push(Signature::parse(line)?);
    }
    Ok(signatures)
}

/// The statement a log signs: at this size my root is this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log; for Placet `placet/<instance>/<workspace>`.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root hash at that size.
    pub root: Hash,
    /// Extension lines, opaque but signed; Placet writes none.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    #[must_use]
    pub fn new(origin: &str, size: u64, root: Hash) -> Self {
        Self { origin: origin.to_string(), size, root, extensions: Vec::new() }
    }

    /// The text to sign: origin, size, root, extension lines, each with its newline.
    #[must_use]
    pub fn body(&self) -> String {
        let mut body = String::with_capacity(self.origin.len().saturating_add(72));
        body.push_str(&self.origin);
        body.push('\n');
        body.push_str(&self.size.to_string());
        body.push('\n');
        push_base64(&mut body, &self.root);
        body.push('\n');
        for line in &self.extensions {
            body.push_str(line);
            body.push('\n');
        }
        body
    }

    /// Parses the text of a note as a checkpoint.
    ///
    /// # Errors
    /// `Checkpoint` or `NotCanonical`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let atom = |error| match error {
            AtomError::NotCanonical => NoteError::NotCanonical,
            AtomError::Malformed => NoteError::Checkpoint,
        };
        let body = text.strip_suffix('\n').ok_or(NoteError::Checkpoint)?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(NoteError::Checkpoint);
        };
        let extensions: Vec<String> = lines.map(ToString::to_string).collect();
        if origin.is_empty() || extensions.iter().any(String::is_empty) {
            return Err(NoteError::Checkpoint);
        }
        Ok(Self {
            origin: origin.to_string(),
            size: decimal(size).map_err(atom)?,
            root: hash_decode(root).map_err(atom)?,
            extensions,
        })
    }

    /// The signed note of this checkpoint under `key`, whose name should be the origin. `sign` is
    /// Ed25519 over the bytes it gets.
    ///
    /// # Errors
    /// `ControlCharacter` if origin or an extension line has one.
    pub fn sign(
        &self,
        key: &VerifierKey,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Result<String, NoteError> {
        key.sign_note(&self.body(), sign)
    }
}
