//! Numbers that survive a double, with their ES6 text and an exact order between integers and
//! doubles. Owns the only floating-point code of the core crates.
#![expect(
    clippy::float_arithmetic,
    clippy::arithmetic_side_effects,
    reason = "the one place where doubles are taken apart; every operation is bounded by the format"
)]

use alloc::format;
use alloc::string::{String, ToString};
use core::cmp::Ordering;

/// 2^53: integers up to this magnitude are exact in every JSON reader.
const EXACT: i64 = 1 << 53;

/// A finite number.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// An integral value within ±2^53.
    Int(i64),
    /// Any other finite double.
    Double(f64),
}

impl Number {
    /// The nearest number to `value`; exact within ±2^53.
    #[must_use]
    pub fn from_i64(value: i64) -> Self {
        if (-EXACT..=EXACT).contains(&value) {
            return Self::Int(value);
        }
        #[expect(clippy::cast_precision_loss, reason = "documented: the nearest double")]
        Self::Double(value as f64)
    }

    /// From a finite double; integral values within ±2^53 become integers, -0 becomes 0.
    #[must_use]
    pub fn from_f64(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "2^53 is exact")]
        let bound = EXACT as f64;
        if value >= -bound && value <= bound {
            #[expect(clippy::cast_possible_truncation, reason = "bounded by the line above")]
            let int = value as i64;
            #[expect(clippy::cast_precision_loss, clippy::float_cmp, reason = "both exact")]
            if int as f64 == value {
                return Some(Self::Int(int));
            }
        }
        Some(Self::Double(value))
    }

    /// Parses a JSON number literal (already checked against the grammar). `None` when its decimal
    /// value is not what a double reader would write back.
    pub(crate) fn from_literal(text: &str) -> Option<Self> {
        if text.len() <= 15 && !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            return text.parse().ok().map(Self::Int);
        }
        let double: f64 = text.parse().ok()?;
        let number = Self::from_f64(double)?;
        let written = decimal(text);
        if written == decimal(&number.to_text()) {
            return Some(number);
        }
        // Writers that print doubles with 17 digits name the double they mean; a whole number, one
        // with more digits or one too small for full precision would lose what it says.
        let fractional = written.2 < 0 && written.1.len() <= 17;
        (fractional && double.is_normal() && number.as_i64().is_none()).then_some(number)
    }

    /// ECMAScript `Number::toString` (RFC 8785 §3.2.2.3).
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Int(value) => value.to_string(),
            Self::Double(value) => es6(*value),
        }
    }

    /// The integer, when it is one.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Int(value) = self { Some(*value) } else { None }
    }

    /// As a double (integers here are exact).
    #[must_use]
    pub fn as_f64(&self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "within 2^53")]
            Self::Int(value) => *value as f64,
            Self::Double(value) => *value,
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    /// By value. Integers here are exact doubles, so comparing as doubles is exact.
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Self::Int(a), Self::Int(b)) = (self, other) {
            return a.cmp(b);
        }
        self.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Equal)
    }
}

/// Sign, significant digits and power of ten of the last digit, in lowest terms: the decimal value
/// of a literal, for comparing values and not spellings.
fn decimal(text: &str) -> (bool, String, i64) {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => {
            let exponent = rest.get(at + 1..).unwrap_or("0");
            let digits = exponent.trim_start_matches(['+', '-']);
            // Beyond any double either way; so large that no mantissa brings it back, so small that
            // the sums below stay in range.
            const VAST: i64 = i32::MAX as i64;
            let magnitude = digits.parse::<i64>().map_or(VAST, |exponent| exponent.min(VAST));
            let signed = if exponent.starts_with('-') { -magnitude } else { magnitude };
            (rest.get(..at).unwrap_or(""), signed)
        }
        None => (rest, 0),
    };
    let fraction = mantissa.find('.').map_or(0, |at| mantissa.len() - at - 1);
    let mut digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let mut power = exponent - i64::try_from(fraction).unwrap_or(0);
    while digits.ends_with('0') {
        digits.pop();
        power += 1;
    }
    let digits = digits.trim_start_matches('0').to_string();
    if digits.is_empty() { (false, digits, 0) } else { (negative, digits, power) }
}

fn es6(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits = even_of_two(value, mantissa.chars().filter(|c| *c != '.').collect());
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let count = i32::try_from(digits.len()).unwrap_or(0);
    // ECMA-262 Number::toString: n is the position of the decimal point from the left.
    let n = exponent + 1;
    let zeros = |many: i32| "0".repeat(usize::try_from(many).unwrap_or(0));
    let split = |at: i32| digits.split_at(usize::try_from(at).unwrap_or(0));
    if count <= n && n <= 21 {
        format!("{sign}{digits}{}", zeros(n - count))
    } else if 0 < n && n <= 21 {
        let (whole, fraction) = split(n);
        format!("{sign}{whole}.{fraction}")
    } else if -6 < n && n <= 0 {
        format!("{sign}0.{}{digits}", zeros(-n))
    } else {
        let mark = if n > 0 { '+' } else { '-' };
        let (first, rest) = split(1);
        let dot = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{dot}{rest}e{mark}{}", (n - 1).abs())
    }
}

