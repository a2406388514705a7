//! The vocabulary of Placet: ids, digests, amounts, instants, requests, decisions and events,
//! with one strict JSON reader and one canonical (RFC 8785) writer for all of them.
//!
//! Owns the formats. Refuses to know any I/O, clock, randomness or policy.
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

pub mod duration;
pub mod event;
pub mod evidence;
pub mod hash;
pub mod ids;
pub mod json;
pub mod nearest;
pub mod policy;
pub mod request;
pub mod surface;
pub mod visible;

pub use hash::{Digest, Hasher};
pub use request::{Caller, Digests, Request};
