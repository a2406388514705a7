//! Random commands of a few actors over a few keys and rules, with random steps of time. After
//! every step the naive model has read the same log and agrees, and so does a fold from scratch.

use super::model::Model;
use super::notation::Scene;
use super::world::{Portable, Runs};
use placet_engine::{Bounds, Command, Decide, Plan, State, step};
use placet_types::event::Event;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Sebastiano Vigna's splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }

    /// `text` once in `in_n`, otherwise nothing.
    fn maybe<'t>(&mut self, in_n: usize, text: &'t str) -> &'t str {
        if self.below(in_n) == 0 { text } else { "" }
    }
}

const PROPOSERS: [&str; 6] = ["a1", "a2", "a1", "ann", "cat", "dan"];
const PEOPLE: [&str; 5] = ["ann", "bob", "cat", "dan", "eve"];
const STOPS: [&str; 14] = [
    "workspace",
    "everything",
    "workspace freeze",
    "capability:c1",
    "capability:c2 freeze",
    "model:m1",
    "model:m2 disable",
    "alias:c1",
    "alias:m1 disable",
    "actor:agent:a1",
    "actor:human:bob",
    "surface:s2",
    "surface:s1 freeze",
    "role:owner revoke",
];
const SURFACES: [&str; 6] = ["s1", "s1", "s2", "s3", "s4", "key.create"];
/// A limit belongs to its rule's id: only then does a naive count say the same for ever.
const RULES: [&str; 19] = [
    "rule a s1 allow",
    "rule b s2 hold roles=operator:1 expires=60000 use=60000",
    "rule b s2 hold roles=operator:2,owner:1",
    "rule b s2 hold roles=operator:1,owner:1 max_retries=2",
    "rule b s2 constrain max_retries=1",
    "rule b s2 hold roles=operator:2 escalate=500/admin:1|1500/owner:2 remind=1000",
    "rule b s2 hold roles=owner:1 escalate=1000/admin:1,operator:1",
    "rule k s2 hold roles=owner:1 remind=3599000",
    "rule k s2 hold roles=operator:1 escalate=499/owner:1 max_retries=1",
    "rule c s3 allow",
    "rule d s3 deny",
    "rule d s3 allow error",
    "rule e s1 throttle limit=2/1000",
    "rule f s3 hold limit=1/60000",
    "rule g s2 deny limit=4/60000",
    "rule h s1 hold floor",
    "rule i s2 throttle",
    "rule i s2 hold roles=operator:1",
    "rule j key.create hold roles=owner:1",
];

fn setup(random: &mut Random) -> String {
    let mode = ["world", "world", "world", "world dev", "world solo", "world no-bundle"];
    let mut rows = format!(
        "{} keys=24 windows=4 queue=3 finals=4
         person ann operator
         person bob operator,owner
         person cat admin,operator
         person dan admin,owner
         agent a1
         agent a2 admin
         service gate\n",
        random.one(&mode)
    );
    rows.push_str("rule x execution allow\nrule o s5 deny outside\n");
    for rule in ["a", "b", "c"] {
        let choice = RULES.iter().find(|row| row[5..].starts_with(rule)).unwrap();
        let _ = writeln!(rows, "{choice}");
    }
    rows
}

