//! The crash test: real load, SIGKILL at seeded points, restart, and a comparison of everything that
//! was acknowledged with what is there afterwards. Owns the order of events. What an answer must be
//! is in `ledger`; proofs are checked by the product's verifier and by the one that shares no code.

use crate::approvals::{Course, collects};
use crate::control::{self, Control};
use crate::http::Client;
use crate::ledger::{Acked, Answer, Ledger, Permit, collected, same};
use crate::letters::Letters;
use crate::load::{BUNDLE, Load, Random, body, drive, nonce};
use crate::outputs::{alter, json, output};
use crate::server::{Scratch, Server, start_and_kill};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Load runs so long before the kill, in milliseconds.
const LOAD_MS: std::ops::Range<u64> = 20..500;
/// A start that is killed lives so long, in milliseconds.
const START_MS: std::ops::Range<u64> = 1..80;
/// Permits of a round whose nonces are tried after the restart; well within their life.
const NONCES_MAX: usize = 100;
/// Earlier decisions looked up again after each restart.
const EARLIER_MAX: u64 = 300;
/// Earlier held actions looked at again after each restart.
const EARLIER_HELD_MAX: u64 = 30;
/// Receipts given to one call of the verifier.
const RECEIPTS_PER_CALL: usize = 400;
/// Receipts given to the verifier that shares no code, at the end.
const FOREIGN_MAX: usize = 12;
/// At most so many rounds also check the log while the server is down; its cost grows with the log.
const OFFLINE_CHECKS: u64 = 20;
/// Entries between snapshots.
const SNAPSHOT_ENTRIES: &str = "500";
/// One round in so many also stops the whole workspace just before a kill.
const WHOLE_EVERY: u64 = 5;
/// Threads that look decisions up.
const READERS: usize = 4;

/// What the command line says.
pub(crate) struct Options {
    /// How often to kill.
    pub(crate) kills: u64,
    /// Seed of every choice; taken from the clock and printed when absent.
    pub(crate) seed: Option<u64>,
    /// Fail when the kills are not done by then.
    pub(crate) seconds_max: Option<u64>,
    /// Connections of the load.
    pub(crate) connections: u64,
    /// The binary.
    pub(crate) binary: PathBuf,
    /// Leave the data in place.
    pub(crate) keep: bool,
}

/// Runs the test.
///
/// # Errors
/// The first thing that was lost, doubled or altered, with the seed that leads there.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    if options.kills == 0 || options.connections == 0 {
        bail!("without kills and connections nothing is tested");
    }
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = options.seed.unwrap_or_else(|| u64::try_from(clock.as_micros()).unwrap_or(0));
    println!("crash: {} kills, seed {seed}", options.kills);
    let scratch = Scratch::new("crash", options.keep)?;
    let mut test = Test {
        root,
        options,
        scratch,
        random: Random(seed),
        seed,
        ledger: Ledger::default(),
        courses: Vec::new(),
        control: Control::default(),
        stopped_at: 0,
        next: AtomicU64::new(0),
        receipts: Vec::new(),
        counts: Counts::default(),
    };
    let result = test.all();
    if result.is_err() {
        test.scratch.keep();
    }
    let data = test.scratch.path().display().to_string();
    result.with_context(|| format!("seed {seed}, data kept in {data}"))
}

#[derive(Default)]
struct Counts {
    retried: u64,
    /// Looks at held actions.
    approvals: u64,
    nonces: u64,
    verified: usize,
    refused: u64,
    starts_killed: u64,
    /// Kills of the workspace that were acknowledged before the server was killed.
    stopped: u64,
    /// Starts that folded less than the whole log.
    from_snapshot: u64,
}

struct Test<'a> {
    root: &'a Path,
    options: &'a Options,
    scratch: Scratch,
    random: Random,
    seed: u64,
    ledger: Ledger,
    /// Held actions.
    courses: Vec<Course>,
    control: Control,
    /// Index of the last kill of the workspace: what was permitted before it is told no more.
    stopped_at: u64,
    next: AtomicU64,
    /// Files of receipts not verified yet.
    receipts: Vec<PathBuf>,
    counts: Counts,
}

