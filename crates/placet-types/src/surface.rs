//! Patterns of surfaces where no bundle stands behind them: in delegations. Owns their text form and what
//! they match; the patterns of rules are the bundle's.

use crate::ids::is_dotted_name;
use alloc::borrow::ToOwned;
use alloc::string::String;

/// A pattern of surfaces: segments separated by dots, `*` for one of them, `**` for any number, also none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SurfacePattern(String);

impl SurfacePattern {
    /// Parses a pattern of at most 200 bytes, with at most one `**`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |segment: &str| segment == "*" || segment == "**" || is_dotted_name(segment);
        let many = text.split('.').filter(|segment| *segment == "**").count();
        let good = text.len() <= 200 && many <= 1 && text.split('.').all(plain);
        good.then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches a surface.
    #[must_use]
    pub fn matches(&self, surface: &str) -> bool {
        let one = |pattern: &str, segment: &str| pattern == "*" || pattern == segment;
        let count = surface.split('.').count();
        match self.0.split('.').position(|segment| segment == "**") {
            None => {
                self.0.split('.').count() == count
                    && self.0.split('.').zip(surface.split('.')).all(|(p, s)| one(p, s))
            }
            Some(before) => {
                let after = self.0.split('.').count().saturating_sub(before).saturating_sub(1);
                before.saturating_add(after) <= count
                    && self
                        .0
                        .split('.')
                        .zip(surface.split('.'))
                        .take(before)
                        .all(|(p, s)| one(p, s))
                    && self
                        .0
                        .rsplit('.')
                        .zip(surface.rsplit('.'))
                        .take(after)
                        .all(|(p, s)| one(p, s))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_segments() {
        let cases = [
            ("payments.refund", "payments.refund", true),
            ("payments.refund", "payments.refunds", false),
            ("payments.*", "payments.refund", true),
            ("payments.*", "payments", false),
            ("payments.*", "payments.refund.big", false),
            ("payments.**", "payments", true),
            ("payments.**", "payments.refund.big", true),
            ("**.refund", "payments.refund", true),
            ("a.**.z", "a.z", true),
            ("a.**.z", "a.b.c.z", true),
            ("a.**.a", "a", false),
            ("**", "anything.at.all", true),
        ];
        for (pattern, surface, expected) in cases {
            let parsed = SurfacePattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(surface), expected, "{pattern} on {surface}");
        }
        for bad in ["", ".", "a..b", "a.b*", "**.a.**", "a b", "a.{b}", &"x".repeat(201)] {
            assert!(SurfacePattern::parse(bad).is_none(), "{bad}");
        }
    }
}
