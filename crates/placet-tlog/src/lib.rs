//! The transparency log of Placet: RFC 6962 tree, C2SP checkpoints, receipts, and the check that
//! a receipt proves what it says.
//!
//! Owns the proof formats. Refuses to know what an entry means, where bytes are stored, and which
//! library signs or hashes.
#![no_std]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    clippy::panic
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::float_arithmetic,
        clippy::panic
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod merkle;
pub mod note;
pub mod receipt;
mod text;
pub mod tree;
pub mod trust;
#[cfg(feature = "portable")]
pub mod verify;

pub use merkle::{CompactRange, Hash};
pub use note::{Checkpoint, Note, VerifierKey};
pub use receipt::Receipt;
pub use tree::{Head, Tree};
pub use trust::Trust;