impl Test<'_> {
    fn all(&mut self) -> Result<()> {
        let started = Instant::now();
        std::fs::create_dir_all(self.path("bundle"))?;
        std::fs::create_dir_all(self.path("receipts"))?;
        std::fs::write(self.path("bundle/rules.yaml"), BUNDLE)?;
        std::fs::write(self.path("bundle/control.yaml"), control::BUNDLE)?;
        let mut letters = Letters::start(&self.path("bundle"), &self.path("secrets"))?;
        let stride = self.options.kills.div_ceil(OFFLINE_CHECKS);
        let mut server = self.start()?;
        for round in 1..=self.options.kills {
            let spent = started.elapsed();
            if self.options.seconds_max.is_some_and(|most| spent > Duration::from_secs(most)) {
                bail!("only {} of {} kills in {spent:?}", round - 1, self.options.kills);
            }
            let first_thing = self.control.len();
            let load = self.load(&mut server)?;
            let acked = load.acked.len();
            let (first, first_held) = (self.ledger.len(), self.courses.len());
            self.courses.extend(load.courses);
            for acked in load.acked {
                self.keep_receipt(&acked)?;
                self.ledger.add(acked)?;
            }
            if round % stride == 0 || round == self.options.kills {
                self.check_roots()?;
            }
            if self.random.below(4) == 0 {
                let after = Duration::from_millis(self.random.within(START_MS));
                start_and_kill(self.command(), after)?;
                self.counts.starts_killed += 1;
            }
            server = self.start()?;
            // First of all: what waited is soon delivered.
            letters
                .look(&mut Client::new(server.address()))
                .and_then(|()| self.check_restarted(&server, first, &load.in_flight))
                .and_then(|()| self.check_courses(&server, first_held))
                .and_then(|()| {
                    let mut client = Client::new(server.address());
                    self.control.check(&mut client, self.seed, first_thing, &mut self.random)
                })
                .with_context(|| format!("after kill {round}\n{}", server.tail()))?;
            if round % WHOLE_EVERY == 0 {
                server = self.stop_all(server, round)?;
            }
            println!(
                "crash: kill {round}/{}: {acked} acknowledged, {} in flight, {} in all, {:.0} s",
                self.options.kills,
                load.in_flight.len(),
                self.ledger.len(),
                started.elapsed().as_secs_f64()
            );
        }
        let approvals: Vec<&str> = self.courses.iter().map(Course::approval).collect();
        let told = letters.finish(&mut Client::new(server.address()), &approvals)?;
        self.finish(server)?;
        println!("crash: {}; {told}", self.control.counts());
        if self.options.kills >= 8 && (self.control.looks == 0 || !letters.met()) {
            bail!("no stop was looked at, or no letter ever waited after a kill");
        }
        let Counts {
            retried,
            approvals,
            nonces,
            verified,
            refused,
            starts_killed,
            stopped,
            from_snapshot,
        } = self.counts;
        if self.options.kills >= 8 && approvals == 0 {
            bail!("no held action was looked at");
        }
        if self.options.kills >= 8 && from_snapshot == 0 {
            bail!("no start used a snapshot");
        }
        println!(
            "crash: {} kills under load and {starts_killed} during a start; {} decisions present, \
             {retried} lost answers fetched, {approvals} looks at held actions, {nonces} permits not consumed twice, {verified} \
             receipts verified, {} checkpoints in one line, {refused} refusals under load, \
             {stopped} kills of the workspace kept, {from_snapshot} starts from a snapshot; {:.0} s",
            self.options.kills,
            self.ledger.len(),
            self.ledger.roots().len(),
            started.elapsed().as_secs_f64()
        );
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn command(&self) -> Command {
        let (data, bundle) = (self.path("data"), self.path("bundle"));
        let mut command = Server::command(&self.options.binary, &data, &bundle);
        // Often enough that kills meet snapshots being written, and starts find a rest to fold.
        command.args(["--snapshot-entries", SNAPSHOT_ENTRIES]);
        command.arg("--secrets").arg(self.path("secrets"));
        command
    }

    fn start(&self) -> Result<Server> {
        Server::start(self.command())
    }

    /// Stops the workspace, kills the server before or after that is acknowledged, and looks.
    fn stop_all(&mut self, mut server: Server, round: u64) -> Result<Server> {
        let after = Duration::from_micros(self.random.within(0..40_000));
        let address = server.address().to_owned();
        let acknowledged = std::thread::scope(|scope| -> Result<bool> {
            let kill = scope.spawn(|| control::kill(&mut Client::new(&address)));
            std::thread::sleep(after);
            server.kill()?;
            let Ok(acknowledged) = kill.join() else { bail!("the thread that kills panicked") };
            acknowledged
        })?;
        let server = self.start()?;
        let key = format!("{}-whole-{round}", self.seed);
        let stopped =
            control::check_kill(&mut Client::new(server.address()), &key, acknowledged)
                .with_context(|| format!("a stop of all after kill {round}\n{}", server.tail()))?;
        if let Some(index) = stopped {
            self.control.all_killed();
            self.stopped_at = self.stopped_at.max(index);
        }
        self.counts.stopped += u64::from(acknowledged);
        Ok(server)
    }

    /// Runs load and kills the server in its midst.
    fn load(&mut self, server: &mut Server) -> Result<Load> {
        let after = Duration::from_millis(self.random.within(LOAD_MS));
        let dead = AtomicBool::new(false);
        let first = AtomicBool::new(false);
        let next = &self.next;
        let control = &mut self.control;
        let (seed, address) = (self.seed, server.address().to_owned());
        let mut all = Load::default();
        std::thread::scope(|scope| -> Result<()> {
            let mut threads = Vec::new();
            for _ in 0..self.options.connections {
                threads.push(scope.spawn(|| drive(&address, seed, next, &dead, &first)));
            }
            scope.spawn(|| control.drive(&address, seed, &dead));
            // The point is counted from the first answer, so that each kill meets real load.
            let patience = Instant::now() + Duration::from_secs(20);
            while !first.load(Ordering::Acquire) && Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(after);
            let alive = server.is_running();
            dead.store(true, Ordering::Release);
            server.kill()?;
            for thread in threads {
                let Ok(load) = thread.join() else { bail!("a thread of the load panicked") };
                all.acked.extend(load.acked);
                all.in_flight.extend(load.in_flight);
                all.courses.extend(load.courses);
                all.refused += load.refused;
                all.wrong = all.wrong.take().or(load.wrong);
            }
            if !alive {
                bail!("the server ended by itself under load\n{}", server.tail());
            }
            Ok(())
        })?;
        if let Some(wrong) = all.wrong.take().or_else(|| self.control.wrong()) {
            bail!("a wrong answer under load: {wrong}");
        }
        if all.acked.is_empty() {
            bail!("nothing was acknowledged before the kill, {} refused", all.refused);
        }
        self.counts.refused += all.refused;
        Ok(all)
    }

    fn keep_receipt(&mut self, acked: &Acked) -> Result<()> {
        if let Some(receipt) = &acked.answer.receipt {
            let file = self.path(&format!("receipts/{}.tlog-proof", acked.answer.id));
            std::fs::write(&file, receipt)?;
            self.receipts.push(file);
        }
        Ok(())
    }

    /// Everything that must hold once the server is back.
    fn check_restarted(&mut self, server: &Server, first: usize, in_flight: &[u64]) -> Result<()> {
        let mut client = Client::new(server.address());
        self.check_folded(&mut client)?;
        self.check_nonces(&mut client, first)?;
        for serial in in_flight {
            let again = self.decide(&mut client, *serial, &nonce(self.seed, *serial))?;
            let twice = self.decide(&mut client, *serial, &nonce(self.seed, *serial))?;
            // Throttle and a passing silence leave the key free: the next attempt is another one.
            if !matches!(again.outcome.as_str(), "THROTTLE" | "SILENCE") {
                same(&again, &twice).context("a retry after a lost answer")?;
                if again.permit != twice.permit {
                    bail!("request {serial}: {:?} became {:?}", again.permit, twice.permit);
                }
            }
            self.ledger.add(Acked { serial: *serial, answer: again })?;
            self.counts.retried += 1;
        }
        let new: Vec<usize> = (first..self.ledger.len()).collect();
        let earlier = (first > 0).then(|| {
            let first = first as u64;
            (0..EARLIER_MAX.min(first)).map(|_| self.random.below(first) as usize).collect()
        });
        self.look_up(server, &[new, earlier.unwrap_or_default()].concat())?;
        self.fetch_trust(&mut client)?;
        self.verify_receipts()
    }

    /// No approval is lost, flipped or collected twice: those of this round, and some of those before.
    fn check_courses(&mut self, server: &Server, first: usize) -> Result<()> {
        let mut client = Client::new(server.address());
        let mut which: Vec<usize> = (first..self.courses.len()).collect();
        for _ in 0..EARLIER_HELD_MAX.min(first as u64) {
            which.push(self.random.below(first as u64) as usize);
        }
        for at in which {
            let Some(course) = self.courses.get_mut(at) else { continue };
            course.check(&mut client, self.seed, at >= first)?;
            if let Some(permit) = course.permit() {
                self.ledger.permit(permit, course.serial())?;
            }
            self.counts.approvals += 1;
        }
        Ok(())
    }

    /// What the start folded is never more than the log, and mostly less: it used a snapshot.
    fn check_folded(&mut self, client: &mut Client) -> Result<()> {
        let metrics = client.request("GET", "/metrics", None)?.text();
        let name = "placet_start_folded_total ";
        let folded = metrics.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok());
        let folded = folded.context("the server does not say what its start folded")?;
        if folded < self.ledger.len() as u64 {
            self.counts.from_snapshot += 1;
        }
        Ok(())
    }

    /// The permits of the round before: only their own nonce fetches them again.
    fn check_nonces(&mut self, client: &mut Client, first: usize) -> Result<()> {
        let fresh = &self.ledger.all()[first..];
        let granted = fresh.iter().filter(|a| matches!(a.answer.permit, Permit::Granted(_)));
        let sample: Vec<Acked> = granted.rev().take(NONCES_MAX).cloned().collect();
        for Acked { serial, answer } in &sample {
            let other = self.decide(client, *serial, "another-attempt-at-it")?;
            same(answer, &other)?;
            if other.permit != Permit::Withheld("consumed".to_owned()) {
                bail!("{}: another nonce was answered {:?}", answer.id, other.permit);
            }
            let own = self.decide(client, *serial, &nonce(self.seed, *serial))?;
            same(answer, &own)?;
            if own.permit != answer.permit {
                bail!("{}: its own nonce was answered {:?}", answer.id, own.permit);
            }
            self.counts.nonces += 1;
        }
        if let Some(Acked { serial, .. }) = sample.first() {
            let nonce = nonce(self.seed, *serial);
            let body = body(self.seed, *serial, &nonce).replace("\"crash\"", "\"other bytes\"");
            let answer = client.request("POST", "/api/v1/decisions", Some(&body))?;
            if answer.status != 409 {
                bail!("other bytes under a bound key were answered {}", answer.text());
            }
        }
        Ok(())
    }

    fn decide(&self, client: &mut Client, serial: u64, nonce: &str) -> Result<Answer> {
        let body = body(self.seed, serial, nonce);
        let response = client.request("POST", "/api/v1/decisions", Some(&body))?;
        if response.status != 200 {
            bail!("request {serial}: status {}: {}", response.status, response.text());
        }
        Answer::parse(&response.body)
    }

    /// Looks decisions up and compares them with what was answered.
    fn look_up(&self, server: &Server, which: &[usize]) -> Result<()> {
        let all = self.ledger.all();
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for part in which.chunks(which.len().div_ceil(READERS).max(1)) {
                threads.push(scope.spawn(move || -> Result<()> {
                    let mut client = Client::new(server.address());
                    for at in part {
                        let before = &all[*at].answer;
                        let path = format!("/api/v1/decisions/{}", before.id);
                        let response = client.request("GET", &path, None)?;
                        if response.status != 200 {
                            bail!("{} is gone: {}", before.id, response.text());
                        }
                        let now = Answer::parse(&response.body)?;
                        let revoked = now.permit == Permit::Withheld("revoked".to_owned());
                        let stopped = revoked && before.index < self.stopped_at;
                        if stopped && before.outcome == "PERMIT" && now.outcome == "DENY" {
                            let told = Answer { outcome: now.outcome.clone(), ..before.clone() };
                            same(&told, &now)?;
                            continue;
                        }
                        same(before, &now)?;
                        if collected(before, &now) && !collects(all[*at].serial) {
                            bail!("{} was collected, and nobody asked for that", before.id);
                        }
                    }
                    Ok(())
                }));
            }
            for thread in threads {
                let Ok(result) = thread.join() else { bail!("a thread of the look-up panicked") };
                result?;
            }
            Ok(())
        })
    }

    fn fetch_trust(&self, client: &mut Client) -> Result<()> {
        let keys = client.request("GET", "/.well-known/placet-keys", None)?;
        if keys.status != 200 {
            bail!("the server does not serve its keys: {}", keys.text());
        }
        Ok(std::fs::write(self.path("trust.json"), keys.body)?)
    }

    /// Gives the receipts gathered so far to `placet verify`.
    fn verify_receipts(&mut self) -> Result<()> {
        let receipts = std::mem::take(&mut self.receipts);
        for part in receipts.chunks(RECEIPTS_PER_CALL) {
            let mut command = Command::new(&self.options.binary);
            command.arg("verify").args(part).arg("--trust").arg(self.path("trust.json"));
            output(command.arg("--json")).context("an acknowledged receipt does not verify")?;
        }
        self.counts.verified += receipts.len();
        Ok(())
    }

    /// Every root that was ever signed is the root of the log's beginning of that size.
    fn check_roots(&self) -> Result<()> {
        if self.ledger.roots().is_empty() {
            return Ok(());
        }
        self.audit_roots(&self.root_lines()).context("checkpoints do not extend one another")
    }

    fn root_lines(&self) -> Vec<String> {
        let line =
            |(size, root): (&u64, &String)| format!("{{\"size\":{size},\"root\":\"{root}\"}}");
        self.ledger.roots().iter().map(line).collect()
    }

    fn audit_roots(&self, lines: &[String]) -> Result<()> {
        let file = self.path("roots.jsonl");
        std::fs::write(&file, lines.join("\n") + "\n")?;
        let mut command = self.audit("verify");
        let verdict = json(command.arg("--roots").arg(&file))?;
        let checked = verdict["roots"]["checked"].as_u64();
        if checked != Some(lines.len() as u64) {
            bail!("{} roots were given, {checked:?} checked", lines.len());
        }
        match verdict["roots"]["mismatches"].as_array() {
            Some(mismatches) if mismatches.is_empty() => Ok(()),
            _ => bail!("roots differ: {}", verdict["roots"]),
        }
    }

    fn audit(&self, what: &str) -> Command {
        let mut command = Command::new(&self.options.binary);
        command.args(["audit", what, "--data"]).arg(self.path("data")).arg("--json");
        command
    }

    /// The last round's end: everything once more, then the log without the server.
    fn finish(&mut self, mut server: Server) -> Result<()> {
        println!("crash: looking up all {} decisions", self.ledger.len());
        self.look_up(&server, &(0..self.ledger.len()).collect::<Vec<_>>())?;
        let mut client = Client::new(server.address());
        let mut sample = Vec::new();
        for _ in 0..FOREIGN_MAX {
            let at = self.random.below(self.ledger.len() as u64) as usize;
            let Answer { id, index, .. } = self.ledger.all()[at].answer.clone();
            // Of what was stopped since, the receipt says that unless the decision's own is asked for.
            let own =
                if index < self.stopped_at { format!("?index={index}") } else { String::new() };
            let path = format!("/api/v1/receipts/{id}{own}");
            let response = client.request("GET", &path, None)?;
            if response.status != 200 {
                bail!("no receipt for {id}: {}", response.text());
            }
            let receipt = response.text();
            self.ledger.seal(index, &receipt)?;
            let file = self.path(&format!("receipts/last-{id}.tlog-proof"));
            std::fs::write(&file, receipt)?;
            self.receipts.push(file.clone());
            sample.push(file);
        }
        self.fetch_trust(&mut client)?;
        server.kill()?;
        drop(server);

        self.verify_receipts()?;
        self.check_foreign(&sample)?;
        self.check_roots()?;
        self.check_controls(&sample)?;
        self.check_replay()
    }

    /// The verifier that shares no code says the same.
    fn check_foreign(&self, sample: &[PathBuf]) -> Result<()> {
        for file in sample {
            output(&mut self.foreign(file)).context("the Python verifier refuses a receipt")?;
        }
        Ok(())
    }

    fn foreign(&self, file: &Path) -> Command {
        let mut command = Command::new("python3");
        command.arg(self.root.join("verify/placet_verify.py")).arg(file);
        command.arg("--trust").arg(self.path("trust.json"));
        command
    }

    /// What must be refused is refused: otherwise the checks above prove nothing.
    fn check_controls(&self, sample: &[PathBuf]) -> Result<()> {
        let lines = self.root_lines();
        let Some(last) = lines.last() else { bail!("no checkpoint was ever seen") };
        let (start, root) = last.split_once("\"root\":\"").context("a line without root")?;
        let other = if root.starts_with('A') { "B" } else { "A" };
        let altered = format!("{start}\"root\":\"{other}{}", &root[1..]);
        if self.audit_roots(&[altered]).is_ok() {
            bail!("`audit verify --roots` accepts a root that was never signed");
        }
        let Some(file) = sample.first() else { bail!("no receipt was fetched") };
        let receipt = std::fs::read_to_string(file)?;
        let altered = alter(&receipt).context("a receipt without entry")?;
        let file = self.path("receipts/altered.tlog-proof");
        std::fs::write(&file, altered)?;
        let mut own = Command::new(&self.options.binary);
        own.arg("verify").arg(&file).arg("--trust").arg(self.path("trust.json"));
        for mut command in [own, self.foreign(&file)] {
            if command.output()?.status.code() != Some(1) {
                bail!("{:?} does not refuse an altered receipt with 1", command.get_program());
            }
        }
        Ok(())
    }

    fn check_replay(&self) -> Result<()> {
        println!("crash: replaying the log");
        let replay = json(&mut self.audit("replay"))?;
        let count = |name: &str| match replay[name].as_u64() {
            Some(count) => Ok(count),
            None => bail!("the replay does not count `{name}`: {replay}"),
        };
        let (decisions, evaluated) = (count("decisions")?, count("re_evaluated")?);
        if count("differences")? != 0 {
            bail!("the replay differs: {replay}");
        }
        if evaluated != decisions || decisions < self.ledger.len() as u64 {
            bail!("{} acknowledged, but the replay says {replay}", self.ledger.len());
        }
        println!("crash: {decisions} decisions replayed, all re-evaluated, no difference");
        Ok(())
    }
}
