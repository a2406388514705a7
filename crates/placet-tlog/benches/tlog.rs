//! Cost of the log's hot paths with portable hashing: append, head, proof, receipt, verification.
//! `cargo bench -p placet-tlog` measures; any other run does each step once, as a test.

use ed25519_dalek::{Signer as _, SigningKey};
use placet_tlog::merkle::leaf_hash;
use placet_tlog::receipt::write_receipt;
use placet_tlog::tiles::{hash_tiles, write_hashes};
use placet_tlog::trust::TrustKey;
use placet_tlog::verify::{PortableHasher as H, Verifier, verify_receipt};
use placet_tlog::{Checkpoint, CosignerKey, Policy, TileReader, TileRef, Tree, Trust, VerifierKey};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

const ORIGIN: &str = "placet/0123456789abcdef/acme";

/// About 1 KiB, as a decision is.
fn entry(number: u64) -> Vec<u8> {
    let pad = "x".repeat(600);
    format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","predicate":{{"decision":"dec_{number:032x}","epoch":1,"outcome":"PERMIT","pad":"{pad}","policy":"sha256:{number:064x}","rules":["allow-small"],"time_ms":1795000000000,"type":"decision","v":1,"workspace":"acme"}},"predicateType":"urn:placet:event:1","subject":[{{"digest":{{"placetCommitment":"{number:064x}"}},"name":"dec_{number:032x}"}}]}}"#
    )
    .into_bytes()
}

fn measure(name: &str, count: u64, mut step: impl FnMut(u64)) {
    let start = Instant::now();
    (0..count).for_each(&mut step);
    let each = start.elapsed().as_secs_f64() * 1e9 / count as f64;
    println!("{name:<46} {each:>10.0} ns {:>12.0} /s", 1e9 / each);
}

fn main() {
    let full = std::env::args().any(|argument| argument == "--bench");
    let count = if full { 100_000 } else { 300 };
    let key = SigningKey::from_bytes(&[7; 32]);
    let name = VerifierKey::new::<H>(ORIGIN, key.verifying_key().to_bytes()).unwrap();
    let trust = Trust::new(vec![TrustKey::active(name.clone())]).unwrap();

    let entries: Vec<Vec<u8>> = (0..count).map(entry).collect();
    let leaves: Vec<[u8; 32]> = entries.iter().map(|entry| leaf_hash::<H>(entry)).collect();
    let mut tree = Tree::<H>::default();
    measure("append a leaf hash", count, |i| tree.append(leaves[i as usize]));
    measure("root", count, |_| {
        black_box(tree.root());
    });
    measure("head", count, |_| {
        black_box(tree.head().unwrap());
    });
    let head = tree.head().unwrap();
    let recent = |i: u64| count - 1 - i % count.min(4000);
    measure("inclusion proof, recent leaf, shared head", count, |i| {
        let path = tree.inclusion_proof_in(&head, recent(i), &mut |_| None);
        black_box(path.unwrap());
    });
    measure("inclusion proof, recent leaf, no head", count, |i| {
        let path = tree.inclusion_proof(recent(i), count, &mut |_| None);
        black_box(path.unwrap());
    });
    let mut tiles = |tile: u64| {
        let start = tile as usize * 256;
        Some(leaves.get(start..start + 256)?.to_vec())
    };
    measure("inclusion proof, pruned tile rebuilt", count.min(2000), |i| {
        let path = tree.inclusion_proof_in(&head, i, &mut tiles);
        black_box(path.unwrap());
    });

    let checkpoint = Checkpoint::new(ORIGIN, head.size(), head.root());
    let note = checkpoint.sign(&name, |bytes| key.sign(bytes).to_bytes()).unwrap();
    let make = |i: u64| {
        let index = recent(i);
        let path = tree.inclusion_proof_in(&head, index, &mut |_| None).unwrap();
        write_receipt(&entries[index as usize], index, &path, &note)
    };
    measure("receipt text", count, |i| {
        black_box(make(i));
    });
    let receipts: Vec<String> = (0..count.min(4000)).map(make).collect();
    let receipt = |i: u64| receipts[i as usize % receipts.len()].as_bytes();
    let mut verifier = Verifier::new(&trust);
    measure("verify, shared checkpoint", count.min(50_000), |i| {
        black_box(verifier.verify(receipt(i)).unwrap());
    });
    measure("verify, one by one", count.min(5_000), |i| {
        black_box(verify_receipt(receipt(i), &trust).unwrap());
    });

    let policy = format!("witness w {}\nquorum w\n", witness(&key));
    let policy = Policy::parse::<H>(policy.as_bytes()).unwrap();
    let sign = |bytes: &[u8]| key.sign(bytes).to_bytes();
    let line = witness(&key).cosign(&checkpoint.body(), 1_795_000_000, sign).unwrap();
    let cosigned: Vec<String> = receipts.iter().map(|text| format!("{text}{line}")).collect();
    measure("verify, one by one, one witness", count.min(5_000), |i| {
        let mut verifier = Verifier::new(&trust).with_witnesses(&policy);
        black_box(verifier.verify(cosigned[i as usize % cosigned.len()].as_bytes()).unwrap());
    });

    let recent_tile = TileRef::at(placet_tlog::Row::Hashes(0), (count - 1) / 256, count).unwrap();
    measure("tile, recent", count.min(20_000), |_| {
        black_box(tree.tile(&recent_tile, &mut |_| None).unwrap());
    });
    let mut files = BTreeMap::new();
    for tile in hash_tiles(0, count) {
        files.insert(tile, write_hashes(&tree.tile(&tile, &mut tiles).unwrap()));
    }
    let mut reader =
        TileReader::<_, H>::open(count, tree.root(), |tile: &TileRef| files.get(tile).cloned());
    let reader = reader.as_mut().unwrap();
    measure("inclusion proof from tiles, leaves in order", count, |i| {
        black_box(reader.inclusion_proof(i, count).unwrap());
    });
}

fn witness(key: &SigningKey) -> CosignerKey {
    CosignerKey::new::<H>("w.example", key.verifying_key().to_bytes()).unwrap()
}
