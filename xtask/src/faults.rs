//! Fault injection: every call that changes a file fails in turn while the real server leads a whole
//! life, is killed there, or power is lost; then it starts again without faults, and everything that
//! was acknowledged is looked for. Owns the order of events and the choice of points; how calls are
//! made to fail is in `shim`, what must hold in `scenario`.

mod scenario;
mod shim;

use crate::http::Client;
use crate::load::Random;
use crate::server::{Scratch, Server};
use crate::trace;
use anyhow::{Context, Result, bail};
use scenario::{BUNDLE, Life, Told};
use serde_json::Value;
use shim::{Mode, Point, Shim};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Entries between snapshots: several within one life.
const SNAPSHOT_ENTRIES: &str = "8";
/// A server that was told to stop ends within this time, whatever has failed.
const STOP: Duration = Duration::from_secs(20);
/// Calls that change a file in a way the shim does not see. None is made; if one is, that is said.
const UNSEEN: &str = "pwritev,pwritev2,renameat,renameat2,truncate,fallocate,copy_file_range,\
                      sendfile,sync_file_range,msync,link,linkat";
/// Calls that the shim counts, as strace knows them.
const SEEN: &str = "write,writev,pwrite64,fsync,fdatasync,rename,ftruncate,unlink,unlinkat";

/// What the command line says.
pub(crate) struct Options {
    /// Every point, not a sample.
    pub(crate) full: bool,
    /// Without the first so many of every point: they were tried by another run.
    pub(crate) skip: usize,
    /// A sample ends after so many seconds.
    pub(crate) seconds: u64,
    /// Seed of the sample and of what power takes with it.
    pub(crate) seed: Option<u64>,
    /// Only this point.
    pub(crate) point: Option<(Start, Point)>,
    /// Servers at once.
    pub(crate) jobs: usize,
    /// The binary.
    pub(crate) binary: PathBuf,
}

/// What the server finds when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Start {
    /// Nothing.
    Empty,
    /// What a whole life and a kill have left.
    Killed,
}

impl std::str::FromStr for Start {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "empty" => Ok(Self::Empty),
            "killed" => Ok(Self::Killed),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::Empty { "empty" } else { "killed" })
    }
}

/// Reads `START CALL FILE N MODE`, as findings are printed.
///
/// # Errors
/// When it is none.
pub(crate) fn point(text: &str) -> Result<(Start, Point)> {
    let read = text
        .split_once(' ')
        .and_then(|(start, point)| Some((start.parse().ok()?, point.parse().ok()?)));
    read.with_context(|| format!("{text:?} is no point: empty|killed CALL FILE N MODE"))
}

/// How a run ended without a finding.
enum Done {
    /// Recovered, and everything acknowledged was there.
    Recovered,
    /// The life never came to the point: threads take turns.
    NotReached,
}

#[derive(Default)]
struct Counts {
    recovered: usize,
    not_reached: usize,
    checked: usize,
    findings: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// When a fault lost, doubled or altered something, or stopped more than it may.
pub(crate) fn run(options: &Options) -> Result<usize> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = options.seed.unwrap_or_else(|| u64::try_from(clock.as_micros()).unwrap_or(0));
    let mut scratch = Scratch::new("faults", false)?;
    let started = Instant::now();
    std::fs::create_dir(scratch.path().join("bundle"))?;
    std::fs::write(scratch.path().join("bundle/rules.yaml"), BUNDLE)?;
    let mut faults = Faults {
        binary: options.binary.clone(),
        shim: Shim::build(scratch.path())?,
        home: scratch.path().to_owned(),
        prepared: Told::default(),
        seed,
    };
    let mut points = faults.count()?;
    let total = points.len();
    if let Some(point) = &options.point {
        points = vec![point.clone()];
    } else if options.full {
        points.drain(..options.skip.min(total));
        println!("faults: {total} points, each is tried from the {}th on", options.skip + 1);
    } else {
        points = sample(points, seed);
        println!("faults: {total} points, a sample of {} s, seed {seed}", options.seconds);
    }
    let until = (!options.full).then(|| started + Duration::from_secs(options.seconds));
    let counts = faults.all(&points, until, options.jobs)?;
    let tried = counts.recovered + counts.not_reached + counts.findings.len();
    println!(
        "faults: {tried} of {total} points tried: {} recovered, {} not reached, {} acknowledged \
         decisions compared, {} findings; {:.0} s",
        counts.recovered,
        counts.not_reached,
        counts.checked,
        counts.findings.len(),
        started.elapsed().as_secs_f64()
    );
    if !counts.findings.is_empty() {
        scratch.keep();
        bail!(
            "{} findings, seed {seed}, data kept in {}; the first: {}",
            counts.findings.len(),
            scratch.path().display(),
            counts.findings[0]
        );
    }
    if counts.recovered == 0 {
        bail!("no point was reached, so nothing was tested");
    }
    Ok(counts.recovered)
}

