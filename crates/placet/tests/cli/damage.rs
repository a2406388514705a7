//! A data directory with a file cut short, gone, or with a bit flipped: it is refused by name, or it
//! serves a beginning of the log that is not below what was signed. Never a panic, never a loss that
//! nobody mentions, never another answer than before. `PLACET_FUZZ_CASES` asks for more flips.

use crate::support::{Server, bank, command, finish};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use tempfile::TempDir;

/// What does not depend on when it is asked.
const LASTING: [&str; 12] = [
    "id",
    "outcome",
    "rules",
    "reasons",
    "matched",
    "policy",
    "action_digest",
    "request_digest",
    "surface",
    "action",
    "actor",
    "time",
];
/// The same for a decision whose permit a kill may have revoked meanwhile.
const KILLED: [&str; 8] =
    ["id", "rules", "matched", "policy", "action_digest", "request_digest", "surface", "time"];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

pub(crate) fn call(address: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// A data directory, what it answered while it was whole, and what was signed of it.
struct Made {
    home: TempDir,
    decisions: Vec<Value>,
    payloads: Vec<(u16, Value)>,
    mark: u64,
}

fn payload(address: &str, id: &Value) -> (u16, Value) {
    let path = format!("/api/v1/receipts/{}?payload=true", id.as_str().unwrap());
    let (status, document) = call(address, "GET", &path, None);
    (status, if status == 200 { document["payload"].clone() } else { document["code"].clone() })
}

/// Lives a little and is stopped, or killed once a high-water mark has been written.
fn made(killed: bool) -> Made {
    let mut server = Server::start(&["--dev", "--snapshot-entries", "8"]);
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let decide = |number: usize| {
        let (surface, action) =
            [("crm.account", "read"), ("payments.refund", "create"), ("unknown", "x")][number % 3];
        let body = json!({"surface": surface, "action": action, "idempotency_key": format!("k-{number}"),
            "attempt_nonce": format!("attempt-number-{number}"), "subjects": ["kim"],
            "arguments": {"amount": number, "note": "x".repeat(number * 20)}});
        let (status, document) = call(&address, "POST", "/api/v1/decisions", Some(&body));
        assert_eq!(status, 200, "{document}");
        document["id"].as_str().unwrap().to_owned()
    };
    let mut ids: Vec<String> = (0..20).map(decide).collect();
    let body = json!({"decision": ids[3]});
    assert_eq!(call(&address, "POST", "/api/v1/audit/erase", Some(&body)).0, 200);
    if killed {
        let file = server.dir.path().join("data/highwater");
        let before = std::fs::read(&file).unwrap();
        while std::fs::read(&file).unwrap() == before {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    ids.extend((20..24).map(decide));
    let get = |id: &String| call(&address, "GET", &format!("/api/v1/decisions/{id}"), None).1;
    let decisions: Vec<Value> = ids.iter().map(get).collect();
    let payloads: Vec<_> = decisions.iter().map(|it| payload(&address, &it["id"])).collect();
    assert_eq!(payloads.iter().filter(|(status, _)| *status == 200).count(), 23, "{payloads:?}");
    if !killed {
        server.stop();
    }
    let home = std::mem::replace(&mut server.dir, tempfile::tempdir().unwrap());
    drop(server);
    let marks = std::fs::read(home.path().join("data/highwater")).unwrap();
    let marks: Value = serde_json::from_slice(&marks).unwrap();
    let mark = marks["sizes"]["default"].as_u64().unwrap();
    assert!(mark > 0, "{marks}");
    Made { home, decisions, payloads, mark }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &name);
        } else {
            std::fs::copy(path, name).unwrap();
        }
    }
}

fn files(dir: &Path, under: &str) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir.join(under)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{under}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            all.extend(files(dir, &format!("{name}/")))
        } else {
            all.push(name)
        }
    }
    all.sort();
    all
}

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Gone,
    Cut(usize),
    Flip(usize, u8),
    /// A sector of zeros.
    Blank(usize),
}