/// Two shortest texts of a double can be equally near to it. ECMA-262 (and RFC 8785 by its name) takes the one whose
/// last digit is even, the formatter of the standard library the upper one.
fn even_of_two(value: f64, digits: String) -> String {
    // A double that lies between two of fewer digits has a shorter one.
    const TIED_MIN: usize = 16;
    /// More digits than any double has.
    const ALL: usize = 1_100;
    let odd = digits.bytes().last().filter(|last| last % 2 == 1);
    let Some(last) = odd.filter(|_| digits.len() >= TIED_MIN) else { return digits };
    let expanded = |places: usize| -> String {
        let text = format!("{:.places$e}", value.abs());
        text.chars().take_while(|c| *c != 'e').filter(|c| *c != '.').collect()
    };
    let stem = &digits[..digits.len() - 1];
    for (near, other) in [(last - 1, last - 1), (last, last + 1)] {
        let tied = format!("{stem}{}5", char::from(near));
        let even = other <= b'8' && expanded(digits.len()) == tied;
        if even && expanded(ALL).trim_end_matches('0') == tied {
            return format!("{stem}{}", char::from(other));
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::excessive_precision, reason = "the doubles themselves, with all their digits")]
    fn of_two_texts_that_are_equally_near_the_even_one_is_written() {
        // Each lies in the middle between two: 0.125, 0.375, 0.625 and 0.875 at a spacing of 1/32.
        for (double, text) in [
            (220_652_206_506_520.125, "220652206506520.12"),
            (220_652_206_506_520.375, "220652206506520.38"),
            (220_652_206_506_520.625, "220652206506520.62"),
            (220_652_206_506_520.875, "220652206506520.88"),
            (-220_652_206_506_520.125, "-220652206506520.12"),
            (1_125_899_906_842_624.25, "1125899906842624.2"),
            (1_125_899_906_842_624.75, "1125899906842624.8"),
            (0.1, "0.1"),
            (1.123_456_789_012_345_6, "1.1234567890123457"),
        ] {
            assert_eq!(Number::from_f64(double).unwrap().to_text(), text);
            assert_eq!(text.parse::<f64>().unwrap(), double, "{text}");
        }
    }

    /// Against another implementation: doubles at every spacing at which two texts can be equally near, and any others.
    #[test]
    fn doubles_are_written_as_another_implementation_writes_them() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut tied = 0;
        for round in 0..60_000_u32 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let double = match round % 3 {
                0 => f64::from_bits(random),
                _ => {
                    let whole = (random >> 11) | (1 << 52);
                    whole as f64 / f64::from(1_u32 << (round % 12))
                }
            };
            let Some(number) = Number::from_f64(double) else { continue };
            let text = number.to_text();
            assert_eq!(text, serde_json_canonicalizer::to_string(&double).unwrap(), "{double:e}");
            let upper = format!("{double:e}").replace('.', "");
            let plain = text.replace(['.', '-'], "");
            tied += u32::from(round % 3 > 0 && !upper.starts_with(&plain));
        }
        assert!(tied > 1000, "only {tied} had two texts that are equally near");
    }

    #[track_caller]
    fn check(literal: &str, text: Option<&str>) {
        assert_eq!(
            Number::from_literal(literal).map(|n| n.to_text()).as_deref(),
            text,
            "{literal}"
        );
    }

    #[test]
    fn literals_survive_a_double_or_are_refused() {
        check("0", Some("0"));
        check("0e9223372036854775807", Some("0"));
        check("0.11e-9223372036854775807", None);
        check("1e99999999999999999999", None);
        check("10e-9223372036854775808", None);
        check("-0", Some("0"));
        check("-0.0", Some("0"));
        check("1.0", Some("1"));
        check("1e2", Some("100"));
        check("0.1", Some("0.1"));
        check("0.10", Some("0.1"));
        check("333333333.33333329", Some("333333333.3333333"));
        check("9007199254740992", Some("9007199254740992"));
        check("9007199254740993", None);
        check("9007199254740994", Some("9007199254740994"));
        check("-9007199254740993", None);
        check("1152921504606846976", None);
        check("1152921504606847000", Some("1152921504606847000"));
        check("100000000000000000000", Some("100000000000000000000"));
        check("1e21", Some("1e+21"));
        check("1e-7", Some("1e-7"));
        check("0.000001", Some("0.000001"));
        check("1e400", None);
        check("1e-400", None);
        check("0.1000000000000000055511151231257827", None);
        check("4.5e-324", None);
        check("0.10000000000000001", Some("0.1"));
        check("1.00000000000000001", None);
        check("5e-324", Some("5e-324"));
        check("1.7976931348623157e308", Some("1.7976931348623157e+308"));
    }

    #[test]
    fn integers_and_doubles_compare_by_value() {
        let number = |text| Number::from_literal(text).unwrap();
        assert!(number("1") < number("1.5"));
        assert!(number("2") > number("1.5"));
        assert!(number("9007199254740992") < number("9007199254740994"));
        assert_eq!(number("1.0"), number("1"));
    }
}
