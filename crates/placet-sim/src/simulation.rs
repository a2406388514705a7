//! One seed from its first step to its verdict: who runs next, what goes wrong when, how an instance
//! comes back, and what is looked at when everything has come to rest.

use crate::checkers::{Checkers, Held, Violation, erased, logs, replay, violated};
use crate::clock::SimClock;
use crate::disk::{AppendFault, Disks};
use crate::executor::{Executor, Group};
use crate::keys::one_signer;
use crate::mutant::Mutant;
use crate::random::Random;
use crate::stores::stores;
use crate::trace::Trace;
use crate::workload::{client, set_up};
use crate::world::{Network, Totals, World};
use placet_runtime::StartError;
use placet_runtime::driver::{Driver, Part};
use placet_runtime::ports::WorkspaceNo;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Steps of a run at most: one that needs more hangs.
const STEPS_MAX: u64 = 400_000;

/// What became of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What does not hold.
    pub violation: Option<Violation>,
    /// Hash of everything that happened, in order.
    pub hash: u64,
    /// Numbers.
    pub totals: Totals,
    /// What happened, if it was kept.
    pub trace: Vec<String>,
}

/// Kinds of faults, each on or off in a seed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    rate: u64,
    crash: bool,
    append: bool,
    lie: bool,
    stores: bool,
    clock: bool,
    pause: bool,
    kill_file: bool,
    pub(crate) bundles: bool,
    idle: bool,
    weights: [u64; 7],
    task_weight: u64,
}

pub(crate) struct Simulation {
    pub(crate) world: Rc<World>,
    schedule: Random,
    pub(crate) faults: Random,
    pub(crate) plan: Plan,
    pub(crate) driver: Option<Driver>,
    /// What `settle` came to.
    pub(crate) settled: Rc<RefCell<Option<Result<(), StartError>>>>,
    /// When the next start is due.
    pub(crate) start_at: u64,
    /// Something was done to the instance since its start.
    pub(crate) disturbed: bool,
    pub(crate) dirty: bool,
    tick: bool,
    pub(crate) stricter: bool,
}

/// Runs a seed. The same arguments give the same outcome, to the last byte of the trace.
#[must_use]
pub fn run(seed: u64, mutant: Option<Mutant>, keep_trace: bool) -> Outcome {
    let trace = Arc::new(Trace::new(keep_trace));
    let mut simulation = Simulation::new(seed, mutant, trace.clone());
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| simulation.run()));
    let world = simulation.world.clone();
    let violation = match ran {
        Ok(held) => world.violation.borrow_mut().take().or(held.err()),
        Err(panic) => {
            let what = panic.downcast_ref::<String>().cloned();
            let what = what.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let what = what.unwrap_or_else(|| "a panic".to_owned());
            Some(Violation { checker: "panic", what })
        }
    };
    simulation.driver = None;
    *world.plane.borrow_mut() = None;
    let tasks = std::mem::take(&mut *world.executor.borrow_mut());
    drop(tasks);
    let mut totals = *world.totals.borrow();
    totals.steps = world.step.get();
    totals.acknowledged = world.checkers.borrow().durable.len();
    totals.permits = world.checkers.borrow().permits.len();
    let (hash, _, trace) = trace.finish();
    Outcome { seed, violation, hash, totals, trace }
}

