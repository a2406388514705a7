//! How an instance goes and comes back: crashes, stops, starts and what a refused one needs. Owns
//! what may be expected of a start; refuses to know when something goes wrong.

use crate::checkers::{Held, erased, logs, violated};
use crate::executor::Group;
use crate::mutant::Mutant;
use crate::random::{Random, SeededEntropy};
use crate::simulation::Simulation;
use crate::stores::stores;
use crate::workload::{ADMIN, BESIDE, BUNDLE, STRICTER};
use placet_policy::{Bundle, Source};
use placet_runtime::crypto::Fast;
use placet_runtime::driver::Driver;
use placet_runtime::host::Host;
use placet_runtime::ports::Clock;
use placet_runtime::{Options, SnapshotPlan, StartError};
use placet_types::ids::{ActorId, TimeMs, WorkspaceName};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Slots per write of the pool.
const SLOTS: usize = 8;

impl Simulation {
    /// The instance is gone between two steps.
    pub(crate) fn crash(&mut self, why: &str) -> Held {
        self.world.say(format_args!("crash: {why}"));
        self.gone();
        self.world.disks.lock().crash();
        self.at_rest()
    }

    /// Everything that the instance held in memory is gone.
    fn gone(&mut self) {
        let world = &self.world;
        *world.plane.borrow_mut() = None;
        world.executor.borrow_mut().crash();
        self.driver = None;
        *self.settled.borrow_mut() = None;
        world.checkers.borrow_mut().liveness.crash();
        world.checkers.borrow_mut().kill.crash();
        world.totals.borrow_mut().crashes += 1;
        world.failed.set(false);
        let wait = if world.is_calm() { 100 } else { self.faults.between(1, 8000) };
        self.start_at = world.clock.now() + wait;
    }

    /// The instance is stopped as an operator does.
    pub(crate) fn stop(&mut self) -> Held {
        self.world.say(format_args!("operator: the instance is stopped"));
        *self.world.plane.borrow_mut() = None;
        if let Some(driver) = self.driver.take() {
            driver.stop();
        }
        // Callers that were answered by the stop are not heard any more.
        if self.world.disks.lock().crashed {
            return self.crash("power fails while stopping");
        }
        self.gone();
        let mut disk = self.world.disks.lock();
        disk.append_fault = None;
        // A stop flushes what a disk may have lied about.
        disk.lied.clear();
        (disk.slots_fail, disk.marks_fail, disk.read_fails) = (false, false, false);
        drop(disk);
        self.at_rest()
    }

    /// Looks at the disk while nothing runs. What a lying disk lost is noticed by whoever holds a
    /// checkpoint, or by the marks at the next start; then it is put back.
    fn at_rest(&mut self) -> Held {
        let world = self.world.clone();
        let mut disk = world.disks.lock();
        if disk.torn.is_some() {
            // Refused at the next start; looked at once it is repaired.
            return Ok(());
        }
        if disk.lost.is_empty() {
            return world.checkers.borrow().at_rest(&disk);
        }
        let logs = logs(&disk)?;
        let behind = self.is_behind(&disk);
        let contradicted = world.checkers.borrow().checkpoints.contradict(&logs);
        // What was answered without a checkpoint (an execution that queues) the marks show, or the
        // next checkpoint that is published would have.
        let lost = world.checkers.borrow().durable.proved_at_rest(&logs).err();
        if let Some(lost) = lost.filter(|_| !contradicted) {
            let what = "a lying disk lost an answer and no checkpoint shows it";
            return violated(
                "checkpoints",
                format!("{what}: {}; behind its marks: {behind}", lost.what),
            );
        }
        if !behind {
            world.say(format_args!(
                "rollback behind no mark; a held checkpoint shows it: {contradicted}"
            ));
            world.totals.borrow_mut().rollbacks += 1;
            disk.repair();
        }
        Ok(())
    }

