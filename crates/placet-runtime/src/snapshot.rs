//! A saved state of a workspace and how far it is believed. Owns its form and every check against
//! the log; a snapshot is derived, so whatever is wrong with one costs time and nothing else. What is not
//! wrong with one, and what this instance signed, has to be in the log: where it is not, the log was altered or
//! cut. Refuses to know when one is written.

use crate::crypto::Fast;
use crate::fold::{Folded, Unfolded};
use crate::ports::{JournalReader, Piece, PortError, Signer, Signers, Snapshots, WorkspaceNo};
use placet_engine::{Bounds, IdempotencyKeys, State};
use placet_tlog::merkle::CompactRange;
use placet_tlog::note::VerifierKey;
use placet_tlog::tree::{DEFAULT_WINDOW, TILE_LEAVES};
use placet_tlog::{Hash, Tree};
use placet_types::hash::Hasher;
use placet_types::ids::{TimeMs, WorkspaceName};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

/// First bytes of a head; the last of them is the version.
const MAGIC: &[u8; 8] = b"plsnap\x00\x03";

/// Whose snapshots, and what they are checked against.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) snapshots: &'a dyn Snapshots,
    pub(crate) reader: &'a dyn JournalReader,
    pub(crate) signers: &'a dyn Signers,
    pub(crate) instance: &'a str,
    pub(crate) no: WorkspaceNo,
    pub(crate) name: &'a WorkspaceName,
}

/// A run of idempotency keys as a head names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) head: u64,
    pub(crate) part: u32,
    /// The entries whose keys it holds.
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) count: u64,
    /// By then the windows of half of them have ended.
    pub(crate) half_ends: TimeMs,
    pub(crate) digest: [u8; 32],
}

impl Run {
    pub(crate) fn piece(&self) -> Piece {
        Piece::Keys { head: self.head, part: self.part }
    }
}

/// What is not as it was written.
enum Doubt {
    Snapshot(String),
    Log(String),
}

impl From<String> for Doubt {
    fn from(why: String) -> Self {
        Self::Snapshot(why)
    }
}

impl From<&str> for Doubt {
    fn from(why: &str) -> Self {
        Self::Snapshot(why.to_owned())
    }
}

/// A head that was read and agrees with the log.
pub(crate) struct Saved {
    pub(crate) folded: Folded,
    pub(crate) runs: Vec<Run>,
}

/// Keys that are held, to read by.
struct Held(Vec<Arc<dyn Signer>>);

impl Signers for Held {
    fn all(&self) -> Result<Vec<Arc<dyn Signer>>, PortError> {
        Ok(self.0.clone())
    }

    fn make(&self) -> Result<Arc<dyn Signer>, PortError> {
        Err(PortError::new("keys are only read here"))
    }

    fn keep(&self, _: &[[u8; 32]]) -> Result<(), PortError> {
        Err(PortError::new("keys are only read here"))
    }
}

/// What a log of `no`, of which nothing else is believed, does not have of the snapshots that this instance signed
/// of it; `None` where it has all of them, or where there is none. Listed before `head` is read, none of them is
/// ahead of a server that runs.
///
/// # Errors
/// [`PortError`] when they cannot be listed.
pub fn contradicted(
    reader: &dyn JournalReader,
    snapshots: &dyn Snapshots,
    signers: Vec<Arc<dyn Signer>>,
    instance: &str,
    (no, name): (WorkspaceNo, &WorkspaceName),
) -> Result<Option<String>, PortError> {
    let signers = &Held(signers);
    let source = Source { snapshots, reader, signers, instance, no, name };
    let doubts =
        source.heads()?.into_iter().map(|index| source.read_head(index, u64::MAX, DEFAULT_WINDOW));
    let mut logs = doubts.filter_map(|doubt| match doubt {
        Err(Doubt::Log(why)) => Some(why),
        _ => None,
    });
    Ok(logs.next())
}

