//! Folding a log: every entry applied, every row's tree state compared with the entries before it.
//! Entries are parsed on all cores, applied in their order. Owns what is refused there; starts no
//! thread that outlives it.

use crate::crypto::Fast;
use crate::directory::KeyRecord;
use crate::frame::{Frame, SlotKeys, frames};
use crate::ports::{Batch, JournalReader, PortError, Secret, SlotReader, WorkspaceNo};
use crate::privacy::Doomed;
use crate::signing::check_signers;
use crate::workspace::{Committed, parse_batch};
use placet_engine::{Bounds, State};
use placet_tlog::merkle::leaf_hash;
use placet_tlog::{CompactRange, Hash, Tree};
use placet_types::event::{Entry, Event};
use placet_types::ids::{ActorId, WorkspaceName};
use placet_types::json::{self, Limits, Object, Value};

/// Bytes of frames read at a time while folding.
const FOLD_BYTES: usize = 4 << 20;

/// A folded log.
#[derive(Debug)]
pub(crate) struct Folded {
    /// State after the last entry.
    pub(crate) state: State,
    /// The tree.
    pub(crate) tree: Tree<Fast>,
    /// Where keys were made and revoked (who holds them stands in the payloads there), and where
    /// payloads were erased: what a start reads again.
    pub(crate) read_again: Vec<u64>,
    /// Whether genesis was written in development mode; `None` for an empty log.
    pub(crate) founded_dev: Option<bool>,
    /// Highest payload slot that a frame names.
    pub(crate) slot_max: u64,
}

/// Why a log was not folded.
#[derive(Debug)]
pub(crate) enum Unfolded {
    /// It could not be read.
    Store(PortError),
    /// It is not what was written; where and how.
    Damaged(String),
    /// The key that signs it is not held.
    SigningKeyMissing(String),
}

impl From<PortError> for Unfolded {
    fn from(error: PortError) -> Self {
        Self::Store(error)
    }
}

