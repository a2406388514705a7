//! The strict parser. Owns what is refused and where; keeps no state between calls.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "offsets never exceed the length of the input, which is bounded before parsing"
)]

use super::{Limits, Number, Object, Value};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Why and where a text was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    kind: ParseErrorKind,
    offset: usize,
    path: String,
}

impl ParseError {
    /// What was wrong.
    #[must_use]
    pub fn kind(&self) -> &ParseErrorKind {
        &self.kind
    }

    /// Byte offset in the input.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// JSON pointer (RFC 6901) of the value being read; empty for the whole document.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// The closed list of refusals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseErrorKind {
    /// Longer than `Limits::bytes_max`.
    TooLarge,
    /// Nested deeper than `Limits::depth_max`.
    TooDeep,
    /// More values than `Limits::values_max`.
    TooMany(usize),
    /// Not UTF-8.
    NotUtf8,
    /// Not what the grammar expects here.
    Syntax(&'static str),
    /// A key that occurs twice in one object.
    DuplicateKey(String),
    /// A surrogate without its partner.
    LoneSurrogate,
    /// A number that a double would not give back.
    Number,
    /// A number that is no integer, where only integers are legal.
    NotInteger,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ParseErrorKind::TooLarge => f.write_str("the document is larger than allowed")?,
            ParseErrorKind::TooDeep => f.write_str("nested deeper than 64 levels")?,
            ParseErrorKind::TooMany(most) => write!(f, "more than {most} values")?,
            ParseErrorKind::NotUtf8 => f.write_str("not valid utf-8")?,
            ParseErrorKind::Syntax(expected) => write!(f, "expected {expected}")?,
            ParseErrorKind::DuplicateKey(key) => write!(f, "duplicate key {key:?}")?,
            ParseErrorKind::LoneSurrogate => f.write_str("lone surrogate in a string")?,
            ParseErrorKind::Number => {
                f.write_str("number that does not survive a double; send it as a string")?;
            }
            ParseErrorKind::NotInteger => f.write_str("only integers are legal here")?,
        }
        write!(f, " at byte {}", self.offset)?;
        if !self.path.is_empty() {
            write!(f, " ({})", self.path)?;
        }
        Ok(())
    }
}

impl core::error::Error for ParseError {}

pub(super) fn parse(bytes: &[u8], limits: Limits) -> Result<Value, ParseError> {
    let fail = |kind, offset| ParseError { kind, offset, path: String::new() };
    if bytes.len() > limits.bytes_max {
        return Err(fail(ParseErrorKind::TooLarge, limits.bytes_max));
    }
    let text = core::str::from_utf8(bytes)
        .map_err(|error| fail(ParseErrorKind::NotUtf8, error.valid_up_to()))?;
    let mut parser = Parser { text, bytes, at: 0, depth: 0, values: 0, limits };
    parser.space();
    let value = parser.value()?;
    parser.space();
    if parser.at != bytes.len() {
        return Err(parser.error(ParseErrorKind::Syntax("the end of the document")));
    }
    Ok(value)
}

/// Whether a byte inside a string does not stand for itself.
fn ends(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    values: usize,
    limits: Limits,
}