    fn is_behind(&self, disk: &crate::disk::Disk) -> bool {
        disk.workspaces().iter().any(|(no, name)| {
            let mark = disk.marks.get(name.as_str()).copied().unwrap_or_default();
            disk.head(*no).next_index < mark
        })
    }

    /// Starts what is not running, sees to what has failed.
    pub(crate) fn look_after(&mut self) -> Held {
        if self.driver.is_none() {
            if self.world.clock.now() >= self.start_at {
                return self.start();
            }
            return Ok(());
        }
        let settled = self.settled.borrow_mut().take();
        match settled {
            Some(Ok(())) => self.started()?,
            Some(Err(error)) => {
                self.refused(&error)?;
                return self.crash("the start was refused");
            }
            None => {}
        }
        let plane = self.world.plane();
        let ready = plane.as_ref().and_then(|plane| plane.not_ready());
        if plane.is_some() && ready.is_none() && self.world.failed.get() {
            let what = "callers hear that the store has failed, and the instance says it is ready";
            return violated("liveness", what);
        }
        if let Some(error) = ready
            && (self.world.is_calm() || self.faults.per_mille(2))
        {
            if error.code() == "clock_unsure" {
                self.world.trouble(&error);
            } else {
                return self.crash("an operator restarts what has failed");
            }
        }
        Ok(())
    }

    fn start(&mut self) -> Held {
        let run = self.world.run.get() + 1;
        self.world.run.set(run);
        let world = self.world.clone();
        self.disturbed = {
            let disk = world.disks.lock();
            disk.is_disturbed() || self.world.mutant == Some(Mutant::AnswerBeforeFlush)
        };
        if self.plan.bundles {
            self.stricter = self.faults.per_mille(300);
        }
        // A start writes where a bundle came with it: not by a doubtful clock.
        self.disturbed |= self.clock_is_behind() && self.plan.bundles;
        let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
        let trace = world.trace.clone();
        let host = Host {
            entropy: Some(Arc::new(SeededEntropy::new(Random::new(self.faults.next(), run)))),
            voice: Some(Arc::new(move |line: &str| {
                trace.say(clock.monotonic_ms(), format_args!("instance: {line}"));
            })),
            single_thread: true,
            slots: SLOTS,
        };
        let stores = stores(&world.disks, &world.clock);
        world.say(format_args!("start {run}"));
        match Driver::assemble(stores, &self.options(), host) {
            Ok((driver, notices)) => {
                notices.iter().for_each(|notice| world.say(format_args!("notice: {notice}")));
                let (torn, behind) = {
                    let disk = world.disks.lock();
                    (disk.torn.is_some(), self.is_behind(&disk))
                };
                {
                    let mut disk = world.disks.lock();
                    disk.forgotten.clear();
                    let end = disk.slots.len() as u64;
                    if logs(&disk)?.values().flatten().any(|stored| stored.slot > Some(end)) {
                        return violated("durable", "an instance starts without its payload keys");
                    }
                }
                if (torn || behind) && world.mutant != Some(Mutant::AnswerBeforeFlush) {
                    let what = if torn { "with a torn row" } else { "behind its marks" };
                    return violated("durable", format!("an instance starts {what}"));
                }
                let (settled, settle) = (self.settled.clone(), driver.settle(self.options()));
                let (voice, id) = (
                    world.clone(),
                    world.checkers.borrow_mut().liveness.begins(world.clock.now(), "start"),
                );
                world.spawn(Group::Server, async move {
                    let done = settle.await;
                    voice.checkers.borrow_mut().liveness.ends(id);
                    let done = done.map(|(_, notices)| {
                        notices.iter().for_each(|line| voice.say(format_args!("notice: {line}")));
                    });
                    *settled.borrow_mut() = Some(done);
                });
                self.driver = Some(driver);
                self.dirty = true;
                Ok(())
            }
            Err(error) => {
                self.refused(&error)?;
                let mut disk = world.disks.lock();
                disk.repair();
                drop(disk);
                world.clock.repair(self.newest());
                self.start_at = world.clock.now() + 1000;
                self.at_rest()
            }
        }
    }

