//! Taking a data directory along while it is served, and bringing it back.

use crate::support::{Server, bank_request, command, placet};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn exists(path: &str) -> bool {
    Path::new(path).exists()
}

/// A copy of the master key where a restored directory wants it.
fn hand_over_master_key(from: &str, to: &str) {
    std::fs::copy(format!("{from}/master.key"), format!("{to}/master.key")).unwrap();
}

/// The ids of decisions that were answered.
type Answered = Mutex<HashSet<String>>;

/// Asks for decisions from several threads while `work` is done; what was answered in all.
fn under_load(server: &Server, work: impl FnOnce(&Answered)) -> HashSet<String> {
    let (stop, answered) = (AtomicBool::new(false), Answered::default());
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (stop, answered) = (&stop, &answered);
            scope.spawn(move || {
                let text = std::fs::read_to_string(bank_request("read-account")).unwrap();
                let mut request: Value = serde_json::from_str(&text).unwrap();
                let mut batch = |round: u64| {
                    let one = |at: u64| {
                        request["idempotency_key"] = json!(format!("{thread}-{round}-{at}"));
                        request.clone()
                    };
                    json!({"requests": (0..50).map(one).collect::<Vec<_>>()}).to_string()
                };
                for round in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let answer = post(&server.url, "/api/v1/decisions:batch", &batch(round));
                    answered.lock().unwrap().extend(answer);
                }
            });
        }
        let until = Instant::now() + Duration::from_secs(30);
        while answered.lock().unwrap().len() < 500 && Instant::now() < until {
            std::thread::yield_now();
        }
        work(&answered);
        stop.store(true, Ordering::SeqCst);
    });
    answered.into_inner().unwrap()
}

/// The ids of a batch that was answered.
fn post(url: &str, path: &str, body: &str) -> HashSet<String> {
    use std::io::{Read, Write};
    let address = url.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // However the answer is laid out, it names no decisions but these.
    answer.split("\"dec_").skip(1).map(|rest| format!("dec_{}", &rest[..32])).collect()
}

/// The decisions of a directory's log, by an export.
fn decisions(data: &str) -> HashSet<String> {
    let lines = placet(&["audit", "export", "--data", data]).exits(0).out;
    let id = |line: &str| -> Option<String> {
        let entry: Value = serde_json::from_str(line).unwrap();
        let id = entry["entry"]["predicate"]["data"]["decision"].as_str();
        id.filter(|_| entry["type"] == "decision").map(str::to_owned)
    };
    lines.lines().filter_map(id).collect()
}

