//! Starting an instance: fold every log, compare it with what was signed and with what stands
//! beside the store, found the first workspace, arm, and start the threads.

use crate::clock::Stamp;
use crate::committer::{CommitTotals, Committer, Errand};
use crate::crypto::Fast;
use crate::directory::{ApiKey, Directory};
use crate::error::PlaneError;
use crate::follower::Follower;
use crate::host::Host;
use crate::idle::{Idle, IdleTotals, Reviver, Wanted};
use crate::load::{Loaded, load_all};
use crate::plane::{Plane, Workspaces};
use crate::policies::{self, Workshop};
use crate::pool::SlotPool;
use crate::ports::{
    Clock, Journal, JournalReader, Marks, PortError, ReadModel, ReadModelWriter, Safety, Signer,
    Signers, SlotReader, Slots, Snapshots, WorkspaceKeys, WorkspaceNo,
};
use crate::privacy::{self, Privacy};
use crate::recent::Recent;
use crate::seat::Seat;
use crate::sequencer::{Gauges, Message, Sequencer};
use crate::signing::{Signing, origin_of, unnamed};
use crate::snapshotter::{FOLLOWED_MAX, SnapshotPlan, SnapshotTotals, Snapshotter};
use crate::start_error::StartError;
use crate::tiling::Tiling;
use crate::workspace::Workspace;
use crate::{armed, scrub, watching};
use arc_swap::ArcSwap;
use placet_engine::{LogSigner, State};
use placet_policy::Bundle;
use placet_tlog::Tree;
use placet_types::event::{KillScope, KillSource};
use placet_types::ids::{ActorId, TimeMs, WorkspaceName};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Commands waiting for the sequencer at most; beyond it callers are refused early.
const INBOX_MAX: usize = 8192;

/// Everything an instance needs from its store.
pub struct Stores {
    /// Writing end of the log.
    pub journal: Box<dyn Journal>,
    /// Reading end of the log.
    pub reader: Arc<dyn JournalReader>,
    /// Saved states.
    pub snapshots: Arc<dyn Snapshots>,
    /// Slot pool.
    pub slots: Box<dyn Slots>,
    /// Slot reader.
    pub slot_reader: Arc<dyn SlotReader>,
    /// Writing end of the read model.
    pub model_writer: Box<dyn ReadModelWriter>,
    /// Reading end of the read model.
    pub model: Arc<dyn ReadModel>,
    /// Pseudonym keys.
    pub keys: Arc<dyn WorkspaceKeys>,
    /// How far logs were signed.
    pub marks: Box<dyn Marks>,
    /// What stands beside the store.
    pub safety: Box<dyn Safety>,
    /// Signing keys.
    pub signers: Arc<dyn Signers>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// 16 hex digits.
    pub instance: String,
    /// Where signed entries were lost and `instance` is a new name: how far each log was signed, as
    /// far as is known. Logs of another name are then made to go on under this one.
    pub succeeds: Option<BTreeMap<String, u64>>,
    /// What a thread does first that the others must not wait for.
    pub step_back: fn(),
}

/// How to start.
pub struct Options {
    /// Development mode: loopback only, no keys needed.
    pub dev: bool,
    /// Solo mode of workspaces founded now.
    pub solo: bool,
    /// The bundle of the operator's directory, if one was given.
    pub bundle: Option<Arc<Bundle>>,
    /// Name of the first workspace.
    pub workspace: WorkspaceName,
    /// First admin of a workspace founded now.
    pub admin: ActorId,
    /// When states are saved.
    pub snapshots: SnapshotPlan,
    /// After so long without a request the state of a workspace leaves memory; `None`: never.
    pub idle: Option<Duration>,
}

/// A started instance.
pub struct Started {
    /// The plane.
    pub plane: Arc<Plane>,
    /// On the very first start: the admin's key, to be shown once.
    pub bootstrap: Option<ApiKey>,
    /// What was found and is worth saying.
    pub notices: Vec<String>,
    threads: Vec<JoinHandle<()>>,
}

