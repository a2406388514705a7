//! RFC 8785 bytes, from a value tree or written directly. Owns escaping and key order; the direct
//! writer trusts its caller's order and checks it in debug builds.

use super::{Number, Object, Value, compare_keys};
use crate::hash::hex_byte;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;

pub(super) fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(*number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_value(item, out);
            }
            out.push(b']');
        }
        Value::Object(object) => write_object(object, out),
    }
}

pub(super) fn write_object(object: &Object, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (key, value)) in object.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_string(key, out);
        out.push(b':');
        write_value(value, out);
    }
    out.push(b'}');
}

fn write_number(number: Number, out: &mut Vec<u8>) {
    match number {
        Number::Int(value) => write_int(value, out),
        Number::Double(_) => out.extend_from_slice(number.to_text().as_bytes()),
    }
}

fn write_int(value: i64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at = at.saturating_sub(1);
        if let (Some(slot), Ok(digit)) = (digits.get_mut(at), u8::try_from(rest % 10)) {
            *slot = b'0'.saturating_add(digit);
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// RFC 8785 §3.2.2.2: the two-character escapes, other controls as `\u00xx`, all else verbatim.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    // Nearly every string needs no escape; without an early exit this loop is vectorised.
    let special = bytes.iter().fold(false, |found, byte| found | needs_escape(*byte));
    if !special {
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    let mut plain = 0_usize;
    for (at, byte) in bytes.iter().enumerate() {
        if !needs_escape(*byte) {
            continue;
        }
        out.extend_from_slice(bytes.get(plain..at).unwrap_or_default());
        plain = at.saturating_add(1);
        match *byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x0d => out.extend_from_slice(b"\\r"),
            control => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[hex_byte(control >> 4), hex_byte(control & 15)]);
            }
        }
    }
    out.extend_from_slice(bytes.get(plain..).unwrap_or_default());
    out.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Writes one canonical object member by member, without building a tree.
///
/// INVARIANT: members come in canonical key order; asserted in debug builds, and again by the
/// round trip of every event in the tests.
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    last: Option<String>,
    empty: bool,
}

impl<'a> Writer<'a> {
    /// Writes one object; `members` adds its members in canonical order.
    pub fn object(out: &'a mut Vec<u8>, members: impl FnOnce(&mut Writer<'_>)) {
        out.push(b'{');
        let mut writer = Writer { out, last: None, empty: true };
        members(&mut writer);
        writer.out.push(b'}');
    }

    fn key(&mut self, key: &str) {
        if cfg!(debug_assertions) {
            let ordered =
                self.last.as_deref().is_none_or(|last| compare_keys(last, key) == Ordering::Less);
            debug_assert!(ordered, "{key} after {:?}", self.last);
            self.last = Some(String::from(key));
        }
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        write_string(key, self.out);
        self.out.push(b':');
    }

    /// A string member.
    pub fn str(&mut self, key: &str, text: &str) {
        self.key(key);
        write_string(text, self.out);
    }

    /// A string member, omitted when absent.
    pub fn str_opt(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.str(key, text);
        }
    }

    /// A digest member in its text form.
    pub fn digest(&mut self, key: &str, digest: &crate::Digest) {
        self.key(key);
        self.out.extend_from_slice(b"\"sha256:");
        self.hex(&digest.0);
        self.out.push(b'"');
    }

    /// A digest member, omitted when absent.
    pub fn digest_opt(&mut self, key: &str, digest: Option<&crate::Digest>) {
        if let Some(digest) = digest {
            self.digest(key, digest);
        }
    }

    /// Bytes as a lower-case hex string member.
    pub fn hex_member(&mut self, key: &str, bytes: &[u8]) {
        self.key(key);
        self.out.push(b'"');
        self.hex(bytes);
        self.out.push(b'"');
    }

    fn hex(&mut self, bytes: &[u8]) {
        // 32 bytes at a time: a digest in one piece.
        for chunk in bytes.chunks(32) {
            let mut text = [0; 64];
            for (pair, byte) in text.chunks_exact_mut(2).zip(chunk) {
                pair.copy_from_slice(&[hex_byte(byte >> 4), hex_byte(byte & 15)]);
            }
            let length = chunk.len().saturating_mul(2);
            self.out.extend_from_slice(text.get(..length).unwrap_or_default());
        }
    }

    /// An integer member.
    ///
    /// INVARIANT: |value| <= 2^53; callers' values are indices, counts and milliseconds.
    pub fn int(&mut self, key: &str, value: i64) {
        debug_assert!(value.unsigned_abs() <= 1 << 53, "{key}");
        self.key(key);
        write_int(value, self.out);
    }

    /// A non-negative integer member.
    pub fn uint(&mut self, key: &str, value: u64) {
        self.int(key, i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// A non-negative integer member, omitted when absent.
    pub fn uint_opt(&mut self, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.uint(key, value);
        }
    }

    /// A Boolean member.
    pub fn bool(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// `true`, or omitted: for flags whose absence means no.
    pub fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.bool(key, true);
        }
    }

    /// Any value as a member.
    pub fn value(&mut self, key: &str, value: &Value) {
        self.key(key);
        write_value(value, self.out);
    }

    /// An array of values as a member.
    pub fn values(&mut self, key: &str, values: &[Value]) {
        self.key(key);
        self.out.push(b'[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            write_value(value, self.out);
        }
        self.out.push(b']');
    }

    /// Canonical bytes of a value as a member; the caller vouches for them.
    pub fn canonical(&mut self, key: &str, bytes: &[u8]) {
        self.key(key);
        self.out.extend_from_slice(bytes);
    }

    /// An object as a member.
    pub fn object_value(&mut self, key: &str, object: &Object) {
        self.key(key);
        write_object(object, self.out);
    }

    /// A nested object.
    pub fn nested(&mut self, key: &str, members: impl FnOnce(&mut Writer<'_>)) {
        self.key(key);
        Writer::object(self.out, members);
    }

    /// An array of strings.
    pub fn strings<T: AsRef<str>>(&mut self, key: &str, items: impl IntoIterator<Item = T>) {
        self.key(key);
        self.out.push(b'[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            write_string(item.as_ref(), self.out);
        }
        self.out.push(b']');
    }

    /// An array of non-negative integers.
    pub fn uints(&mut self, key: &str, items: &[u64]) {
        self.key(key);
        self.out.push(b'[');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(item.to_string().as_bytes());
        }
        self.out.push(b']');
    }

    /// An array of objects.
    pub fn objects<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Writer<'_>, T),
    ) {
        self.key(key);
        self.out.push(b'[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            Writer::object(self.out, |writer| write(writer, item));
        }
        self.out.push(b']');
    }
}
