//! Hashes and proofs against the published Certificate Transparency vectors, and every one-bit
//! alteration of a proof.

use super::*;
use crate::tree::Tree;
use crate::verify::PortableHasher as H;
use placet_types::hash::{hex_decode, hex_encode};
use std::vec::Vec;

const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn hash(hex: &str) -> Hash {
    let mut out = [0; 32];
    hex_decode(hex, &mut out).unwrap();
    out
}

fn ct_leaves() -> Vec<Hash> {
    let bytes = |hex: &str| {
        let mut out = std::vec![0; hex.len() / 2];
        hex_decode(hex, &mut out).unwrap();
        out
    };
    LEAVES.iter().map(|hex| leaf_hash::<H>(&bytes(hex))).collect()
}

fn tree(leaves: &[Hash]) -> Tree<H> {
    let mut tree = Tree::new(256);
    leaves.iter().for_each(|leaf| tree.append(*leaf));
    tree
}

#[test]
fn hashes_are_those_of_rfc_6962() {
    assert_eq!(hex_encode(&empty_root::<H>()), ROOTS[0]);
    assert_eq!(hex_encode(&leaf_hash::<H>(b"")), ROOTS[1]);
    assert_eq!(
        hex_encode(&leaf_hash::<H>(b"L123456")),
        "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    );
    // The leaf prefix keeps a leaf from passing for a node.
    let (left, right) = (leaf_hash::<H>(b"a"), leaf_hash::<H>(b"b"));
    let pair = [left, right].concat();
    assert_ne!(node_hash::<H>(&left, &right), leaf_hash::<H>(&pair));
    assert_ne!(node_hash::<H>(&left, &right), node_hash::<H>(&right, &left));
}

#[test]
fn roots_are_the_published_ones() {
    let leaves = ct_leaves();
    let mut range = CompactRange::<H>::new();
    assert_eq!(hex_encode(&range.root()), ROOTS[0]);
    for (leaf, root) in leaves.iter().zip(&ROOTS[1..]) {
        range.append(*leaf);
        assert_eq!(hex_encode(&range.root()), *root);
    }
}

#[test]
fn proofs_are_the_published_ones() {
    let tree = tree(&ct_leaves());
    let mut none = |_| None;
    let inclusion: [(u64, u64, &[&str]); 2] = [
        (
            0,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            &[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
    ];
    for (index, size, want) in inclusion {
        let got = tree.inclusion_proof(index, size, &mut none).unwrap();
        let got: Vec<_> = got.iter().map(|hash| hex_encode(hash)).collect();
        assert_eq!(got, want);
    }
    let consistency: [(u64, u64, &[&str]); 3] = [
        (1, 8, inclusion[0].2),
        (
            6,
            8,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            &[
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ];
    for (old, new, want) in consistency {
        let got = tree.consistency_proof(old, new, &mut none).unwrap();
        let got: Vec<_> = got.iter().map(|hash| hex_encode(hash)).collect();
        assert_eq!(got, want);
        let roots = (hash(ROOTS[old as usize]), hash(ROOTS[new as usize]));
        let path: Vec<_> = want.iter().map(|hex| hash(hex)).collect();
        verify_consistency::<H>(old, new, &path, &roots.0, &roots.1).unwrap();
    }
}

/// Every value that differs from `base` in one bit, or in a hash added or left out.
fn alterations(path: &[Hash]) -> Vec<Vec<Hash>> {
    let mut out = Vec::new();
    for at in 0..path.len() {
        for bit in 0..256 {
            let mut altered = path.to_vec();
            altered[at][bit / 8] ^= 1 << (bit % 8);
            out.push(altered);
        }
        let mut shorter = path.to_vec();
        shorter.remove(at);
        out.push(shorter);
    }
    for at in 0..=path.len() {
        let mut longer = path.to_vec();
        longer.insert(at, [0x5a; 32]);
        out.push(longer);
    }
    out
}

#[test]
fn every_altered_inclusion_proof_is_refused() {
    for size in [1_u64, 2, 3, 5, 8, 11, 21] {
        let leaves: Vec<Hash> = (0..size).map(|i| leaf_hash::<H>(&[i as u8])).collect();
        let tree = tree(&leaves);
        let root = tree.root();
        for index in 0..size {
            let leaf = leaves[index as usize];
            let path = tree.inclusion_proof(index, size, &mut |_| None).unwrap();
            let check = |leaf: &Hash, index, path: &[Hash], root: &Hash| {
                verify_inclusion::<H>(leaf, index, size, path, root)
            };
            check(&leaf, index, &path, &root).unwrap();
            for altered in alterations(&path) {
                assert!(check(&leaf, index, &altered, &root).is_err());
            }
            for bit in 0..64 {
                assert!(check(&leaf, index ^ (1 << bit), &path, &root).is_err());
            }
            for bit in 0..256 {
                let mut altered = leaf;
                altered[bit / 8] ^= 1 << (bit % 8);
                assert!(check(&altered, index, &path, &root).is_err());
                let mut altered = root;
                altered[bit / 8] ^= 1 << (bit % 8);
                assert!(check(&leaf, index, &path, &altered).is_err());
            }
        }
    }
}

/// The size alone is not bound by the root: only a checkpoint, which signs both, binds it. A size
/// that asks for another path length is refused even so.
#[test]
fn an_altered_size_is_refused_when_it_changes_the_path() {
    let leaves: Vec<Hash> = (0..21_u8).map(|i| leaf_hash::<H>(&[i])).collect();
    let tree = tree(&leaves);
    for index in 0..21_u64 {
        let path = tree.inclusion_proof(index, 21, &mut |_| None).unwrap();
        for size in (0..64).filter(|size| path_len(index, *size) != path_len(index, 21)) {
            let leaf = &leaves[index as usize];
            assert!(verify_inclusion::<H>(leaf, index, size, &path, &tree.root()).is_err());
        }
    }
}

#[test]
fn every_altered_consistency_proof_is_refused() {
    let leaves: Vec<Hash> = (0..21_u8).map(|i| leaf_hash::<H>(&[i])).collect();
    let tree = tree(&leaves);
    let root_at = |size| tree.root_at(size, &mut |_| None).unwrap();
    for (old, new) in [(1, 2), (3, 7), (4, 9), (8, 21), (13, 21), (20, 21), (21, 21), (0, 5)] {
        let path = tree.consistency_proof(old, new, &mut |_| None).unwrap();
        let (a, b) = (root_at(old), root_at(new));
        verify_consistency::<H>(old, new, &path, &a, &b).unwrap();
        for altered in alterations(&path) {
            assert!(verify_consistency::<H>(old, new, &altered, &a, &b).is_err());
        }
        for bit in 0..256 {
            let flip = |hash: Hash| {
                let mut hash = hash;
                hash[bit / 8] ^= 1 << (bit % 8);
                hash
            };
            assert!(verify_consistency::<H>(old, new, &path, &flip(a), &b).is_err());
            // An empty old tree is a prefix of anything, so its proof says nothing of the new one.
            let held = verify_consistency::<H>(old, new, &path, &a, &flip(b)).is_ok();
            assert_eq!(held, old == 0);
        }
    }
    assert_eq!(
        verify_consistency::<H>(2, 1, &[], &root_at(2), &root_at(1)),
        Err(ProofError::SizeOrder)
    );
    // Two logs that share a size but not an entry cannot both be extended to one.
    let forked = leaf_hash::<H>(b"another");
    assert!(verify_consistency::<H>(1, 1, &[], &leaves[0], &forked).is_err());
}
