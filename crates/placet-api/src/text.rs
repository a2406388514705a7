//! Domain values as JSON text without intermediate strings: digests, ids, instants, JSON trees.
//! Refuses to know in which documents they stand.

use placet_types::Digest;
use placet_types::ids::{Id, IdKind, TimeMs};
use placet_types::json::{Number, Object, Value};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// `sha256:` and 64 hex digits.
#[derive(Clone, Copy, Debug)]
pub struct Sha(pub Digest);

/// Prefix and 32 hex digits.
pub struct IdText<K>(pub Id<K>);

/// RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Instant(pub TimeMs);

/// Any JSON value.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a>(pub &'a Value);

/// A JSON object.
#[derive(Clone, Copy, Debug)]
pub struct JsonObject<'a>(pub &'a Object);

impl<K> Clone for IdText<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for IdText<K> {}

impl<K: IdKind> std::fmt::Debug for IdText<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Writes prefix and hex of `bytes` into `out`; the text, or nothing if it does not fit.
fn hex<'a>(prefix: &str, bytes: &[u8], out: &'a mut [u8]) -> &'a str {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value & 15)).copied().unwrap_or(b'0');
    let text = prefix.bytes().chain(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]));
    let mut len = 0;
    for (slot, byte) in out.iter_mut().zip(text) {
        *slot = byte;
        len += 1;
    }
    out.get(..len).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
}

impl Serialize for Sha {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(hex("sha256:", &self.0.0, &mut [0; 71]))
    }
}

impl<K: IdKind> Serialize for IdText<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(hex(K::PREFIX, self.0.bytes(), &mut [0; 40]))
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.rfc3339())
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(Number::Int(value)) => serializer.serialize_i64(*value),
            Value::Number(number) => serializer.serialize_f64(number.as_f64()),
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(&Json(item))?;
                }
                seq.end()
            }
            Value::Object(object) => JsonObject(object).serialize(serializer),
        }
    }
}

impl Serialize for JsonObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0.iter() {
            map.serialize_entry(key, &Json(value))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use placet_types::ids::DecisionId;
    use placet_types::json::{Limits, parse};

    #[test]
    fn values_read_as_the_domain_writes_them() {
        let digest = Digest([0xa5; 32]);
        assert_eq!(serde_json::to_string(&Sha(digest)).unwrap(), format!("\"{digest}\""));
        let id = DecisionId::from_bytes([7; 16]);
        assert_eq!(serde_json::to_string(&IdText(id)).unwrap(), format!("\"{id}\""));
        let text = r#"{"a":[1,-2.5,true,null,"x\n"],"b":{"c":{}}}"#;
        let value = parse(text.as_bytes(), Limits::REQUEST).unwrap();
        assert_eq!(serde_json::to_string(&Json(&value)).unwrap(), text);
    }
}