/// One of each kind first, then a second one of each, and so on.
fn sample(points: Vec<(Start, Point)>, seed: u64) -> Vec<(Start, Point)> {
    let mut random = Random(seed);
    let mut kinds: BTreeMap<(Start, String, String), Vec<(Start, Point)>> = BTreeMap::new();
    for (start, point) in points {
        let kind = (start, point.call.clone(), point.file.clone());
        kinds.entry(kind).or_default().push((start, point));
    }
    let mut kinds: Vec<Vec<(Start, Point)>> = kinds.into_values().collect();
    let mut order = Vec::new();
    while !kinds.is_empty() {
        let mut round = Vec::new();
        for kind in &mut kinds {
            let at = random.below(kind.len() as u64) as usize;
            round.push(kind.swap_remove(at));
        }
        kinds.retain(|kind| !kind.is_empty());
        while !round.is_empty() {
            let at = random.below(round.len() as u64) as usize;
            order.push(round.swap_remove(at));
        }
    }
    order
}

struct Faults {
    binary: PathBuf,
    shim: Shim,
    home: PathBuf,
    /// What the data that `Start::Killed` begins with has acknowledged.
    prepared: Told,
    seed: u64,
}

impl Faults {
    fn up(&self, data: &Path, environment: &[(&'static str, String)]) -> Command {
        let mut command = Server::command(&self.binary, data, &self.home.join("bundle"));
        command.args(["--snapshot-entries", SNAPSHOT_ENTRIES]);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Lives once without a fault and lists what can fail. Also makes the data of `Start::Killed`.
    fn count(&mut self) -> Result<Vec<(Start, Point)>> {
        let mut points = Vec::new();
        let nothing = self.home.join("nothing");
        let data = self.home.join("killed");
        let mut told = Told::default();
        let mut server = Server::start(self.up(&data, &[]))?;
        self.live(&server, &mut told, Start::Empty, None, &nothing, true)?;
        server.kill()?;
        let once = Server::start(self.up(&copied(&data, &self.home.join("once"))?, &[]))?;
        told.clone().check(once.address()).context("without any fault")?;
        drop(once);
        self.prepared = told;
        for start in [Start::Empty, Start::Killed] {
            let (data, log) =
                (self.home.join(format!("count-{start}")), self.home.join(format!("log-{start}")));
            if start == Start::Killed {
                copied(&self.home.join("killed"), &data)?;
            }
            let traced = self.home.join(format!("strace-{start}"));
            let up = self.up(&data, &[]);
            let mut command = Command::new("strace");
            command.args(["-D", "-f", "-y", "-ttt", "-s", "300", "-e"]);
            command.arg(format!("trace={SEEN},{UNSEEN}"));
            for (name, value) in self.shim.environment(&data, &log, None) {
                command.arg("-E").arg(format!("{name}={value}"));
            }
            command.arg("-o").arg(&traced).arg(up.get_program()).args(up.get_args());
            let mut server = Server::start(command)
                .context("strace is needed to count (`apt-get install strace`)")?;
            let mut told = self.prepared.clone();
            if start == Start::Empty {
                told = Told::default();
            }
            self.live(&server, &mut told, start, None, &nothing, true)?;
            if !server.stop(STOP)? {
                bail!("the server does not stop");
            }
            let counts = shim::counts(&log)?;
            compare(&counts, &trace::settled(&traced)?, &data)?;
            for ((call, file), count) in counts {
                for nth in 1..=count {
                    points.extend(Mode::ALL.iter().map(|&mode| {
                        (start, Point { call: call.clone(), file: file.clone(), nth, mode })
                    }));
                }
            }
        }
        Ok(points)
    }

    fn live(
        &self,
        server: &Server,
        told: &mut Told,
        start: Start,
        point: Option<&Point>,
        hit: &Path,
        long: bool,
    ) -> Result<()> {
        // What a failed write or flush of the journal leaves is unknown: nothing more is acknowledged.
        let silent = point.is_some_and(|point| {
            matches!(point.file.as_str(), "journal.db" | "journal.db-wal")
                && matches!(point.call.as_str(), "pwrite64" | "fdatasync" | "fsync")
        });
        let mortal = point.is_some_and(|point| point.mode.kills());
        let client = Client::new(server.address());
        let life = Life { client, told, hit, silent, mortal };
        match start {
            Start::Empty => life.whole(long),
            Start::Killed => life.short(),
        }
    }

    fn all(
        &self,
        points: &[(Start, Point)],
        until: Option<Instant>,
        jobs: usize,
    ) -> Result<Counts> {
        let counts = Mutex::new(Counts::default());
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                scope.spawn(|| {
                    while until.is_none_or(|until| Instant::now() < until) {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some((start, point)) = points.get(at) else { return };
                        let done = self.one(at, *start, point);
                        let Ok(mut counts) = counts.lock() else { return };
                        match done {
                            Ok((Done::NotReached, _)) => counts.not_reached += 1,
                            Ok((Done::Recovered, checked)) => {
                                counts.recovered += 1;
                                counts.checked += checked;
                            }
                            Err(error) => {
                                println!("faults: FINDING {start} {point}: {error:#}");
                                counts.findings.push(format!("{start} {point}: {error:#}"));
                            }
                        }
                        if at > 0 && at.is_multiple_of(500) {
                            println!("faults: {at} tried");
                        }
                    }
                });
            }
        });
        counts.into_inner().map_err(|_| anyhow::anyhow!("a thread of the test panicked"))
    }

