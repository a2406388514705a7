//! What the runtime needs from the world, as narrow as it can be. The embedded store implements
//! these; so does the simulator. Knows no file and no database.

use placet_tlog::Hash;
use placet_types::event::{Entry, Tag};
use placet_types::ids::{DecisionId, TimeMs, WorkspaceName};
use placet_types::policy::Outcome;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Number of a workspace inside one store; below 2^22.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspaceNo(pub u32);

/// The unit of appending: consecutive entries of one workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Whose.
    pub workspace: WorkspaceNo,
    /// Index of the first entry; below 2^40.
    pub first_index: u64,
    /// Number of entries, at least 1.
    pub count: u32,
    /// Fencing epoch of the writer.
    pub epoch: u64,
    /// The entries with their payloads ([`crate::frame`]).
    pub frames: Vec<u8>,
    /// Compact range of the tree after this batch.
    pub tree_state: Vec<u8>,
}

/// Where the log of a workspace ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Index of the next entry: the size of the log.
    pub next_index: u64,
    /// Highest epoch that has written.
    pub epoch: u64,
    /// Compact range of the tree; empty for an empty log.
    pub tree_state: Vec<u8>,
}

/// Why an append did not happen, or may not have.
#[derive(Debug)]
pub enum AppendError {
    /// Another batch stands at that index. Nothing was written.
    Conflict,
    /// A higher epoch has written. Nothing was written.
    Fenced,
    /// It may or may not be durable: stop, reopen, read the head. Holds what the store said.
    Unknown(String),
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => f.write_str("another batch stands at this index"),
            Self::Fenced => f.write_str("a writer with a higher epoch has taken over"),
            Self::Unknown(why) => write!(f, "the store failed, the outcome is unknown: {why}"),
        }
    }
}

impl std::error::Error for AppendError {}

/// A store failed to read or to write something that is not the log.
#[derive(Debug)]
pub struct PortError(String);

impl PortError {
    /// With the store's own words.
    #[must_use]
    pub fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PortError {}

/// The writing end of the log: one owner, one thread.
pub trait Journal: Send {
    /// Appends all batches in one durable write, or none of them.
    ///
    /// # Errors
    /// After [`AppendError::Unknown`] the handle is dead: every later call fails.
    fn append(&mut self, batches: &[Batch]) -> Result<(), AppendError>;

    /// Registers a workspace (durably) and returns its number; an existing one keeps its number.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn create_workspace(&mut self, name: &WorkspaceName) -> Result<WorkspaceNo, PortError>;

    /// Keeps the bytes of a bundle (durably) under its digest. Idempotent.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn put_bundle(&mut self, digest: &[u8; 32], bytes: &[u8]) -> Result<(), PortError>;

    /// Called again and again while there is nothing to write: checkpoints, truncation. Cheap when
    /// there is nothing to do.
    fn idle(&mut self) {}
}

/// The reading end of the log, for any thread.
pub trait JournalReader: Send + Sync {
    /// All workspaces in the order of their numbers.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn workspaces(&self) -> Result<Vec<(WorkspaceNo, WorkspaceName)>, PortError>;

    /// Where the log ends.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn head(&self, workspace: WorkspaceNo) -> Result<Head, PortError>;

    /// Consecutive batches from the one that holds `index` on, at least one if it exists, and no
    /// more once `bytes_max` bytes of frames have been read.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn read(
        &self,
        workspace: WorkspaceNo,
        index: u64,
        bytes_max: usize,
    ) -> Result<Vec<Batch>, PortError>;

    /// The compact range of the tree of the first `size` entries, where a batch ends there.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn tree_state(&self, workspace: WorkspaceNo, size: u64) -> Result<Option<Vec<u8>>, PortError> {
        let Some(last) = size.checked_sub(1) else { return Ok(None) };
        let row = self.read(workspace, last, 1)?.into_iter().next();
        let ends = |row: &Batch| row.first_index + u64::from(row.count) == size;
        Ok(row.filter(ends).map(|row| row.tree_state))
    }

    /// The bytes of a bundle.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn bundle(&self, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, PortError>;
}

