//! Whether a comparison goes on. Owns that what was told to end once has ended; refuses to know why.

use std::cell::Cell;
use std::fmt;

pub(super) struct Going<'a> {
    goes_on: &'a dyn Fn() -> bool,
    cut: Cell<bool>,
}

impl fmt::Debug for Going<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Going").field("cut", &self.cut).finish_non_exhaustive()
    }
}

impl<'a> Going<'a> {
    pub(super) fn new(goes_on: &'a dyn Fn() -> bool) -> Self {
        Self { goes_on, cut: Cell::new(false) }
    }

    /// Whether it has to end. Asked before every piece of work, which therefore is small.
    pub(super) fn is_over(&self) -> bool {
        if !self.cut.get() && !(self.goes_on)() {
            self.cut.set(true);
        }
        self.cut.get()
    }

    /// Whether something was left out for it.
    pub(super) fn was_cut(&self) -> bool {
        self.cut.get()
    }
}
