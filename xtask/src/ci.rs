//! `ci`: every check in one order, with a time budget for each, stopping at the first failure. Owns
//! the order and the budgets; what is checked belongs to the commands it calls.

use crate::{crash, faults, sim, tidy, trace};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Kills of the crash test in CI.
const KILLS: u64 = 20;
/// Seconds of the sample of faults in CI.
const FAULTS_SECONDS: u64 = 70;
/// The sample of faults, the requests to the API and the simulated seeds are the same in each run of CI: what
/// it says of a change is not a draw of luck. Other seeds are for `cargo xtask faults` and `sim`, by hand.
const SEED: u64 = 11;
/// Seconds of the property tests of the API in CI, for both servers together.
const API_SECONDS: &str = "110";
/// What makes requests from the OpenAPI document, from PyPI.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// Clients that the stubs of Telegram and Slack are held to, from PyPI.
const CHAT_CLIENTS: [&str; 2] = ["python-telegram-bot==22.8", "slack-sdk==3.47.0"];
/// Seconds of simulation in CI, and seeds at which it may stop before.
const SIMULATED: [u64; 2] = [60, 50_000];
/// Lone requests that are traced in CI.
const TRACED: u64 = 10;

/// How everything here is built: by the profile that compiles soonest.
const BUILT: [&str; 3] = ["--locked", "--profile", "ci"];

/// What a stage shows in the table when it holds.
type Check = fn(&Stages) -> Result<String>;

/// Name, budget in seconds on 2 cores from a cold cache, whether `--quick` has it, and the check.
const STAGES: &[(&str, u64, bool, Check)] = &[
    ("fmt", 15, true, Stages::fmt),
    ("tidy", 15, true, |stages| tidy::run(&stages.root).map(|()| good("every rule holds"))),
    ("clippy", 240, true, Stages::clippy),
    ("build", 240, true, Stages::build),
    ("test", 360, true, Stages::test),
    ("verifier", 180, false, Stages::verifier),
    ("openapi", 10, true, Stages::openapi),
    ("demo", 30, true, Stages::demo),
    ("crash", 180, false, Stages::crash),
    ("sim", 75, false, Stages::sim),
    ("trace", 30, false, Stages::trace),
    ("faults", 120, false, Stages::faults),
    ("api", 180, false, Stages::api),
    ("chats", 60, false, Stages::chats),
    ("alerts", 15, false, Stages::alerts),
    ("bench", 120, false, Stages::bench),
];

/// Runs the stages.
///
/// # Errors
/// The first stage that failed, or an exceeded budget when `PLACET_CI_BUDGETS=strict`.
pub(crate) fn run(root: &Path, quick: bool) -> Result<()> {
    let stages = Stages { root: root.to_owned(), target: tidy::target_directory(root)? };
    let chosen: Vec<_> = STAGES.iter().filter(|(_, _, in_quick, _)| *in_quick || !quick).collect();
    let mut rows = Vec::new();
    let mut failure = None;
    let mut over = 0;
    for (at, (name, budget, _, check)) in chosen.iter().enumerate() {
        println!("\n==> [{}/{}] {name} (budget {budget} s)", at + 1, chosen.len());
        let start = Instant::now();
        let result = check(&stages);
        let spent = start.elapsed();
        let late = spent > Duration::from_secs(*budget);
        over += usize::from(late);
        let (word, note) = match &result {
            Ok(note) => ("ok", note.clone()),
            Err(error) => ("FAILED", format!("{error:#}").lines().next().unwrap_or("").to_owned()),
        };
        let note = if late { format!("OVER BUDGET  {note}") } else { note };
        rows.push(row(name, word, spent, *budget, &note));
        if let Err(error) = result {
            failure = Some(error.context(format!("stage {name}")));
            break;
        }
    }
    println!("\n{}", table(&rows));
    if over > 0 {
        println!("*** {over} of the stages took longer than their budget ***");
    }
    if let Some(error) = failure {
        println!("ci: FAILED, {} of {} stages were run", rows.len(), chosen.len());
        return Err(error);
    }
    if over > 0 && std::env::var("PLACET_CI_BUDGETS").is_ok_and(|word| word == "strict") {
        bail!("budgets are strict and {over} were exceeded");
    }
    println!("ci: ok, {} stages", rows.len());
    Ok(())
}

fn row(name: &str, word: &str, spent: Duration, budget: u64, note: &str) -> String {
    format!("{name:<10} {word:<7} {:>8.1} {budget:>7}  {note}", spent.as_secs_f64())
}

fn table(rows: &[String]) -> String {
    let head = format!("{:<10} {:<7} {:>8} {:>7}  note", "stage", "result", "seconds", "budget");
    let line = "-".repeat(head.len());
    format!("{head}\n{line}\n{}", rows.join("\n"))
}