fn row(random: &mut Random, scene: &Scene, n: usize) -> String {
    // The names were given in order, so a late one is often still open.
    let mut names: Vec<&String> = scene.names.keys().collect();
    names.sort_by_key(|name| name[1..].parse::<usize>().unwrap());
    let late = names.len().min(6);
    let name = match names.len() {
        0 => None,
        len if random.below(5) == 0 => Some(names[random.below(len)]),
        len => Some(names[len - 1 - random.below(late)]),
    };
    let nonce = random.one(&["", "nonce=1", "nonce=1", "nonce=2"]);
    let roll = random.below(100);
    let about = match (roll, name) {
        (34..82, None) => return "+1".into(),
        (_, name) => name.map_or("", |name| name),
    };
    // What somebody began, or may begin.
    let runs: Vec<&String> = names.iter().copied().filter(|name| is_start(scene, name)).collect();
    let run = match runs.len() {
        0 => None,
        len => Some(runs[len - 1 - random.below(len.min(4))]),
    };
    if let (4..18, Some(run)) = (roll, run) {
        let actor = runner(scene, run).unwrap_or_else(|| "a1".to_owned());
        return match roll {
            4..11 => {
                let surface = random.one(&["s1", "s2", "s2", "s3", "s5"]);
                let actor = if random.below(8) == 0 { "a2" } else { &actor };
                format!("decide {actor} {surface} d{n} key=k{n} execution=@{run} capability=c1")
            }
            11..16 => format!("start {actor} {run}"),
            _ => {
                let end = random.one(&["succeeded", "failed"]);
                let actor = if random.below(8) == 0 { "a2" } else { &actor };
                format!("end {actor} {run} {end}")
            }
        };
    }
    match roll {
        0..4 => {
            let actor = random.one(&["a1", "a2", "ann"]);
            let key = random.below(9);
            format!("decide {actor} execution d{n} key=e{key} action=start capability=c1")
        }
        4..34 => format!(
            "decide {} {} d{n} key=k{} window={} permit={} {nonce} {} {} {} {}",
            random.one(&PROPOSERS),
            random.one(&SURFACES),
            random.below(9),
            random.one(&["1000", "60000", "86400000"]),
            random.one(&["1000", "60000"]),
            random.maybe(3, "for=gate"),
            random.maybe(5, "behalf=bob"),
            random.maybe(20, "deadline=-1"),
            random.one(&["", "capability=c1", "capability=c2 model=m1", "alias=c1 model=m2"]),
        ),
        34..52 => format!(
            "vote {} {about} {} {} {}",
            random.one(&PEOPLE),
            random.maybe(8, "no"),
            random.one(&["", "", "seen", "seen=stale", "waiting=a1/1", "waiting=ann/2"]),
            random.one(&["", "", "", "", "", "digest=none", "digest=stale"]),
        ),
        52..64 => format!("collect {} {about} {nonce}", random.one(&PROPOSERS)),
        64..72 => format!("consume {} {about} {nonce}", random.one(&["gate", "gate", "a1"])),
        72..77 => format!("report {} {about}", random.one(&["gate", "a1", "a2", "ann"])),
        77..79 => format!("withdraw {} {about}", random.one(&PROPOSERS)),
        79..80 => format!("revoke {about}"),
        80..82 => {
            format!("trip {} {}", random.one(&["ann", "file", "eve", "a1"]), random.one(&STOPS))
        }
        82..88 => {
            let tripped = scene.world.as_ref().map(|world| world.state.overrides());
            let tripped: Vec<String> =
                tripped.into_iter().flatten().map(|(scope, _)| scope.to_string()).collect();
            let scope = match tripped.len() {
                0 => "workspace",
                len => &tripped[random.below(len)],
            };
            format!("lift {} {scope}", random.one(&PEOPLE))
        }
        88..89 => format!(
            "newkey cat {} {}",
            random.one(&PEOPLE),
            random.one(&["operator", "owner", "admin,operator"])
        ),
        89..90 => format!("revokekey {} {}", random.one(&["cat", "dan"]), random.one(&PEOPLE)),
        90..92 => random.one(&RULES).into(),
        92..93 if random.below(4) > 0 => format!(
            "delegate {} {} g{n} {} {} {}",
            random.one(&PEOPLE),
            random.one(&PEOPLE),
            random.one(&["operator", "owner", "admin,operator"]),
            random.one(&["1000", "60000", "3600000"]),
            random.one(&["", "", "on=s1", "on=*"]),
        ),
        92..93 => format!("undelegate {} g{}", random.one(&PEOPLE), random.below(n + 1)),
        93..94 => format!(
            "drop {} x y {}",
            random.one(&["e", "f", "g", "i", "d", "k"]),
            random.maybe(9, "floor")
        ),
        94..96 => "tick".into(),
        _ => format!(
            "+{}",
            random.one(&["0", "1", "499", "1000", "1000", "59999", "60000", "3600000"])
        ),
    }
}