#[test]
fn a_back_up_under_load_is_whole_and_comes_back() {
    let mut server = Server::dev();
    let (log, keys) = (server.file("log"), server.file("keys"));
    let data = server.data();
    let mut acknowledged = HashSet::new();
    let mut taken = Value::Null;
    let answered = under_load(&server, |answered| {
        acknowledged = answered.lock().unwrap().clone();
        let run = placet(&["backup", "--data", &data, "--to", &log, "--keys-to", &keys, "--json"]);
        taken = run.exits(0).json();
    });
    let before = acknowledged.len() as u64;
    let size = taken["backups"][0]["logs"][0]["size"].as_u64().unwrap();
    assert!(before >= 500 && answered.len() as u64 > before, "decisions went on meanwhile");
    // It has verified itself, and opened every payload with the keys that were copied beside it.
    assert!(taken["verified_payloads"]["opened"].as_u64().unwrap() >= before, "{taken}");
    assert_eq!(taken["verified_payloads"]["not_checked"], 0, "{taken}");
    let note = taken["backups"][0]["logs"][0]["checkpoint"].as_str().unwrap();
    assert!(note.contains(&format!("\n{size}\n")), "{note}");
    for name in ["keys.db", "identity.db", "read.db", "master.key", "armed"] {
        assert!(!exists(&format!("{log}/{name}")), "{name}");
    }
    // The checkpoint is one of the log that goes on.
    let roots = server.file("roots");
    std::fs::write(&roots, note).unwrap();
    placet(&["audit", "verify", "--data", &data, "--roots", &roots]).exits(0);
    // Without its keys it verifies by itself.
    let verdict = placet(&["audit", "verify", "--data", &log, "--json"]).exits(0).json();
    assert_eq!(verdict["workspaces"][0]["entries"], size);
    assert_eq!(verdict["workspaces"][0]["payloads"]["opened"], 0);
    assert_eq!(
        placet(&["backup", "--data", &data, "--to", &log, "--json"]).exits(1).json()["code"],
        "target_exists"
    );
    server.stop();

    let back = server.file("back");
    let restore = ["restore", "--from", &log, "--keys-from", &keys, "--data", &back, "--json"];
    let done = placet(&restore).exits(0).json();
    assert_eq!(done["logs"][0]["size"], size);
    assert_eq!(placet(&restore).exits(1).json()["code"], "target_exists");
    hand_over_master_key(&data, &back);
    let verdict = placet(&["audit", "verify", "--data", &back, "--json"]).exits(0).json();
    assert!(verdict["workspaces"][0]["payloads"]["opened"].as_u64().unwrap() >= before);
    assert_eq!(verdict["workspaces"][0]["checkpoint"], note);
    let replay = placet(&["audit", "replay", "--data", &back, "--json"]).exits(0).json();
    assert_eq!(replay["differences"], 0);
    assert!(replay["re_evaluated"].as_u64().unwrap() >= before);

    // Everything that was acknowledged before the back-up began is there.
    let (kept, all) = (decisions(&back), decisions(&data));
    assert!(acknowledged.is_subset(&kept) && kept.is_subset(&all) && answered.is_subset(&all));

    // What was armed cannot be shown, so nothing executes until somebody lifts it.
    let restored = Server::over(&back, &["--dev"]);
    let denied = restored.run(&["decide", &bank_request("read-account"), "--json"]).exits(12);
    assert_eq!(denied.json()["reasons"][0]["code"], "killed_everything");
    let found = restored.run(&["audit", "query", "--type", "kill.tripped", "--json"]).exits(0);
    assert_eq!(found.json()["entries"][0]["entry"]["predicate"]["data"]["source"], "certificate");
    let one = acknowledged.iter().next().unwrap();
    // The read model of a restored directory is made anew, which is said meanwhile.
    let receipt = loop {
        let text = restored.get(&format!("/api/v1/receipts/{one}"));
        if !text.contains(r#""code":"indexing""#) {
            break text;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    let (file, trust) = (server.file("receipt"), server.file("trust.json"));
    std::fs::write(&file, receipt).unwrap();
    restored.run(&["key", "trust", "--out", &trust]).exits(0);
    placet(&["verify", &file, "--trust", &trust, "--expect", "PERMIT"]).exits(0);
}

#[test]
fn a_restore_below_the_high_water_mark_is_refused() {
    let mut server = Server::dev();
    let (data, log) = (server.data(), server.file("log"));
    placet(&["backup", "--data", &data, "--to", &log, "--with-keys"]).exits(0);
    server.run(&["decide", &bank_request("read-account")]).exits(0);
    server.stop();
    let (marks, back) = (format!("{data}/highwater"), server.file("back"));
    let restore = |more: &[&str]| {
        let base = ["restore", "--from", &log, "--data", &back, "--json"];
        placet(&[&base[..], more].concat())
    };
    let refused = restore(&["--highwater", &marks]).exits(1).json();
    assert_eq!(refused["code"], "store_behind_high_water");
    assert!(!exists(&back), "a refusal writes nothing");
    // Another name is for a log that lost something.
    let own = format!("{log}/highwater");
    let refused = restore(&["--highwater", &own, "--accept-loss"]).exits(2);
    assert!(refused.err.contains("nothing is lost"), "{}", refused.err);
    assert!(!exists(&back), "a refusal writes nothing");
    let bare = server.file("bare");
    placet(&["backup", "--data", &data, "--to", &bare]).exits(0);
    let refused = placet(&["restore", "--from", &bare, "--data", &back, "--accept-loss"]).exits(2);
    assert!(refused.err.contains("--keys-from"), "{}", refused.err);
    restore(&["--highwater", &own]).exits(0);
}

#[test]
fn a_workspace_that_was_never_founded_is_backed_up_and_comes_back() {
    let mut server = Server::dev();
    server.stop();
    let (data, log, back) = (server.data(), server.file("log"), server.file("back"));
    // What a crash leaves between registering a workspace and its first entry.
    let conn = rusqlite::Connection::open(format!("{data}/journal.db")).unwrap();
    conn.execute("INSERT INTO workspace VALUES (1, 'tenant-b')", []).unwrap();
    drop(conn);
    let run = placet(&["backup", "--data", &data, "--to", &log, "--with-keys", "--json"]);
    let taken = run.exits(0).json();
    assert_eq!(taken["backups"][0]["logs"][1]["workspace"], "tenant-b", "{taken}");
    assert_eq!(taken["backups"][0]["logs"][1]["size"], 0, "{taken}");
    placet(&["restore", "--from", &log, "--data", &back]).exits(0);
    let verdict = placet(&["audit", "verify", "--data", &back, "--json"]).exits(0).json();
    assert_eq!(verdict["workspaces"][1]["entries"], 0, "{verdict}");
}

/// The id of a decision that is permitted.
fn permitted(server: &Server, key: &str) -> String {
    let text = std::fs::read_to_string(bank_request("read-account")).unwrap();
    let mut request: Value = serde_json::from_str(&text).unwrap();
    request["idempotency_key"] = json!(key);
    let file = server.file(&format!("{key}.json"));
    std::fs::write(&file, request.to_string()).unwrap();
    let answer = server.run(&["decide", &file, "--json"]).exits(0).json();
    answer["id"].as_str().unwrap().to_owned()
}

/// The receipt of a decision, and the trust file of now, as files.
fn evidence(server: &Server, decision: &str, name: &str) -> (String, String) {
    let receipt = loop {
        let text = server.get(&format!("/api/v1/receipts/{decision}"));
        if !text.contains(r#""code":"indexing""#) {
            break text;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    let (file, trust) = (server.file(&format!("{name}.receipt")), server.file(name));
    std::fs::write(&file, receipt).unwrap();
    server.run(&["key", "trust", "--out", &trust]).exits(0);
    (file, trust)
}

fn origin_of(receipt: &str) -> String {
    let text = std::fs::read_to_string(receipt).unwrap();
    text.lines().find(|line| line.starts_with("placet/")).unwrap().to_owned()
}

#[test]
fn after_an_accepted_loss_the_logs_go_on_under_another_name() {
    let mut server = Server::dev();
    let (data, log, back) = (server.data(), server.file("log"), server.file("back"));
    let kept = permitted(&server, "kept");
    placet(&["backup", "--data", &data, "--to", &log, "--with-keys"]).exits(0);
    let (lost, trust) = {
        let lost = permitted(&server, "lost");
        evidence(&server, &lost, "before")
    };
    server.stop();
    let before = origin_of(&lost);
    let marks = format!("{data}/highwater");
    let base = ["restore", "--from", &log, "--highwater", &marks, "--json"];
    let restore = |to: &str| placet(&[&base[..], &["--data", to, "--accept-loss"]].concat());
    let done = restore(&back).exits(0).json();
    let successor = format!("{}/default", done["successor"].as_str().unwrap());
    let next = done["next"].to_string();
    assert!(next.contains("signed entries are lost") && next.contains(&successor[..20]), "{next}");
    // Another restore of the same back-up is another log.
    let twin = server.file("twin");
    assert_ne!(restore(&twin).exits(0).json()["successor"], done["successor"]);
    hand_over_master_key(&data, &back);
    placet(&["audit", "verify", "--data", &back]).exits(0);

    let started = |data: &str| Server::over(data, &["--dev"]);
    let mut successor_server = started(&back);
    let entries = successor_server.run(&["audit", "query", "--json"]).exits(0).json();
    let entries = entries["entries"].as_array().unwrap().clone();
    let of = |entry: &Value| entry["entry"]["predicate"].clone();
    let said = entries.iter().map(of).find(|it| it["type"] == "log.succeeded").unwrap();
    // The first entry that was not in the back-up says so, before the switch is found tripped.
    let sizes: Value = serde_json::from_str(&std::fs::read_to_string(&marks).unwrap()).unwrap();
    assert_eq!(said["data"]["signed"], sizes["sizes"]["default"]);
    assert!(said["data"]["old"].as_str().unwrap().starts_with(&before), "{said}");
    assert!(said["data"]["new"].as_str().unwrap().starts_with(&successor), "{said}");
    let index = |kind: &str| {
        let found = entries.iter().find(|entry| of(entry)["type"] == kind).unwrap();
        found["index"].as_u64().unwrap()
    };
    let size = done["logs"][0]["size"].as_u64().unwrap();
    assert_eq!(index("log.succeeded"), size);
    assert!(index("kill.tripped") > size);
    successor_server.run(&["lift", "--everything"]).exits(0);
    let fresh = permitted(&successor_server, "fresh");

    // What was decided before and after is proved under the new name, by the new trust file; what
    // was lost is still a receipt of the log before it, and none of the new one.
    let (kept, now) = evidence(&successor_server, &kept, "kept");
    let (fresh, _) = evidence(&successor_server, &fresh, "fresh");
    for receipt in [&kept, &fresh] {
        assert_eq!(origin_of(receipt), successor);
        placet(&["verify", receipt, "--trust", &now]).exits(0);
        placet(&["verify", receipt, "--trust", &trust]).exits(1);
    }
    for trust in [&trust, &now] {
        placet(&["verify", &lost, "--trust", trust]).exits(0);
    }

    // A second start has nothing to add.
    successor_server.stop();
    let verdict = placet(&["audit", "verify", "--data", &back, "--json"]).exits(0).json();
    let head = verdict["workspaces"][0]["checkpoint"].as_str().unwrap().to_owned();
    assert!(head.starts_with(&successor), "{head}");
    placet(&["audit", "replay", "--data", &back]).exits(0);
    let again = started(&back);
    let entries = again.run(&["audit", "query", "--type", "log.succeeded", "--json"]).exits(0);
    assert_eq!(entries.json()["entries"].as_array().unwrap().len(), 1);
    permitted(&again, "again");

    // It is backed up and restored under the name that it has, and may lose entries in its turn.
    let (log, whole) = (server.file("log2"), server.file("whole"));
    placet(&["backup", "--data", &back, "--to", &log, "--with-keys"]).exits(0);
    placet(&["restore", "--from", &log, "--data", &whole]).exits(0);
    hand_over_master_key(&data, &whole);
    let verdict = placet(&["audit", "verify", "--data", &whole, "--json"]).exits(0).json();
    assert!(verdict["workspaces"][0]["checkpoint"].as_str().unwrap().starts_with(&successor));
    drop(started(&whole));
    let third = server.file("third");
    let base = ["restore", "--from", &log, "--data", &third, "--accept-loss", "--json"];
    let done = placet(&base).exits(0).json();
    hand_over_master_key(&data, &third);
    let mut last = started(&third);
    last.stop();
    let verdict = placet(&["audit", "verify", "--data", &third, "--json"]).exits(0).json();
    let name = done["successor"].as_str().unwrap();
    assert!(verdict["workspaces"][0]["checkpoint"].as_str().unwrap().starts_with(name));
}

/// What a crash leaves in the first start after a restore, when the database is no write-ahead log yet: pages half
/// written, and beside them the journal that takes them back.
fn cut_off(database: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().join("db");
    std::fs::copy(database, &here).unwrap();
    let conn = rusqlite::Connection::open(&here).unwrap();
    let all = "PRAGMA cache_size=1; BEGIN IMMEDIATE; PRAGMA user_version=77;
               CREATE TABLE half AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
               SELECT i, randomblob(200) FROM n;";
    let mode: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete", "as a back-up is");
    conn.execute_batch(all).unwrap();
    // The process is gone, and its locks with it; nothing was committed.
    let journal = |path: &Path| Path::new(&format!("{}-journal", path.display())).to_owned();
    std::fs::copy(&here, database).unwrap();
    std::fs::copy(journal(&here), journal(database)).unwrap();
    let half = std::fs::read(database).unwrap();
    assert!(half.len() > 500_000, "pages were written: {}", half.len());
}

#[test]
fn a_crash_in_the_first_start_after_a_restore_is_recovered_from() {
    let mut server = Server::dev();
    server.run(&["decide", &bank_request("read-account")]).exits(0);
    let (data, backup) = (server.data(), server.file("backup"));
    server.stop();
    placet(&["backup", "--data", &data, "--to", &backup, "--with-keys"]).exits(0);
    let restore = |name: &str| {
        let to = server.file(name);
        placet(&["restore", "--from", &backup, "--data", &to]).exits(0);
        hand_over_master_key(&data, &to);
        for database in ["journal.db", "keys.db", "identity.db"] {
            cut_off(&Path::new(&to).join(database));
        }
        to
    };
    // Whoever looks first: verifying, or the next start.
    let verified = restore("verified");
    placet(&["audit", "verify", "--data", &verified]).exits(0);
    for to in [verified, restore("started")] {
        let mut again = Server::over(&to, &["--dev"]);
        again.run(&["audit", "query", "--json"]).exits(0);
        again.stop();
        placet(&["audit", "verify", "--data", &to]).exits(0);
    }
}

#[test]
fn an_altered_back_up_is_refused() {
    let server = Server::dev();
    let (data, log, back) = (server.data(), server.file("log"), server.file("back"));
    server.run(&["decide", &bank_request("read-account")]).exits(0);
    placet(&["backup", "--data", &data, "--to", &log, "--with-keys"]).exits(0);
    let path = format!("{log}/journal.db");
    let sound = std::fs::read(&path).unwrap();
    let restore = ["restore", "--from", &log, "--data", &back, "--json"];
    for at in [200, sound.len() / 2, sound.len() - 40] {
        let mut altered = sound.clone();
        altered[at] ^= 4;
        std::fs::write(&path, altered).unwrap();
        for run in [placet(&restore), placet(&["audit", "verify", "--data", &log, "--json"])] {
            let refused = run.exits(1).json();
            assert_eq!(refused["code"], "data_dir_damaged");
            assert!(refused["detail"].as_str().unwrap().contains("journal.db"), "{refused}");
        }
        for name in ["FORMAT", "RESTORING", "journal.db", "keys.db"] {
            assert!(!exists(&format!("{back}/{name}")), "{name} is left of a refused restore");
        }
    }
    std::fs::write(&path, &sound).unwrap();
    // A log that was altered with its digest in the list: the hashes of its entries tell.
    let list = std::fs::read_to_string(format!("{log}/backup.json")).unwrap();
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute("UPDATE batch SET tree_state = (SELECT tree_state FROM batch LIMIT 1)", [])
        .unwrap();
    drop(conn);
    let digest = |bytes: &[u8]| hex(&Sha256::digest(bytes));
    let altered = std::fs::read(&path).unwrap();
    let (was, is) = (digest(&sound), digest(&altered));
    assert!(list.contains(&was) && was != is);
    std::fs::write(format!("{log}/backup.json"), list.replace(&was, &is)).unwrap();
    let refused = placet(&restore).exits(1).json();
    assert_eq!(refused["code"], "log_damaged", "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("entr"), "{refused}");
    assert!(!exists(&format!("{back}/journal.db")));
    std::fs::write(&path, sound).unwrap();
    std::fs::write(format!("{log}/backup.json"), list).unwrap();
    // Nothing goes on from a back-up itself.
    for run in [
        placet(&["up", "--data", &log, "--dev", "--listen", "127.0.0.1:0"]),
        placet(&["data", "migrate", "--data", &log]),
    ] {
        assert!(run.exits(1).err.contains("data_dir_is_backup"));
    }
    placet(&restore).exits(0);
}

#[test]
fn back_ups_stand_apart_and_nothing_is_left_of_what_is_refused() {
    let mut server = Server::dev();
    server.stop();
    let (data, log, keys) = (server.data(), server.file("log"), server.file("keys"));
    let listing = || {
        let names = std::fs::read_dir(server.dir.path()).unwrap().map(|it| it.unwrap().path());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    let refused = |args: &[&str], why: &str| {
        let held = listing();
        let run = placet(args).exits(2);
        assert!(run.err.contains(why) && run.err.contains("next:"), "{args:?}: {run:?}");
        assert_eq!(listing(), held, "{args:?}");
    };
    let backup = ["backup", "--data", &data];
    let nested = format!("{log}/keys");
    for other in [&log, &nested] {
        let to = ["--to", &log, "--keys-to", other];
        refused(&[&backup[..], &to].concat(), "two directories");
    }
    let within = format!("{data}/log");
    refused(&[&backup[..], &["--to", &within]].concat(), "inside the data directory");
    placet(&[&backup[..], &["--to", &log, "--keys-to", &keys]].concat()).exits(0);

    let (back, within) = (server.file("back"), format!("{keys}/back"));
    let restore = |from: &str, keys: &str, to: &str, why: &str| {
        refused(&["restore", "--from", from, "--keys-from", keys, "--data", to], why);
    };
    restore(&log, &keys, &within, "inside the back-up");
    restore(&log, &log, &back, "holds no keys");
    restore(&data, &keys, &back, "is a data directory and no back-up");
    restore(&server.file("none"), &keys, &back, "is no back-up");
    // Refused in the middle, and the directory was there before: it is empty again.
    let (file, made) = (format!("{keys}/keys.db"), server.file("made"));
    let mut altered = std::fs::read(&file).unwrap();
    altered[200] ^= 4;
    std::fs::write(&file, altered).unwrap();
    std::fs::create_dir(&made).unwrap();
    for to in [&back, &made] {
        placet(&["restore", "--from", &log, "--keys-from", &keys, "--data", to]).exits(1);
    }
    assert!(!exists(&back));
    assert_eq!(std::fs::read_dir(&made).unwrap().count(), 0);
}

#[test]
fn a_back_up_that_is_killed_leaves_no_back_up_and_the_next_one_is_whole() {
    let server = Server::dev();
    let (data, log) = (server.data(), server.file("log"));
    let mut killed = 0;
    under_load(&server, |_| {
        for stage in ["LOCK", "journal.db", "journal.db-journal", "FORMAT", "backup.json"] {
            let target = format!("{log}-{stage}");
            let partial = server.file(&format!(".log-{stage}.partial/{stage}"));
            let backup = ["backup", "--data", &data, "--to", &target, "--with-keys"];
            let mut running = command(&backup);
            let mut running = running.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            while !exists(&partial) && running.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            // It may just have ended.
            let _ = running.kill();
            running.wait().unwrap();
            // It is there and whole, or it is not there.
            if exists(&target) {
                placet(&["audit", "verify", "--data", &target]).exits(0);
            } else {
                killed += 1;
                placet(&backup).exits(0);
                placet(&["audit", "verify", "--data", &target]).exits(0);
                assert!(!exists(&server.file(&format!(".log-{stage}.partial"))));
            }
        }
    });
    assert!(killed > 0, "not one of them was killed in the middle");
}

#[test]
fn a_back_up_of_an_older_format_is_restored_in_the_present_one() {
    let mut server = Server::dev();
    server.stop();
    let (data, log, back) = (server.data(), server.file("log"), server.file("back"));
    placet(&["backup", "--data", &data, "--to", &log, "--with-keys"]).exits(0);
    let list = std::fs::read_to_string(format!("{log}/backup.json")).unwrap();
    let (file, old) = (format!("{log}/FORMAT"), r#"{"format":0,"written_by":"placet 0.0.9"}"#);
    let sound = std::fs::read_to_string(&file).unwrap();
    let listed = |text: &str| {
        format!(
            "{{\"bytes\":{},\"name\":\"FORMAT\",\"sha256\":\"{}\"}}",
            text.len(),
            hex(&Sha256::digest(text))
        )
    };
    assert!(list.contains(&listed(&sound)), "{list}");
    std::fs::write(format!("{log}/backup.json"), list.replace(&listed(&sound), &listed(old)))
        .unwrap();
    std::fs::write(&file, old).unwrap();
    placet(&["restore", "--from", &log, "--data", &back]).exits(0);
    assert_eq!(std::fs::read_to_string(format!("{back}/FORMAT")).unwrap(), sound);
    placet(&["audit", "verify", "--data", &back]).exits(0);
}

#[test]
fn an_older_format_is_migrated() {
    let mut server = Server::dev();
    server.stop();
    let data = server.data();
    let format = format!("{data}/FORMAT");
    std::fs::write(&format, r#"{"format":0,"written_by":"placet 0.0.9"}"#).unwrap();
    let verify = ["audit", "verify", "--data", &data, "--json"];
    assert_eq!(placet(&verify).exits(1).json()["code"], "data_dir_older_format");
    let plan = placet(&["data", "migrate", "--data", &data, "--dry-run", "--json"]).exits(0).json();
    assert_eq!((&plan["found"], &plan["done"]), (&json!(0), &json!(false)));
    assert_eq!(plan["steps"].as_array().unwrap().len(), 1);
    placet(&["data", "migrate", "--data", &data]).exits(0);
    placet(&verify).exits(0);
    // What an old program sees after a later one was here.
    std::fs::write(&format, r#"{"format":7}"#).unwrap();
    let base = ["--data", &data, "--json"];
    for what in [&["audit", "verify"][..], &["data", "migrate"], &["up", "--listen", "127.0.0.1:0"]]
    {
        let refused = placet(&[what, if what[0] == "up" { &base[..2] } else { &base }].concat());
        assert!(refused.exits(1).err.contains("data_dir_newer_format"), "{what:?}");
    }
}