/// A part of a saved state of one workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
    /// All but idempotency keys, after the entries below `index`.
    Head {
        /// Index of the next entry.
        index: u64,
    },
    /// A run of idempotency keys.
    Keys {
        /// The head that it was written with.
        head: u64,
        /// Number among those.
        part: u32,
    },
}

/// Saved states: derived, may be lost or thrown away, and never believed without being checked.
pub trait Snapshots: Send + Sync {
    /// What is there of a workspace, in any order.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn list(&self, workspace: WorkspaceNo) -> Result<Vec<Piece>, PortError>;

    /// The bytes of a piece; `None` when it is not there.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn read(&self, workspace: WorkspaceNo, piece: Piece) -> Result<Option<Vec<u8>>, PortError>;

    /// Writes a piece so that a crash leaves it whole or not at all, durably.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn write(&self, workspace: WorkspaceNo, piece: Piece, bytes: &[u8]) -> Result<(), PortError>;

    /// Removes a piece; one that is not there is no error.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn remove(&self, workspace: WorkspaceNo, piece: Piece) -> Result<(), PortError>;
}

/// A payload secret.
pub type Secret = Zeroizing<[u8; 32]>;

/// The pool of payload slots: created durably some thousands at a time, each used once.
pub trait Slots: Send {
    /// Stores `secrets` (wrapped) durably and returns the number of the first; the others follow.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn create(&mut self, secrets: &[Secret]) -> Result<u64, PortError>;

    /// The number that the next slot will have: every slot below exists or was erased.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn end(&self) -> Result<u64, PortError>;

    /// Destroys slots durably and for good, and in the same write remembers that everything in the
    /// log of `workspace` up to the entry `upto` that says so is done. Repeating is harmless.
    ///
    /// # Errors
    /// [`PortError`] when the store failed, or when the old bytes could not be removed everywhere
    /// yet; repeat it then.
    fn erase(&mut self, workspace: WorkspaceNo, upto: u64, slots: &[u64]) -> Result<(), PortError>;

    /// Index of the newest entry `payload.erased` whose slots are destroyed.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn erased_upto(&self, workspace: WorkspaceNo) -> Result<Option<u64>, PortError>;
}

/// Reading and destroying payload slots, for any thread.
pub trait SlotReader: Send + Sync {
    /// The secret of a slot; `None` once it has been erased.
    ///
    /// # Errors
    /// [`PortError`] when the store failed or the slot never existed.
    fn secret(&self, slot: u64) -> Result<Option<Secret>, PortError>;

    /// For reading many in about their order, on one thread.
    fn cursor(&self) -> Box<dyn SecretCursor + '_> {
        Box::new(OneByOne(self))
    }
}

/// Secrets of many slots, read one after the other. What is erased meanwhile may be seen as it was.
pub trait SecretCursor {
    /// The secret of a slot; `None` once it has been erased.
    ///
    /// # Errors
    /// [`PortError`] when the store failed or the slot never existed.
    fn secret(&mut self, slot: u64) -> Result<Option<Secret>, PortError>;
}

/// A reader that has no faster way.
struct OneByOne<'a, R: ?Sized>(&'a R);

impl<R: SlotReader + ?Sized> SecretCursor for OneByOne<'_, R> {
    fn secret(&mut self, slot: u64) -> Result<Option<Secret>, PortError> {
        self.0.secret(slot)
    }
}

/// One entry as the read model takes it.
#[derive(Clone, Copy, Debug)]
pub struct Indexed<'a> {
    /// Whose.
    pub workspace: WorkspaceNo,
    /// Where.
    pub index: u64,
    /// What.
    pub entry: &'a Entry,
}

/// The leaf hashes of a whole level-0 tile of a log.
#[derive(Clone, Debug)]
pub struct LeafTile {
    /// Whose.
    pub workspace: WorkspaceNo,
    /// Its number: the first of its leaves is 256 times that.
    pub number: u64,
    /// All 256.
    pub leaves: Vec<Hash>,
}

/// The writing end of the read model; derived, may be thrown away.
pub trait ReadModelWriter: Send {
    /// The next index to be indexed, per workspace; 0 when it knows nothing.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn position(&self, workspace: WorkspaceNo) -> Result<u64, PortError>;

