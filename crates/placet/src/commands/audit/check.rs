//! `audit verify`: one pass over each log that believes nothing but the bytes: hashes, seals, form,
//! payloads, high-water marks, the signing key, roots that were signed once, and the fold.

mod batch;

use super::roots::{self, Root};
use crate::exit::{self, Done, Fault};
use crate::output;
use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use batch::{Look, Looked, Payloads};
use indicatif::ProgressBar;
use placet_engine::{Bounds, LogSigner, State};
use placet_runtime::crypto::{Fast, MemorySigner};
use placet_runtime::ports::{JournalReader, Signer, Snapshots, WorkspaceNo};
use placet_runtime::scan::{self, scan};
use placet_runtime::{check_signers, contradicted};
use placet_store::backup::{self, Manifest};
use placet_store::{DataDir, HighWater, Identity, OpenError, SqliteSlotReader};
use placet_tlog::note::{Checkpoint, VerifierKey};
use placet_tlog::trust::TrustKey;
use placet_tlog::verify::verify_checkpoint;
use placet_tlog::{CompactRange, Trust};
use placet_types::Digest;
use placet_types::event::{Entry, Event};
use placet_types::hash::Hasher;
use placet_types::ids::WorkspaceName;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// What one log came to.
#[derive(Default)]
pub(crate) struct Checked {
    /// Its number; none where the log is gone altogether.
    pub(crate) no: Option<WorkspaceNo>,
    pub(crate) name: String,
    pub(crate) origin: String,
    pub(crate) entries: u64,
    pub(crate) root: [u8; 32],
    /// Bytes of frames that were read.
    pub(crate) bytes: u64,
    pub(crate) payloads: Payloads,
    /// Index of the first bad entry, where the fault is one of an entry.
    pub(crate) first_bad: Option<u64>,
    pub(crate) fault: Option<String>,
    /// The head, signed now, where the key was at hand.
    pub(crate) checkpoint: Option<String>,
    /// Highest payload slot that a frame names.
    pub(crate) slot_max: u64,
    /// The first entry whose payload was destroyed although no entry says so.
    pub(crate) unsaid: Option<u64>,
    /// Keys that the log names, oldest first.
    signers: Vec<LogSigner>,
}

/// What stands beside the log, as far as it is there.
struct Beside {
    marks: Option<HighWater>,
    slots: Option<SqliteSlotReader>,
    /// Signing keys that are held.
    signers: Vec<Arc<MemorySigner>>,
    /// The name under which they sign.
    instance: String,
    /// Why payloads or the signing key cannot be looked at.
    why: Option<String>,
}

/// A pass over all logs of a directory.
pub(crate) struct Pass {
    pub(crate) logs: Vec<Checked>,
    /// Why payloads and the signing key were not looked at, if so.
    pub(crate) unseen: Option<String>,
}

impl Pass {
    /// Whether everything that was looked at is right.
    pub(crate) fn is_ok(&self) -> bool {
        self.logs.iter().all(|log| log.fault.is_none() && log.unsaid.is_none())
    }

    /// The first fault of a log, for people. A payload that is gone without a word does not make
    /// the log a wrong one.
    pub(crate) fn first_fault(&self) -> Option<String> {
        self.logs.iter().find_map(|log| {
            log.fault.as_ref().map(|fault| format!("workspace {}: {fault}", log.name))
        })
    }
}