fn good(note: impl Into<String>) -> String {
    note.into()
}

/// Builds the workspace as `ci` does, and says where: what is tried by hand is what stands there now.
///
/// # Errors
/// It does not build.
pub(crate) fn build(root: &Path) -> Result<PathBuf> {
    let stages = Stages { root: root.to_owned(), target: tidy::target_directory(root)? };
    stages.cargo(&[&["build", "--quiet"], &BUILT[..], &["--workspace"]].concat())?;
    Ok(stages.built(""))
}

struct Stages {
    root: PathBuf,
    target: PathBuf,
}

impl Stages {
    fn fmt(&self) -> Result<String> {
        self.cargo(&["fmt", "--all", "--", "--check"])?;
        Ok(good("as rustfmt writes it"))
    }

    fn clippy(&self) -> Result<String> {
        let words = ["--workspace", "--all-targets", "--", "-D", "warnings"];
        self.cargo(&[&["clippy"], &BUILT[..], &words[..]].concat())?;
        Ok(good("no warnings"))
    }

    fn build(&self) -> Result<String> {
        self.cargo(&[&["build"], &BUILT[..], &["--workspace"]].concat())?;
        Ok(good("as everything below uses it"))
    }

    fn test(&self) -> Result<String> {
        let mut command = self.cargo_command(&[&["test"], &BUILT[..], &["--workspace"]].concat());
        let closing = echo(&mut command, |line| line.starts_with("test result:"))?;
        println!("\nclosing lines of the {} test runners:", closing.len());
        closing.iter().for_each(|line| println!("{line}"));
        let total = |word: &str| closing.iter().map(|line| count(line, word)).sum::<u64>();
        let (passed, ignored) = (total("passed"), total("ignored"));
        if passed == 0 {
            bail!("no test was run");
        }
        Ok(good(format!("{passed} passed, {ignored} ignored")))
    }

    /// The verifier that shares no code with the product tests itself.
    fn verifier(&self) -> Result<String> {
        let file = self.root.join("verify/placet_verify.py");
        status(Command::new("python3").arg(file).arg("--self-test"))?;
        let corpus = self.root.join("verify/test_corpus.py");
        let mut command = Command::new("python3");
        command.arg(corpus).arg("--placet").arg(self.binary());
        let output = command.stderr(Stdio::inherit()).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        print!("{said}");
        if !output.status.success() {
            bail!("{} ended with {}", name(&command), output.status);
        }
        Ok(good(said.lines().last().unwrap_or_default().to_owned()))
    }

    /// The committed description of the API is the one that the code generates.
    fn openapi(&self) -> Result<String> {
        let generated = captured(Command::new(self.binary()).arg("openapi"))?;
        let path = "docs/reference/openapi.json";
        let committed = std::fs::read(self.root.join(path)).unwrap_or_default();
        if let Some(line) = first_difference(&generated, &committed) {
            bail!("{path} is stale from line {line} on; run `placet openapi > {path}`");
        }
        Ok(good(format!("{path} is what the code generates")))
    }

    /// The main job, end to end.
    fn demo(&self) -> Result<String> {
        let stdout = captured(Command::new(self.binary()).args(["demo", "--json"]))?;
        demo_verdict(&serde_json::from_slice(&stdout).context("the demo prints no JSON")?).map(good)
    }

    fn crash(&self) -> Result<String> {
        let options = crash::Options {
            kills: KILLS,
            seed: None,
            seconds_max: Some(300),
            connections: 16,
            binary: self.binary(),
            keep: false,
        };
        crash::run(&self.root, &options)?;
        Ok(good(format!("{KILLS} kills, nothing lost")))
    }

    fn sim(&self) -> Result<String> {
        let [seconds, seeds] = SIMULATED;
        let words = [("--seconds", seconds), ("--seeds", seeds), ("--from", 1)];
        let words: Vec<String> = words
            .iter()
            .flat_map(|(name, value)| [(*name).to_owned(), value.to_string()])
            .collect();
        sim::seeds(&self.built("placet-sim"), &words)?;
        Ok(good("every seed holds"))
    }

    fn trace(&self) -> Result<String> {
        trace::run(&self.binary(), TRACED)?;
        Ok(good("each answer follows its flush"))
    }

    /// A sample of the calls that can fail; `cargo xtask faults --full` tries them all.
    fn faults(&self) -> Result<String> {
        let options = faults::Options {
            full: false,
            skip: 0,
            seconds: FAULTS_SECONDS,
            seed: Some(SEED),
            point: None,
            jobs: 2,
            binary: self.binary(),
        };
        let recovered = faults::run(&options)?;
        Ok(good(format!("{recovered} faults, each recovered from")))
    }