impl std::fmt::Display for Unfolded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Damaged(what) | Self::SigningKeyMissing(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Unfolded {}

/// A batch of the journal, parsed and hashed.
struct Parsed {
    committed: Committed,
    leaves: Vec<Hash>,
    tree_state: Vec<u8>,
}

impl Folded {
    /// Before the first entry; the tree keeps `window` leaves whole.
    pub(crate) fn empty(window: u64) -> Self {
        Self {
            state: State::new(Bounds::default()),
            tree: Tree::new(window),
            read_again: Vec::new(),
            founded_dev: None,
            slot_max: 0,
        }
    }

    /// Applies a batch that stands at the next index.
    pub(crate) fn apply(
        &mut self,
        name: &WorkspaceName,
        batch: &Committed,
        leaves: &[Hash],
    ) -> Result<(), String> {
        if batch.first_index != self.state.next_index() {
            return Err(format!("entry {} is missing", self.state.next_index()));
        }
        for (entry, leaf) in batch.entries.iter().zip(leaves) {
            let index = self.state.next_index();
            if entry.workspace != *name {
                return Err(format!("entry {index} belongs to another workspace"));
            }
            check_signers(&self.state, entry).map_err(|why| format!("entry {index}: {why}"))?;
            self.state.apply(entry).map_err(|error| error.to_string())?;
            self.tree.append(*leaf);
            let event = &entry.event;
            if is_read_again(event) {
                self.read_again.push(index);
            }
            self.founded_dev.get_or_insert(entry.dev);
        }
        let slots = frames(&batch.frames).flatten().map(|frame| frame.slot);
        self.slot_max = slots.fold(self.slot_max, u64::max);
        Ok(())
    }

    /// Applies what the journal holds from the next index up to the batch that ends at `until` or
    /// beyond; the next index must be the first of a batch.
    pub(crate) fn catch_up(
        &mut self,
        reader: &dyn JournalReader,
        no: WorkspaceNo,
        name: &WorkspaceName,
        until: u64,
        workers: usize,
    ) -> Result<(), Unfolded> {
        while self.state.next_index() < until {
            let batches = reader.read(no, self.state.next_index(), FOLD_BYTES)?;
            if batches.is_empty() {
                let missing = format!("entry {} is missing", self.state.next_index());
                return Err(Unfolded::Damaged(missing));
            }
            for parsed in parse_all(batches, workers) {
                let Parsed { committed, leaves, tree_state } = parsed.map_err(Unfolded::Damaged)?;
                self.apply(name, &committed, &leaves).map_err(Unfolded::Damaged)?;
                if !self.is_at(&tree_state) {
                    let last = self.state.next_index().saturating_sub(1);
                    let what =
                        format!("the entries up to {last} are not the ones that were sealed");
                    return Err(Unfolded::Damaged(what));
                }
                if self.state.next_index() >= until {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether the tree is the one that a row of the journal names.
    pub(crate) fn is_at(&self, tree_state: &[u8]) -> bool {
        CompactRange::<Fast>::decode(tree_state).as_ref() == Some(&self.tree.compact_range())
    }
}

/// Parses and hashes batches on `workers` threads.
fn parse_all(batches: Vec<Batch>, workers: usize) -> Vec<Result<Parsed, String>> {
    let bytes: usize = batches.iter().map(|batch| batch.frames.len()).sum();
    if workers < 2 || batches.len() < 2 || bytes < 64 << 10 {
        return batches.into_iter().map(parse).collect();
    }
    // Shares of about equal bytes, in order.
    let share = bytes / workers + 1;
    let mut shares: Vec<Vec<Batch>> = vec![Vec::new()];
    let mut filled = 0;
    for batch in batches {
        if filled >= share && shares.len() < workers {
            shares.push(Vec::new());
            filled = 0;
        }
        filled += batch.frames.len();
        if let Some(last) = shares.last_mut() {
            last.push(batch);
        }
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || share.into_iter().map(parse).collect::<Vec<_>>()))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| match thread.join() {
                Ok(parsed) => parsed,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

fn parse(mut batch: Batch) -> Result<Parsed, String> {
    let tree_state = std::mem::take(&mut batch.tree_state);
    let committed = parse_batch(batch)?;
    let leaves = leaves_of(&committed);
    Ok(Parsed { committed, leaves, tree_state })
}

/// The leaf hashes of a batch.
pub(crate) fn leaves_of(batch: &Committed) -> Vec<Hash> {
    (0..batch.entries.len()).map(|at| leaf_hash::<Fast>(batch.entry_bytes(at))).collect()
}

/// Whether a start needs the entry itself, besides what state keeps of it.
fn is_read_again(event: &Event) -> bool {
    use Event::{Genesis, KeyCreated, KeyRevoked, PayloadErased};
    matches!(event, Genesis(_) | KeyCreated(_) | KeyRevoked(_) | PayloadErased(_))
}

/// The key records of a workspace with names, which stand in payloads alone, and what its log says
/// is erased, in its order.
pub(crate) fn read_again(
    reader: &dyn JournalReader,
    slots: &dyn SlotReader,
    no: WorkspaceNo,
    indices: &[u64],
) -> Result<(Vec<KeyRecord>, Vec<Doomed>), Unfolded> {
    let mut keys = Vec::new();
    let mut doomed = Vec::new();
    let mut held: Option<Batch> = None;
    for index in indices {
        let holds = |batch: &Batch| {
            (batch.first_index..batch.first_index + u64::from(batch.count)).contains(index)
        };
        if !held.as_ref().is_some_and(holds) {
            held = reader.read(no, *index, 1)?.into_iter().find(holds);
        }
        let missing = || Unfolded::Damaged(format!("entry {index} is missing"));
        let batch = held.as_ref().ok_or_else(missing)?;
        let at = usize::try_from(index - batch.first_index).unwrap_or(usize::MAX);
        let frame = frames(&batch.frames).nth(at).and_then(Result::ok).ok_or_else(missing)?;
        let entry = Entry::parse(frame.entry)
            .map_err(|error| Unfolded::Damaged(format!("entry {index}: {error}")))?;
        if let Event::PayloadErased(erased) = &entry.event {
            doomed.push(Doomed { index: *index, entries: erased.indices.clone() });
        }
        collect_key(&mut keys, slots, no, &entry.event, frame)?;
    }
    Ok((keys, doomed))
}

/// A key whose payload was erased opens nothing any more.
fn collect_key(
    keys: &mut Vec<KeyRecord>,
    slots: &dyn SlotReader,
    no: WorkspaceNo,
    event: &Event,
    frame: Frame<'_>,
) -> Result<(), PortError> {
    let principals = match event {
        Event::Genesis(genesis) => genesis.principals.as_slice(),
        Event::KeyCreated(grant) => std::slice::from_ref(&grant.principal),
        Event::KeyRevoked(revoked) => {
            keys.iter_mut()
                .filter(|record| record.key == revoked.key)
                .for_each(|record| record.revoked = true);
            return Ok(());
        }
        _ => return Ok(()),
    };
    let Some(payload) = open(slots, frame)? else { return Ok(()) };
    for principal in principals {
        let name = match event {
            Event::Genesis(_) => {
                payload.get("principals").and_then(|names| names.get(&principal.key.to_string()))
            }
            _ => payload.get("actor"),
        };
        if let Some(actor) = name.and_then(Value::as_str).and_then(ActorId::parse) {
            keys.push(KeyRecord {
                key: principal.key,
                workspace: no,
                actor,
                environment: principal.environment.clone(),
                roles: principal.roles.clone(),
                hash: principal.hash,
                certificate: payload.get("certificate").is_some(),
                revoked: false,
            });
        }
    }
    Ok(())
}

/// The payload of a frame; `None` when there is none or it was erased.
pub(crate) fn open(slots: &dyn SlotReader, frame: Frame<'_>) -> Result<Option<Object>, PortError> {
    if frame.payload.is_empty() {
        return Ok(None);
    }
    let Some(secret) = slots.secret(frame.slot)? else { return Ok(None) };
    open_under(&secret, frame).map(Some)
}

/// The payload of a frame, under the secret of its slot.
pub(crate) fn open_under(secret: &Secret, frame: Frame<'_>) -> Result<Object, PortError> {
    let plain = SlotKeys::new(secret).open(frame.slot, frame.payload).map_err(PortError::new)?;
    match json::parse(&plain, Limits::PAYLOAD) {
        Ok(Value::Object(payload)) => Ok(payload),
        _ => Err(PortError::new("a payload is damaged")),
    }
}