/// Runs it.
pub(super) fn run(data: &Path, roots: Option<&Path>, threads: Option<usize>, json: bool) -> Done {
    let mut signed = roots.map(roots::read).transpose()?.unwrap_or_default();
    let dir = DataDir::open_read_only(data)?;
    if let Some(manifest) = Manifest::load(data)? {
        let bytes = manifest.files.iter().map(|file| file.bytes).sum();
        let bar = output::bytes_progress(bytes, "comparing files");
        backup::check_files(data, &manifest, &mut |bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
    }
    let pass = verify(&dir, &dir, &mut signed, threads.unwrap_or_else(scan::cores))?;
    Ok(report(&pass, roots.map(|_| signed.as_slice()), json))
}

/// Checks all logs of a directory, with the keys of `keys`, as far as they are there.
///
/// # Errors
/// When it cannot be read; what is wrong in a log is no error but in what is returned.
pub(crate) fn verify(
    dir: &DataDir,
    keys: &DataDir,
    signed: &mut [Root],
    threads: usize,
) -> Result<Pass> {
    let beside = Beside::of(dir, keys)?;
    let reader = dir.journal_reader()?;
    let mut logs = Vec::new();
    let mut total = 0;
    for (no, name) in reader.workspaces()? {
        total += reader.head(no)?.next_index;
        logs.push((no, name));
    }
    if beside.marks.is_none() && total > 0 {
        let path = dir.path().join("highwater");
        let detail = format!("{} is missing although there are entries", path.display());
        return Err(Fault::new("data_dir_damaged", detail).next("restore it from a backup").into());
    }
    let bar = output::progress(total, "verifying");
    let (mut checked, mut erased) = (Vec::new(), HashSet::new());
    let snapshots = dir.snapshot_reader();
    for (no, name) in &logs {
        let marks = (&mut *signed, &mut erased);
        let mut log = check(&reader, (*no, name), &beside, marks, threads, &bar)?;
        if log.fault.is_none() {
            log.fault = beside.contradicted(&reader, &snapshots, (*no, name))?;
        }
        checked.push(log);
    }
    bar.finish_and_clear();
    // A log that is marked and gone altogether was cut as well.
    for (name, mark) in beside.marks.iter().flat_map(HighWater::sizes) {
        if *mark > 0 && !logs.iter().any(|(_, have)| have.as_str() == name) {
            checked.push(Checked {
                name: name.clone(),
                root: CompactRange::<Fast>::new().root(),
                fault: Some(format!("the log is gone, but {mark} entries of it were signed")),
                ..Checked::default()
            });
        }
    }
    Ok(Pass { logs: checked, unseen: beside.why })
}

/// Refuses a directory with a log that is not the one of which this instance signed a snapshot there: a back-up of
/// it would be one without that witness.
pub(crate) fn refuse_contradicted(dir: &DataDir) -> Result<()> {
    let beside = Beside::of(dir, dir)?;
    let (reader, snapshots) = (dir.journal_reader()?, dir.snapshot_reader());
    for (no, name) in reader.workspaces()? {
        if let Some(why) = beside.contradicted(&reader, &snapshots, (no, &name))? {
            let fault = Fault::new("log_damaged", format!("the log of workspace {name}: {why}"));
            return Err(fault.next("keep this directory, and restore an earlier back-up").into());
        }
    }
    Ok(())
}

impl Beside {
    fn contradicted(
        &self,
        reader: &dyn JournalReader,
        snapshots: &dyn Snapshots,
        log: (WorkspaceNo, &WorkspaceName),
    ) -> Result<Option<String>> {
        let held = self.signers.iter().map(|it| it.clone() as _).collect();
        Ok(contradicted(reader, snapshots, held, &self.instance, log)
            .map_err(|error| Fault::new("data_dir_damaged", error.to_string()))?)
    }

    fn of(dir: &DataDir, keys: &DataDir) -> Result<Self> {
        // Read before any log: a server that is running raises them only behind what it has written.
        let marks = HighWater::load(dir.path())?;
        let absent = |name: &str| !keys.path().join(name).exists();
        let (signers, instance) = (Vec::new(), String::new());
        let mut beside = Self { marks, slots: None, signers, instance, why: None };
        if absent("keys.db") || absent("identity.db") {
            beside.why = Some("the keys are not in this directory".to_owned());
            return Ok(beside);
        }
        match keys.identity() {
            Ok(identity) => {
                let succession = keys.succession()?;
                let instance = succession.map(|it| it.instance);
                beside.instance = instance.unwrap_or_else(|| identity.instance().to_owned());
                beside.signers = signers_of(&identity)?;
            }
            Err(error @ OpenError::MasterKeyMissing { .. }) => {
                beside.why = Some(error.to_string());
                return Ok(beside);
            }
            Err(error) => return Err(error.into()),
        }
        beside.slots = Some(keys.slot_reader()?);
        Ok(beside)
    }
}

/// The fold, sequential, over what the threads have looked at.
struct Folding<'a> {
    checked: Checked,
    state: State,
    range: CompactRange<Fast>,
    signed: &'a mut [Root],
    /// Erased slots of all logs. A slot is used once, so a frame that was turned to an erased slot
    /// shows as the second one there.
    erased: &'a mut HashSet<u64>,
    /// Entries of this log whose payload is gone.
    gone: Vec<u64>,
    /// Bundles under which something was decided.
    bundles: BTreeSet<Digest>,
}

