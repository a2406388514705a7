//! Exports that are cut short and continued, from a directory and from a server; the read model
//! made anew while it is asked; what all of it takes on disk.

use crate::support::{Server, bank_request, command, placet};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

const FORMATS: [&str; 4] = ["jsonl", "csv", "cloudevents", "ocsf"];

fn busy() -> Server {
    let server = Server::dev();
    for (name, code) in [("read-account", 0), ("delete-account", 12), ("refund-large", 10)] {
        server.run(&["decide", &bank_request(name)]).exits(code);
    }
    server
}

#[test]
fn a_directory_and_its_server_export_the_same() {
    let mut server = busy();
    let live: Vec<String> = FORMATS
        .iter()
        .map(|format| server.run(&["audit", "export", "--format", format]).exits(0).out)
        .collect();
    server.stop();
    for (format, live) in FORMATS.iter().zip(live) {
        let run =
            placet(&["audit", "export", "--data", &server.data(), "--format", format]).exits(0);
        assert_eq!(run.out, live, "{format}");
        let next = live.lines().count() - usize::from(*format == "csv");
        assert_eq!(run.err.trim(), format!("next: --workspace default --from {next}"));
    }
}

#[test]
fn an_export_is_continued_after_its_last_whole_record() {
    let mut server = busy();
    server.stop();
    let data = server.data();
    for format in FORMATS {
        let export = |more: &[&str]| {
            let base = ["audit", "export", "--data", &data, "--format", format];
            placet(&[&base[..], more].concat())
        };
        let whole = export(&[]).exits(0).out;
        let file = server.file(format);
        let out = ["--out", file.as_str()];
        export(&[&out[..], &["--to", "2"]].concat()).exits(0);
        export(&out).exits(0);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), whole, "{format}");
        // Cut anywhere, as a kill or a full disk does.
        for cut in (0..whole.len()).step_by(97) {
            std::fs::write(&file, &whole.as_bytes()[..cut]).unwrap();
            export(&out).exits(0);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), whole, "{format} cut at {cut}");
        }
        std::fs::write(&file, "something else\n").unwrap();
        export(&out).exits(2);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "something else\n");
    }
    let part = placet(&["audit", "export", "--data", &data, "--from", "1", "--to", "3"]).exits(0);
    let index = |line: &str| serde_json::from_str::<Value>(line).unwrap()["index"].clone();
    assert_eq!(part.out.lines().map(index).collect::<Vec<_>>(), [json!(1), json!(2)]);
    placet(&["audit", "export", "--data", &data, "--workspace", "other"]).exits(1);
}

#[test]
fn a_file_is_continued_by_its_own_log_alone() {
    let (mut one, other) = (busy(), busy());
    let read = |file: &str| std::fs::read_to_string(file).unwrap();
    let files: Vec<String> = FORMATS
        .iter()
        .map(|format| {
            let file = one.file(format);
            // A torn end stays as well: nothing is cut off before the file is known to be ours.
            let whole = one.run(&["audit", "export", "--format", format]).exits(0).out;
            std::fs::write(&file, whole + "{\"torn").unwrap();
            file
        })
        .collect();
    one.stop();
    // The other log is longer.
    other.run(&["decide", &bank_request("read-account"), "--json"]);
    for format in FORMATS {
        other.run(&["decide", &bank_request("refund-large"), "--trace", format]);
    }
    let data = other.data();
    let refuse = |from: &[&str]| {
        for (format, file) in FORMATS.iter().zip(&files) {
            let held = read(file);
            let base = ["audit", "export", "--format", format, "--out", file];
            let run = other.run(&[&base[..], from].concat()).exits(2);
            assert!(run.err.contains("next:  name another file with --out"), "{run:?}");
            assert_eq!(read(file), held, "{format}");
        }
    };
    refuse(&[]);
    refuse(&["--data", &data]);

    let none = other.file("none");
    for range in [&["--from", "500"][..], &["--from", "5", "--to", "4"]] {
        let base = ["audit", "export", "--data", &data, "--out", &none];
        let run = placet(&[&base[..], range].concat()).exits(2);
        assert!(run.err.contains("--from"), "{run:?}");
        assert!(std::fs::metadata(&none).is_err(), "nothing is written");
    }
}