    /// Indexes entries, in order, in one transaction. Repeating is harmless.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn index(&mut self, entries: &[Indexed<'_>]) -> Result<(), PortError>;

    /// Keeps whole tiles, so that proofs for old leaves need not read their neighbours. Repeating is
    /// harmless, and so is leaving one out.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn keep_tiles(&mut self, tiles: &[LeafTile]) -> Result<(), PortError> {
        let _ = tiles;
        Ok(())
    }

    /// Begins another one, empty: from here on [`position`](Self::position) and
    /// [`index`](Self::index) are about that one, and readers still see the first.
    ///
    /// # Errors
    /// [`PortError`] when the store failed, or does not know how.
    fn begin_anew(&mut self) -> Result<(), PortError> {
        Err(PortError::new("this read model cannot be made anew beside its readers"))
    }

    /// Puts the new one in the place of the first, for all readers at once.
    ///
    /// # Errors
    /// [`PortError`] when the store failed or none was begun.
    fn finish_anew(&mut self) -> Result<(), PortError> {
        Err(PortError::new("no new read model was begun"))
    }

    /// Forgets the new one, if one was begun.
    fn abandon_anew(&mut self) {}
}

/// What an audit query asks for. All conditions hold together.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Events about this decision.
    pub decision: Option<DecisionId>,
    /// Trace id.
    pub trace: Option<String>,
    /// Actor as entries show it.
    pub actor: Option<String>,
    /// A deciding rule.
    pub rule: Option<String>,
    /// Surface.
    pub surface: Option<String>,
    /// Outcome.
    pub outcome: Option<Outcome>,
    /// Decisions on which a shadow bundle came to something else.
    pub would_differ: bool,
    /// Event type.
    pub event_type: Option<String>,
    /// From this instant on.
    pub since: Option<TimeMs>,
    /// Before this instant.
    pub until: Option<TimeMs>,
    /// Pseudonym tag of an idempotency key.
    pub idempotency: Option<Tag>,
    /// Tag of a subject whose personal data the payload holds.
    pub subject: Option<Tag>,
    /// Only indices below (newest first) or from here on (oldest first).
    pub cursor: Option<u64>,
    /// Oldest first instead of newest first.
    pub ascending: bool,
    /// At most so many.
    pub limit: usize,
}

/// The reading end of the read model, for any thread.
pub trait ReadModel: Send + Sync {
    /// The next index to be indexed: everything below can be found.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn position(&self, workspace: WorkspaceNo) -> Result<u64, PortError>;

    /// Index of the entry `decision` with this id.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn locate(&self, workspace: WorkspaceNo, id: DecisionId) -> Result<Option<u64>, PortError>;

    /// The leaf hashes of a whole tile, if they are kept here. Whoever uses them checks them against
    /// the root of the tile.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn tile_leaves(
        &self,
        workspace: WorkspaceNo,
        tile: u64,
    ) -> Result<Option<Vec<Hash>>, PortError> {
        let _ = (workspace, tile);
        Ok(None)
    }

    /// Indices of the entries that match, in the order asked for.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn query(&self, workspace: WorkspaceNo, filter: &AuditFilter) -> Result<Vec<u64>, PortError>;
}

/// A wait that a clock ends.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Wall and monotonic time.
pub trait Clock: Send + Sync {
    /// Wall clock, Unix milliseconds.
    fn wall(&self) -> TimeMs;
    /// Milliseconds since an arbitrary start; never goes back.
    fn monotonic_ms(&self) -> u64;
    /// Ends once `wait` has passed on the monotonic clock.
    fn sleep(&self, wait: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(wait))
    }
}

/// Unpredictable bytes.
pub trait Entropy: Send + Sync {
    /// Fills `out`.
    fn fill(&self, out: &mut [u8]);
}

