//! The HTTP server: endpoints, authentication, admission and streams over a running plane. Owns
//! HTTP; refuses to know rules, state machines and storage formats.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod approvals;
mod audit;
mod auth;
mod authoring;
mod authzen;
mod call;
mod channels;
mod compat;
mod coverage;
mod decisions;
mod delegations;
mod document;
mod events;
mod evidence;
mod examples;
mod exceptions;
mod governed;
mod identity;
mod listen;
mod log;
mod manage;
mod measures;
mod meta;
mod metrics;
mod names;
mod open;
mod openapi;
mod operations;
mod overrides;
mod patient;
mod places;
mod policies;
mod privacy;
mod problem;
mod publishing;
mod routes;
mod secrets;
mod server;
mod sessions;
mod shadow;
mod signers;
mod witness;

pub use audit::instant_of;
pub use channels::ChannelOptions;
pub use listen::{bind, serve, serve_router};
pub use open::open_stores;
pub use openapi::openapi_json;
pub use operations::{OPERATIONS, Operation};
pub use publishing::WitnessPeer;
pub use routes::{constant_router, router};
pub use secrets::{SecretError, Secrets};
pub use server::ServerOptions;
pub use witness::{Witness, witness_router};