fn check(
    reader: &dyn JournalReader,
    (no, name): (WorkspaceNo, &WorkspaceName),
    beside: &Beside,
    (signed, erased): (&mut [Root], &mut HashSet<u64>),
    threads: usize,
    bar: &ProgressBar,
) -> Result<Checked> {
    let mut folding = Folding {
        checked: Checked { no: Some(no), name: name.to_string(), ..Checked::default() },
        state: State::new(Bounds::default()),
        range: CompactRange::new(),
        signed,
        erased,
        gone: Vec::new(),
        bundles: BTreeSet::new(),
    };
    let make = || {
        let mut look = Look::new(name, beside.slots.as_ref());
        move |batch| look.at(batch)
    };
    scan::<_, _, anyhow::Error>(reader, no, 0, threads, make, |looked| {
        bar.inc(u64::from(looked.count));
        Ok(match folding.take(looked) {
            Ok(()) => ControlFlow::Continue(()),
            Err((index, why)) => {
                let place = index.map_or_else(String::new, |index| format!("entry {index}: "));
                folding.checked.first_bad = index;
                folding.checked.fault = Some(format!("{place}{why}"));
                ControlFlow::Break(())
            }
        })
    })?;
    let Folding { mut checked, state, range, gone, mut bundles, .. } = folding;
    // Beside a running server as well: the entry is durable before the key goes, and this has read
    // on to the end after it saw that the key was gone.
    if checked.fault.is_none() {
        checked.unsaid = gone.into_iter().find(|index| !state.is_erased(*index));
    }
    let shadow = state.shadow().map(|it| it.bundle);
    bundles.extend([state.policy(), state.preceding(), shadow].into_iter().flatten());
    for digest in bundles {
        let bytes = reader.bundle(&digest.0)?;
        if checked.fault.is_none() && bytes.is_none_or(|it| Fast::sha256(&[&it]) != digest.0) {
            checked.fault =
                Some(format!("the bundle {digest} is missing, or not the one with this digest"));
        }
    }
    checked.origin = state.origin().to_owned();
    checked.signers = state.signers().to_vec();
    (checked.entries, checked.root) = (range.size(), range.root());
    let mark = beside.marks.as_ref().and_then(|marks| marks.sizes().get(name.as_str()).copied());
    let mark = mark.unwrap_or_default();
    if checked.fault.is_none() && checked.entries < mark {
        let fault =
            format!("{} entries, but {mark} were signed: the tail is cut off", range.size());
        checked.fault = Some(fault);
    }
    if checked.fault.is_none() && checked.entries > 0 && !beside.signers.is_empty() {
        match sign_head(&checked, &beside.signers) {
            Ok(note) => checked.checkpoint = Some(note),
            Err(why) => checked.fault = Some(why),
        }
    }
    Ok(checked)
}

impl Folding<'_> {
    /// The first thing that is wrong in a batch, with the index of its entry.
    fn take(&mut self, looked: Looked) -> Result<(), (Option<u64>, String)> {
        let size = self.range.size();
        if looked.first_index != size {
            return Err((Some(size), "it is missing".to_owned()));
        }
        self.checked.bytes += looked.bytes;
        self.checked.slot_max = self.checked.slot_max.max(looked.slot_max);
        self.checked.payloads.add(looked.payloads);
        if looked.erased.iter().any(|(_, slot)| !self.erased.insert(*slot)) {
            return Err((Some(size), self.shared(looked.count)));
        }
        self.gone.extend(looked.erased.iter().map(|(index, _)| index));
        for (entry, leaf) in &looked.entries {
            let index = self.range.size();
            self.apply(entry).map_err(|why| (Some(index), why))?;
            self.range.append(*leaf);
            compare(self.signed, self.state.origin(), &self.range);
        }
        if let Some(why) = looked.fault {
            return Err((Some(self.range.size()), why));
        }
        let sealed = CompactRange::<Fast>::decode(&looked.tree_state);
        if sealed.as_ref() != Some(&self.range) {
            return Err((Some(size), self.unsealed(size)));
        }
        Ok(())
    }

    fn shared(&self, count: u32) -> String {
        let last = self.range.size() + u64::from(count.saturating_sub(1));
        format!("up to entry {last}, a payload names the erased slot of another one")
    }

    fn unsealed(&self, first: u64) -> String {
        let last = self.range.size().saturating_sub(1);
        format!("the entries {first} to {last} are not the ones that were sealed")
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        check_signers(&self.state, entry)?;
        if let Event::Decision(event) = &entry.event {
            self.bundles.extend(event.policy);
        }
        self.state.apply(entry).map_err(|error| error.to_string())
    }
}

/// The signing keys that are held.
pub(crate) fn signers_of(identity: &Identity) -> Result<Vec<Arc<MemorySigner>>> {
    let seeds = identity.signing_seeds()?;
    Ok(seeds.iter().filter_map(|seed| MemorySigner::from_seed(seed).map(Arc::new)).collect())
}

