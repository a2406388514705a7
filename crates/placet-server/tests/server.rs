//! The server over a real plane, a real store and real sockets.

#[path = "server/approval_table.rs"]
mod approval_table;
#[path = "server/attacks.rs"]
mod attacks;
#[path = "server/authoring.rs"]
mod authoring;
#[path = "server/authzen.rs"]
mod authzen;
#[path = "server/authzen_scenario.rs"]
mod authzen_scenario;
#[path = "server/authzen_todo.rs"]
mod authzen_todo;
#[path = "server/channels.rs"]
mod channels;
#[path = "server/client_certificates.rs"]
mod client_certificates;
#[path = "server/comparing.rs"]
mod comparing;
#[path = "server/compat.rs"]
mod compat;
#[path = "server/coverage.rs"]
mod coverage;
#[path = "server/cutting.rs"]
mod cutting;
#[path = "server/everything.rs"]
mod everything;
#[path = "server/evidence.rs"]
mod evidence;
#[path = "server/exceptions.rs"]
mod exceptions;
#[path = "server/executions.rs"]
mod executions;
#[path = "server/flows.rs"]
mod flows;
#[path = "server/idle.rs"]
mod idle;
#[path = "server/inbox.rs"]
mod inbox;
#[path = "server/inputs.rs"]
mod inputs;
#[path = "server/issuer.rs"]
mod issuer;
#[path = "server/journal.rs"]
mod journal;
#[path = "server/leaving.rs"]
mod leaving;
#[path = "server/lending.rs"]
mod lending;
#[path = "server/lifting.rs"]
mod lifting;
#[path = "server/limits.rs"]
mod limits;
#[path = "server/log.rs"]
mod log;
#[path = "server/matrix.rs"]
mod matrix;
#[path = "server/measures.rs"]
mod measures;
#[path = "server/modes.rs"]
mod modes;
#[path = "server/operations.rs"]
mod operations;
#[path = "server/overrides.rs"]
mod overrides;
#[path = "server/owing.rs"]
mod owing;
#[path = "server/people.rs"]
mod people;
#[path = "server/places.rs"]
mod places;
#[path = "server/policies.rs"]
mod policies;
#[path = "server/privacy.rs"]
mod privacy;
#[path = "server/publishing.rs"]
mod publishing;
#[path = "server/reading.rs"]
mod reading;
#[path = "server/releases.rs"]
mod releases;
#[path = "server/rotation.rs"]
mod rotation;
#[path = "server/sign_in.rs"]
mod sign_in;
#[path = "server/snapshots.rs"]
mod snapshots;
#[path = "stubs/mod.rs"]
mod stubs;
#[path = "server/swapping.rs"]
mod swapping;
#[path = "server/tenants.rs"]
mod tenants;
#[path = "server/tokens.rs"]
mod tokens;
#[path = "server/trips.rs"]
mod trips;
#[path = "server/watching.rs"]
mod watching;
#[path = "server/world.rs"]
mod world;
