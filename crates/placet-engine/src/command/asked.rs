//! What a command brings for its evaluation: alike for what is decided and for what was held.

use super::{ArmUnder, Collect, Decide, Vote};
use crate::decide::Asked;

impl Vote {
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked { verdict: &self.verdict, windows: &self.windows, evidence: &self.evidence }
    }
}

impl Collect {
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked { verdict: &self.verdict, windows: &self.windows, evidence: &self.evidence }
    }
}

impl ArmUnder {
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked { verdict: &self.verdict, windows: &self.windows, evidence: &self.evidence }
    }
}

impl Decide {
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked { verdict: &self.verdict, windows: &self.windows, evidence: &self.passing.evidence }
    }
}
