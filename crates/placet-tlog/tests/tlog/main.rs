//! The log's formats from outside: receipts made with a deterministic key, a corpus of altered
//! ones, and the Python verifier as a second opinion on each.

mod against;
mod corpus;
mod cosigned;
mod envelopes;
mod fixture;
mod formats;
mod python;
mod rust;
mod tiles;
