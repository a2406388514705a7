//! What channels show, and whether what comes back from them counts. Pure: values in, values out.
//!
//! Owns the texts, the buttons and the proofs of Telegram, Slack and signed webhooks, and how long a
//! failed delivery waits. Refuses to know networks, secrets' places and what a vote leads to.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod brief;
mod lines;
mod retry;
pub mod slack;
pub mod telegram;
#[cfg(test)]
mod tests;
mod token;
pub mod webhook;

pub use brief::{Brief, Risk, Said, Vote};
pub use lines::{Member, members};
pub use retry::{ATTEMPTS_MAX, Attempt, PATIENCE, retry_after_ms, wait_ms};
pub use token::{Bound, TOKEN_LEN, Token, Verb};