/// What works behind a plane: each part does one step at a time, on whatever thread.
pub(crate) struct Parts {
    pub(crate) sequencer: Sequencer,
    pub(crate) committer: Committer,
    /// What the sequencer's thread sends to the committer's.
    pub(crate) work: Receiver<Errand>,
    pub(crate) follower: Follower,
    pub(crate) snapshotter: Snapshotter,
    pub(crate) reviver: Reviver,
    /// What the sequencer's thread asks of the reviver's.
    pub(crate) wanting: Receiver<Wanted>,
    pub(crate) slots: Box<dyn Slots>,
    /// What a thread does first that the others must not wait for.
    pub(crate) step_back: fn(),
}

/// Folds and compares what is stored, and puts the parts of an instance together. Starts no thread.
pub(crate) fn assemble(
    mut stores: Stores,
    options: &Options,
    host: Host,
) -> Result<(Arc<Plane>, Parts, Vec<String>), StartError> {
    let mut notices = Vec::new();
    let mut seats = BTreeMap::new();
    let mut all = Vec::new();
    let mut by_name = HashMap::new();
    let directory = Arc::new(Directory::default());
    let mut last = TimeMs(0);
    let mut positions = BTreeMap::new();
    if let Some(bundle) = &options.bundle {
        if let Err(cases) = crate::dry::all_cases(bundle) {
            return Err(StartError::BundleUntrue { bundle: bundle.digest(), cases });
        }
        stores.journal.put_bundle(&bundle.digest().0, bundle.normalised())?;
    }
    for (no, name) in stores.reader.workspaces()? {
        stores.marks.check_size(&name, stores.reader.head(no)?.next_index)?;
    }
    let slots_end = stores.slots.end()?;
    let mut behind = Vec::new();
    let saved = Arc::new(SnapshotTotals::default());
    for loaded in load_all(&stores, &host)? {
        let Loaded {
            no,
            name,
            head,
            folded,
            signing,
            keys,
            sessions,
            doomed,
            tail,
            notices: found,
        } = loaded;
        notices.extend(found);
        saved.folded.fetch_add(tail, Ordering::Relaxed);
        if tail >= options.snapshots.entries {
            behind.push((no, name.clone(), head.next_index));
        }
        if let Some(dev) = folded.founded_dev.filter(|dev| *dev != options.dev) {
            return Err(StartError::OtherMode { dev });
        }
        if folded.slot_max > 0 && folded.slot_max >= slots_end {
            let what = "its payload keys are missing: keys.db is older than the log".to_owned();
            return Err(StartError::Damaged { workspace: name.to_string(), what });
        }
        privacy::finish(stores.slots.as_mut(), stores.reader.as_ref(), no, &doomed)?;
        last = last.max(folded.state.time());
        directory.insert(keys);
        for session in sessions {
            directory.open(Arc::new(session), folded.state.time());
        }
        let signing = match signing {
            Some(signing) => signing,
            None => unnamed(&stores, all.first(), &name)?,
        };
        let signers = folded.state.signers().to_vec();
        let renamed = signing.vkey.name() != origin_of(&stores.instance, &name);
        let shared = seat_of(&stores, no, &name, folded.tree, signing, signers)?;
        if let Some(digest) = folded.state.policy() {
            let policy = policies::load(&stores, options.bundle.as_ref(), digest)?;
            if let Some((digest, why)) = &policy.lost {
                notices.push(format!(
                    "workspace {}: the bundle {digest} is in force and cannot be served: {why}; \
                     everything is SILENCE there until another one is published",
                    shared.name
                ));
            }
            shared.set_policy(policy);
        }
        if let Some(shadow) = folded.state.shadow() {
            // It decides nothing, so it keeps nothing from starting either.
            let loaded = policies::load(&stores, options.bundle.as_ref(), shadow.bundle)?;
            shared.shadow.store(loaded.bundle);
            if let Some((digest, why)) = loaded.lost {
                notices.push(format!("workspace {name}: its shadow bundle {digest}: {why}"));
            }
        }
        shared.evidence.store(Arc::new(folded.state.evidence().clone()));
        shared.killed.store(folded.state.is_killed(), Ordering::SeqCst);
        let (_, ungoverned, _) = folded.state.exception_counts();
        shared.ungoverned.store(ungoverned as u64, Ordering::Relaxed);
        shared.halts.follow(&folded.state);
        positions.insert(no, stores.model_writer.position(no)?);
        let solo = folded.state.solo();
        by_name.insert(name, shared.clone());
        all.push(shared.clone());
        seats.insert(
            no,
            Seat {
                shared,
                epoch: head.epoch + 1,
                state: folded.state,
                dev: options.dev,
                solo,
                // A succession says itself what came before it.
                gap: (!renamed).then(|| "restart".to_owned()),
                renamed,
                used: Instant::now(),
            },
        );
    }
    let stamp = Stamp::new(stores.clock.clone(), last);
    let gauges = Arc::new(Gauges::default());
    let totals = Arc::new(CommitTotals::default());
    let recent = Arc::new(Recent::default());
    let followed = Arc::new(Recent::bounded(FOLLOWED_MAX));
    let indexed = Arc::new(AtomicU64::new(0));
    let (inbox, messages) = sync_channel(INBOX_MAX);
    let (urgent, urgents) = channel();
    let (committing, work) = sync_channel(1);
    let pool = SlotPool::new(host.clone());
    let committer = Committer {
        journal: stores.journal,
        recent: recent.clone(),
        followed: followed.clone(),
        gauges: gauges.clone(),
        totals: totals.clone(),
        urgent,
        wake: inbox.clone(),
    };
    let idle = Arc::new(IdleTotals::default());
    let (wanted, wanting) = channel();
    let reviver = Reviver {
        reader: stores.reader.clone(),
        snapshots: stores.snapshots.clone(),
        signers: stores.signers.clone(),
        instance: stores.instance.clone(),
        sequencer: inbox.clone(),
        host: host.clone(),
    };
    let sequencer = Sequencer {
        seats,
        directory: directory.clone(),
        idle: Idle::new(options.idle, wanted, idle.clone()),
        ticked: Instant::now(),
        inbox: messages,
        urgent: urgents,
        committer: committing.clone(),
        stamp,
        gauges: gauges.clone(),
    };
    let follower = Follower {
        tiling: Tiling::default(),
        model: stores.model_writer,
        journal: stores.reader.clone(),
        recent: recent.clone(),
        positions,
        indexed: indexed.clone(),
        host: host.clone(),
    };
    let snapshotter = Snapshotter {
        snapshots: stores.snapshots,
        reader: stores.reader.clone(),
        signers: stores.signers.clone(),
        instance: stores.instance.clone(),
        followed: followed.clone(),
        totals: saved.clone(),
        plan: options.snapshots,
        followers: BTreeMap::new(),
        failed: BTreeMap::new(),
        behind,
        clock: stores.clock.clone(),
        host: host.clone(),
    };
    let parts = Parts {
        sequencer,
        committer,
        work,
        follower,
        snapshotter,
        reviver,
        wanting,
        slots: stores.slots,
        step_back: stores.step_back,
    };
    let plane = Arc::new(Plane {
        inbox,
        committer: committing,
        workspaces: ArcSwap::from_pointee(Workspaces { all, by_name }),
        creating: tokio::sync::Mutex::new(()),
        shadowing: tokio::sync::Mutex::default(),
        directory,
        pool,
        journal: stores.reader,
        slots: stores.slot_reader,
        model: stores.model,
        keys: stores.keys,
        signers: stores.signers,
        marks: Mutex::new(stores.marks),
        safety: stores.safety.into(),
        kill_order: tokio::sync::Mutex::new(()),
        watched: Arc::default(),
        clock: stores.clock,
        gauges,
        totals,
        indexed,
        saved,
        idle,
        recent,
        followed,
        instance: stores.instance,
        succeeds: stores.succeeds,
        dev: options.dev,
        solo: options.solo,
        privacy: Privacy::default(),
        workshop: Workshop::default(),
        stopping: AtomicBool::new(false),
        host,
        showing: crate::inbox::places(),
    });
    Ok((plane, parts, notices))
}