impl Source<'_> {
    /// The newest snapshot that agrees with a log of `size` entries, to go on from: its runs are
    /// there and whole, but not read.
    pub(crate) fn newest(&self, size: u64, window: u64) -> Option<Saved> {
        let check = |source: &Self, saved: &mut Saved| {
            saved.runs.iter().try_for_each(|run| source.read_run(run).map(drop))
        };
        // What is wrong with a snapshot, or with the log, was said at the start.
        self.newest_with(size, window, &mut Vec::new(), check).ok().flatten()
    }

    /// The newest snapshot that agrees with a log of `size` entries, ready to decide: with all
    /// idempotency keys. What is wrong with newer ones is added to `notices`.
    ///
    /// # Errors
    /// `Damaged` where the log is not the one of which this instance signed a snapshot.
    pub(crate) fn newest_whole(
        &self,
        size: u64,
        notices: &mut Vec<String>,
    ) -> Result<Option<Folded>, Unfolded> {
        let whole = |source: &Self, saved: &mut Saved| {
            let keys = source.read_runs(&saved.runs, saved.folded.state.time())?;
            saved.folded.state.set_idempotency(keys);
            Ok(())
        };
        let newest = self.newest_with(size, DEFAULT_WINDOW, notices, whole)?;
        Ok(newest.map(|saved| saved.folded))
    }

    fn newest_with(
        &self,
        size: u64,
        window: u64,
        notices: &mut Vec<String>,
        finish: impl Fn(&Self, &mut Saved) -> Result<(), String>,
    ) -> Result<Option<Saved>, Unfolded> {
        let heads = match self.heads() {
            Ok(heads) => heads,
            Err(error) => {
                let name = self.name;
                notices.push(format!("the snapshots of workspace {name} are ignored: {error}"));
                return Ok(None);
            }
        };
        for index in heads.into_iter().rev() {
            let done = self.read_head(index, size, window).and_then(|mut saved| {
                finish(self, &mut saved)?;
                Ok(saved)
            });
            match done {
                Ok(saved) => return Ok(Some(saved)),
                Err(Doubt::Snapshot(why)) => notices
                    .push(format!("snapshot {index} of workspace {} is ignored: {why}", self.name)),
                Err(Doubt::Log(why)) => return Err(Unfolded::Damaged(why)),
            }
        }
        Ok(None)
    }

    /// The indexes of all heads, ascending.
    fn heads(&self) -> Result<Vec<u64>, PortError> {
        let heads = self.snapshots.list(self.no)?.into_iter().filter_map(|piece| match piece {
            Piece::Head { index } => Some(index),
            Piece::Keys { .. } => None,
        });
        let mut heads: Vec<u64> = heads.collect();
        heads.sort_unstable();
        Ok(heads)
    }

    fn read_head(&self, index: u64, size: u64, window: u64) -> Result<Saved, Doubt> {
        let failed = |error: PortError| Doubt::Snapshot(error.to_string());
        let bytes = self.snapshots.read(self.no, Piece::Head { index }).map_err(failed)?;
        let bytes = bytes.ok_or("it is gone")?;
        let saved = self.parse(&bytes, index, window)?;
        let last = index.checked_sub(1).ok_or("it is of an empty log")?;
        let row = self.reader.read(self.no, last, 1).map_err(failed)?;
        let Some(row) = row.first() else {
            let ends = self.reader.head(self.no).map_err(failed)?.next_index;
            return Err(Doubt::Log(format!(
                "it ends at {ends}, and this instance signed a snapshot of {index} entries"
            )));
        };
        if row.first_index + u64::from(row.count) != index || !saved.folded.is_at(&row.tree_state) {
            return Err(Doubt::Log(format!(
                "its first {index} entries are not those of which this instance signed a snapshot"
            )));
        }
        if index > size {
            return Err(Doubt::Snapshot(format!("it is newer than the {size} entries asked for")));
        }
        Ok(saved)
    }

    fn parse(&self, bytes: &[u8], index: u64, window: u64) -> Result<Saved, String> {
        let damaged = || "it is damaged".to_owned();
        let (body, seal) = bytes.split_last_chunk::<96>().ok_or_else(damaged)?;
        let digest = Fast::sha256(&[body]);
        if seal[..32] != digest {
            return Err(damaged());
        }
        let mut r = Reader(body);
        if r.take(8).ok_or_else(damaged)? != MAGIC {
            return Err("it was written by another version".to_owned());
        }
        // Ed25519 is deterministic, so a signature is checked by making it again. A key that was
        // handed over from is destroyed, and what it signed is not believed any more.
        let signers = self.signers.all().map_err(|error| error.to_string())?;
        if !signers.iter().any(|signer| seal[32..] == signer.sign(&signed(&digest))) {
            return Err("it was not written by this instance".to_owned());
        }
        let instance = r.bytes().ok_or_else(damaged)?;
        let name = r.bytes().ok_or_else(damaged)?;
        if instance != self.instance.as_bytes() || name != self.name.as_str().as_bytes() {
            return Err("it is of another workspace".to_owned());
        }
        if r.uint() != Some(index) {
            return Err("its name is not its own".to_owned());
        }
        parse_rest(&mut r, index, window).ok_or_else(damaged)
    }

    /// The bytes of a head.
    pub(crate) fn write_head(&self, folded: &Folded, runs: &[Run]) -> Result<Vec<u8>, Unfolded> {
        let lost = || Unfolded::Damaged("a node of the tree is not kept".to_owned());
        let keyless = || Unfolded::Damaged("no signing key is held".to_owned());
        // The key of that state where it is held; after a rotation the one that has followed it: a
        // start believes any that is held, and the log alone says which was in force.
        let held = self.signers.all()?;
        let named = folded.state.signer().and_then(|signer| {
            VerifierKey::parse::<Fast>(&signer.vkey).ok().map(|key| *key.public_key())
        });
        let named = held.iter().find(|signer| named == Some(signer.public_key()));
        let signer = named.or(held.last()).ok_or_else(keyless)?;
        let index = folded.state.next_index();
        let tree = &folded.tree;
        let mut w = Writer(Vec::with_capacity(1 << 16));
        w.0.extend_from_slice(MAGIC);
        w.bytes(self.instance.as_bytes());
        w.bytes(self.name.as_str().as_bytes());
        w.uint(index);
        w.bytes(&tree.compact_range().encode());
        w.uint(folded.founded_dev.map_or(2, u64::from));
        w.uint(folded.slot_max);
        w.uint(folded.read_again.len() as u64);
        folded.read_again.iter().for_each(|index| w.uint(*index));
        w.uint(runs.len() as u64);
        for run in runs {
            w.uint(run.head);
            w.uint(u64::from(run.part));
            w.uint(run.from);
            w.uint(run.until);
            w.uint(run.count);
            w.uint(run.half_ends.0);
            w.0.extend_from_slice(&run.digest);
        }
        // The last tile travels as leaves even where it is complete: the edge of a tree is made of
        // them.
        let tiles = index.saturating_sub(1) / TILE_LEAVES;
        w.uint(tiles);
        for tile in 0..tiles {
            w.0.extend_from_slice(&tree.node(8, tile).ok_or_else(lost)?);
        }
        w.uint(index - tiles * TILE_LEAVES);
        for leaf in tiles * TILE_LEAVES..index {
            w.0.extend_from_slice(&tree.node(0, leaf).ok_or_else(lost)?);
        }
        folded.state.write_snapshot(&mut w.0);
        let digest = Fast::sha256(&[&w.0]);
        w.0.extend_from_slice(&digest);
        w.0.extend_from_slice(&signer.sign(&signed(&digest)));
        Ok(w.0)
    }

    /// The bytes of a run, as long as they are the ones that the head names.
    pub(crate) fn read_run(&self, run: &Run) -> Result<Vec<u8>, String> {
        let bytes = self.snapshots.read(self.no, run.piece()).map_err(|error| error.to_string())?;
        let bytes = bytes.ok_or("a run of its keys is gone")?;
        let length = run.count.checked_mul(IdempotencyKeys::RUN_BYTES as u64);
        if length == Some(bytes.len() as u64) && Fast::sha256(&[&bytes]) == run.digest {
            Ok(bytes)
        } else {
            Err("a run of its keys is damaged".to_owned())
        }
    }

    /// All keys; the next run is read and checked while one is being filed.
    fn read_runs(&self, runs: &[Run], now: TimeMs) -> Result<IdempotencyKeys, String> {
        let mut keys = IdempotencyKeys::default();
        let count: u64 = runs.iter().map(|run| run.count).sum();
        if count == 0 {
            return Ok(keys);
        }
        keys.reserve(usize::try_from(count).unwrap_or(0));
        let (send, receive) = sync_channel(2);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for run in runs {
                    // Whoever reads has found damage and gone.
                    if send.send((run, self.read_run(run))).is_err() {
                        return;
                    }
                }
            });
            for (run, bytes) in receive {
                keys.read_run(&bytes?, run.from, run.until, now)
                    .ok_or("a run of its keys is damaged")?;
            }
            Ok(keys)
        })
    }
}