    /// One fault, the restart after it, and all checks. The number of decisions compared.
    fn one(&self, at: usize, start: Start, point: &Point) -> Result<(Done, usize)> {
        let home = self.home.join(format!("run-{at}"));
        std::fs::create_dir(&home)?;
        let data = home.join("data");
        let mut told = Told::default();
        if start == Start::Killed {
            copied(&self.home.join("killed"), &data)?;
            told = self.prepared.clone();
        }
        let log = home.join("log");
        let hit = shim::hit(&log);
        let environment = self.shim.environment(&data, &log, Some(point));
        let mut said = String::new();
        match Server::start(self.up(&data, &environment)) {
            // A start that a fault meets may be refused, but it says why.
            Err(error) => {
                let text = format!("{error:#}");
                if !hit.exists() {
                    bail!("the start was refused before the fault: {text}");
                }
                if !point.mode.kills() && !text.contains("error:") {
                    bail!("a start that was refused does not say why: {text}");
                }
                said.push_str(&text);
            }
            Ok(mut server) => {
                let long = point.file.starts_with("highwater");
                let lived = self.live(&server, &mut told, start, Some(point), &hit, long);
                lived.with_context(|| server.tail())?;
                if hit.exists() && point.mode.loses() {
                    server.kill()?;
                } else if !server.stop(STOP)? {
                    bail!("told to stop, the server does not end\n{}", server.tail());
                }
                said.push_str(&server.tail());
            }
        }
        if said.contains("panicked at") {
            bail!("it panicked: {said}");
        }
        let reached = hit.exists();
        let mut booted = Vec::new();
        if reached && point.mode.loses() {
            let mut random = Random(self.seed ^ at as u64);
            let all = random.below(2) == 0;
            shim::lose(&log, &data, || all || random.below(2) == 0)?;
            let boot = home.join("boot");
            std::fs::write(&boot, format!("boot-{at}\n"))?;
            booted = self.shim.booted(&boot);
        }
        let checked = self
            .afterwards(&home, &data, &booted, &mut told)
            .with_context(|| format!("after: {said}"))?;
        std::fs::remove_dir_all(&home)?;
        Ok((if reached { Done::Recovered } else { Done::NotReached }, checked))
    }

