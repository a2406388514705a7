//! How long a failed delivery waits, and when it is given up. Owns the figures; time and chance come in.

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt<T> {
    /// It arrived; what the peer said.
    Done(T),
    /// The peer may take it later, not before so many milliseconds if it said so; why not now.
    Again(Option<u64>, String),
    /// The peer will never take it, and why.
    Never(String),
}

/// Attempts after which a delivery is given up: at the longest waits more than three hours.
pub const ATTEMPTS_MAX: u32 = 30;
/// Attempts for which those behind a delivery wait for it.
pub const PATIENCE: u32 = 8;
/// The first wait.
const FIRST_MS: u64 = 1000;
/// The longest one.
const LONGEST_MS: u64 = 600_000;
/// The longest that a peer may ask for.
const ASKED_MAX_MS: u64 = 3_600_000;

/// Milliseconds to wait after `failures` attempts in a row: doubled each time, of which chance takes
/// away up to half, and no less than the peer asked for.
#[must_use]
pub fn wait_ms(failures: u32, chance: u64, asked: Option<u64>) -> u64 {
    let doubled = FIRST_MS.checked_shl(failures.saturating_sub(1).min(20)).unwrap_or(LONGEST_MS);
    let whole = doubled.clamp(FIRST_MS, LONGEST_MS);
    let half = whole / 2;
    let wait = whole.saturating_sub(chance.checked_rem(half.saturating_add(1)).unwrap_or(0));
    wait.max(asked.unwrap_or(0).min(ASKED_MAX_MS))
}

/// Milliseconds of a header `Retry-After` in seconds. Dates are not read: a peer's clock is no reason.
#[must_use]
pub fn retry_after_ms(header: Option<&str>) -> Option<u64> {
    header?.trim().parse::<u64>().ok()?.checked_mul(1000)
}