fn damage(file: &Path, damage: Damage) {
    let mut bytes = std::fs::read(file).unwrap();
    match damage {
        Damage::Gone => return std::fs::remove_file(file).unwrap(),
        Damage::Cut(len) => bytes.truncate(len),
        Damage::Flip(at, mask) => bytes[at] ^= mask,
        Damage::Blank(at) => {
            let end = bytes.len().min(at + 512);
            bytes[at..end].fill(0);
        }
    }
    std::fs::write(file, bytes).unwrap();
}

/// What is tried on a file of these bytes.
fn damages(name: &str, bytes: &[u8], more: usize, random: &mut Random) -> Vec<Damage> {
    let len = bytes.len();
    let mut all = vec![Damage::Gone];
    if len == 0 {
        return all;
    }
    all.extend([Damage::Cut(0), Damage::Cut(len - 1), Damage::Cut(random.below(len))]);
    let vital = ["journal", "identity", "keys.db", "snapshots"];
    let flips = if vital.iter().any(|word| name.starts_with(word)) { 8 } else { 3 };
    for number in 0..flips + more {
        let mut at = random.below(len);
        // Databases are mostly empty; what is empty is hit often enough.
        for _ in 0..if number % 4 == 0 { 0 } else { 200 } {
            if bytes[at] != 0 {
                break;
            }
            at = random.below(len);
        }
        all.push(Damage::Flip(at, 1 << random.below(8)));
    }
    // Text of entries, of which another letter is as good.
    let rules = bytes.windows(5).enumerate().filter(|(_, window)| window == b"bank.");
    let rules: Vec<usize> = rules.map(|(at, _)| at).collect();
    for _ in 0..rules.len().min(8) {
        all.push(Damage::Flip(rules[random.below(rules.len())], 1));
    }
    if len > 4096 {
        all.push(Damage::Blank(random.below(len) / 512 * 512));
    }
    all
}

/// A server that may refuse to start.
struct Try {
    child: Child,
    address: Option<String>,
}

