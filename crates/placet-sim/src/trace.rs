//! What happened, in order: a hash always, the lines only where somebody wants to read them.

use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};

/// The trace of one run. Two runs of a seed have the same.
#[derive(Debug)]
pub(crate) struct Trace(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    hash: u64,
    events: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        let lines = keep.then(Vec::new);
        Self(Mutex::new(Inner { hash: 0xcbf2_9ce4_8422_2325, events: 0, lines }))
    }

    pub(crate) fn say(&self, at_ms: u64, what: fmt::Arguments<'_>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.events += 1;
        // Writing to a hash cannot fail.
        let _ = writeln!(Fnv(&mut inner.hash), "{at_ms} {what}");
        if let Some(lines) = &mut inner.lines {
            lines.push(format!("{:>10}.{:03}  {what}", at_ms / 1000, at_ms % 1000));
        }
    }

    pub(crate) fn finish(&self) -> (u64, u64, Vec<String>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.hash, inner.events, inner.lines.take().unwrap_or_default())
    }
}

/// FNV-1a: for telling runs apart, not for safety.
struct Fnv<'a>(&'a mut u64);

impl Write for Fnv<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.0 = (*self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}
