//! The tree against a naive recursive reading of RFC 6962, for every size, window and proof.

use super::*;
use crate::merkle::{leaf_hash, verify_consistency, verify_inclusion};
use crate::verify::PortableHasher as H;
use proptest::prelude::*;
use std::vec::Vec;

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash::<H>(&i.to_be_bytes())).collect()
}

/// MTH of RFC 6962 §2.1.
fn reference_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root::<H>(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash::<H>(&reference_root(left), &reference_root(right))
        }
    }
}

fn split(len: usize) -> usize {
    len.next_power_of_two() / 2
}

/// PATH of RFC 6962 §2.1.1.
fn reference_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, other) = if index < left.len() {
        (reference_path(index, left), right)
    } else {
        (reference_path(index - left.len(), right), left)
    };
    path.push(reference_root(other));
    path
}

/// SUBPROOF of RFC 6962 §2.1.2.
fn reference_subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { Vec::from([reference_root(leaves)]) };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, other) = if old <= left.len() {
        (reference_subproof(old, left, whole), right)
    } else {
        (reference_subproof(old - left.len(), right, false), left)
    };
    path.push(reference_root(other));
    path
}

fn build(window: u64, leaves: &[Hash]) -> Tree<H> {
    let mut tree = Tree::new(window);
    leaves.iter().for_each(|leaf| tree.append(*leaf));
    tree
}

fn tile(leaves: &[Hash], number: u64) -> Option<Vec<Hash>> {
    let start = usize::try_from(number * 256).ok()?;
    Some(leaves.get(start..start + 256)?.to_vec())
}

#[test]
fn root_range_and_head_agree_with_the_reference_at_every_size() {
    let all = leaves(700);
    let mut tree = Tree::<H>::new(256);
    let mut range = CompactRange::<H>::new();
    for size in 0..=all.len() {
        let root = reference_root(&all[..size]);
        assert_eq!(tree.size(), size as u64);
        assert_eq!(tree.root(), root, "{size}");
        assert_eq!(range.root(), root);
        assert_eq!(tree.compact_range(), range);
        let head = tree.head().unwrap();
        assert_eq!((head.size(), head.root()), (size as u64, root));
        let bytes = range.encode();
        assert_eq!(bytes.len(), 8 + 32 * size.count_ones() as usize);
        assert_eq!(CompactRange::<H>::decode(&bytes).unwrap(), range);
        assert!(CompactRange::<H>::decode(&bytes[..bytes.len() - 1]).is_none());
        assert!(CompactRange::<H>::decode(&[&bytes[..], &[0; 32]].concat()).is_none());
        if let Some(leaf) = all.get(size) {
            tree.append(*leaf);
            range.append(*leaf);
        }
    }
}

#[test]
fn every_proof_up_to_520_is_the_reference_and_verifies() {
    let all = leaves(520);
    let tree = build(1024, &all);
    let mut none = |_| None;
    for size in 1..=all.len() {
        let now = build(4096, &all[..size]);
        let (head, root) = (now.head().unwrap(), now.root());
        assert_eq!(tree.root_at(size as u64, &mut none).unwrap(), root);
        for index in 0..size {
            let (i, n) = (index as u64, size as u64);
            let path = tree.inclusion_proof(i, n, &mut none).unwrap();
            if size % 61 == 0 || size == 513 {
                assert_eq!(path, reference_path(index, &all[..size]));
            }
            assert_eq!(now.inclusion_proof_in(&head, i, &mut none).unwrap(), path);
            assert_eq!(crate::merkle::path_len(i, n), Some(path.len() as u32));
            verify_inclusion::<H>(&all[index], i, n, &path, &root).unwrap();
        }
    }
}

#[test]
fn every_consistency_proof_up_to_130_is_the_reference_and_verifies() {
    let all = leaves(130);
    let tree = build(256, &all);
    let roots: Vec<Hash> = (0..=all.len()).map(|n| reference_root(&all[..n])).collect();
    for new in 0..=all.len() {
        for old in 0..=new {
            let (m, n) = (old as u64, new as u64);
            let path = tree.consistency_proof(m, n, &mut |_| None).unwrap();
            if old > 0 {
                assert_eq!(path, reference_subproof(old, &all[..new], true), "{old} {new}");
            }
            verify_consistency::<H>(m, n, &path, &roots[old], &roots[new]).unwrap();
        }
    }
}

#[test]
fn a_pruned_tile_is_asked_for_once_and_checked() {
    let all = leaves(3000);
    let tree = build(512, &all);
    assert_eq!(tree.first_kept(), 9 * 256);
    let root = tree.root();
    for index in [0_u64, 255, 256, 1000, 2303] {
        let mut asked = Vec::new();
        let path = tree
            .inclusion_proof(index, 3000, &mut |number| {
                asked.push(number);
                tile(&all, number)
            })
            .unwrap();
        assert_eq!(asked, [index / 256]);
        verify_inclusion::<H>(&all[index as usize], index, 3000, &path, &root).unwrap();
    }
    for index in 2304..3000_u64 {
        let path = tree.inclusion_proof(index, 3000, &mut |_| None).unwrap();
        verify_inclusion::<H>(&all[index as usize], index, 3000, &path, &root).unwrap();
    }
    assert_eq!(tree.inclusion_proof(5, 3000, &mut |_| None), Err(TreeError::TileMissing(0)));
    let damaged = |number| {
        let mut leaves = tile(&all, number)?;
        leaves[77][3] ^= 1;
        Some(leaves)
    };
    let short = |number| tile(&all, number).map(|leaves| leaves[..255].to_vec());
    for source in [&mut { damaged } as &mut TileSource<'_>, &mut { short }] {
        assert_eq!(tree.inclusion_proof(5, 3000, source), Err(TreeError::TileMismatch(0)));
    }
}

