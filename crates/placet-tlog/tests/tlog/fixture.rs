//! A small log with a deterministic key, and the means to break it in one place.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use placet_tlog::merkle::leaf_hash;
use placet_tlog::receipt::write_receipt;
use placet_tlog::trust::{KeyStatus, TrustKey};
use placet_tlog::verify::PortableHasher;
use placet_tlog::{Checkpoint, Tree, Trust, VerifierKey};

pub(crate) const ORIGIN: &str = "placet/0123456789abcdef/acme";
pub(crate) const INDEX: u64 = 6;

pub(crate) fn signing(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn key(seed: u8, name: &str) -> VerifierKey {
    let public = signing(seed).verifying_key().to_bytes();
    VerifierKey::new::<PortableHasher>(name, public).unwrap()
}

/// A trust file with one key.
pub(crate) fn trust_one(key: VerifierKey, status: KeyStatus, from: u64, to: Option<u64>) -> Trust {
    Trust::new(vec![TrustKey { key, from_size: from, to_size: to, status }]).unwrap()
}

pub(crate) fn trust() -> Trust {
    trust_one(key(7, ORIGIN), KeyStatus::Active, 0, None)
}

/// A canonical entry of the workspace `acme`.
pub(crate) fn entry(number: u64) -> Vec<u8> {
    format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","predicate":{{"data":{{"decision":"dec_{number:032x}","outcome":"PERMIT","policy":"sha256:{number:064x}","rules":["allow-small"]}},"epoch":1,"time_ms":1795000000000,"type":"decision","v":1,"workspace":"acme"}},"predicateType":"urn:placet:event:1","subject":[{{"digest":{{"placetCommitment":"{number:064x}"}},"name":"dec_{number:032x}"}}]}}"#
    )
    .into_bytes()
}

pub(crate) struct Log {
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) tree: Tree<PortableHasher>,
}

impl Log {
    pub(crate) fn new(entries: Vec<Vec<u8>>) -> Self {
        let mut tree = Tree::default();
        for entry in &entries {
            tree.append(leaf_hash::<PortableHasher>(entry));
        }
        Self { entries, tree }
    }

    /// Eleven good entries.
    pub(crate) fn good() -> Self {
        Self::new((0..11).map(entry).collect())
    }

    /// Eleven entries of which number [`INDEX`] is `odd`, properly logged.
    pub(crate) fn with(odd: impl Into<Vec<u8>>) -> Self {
        let mut entries: Vec<Vec<u8>> = (0..11).map(entry).collect();
        entries[INDEX as usize] = odd.into();
        Self::new(entries)
    }

    pub(crate) fn body(&self) -> String {
        Checkpoint::new(ORIGIN, self.tree.size(), self.tree.root()).body()
    }

    /// The receipt for `index` with `note` as its checkpoint.
    pub(crate) fn receipt_with(&self, index: u64, note: &str) -> String {
        let size = self.tree.size();
        let path = self.tree.inclusion_proof(index, size, &mut |_| None).unwrap();
        write_receipt(&self.entries[index as usize], index, &path, note)
    }

    pub(crate) fn receipt(&self, index: u64) -> String {
        self.receipt_with(index, &note(&self.body(), &[(7, ORIGIN)]))
    }
}

/// A note over `text` by the given keys.
pub(crate) fn note(text: &str, signers: &[(u8, &str)]) -> String {
    let mut note = format!("{text}\n");
    for (seed, name) in signers {
        let signature = signing(*seed).sign(text.as_bytes()).to_bytes();
        note.push_str(&key(*seed, name).signature_line(&signature));
    }
    note
}

/// A signature line with arbitrary bytes after the key id.
pub(crate) fn line(name: &str, id: [u8; 4], signature: &[u8]) -> String {
    let bytes = [&id, signature].concat();
    format!("\u{2014} {name} {}\n", STANDARD.encode(bytes))
}

/// `text` with the base64 text that ends at its last character spelled with an unused bit set: a
/// lenient reader decodes the same bytes.
pub(crate) fn loose_base64(text: &str) -> String {
    let bare = text.trim_end_matches('=');
    assert!(bare.len() < text.len(), "no unused bits in {text}");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let last = bare.chars().last().unwrap();
    let at = alphabet.find(last).unwrap();
    let next = alphabet.chars().nth(at ^ 1).unwrap();
    let padding = &text[bare.len()..];
    format!("{}{next}{padding}", &bare[..bare.len() - 1])
}