#[test]
fn a_file_is_not_continued_over_a_loss() {
    let mut server = busy();
    let (data, log, back) = (server.data(), server.file("log"), server.file("back"));
    placet(&["backup", "--data", &data, "--to", &log, "--with-keys"]).exits(0);
    let files = server.file("");
    let export = |data: &str, format: &str, name: &str| {
        let file = format!("{files}{name}.{format}");
        placet(&["audit", "export", "--data", data, "--format", format, "--out", &file])
    };
    for format in FORMATS {
        export(&data, format, "kept").exits(0);
    }
    server.run(&["decide", &bank_request("refund-small")]).exits(0);
    server.stop();
    for format in FORMATS {
        export(&data, format, "lost").exits(0);
    }
    placet(&["restore", "--from", &log, "--data", &back, "--accept-loss"]).exits(0);
    // Before the log goes on it is shorter than the files, and then other entries are in it.
    for format in FORMATS {
        export(&back, format, "lost").exits(2);
    }
    std::fs::copy(format!("{data}/master.key"), format!("{back}/master.key")).unwrap();
    let mut again = Server::over(&back, &["--dev"]);
    again.run(&["lift", "--everything"]).exits(0);
    for _ in 0..3 {
        again.run(&["decide", &bank_request("read-account")]);
    }
    for format in FORMATS {
        let file = server.file(&format!("lost.{format}"));
        export(&back, format, "lost").exits(2);
        again.run(&["audit", "export", "--format", format, "--out", &file]).exits(2);
        // Both name the log alike, so that no two entries have one id.
        let live = again.run(&["audit", "export", "--format", format]).exits(0).out;
        let base = ["audit", "export", "--data", &back, "--format", format];
        assert_eq!(placet(&base).exits(0).out, live, "{format}");
    }
    // What was exported up to the loss goes on where the form names no log.
    for format in ["jsonl", "csv"] {
        export(&back, format, "kept").exits(0);
    }
    again.stop();
}

#[test]
fn a_reader_that_goes_has_whole_records() {
    let server = busy();
    let mut child = command(&["audit", "export", "--data", &server.data()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["index"], 0);
    child.wait().unwrap();
}

#[test]
fn the_read_model_is_made_anew_while_the_server_goes_on() {
    let mut server = busy();
    let query = |what: &[&str]| {
        let base = ["audit", "query", "--json"];
        server.run(&[&base[..], what].concat()).exits(0).json()
    };
    let denied = ["--outcome", "DENY"];
    let before = query(&denied);
    assert_eq!(server.run(&["audit", "reindex", "--json"]).exits(0).json()["status"], "begun");
    // It goes on deciding, and no answer lacks anything while the new one is filled.
    server.run(&["decide", &bank_request("read-account"), "--json"]);
    let until = Instant::now() + Duration::from_secs(60);
    let mut after = before.clone();
    while !server.get("/metrics").contains("\nplacet_read_model_rebuilds_total 1\n") {
        after = query(&denied);
        assert_eq!(after["entries"], before["entries"]);
        assert!(after["indexed"].as_u64() <= after["size"].as_u64(), "{after}");
        assert!(Instant::now() < until, "it is never made anew");
    }
    while after["indexed"] != after["size"] {
        assert!(Instant::now() < until, "{after}");
        after = query(&denied);
        assert_eq!(after["entries"], before["entries"]);
    }

    let data = server.data();
    assert_eq!(
        placet(&["audit", "reindex", "--data", &data, "--json"]).exits(1).json()["code"],
        "data_dir_in_use"
    );
    server.stop();
    let done = placet(&["audit", "reindex", "--data", &data, "--json"]).exits(0).json();
    assert_eq!(done["entries"], after["size"]);
}

#[test]
fn what_is_on_the_disk_adds_up() {
    let mut server = busy();
    server.stop();
    let data = server.data();
    let used = placet(&["audit", "du", "--data", &data, "--json"]).exits(0).json();
    let log = &used["workspaces"][0];
    assert_eq!((&log["name"], &log["decisions"]), (&json!("default"), &json!(3)));
    let sum = |name: &str| -> u64 {
        log["kinds"].as_array().unwrap().iter().map(|kind| kind[name].as_u64().unwrap()).sum()
    };
    for name in ["entries", "entry_bytes", "payload_bytes"] {
        assert_eq!(log[name], sum(name), "{name}");
    }
    let journal = std::fs::metadata(format!("{data}/journal.db")).unwrap().len();
    assert_eq!(used["databases"][0]["bytes"], journal);
    // A copy is one file without a write-ahead log: every page belongs to a table or is free.
    let copy = server.file("copy");
    placet(&["backup", "--data", &data, "--to", &copy, "--with-keys"]).exits(0);
    let copied = placet(&["audit", "du", "--data", &copy, "--json"]).exits(0).json();
    for database in copied["databases"].as_array().unwrap() {
        let tables = database["tables"].as_array().unwrap();
        let bytes: u64 = tables.iter().map(|table| table["bytes"].as_u64().unwrap()).sum();
        let free = database["free_bytes"].as_u64().unwrap();
        assert_eq!(database["bytes"], bytes + free, "{database}");
    }
    assert!(copied["databases"][0]["tables"].to_string().contains("\"batch\""), "{copied}");
    assert!(used["bytes_per_decision"].as_u64().unwrap() > 0);
    let people = placet(&["audit", "du", "--data", &data]).exits(0).out;
    assert!(people.contains("payments.refund") || people.contains("decision"), "{people}");
}
