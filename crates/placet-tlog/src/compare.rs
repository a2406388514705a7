//! Whether two receipts or checkpoints of one log fit together. Owns what two signed statements
//! prove against or for each other; refuses to fetch the proof that may be missing.
//!
//! A receipt says more than its checkpoint: its path fixes subtrees. What two papers both fix, they
//! must fix alike; and where the path in the larger tree fixes all of the smaller tree, no further
//! proof is needed.

use crate::merkle::{Hash, ProofError, empty_root, leaf_hash, node_hash, verify_consistency};
use crate::nodes::shr;
use crate::note::{Checkpoint, KeyId};
use crate::receipt::{RECEIPT_BYTES_MAX, Receipt, ReceiptError, is_receipt, parse_checkpoint};
use crate::trust::Trust;
use crate::verify::{PortableHasher as H, VerifyError, verify_path, verify_signatures};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};

mod evidence;

pub use evidence::{EVIDENCE_BYTES_MAX, EVIDENCE_HEADER, EvidenceError, Fork};

/// Complete nodes by level and index.
type NodeMap = BTreeMap<(u32, u64), Hash>;

/// A receipt or a signed checkpoint whose signature and path hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paper {
    text: String,
    checkpoint: Checkpoint,
    key_id: KeyId,
    index: Option<u64>,
    /// What it fixes besides the root.
    nodes: NodeMap,
}

impl Paper {
    /// Reads a receipt or a signed checkpoint and verifies signature and path against the pinned
    /// keys. What the entry says does not matter here: a log that signs nonsense twice is no better.
    ///
    /// # Errors
    /// As [`verify_receipt`](crate::verify::verify_receipt), without the checks of the entry.
    pub fn verify(bytes: &[u8], trust: &Trust) -> Result<Self, VerifyError> {
        if is_receipt(bytes) {
            let receipt = Receipt::parse(bytes).map_err(VerifyError::Receipt)?;
            let key_id = verify_signatures(&receipt.note, &receipt.checkpoint, trust)?;
            verify_path(&receipt)?;
            let nodes = path_nodes(&receipt);
            let text = receipt.write();
            let Receipt { index, checkpoint, .. } = receipt;
            return Ok(Self { text, checkpoint, key_id, index: Some(index), nodes });
        }
        let refuse = |error| Err(VerifyError::Receipt(error));
        if bytes.len() > RECEIPT_BYTES_MAX {
            return refuse(ReceiptError::TooLarge);
        }
        let Ok(text) = core::str::from_utf8(bytes) else {
            return refuse(ReceiptError::NotPlainText);
        };
        let (note, checkpoint) = parse_checkpoint(text).map_err(VerifyError::Receipt)?;
        let key_id = verify_signatures(&note, &checkpoint, trust)?;
        let mut nodes = NodeMap::new();
        insert_complete_root(&mut nodes, &checkpoint);
        Ok(Self { text: text.to_string(), checkpoint, key_id, index: None, nodes })
    }

    /// Its bytes.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The pinned key whose signature counted.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The index of its entry; none for a checkpoint.
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        self.index
    }

    /// The root that the first `size` leaves have if this paper alone fixes it.
    fn root_at(&self, size: u64) -> Option<Hash> {
        if size == self.checkpoint.size {
            return Some(self.checkpoint.root);
        }
        let mut hash: Option<Hash> = None;
        let mut end = size;
        while end > 0 {
            let level = end.trailing_zeros();
            end &= end.wrapping_sub(1);
            let node = self.nodes.get(&(level, shr(end, level)))?;
            hash = Some(hash.map_or(*node, |right| node_hash::<H>(node, &right)));
        }
        Some(hash.unwrap_or_else(empty_root::<H>))
    }
}

/// What two papers say that cannot both be true of one append-only log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// Two roots for one size: both signed, or one signed and one fixed by the other's path.
    Root {
        /// The size.
        size: u64,
        /// The root by the first paper.
        first: Hash,
        /// The root by the second.
        second: Hash,
    },
    /// Two entries at one index.
    Entry {
        /// The index.
        index: u64,
        /// The leaf hash by the first paper.
        first: Hash,
        /// The leaf hash by the second.
        second: Hash,
    },
    /// Two hashes for the `2^level` leaves from `index · 2^level` on.
    Subtree {
        /// The level, from 1.
        level: u32,
        /// The index within the level.
        index: u64,
        /// The hash by the first paper.
        first: Hash,
        /// The hash by the second.
        second: Hash,
    },
}

/// How consistency was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// By the two papers alone.
    Papers,
    /// By the consistency proof that was given.
    Proof,
}

