//! Folding a log: every entry applied, every row's tree state compared with the entries before it.
//! Owns what is refused there; starts nothing.

use crate::boot::StartError;
use crate::crypto::Fast;
use crate::directory::KeyRecord;
use crate::frame::SlotKeys;
use crate::ports::{JournalReader, PortError, SlotReader, WorkspaceNo};
use crate::privacy::Doomed;
use crate::workspace::parse_batch;
use placet_engine::{Bounds, State};
use placet_tlog::merkle::leaf_hash;
use placet_tlog::{CompactRange, Tree};
use placet_types::event::Event;
use placet_types::ids::{ActorId, WorkspaceName};
use placet_types::json::{self, Limits, Object, Value};

/// Bytes of frames read at a time while folding.
const FOLD_BYTES: usize = 4 << 20;

/// A folded log.
pub struct Folded {
    /// State after the last entry.
    pub state: State,
    /// The tree.
    pub tree: Tree<Fast>,
    /// Key records with names, from genesis and key entries.
    pub keys: Vec<KeyRecord>,
    /// Whether genesis was written in development mode; `None` for an empty log.
    pub founded_dev: Option<bool>,
    /// Highest payload slot that a frame names.
    pub slot_max: u64,
    /// What the log says is erased, in its order.
    pub(crate) doomed: Vec<Doomed>,
}

/// Folds the log of a workspace and compares every row's tree state with the entries before it.
///
/// # Errors
/// [`StartError::Damaged`] names the entry.
pub fn fold(
    reader: &dyn JournalReader,
    slots: &dyn SlotReader,
    no: WorkspaceNo,
    name: &WorkspaceName,
) -> Result<Folded, StartError> {
    let damaged = |what: String| StartError::Damaged { workspace: name.to_string(), what };
    let mut state = State::new(Bounds::default());
    let mut tree = Tree::<Fast>::default();
    let mut keys: Vec<KeyRecord> = Vec::new();
    let mut founded_dev = None;
    let mut slot_max = 0;
    let mut doomed = Vec::new();
    loop {
        let batches = reader.read(no, state.next_index(), FOLD_BYTES)?;
        if batches.is_empty() {
            break;
        }
        for batch in batches {
            let tree_state = batch.tree_state.clone();
            if batch.first_index != state.next_index() {
                return Err(damaged(format!("entry {} is missing", state.next_index())));
            }
            let parsed = parse_batch(batch).map_err(damaged)?;
            for (at, entry) in parsed.entries.iter().enumerate() {
                let index = state.next_index();
                if entry.workspace != *name {
                    return Err(damaged(format!("entry {index} belongs to another workspace")));
                }
                state.apply(entry).map_err(|error| damaged(error.to_string()))?;
                tree.append(leaf_hash::<Fast>(parsed.entry_bytes(at)));
                collect_keys(&mut keys, slots, no, &entry.event, parsed.frame(at))?;
                founded_dev.get_or_insert(entry.dev);
                if let Event::PayloadErased(erased) = &entry.event {
                    doomed.push(Doomed { index, entries: erased.indices.clone() });
                }
            }
            for frame in crate::frame::frames(&parsed.frames).flatten() {
                slot_max = slot_max.max(frame.slot);
            }
            if CompactRange::<Fast>::decode(&tree_state).as_ref() != Some(&tree.compact_range()) {
                let last = state.next_index().saturating_sub(1);
                return Err(damaged(format!(
                    "the entries up to {last} are not the ones that were sealed"
                )));
            }
        }
    }
    Ok(Folded { state, tree, keys, founded_dev, slot_max, doomed })
}

/// Names of keys come from payloads; a key whose payload was erased opens nothing any more.
fn collect_keys(
    keys: &mut Vec<KeyRecord>,
    slots: &dyn SlotReader,
    no: WorkspaceNo,
    event: &Event,
    frame: Option<crate::frame::Frame<'_>>,
) -> Result<(), StartError> {
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
    let Some(payload) = frame.map(|frame| open(slots, frame)).transpose()?.flatten() else {
        return Ok(());
    };
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
                revoked: false,
            });
        }
    }
    Ok(())
}

/// The payload of a frame; `None` when there is none or it was erased.
pub(crate) fn open(
    slots: &dyn SlotReader,
    frame: crate::frame::Frame<'_>,
) -> Result<Option<Object>, PortError> {
    if frame.payload.is_empty() {
        return Ok(None);
    }
    let Some(secret) = slots.secret(frame.slot)? else { return Ok(None) };
    let plain = SlotKeys::new(&secret).open(frame.slot, frame.payload).map_err(PortError::new)?;
    match json::parse(&plain, Limits::PAYLOAD) {
        Ok(Value::Object(payload)) => Ok(Some(payload)),
        _ => Err(PortError::new("a payload is damaged")),
    }
}