    /// Requests made from the OpenAPI document, by schemathesis in an environment of its own.
    fn api(&self) -> Result<String> {
        let mut command = Command::new(self.python("api-venv", &[SCHEMATHESIS])?);
        command.arg(self.root.join("verify/api_properties.py")).arg("--placet").arg(self.binary());
        let said =
            echo(command.args(["--seconds", API_SECONDS, "--seed", &SEED.to_string()]), |line| {
                line.starts_with("api (")
            })?;
        Ok(good(said.join("; ").replace("api ", "")))
    }

    /// The stubs that the tests of channels run against, held to the services' own clients.
    fn chats(&self) -> Result<String> {
        let words = ["--workspace", "--example", "chat_stubs"];
        self.cargo(&[&["build"], &BUILT[..], &words[..]].concat())?;
        let mut command = Command::new(self.python("chat-venv", &CHAT_CLIENTS)?);
        command.arg(self.root.join("verify/chat_stubs.py")).arg("--stubs");
        command.arg(self.built("examples/chat_stubs"));
        let said = echo(&mut command, |line| line.starts_with("chat stubs"))?;
        Ok(good(said.join("; ")))
    }

    /// An interpreter with these packages and what they need, in an environment of its own.
    fn python(&self, name: &str, packages: &[&str]) -> Result<PathBuf> {
        let home = self.target.join(name);
        let python = home.join("bin/python");
        let mut ask = Command::new(&python);
        ask.args(["-m", "pip", "freeze"]).stderr(Stdio::null());
        let have = ask.output().is_ok_and(|output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            packages.iter().all(|wanted| {
                let wanted = wanted.replace('-', "_");
                text.lines().any(|line| line.replace('-', "_") == wanted)
            })
        });
        if !have {
            status(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
            let mut install = Command::new(&python);
            install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
            status(install.args(packages))?;
        }
        Ok(python)
    }

    /// Alert rules are well formed, and each fires when it should and not otherwise.
    fn alerts(&self) -> Result<String> {
        let mut tested = 0;
        for words in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
            let mut command = Command::new("promtool");
            command.args(words).current_dir(self.root.join("deploy"));
            let said = echo(&mut command, |line| line.contains("SUCCESS"))
                .context("promtool is part of Debian's package prometheus")?;
            tested += said.len();
        }
        // It says nothing of files that it did not find.
        if tested != 2 {
            bail!("promtool names {tested} of the two files of rules");
        }
        Ok(good("rules hold what their tests say"))
    }

    /// The benches run and report; on so little input their bars say nothing and are not held, but for what
    /// must not happen at all, however little there is.
    fn bench(&self) -> Result<String> {
        let (mut rows, mut exact) = (0, 0);
        for name in ["evaluate", "serve", "verify", "backtest", "kill", "overload", "approvals"] {
            let mut command = Command::new(self.binary());
            let stdout = captured(command.args(["bench", name, "--smoke", "--json"]))?;
            let report: Value = serde_json::from_slice(&stdout)
                .with_context(|| format!("bench {name} prints no JSON"))?;
            rows += bench_rows(&report).with_context(|| format!("bench {name}"))?;
            exact += never(&report).with_context(|| format!("bench {name}"))?;
        }
        if exact == 0 {
            bail!("no bench says that something never happened");
        }
        Ok(good(format!(
            "{rows} rows; {exact} things never happened; other bars are not held on so little input"
        )))
    }

    fn binary(&self) -> PathBuf {
        self.built("placet")
    }

    fn built(&self, name: &str) -> PathBuf {
        self.target.join("ci").join(name)
    }

    fn cargo_command(&self, words: &[&str]) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(words).current_dir(&self.root);
        command
    }

    fn cargo(&self, words: &[&str]) -> Result<()> {
        status(&mut self.cargo_command(words))
    }
}

fn demo_verdict(report: &Value) -> Result<String> {
    let number = |of: &Value, name: &str| of[name].as_u64().context(format!("no `{name}`"));
    let steps = report["steps"].as_array().map_or(0, Vec::len);
    let receipts = &report["receipts"];
    let (verified, refused) = (number(receipts, "verified")?, number(receipts, "refused")?);
    let replay = &report["replay"];
    if steps == 0 || verified == 0 || refused == 0 {
        bail!("{steps} steps, {verified} receipts verified, {refused} refused: each must happen");
    }
    if number(replay, "differences")? != 0 {
        bail!("the demo's replay differs: {replay}");
    }
    if number(replay, "re_evaluated")? != number(replay, "decisions")? {
        bail!("the demo's replay does not re-evaluate every decision: {replay}");
    }
    Ok(format!("{steps} steps, {verified} receipts verified, {refused} refused, replay equal"))
}