/// Whether a name is that of a decision to start an execution.
fn is_start(scene: &Scene, name: &str) -> bool {
    let id = scene.id(name);
    let world = scene.world.as_ref();
    world.is_some_and(|world| {
        world.decisions.iter().any(|(_, it)| it.decision == id && it.surface == "execution")
    })
}

/// Who was to start it, by the name of the scene.
fn runner(scene: &Scene, name: &str) -> Option<String> {
    let id = scene.id(name);
    let decisions = &scene.world.as_ref()?.decisions;
    let (_, event) = decisions.iter().find(|(_, it)| it.decision == id)?;
    let (_, actor) = event.actor.as_str().split_once(':')?;
    Some(actor.to_owned())
}

/// The same plan for hits in any order, but for the order in which the entry lists them.
fn check_order(random: &mut Random, scene: &mut Scene, command: &Decide) {
    let mut other = command.clone();
    for last in (1..other.verdict.hits.len()).rev() {
        let at = random.below(last + 1);
        other.verdict.hits.swap(last, at);
        other.windows.swap(last, at);
    }
    let world = scene.world();
    let plan = |command: &Decide| {
        let command = Command::Decide(Box::new(command.clone()));
        let mut plan = step::<Portable>(&world.state, &command, world.now);
        if let Ok(Plan::Append(events)) = &mut plan
            && let Some(Event::Decision(event)) = events.first_mut()
        {
            std::sync::Arc::make_mut(event)
                .matched
                .sort_by(|a, b| (a.layer, &a.rule).cmp(&(b.layer, &b.rule)));
        }
        plan
    };
    assert_eq!(plan(command), plan(&other), "the order of hits decides");
}

struct Run {
    rows: String,
    entries: usize,
    totals: [u64; 6],
    /// Executions: begun, ended by who runs them, killed, rejected.
    runs: [u64; 4],
}

fn run(seed: u64, length: usize, out: &mut Run) {
    let mut random = Random(seed);
    let mut scene = Scene::default();
    for line in setup(&mut random).lines().map(str::trim) {
        let _ = writeln!(out.rows, "{line}");
        scene.line(line);
    }
    let thorough = seed.is_multiple_of(32);
    let (mut model, mut read) = (Model::default(), 0);
    for n in 0..length {
        let line = row(&mut random, &scene, n);
        let _ = write!(out.rows, "{line}");
        let decide = line.starts_with("decide");
        let answer = if decide {
            let words: Vec<&str> = line.split_whitespace().collect();
            let command = scene.parse(&line);
            let Command::Decide(command) = command else { unreachable!() };
            check_order(&mut random, &mut scene, &command);
            let bound = model.is_bound(&command.idempotency, scene.world().now);
            let answer = scene.execute(&words, &Command::Decide(command));
            let revoked = answer == "! key_revoked";
            assert_eq!(answer.starts_with("bound"), bound && !revoked, "bound or not");
            if answer == "! idempotency_full" {
                let world = scene.world();
                assert!(model.keys_around(world.now) >= world.bounds.idempotency_max, "not full");
            }
            answer
        } else {
            scene.line(&line)
        };
        let _ = writeln!(out.rows, " -> {answer}");
        let world = scene.world();
        for entry in world.entries.get(read..).unwrap_or_default() {
            model.read(entry);
        }
        read = world.entries.len();
        check_state(&mut scene, &model);
        if thorough {
            scene.world().check_replay();
        }
    }
    scene.world().check_replay();
    check_snapshots(&mut random, &mut scene);
    for n in length..length + length / 3 {
        let line = row(&mut random, &scene, n);
        let answer = scene.line(&line);
        let _ = writeln!(out.rows, "{line} -> {answer}");
    }
    scene.world().check_replay();
    out.entries = read;
    let counters = *scene.world().state.counters();
    for (total, count) in out.totals.iter_mut().zip(counters.decisions) {
        *total += count;
    }
    out.totals[5] += counters.consumed;
    for (total, count) in out.runs.iter_mut().zip(model.runs.totals()) {
        *total += count;
    }
}