impl Simulation {
    fn new(seed: u64, mutant: Option<Mutant>, trace: Arc<Trace>) -> Self {
        let mut draw = Random::new(seed, 1);
        let mut on = |per_mille| draw.per_mille(per_mille);
        let (crash, append, lie, stores) = (on(850), on(600), on(250), on(400));
        let (clock, pause, kill_file, bundles) = (on(350), on(400), on(150), on(600));
        let idle = on(500);
        let dev = on(300);
        let quiet = on(100);
        let plan = Plan {
            rate: if quiet { 0 } else { draw.between(1, 6) },
            crash,
            append,
            lie,
            stores,
            clock,
            pause,
            kill_file,
            bundles: bundles && dev,
            idle,
            weights: std::array::from_fn(|_| draw.between(1, 8)),
            task_weight: draw.between(2, 20),
        };
        let network = match draw.below(4) {
            0 => Network { delay_ms: 5, ..Network::default() },
            1 => Network { lost: 50, doubled: 50, cut: 20, delay_ms: 50 },
            2 => Network { lost: 10, doubled: 200, cut: 100, delay_ms: 500 },
            _ => Network { lost: 150, doubled: 100, cut: 50, delay_ms: 2500 },
        };
        let disks = Disks::default();
        disks.lock().random = Some(Random::new(seed, 2));
        disks.lock().mutant = mutant;
        let clock = SimClock::default();
        if plan.clock && draw.per_mille(500) {
            clock.set_drift(i64::try_from(draw.below(11)).unwrap_or(0) - 5);
        }
        let mut key = [0; 32];
        draw.fill(&mut key);
        disks.lock().seeds.push(key);
        let world = World {
            clock,
            disks,
            trace,
            executor: RefCell::new(Executor::default()),
            random: RefCell::new(Random::new(seed, 3)),
            plane: RefCell::new(None),
            run: Cell::new(0),
            step: Cell::new(0),
            woken: Cell::new(0),
            calm: Cell::new(Some(0)),
            failed: Cell::new(false),
            network: Cell::new(network),
            checkers: RefCell::new(Checkers::default()),
            violation: RefCell::new(None),
            people: RefCell::new(Vec::new()),
            runs: RefCell::new(Vec::new()),
            totals: RefCell::new(Totals::default()),
            mutant,
            dev,
            pace_ms: [2, 10, 60, 400][draw.place(4)],
        };
        Self {
            world: Rc::new(world),
            schedule: Random::new(seed, 4),
            faults: Random::new(seed, 5),
            plan,
            driver: None,
            settled: Rc::new(RefCell::new(None)),
            start_at: 0,
            disturbed: false,
            dirty: true,
            tick: false,
            stricter: false,
        }
    }

    fn run(&mut self) -> Held {
        self.world.say(format_args!("plan: {:?}, dev {}", self.plan, self.world.dev));
        // Founding, without faults.
        let network = self.world.network.replace(Network { delay_ms: 1, ..Network::default() });
        self.until("founding", |this| this.world.plane().is_some())?;
        let made = Rc::new(RefCell::new(None));
        let (done, world) = (made.clone(), self.world.clone());
        if let Some(plane) = self.world.plane() {
            self.world.spawn(Group::Server, async move {
                let set_up = set_up(world, plane).await;
                *done.borrow_mut() = Some(set_up);
            });
        }
        self.until("setting up", |_| made.borrow().is_some())?;
        if let Some(Err(error)) = made.borrow_mut().take() {
            return violated("liveness", format!("setting up failed: {error}"));
        }
        // The storm.
        self.world.network.set(network);
        self.world.calm.set(None);
        self.world.say(format_args!("the storm begins, network {network:?}"));
        let clients = self.schedule.between(2, 6);
        for number in 0..clients {
            let acts = self.schedule.between(3, 9);
            self.world.spawn(Group::Outside, client(self.world.clone(), number, acts));
        }
        let end = self.world.clock.now() + 60_000 + self.schedule.below(60_000);
        self.until("the storm", |this| {
            this.world.clock.now() > end || this.world.executor.borrow().len(Group::Outside) == 0
        })?;
        // Calm: everybody who waits is answered.
        self.calm();
        self.until("the calm", |this| {
            this.world.plane().is_some()
                && this.world.executor.borrow().len(Group::Outside) == 0
                && this.world.checkers.borrow().liveness.is_quiet()
        })?;
        self.rest()
    }

    /// No faults from here on; what was planned is forgotten, what is broken is started anew.
    fn calm(&mut self) {
        let world = &self.world;
        world.calm.set(Some(world.clock.now()));
        world.network.set(Network { delay_ms: 2, ..Network::default() });
        world.clock.set_drift(0);
        world.say(format_args!("calm"));
        {
            let mut disk = world.disks.lock();
            disk.append_fault = None;
            (disk.slots_fail, disk.model_fails, disk.marks_fail) = (false, false, false);
            (disk.snapshots_fail, disk.read_fails) = (false, false);
        }
        self.start_at = self.start_at.min(world.clock.now() + 100);
    }

