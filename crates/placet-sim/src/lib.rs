//! A seeded simulator: the real driver of the runtime over simulated disks, clock, network and
//! entropy, one step at a time in an order that a seed draws. Development only.
//!
//! Owns faults, workload and checkers. Refuses to be part of the product, and to decide anything
//! that the product decides.

mod checkers;
mod clock;
mod disk;
mod edge;
mod excepting;
mod executor;
mod keys;
mod mutant;
mod proving;
mod random;
mod restarts;
mod running;
mod simulation;
mod stopping;
mod stores;
#[cfg(test)]
mod tests;
mod trace;
mod workload;
mod world;

pub use checkers::Violation;
pub use mutant::Mutant;
pub use simulation::{Outcome, run};
pub use world::Totals;
