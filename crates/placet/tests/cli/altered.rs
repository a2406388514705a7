//! A log that somebody with the files at hand made another one: whatever this instance once signed of it speaks up.

use crate::damage::call;
use crate::support::{Server, placet};
use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SNAPSHOTS: [&str; 3] = ["--dev", "--snapshot-entries", "8"];

fn decide(server: &Server, name: &str, count: usize) {
    for number in 0..count {
        let body = json!({"surface": "crm.account", "action": "read",
            "idempotency_key": format!("{name}-{number}")});
        let address = server.url.strip_prefix("http://").unwrap();
        let (status, document) = call(address, "POST", "/api/v1/decisions", Some(&body));
        assert_eq!(status, 200, "{document}");
    }
}

fn heads(data: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(format!("{data}/snapshots/0")).into_iter().flatten();
    let files = files.map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "head")).collect()
}

/// Waits for a snapshot, which comes by itself; that it never comes is the failure, not when.
fn until(done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "no snapshot was written");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &name),
            false => drop(fs::copy(path, name).unwrap()),
        }
    }
}

/// Neither verified nor started from, for this reason.
#[track_caller]
fn refused(data: &str, why: &str) {
    let verified = placet(&["audit", "verify", "--data", data, "--json"]).exits(1).json();
    let fault = verified["workspaces"][0]["fault"].as_str().unwrap_or_default();
    assert!(fault.contains(why), "{verified}");
    let up = placet(&["up", "--data", data, "--listen", "127.0.0.1:0"]);
    assert!(up.code != 0 && up.err.contains("log_damaged") && up.err.contains(why), "{up:?}");
}

#[test]
fn a_log_that_was_cut_with_its_mark_is_refused() {
    let mut server = Server::start(&SNAPSHOTS);
    decide(&server, "a", 20);
    let data = server.data();
    until(|| !heads(&data).is_empty());
    server.stop();
    placet(&["audit", "verify", "--data", &data]).exits(0);
    let conn = Connection::open(format!("{data}/journal.db")).unwrap();
    let cut = "DELETE FROM batch WHERE id > (SELECT id FROM batch ORDER BY id LIMIT 1 OFFSET 4)";
    assert!(conn.execute(cut, []).unwrap() > 5);
    let left: i64 = conn.query_row("SELECT sum(count) FROM batch", [], |row| row.get(0)).unwrap();
    drop(conn);
    let marks = json!({"sizes": {"default": left}, "v": 1});
    fs::write(format!("{data}/highwater"), marks.to_string()).unwrap();
    refused(&data, "this instance signed a snapshot of");
    // Nor is it washed by a back-up, which holds no snapshots.
    let target = format!("{data}-copy");
    let backup = placet(&["backup", "--data", &data, "--to", &target]).exits(1);
    assert!(backup.err.contains("signed a snapshot") && !Path::new(&target).exists(), "{backup:?}");
}

#[test]
fn a_log_that_was_written_anew_under_the_same_keys_is_refused() {
    let mut server = Server::start(&SNAPSHOTS);
    decide(&server, "a", 9);
    server.stop();
    let (data, other) = (server.data(), format!("{}-other", server.data()));
    copy(Path::new(&data), Path::new(&other));
    let mut server = server.again(&SNAPSHOTS);
    decide(&server, "b", 20);
    // Of more than what both histories begin with.
    let index = |head: &PathBuf| head.file_stem()?.to_str()?.parse::<u64>().ok();
    until(|| heads(&data).iter().filter_map(index).max() >= Some(16));
    server.stop();
    // Another history of the same length, sealed as it should be.
    let mut forked = Server::over(&other, &SNAPSHOTS);
    decide(&forked, "c", 20);
    forked.stop();
    placet(&["audit", "verify", "--data", &other]).exits(0);
    heads(&other).iter().for_each(|head| fs::remove_file(head).unwrap());
    for head in heads(&data) {
        let to = format!("{other}/snapshots/0/{}", head.file_name().unwrap().to_str().unwrap());
        fs::copy(head, to).unwrap();
    }
    refused(&other, "are not those of which this instance signed a snapshot");
}

#[test]
fn a_bundle_with_another_byte_is_no_bundle_of_the_log() {
    let mut server = Server::start(&SNAPSHOTS);
    decide(&server, "a", 3);
    server.stop();
    let data = server.data();
    let conn = Connection::open(format!("{data}/journal.db")).unwrap();
    let bytes: Vec<u8> = conn.query_row("SELECT bytes FROM bundle", [], |row| row.get(0)).unwrap();
    let altered = String::from_utf8(bytes).unwrap().replacen("5000", "9000", 1);
    assert_eq!(conn.execute("UPDATE bundle SET bytes = ?1", [altered.as_bytes()]).unwrap(), 1);
    drop(conn);
    let verified = placet(&["audit", "verify", "--data", &data, "--json"]).exits(1).json();
    let fault = verified["workspaces"][0]["fault"].as_str().unwrap();
    assert!(fault.starts_with("the bundle sha256:"), "{fault}");
    let target = format!("{data}-copy");
    let backup = placet(&["backup", "--data", &data, "--to", &target]);
    assert!(backup.code != 0 && !Path::new(&target).exists(), "{backup:?}");
}
