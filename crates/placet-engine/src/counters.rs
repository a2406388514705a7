//! Running totals of a workspace. Owns what they come to together; refuses to know when they are raised.

/// Running totals, from the log alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Decisions per outcome, in the order of `Outcome::ALL`.
    pub decisions: [u64; 5],
    /// Permits consumed.
    pub consumed: u64,
    /// Outcomes reported.
    pub reported: u64,
    /// Permits that expired unconsumed.
    pub expired: u64,
    /// Permits revoked.
    pub revoked: u64,
    /// Permits that were consumed and whose answer a trip overtook.
    pub overtaken: u64,
    /// Permits that the plane itself has used and that nobody reported: nobody has to.
    pub own: u64,
    /// Approvals completed, rejected, and closed otherwise.
    pub approvals: [u64; 3],
    /// Payloads erased.
    pub erased: u64,
}

impl Counters {
    /// Permits that a gate has used and whose outcome nobody has told: effects that nobody may know of.
    #[must_use]
    pub fn unreported(&self) -> u64 {
        let Self { consumed, reported, overtaken, own, .. } = self;
        [reported, overtaken, own].into_iter().fold(*consumed, |left, it| left.saturating_sub(*it))
    }
}
