//! The binary as people and scripts meet it: every test runs it, most of them beside a real server.

#[path = "cli/altered.rs"]
mod altered;
#[path = "cli/audit.rs"]
mod audit;
#[path = "cli/authoring.rs"]
mod authoring;
#[path = "cli/backtest.rs"]
mod backtest;
#[path = "cli/backup.rs"]
mod backup;
#[path = "cli/damage.rs"]
mod damage;
#[path = "cli/decide.rs"]
mod decide;
#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/export.rs"]
mod export;
#[path = "cli/flip.rs"]
mod flip;
#[path = "cli/guide.rs"]
mod guide;
#[path = "cli/inbox.rs"]
mod inbox;
#[path = "cli/input.rs"]
mod input;
#[path = "../../placet-server/tests/server/issuer.rs"]
mod issuer;
#[path = "cli/login.rs"]
mod login;
#[path = "cli/outbox.rs"]
mod outbox;
#[path = "cli/paging.rs"]
mod paging;
#[path = "cli/people.rs"]
mod people;
#[path = "cli/policies.rs"]
mod policies;
#[path = "cli/presets.rs"]
mod presets;
#[path = "cli/privacy.rs"]
mod privacy;
#[path = "cli/rotation.rs"]
mod rotation;
#[path = "cli/signal.rs"]
mod signal;
#[path = "cli/stops.rs"]
mod stops;
#[path = "cli/support.rs"]
mod support;
#[path = "cli/witness.rs"]
mod witness;