/// Signs the head as the server would: with the key that the log says is in force.
pub(crate) fn sign_head(checked: &Checked, held: &[Arc<MemorySigner>]) -> Result<String, String> {
    let text = |error: &dyn std::fmt::Display| format!("the head cannot be signed: {error}");
    let vkey = checked.in_force().ok_or("the log names no signing key")?;
    let signer = held.iter().find(|signer| signer.public_key() == *vkey.public_key());
    let signer = signer.ok_or("the signing key that the log says is in force is not held here")?;
    Checkpoint::new(vkey.name(), checked.entries, checked.root)
        .sign(&vkey, |body| signer.sign(body))
        .map_err(|error| text(&error))
}

/// Whether a checkpoint is that of a log at its present head, signed under the key in force there.
pub(crate) fn is_head(note: &str, checked: &Checked) -> bool {
    let Some(Ok(trust)) = checked.in_force().map(|key| Trust::new(vec![TrustKey::active(key)]))
    else {
        return false;
    };
    let Ok((signed, _)) = verify_checkpoint(note, &trust) else { return false };
    let head = (checked.origin.as_str(), checked.entries, checked.root);
    (signed.origin.as_str(), signed.size, signed.root) == head
}

impl Checked {
    /// The key that signs the head.
    fn in_force(&self) -> Option<VerifierKey> {
        VerifierKey::parse::<Fast>(&self.signers.last()?.vkey).ok()
    }
}

/// Marks the signed roots that the log has at its present size. A root without an origin may be
/// that of any log.
fn compare(signed: &mut [Root], origin: &str, range: &CompactRange<Fast>) {
    let size = range.size();
    let first = signed.partition_point(|root| root.size < size);
    let here = signed[first..].iter_mut().take_while(|root| root.size == size);
    for root in here {
        if root.origin.as_deref().is_none_or(|named| named == origin) {
            root.found |= root.root == range.root();
        }
    }
}

fn report(pass: &Pass, signed: Option<&[Root]>, json: bool) -> ExitCode {
    let mismatches: Vec<&Root> =
        signed.unwrap_or_default().iter().filter(|root| !root.found).collect();
    let ok = mismatches.is_empty() && pass.is_ok();
    if json {
        let workspaces: Vec<Value> = pass.logs.iter().map(document).collect();
        let mut document = json!({"workspaces": workspaces, "ok": ok});
        if let Some(why) = &pass.unseen {
            document["not_checked"] = json!({"what": ["payloads", "signing_key"], "why": why});
        }
        if let Some(signed) = signed {
            let mismatches: Vec<Value> = mismatches
                .iter()
                .map(|root| json!({"size": root.size, "root": BASE64.encode(root.root), "origin": root.origin}))
                .collect();
            document["roots"] = json!({"checked": signed.len(), "mismatches": mismatches});
        }
        output::document(&document);
    } else {
        people(pass, ok, signed.map(|signed| (signed.len(), mismatches.len())));
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILURE) }
}

fn people(pass: &Pass, ok: bool, roots: Option<(usize, usize)>) {
    let rows: Vec<Vec<String>> = pass
        .logs
        .iter()
        .map(|log| {
            let word = fault(log).map_or("ok".to_owned(), |fault| output::safe(&fault));
            let payloads = format!("{} ({} erased)", log.payloads.opened, log.payloads.erased);
            let root = BASE64.encode(log.root);
            vec![log.name.clone(), log.entries.to_string(), root, payloads, word]
        })
        .collect();
    let header = ["workspace", "entries", "root", "payloads", "result"];
    output::line(&output::table(&header, &rows));
    if let Some(why) = &pass.unseen {
        output::line(&format!("payloads and the signing key were not checked: {why}"));
    }
    if let Some((checked, wrong)) = roots {
        output::line(&format!("{checked} signed roots compared, {wrong} are not of these logs"));
    }
    let (style, word) = if ok { (output::GREEN, "verified") } else { (output::RED, "refused") };
    output::line(&output::paint(style, word));
}

fn fault(log: &Checked) -> Option<String> {
    let unsaid = || {
        let index = log.unsaid?;
        Some(format!("entry {index}: its payload was destroyed, and no entry says so"))
    };
    log.fault.clone().or_else(unsaid)
}

fn document(log: &Checked) -> Value {
    let mut value = json!({
        "name": log.name,
        "origin": log.origin,
        "entries": log.entries,
        "bytes": log.bytes,
        "root": BASE64.encode(log.root),
        "payloads": {
            "opened": log.payloads.opened,
            "erased": log.payloads.erased,
            "not_checked": log.payloads.unseen,
        },
        "ok": fault(log).is_none(),
    });
    if let Some(note) = &log.checkpoint {
        value["checkpoint"] = note.as_str().into();
    }
    if let Some(fault) = fault(log) {
        value["fault"] = fault.into();
    }
    if let Some(index) = log.first_bad.or(log.unsaid) {
        value["first_bad"] = index.into();
    }
    value
}