impl Try {
    fn start(data: &Path, said: &Path) -> Self {
        let mut command = command(&["up", "--dev", "--listen", "127.0.0.1:0", "--bundle", &bank()]);
        command.arg("--data").arg(data).stdout(Stdio::piped());
        let mut child = command.stderr(std::fs::File::create(said).unwrap()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut address = None;
        for line in lines {
            if let Some((_, found)) = line.split_once("listening on http://") {
                address = Some(found.trim().to_owned());
                break;
            }
        }
        Self { child, address }
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A refusal has a code and says which file, log or entry it is about.
fn named(text: &str) -> Result<(), String> {
    let names = [
        "journal.db",
        "keys.db",
        "identity.db",
        "read.db",
        "highwater",
        "armed",
        "snapshot",
        "FORMAT",
        "LOCK",
        "master key",
        "master.key",
        "workspace",
        "entry",
        "bundle",
        "journal",
        "stored keys",
    ];
    if !text.contains("error:") || !names.iter().any(|name| text.contains(name)) {
        return Err(format!("a refusal that names nothing: {text}"));
    }
    if !text.contains("see:") {
        return Err(format!("a refusal without a code: {text}"));
    }
    Ok(())
}

/// How it went: refused at the start, or served with everything or a beginning.
///
/// `derived` is for the read model, which is no evidence: it may hide an entry, and is made anew when
/// it is removed.
fn outcome(made: &Made, data: &Path, home: &Path, derived: bool) -> Result<&'static str, String> {
    let run = finish(command(&["audit", "verify", "--json", "--data"]).arg(data));
    if run.err.contains("panicked") || !(0..=1).contains(&run.code) {
        return Err(format!("audit verify: {run:?}"));
    }
    if run.code == 1 && !run.out.contains("\"fault\"") {
        named(&run.err).map_err(|why| format!("audit verify: {why}"))?;
    }
    let said = home.join("said");
    let mut started = Try::start(data, &said);
    let Some(address) = started.address.clone() else {
        let status = started.child.wait().unwrap();
        let text = std::fs::read_to_string(&said).unwrap();
        if status.code() != Some(1) || text.contains("panicked") {
            return Err(format!("{status}: {text}"));
        }
        named(&text)?;
        return Ok("refused");
    };
    let (_, found) = call(&address, "GET", "/api/v1/audit?limit=1", None);
    let size = found["size"].as_u64().ok_or(format!("no size: {found}"))?;
    if size < made.mark {
        return Err(format!("{size} entries are served, {} were signed", made.mark));
    }
    let is_killed = || !call(&address, "GET", "/api/v1/kill", None).1["everything"].is_null();
    let mut whole = true;
    for (before, payload_before) in made.decisions.iter().zip(&made.payloads) {
        let path = format!("/api/v1/decisions/{}", before["id"].as_str().unwrap());
        let (status, now) = call(&address, "GET", &path, None);
        let inside = before["log"]["index"].as_u64().unwrap() < size;
        match status {
            200 => {
                let index = |document: &Value| document["log"]["index"].as_u64();
                if index(before) != index(&now) {
                    return Err(format!("{path}: {before} became {now}"));
                }
                let differs = |names: &[&'static str]| {
                    names.iter().find(|name| before[**name] != now[**name]).copied()
                };
                // Asked after the decision: damage may be found by whoever reads on in the background.
                if let Some(name) = differs(&LASTING)
                    && let Some(name) = if is_killed() { differs(&KILLED) } else { Some(name) }
                {
                    return Err(format!("{name} of {path}: {} became {}", before[name], now[name]));
                }
            }
            404 if !inside || derived => {
                whole = false;
                continue;
            }
            // Read and found wanting: said so, and not answered.
            500 | 503 if now["code"].is_string() => {
                whole = false;
                continue;
            }
            _ => return Err(format!("{path}: status {status}: {now}")),
        }
        let now = payload(&address, &before["id"]);
        if now != *payload_before && !matches!(now.0, 500 | 503) {
            return Err(format!("payload of {path}: {payload_before:?} became {now:?}"));
        }
        whole &= now == *payload_before;
    }
    let body = json!({"surface": "crm.account", "action": "read", "idempotency_key": "after"});
    let (status, document) = call(&address, "POST", "/api/v1/decisions", Some(&body));
    if status != 200 && status != 503 {
        return Err(format!("a new decision: status {status}: {document}"));
    }
    let text = std::fs::read_to_string(&said).unwrap();
    if text.contains("panicked") {
        return Err(text);
    }
    Ok(if whole { "whole" } else { "part" })
}

fn check(killed: bool, wanted: impl Fn(&str) -> bool) {
    let made = made(killed);
    let data = made.home.path().join("data");
    let more =
        std::env::var("PLACET_FUZZ_CASES").map_or(0, |text| text.parse::<usize>().unwrap() / 100);
    let mut random = Random(0x0dd5_eed5);
    let (mut counts, mut found) = (std::collections::BTreeMap::new(), Vec::new());
    for name in files(&data, "").into_iter().filter(|name| wanted(name)) {
        let bytes = std::fs::read(data.join(&name)).unwrap();
        for one in damages(&name, &bytes, more, &mut random) {
            let home = tempfile::tempdir().unwrap();
            let spoilt: PathBuf = home.path().join("data");
            copy(&data, &spoilt);
            damage(&spoilt.join(&name), one);
            match outcome(&made, &spoilt, home.path(), name.starts_with("read.db")) {
                Ok(how) => *counts.entry(how).or_insert(0) += 1,
                Err(why) => found.push(format!("{name} {one:?}: {why}")),
            }
        }
    }
    println!("{counts:?}");
    assert!(found.is_empty(), "{} findings, {counts:?}:\n{}", found.len(), found.join("\n"));
    assert!(["refused", "whole"].iter().all(|how| counts.contains_key(how)), "{counts:?}");
}

#[test]
fn a_damaged_data_directory_is_refused_or_serves_what_it_can_prove() {
    check(false, |name| !name.ends_with("-shm"));
}

#[test]
fn a_damaged_write_ahead_log_ends_before_the_damage() {
    check(true, |name| name.ends_with("-wal") || name == "highwater");
}