fn signed(digest: &[u8; 32]) -> Vec<u8> {
    let mut message = b"placet/snapshot/1\n".to_vec();
    message.extend_from_slice(digest);
    message
}

/// What follows the names in a head.
fn parse_rest(r: &mut Reader<'_>, index: u64, window: u64) -> Option<Saved> {
    let range = CompactRange::<Fast>::decode(r.bytes()?)?;
    let founded_dev = match r.uint()? {
        0 => Some(false),
        1 => Some(true),
        2 => None,
        _ => return None,
    };
    let slot_max = r.uint()?;
    let read_again = r.list(8, Reader::uint)?;
    let runs = r.list(80, |r| {
        Some(Run {
            head: r.uint()?,
            part: u32::try_from(r.uint()?).ok()?,
            from: r.uint()?,
            until: r.uint()?,
            count: r.uint()?,
            half_ends: TimeMs(r.uint()?),
            digest: r.hash()?,
        })
    })?;
    let tiles: Vec<Hash> = r.list(32, Reader::hash)?;
    let tail: Vec<Hash> = r.list(32, Reader::hash)?;
    if tail.is_empty() || tail.len() as u64 > TILE_LEAVES {
        return None;
    }
    let mut tree = Tree::restore(window, &tiles, &[])?;
    tail.iter().for_each(|leaf| tree.append(*leaf));
    let state = State::read_snapshot(std::mem::take(&mut r.0), Bounds::default(), index)?;
    let in_order = runs.windows(2).all(|pair| match pair {
        [a, b] => a.until <= b.from,
        _ => true,
    });
    let inside = runs.iter().all(|run| run.from < run.until && run.until <= index);
    let fits = tree.compact_range() == range && range.size() == index && in_order && inside;
    let folded = Folded { state, tree, read_again, founded_dev, slot_max };
    fits.then_some(Saved { folded, runs })
}

struct Writer(Vec<u8>);

impl Writer {
    fn uint(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.uint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn uint(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn hash(&mut self) -> Option<Hash> {
        self.take(32)?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.uint()?).ok()?;
        self.take(length)
    }

    fn list<T>(&mut self, each: usize, one: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = usize::try_from(self.uint()?).ok()?;
        if length > self.0.len() / each {
            return None;
        }
        (0..length).map(|_| one(self)).collect()
    }
}