    /// Steps until `done`.
    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Held {
        let begun = self.world.step.get();
        while !done(self) {
            if self.world.violation.borrow().is_some() {
                return Ok(());
            }
            if self.world.step.get() > begun + STEPS_MAX {
                return violated("liveness", format!("{what} comes to no end"));
            }
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Held {
        let step = self.world.step.get() + 1;
        self.world.step.set(step);
        self.world.executor.borrow().step(step);
        if !self.world.is_calm() && self.plan.rate > 0 && self.faults.below(1500) < self.plan.rate {
            self.fault()?;
        }
        if self.world.disks.lock().crashed {
            self.crash("power fails during a write")?;
        }
        self.look_after()?;
        self.go_on();
        if let Some(calm) = self.world.calm.get() {
            let now = self.world.clock.now();
            self.world.checkers.borrow().liveness.look(now, calm)?;
        }
        Ok(())
    }

    /// One task is polled, or one part has its turn, or time passes.
    fn go_on(&mut self) {
        let world = self.world.clone();
        let ready = world.executor.borrow().is_ready();
        let mut choices = [0; 8];
        if ready {
            choices[7] = self.plan.task_weight;
        }
        if let Some(driver) = &self.driver {
            for (at, part) in Part::ALL.iter().enumerate() {
                let wants = driver.is_wanting(*part);
                if wants && (*part != Part::Sequencer || self.dirty) {
                    choices[at] = self.plan.weights[at];
                }
            }
            // A caller that finds no slot waits on its own thread: the pool is never left behind.
            if driver.is_starved() {
                choices = [1, 0, 0, 0, 0, 0, 0, 0];
            }
        }
        let sum: u64 = choices.iter().sum();
        if sum == 0 {
            return self.pass();
        }
        if self.schedule.per_mille(50) {
            let by = self.schedule.below(4);
            self.advance(by);
        }
        let mut left = self.schedule.below(sum);
        let mut chosen = 7;
        for (at, weight) in choices.iter().enumerate() {
            if left < *weight {
                chosen = at;
                break;
            }
            left -= weight;
        }
        match Part::ALL.get(chosen) {
            Some(part) => self.turn(*part),
            None => self.poll(),
        }
    }

    fn turn(&mut self, part: Part) {
        let most = match self.schedule.below(3) {
            0 => 1,
            1 => 3,
            _ => usize::MAX,
        };
        let tick = part == Part::Sequencer && std::mem::take(&mut self.tick);
        let Some(driver) = &mut self.driver else { return };
        let done = driver.turn(part, most, tick);
        match part {
            Part::Sequencer => self.dirty = done,
            Part::Answers | Part::Revive => self.dirty = true,
            _ => {}
        }
    }

    fn poll(&mut self) {
        let world = self.world.clone();
        let taken = world.executor.borrow_mut().take(&mut self.schedule);
        let Some((id, woken)) = taken else { return };
        let polling = world.executor.borrow_mut().poll(id);
        let Some(mut polling) = polling else { return };
        world.woken.set(woken);
        self.dirty |= polling.group == Group::Server;
        if !polling.poll() {
            world.executor.borrow_mut().keep(polling);
        }
    }

    /// Nobody has anything to do: time passes until somebody has.
    fn pass(&mut self) {
        let now = self.world.clock.now();
        let mut until = self.world.clock.next_due().unwrap_or(now + 1000).max(now + 1);
        if self.driver.is_none() {
            until = until.min(self.start_at.max(now + 1));
        }
        self.advance(until - now);
        if self.schedule.per_mille(200)
            && let Some(driver) = &mut self.driver
        {
            driver.idle();
        }
        if self.plan.idle && !self.world.is_calm() && self.schedule.per_mille(60) {
            self.send_away();
        }
    }

    fn advance(&mut self, by: u64) {
        self.world.clock.advance(by);
        if by > 0 {
            self.tick = true;
            self.dirty = true;
        }
    }

    fn fault(&mut self) -> Held {
        let plan = self.plan;
        let kind = self.faults.below(12);
        match kind {
            0..=2 if plan.crash && self.driver.is_some() => return self.crash("power fails"),
            3 | 4 if plan.append => {
                use AppendFault::{CrashKept, CrashLost, CrashTorn, FailedKept, FailedLost};
                let all = [FailedLost, FailedKept, CrashLost, CrashKept, CrashTorn];
                let fault = all[self.faults.place(all.len())];
                self.note(format_args!("fault: the next append meets {fault:?}"));
                self.world.disks.lock().append_fault = Some(fault);
            }
            5 if plan.lie => {
                self.note(format_args!("fault: the disk lies about flushing"));
                self.world.disks.lock().append_fault = Some(AppendFault::Lie);
            }
            6 if plan.stores => {
                let which = self.faults.below(8);
                self.note(format_args!("fault: store number {which} fails"));
                let mut disk = self.world.disks.lock();
                match which {
                    0 => disk.slots_fail = true,
                    1 => disk.model_fails = true,
                    2 => disk.marks_fail = true,
                    3 => disk.snapshots_fail = true,
                    4 if self.driver.is_none() => disk.read_fails = true,
                    5 if self.driver.is_none() => disk.disarm(),
                    6 if self.driver.is_none() => disk.resurrect(),
                    7 if self.driver.is_none() => disk.forget_slots(),
                    _ => disk.model_fails = true,
                }
            }
            7 if plan.clock => {
                let far = self.faults.per_mille(500);
                let by = self.faults.between(1, if far { 7_200_000 } else { 1900 });
                let by = i64::try_from(by).unwrap_or(0);
                let by = if self.faults.per_mille(500) { -by } else { by };
                self.note(format_args!("fault: the wall clock jumps by {by} ms"));
                self.world.clock.jump(by);
            }
            8 if plan.pause => {
                let long = self.faults.per_mille(200);
                let by = self.faults.between(1, if long { 900_000 } else { 5000 });
                self.note(format_args!("fault: everything stands still for {by} ms"));
                self.advance(by);
            }
            9 if plan.kill_file => {
                self.note(format_args!("fault: somebody asks for a kill beside the store"));
                self.world.disks.lock().kill_file = true;
            }
            10 if plan.crash && self.driver.is_some() => return self.stop(),
            11 if plan.idle => self.send_away(),
            _ => {}
        }
        Ok(())
    }

    /// Workspaces that nobody has asked for, as far as the instance knows.
    fn send_away(&mut self) {
        let gone = self.driver.as_mut().map_or(0, Driver::send_away);
        if gone > 0 {
            self.world.totals.borrow_mut().idle += gone;
            self.world.say(format_args!("{gone} idle states leave memory"));
        }
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.world.say(what);
        self.world.totals.borrow_mut().faults += 1;
        self.disturbed = true;
    }

    /// Everything has been answered: one more stop or crash, one more start, and a close look.
    fn rest(&mut self) -> Held {
        if self.world.violation.borrow().is_some() {
            return Ok(());
        }
        match self.faults.per_mille(500) {
            true => self.crash("the last one")?,
            false => self.stop()?,
        }
        self.until("the last start", |this| this.world.plane().is_some())?;
        if self.world.violation.borrow().is_some() {
            return Ok(());
        }
        let live = Rc::new(RefCell::new(Vec::new()));
        let wanted = self.world.disks.lock().names.len();
        let (world, seen) = (self.world.clone(), live.clone());
        let Some(plane) = self.world.plane() else { return Ok(()) };
        self.world.spawn(Group::Server, async move {
            for workspace in plane.all_workspaces() {
                let state = plane.look(workspace.no, |state| {
                    let mut bytes = Vec::new();
                    state.write_snapshot(&mut bytes);
                    (state.next_index(), bytes)
                });
                match state.await {
                    Ok((size, bytes)) => seen.borrow_mut().push((workspace.no, size, bytes)),
                    Err(error) => world.say(format_args!("the state cannot be seen: {error}")),
                }
            }
        });
        self.until("the last look", |_| live.borrow().len() >= wanted)?;
        let opens = self.world.plane().map(|plane| self.world.checkers.borrow().keys.hold(&plane));
        opens.unwrap_or(Ok(()))?;
        self.compare(&live.borrow())
    }

    fn compare(&self, live: &[(WorkspaceNo, u64, Vec<u8>)]) -> Held {
        let world = &self.world;
        let (mut logs, report) = {
            let disk = world.disks.lock();
            world.checkers.borrow().at_rest(&disk)?;
            let logs = logs(&disk)?;
            erased::after_start(&disk, &logs)?;
            one_signer(&disk, &logs)?;
            drop(disk);
            let stores = stores(&world.disks, &world.clock);
            let sources = placet_runtime::replay::Sources {
                reader: stores.reader.as_ref(),
                slots: stores.slot_reader.as_ref(),
                keys: stores.keys.as_ref(),
                bundle: None,
            };
            let report = placet_runtime::replay::replay(&sources, &mut |_| {});
            (logs, report)
        };
        world.totals.borrow_mut().entries = logs.values().map(|log| log.len() as u64).sum();
        match report {
            Ok(report) => replay::replayed(&report)?,
            Err(error) => return violated("replay", format!("the log is not replayed: {error}")),
        }
        for (no, size, bytes) in live {
            if let Some(log) = logs.get_mut(&no.0) {
                log.truncate(usize::try_from(*size).unwrap_or(usize::MAX));
            }
            replay::same(&logs, no.0, bytes)?;
        }
        Ok(())
    }
}