impl Parser<'_> {
    fn error(&self, kind: ParseErrorKind) -> ParseError {
        ParseError { kind, offset: self.at, path: String::new() }
    }

    fn syntax<T>(&self, expected: &'static str) -> Result<T, ParseError> {
        Err(self.error(ParseErrorKind::Syntax(expected)))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8, expected: &'static str) -> Result<(), ParseError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        self.syntax(expected)
    }

    fn value(&mut self) -> Result<Value, ParseError> {
        self.values += 1;
        if self.values > self.limits.values_max {
            return Err(self.error(ParseErrorKind::TooMany(self.limits.values_max)));
        }
        match self.peek() {
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => self.syntax("a value"),
        }
    }

    fn word(&mut self, word: &'static str, value: Value) -> Result<Value, ParseError> {
        if self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            self.at += word.len();
            return Ok(value);
        }
        self.syntax("a value")
    }

    fn nested(
        &mut self,
        read: fn(&mut Self) -> Result<Value, ParseError>,
    ) -> Result<Value, ParseError> {
        if self.depth == self.limits.depth_max {
            return Err(self.error(ParseErrorKind::TooDeep));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array(&mut self) -> Result<Value, ParseError> {
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            self.space();
            match self.value() {
                Ok(item) => items.push(item),
                Err(error) => return Err(within(error, &alloc::format!("{}", items.len()))),
            }
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                _ => return self.syntax("',' or ']'"),
            }
        }
    }

    fn object(&mut self) -> Result<Value, ParseError> {
        let start = self.at;
        let mut members = Vec::with_capacity(8);
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(Object::new()));
        }
        loop {
            self.space();
            members.push(self.member()?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    break;
                }
                _ => return self.syntax("',' or '}'"),
            }
        }
        Object::from_members(members).map(Value::Object).map_err(|key| ParseError {
            offset: self.second(&key, start),
            kind: ParseErrorKind::DuplicateKey(key),
            path: String::new(),
        })
    }

    #[inline]
    fn member(&mut self) -> Result<(String, Value), ParseError> {
        if self.peek() != Some(b'"') {
            return self.syntax("a key in double quotes");
        }
        let key = self.string()?;
        self.space();
        self.eat(b':', "':'")?;
        self.space();
        match self.value() {
            Ok(value) => Ok((key, value)),
            Err(error) => Err(within(error, &key)),
        }
    }

    /// Where `key` stands for the second time in the object that starts at `start`: only who has to say so
    /// reads it twice.
    fn second(&mut self, key: &str, start: usize) -> usize {
        self.at = start;
        let mut seen = false;
        loop {
            self.space();
            let offset = self.at;
            match self.member() {
                Ok((found, _)) if found == key && seen => return offset,
                Ok((found, _)) => seen |= found == key,
                Err(_) => return start,
            }
            self.space();
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<String, ParseError> {
        self.at += 1;
        let mut out = String::new();
        let mut plain = self.at;
        loop {
            self.plain();
            match self.peek() {
                Some(b'"') => {
                    self.flush(&mut out, plain);
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.flush(&mut out, plain);
                    self.at += 1;
                    let character = self.escape()?;
                    out.push(character);
                    plain = self.at;
                }
                Some(0..=0x1f) => return self.syntax("no control character inside a string"),
                Some(_) => self.at += 1,
                None => return self.syntax("'\"' at the end of the string"),
            }
        }
    }

    /// Passes over what stands for itself in a string, eight bytes at a time.
    fn plain(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (words, _) = rest.as_chunks::<8>();
        let special = |word: &[u8; 8]| word.iter().fold(false, |found, byte| found | ends(*byte));
        self.at += words.iter().take_while(|word| !special(word)).count() * 8;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += rest.iter().take_while(|byte| !ends(**byte)).count();
    }

    fn flush(&self, out: &mut String, from: usize) {
        if let Some(plain) = self.text.get(from..self.at) {
            out.push_str(plain);
        }
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let Some(code) = self.peek() else { return self.syntax("an escape") };
        self.at += 1;
        Ok(match code {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return self.syntax("one of the escapes of RFC 8259"),
        })
    }

    fn unicode(&mut self) -> Result<char, ParseError> {
        let high = self.hex4()?;
        let code = match high {
            0xd800..=0xdbff => {
                if self.peek() != Some(b'\\') {
                    return Err(self.error(ParseErrorKind::LoneSurrogate));
                }
                self.at += 1;
                if self.peek() != Some(b'u') {
                    return Err(self.error(ParseErrorKind::LoneSurrogate));
                }
                self.at += 1;
                let low = self.hex4()?;
                if !(0xdc00..=0xdfff).contains(&low) {
                    return Err(self.error(ParseErrorKind::LoneSurrogate));
                }
                0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
            }
            _ => high,
        };
        char::from_u32(code).ok_or_else(|| self.error(ParseErrorKind::LoneSurrogate))
    }

    fn hex4(&mut self) -> Result<u32, ParseError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else { return self.syntax("four hex digits") };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn number(&mut self) -> Result<Value, ParseError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.syntax("a digit"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !matches!(self.peek(), Some(b'0'..=b'9')) {
                return self.syntax("a digit");
            }
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !matches!(self.peek(), Some(b'0'..=b'9')) {
                return self.syntax("a digit");
            }
            self.digits();
        }
        let literal = self.text.get(start..self.at).unwrap_or("");
        let fail = |kind| ParseError { kind, offset: start, path: String::new() };
        let number = Number::from_literal(literal).ok_or_else(|| fail(ParseErrorKind::Number))?;
        if !self.limits.doubles && number.as_i64().is_none() {
            return Err(fail(ParseErrorKind::NotInteger));
        }
        Ok(Value::Number(number))
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }
}

/// Prefixes the path with one segment, escaped as RFC 6901 asks; long keys are cut for the message.
fn within(mut error: ParseError, segment: &str) -> ParseError {
    let mut path = String::from("/");
    for character in segment.chars().take(64) {
        match character {
            '~' => path.push_str("~0"),
            '/' => path.push_str("~1"),
            other => path.push(other),
        }
    }
    path.push_str(&error.path);
    error.path = path;
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[track_caller]
    fn refused(text: &[u8], message: &str) {
        let error = parse(text, Limits::REQUEST).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        refused(br#"{"a":1,"a":2}"#, "duplicate key \"a\" at byte 7");
        refused(br#"{"x":{"b":1,"\u0062":2}}"#, "duplicate key \"b\" at byte 12 (/x)");
        refused(
            br#"{"a":[1,9007199254740993]}"#,
            "survive a double; send it as a string at byte 8 (/a/1)",
        );
        refused(br#"{"a":NaN}"#, "expected a value at byte 5 (/a)");
        refused(br#"{"a":01}"#, "expected ',' or '}'");
        refused(br#"{"a":1,}"#, "a key in double quotes");
        refused(br#"{"a":1} x"#, "the end of the document");
        refused(br#""\ud800""#, "lone surrogate");
        refused(br#""\ud800\u0041""#, "lone surrogate");
        refused(b"\"\xff\"", "not valid utf-8 at byte 1");
        refused(b"\"a\nb\"", "no control character");
        refused(b"", "expected a value at byte 0");
        refused(b"\xef\xbb\xbf{}", "expected a value at byte 0");
        refused("[".repeat(65).as_bytes(), "nested deeper");
        let deep = "[".repeat(64) + &"]".repeat(64);
        assert!(parse(deep.as_bytes(), Limits::REQUEST).is_ok());
        assert!(parse(b"1.5", Limits::ENTRY).is_err());
    }

    #[test]
    fn values_read_back_as_written() {
        let text = r#"{"a":[1,-2.5,true,null,"é😀\n"],"b":{"":0}}"#;
        assert_eq!(parse(text.as_bytes(), Limits::REQUEST).unwrap().to_text(), text);
    }
}
