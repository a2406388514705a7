//! Names and numbers with a meaning: ids, actors, workspaces, instants, amounts. Owns their text
//! forms and parses them in constructors; refuses to generate any (ids and time are inputs).

use crate::hash::{hex_decode, hex_encode};
use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::marker::PhantomData;

/// What an [`Id`] names: fixes the prefix of its text.
pub trait IdKind {
    /// Prefix with its underscore, `dec_` for example.
    const PREFIX: &'static str;
}

/// A UUIDv7 with a typed prefix: `dec_` and 32 lower-case hex digits.
pub struct Id<K>([u8; 16], PhantomData<fn() -> K>);

impl<K: IdKind> Id<K> {
    /// From the 16 bytes of a UUIDv7.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes, PhantomData)
    }

    /// A UUIDv7 (RFC 9562 §5.7) of `time` with 10 bytes of randomness.
    #[must_use]
    pub fn new(time: TimeMs, random: [u8; 10]) -> Self {
        let [_, _, t0, t1, t2, t3, t4, t5] = time.0.to_be_bytes();
        let [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9] = random;
        let bytes = [
            t0,
            t1,
            t2,
            t3,
            t4,
            t5,
            0x70 | (r0 & 0x0f),
            r1,
            0x80 | (r2 & 0x3f),
            r3,
            r4,
            r5,
            r6,
            r7,
            r8,
            r9,
        ];
        Self::from_bytes(bytes)
    }

    /// Parses prefix and 32 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex_decode(text.strip_prefix(K::PREFIX)?, &mut bytes)?;
        Some(Self::from_bytes(bytes))
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> core::hash::Hash for Id<K> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<K: IdKind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(K::PREFIX)?;
        f.write_str(&hex_encode(&self.0))
    }
}
impl<K: IdKind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! id_kinds {
    ($($(#[$doc:meta])* $kind:ident $alias:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        pub enum $kind {}
        impl IdKind for $kind {
            const PREFIX: &'static str = $prefix;
        }
        $(#[$doc])*
        pub type $alias = Id<$kind>;
    )*};
}

id_kinds! {
    /// A decision.
    Decision DecisionId "dec_";
    /// An approval.
    Approval ApprovalId "apr_";
    /// A permit.
    Permit PermitId "pmt_";
    /// A job: named after the decision that admits it.
    Job JobId "job_";
    /// An execution: a run of a capability.
    Execution ExecutionId "exe_";
    /// An API key.
    Key KeyId "key_";
    /// A legal hold.
    Hold HoldId "hld_";
    /// A delegation of the right to approve.
    Delegation DelegationId "dlg_";
    /// An exception from policy.
    Exception ExceptionId "exc_";
    /// A piece of evidence: named after the time and the index of its entry.
    Evidence EvidenceId "evd_";
    /// Any other event.
    Event EventId "evt_";
}

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeMs(pub u64);

impl TimeMs {
    /// `ms` later, saturating.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here; 0 when it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// RFC 3339 in UTC with milliseconds, as the APIs show it.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let (days, ms) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil(days);
        let (hour, minute, second, milli) =
            (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
        alloc::format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"
        )
    }

    /// Parses RFC 3339: `T` and `Z` in either case, any offset, fractions cut to milliseconds. `None` for
    /// anything else, for days that no month has, and for what lies before 1970.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| digits(text.get(from..to)?);
        let marks = [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")];
        let marked =
            |(at, set): &(usize, &str)| bytes.get(*at).is_some_and(|b| set.as_bytes().contains(b));
        if !marks.iter().all(marked) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let mut rest = text.get(19..)?;
        let mut milli = 0;
        if let Some(fraction) = rest.strip_prefix('.') {
            let len = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
            let (part, after) = fraction.split_at_checked(len)?;
            milli = digits(alloc::format!("{part:0<3}").get(..3)?).filter(|_| len > 0)?;
            rest = after;
        }
        let days = days_from_civil(year, month, day)?;
        let (y, m, d) = civil(u64::try_from(days).ok()?);
        if (i64::try_from(y).ok()?, i64::try_from(m).ok()?, i64::try_from(d).ok()?)
            != (year, month, day)
        {
            return None;
        }
        let minutes = days.checked_mul(1440)?.checked_add(hour.checked_mul(60)?)?;
        let minutes = minutes.checked_add(minute)?.checked_sub(offset_minutes(rest)?)?;
        let seconds = minutes.checked_mul(60)?.checked_add(second)?;
        let ms = seconds.checked_mul(1000)?.checked_add(milli)?;
        u64::try_from(ms).ok().map(Self)
    }
}

fn digits(text: &str) -> Option<i64> {
    let all = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    all.then(|| text.parse().ok())?
}

/// `Z`, `+02:00`, `-05:30`.
fn offset_minutes(text: &str) -> Option<i64> {
    if text == "Z" || text == "z" {
        return Some(0);
    }
    let sign: i64 = match text.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    sign.checked_mul(hours.checked_mul(60)?.checked_add(minutes)?)
}

/// Days from 1970-01-01 to a date (proleptic Gregorian, H. Hinnant's `days_from_civil`).
#[expect(clippy::arithmetic_side_effects, reason = "a year of four digits: no overflow")]
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Days since 1970-01-01 as year, month, day (proleptic Gregorian, H. Hinnant's `civil_from_days`).
#[expect(
    clippy::arithmetic_side_effects,
    reason = "days come from milliseconds in u64: no overflow"
)]
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// An amount in micro-units (10^-6 of its unit), 64-bit, as a decimal string on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub i64);

