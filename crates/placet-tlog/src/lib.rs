//! The transparency log of Placet: RFC 6962 tree, C2SP tiles, checkpoints and cosignatures, receipts,
//! and the checks that they prove what they say and do not contradict each other.
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

#[cfg(feature = "portable")]
pub mod compare;
pub mod cosignature;
pub mod dsse;
pub mod envelope;
pub mod handover;
pub mod merkle;
mod nodes;
pub mod note;
pub mod policy;
pub mod receipt;
#[cfg(feature = "portable")]
mod signature;
pub mod succession;
mod text;
pub mod tiles;
pub mod tree;
pub mod trust;
#[cfg(feature = "portable")]
pub mod verify;
pub mod witness;

pub use cosignature::CosignerKey;
pub use dsse::BundleSignature;
pub use handover::Handover;
pub use merkle::{CompactRange, Hash};
pub use note::{Checkpoint, Note, VerifierKey};
pub use policy::Policy;
pub use receipt::Receipt;
pub use succession::Succession;
pub use tiles::{Row, TileReader, TileRef};
pub use tree::{Head, Tree};
pub use trust::Trust;