    fn refused(&mut self, error: &StartError) -> Held {
        let world = &self.world;
        world.say(format_args!("start refused: {}: {error}", error.code()));
        world.totals.borrow_mut().refusals += 1;
        let expected = {
            let disk = world.disks.lock();
            disk.is_disturbed() || self.disturbed
        };
        let why = error.to_string();
        let held = world.checkers.borrow_mut().liveness.refused(error.code(), &why, expected);
        if error.code() == "clock_unsure" {
            world.clock.repair(self.newest());
        }
        held
    }

    /// The time of the newest entry.
    fn newest(&self) -> TimeMs {
        let disk = self.world.disks.lock();
        let times = disk.workspaces().into_iter().filter_map(|(no, _)| {
            let entries = disk.entries(no.0).ok()?;
            entries.last().map(|stored| stored.entry.time)
        });
        times.max().unwrap_or_default()
    }

    fn clock_is_behind(&self) -> bool {
        self.world.clock.wall() < self.newest()
    }

    fn started(&mut self) -> Held {
        let world = self.world.clone();
        let Some(driver) = &self.driver else { return Ok(()) };
        *world.plane.borrow_mut() = Some(driver.plane().clone());
        for task in driver.housekeeping() {
            world.spawn(Group::Server, task);
        }
        world.checkers.borrow_mut().liveness.started();
        let mut disk = world.disks.lock();
        erased::after_start(&disk, &logs(&disk)?)?;
        let (unarmed, meddled) = (std::mem::take(&mut disk.unarmed), disk.meddled);
        let went_back = disk.went_back;
        drop(disk);
        let killed = driver.plane().root().is_some_and(|root| root.is_killed());
        if unarmed && !killed {
            return violated("kill", "an instance without its armed certificate is not tripped");
        }
        // A log that went back is what the certificate is there to show.
        if driver.plane().is_tampered() && !meddled && !went_back {
            return violated("kill", "an instance is taken for tampered with, and nobody did that");
        }
        world.say(format_args!("started"));
        let plane = driver.plane().clone();
        let look = crate::stopping::look_at_all(world.clone(), plane);
        world.spawn(Group::Server, look);
        Ok(())
    }

    fn options(&self) -> Options {
        let name = |name| match WorkspaceName::parse(name) {
            Some(name) => name,
            None => unreachable!("a name of the simulation"),
        };
        let actor = |actor| match ActorId::parse(actor) {
            Some(actor) => actor,
            None => unreachable!("an actor of the simulation"),
        };
        Options {
            dev: self.world.dev,
            solo: false,
            bundle: Some(bundle(self.stricter)),
            workspace: name("main"),
            admin: actor(ADMIN),
            snapshots: SnapshotPlan {
                entries: 12,
                entries_idle: 2,
                idle: Duration::from_secs(5),
                rest: 1,
                stop: Duration::from_secs(1),
            },
            // Longer than a run takes: the simulation says itself when a state goes.
            idle: Some(Duration::from_secs(1 << 20)),
        }
    }
}

fn bundle(stricter: bool) -> Arc<Bundle> {
    static BUNDLES: OnceLock<[Arc<Bundle>; 2]> = OnceLock::new();
    let compile = |text: &str| {
        let source = |name: &str, text: &str| Source { name: name.into(), text: text.into() };
        match Bundle::compile::<Fast>(&[
            source("simulated.yaml", text),
            source("beside.yaml", BESIDE),
        ]) {
            Ok(bundle) => Arc::new(bundle),
            Err(found) => unreachable!("the bundle of the simulation does not compile: {found:?}"),
        }
    };
    let bundles = BUNDLES.get_or_init(|| [compile(BUNDLE), compile(STRICTER)]);
    bundles[usize::from(stricter)].clone()
}