impl Amount {
    /// Parses the decimal text of the micro-units: an optional minus and digits, no leading zero.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let value: i64 = text.parse().ok()?;
        (alloc::format!("{value}") == text).then_some(Self(value))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActorKind {
    /// An AI agent.
    Agent,
    /// A program that is no agent.
    Service,
    /// A person.
    Human,
}

impl ActorKind {
    /// `agent`, `service`, `human`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Service => "service",
            Self::Human => "human",
        }
    }

    /// Parses `agent`, `service` or `human`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Agent, Self::Service, Self::Human].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// `kind:name`, the name `[A-Za-z0-9._@/-]{1,128}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorId {
    text: String,
    kind: ActorKind,
}

impl ActorId {
    /// Parses `kind:name`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        let kind = ActorKind::parse(kind)?;
        let fits = (1..=128).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@/-".contains(&b));
        fits.then(|| Self { text: text.to_owned(), kind })
    }

    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> ActorKind {
        self.kind
    }

    /// `kind:name`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A tenant: `[a-z0-9-]{1,63}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspaceName(String);

impl WorkspaceName {
    /// Parses a workspace name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_label(text).then(|| Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkspaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `[a-z0-9-]{1,63}`: workspaces and environments.
#[must_use]
pub fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Segments `[A-Za-z0-9_-]+` separated by dots, at most 200 bytes: surfaces, actions, topics.
#[must_use]
pub fn is_dotted_name(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && text.split('.').all(|segment| {
            !segment.is_empty()
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        })
}

/// `[A-Za-z0-9._@:/-]{1,200}`: tags, teams, capabilities, models, roles and other short names.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@:/+-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn ids_round_trip_and_refuse_other_kinds() {
        let id = DecisionId::new(TimeMs(1_700_000_000_123), [0xff; 10]);
        assert_eq!(id.to_string(), "dec_018bcfe5687b7fffbfffffffffffffff");
        assert_eq!(DecisionId::parse(&id.to_string()), Some(id));
        assert_eq!(ApprovalId::parse(&id.to_string()), None);
        assert_eq!(DecisionId::parse("dec_018BCFE5687B7FFFBFFFFFFFFFFFFFFF"), None);
    }

    #[test]
    fn instants_show_as_rfc_3339() {
        assert_eq!(TimeMs(0).rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(TimeMs(951_782_400_001).rfc3339(), "2000-02-29T00:00:00.001Z");
        assert_eq!(TimeMs(1_795_219_199_999).rfc3339(), "2026-11-20T23:59:59.999Z");
        for ms in [0, 951_782_400_001, 1_795_219_199_999, 4_107_542_399_000] {
            assert_eq!(TimeMs::parse_rfc3339(&TimeMs(ms).rfc3339()), Some(TimeMs(ms)));
        }
        let same = [
            "2026-11-20T12:00:00Z",
            "2026-11-20t14:00:00.0009+02:00",
            "2026-11-20 11:30:00.000-00:30",
        ];
        for text in same {
            assert_eq!(TimeMs::parse_rfc3339(text), Some(TimeMs(1_795_176_000_000)), "{text}");
        }
        for text in [
            "2026-11-20",
            "2026-11-20T12:00:00",
            "2026-11-20T12:00:00.Z",
            "2026-11-20T24:00:00Z",
            "2026-02-29T12:00:00Z",
            "2026-04-31T12:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-11-20T12:00:00+0200",
            "2026-11-20T12:00:00+ 2:00",
            "+026-11-20T12:00:00Z",
        ] {
            assert_eq!(TimeMs::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn an_actor_is_a_kind_and_a_name() {
        assert_eq!(ActorId::parse("agent:bot").unwrap().kind(), ActorKind::Agent);
        assert_eq!(ActorId::parse("robot:x"), None);
        assert_eq!(ActorId::parse("agent:"), None);
    }
}