impl Plane {
    /// Starts an instance over `stores`.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(stores: Stores, options: Options) -> Result<Started, StartError> {
        let (plane, parts, mut notices) = assemble(stores, &options, Host::default())?;
        let Parts {
            sequencer,
            committer,
            work,
            follower,
            snapshotter,
            reviver,
            wanting,
            slots,
            step_back,
        } = parts;
        let gauges = &plane.gauges;
        let mut threads = vec![
            spawn("sequencer", Some(gauges), move || sequencer.run())?,
            spawn("committer", Some(gauges), move || committer.run(&work))?,
            spawn("follower", None, move || {
                step_back();
                follower.run();
            })?,
            spawn("snapshotter", None, move || {
                step_back();
                snapshotter.run();
            })?,
            spawn("reviver", None, move || reviver.run(&wanting))?,
            plane.pool.start(slots),
        ];
        let bootstrap = plane.settle(&options, &mut notices).await?;
        threads.extend(plane.watch_out(step_back)?);
        Ok(Started { plane, bootstrap, notices, threads })
    }

    /// The threads that see and record what is asked for beside the store, and the one that looks
    /// after the seal of the log.
    fn watch_out(self: &Arc<Self>, step_back: fn()) -> Result<Vec<JoinHandle<()>>, StartError> {
        let (plane, watched) = (Arc::downgrade(self), self.watched.clone());
        let recorder = spawn("overrides", None, move || watching::record(&plane, &watched))?;
        let Some(lookout) = self.safety.lookout() else { return Ok(vec![recorder]) };
        self.watched.threaded.store(true, Ordering::SeqCst);
        let plane = Arc::downgrade(self);
        let watch = spawn("lookout", None, move || watching::watch(&plane, lookout.as_ref()))?;
        let plane = Arc::downgrade(self);
        let scrub = spawn("scrub", None, move || {
            step_back();
            scrub::run(&plane);
        })?;
        Ok(vec![recorder, watch, scrub])
    }

    /// Founds the first workspace or compares what is there with what was asked for, and trips the
    /// kill switch where its armed state cannot be shown.
    pub(crate) async fn settle(
        self: &Arc<Self>,
        options: &Options,
        notices: &mut Vec<String>,
    ) -> Result<Option<ApiKey>, StartError> {
        let Some(root) = self.root() else {
            let (workspace, key) =
                self.create_workspace(options.workspace.clone(), options.admin.clone()).await?;
            if let Some(bundle) = &options.bundle {
                self.arm_bundle(&workspace, bundle).await?;
            }
            self.arm().await?;
            return Ok(Some(key));
        };
        if let Some(signed) = &self.succeeds
            && self.succeed(signed).await?
        {
            notices.push(format!(
                "signed entries were lost: the logs go on under the name placet/{}/, with a new \
                 signing key",
                self.instance
            ));
        }
        let (mut bootstrap, mut first) = (None, false);
        for workspace in self.all_workspaces() {
            // A crash between registering a workspace and its genesis leaves it empty.
            let (size, policy) =
                self.look(workspace.no, |state| (state.next_index(), state.policy())).await?;
            if size == 0 {
                let key = self.genesis(&workspace, options.admin.clone(), None).await?;
                notices
                    .push(format!("workspace {} was never founded; founded now", workspace.name));
                bootstrap.get_or_insert(key);
                first |= workspace.no == root.no;
            }
            if let Some(bundle) = &options.bundle {
                match policy {
                    Some(armed) if armed == bundle.digest() => {}
                    Some(armed) if !options.dev => {
                        let given = bundle.digest();
                        return Err(StartError::OtherBundle { armed, given });
                    }
                    _ => self.arm_bundle(&workspace, bundle).await?,
                }
            }
        }
        match self.finish_rotation().await {
            // Every key that a log is signed with is held; a doubtful clock is no reason not to start.
            Err(PlaneError::ClockUnsure) => notices.push(
                "a rotation of the signing key was cut short, and the clock is in doubt: confirm the clock, \
                 which completes it"
                    .to_owned(),
            ),
            Ok(true) => notices
                .push("a rotation of the signing key was cut short; it is complete now".into()),
            done => drop(done?),
        }
        if self.safety.kill_requested() {
            self.trip(None, KillScope::Everything, KillSource::File, None).await?;
        }
        let (killed, last_override) =
            self.look(root.no, |state| (state.is_killed(), state.last_override())).await?;
        let cause = |state: &State| state.kill().0.map(|kill| kill.source);
        if let Some(source) = self.look(root.no, cause).await? {
            self.watched.tripped(source);
        }
        // What a crash kept from reaching every log reaches it now.
        self.follow_trips().await?;
        let certificate = self.safety.read_armed();
        // A crash may have come between a handover and the certificate of the new key. The key before is held
        // until that is written.
        let signers = self.signers.all()?;
        let last = last_override.unwrap_or(0);
        let by_any = |named: fn(&[u8], &str, &dyn Signer) -> Option<u64>,
                      bytes: &Option<Vec<u8>>| {
            let bytes = bytes.as_ref()?;
            signers.iter().find_map(|it| named(bytes, &self.instance, it.as_ref()))
        };
        let armed = certificate.as_ref().is_ok_and(|it| by_any(armed::names, it) == Some(last));
        // INVARIANT: only where the first log begins with this start can nothing have been stopped before. A kill
        // that could not be recorded rests on nothing but the missing certificate, whatever else is founded now.
        if first && certificate.as_ref().is_ok_and(Option::is_none) {
            self.arm().await?;
        } else if !armed && !killed {
            // A stranger who renames it like that stops everything just the same, and hides only who did. Where a
            // kill was recorded and lifted since, what is set aside is older than the log.
            let aside = self.safety.read_disarmed().unwrap_or_default();
            let missing = certificate.as_ref().is_ok_and(Option::is_none);
            let ours = by_any(armed::began, &aside).is_some_and(|it| it <= last);
            let (source, notice) = match missing && ours {
                true => (
                    KillSource::Interrupted,
                    "a kill took effect, and the process ended before it was recorded, or before its lift was \
                     complete: the kill switch of everything is tripped",
                ),
                false => (
                    KillSource::Certificate,
                    "the armed certificate is missing, altered or rolled back: the kill switch of everything \
                     is tripped",
                ),
            };
            notices.push(notice.to_owned());
            self.trip(None, KillScope::Everything, source, None).await?;
        } else if !armed {
            // Killed, and a loss of power may have brought one back. Left there, it would pass for an altered one
            // after the next lift; it arms nothing.
            drop(self.safety.disarm());
        } else {
            self.arm().await?;
            match self.follow_lift(None).await {
                // What is stopped stays stopped; a doubtful clock is no reason not to start.
                Err(PlaneError::ClockUnsure) => notices.push(
                    "the clock is in doubt, so a lift of everything did not reach every workspace: \
                     confirm the clock, then lift everything again"
                        .to_owned(),
                ),
                done => drop(done?),
            }
        }
        // Killed, what was set aside has to outlive the key that signed it.
        if signers.len() > 1 {
            self.arm().await?;
        }
        self.forget_signers()?;
        Ok(bootstrap)
    }
}

