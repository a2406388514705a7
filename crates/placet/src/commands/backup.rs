//! `backup` and `restore`: taking a data directory along while it is served, and bringing it back.
//! Owns the order of things and what is checked before anything is believed.

mod places;

use super::audit::check::{self, Checked, Pass};
use crate::exit::{Done, Fault};
use crate::output;
use anyhow::Result;
use clap::Args;
use placet_runtime::crypto::{Fast, SystemClock};
use placet_runtime::ports::{Clock, JournalReader};
use placet_runtime::scan::cores;
use placet_store::backup::{self, BackedUpLog, Database, Manifest, Pinned, Restoring, Staging};
use placet_store::{DataDir, HighWater, OpenError, Succession};
use placet_tlog::CompactRange;
use placet_types::hash::hex_encode;
use placet_types::ids::TimeMs;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Back up a data directory, also while it is served
///
/// The log goes to one directory, payload secrets and identity to another or nowhere: who holds the
/// first alone can verify everything and read nothing personal. The master key is in neither.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet backup --data ./placet-data --to /backup/log-2026-01-31
  placet backup --data ./placet-data --to /backup/log --keys-to /vault/keys")]
pub(crate) struct BackupArgs {
    /// Data directory.
    #[arg(long, default_value = "./placet-data", value_name = "DIR")]
    data: PathBuf,
    /// New directory for the log.
    #[arg(long, value_name = "DIR", required_unless_present = "keys_to")]
    to: Option<PathBuf>,
    /// New directory for payload secrets and identity, wrapped under the master key.
    #[arg(long, value_name = "DIR")]
    keys_to: Option<PathBuf>,
    /// Put payload secrets and identity beside the log instead.
    #[arg(long, requires = "to", conflicts_with = "keys_to")]
    with_keys: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Restore a data directory from a back-up
///
/// Every file is compared with its digest while it is copied, then the whole log is hashed and folded
/// before any server may take it. A restored instance starts with the kill switch tripped: the certificate
/// that it was armed is not part of a back-up.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  placet restore --from /backup/log --keys-from /vault/keys --data ./placet-data \\
      --highwater ./lost/highwater
  placet restore --from /backup/log --data ./to-look-at      # verifies and exports, does not serve")]
pub(crate) struct RestoreArgs {
    /// Back-up of the log.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Back-up of the keys, where it is not in the same directory.
    #[arg(long, value_name = "DIR")]
    keys_from: Option<PathBuf>,
    /// Data directory to make: missing or empty.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The file `highwater` of the lost directory: how far its logs were signed.
    #[arg(long, value_name = "FILE")]
    highwater: Option<PathBuf>,
    /// Restore although signed entries are missing: the logs go on under another name, since under
    /// the old one they would contradict what was signed.
    #[arg(long)]
    accept_loss: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Runs `backup`.
pub(crate) fn run(args: &BackupArgs) -> Done {
    let dir = DataDir::open_read_only(&args.data)?;
    places::refuse_backup(args.to.as_deref(), args.keys_to.as_deref())?;
    check::refuse_contradicted(&dir)?;
    let mut log = args.to.as_deref().map(Staging::begin).transpose()?;
    let mut keys = args.keys_to.as_deref().map(Staging::begin).transpose()?;
    let mut wanted = Vec::new();
    if log.is_some() {
        wanted.push(Database::Journal);
    }
    if keys.is_some() || args.with_keys {
        wanted.extend([Database::Identity, Database::Keys]);
    }
    // What is signed by now has to be in the copy, or the directory itself is behind.
    let marks = HighWater::load(&args.data)?;
    let mut pinned = Pinned::take(&dir, &wanted)?;
    // The keys first: as long as they are pinned, nothing that is erased leaves their file.
    if let Some(keys) = keys.as_mut().or(log.as_mut().filter(|_| args.with_keys)) {
        copy(keys, &mut pinned, Database::Keys)?;
        copy(keys, &mut pinned, Database::Identity)?;
    }
    let mut taken = Vec::new();
    let now = SystemClock::default().wall();
    let mut verified = None;
    if let (Some(mut staging), Some(to)) = (log, &args.to) {
        copy(&mut staging, &mut pinned, Database::Journal)?;
        let mut logs = complete(&mut staging, &dir, marks.as_ref())?;
        let pass = verify_copy(&dir, &staging, keys.as_ref(), &logs)?;
        sign_heads(&dir, &mut logs, &pass)?;
        verified = Some(pass);
        taken.push((to, staging.finish(now.0, logs)?));
    }
    if let (Some(staging), Some(to)) = (keys, &args.keys_to) {
        taken.push((to, staging.finish(now.0, Vec::new())?));
    }
    if args.json {
        let documents: Vec<Value> = taken.iter().map(|(to, all)| document(to, all)).collect();
        let payloads = verified.as_ref().map(|pass| pass.logs.iter().map(|log| log.payloads));
        let payloads = payloads.map(|all| {
            all.fold(json!({"opened": 0, "erased": 0, "not_checked": 0}), |sum, one| {
                let add = |name: &str, count: u64| sum[name].as_u64().unwrap_or_default() + count;
                json!({"opened": add("opened", one.opened), "erased": add("erased", one.erased),
                    "not_checked": add("not_checked", one.unseen)})
            })
        });
        output::document(&json!({"backups": documents, "verified_payloads": payloads}));
    } else {
        taken.iter().for_each(|(to, manifest)| people(to, manifest));
        if let Some(pass) = &verified {
            let opened: u64 = pass.logs.iter().map(|log| log.payloads.opened).sum();
            let payloads = match opened {
                0 => String::new(),
                opened => format!(", {opened} payloads opened"),
            };
            output::line(&format!("verified as it was copied{payloads}"));
        }
        output::line("The master key is in no back-up: keep it apart.");
    }
    Ok(ExitCode::SUCCESS)
}

/// Hashes and folds the copy before it gets its name, and opens its payloads where the keys are
/// copied as well.
fn verify_copy(
    dir: &DataDir,
    log: &Staging,
    keys: Option<&Staging>,
    logs: &[BackedUpLog],
) -> Result<Pass> {
    let (log, keys) = (log.look(dir), keys.unwrap_or(log).look(dir));
    let pass = check::verify(&log, &keys, &mut [], cores())?;
    compare(&pass, logs).map_err(|what| {
        let fault = Fault::new("log_damaged", format!("the copy does not verify: {what}"));
        fault.next("run `placet audit verify` on the directory; nothing was left of the copy")
    })?;
    Ok(pass)
}

/// The first thing in which logs are not as they are listed, or wrong in themselves.
fn compare(pass: &Pass, logs: &[BackedUpLog]) -> Result<(), String> {
    if let Some(fault) = pass.first_fault() {
        return Err(fault);
    }
    let is = |log: &Checked, listed: &BackedUpLog| {
        (log.name.as_str(), log.entries, log.root)
            == (listed.workspace.as_str(), listed.size, listed.root)
            && listed.checkpoint.as_ref().is_none_or(|note| check::is_head(note, log))
    };
    for listed in logs {
        if !pass.logs.iter().any(|log| is(log, listed)) {
            return Err(format!("workspace {} is not as it was listed", listed.workspace));
        }
    }
    let unlisted = pass.logs.iter().find(|log| logs.iter().all(|one| one.workspace != log.name));
    unlisted.map_or(Ok(()), |log| Err(format!("workspace {} is not listed", log.name)))
}

fn copy(staging: &mut Staging, from: &mut Pinned, database: Database) -> Result<()> {
    let bar = output::progress(0, &format!("copying {}", database.file()));
    staging.copy(from, database, &mut |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    Ok(())
}

/// Signs the heads as they were copied and verified, where the keys in force are at hand.
fn sign_heads(dir: &DataDir, logs: &mut [BackedUpLog], pass: &Pass) -> Result<()> {
    let Ok(identity) = dir.identity() else { return Ok(()) };
    let held = check::signers_of(&identity)?;
    for log in logs.iter_mut().filter(|log| log.size > 0) {
        let checked = pass.logs.iter().find(|checked| checked.name == log.workspace);
        log.checkpoint = checked.and_then(|checked| check::sign_head(checked, &held).ok());
    }
    Ok(())
}

/// Says of the copied log how far it goes, and puts beside it what makes it a directory that can be
/// read.
fn complete(
    staging: &mut Staging,
    dir: &DataDir,
    marks: Option<&HighWater>,
) -> Result<Vec<BackedUpLog>> {
    let reader = staging.journal_reader()?;
    let mut logs = Vec::new();
    let mut sizes = std::collections::BTreeMap::new();
    for (no, name) in reader.workspaces()? {
        let head = reader.head(no)?;
        let range = match head.next_index {
            // It was registered, and a crash came before its first entry; the next start founds it.
            0 => Some(CompactRange::<Fast>::new()),
            _ => CompactRange::decode(&head.tree_state),
        };
        let range = range.filter(|range| range.size() == head.next_index).ok_or_else(|| {
            let detail = format!("the tree state of workspace {name} does not read back");
            Fault::new("log_damaged", detail).next("run `placet audit verify` on the directory")
        })?;
        sizes.insert(name.to_string(), range.size());
        let (workspace, size, root) = (name.to_string(), range.size(), range.root());
        logs.push(BackedUpLog { workspace, size, root, checkpoint: None });
    }
    if let Some(marks) = marks {
        let size = |name: &String| sizes.get(name).copied().unwrap_or_default();
        marks.sizes().keys().try_for_each(|name| marks.check(name, size(name)))?;
    }
    staging.complete_data(dir, &sizes)?;
    Ok(logs)
}

fn document(to: &Path, manifest: &Manifest) -> Value {
    let files: Vec<Value> = manifest
        .files
        .iter()
        .map(|file| json!({"name": file.name, "bytes": file.bytes, "sha256": hex_encode(&file.sha256)}))
        .collect();
    let logs: Vec<Value> = manifest
        .logs
        .iter()
        .map(|log| {
            json!({
                "workspace": log.workspace, "size": log.size, "root": hex_encode(&log.root),
                "checkpoint": log.checkpoint,
            })
        })
        .collect();
    let taken = TimeMs(manifest.taken_ms).rfc3339();
    json!({"to": to.display().to_string(), "taken": taken, "files": files, "logs": logs})
}

fn people(to: &Path, manifest: &Manifest) {
    output::line(&format!("backed up to {}", output::safe(&to.display().to_string())));
    for file in &manifest.files {
        output::field(&file.name, &output::bytes(file.bytes));
    }
    for log in &manifest.logs {
        output::line(&format!("  log {}: {} entries", log.workspace, log.size));
        match &log.checkpoint {
            Some(note) => note.lines().for_each(|line| output::line(&format!("    {line}"))),
            None => output::line("    not signed: the signing key is not at hand"),
        }
    }
}

/// Runs `restore`.
pub(crate) fn restore(args: &RestoreArgs) -> Done {
    backup::refuse_used(&args.data)?;
    places::refuse_inside("--data", &args.data)?;
    let data = manifest(&args.from)?;
    let keys =
        args.keys_from.as_deref().map(|from| Ok::<_, anyhow::Error>((from, manifest(from)?)));
    let keys = keys.transpose()?;
    if !data.has("journal.db") {
        let detail = format!("{} holds no log", args.from.display());
        return Err(Fault::new("data_dir_damaged", detail).next("name the log's back-up").into());
    }
    if let Some((from, keys)) = &keys
        && !["identity.db", "keys.db"].iter().all(|name| keys.has(name))
    {
        let detail = format!("--keys-from {} holds no keys", from.display());
        return Err(Fault::usage(detail).next("name the back-up that --keys-to made").into());
    }
    let marks = args.highwater.as_deref().map(marks).transpose()?;
    if args.accept_loss {
        refuse_needless(&data, keys.as_ref().map(|(_, keys)| keys), marks.as_ref())?;
    } else {
        compare_marks(&data, marks.as_ref())?;
    }
    let mut from = vec![(args.from.as_path(), &data)];
    from.extend(keys.as_ref().map(|(path, manifest)| (*path, manifest)));
    let bytes = from.iter().flat_map(|(_, all)| &all.files).map(|file| file.bytes).sum();
    let bar = output::bytes_progress(bytes, "restoring");
    let mut restoring = Restoring::begin(&args.data, &from, &mut |bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    let served = from.iter().any(|(_, all)| all.has("identity.db") && all.has("keys.db"));
    let pass = match believe(&restoring, &data, served) {
        Ok(pass) => pass,
        Err(error) => {
            restoring.abandon();
            return Err(error);
        }
    };
    let newer = pass.logs.iter().filter(|log| {
        let newer = |(no, upto): &(_, u64)| Some(*no) == log.no && *upto >= log.entries;
        log.unsaid.is_some() || restoring.keys().is_some_and(|keys| keys.erased.iter().any(newer))
    });
    let newer: Vec<&str> = newer.map(|log| log.name.as_str()).collect();
    let mut next = after(args, &pass, served, &newer);
    let mut successor = None;
    if args.accept_loss {
        let sizes = marks.as_ref().map(|marks| marks.sizes().clone()).unwrap_or_default();
        let succession = Succession::fresh(sizes);
        restoring.succeed(&succession)?;
        next.extend(after_loss(&pass, marks.as_ref(), &succession.instance));
        successor = Some(format!("placet/{}", succession.instance));
    }
    restoring.finish()?;
    if args.json {
        let logs: Vec<Value> = pass
            .logs
            .iter()
            .map(|log| json!({"workspace": log.name, "size": log.entries, "root": hex_encode(&log.root)}))
            .collect();
        output::document(&json!({
            "data": args.data.display().to_string(), "logs": logs, "keys": served, "next": next,
            "compared_with_highwater": marks.is_some(), "successor": successor,
        }));
    } else {
        for log in &pass.logs {
            output::line(&format!("restored {}: {} entries", log.name, log.entries));
        }
        next.iter().for_each(|line| output::line(line));
    }
    Ok(ExitCode::SUCCESS)
}

/// Another name is for logs that lost something and go on: not for a whole one, and not for one that
/// is only read.
fn refuse_needless(
    data: &Manifest,
    keys: Option<&Manifest>,
    marks: Option<&HighWater>,
) -> Result<()> {
    let all = || [Some(data), keys].into_iter().flatten();
    if !["identity.db", "keys.db"].iter().all(|name| all().any(|one| one.has(name))) {
        let text = "--accept-loss is for a directory that is served: name the back-up of its keys \
                    with --keys-from, or leave it out to verify and export";
        return Err(Fault::usage(text).into());
    }
    if marks.is_some() && compare_marks(data, marks).is_ok() {
        let text = "nothing is lost: the back-up has all that was signed, so restore it without \
                    --accept-loss and keep the name";
        return Err(Fault::usage(text).into());
    }
    Ok(())
}

/// What a loss leaves to do.
fn after_loss(pass: &Pass, marks: Option<&HighWater>, instance: &str) -> Vec<String> {
    let mut next = vec![format!(
        "from its first start on the logs are named placet/{instance}/…, with a new signing key: \
         hand out a new trust file (`placet key trust`), and tell witnesses"
    )];
    for log in &pass.logs {
        let signed = marks.and_then(|marks| marks.sizes().get(&log.name).copied());
        if let Some(lost) = signed.and_then(|signed| signed.checked_sub(log.entries)) {
            next.push(format!("log {}: {lost} signed entries are lost", log.name));
        }
    }
    next.push(
        "permits of lost entries may have been used: compare with the systems that were acted on \
         before you lift the kill switch, since their idempotency keys are free again"
            .to_owned(),
    );
    next
}

fn manifest(dir: &Path) -> Result<Manifest> {
    let none = || {
        let (what, next) = match dir.join("FORMAT").exists() {
            true => ("is a data directory and no back-up", "take one of it with `placet backup`"),
            false => ("is no back-up: it has no backup.json", "name one that `placet backup` made"),
        };
        Fault::usage(format!("{} {what}", dir.display())).next(next)
    };
    Ok(Manifest::load(dir)?.ok_or_else(none)?)
}

/// The whole log as it was put there, against what the back-up says of it, and the keys against the
/// log.
fn believe(restoring: &Restoring, manifest: &Manifest, keys: bool) -> Result<Pass> {
    let refused = |what: String| {
        let fault = Fault::new("log_damaged", format!("the back-up is refused: {what}"));
        anyhow::Error::from(fault.next("restore another one; nothing was left of this one"))
    };
    let dir = restoring.look()?;
    let pass = check::verify(&dir, &dir, &mut [], cores())?;
    compare(&pass, &manifest.logs).map_err(refused)?;
    if keys {
        let renamed = dir.succession()?.map(|succession| succession.instance);
        let instances = [Some(dir.instance()?), renamed];
        let foreign = |log: &&Checked| {
            let mut names = instances.iter().flatten().map(|name| format!("placet/{name}/"));
            // A log without entries has no name yet.
            log.entries > 0 && !names.any(|name| log.origin.starts_with(&name))
        };
        if let Some(log) = pass.logs.iter().find(foreign) {
            let what = format!("the keys are of another instance than log {}", log.origin);
            return Err(refused(what));
        }
        let slot = pass.logs.iter().map(|log| log.slot_max).max().unwrap_or_default();
        if slot > 0 && restoring.keys().is_none_or(|keys| slot >= keys.end) {
            let what = "the keys are older than the log: payloads of it have no secret there";
            return Err(refused(what.to_owned()));
        }
    }
    Ok(pass)
}

fn marks(path: &Path) -> Result<HighWater> {
    let (dir, name) = (path.parent().unwrap_or(Path::new(".")), path.file_name());
    if name != Some("highwater".as_ref()) {
        return Err(Fault::usage("--highwater names a file `highwater` of a data directory").into());
    }
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    Ok(HighWater::load(dir)?.ok_or_else(|| OpenError::Missing { path: path.into() })?)
}

fn compare_marks(manifest: &Manifest, marks: Option<&HighWater>) -> Result<()> {
    let Some(marks) = marks else { return Ok(()) };
    for name in marks.sizes().keys() {
        let log = manifest.logs.iter().find(|log| log.workspace == *name);
        marks.check(name, log.map_or(0, |log| log.size))?;
    }
    Ok(())
}

/// What is left to do.
fn after(args: &RestoreArgs, pass: &Pass, keys: bool, newer: &[&str]) -> Vec<String> {
    if !keys {
        let without = "without its keys it verifies and exports and does not serve: name their \
                       back-up with --keys-from";
        return vec![without.to_owned()];
    }
    let mut next = Vec::new();
    if pass.unseen.is_some() {
        let file = args.data.join("master.key");
        next.push(format!(
            "put the master key into {} (mode 0600), or set PLACET_MASTER_KEY",
            file.display()
        ));
    }
    next.push(
        "it starts with the kill switch tripped: look at it, then lift it with `placet lift`"
            .to_owned(),
    );
    for log in newer {
        next.push(format!(
            "the keys are newer than log {log}: payloads were erased of which it does not say so"
        ));
    }
    if args.highwater.is_none() && !args.accept_loss {
        next.push(
            "nothing was said of how far the lost logs went: if entries were signed after this \
             back-up, their receipts contradict what is written from now on (--highwater compares)"
                .to_owned(),
        );
    }
    next
}
