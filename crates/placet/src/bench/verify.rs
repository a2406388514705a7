//! Verifying offline: receipts that share a checkpoint, and a whole log from its stored bytes.
//! Processor time, so that what else the machine does is not in the figure.

use super::report::{Report, Row};
use super::timed::nanos;
use crate::commands::audit::check;
use crate::local;
use anyhow::{Context, Result};
use clap::Args;
use placet_policy::Bundle;
use placet_policy::generate::{Shape, workload};
use placet_runtime::crypto::{Fast, MemorySigner, SystemEntropy};
use placet_runtime::frame::{Frame, SaltFor, SlotKeys, push};
use placet_runtime::ports::{Batch, Journal, Secret, Signer, Slots, WorkspaceNo};
use placet_store::{Create, DataDir, MasterKey};
use placet_tlog::merkle::leaf_hash;
use placet_tlog::note::{Checkpoint, VerifierKey};
use placet_tlog::receipt::write_receipt;
use placet_tlog::trust::TrustKey;
use placet_tlog::verify::Verifier;
use placet_tlog::{CompactRange, Tree, Trust};
use placet_types::Digest;
use placet_types::event::{DecisionEvent, Entry, Event, Genesis};
use placet_types::hash::Hasher;
use placet_types::ids::{DecisionId, PermitId, TimeMs, WorkspaceName};
use placet_types::policy::Outcome;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Entries per batch of the log.
const BATCH: usize = 256;
const SEED: u64 = 0x0070_1ace_7000;
const START: TimeMs = TimeMs(1_790_000_000_000);

/// Arguments of `bench verify`.
#[derive(Args, Debug)]
pub(super) struct Verify {
    /// Entries of the log that is made and verified
    #[arg(long, default_value_t = 200_000)]
    entries: usize,
    /// Receipts per batch of the measurement
    #[arg(long, default_value_t = 5_000)]
    receipts: usize,
}

impl Verify {
    pub(super) fn smoke(self) -> Self {
        Self { entries: 600, receipts: 20 }
    }
}

/// One processor second's worth, in both ways in which a log can be verified.
struct Rate {
    mb_per_cpu_second: f64,
    mb_per_second: f64,
}

pub(super) fn run(args: &Verify) -> Result<Report> {
    let scratch = std::env::temp_dir().join(format!("placet-bench-{}", std::process::id()));
    let report = measure(args, &scratch);
    std::fs::remove_dir_all(&scratch)?;
    report
}

fn measure(args: &Verify, scratch: &Path) -> Result<Report> {
    let block = [7_u8; 1024];
    let hash = nanos(args.receipts, |_| {
        black_box(Fast::sha256(&[black_box(&block)]));
    });
    let log = Log::make(&scratch.join("data"), args.entries)?;
    let receipts = log.receipts(args.receipts)?;
    let trust = Trust::new(vec![TrustKey::active(log.vkey.clone())])?;
    let mut verifier = Verifier::new(&trust);
    let mut wrong = 0;
    let each = nanos(receipts.len(), |at| {
        wrong += usize::from(verifier.verify(receipts[at % receipts.len()].as_bytes()).is_err());
    });
    anyhow::ensure!(wrong == 0, "{wrong} receipts were refused");
    let with = pass(&log.dir, 1)?;
    let all = pass(&log.dir, placet_runtime::scan::cores())?;
    // As whoever holds the log and not the keys verifies it.
    std::fs::remove_file(log.dir.path().join("keys.db"))?;
    let without = pass(&log.dir, 1)?;
    let rows = vec![
        Row::new("receipts that share a checkpoint, per core", 1e9 / each, "/s").at_least(10_000.0),
        Row::new("log without its payloads, per core", without.mb_per_cpu_second, "MB/s")
            .at_least(150.0),
        Row::new("log with its payloads, per core", with.mb_per_cpu_second, "MB/s").at_least(150.0),
        Row::new("log with its payloads, all cores, elapsed", all.mb_per_second, "MB/s"),
        Row::new("frame, mean", log.bytes as f64 / args.entries as f64, "bytes"),
    ];
    Ok(Report { bench: "verify", floor: vec![("SHA-256 over 1 KiB".into(), hash, "ns")], rows })
}

fn pass(dir: &DataDir, threads: usize) -> Result<Rate> {
    let mut best = Rate { mb_per_cpu_second: 0.0, mb_per_second: 0.0 };
    for _ in 0..3 {
        let (began, cpu) = (Instant::now(), process_seconds());
        let pass = check::verify(dir, dir, &mut [], threads)?;
        if let Some(fault) = pass.first_fault() {
            anyhow::bail!("the log that was made does not verify: {fault}");
        }
        let bytes: u64 = pass.logs.iter().map(|log| log.bytes).sum();
        let rate = |seconds: f64| bytes as f64 / 1e6 / seconds;
        let (cpu, elapsed) = (rate(process_seconds() - cpu), rate(began.elapsed().as_secs_f64()));
        best.mb_per_cpu_second = best.mb_per_cpu_second.max(cpu);
        best.mb_per_second = best.mb_per_second.max(elapsed);
    }
    Ok(best)
}

pub(super) fn process_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A log of decisions as the server writes it, made without a server.
struct Log {
    dir: DataDir,
    signer: Arc<MemorySigner>,
    vkey: VerifierKey,
    tree: Tree<Fast>,
    /// The first entries, for receipts.
    first: Vec<Vec<u8>>,
    bytes: usize,
}

/// What the log has of the bundle that its decisions name: its hash is checked, and it is never read.
const BUNDLE: &[u8] = b"bundle";

