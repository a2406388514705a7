//! The embedded store: one data directory with the log, the payload keys, the identity of the instance, the read
//! model, the outbox, saved states, the high-water marks, the name after an accepted loss, and the kill file.
//!
//! ```text
//! FORMAT       {"format":1,"written_by":"placet 0.1.0"}; written last when a directory is made
//! LOCK         held (flock, as is the directory itself) by the one process that writes
//! journal.db   the log: a row per batch, one durable commit per append   (journal)
//! keys.db      payload secrets, wrapped, erasable                         (slots)
//! identity.db  instance id, signing seeds, workspace keys, wrapped        (identity)
//! read.db      searchable rows, derived from the log, rebuilt at will     (read_model)
//! outbox.db    what is still to be told to channels; made when it is needed  (outbox)
//! snapshots/   saved states, derived from the log                         (snapshots)
//! master.key   wraps keys.db and identity.db; or PLACET_MASTER_KEY        (master)
//! highwater    the highest signed sizes                                   (highwater)
//! succession   after an accepted loss: the name that the logs go on under  (succession)
//! armed, KILL  the armed certificate and the local kill file              (kill)
//! backup.json  in a back-up: its files with their digests, the logs        (backup)
//! ```
//!
//! Owns files, tables, modes and durability; refuses to know policy and what entries do to state.

pub mod backup;
mod dir;
mod error;
mod files;
mod format;
mod highwater;
mod identity;
mod journal;
pub mod kill;
mod lock;
mod master;
mod outbox;
mod read_model;
mod slots;
mod snapshots;
mod sqlite;
mod succession;
mod usage;
mod witness;

pub use dir::{Create, DataDir};
pub use error::OpenError;
pub use format::{Migration, migrate, plan_migration};
pub use highwater::HighWater;
pub use identity::Identity;
pub use journal::{SqliteJournal, SqliteJournalReader};
pub use master::{MASTER_KEY_ENV, MasterKey};
pub use outbox::{DEAD_MAX, Delivery, Letter, Message, Outbox, WAITING_MAX, Waiting};
pub use read_model::{SqliteReadModel, SqliteReadModelWriter, matches};
pub use slots::{Renewed, SlotCache, SqliteSlotReader, SqliteSlots};
pub use snapshots::SnapshotFiles;
pub use succession::Succession;
pub use usage::{DatabaseUsage, Usage};
pub use witness::{Seen, WitnessStore};

/// How much less urgent a thread is that nobody waits for.
const NICE: i32 = 10;

/// Makes the calling thread less urgent than those that answer requests: copying pages back,
/// indexing and saving states may take their time. Where the system does not let it, nothing is
/// lost but that.
pub fn step_back() {
    // On Linux a priority belongs to the thread.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}