#[test]
fn outside_the_tree_there_are_no_proofs() {
    let tree = build(256, &leaves(10));
    let mut none = |_| None;
    let refused = Err(TreeError::OutOfRange);
    assert_eq!(tree.inclusion_proof(10, 10, &mut none), refused);
    assert_eq!(tree.inclusion_proof(0, 0, &mut none), refused);
    assert_eq!(tree.inclusion_proof(0, 11, &mut none), refused);
    assert_eq!(tree.consistency_proof(5, 11, &mut none), refused);
    assert_eq!(tree.consistency_proof(6, 5, &mut none), refused);
    assert_eq!(tree.root_at(11, &mut none), Err(TreeError::OutOfRange));
    let newer = build(256, &leaves(11)).head().unwrap();
    assert_eq!(tree.inclusion_proof_in(&newer, 0, &mut none), refused);
    let empty = Tree::<H>::default();
    assert_eq!(empty.head().unwrap().root(), empty_root::<H>());
    assert_eq!(empty.node(0, 0), None);
}

#[test]
fn a_restored_tree_goes_on_as_if_nothing_had_happened() {
    let all = leaves(2000);
    let mut whole = build(256, &all[..1500]);
    let tiles: Vec<Hash> = (0..5).map(|n| whole.node(8, n).unwrap()).collect();
    let mut restored = Tree::<H>::restore(256, &tiles, &all[1280..1500]).unwrap();
    assert!(Tree::<H>::restore(256, &tiles, &all[1280..1536]).is_none());
    for leaf in &all[1500..] {
        assert_eq!(restored.root(), whole.root());
        whole.append(*leaf);
        restored.append(*leaf);
    }
    assert_eq!(restored.compact_range(), whole.compact_range());
    let mut source = |number| tile(&all, number);
    for index in (0..2000).step_by(37) {
        assert_eq!(
            restored.inclusion_proof(index, 2000, &mut source),
            whole.inclusion_proof(index, 2000, &mut source)
        );
    }
}

/// Ten million appends with a cheap stand-in for the hash: memory is what is asked about.
#[test]
fn ten_million_entries_stay_below_three_megabytes() {
    #[derive(Clone, Copy)]
    struct Cheap;
    impl Hasher for Cheap {
        fn sha256(parts: &[&[u8]]) -> [u8; 32] {
            let mut out = [1; 32];
            for byte in parts.iter().flat_map(|part| part.first_chunk::<1>()) {
                out[0] ^= byte[0];
            }
            out
        }
        fn hmac(_: &[u8], parts: &[&[u8]]) -> [u8; 32] {
            Self::sha256(parts)
        }
    }
    let mut tree = Tree::<Cheap>::default();
    for i in 0..10_000_000_u64 {
        tree.append([(i & 255) as u8; 32]);
    }
    let rows = tree.recent.iter().flat_map(|tile| &tile.levels);
    let recent: usize = rows.map(Vec::capacity).sum();
    let pieces = tree.upper.iter().flat_map(|level| &level.pieces);
    let upper: usize = pieces.map(Vec::capacity).sum();
    let bytes = 32 * (recent + upper);
    assert!(bytes < 3_000_000, "{bytes}");
    assert!(bytes > 2_500_000, "the levels above the tiles are kept whole");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pruned_and_whole_trees_give_the_same_proofs(
        size in 1_u64..6000,
        window in 0_u64..1500,
        picks in prop::collection::vec((any::<u64>(), any::<u64>()), 24),
    ) {
        let all = leaves(size);
        let tree = build(window, &all);
        let whole = build(u64::MAX, &all);
        prop_assert_eq!(tree.root(), reference_root(&all));
        prop_assert!(size - tree.first_kept() >= window.min(size));
        let (tree_head, whole_head) = (tree.head().unwrap(), whole.head().unwrap());
        prop_assert_eq!(&tree_head, &whole_head);
        for (a, b) in picks {
            let at = a % size + 1;
            let index = b % at;
            let mut asked = 0;
            let mut source = |number| { asked += 1; tile(&all, number) };
            let path = tree.inclusion_proof(index, at, &mut source).unwrap();
            prop_assert!(asked <= 2);
            let root = whole.root_at(at, &mut |_| None).unwrap();
            prop_assert_eq!(root, reference_root(&all[..at as usize]));
            let mut source = |number| tile(&all, number);
            prop_assert_eq!(tree.root_at(at, &mut source).unwrap(), root);
            prop_assert_eq!(&path, &whole.inclusion_proof(index, at, &mut |_| None).unwrap());
            prop_assert!(verify_inclusion::<H>(&all[index as usize], index, at, &path, &root).is_ok());
            let path = tree.inclusion_proof_in(&tree_head, index, &mut source).unwrap();
            prop_assert!(verify_inclusion::<H>(&all[index as usize], index, size, &path, &tree_head.root()).is_ok());
            let path = tree.consistency_proof(index, at, &mut source).unwrap();
            let old = whole.root_at(index, &mut |_| None).unwrap();
            prop_assert!(verify_consistency::<H>(index, at, &path, &old, &root).is_ok());
        }
    }
}
