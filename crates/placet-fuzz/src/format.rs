//! The formats by name: good inputs of each, and what must hold of it. Owns where good inputs come
//! from; knows nothing of who spoils them.

use crate::Held;
use placet_engine::{Bounds, IdempotencyKeys, State};
use placet_policy::{Bundle, Source};
use placet_runtime::frame::{Frame, push};
use placet_tlog::Trust;
use placet_tlog::verify::PortableHasher;
use placet_types::event::Entry;
use placet_types::ids::TimeMs;
use std::path::Path;

type Property = Box<dyn Fn(&[u8]) -> Held + Send + Sync>;

/// A format that comes from outside, or from a disk that others can write to.
pub struct Format {
    seeds: Vec<Vec<u8>>,
    property: Property,
}

impl Format {
    /// The names of all.
    pub const NAMES: [&str; 10] = [
        "request",
        "bundle",
        "normal-bundle",
        "entry",
        "receipt",
        "checkpoint",
        "trust",
        "frame",
        "snapshot",
        "keys",
    ];

    /// The format of that name, if there is one. Its good inputs are read from this crate's folder `seeds`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (seeds, property): (_, Property) = match name {
            "request" => (stored("request"), Box::new(crate::request)),
            "bundle" => (stored("bundle"), Box::new(crate::bundle)),
            "normal-bundle" => (normal_bundles(), Box::new(crate::normal_bundle)),
            "entry" => (stored("entry"), Box::new(crate::entry)),
            "receipt" => {
                let (genuine, trust) = (stored("receipt"), trust()?);
                (stored("receipt"), Box::new(move |it| crate::receipt(it, &genuine, &trust)))
            }
            "checkpoint" => {
                let (genuine, trust) = (stored("checkpoint").pop()?, trust()?);
                (stored("checkpoint"), Box::new(move |it| crate::checkpoint(it, &genuine, &trust)))
            }
            "trust" => (stored("trust"), Box::new(crate::trust)),
            "frame" => (batches(), Box::new(crate::frame)),
            "snapshot" => (snapshots(), Box::new(crate::snapshot)),
            "keys" => (runs(), Box::new(crate::keys)),
            _ => return None,
        };
        Some(Self { seeds, property })
    }

    /// Good inputs.
    #[must_use]
    pub fn seeds(&self) -> &[Vec<u8>] {
        &self.seeds
    }

    /// Whether the bytes are accepted.
    ///
    /// # Errors
    /// What does not hold of them.
    pub fn holds(&self, bytes: &[u8]) -> Held {
        (self.property)(bytes)
    }
}

/// What lies in this crate's folder, in the order of the names.
fn stored(format: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(format);
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<_> = files.map(|file| file.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

fn trust() -> Option<Trust> {
    Trust::parse::<PortableHasher>(stored("trust").first()?).ok()
}

fn entries() -> Vec<Entry> {
    stored("entry").iter().filter_map(|bytes| Entry::parse(bytes).ok()).collect()
}

fn normal_bundles() -> Vec<Vec<u8>> {
    let normal = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).ok()?;
        let source = Source { name: "seed".to_owned(), text };
        Some(Bundle::compile::<PortableHasher>(&[source]).ok()?.normalised().to_vec())
    };
    stored("bundle").into_iter().filter_map(normal).collect()
}

fn batches() -> Vec<Vec<u8>> {
    let mut batches = vec![Vec::new(); 3];
    for (at, entry) in stored("entry").iter().enumerate() {
        let payload = vec![u8::try_from(at).unwrap_or(u8::MAX); at * 7];
        push(&mut batches[at % 3], Frame { entry, slot: at as u64, payload: &payload });
    }
    batches
}

/// The state after each of the entries that it takes.
fn snapshots() -> Vec<Vec<u8>> {
    let mut state = State::new(Bounds::default());
    let after = |entry: &Entry| {
        state.apply(entry).ok()?;
        let mut bytes = Vec::new();
        state.write_snapshot(&mut bytes);
        Some(bytes)
    };
    entries().iter().filter_map(after).collect()
}

/// Keys of all entries, and three of them.
fn runs() -> Vec<Vec<u8>> {
    let mut state = State::new(Bounds::default());
    state.gather_idempotency();
    if entries().iter().any(|entry| state.apply(entry).is_err()) {
        return Vec::new();
    }
    let mut run = Vec::new();
    state.gather_idempotency().write_run(TimeMs(0), &mut run);
    let three = run.len().min(3 * IdempotencyKeys::RUN_BYTES);
    vec![run[..three].to_vec(), run]
}