fn bench_rows(report: &Value) -> Result<usize> {
    let rows = report["rows"].as_array().context("no `rows`")?;
    let complete = |row: &Value| {
        row["name"].is_string()
            && row["value"].is_number()
            && row["unit"].is_string()
            && ["bar", "holds"].iter().all(|name| row.get(name).is_some())
    };
    if rows.is_empty() || !rows.iter().all(complete) {
        bail!("`rows` is empty or a row is incomplete: {report}");
    }
    if report["machine"].is_null() || !report["floor"].is_object() {
        bail!("figures without `machine` and `floor`");
    }
    Ok(rows.len())
}

/// Rows whose bar is that it never happens; an error for one that did.
fn never(report: &Value) -> Result<usize> {
    let rows = report["rows"].as_array().context("no `rows`")?;
    let zero = |row: &&Value| {
        let most = row["bar"].as_str().and_then(|bar| bar.strip_prefix("<= "));
        most.and_then(|most| most.parse::<f64>().ok()) == Some(0.0)
    };
    let exact: Vec<&Value> = rows.iter().filter(zero).collect();
    match exact.iter().find(|row| row["holds"] != true || row["value"].as_f64() != Some(0.0)) {
        Some(row) => bail!("{} is {}", row["name"], row["value"]),
        None => Ok(exact.len()),
    }
}

/// The first line, from 1, in which the two differ.
fn first_difference(one: &[u8], other: &[u8]) -> Option<usize> {
    if one == other {
        return None;
    }
    let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').count();
    let differing = one
        .split(|byte| *byte == b'\n')
        .zip(other.split(|byte| *byte == b'\n'))
        .position(|(one, other)| one != other);
    Some(differing.unwrap_or_else(|| lines(one).min(lines(other))) + 1)
}

/// The number before `word` in a closing line of a test runner.
fn count(line: &str, word: &str) -> u64 {
    let before = line.split_once(&format!(" {word}")).map_or("", |(before, _)| before);
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Runs `command`, shows what it prints, and returns the lines that `wanted` picks.
fn echo(command: &mut Command, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot be started")?;
    let mut picked = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            println!("{line}");
            if wanted(&line) {
                picked.push(line);
            }
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{} ended with {status}", name(command));
    }
    Ok(picked)
}

fn status(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("{} cannot be started", name(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", name(command));
    }
    Ok(())
}

fn captured(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{} cannot be started", name(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}", name(command), output.status);
    }
    Ok(output.stdout)
}

fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    let words = command.get_args().map(|word| word.to_string_lossy());
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_demo_must_show_everything() {
        let report = |verified: u64, differences: u64, evaluated: u64| {
            json!({"steps": [{}], "receipts": {"verified": verified, "refused": 1},
                "replay": {"decisions": 3, "re_evaluated": evaluated, "re_stepped": 0,
                    "differences": differences}})
        };
        demo_verdict(&report(1, 0, 3)).unwrap();
        for bad in [report(0, 0, 3), report(1, 1, 3), report(1, 0, 2), json!({})] {
            assert!(demo_verdict(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bench_must_report_whole_rows() {
        let report = |row: Value| json!({"machine": {}, "floor": {}, "rows": [row]});
        let row = json!({"name": "a", "value": 1.5, "unit": "us", "bar": null, "holds": null});
        assert_eq!(bench_rows(&report(row)).unwrap(), 1);
        assert!(bench_rows(&report(json!({"name": "a"}))).is_err());
        assert!(bench_rows(&json!({"machine": {}, "floor": {}, "rows": []})).is_err());
    }

    #[test]
    fn what_must_never_happen_is_held_on_little_input_too() {
        let report = |value: f64, bar: &str| {
            let holds = value <= 0.0;
            json!({"rows": [{"name": "lost", "value": value, "bar": bar, "holds": holds}]})
        };
        assert_eq!(never(&report(0.0, "<= 0.0000")).unwrap(), 1);
        assert_eq!(never(&report(7.0, "<= 5.00")).unwrap(), 0);
        assert!(never(&report(1.0, "<= 0.0000")).is_err());
        assert!(never(&json!({})).is_err());
    }

    #[test]
    fn differences_and_counts_are_read() {
        assert_eq!(first_difference(b"a\nb", b"a\nb"), None);
        assert_eq!(first_difference(b"a\nb", b"a\nc"), Some(2));
        assert_eq!(first_difference(b"a\nb", b""), Some(1));
        assert_eq!(first_difference(b"a\nb", b"a"), Some(2));
        let line = "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured";
        assert_eq!((count(line, "passed"), count(line, "ignored"), count("", "x")), (12, 3, 0));
    }
}