impl Log {
    fn make(path: &Path, entries: usize) -> Result<Self> {
        let master = MasterKey::parse(&"5a".repeat(32), "bench")?;
        let dir = DataDir::open_with_key(path, Create::Yes, Some(master))?;
        let identity = dir.identity()?;
        let signer = check::signers_of(&identity)?.pop().context("seed")?;
        let name = WorkspaceName::parse("bench").context("name")?;
        let origin = format!("placet/{}/{name}", identity.instance());
        let vkey = VerifierKey::new::<Fast>(&origin, signer.public_key())?;
        drop(identity);
        let mut journal = dir.journal()?;
        let mut slots = dir.slots()?;
        let workspace = journal.create_workspace(&name)?;
        journal.put_bundle(&Fast::sha256(&[BUNDLE]), BUNDLE)?;
        let decisions = decisions()?;
        let mut log =
            Self { dir, signer, vkey, tree: Tree::new(1 << 20), first: Vec::new(), bytes: 0 };
        let mut range = CompactRange::<Fast>::new();
        let (mut index, mut secrets, mut slot) = (0, Vec::new(), 0);
        while index < entries {
            let first_index = index as u64;
            let mut frames = Vec::new();
            let count = BATCH.min(entries - index);
            for _ in 0..count {
                if secrets.is_empty() {
                    secrets = (0..4096).map(|_| SystemEntropy.secret()).collect::<Vec<Secret>>();
                    slot = slots.create(&secrets)?;
                    secrets.reverse();
                }
                let secret = secrets.pop().context("a secret")?;
                log.append(&name, &decisions, (index, slot), &secret, &mut range, &mut frames);
                (index, slot) = (index + 1, slot + 1);
            }
            let count = u32::try_from(count)?;
            log.bytes += frames.len();
            let tree_state = range.encode();
            let batch = Batch { workspace, first_index, count, epoch: 1, frames, tree_state };
            journal.append(&[batch])?;
            debug_assert_eq!(workspace, WorkspaceNo(0));
        }
        let sizes = [(name.to_string(), index as u64)].into();
        log.dir.high_water()?.raise(&sizes)?;
        Ok(log)
    }

    fn append(
        &mut self,
        name: &WorkspaceName,
        decisions: &[(DecisionEvent, Vec<u8>)],
        (index, slot): (usize, u64),
        secret: &Secret,
        range: &mut CompactRange<Fast>,
        frames: &mut Vec<u8>,
    ) {
        let number = (index as u128).to_be_bytes();
        let (decision, plain) = &decisions[index % decisions.len()];
        let keys = SlotKeys::new(secret);
        let event = if index == 0 {
            Event::Genesis(Genesis {
                instance: self.vkey.name().split('/').nth(1).unwrap_or_default().to_owned(),
                origin: self.vkey.name().to_owned(),
                vkeys: vec![self.vkey.to_string()],
                principals: Vec::new(),
                bundle: None,
                constitution: 1,
            })
        } else {
            let mut decision = decision.clone();
            decision.decision = DecisionId::from_bytes(number);
            // Spread as the keyed hashes that the server writes.
            let [tag @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
                Fast::sha256(&[&number]);
            decision.idempotency = tag;
            if let Some(permit) = &mut decision.permit {
                permit.id = PermitId::from_bytes(number);
                permit.consumed = true;
            }
            Event::Decision(Arc::new(decision))
        };
        let entry = Entry {
            time: START.plus(index as u64 / 5),
            workspace: name.clone(),
            epoch: 1,
            dev: false,
            solo: false,
            name: DecisionId::from_bytes(number).to_string(),
            commitment: keys.commit(SaltFor::Action, &number),
            payload: keys.commit(SaltFor::Payload, plain),
            event,
        };
        let bytes = entry.to_bytes();
        let leaf = leaf_hash::<Fast>(&bytes);
        range.append(leaf);
        self.tree.append(leaf);
        push(frames, Frame { entry: &bytes, slot, payload: &keys.seal(slot, plain.clone()) });
        if self.first.len() < 4096 {
            self.first.push(bytes);
        }
    }

    /// Receipts for the first entries, all against the head.
    fn receipts(&self, count: usize) -> Result<Vec<String>> {
        let head = self.tree.head()?;
        let checkpoint = Checkpoint::new(self.vkey.name(), head.size(), head.root());
        let note = checkpoint.sign(&self.vkey, |body| self.signer.sign(body))?;
        let receipt = |(index, entry): (usize, &Vec<u8>)| {
            let index = index as u64;
            let path = self.tree.inclusion_proof_in(&head, index, &mut |_| None)?;
            Ok(write_receipt(entry, index, &path, &note))
        };
        self.first.iter().enumerate().take(count).map(receipt).collect()
    }
}

/// What the engine decides about the generator's requests, and the payloads beside it.
fn decisions() -> Result<Vec<(DecisionEvent, Vec<u8>)>> {
    let work = workload(100, 512, Shape::Plain, SEED).context("the generator's bundle")?;
    let bundle = Bundle::compile::<Fast>(&work.sources)
        .map_err(|errors| anyhow::anyhow!("{} errors", errors.len()))?;
    let mut out = Vec::new();
    for (request, caller) in &work.requests {
        let mut event = local::decide(&bundle, request, caller.clone())?.event().clone();
        // A hold would have to be closed, and a long one is bound in memory.
        if event.outcome == Outcome::RequireApproval {
            continue;
        }
        event.policy = Some(Digest(Fast::sha256(&[BUNDLE])));
        event.window_ms = 1000;
        event.previous = None;
        let plain = format!(
            r#"{{"facts":{{"roles":["support"]}},"request":{{"pad":"{}"}}}}"#,
            "x".repeat(600)
        );
        out.push((event, plain.into_bytes()));
    }
    anyhow::ensure!(!out.is_empty(), "the generator's requests are all held");
    Ok(out)
}
