//! RFC 6962 hashing, the compact range of a log, and the checks of inclusion and consistency
//! (RFC 9162 §2.1.3.2 and §2.1.4.2). Owns what a root means; refuses to know how nodes are kept.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use placet_types::hash::Hasher;

/// A 32-byte SHA-256 node or leaf hash.
pub type Hash = [u8; 32];

/// `SHA-256(0x00 ‖ entry)`, RFC 6962 §2.1.
#[must_use]
pub fn leaf_hash<H: Hasher>(entry: &[u8]) -> Hash {
    H::sha256(&[&[0x00], entry])
}

/// `SHA-256(0x01 ‖ left ‖ right)`, RFC 6962 §2.1.
#[must_use]
pub fn node_hash<H: Hasher>(left: &Hash, right: &Hash) -> Hash {
    H::sha256(&[&[0x01], left, right])
}

/// The root of the empty tree: SHA-256 of nothing.
#[must_use]
pub fn empty_root<H: Hasher>() -> Hash {
    H::sha256(&[])
}

/// Number of hashes in the inclusion path of leaf `index` in a tree of `size` leaves; `None` when
/// there is no such leaf.
#[must_use]
pub fn path_len(index: u64, size: u64) -> Option<u32> {
    if index >= size {
        return None;
    }
    // Below the point where the ways to the leaf and to the last leaf part there is a sibling at
    // each level; above it only where the way turns right.
    let inner = bit_len(index ^ size.wrapping_sub(1));
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    Some(inner.saturating_add(border))
}

fn bit_len(value: u64) -> u32 {
    u64::BITS.saturating_sub(value.leading_zeros())
}

/// The roots of the complete subtrees that make up a log, left to right: all that is needed to
/// append and to compute the root, in O(log n) memory.
///
/// INVARIANT: there are as many roots as `size` has one bits.
#[derive(Clone)]
pub struct CompactRange<H> {
    size: u64,
    roots: Vec<Hash>,
    hasher: PhantomData<fn() -> H>,
}

impl<H> PartialEq for CompactRange<H> {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.roots == other.roots
    }
}

impl<H> Eq for CompactRange<H> {}

impl<H> fmt::Debug for CompactRange<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompactRange")
            .field("size", &self.size)
            .field("roots", &self.roots.len())
            .finish()
    }
}

impl<H: Hasher> Default for CompactRange<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Hasher> CompactRange<H> {
    /// The range of the empty log.
    #[must_use]
    pub fn new() -> Self {
        Self { size: 0, roots: Vec::new(), hasher: PhantomData }
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the complete subtrees, left to right, largest first.
    #[must_use]
    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// Appends one leaf hash (see [`leaf_hash`]). Each inner node is hashed once, when its last
    /// leaf arrives.
    pub fn append(&mut self, leaf: Hash) {
        self.append_visit(0, leaf, &mut |_, _| {});
    }

    /// Appends a complete subtree of `2^level` leaves and reports every node that this completes,
    /// itself included, lowest first. The size must be a multiple of `2^level`.
    pub(crate) fn append_visit(
        &mut self,
        level: u32,
        root: Hash,
        visit: &mut dyn FnMut(u32, Hash),
    ) {
        debug_assert!(self.size.trailing_zeros() >= level);
        let mut hash = root;
        visit(level, hash);
        let carries = self.size.checked_shr(level).unwrap_or(0).trailing_ones();
        for step in 1..=carries {
            let Some(left) = self.roots.pop() else { break };
            hash = node_hash::<H>(&left, &hash);
            visit(level.saturating_add(step), hash);
        }
        self.roots.push(hash);
        self.size = self.size.saturating_add(1_u64.checked_shl(level).unwrap_or(0));
        debug_assert_eq!(self.roots.len(), self.size.count_ones() as usize);
    }

    /// The tree's root: `log2(size)` hashes at most.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        let Some(last) = roots.next() else {
            return empty_root::<H>();
        };
        roots.fold(*last, |right, left| node_hash::<H>(left, &right))
    }

    /// Canonical bytes: the size as u64 big-endian, then the 32-byte roots left to right.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.roots.len().saturating_mul(32).saturating_add(8));
        out.extend_from_slice(&self.size.to_be_bytes());
        for root in &self.roots {
            out.extend_from_slice(root);
        }
        out
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` unless the length is exactly the one that
    /// the size demands.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<8>()?;
        let size = u64::from_be_bytes(*head);
        let (chunks, tail) = rest.as_chunks::<32>();
        if !tail.is_empty() || chunks.len() != size.count_ones() as usize {
            return None;
        }
        Some(Self { size, roots: chunks.to_vec(), hasher: PhantomData })
    }
}

/// Why a proof does not prove what it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofError {
    /// The leaf index is not below the tree size.
    IndexOutOfRange,
    /// The old size is larger than the new one.
    SizeOrder,
    /// The proof has not the number of hashes that index and size demand.
    PathLength,
    /// The hashes do not lead to the root.
    RootMismatch,
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IndexOutOfRange => "the index is not below the tree size",
            Self::SizeOrder => "the old size is above the new size",
            Self::PathLength => "the proof has the wrong number of hashes",
            Self::RootMismatch => "the hashes do not lead to the root",
        })
    }
}

impl core::error::Error for ProofError {}

/// Checks that the tree of `size` leaves with `root` has `leaf` at `index` (RFC 9162 §2.1.3.2).
///
/// # Errors
/// Any [`ProofError`] except `SizeOrder`.
pub fn verify_inclusion<H: Hasher>(
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::IndexOutOfRange);
    }
    let mut node = index;
    let mut last = size.wrapping_sub(1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return Err(ProofError::PathLength);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash::<H>(sibling, &hash);
            // A right edge without a sibling is carried up unhashed.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash::<H>(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::PathLength);
    }
    if hash == *root { Ok(()) } else { Err(ProofError::RootMismatch) }
}

/// Checks that the tree of `new_size` leaves extends the tree of `old_size` leaves
/// (RFC 9162 §2.1.4.2). An empty old tree is a prefix of every tree; its proof is empty.
///
/// # Errors
/// Any [`ProofError`] except `IndexOutOfRange`.
pub fn verify_consistency<H: Hasher>(
    old_size: u64,
    new_size: u64,
    path: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::SizeOrder);
    }
    if old_size == 0 || old_size == new_size {
        if !path.is_empty() {
            return Err(ProofError::PathLength);
        }
        let held = match old_size {
            0 => *old_root == empty_root::<H>() && (new_size != 0 || old_root == new_root),
            _ => old_root == new_root,
        };
        return if held { Ok(()) } else { Err(ProofError::RootMismatch) };
    }
    // A complete old tree is itself the first node of the proof, so the proof leaves it out.
    let (first, rest) = if old_size.is_power_of_two() {
        (*old_root, path)
    } else {
        let (first, rest) = path.split_first().ok_or(ProofError::PathLength)?;
        (*first, rest)
    };
    let mut node = old_size.wrapping_sub(1);
    let shift = node.trailing_ones();
    node = node.checked_shr(shift).unwrap_or(0);
    let mut last = new_size.wrapping_sub(1).checked_shr(shift).unwrap_or(0);
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::PathLength);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash::<H>(sibling, &old_hash);
            new_hash = node_hash::<H>(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash::<H>(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::PathLength);
    }
    if old_hash == *old_root && new_hash == *new_root {
        Ok(())
    } else {
        Err(ProofError::RootMismatch)
    }
}

#[cfg(test)]
mod tests;