/// What came of comparing two papers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// They speak of different logs and say nothing about each other.
    DifferentOrigins,
    /// They rest on the same tree.
    Same,
    /// The larger tree extends the smaller one.
    Consistent {
        /// Size of the smaller tree.
        old_size: u64,
        /// Size of the larger tree.
        new_size: u64,
        /// How it was shown.
        by: Basis,
    },
    /// Nothing speaks against them, but it takes a consistency proof between these sizes to be
    /// sure.
    NeedsProof {
        /// Size of the smaller tree.
        old_size: u64,
        /// Size of the larger tree.
        new_size: u64,
        /// Why the proof that was given shows nothing. A bad proof is no evidence against the log:
        /// anybody can write one.
        refused: Option<ProofError>,
    },
    /// The log has signed what cannot both be true.
    Forked(Contradiction),
}

impl Comparison {
    /// The stable code: `different_origins`, `same`, `consistent`, `needs_proof` or `fork`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::DifferentOrigins => "different_origins",
            Self::Same => "same",
            Self::Consistent { .. } => "consistent",
            Self::NeedsProof { .. } => "needs_proof",
            Self::Forked(_) => "fork",
        }
    }
}

/// Compares two papers, with the consistency proof between their sizes if the caller has one.
#[must_use]
pub fn compare(first: &Paper, second: &Paper, proof: Option<&[Hash]>) -> Comparison {
    let (a, b) = (&first.checkpoint, &second.checkpoint);
    if a.origin != b.origin {
        return Comparison::DifferentOrigins;
    }
    if let Some(contradiction) = contradiction(first, second) {
        return Comparison::Forked(contradiction);
    }
    if a.size == b.size {
        return Comparison::Same;
    }
    let (old, new) = if a.size < b.size { (first, second) } else { (second, first) };
    let (old_size, new_size) = (old.checkpoint.size, new.checkpoint.size);
    // No contradiction: the root that the larger paper fixes, if it does, is the smaller one's.
    if new.root_at(old_size).is_some() {
        return Comparison::Consistent { old_size, new_size, by: Basis::Papers };
    }
    let (old_root, new_root) = (&old.checkpoint.root, &new.checkpoint.root);
    let refused = match proof {
        None => None,
        Some(path) => match verify_consistency::<H>(old_size, new_size, path, old_root, new_root) {
            Ok(()) => return Comparison::Consistent { old_size, new_size, by: Basis::Proof },
            Err(error) => Some(error),
        },
    };
    Comparison::NeedsProof { old_size, new_size, refused }
}

/// The first thing that both fix and fix differently: leaves, then subtrees, then the root.
fn contradiction(first: &Paper, second: &Paper) -> Option<Contradiction> {
    let differing = first.nodes.iter().find_map(|(&(level, index), &hash)| {
        let other = *second.nodes.get(&(level, index))?;
        let subtree = Contradiction::Subtree { level, index, first: hash, second: other };
        let entry = Contradiction::Entry { index, first: hash, second: other };
        (other != hash).then_some(if level == 0 { entry } else { subtree })
    });
    let size = first.checkpoint.size.min(second.checkpoint.size);
    let root = || {
        let (first, second) = (first.root_at(size)?, second.root_at(size)?);
        (first != second).then_some(Contradiction::Root { size, first, second })
    };
    // Two signed roots for one size say it best.
    let same_size = first.checkpoint.size == second.checkpoint.size;
    if same_size { root().or(differing) } else { differing.or_else(root) }
}

/// The complete nodes that a receipt with a verified path fixes: leaf, siblings, and what they hash
/// to on the way up. Incomplete nodes at the right edge change as the log grows and are left out.
fn path_nodes(receipt: &Receipt) -> NodeMap {
    let mut nodes = NodeMap::new();
    let size = receipt.checkpoint.size;
    let mut insert = |level: u32, index: u64, hash: Hash| {
        let end = index.checked_add(1).and_then(|next| {
            let shifted = next.checked_shl(level)?;
            (shr(shifted, level) == next).then_some(shifted)
        });
        if end.is_some_and(|end| end <= size) {
            nodes.insert((level, index), hash);
        }
    };
    let mut hash = leaf_hash::<H>(&receipt.entry);
    let mut index = receipt.index;
    let mut last = size.wrapping_sub(1);
    let mut level = 0_u32;
    insert(level, index, hash);
    for sibling in &receipt.path {
        // A right edge without a sibling is carried up unhashed.
        while index & 1 == 0 && index == last && last > 0 {
            index >>= 1;
            last >>= 1;
            level = level.saturating_add(1);
        }
        insert(level, index ^ 1, *sibling);
        hash = match index & 1 {
            1 => node_hash::<H>(sibling, &hash),
            _ => node_hash::<H>(&hash, sibling),
        };
        index >>= 1;
        last >>= 1;
        level = level.saturating_add(1);
        insert(level, index, hash);
    }
    insert_complete_root(&mut nodes, &receipt.checkpoint);
    nodes
}

/// The root of a tree of `2^k` leaves is a node of every larger tree.
fn insert_complete_root(nodes: &mut NodeMap, checkpoint: &Checkpoint) {
    if checkpoint.size.is_power_of_two() {
        nodes.insert((checkpoint.size.trailing_zeros(), 0), checkpoint.root);
    }
}