    /// A start without faults, and what it finds.
    fn afterwards(
        &self,
        home: &Path,
        data: &Path,
        booted: &[(&'static str, String)],
        told: &mut Told,
    ) -> Result<usize> {
        let mut server =
            Server::start(self.up(data, booted)).context("the start after the fault")?;
        let count = told.decisions();
        told.check(server.address()).with_context(|| server.tail())?;
        let trust =
            Client::new(server.address()).request("GET", "/.well-known/placet-keys", None)?;
        let file = home.join("trust.json");
        std::fs::write(&file, trust.body)?;
        if !server.stop(STOP)? {
            bail!("told to stop, the server does not end\n{}", server.tail());
        }
        let tail = server.tail();
        if tail.contains("panicked at") {
            bail!("it panicked: {tail}");
        }
        let roots = home.join("roots");
        std::fs::write(&roots, told.roots())?;
        let mut verify = self.audit("verify", data);
        let verdict = json(verify.arg("--roots").arg(&roots))?;
        if verdict["ok"] != Value::Bool(true) {
            bail!("`audit verify`: {verdict}");
        }
        let replay = json(&mut self.audit("replay", data))?;
        if replay["differences"] != 0 {
            bail!("`audit replay`: {replay}");
        }
        let mut verify = Command::new(&self.binary);
        verify.arg("verify").arg("--trust").arg(&file);
        for (id, receipt) in told.receipts() {
            let file = home.join(format!("{id}.tlog-proof"));
            std::fs::write(&file, receipt)?;
            verify.arg(file);
        }
        json(verify.arg("--json")).context("a receipt that was handed out")?;
        Ok(count)
    }

    fn audit(&self, what: &str, data: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(["audit", what, "--json", "--data"]).arg(data);
        command
    }
}

/// Everything that strace saw below the directory, the shim saw.
fn compare(counts: &BTreeMap<(String, String), u64>, traced: &str, data: &Path) -> Result<()> {
    let place = data.display().to_string();
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for call in trace::calls(traced) {
        let inside = call.text.starts_with(&format!("\"{place}/"))
            || call.text.split(',').next().is_some_and(|first| {
                first.contains(&format!("<{place}/")) || first.contains(&format!("<{place}>"))
            })
            || call.name == "unlinkat" && call.text.contains(&format!("\"{place}/"));
        if inside {
            *seen.entry(call.name).or_default() += 1;
        }
    }
    let mut ours: BTreeMap<String, u64> = BTreeMap::new();
    for ((call, _), count) in counts {
        *ours.entry(call.clone()).or_default() += count;
    }
    if seen != ours {
        bail!("strace saw {seen:?}, but only {ours:?} can be made to fail");
    }
    println!("faults: strace and the shim count the same: {ours:?}");
    Ok(())
}

/// A copy of a data directory that nobody has open.
fn copied(from: &Path, to: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copied(&entry.path(), &name)?;
        } else {
            std::fs::copy(entry.path(), name)?;
        }
    }
    Ok(to.to_owned())
}

fn json(command: &mut Command) -> Result<Value> {
    let output = command.output()?;
    let (out, err) = (&output.stdout, &output.stderr);
    let said = || format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err));
    if !output.status.success() {
        bail!("{:?}: {}: {}", command.get_args().next(), output.status, said());
    }
    serde_json::from_slice(out).with_context(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_begins_with_one_of_each_kind_and_loses_none() {
        let mut points = Vec::new();
        for (file, count) in [("a", 1), ("b", 7), ("c", 3)] {
            for nth in 1..=count {
                let (call, file) = ("fsync".to_owned(), file.to_owned());
                points.push((Start::Empty, Point { call, file, nth, mode: Mode::Kill }));
            }
        }
        let mut order = sample(points.clone(), 5);
        let mut first: Vec<&str> = order[..3].iter().map(|(_, point)| &*point.file).collect();
        first.sort_unstable();
        assert_eq!(first, ["a", "b", "c"]);
        assert_eq!(order, sample(points.clone(), 5));
        order.sort_unstable();
        assert_eq!(order, points);
    }

    #[test]
    fn a_call_that_only_strace_saw_is_told() {
        let data = Path::new("/d/data");
        let line = "7 1.0 fsync(4</d/data/journal.db-wal>) = 0\n7 1.0 fsync(4</d/other>) = 0\n\
                    7 1.0 unlink(\"/d/data/x\") = 0\n7 1.0 fsync(5</d/data>) = 0\n";
        let key = |call: &str, file: &str| (call.to_owned(), file.to_owned());
        let counts = BTreeMap::from([
            (key("fsync", "journal.db-wal"), 1),
            (key("fsync", "."), 1),
            (key("unlink", "x"), 1),
        ]);
        compare(&counts, line, data).unwrap();
        let more = format!(
            "{line}7 1.0 renameat2(AT_FDCWD, \"/d/data/a\") = 0\n\
            7 1.0 pwritev(3</d/data/journal.db>, [], 1, 0) = 0\n"
        );
        assert!(compare(&counts, &more, data).is_err());
    }
}