/// A signing key of the instance.
pub trait Signer: Send + Sync {
    /// The Ed25519 public key (RFC 8032).
    fn public_key(&self) -> [u8; 32];
    /// An Ed25519 signature over `message`.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// The signing keys that are held. Which one is in force, the logs say.
pub trait Signers: Send + Sync {
    /// All of them, oldest first; never empty.
    ///
    /// # Errors
    /// [`PortError`] when the store failed or one does not open.
    fn all(&self) -> Result<Vec<Arc<dyn Signer>>, PortError>;
    /// A fresh one, held durably when this returns.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn make(&self) -> Result<Arc<dyn Signer>, PortError>;
    /// Destroys all whose public key is not among these. Without any that is held nothing goes.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn keep(&self, public_keys: &[[u8; 32]]) -> Result<(), PortError>;
}

/// The keyed pseudonyms' keys, one per workspace.
pub trait WorkspaceKeys: Send + Sync {
    /// The key of a workspace, made durably on first use; `None` only where nothing may be written.
    ///
    /// # Errors
    /// [`PortError`] when the store failed.
    fn workspace_key(&self, name: &WorkspaceName) -> Result<Option<Secret>, PortError>;
}

/// Looks at what stands beside the store, and takes no lock for it.
pub trait Lookout: Send {
    /// As [`Safety::kill_requested`].
    fn kill_requested(&self) -> bool;
    /// As [`Safety::read_armed`].
    ///
    /// # Errors
    /// [`PortError`] when it cannot be read.
    fn read_armed(&self) -> Result<Option<Vec<u8>>, PortError>;
    /// As [`Safety::read_disarmed`].
    ///
    /// # Errors
    /// [`PortError`] when it cannot be read.
    fn read_disarmed(&self) -> Result<Option<Vec<u8>>, PortError>;
}

/// How far logs were signed: marks beside the store that must outlive its being rolled back or lost.
/// Raising them waits for a disk, so nothing that stops anything has to do with them.
pub trait Marks: Send {
    /// Refuses a log that is shorter than what was signed before.
    ///
    /// # Errors
    /// [`PortError`] with both sizes.
    fn check_size(&self, name: &WorkspaceName, size: u64) -> Result<(), PortError>;
    /// Raises the high-water marks durably; never lowers one.
    ///
    /// # Errors
    /// [`PortError`] when they could not be written.
    fn raise(&mut self, sizes: &[(WorkspaceName, u64)]) -> Result<(), PortError>;
}

/// What stops everything from beside the store. Nothing of it waits for anything else of it.
pub trait Safety: Send + Sync {
    /// Whether a person asked for a kill beside the store. Any doubt is a yes.
    fn kill_requested(&self) -> bool;
    /// The armed certificate; `None` when there is none.
    ///
    /// # Errors
    /// [`PortError`] when it cannot be read, which counts as tripped.
    fn read_armed(&self) -> Result<Option<Vec<u8>>, PortError>;
    /// Writes the armed certificate durably.
    ///
    /// # Errors
    /// [`PortError`] when it could not be written.
    fn write_armed(&self, bytes: &[u8]) -> Result<(), PortError>;
    /// Sets the armed certificate aside: from now on a restart is tripped, and knows by
    /// [`Safety::read_disarmed`] that it was no stranger who took it. Waits for no disk, so that a loss of
    /// power may bring it back until [`Safety::sync`] has returned. Without one nothing changes.
    ///
    /// # Errors
    /// [`PortError`] when it is still there.
    fn disarm(&self) -> Result<(), PortError>;
    /// The certificate that was set aside since the last one was written.
    ///
    /// # Errors
    /// [`PortError`] when it could not be read.
    fn read_disarmed(&self) -> Result<Option<Vec<u8>>, PortError>;
    /// What is set aside is this certificate from now on, as if it had been the armed one; durably.
    ///
    /// # Errors
    /// [`PortError`] when it could not be written; what was set aside before still is.
    fn write_disarmed(&self, bytes: &[u8]) -> Result<(), PortError>;
    /// Makes durable what was set aside.
    ///
    /// # Errors
    /// [`PortError`] when that failed.
    fn sync(&self) -> Result<(), PortError>;
    /// Another way to look at what stands beside the store, for a thread that must not wait for
    /// whoever uses this one. Without it, housekeeping looks now and then.
    fn lookout(&self) -> Option<Box<dyn Lookout>> {
        None
    }
    /// Removes a kill request, after a lift.
    ///
    /// # Errors
    /// [`PortError`] when it could not be removed.
    fn clear_kill_request(&self) -> Result<(), PortError>;
}