impl Started {
    /// Stops taking commands, lets what was taken become durable, and waits for the threads.
    pub fn stop(self) {
        let plane = self.plane;
        plane.stopping.store(true, Ordering::SeqCst);
        // A full inbox empties: the sequencer is still running.
        let _ = plane.inbox.send(Message::Shutdown);
        plane.pool.close();
        let mut threads = self.threads.into_iter();
        // In the order of the flow: what the sequencer has taken still becomes durable.
        threads.next().map(JoinHandle::join);
        let _ = plane.committer.send(Errand::Shutdown);
        threads.next().map(JoinHandle::join);
        if let Err(error) = plane.mark(&mut HashMap::new()) {
            plane.host.say(format_args!("the high-water mark could not be raised: {error}"));
        }
        plane.watched.end();
        plane.recent.close();
        plane.followed.close();
        for thread in threads {
            // A thread that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

/// Sets the store's failure when its thread panics: nothing is decided without it.
struct FailOnPanic(Option<Arc<Gauges>>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if let Some(gauges) = self.0.take().filter(|_| std::thread::panicking()) {
            gauges.failed.store(true, Ordering::SeqCst);
        }
    }
}

fn spawn(
    name: &str,
    vital: Option<&Arc<Gauges>>,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let guard = FailOnPanic(vital.cloned());
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _guard = guard;
            run();
        })
        .map_err(|error| StartError::Store(PortError::new(error)))
}

fn seat_of(
    stores: &Stores,
    no: WorkspaceNo,
    name: &WorkspaceName,
    tree: Tree<Fast>,
    signing: Signing,
    signers: Vec<LogSigner>,
) -> Result<Arc<Workspace>, StartError> {
    let damaged =
        |what: &str| StartError::Damaged { workspace: name.to_string(), what: what.to_owned() };
    let secret = stores
        .keys
        .workspace_key(name)?
        .ok_or_else(|| damaged("its pseudonym key is missing from the identity store"))?;
    if signing.vkey.name() != origin_of(&stores.instance, name) && stores.succeeds.is_none() {
        return Err(damaged("it belongs to another instance"));
    }
    Ok(Arc::new(Workspace::new(no, name.clone(), signing, &secret, tree, signers)))
}