/// From a snapshot anywhere the same log gives the same state; from here on that state is the
/// world's, and so it decides what follows.
fn check_snapshots(random: &mut Random, scene: &mut Scene) {
    let size = scene.world().log.len();
    let mut runs = Runs::default();
    for _ in 0..random.below(6) {
        runs.ends.insert(random.below(size + 1));
    }
    let at = random.below(size) + 1;
    let world = scene.world();
    let revived = world.revived(&mut runs, at);
    assert_eq!(world.fingerprint(&revived), world.fingerprint(&world.state), "from entry {at}");
    for tag in world.decisions.iter().map(|(_, event)| event.idempotency) {
        let attempt = |state: &State| state.attempt(&tag, world.now);
        assert_eq!(attempt(&revived), attempt(&world.state), "a key from entry {at}");
    }
    world.state = revived;
    // Whatever is no snapshot is refused, and nothing panics.
    let bytes = runs.bytes;
    // Nor is one that says to be of a longer log than it is: the size follows the first eight bytes.
    let mut longer = bytes.clone();
    longer[8..16].copy_from_slice(&(1_u64 << 43).to_le_bytes());
    assert!(State::read_snapshot(&longer, Bounds::default(), at as u64).is_none());
    for _ in 0..20 {
        let cut = random.below(bytes.len());
        assert!(State::read_snapshot(&bytes[..cut], Bounds::default(), at as u64).is_none());
        let mut altered = bytes.clone();
        altered[cut] ^= 1 << random.below(8);
        if let Some(state) = State::read_snapshot(&altered, Bounds::default(), at as u64) {
            let mut again = Vec::new();
            state.write_snapshot(&mut again);
            assert_eq!(again, altered, "one form for one state");
        }
    }
}

fn check_state(scene: &mut Scene, model: &Model) {
    let world = scene.world();
    let state = &world.state;
    let open = state.approvals(None).filter(|held| held.state.is_open()).count();
    assert_eq!(state.held_open(), open, "held_open");
    assert_eq!(state.held_open(), model.open(), "held_open of the model");
    assert_eq!(state.counters().consumed, model.uses, "consumed");
    assert_eq!(
        state.counters().decisions.iter().sum::<u64>(),
        model.outcomes.values().sum::<u64>(),
        "decisions"
    );
    model.runs.check(state);
    let [keys, windows, held, _] = state.sizes();
    let reserve = world.bounds.reserve;
    assert!(keys <= world.bounds.idempotency_max + reserve, "{keys} idempotency keys");
    assert!(windows <= world.bounds.velocity_max, "{windows} windows");
    assert!(open <= world.bounds.held_max + reserve, "{open} open holds");
    assert!(held <= world.bounds.held_max + reserve + world.bounds.final_max, "{held} holds");
}

#[test]
fn random_commands_keep_the_contract() {
    let given = std::env::var("PLACET_SEQUENCES").ok().and_then(|text| text.parse().ok());
    let sequences: u64 = given.unwrap_or(if cfg!(debug_assertions) { 50 } else { 1000 });
    let started = std::time::Instant::now();
    let (mut totals, mut runs, mut entries) = ([0; 6], [0; 4], 0);
    for seed in 0..sequences {
        let mut out = Run { rows: String::new(), entries: 0, totals, runs };
        let result = catch_unwind(AssertUnwindSafe(|| run(seed, 150, &mut out)));
        if let Err(panic) = result {
            eprintln!("seed {seed}\n{}", out.rows);
            resume_unwind(panic);
        }
        (totals, runs, entries) = (out.totals, out.runs, entries + out.entries);
    }
    // SILENCE, PERMIT, REQUIRE_APPROVAL, THROTTLE, DENY, consumed: none of them is rare, or the
    // sequences say nothing.
    assert!(totals.iter().all(|total| *total > sequences / 2), "{totals:?}");
    let [begun, own, killed, rejected] = runs;
    assert!(begun.min(own).min(killed) > sequences / 20 && rejected > 0, "{runs:?}");
    eprintln!("{sequences} sequences, {entries} entries, {totals:?}, {:?}", started.elapsed());
}
