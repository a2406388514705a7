//! The inbox on the command line: looking, deciding, taking back, watching.

use crate::support::{BIN, Server, bank_request, command, fed_with, finish, placet};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A refund that is held, under a key of its own.
fn held(server: &Server, key: &str) -> Value {
    let text = std::fs::read_to_string(bank_request("refund-large")).unwrap();
    let mut body: Value = serde_json::from_str(&text).unwrap();
    body["idempotency_key"] = key.into();
    body.as_object_mut().unwrap().remove("attempt_nonce");
    let file = server.file(&format!("{key}.json"));
    std::fs::write(&file, body.to_string()).unwrap();
    server.run(&["decide", &file, "--json"]).exits(10).json()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}: {value}"))
}

#[test]
fn one_is_shown_whole_under_each_of_its_ids() {
    let server = Server::dev();
    let held = held(&server, "a");
    let (id, decision) = (text(&held, "/approval/id"), text(&held, "/id"));
    let shown = server.run(&["approvals", "show", id]).exits(0).out;
    let digest = text(&held, "/action_digest");
    for part in [
        "What would run, exactly",
        "payments.refund",
        "arguments.amount_cents",
        "service:local (verified)",
        "Refunds above 50.00 need a second person (bank.refund-large)",
        "refund_approver 1",
        "(in 29m",
        digest,
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let one = server.run(&["approvals", "show", id, "--json"]).exits(0).json();
    assert_eq!(text(&one, "/rendering/action_digest"), digest);
    let same = server.run(&["approvals", "show", decision, "--json"]).exits(0).json();
    assert_eq!(same, one);
    let gone = server.run(&["approvals", "show", "apr_1", "--json"]).exits(1);
    assert_eq!(gone.json()["code"], "not_found");
    let unheld = server.run(&["decide", &bank_request("read-account"), "--json"]).exits(0).json();
    let gone = server.run(&["approvals", "show", text(&unheld, "/id"), "--json"]).exits(1);
    assert_eq!(gone.json()["code"], "not_found");
}

#[test]
fn a_program_decides_with_the_digest_or_says_that_it_has_not_looked() {
    let server = Server::dev();
    let first = held(&server, "a");
    let id = text(&first, "/approval/id");
    let run = server.run(&["approve", id, "--json"]).exits(2);
    assert_eq!(run.json()["code"], "usage");
    assert!(run.err.contains("--digest or --yes"), "{run:?}");
    let digest = text(&first, "/action_digest");
    server.run(&["approve", id, "--digest", digest, "--yes"]).exits(2);
    // Whoever names a demand decides that one and not whatever is held.
    let stale = format!("sha256:{}", "0".repeat(64));
    for verb in ["approve", "reject"] {
        server.run(&[verb, id, "--requirement", &stale, "--yes"]).exits(2);
        server.run(&[verb, id, "--requirement", &stale]).exits(2);
    }
    let voted = server.run(&["approve", id, "--yes", "--note", "seen", "--json"]).exits(0).json();
    assert_eq!((text(&voted, "/state"), text(&voted, "/votes/0/note")), ("approved", "seen"));
    assert_eq!(voted["votes"][0].get("unechoed"), None, "the digest was echoed");
    // The note of a rejection reaches whoever waits for it.
    let second = held(&server, "b");
    let (id, file) = (text(&second, "/approval/id"), server.file("b.json"));
    let wait = std::thread::spawn({
        let mut wait = command(&["decide", &file, "--wait", "30s", "--json"]);
        wait.env("PLACET_URL", &server.url);
        move || finish(&mut wait)
    });
    let note = "this invoice is of last year";
    let said = server.run(&["reject", id, "--yes", "--note", note]).exits(0);
    assert!(said.out.contains("rejected"), "{said:?}");
    let waited = wait.join().unwrap().exits(12);
    assert_eq!(text(&waited.json(), "/approval/note"), note, "{waited:?}");
    let shown = server.run(&["decide", &file]).exits(12);
    assert!(shown.out.contains(note), "{shown:?}");
    let third = held(&server, "c");
    let withdrawn = server.run(&["withdraw", text(&third, "/approval/id"), "--json"]).exits(0);
    assert_eq!(text(&withdrawn.json(), "/approval/state"), "withdrawn");
    server.run(&["decide", &server.file("c.json")]).exits(12);
    let run = server.run(&["withdraw", text(&third, "/id"), "--json"]).exits(1);
    assert_eq!(run.json()["code"], "approval_final");
    let all = server.run(&["approvals", "--all", "--json"]).exits(0).json();
    let states: Vec<_> =
        all["approvals"].as_array().unwrap().iter().map(|it| text(it, "/state")).collect();
    assert_eq!(states, ["approved", "rejected", "withdrawn"]);
    assert!(server.run(&["approvals"]).exits(0).out.contains("nothing waits"));
}

/// A command that goes on, and its lines as they come.
struct Watch {
    child: Child,
    lines: Receiver<String>,
}

impl Watch {
    fn new(server: &Server, key: Option<&str>, more: &[&str]) -> Self {
        let mut command = command(&["approvals", "--watch"]);
        command.args(more).env("PLACET_URL", &server.url);
        if let Some(key) = key {
            command.env("PLACET_KEY", key);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(60)).expect("another line")
    }

    fn json(&self) -> (Value, String, String) {
        let line: Value = serde_json::from_str(&self.line()).unwrap();
        let at = |pointer: &str| text(&line, pointer).to_owned();
        (line["index"].clone(), at("/type"), at("/approval/state"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watch_tells_what_there_is_and_what_changes_and_goes_on_where_it_was() {
    let mut server = Server::dev();
    let first = held(&server, "a");
    let watch = Watch::new(&server, None, &["--json"]);
    let (seen, kind, state) = watch.json();
    assert_eq!((kind.as_str(), state.as_str()), ("snapshot", "pending"));
    let second = held(&server, "b");
    let (index, kind, state) = watch.json();
    assert_eq!((kind.as_str(), state.as_str()), ("decision", "pending"));
    assert!(index.as_u64() > seen.as_u64());
    server.run(&["approve", text(&first, "/approval/id"), "--yes"]).exits(0);
    let (voted, kind, state) = watch.json();
    assert_eq!((kind.as_str(), state.as_str()), ("approval.voted", "approved"));
    drop(watch);
    // What happened meanwhile comes first, and nothing of before comes again.
    server.run(&["reject", text(&second, "/approval/id"), "--yes"]).exits(0);
    let watch = Watch::new(&server, None, &["--json", "--after", &voted.to_string()]);
    let (_, kind, state) = watch.json();
    assert_eq!((kind.as_str(), state.as_str()), ("approval.voted", "rejected"));
    // The server goes and comes back, and nothing is missed or told twice.
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    server.stop();
    let mut again = Command::new(BIN);
    again.args(["up", "--dev", "--listen", &address, "--data", &server.data()]);
    let again = Server::listening(again, tempfile::tempdir().unwrap());
    held(&again, "z");
    let (_, kind, state) = watch.json();
    assert_eq!((kind.as_str(), state.as_str()), ("decision", "pending"));
}

#[test]
fn those_who_may_not_read_the_log_watch_by_asking() {
    let server = Server::start(&["--admin", "human:ann"]);
    let ann = server.key.clone().unwrap();
    let key = |actor: &str, role: &str| {
        let args = ["key", "create", actor, "--role", role, "--json"];
        text(&server.run_as(&ann, &args).exits(0).json(), "/key").to_owned()
    };
    let (bot, bob) = (key("agent:support", "support"), key("human:bob", "refund_approver"));
    let watch = Watch::new(&server, Some(&bob), &[]);
    let held = server.run_as(&bot, &["decide", &bank_request("refund-large"), "--json"]);
    let held = held.exits(10).json();
    let line = watch.line();
    let id = text(&held, "/approval/id");
    assert!(line.contains(id) && line.contains("pending"), "{line}");
    assert!(line.contains("agent:support"), "{line}");
    let json = Watch::new(&server, Some(&bob), &["--json"]);
    assert_eq!(json.json(), (Value::Null, "snapshot".into(), "pending".into()));
    // What was decided elsewhere is told as well.
    let eve = key("human:eve", "refund_approver");
    server.run_as(&eve, &["reject", id, "--yes"]).exits(0);
    let line = watch.line();
    assert!(line.contains(id) && line.contains("rejected"), "{line}");
    assert_eq!(json.json(), (Value::Null, "approval.voted".into(), "rejected".into()));
    let after = ["approvals", "--watch", "--json", "--after", "1"];
    let refused = server.run_as(&bob, &after).exits(1).json();
    assert!(text(&refused, "/detail").contains("--after"), "{refused}");
}

#[test]
fn whoever_waits_without_a_nonce_is_given_one_and_the_permit() {
    let server = Server::dev();
    let held = held(&server, "a");
    let (id, file) = (text(&held, "/approval/id"), server.file("a.json"));
    let wait = std::thread::spawn({
        let mut wait = command(&["decide", &file, "--wait", "3m", "--json"]);
        wait.env("PLACET_URL", &server.url);
        move || finish(&mut wait)
    });
    server.run(&["approve", id, "--yes"]).exits(0);
    // Without a nonce nothing can be fetched, and it is said how.
    let decided = server.run(&["decide", &file, "--json"]);
    let waited = wait.join().unwrap().exits(0).json();
    assert_eq!((text(&waited, "/outcome"), text(&waited, "/permit/state")), ("PERMIT", "granted"));
    assert_eq!(text(&waited, "/attempt_nonce").len(), 32);
    assert!(decided.code != 0, "{decided:?}");
    let again = self::held(&server, "b");
    server.run(&["approve", text(&again, "/approval/id"), "--yes"]).exits(0);
    let file = server.file("b.json");
    let run = server.run(&["decide", &file]).exits(10);
    assert!(run.err.contains("repeat it with --wait"), "{run:?}");
    let shown = server.run(&["decide", &file, "--wait", "1s"]).exits(0).out;
    assert!(shown.contains("nonce"), "{shown}");
    server.run(&["decide", &file, "--wait", "soon"]).exits(2);
}

#[test]
fn waiting_goes_on_until_the_time_is_over() {
    let held = r#"{"id":"dec_1","outcome":"REQUIRE_APPROVAL","approval":{"state":"pending"}}"#;
    let away = r#"{"code":"shutting_down","title":"x","status":503,"detail":"x"}"#;
    let done = r#"{"id":"dec_1","outcome":"PERMIT","permit":{"state":"granted"}}"#;
    let answers = [(200, held), (200, held), (503, away), (200, done)];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for (status, body) in answers {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let (mut head, mut line) = (String::new(), String::new());
            while stream.read_line(&mut line).unwrap() > 0 && line != "\r\n" {
                head.push_str(&line.to_ascii_lowercase());
                line.clear();
            }
            if head.starts_with("post") {
                stream.read_exact(&mut [0; 2]).unwrap();
            }
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            heads.push(head);
        }
        heads
    });
    let args = ["decide", "-", "--wait", "5m", "--json"];
    let run = fed_with(&args, "{}", &[("PLACET_URL", &url), ("PLACET_KEY", "k.1")]).exits(0).json();
    let header = format!("placet-attempt-nonce: {}", text(&run, "/attempt_nonce"));
    let heads = server.join().unwrap();
    assert!(heads.iter().all(|head| head.contains(&header)), "{heads:?}");
    assert!(heads[3].contains("wait=25000ms"), "{heads:?}");
}

#[test]
fn a_person_lends_a_role_and_takes_it_back() {
    let server = Server::start(&["--admin", "human:ann"]);
    let ann = server.key.clone().unwrap();
    let key = |actor: &str, role: &str| {
        let args = ["key", "create", actor, "--role", role, "--json"];
        text(&server.run_as(&ann, &args).exits(0).json(), "/key").to_owned()
    };
    let (bot, bob) = (key("agent:support", "support"), key("human:bob", "refund_approver"));
    let cat = key("human:cat", "support");
    let held = server.run_as(&bot, &["decide", &bank_request("refund-large"), "--json"]);
    let held = held.exits(10).json();
    let approve = |id: &str| {
        server.run_as(&cat, &["approve", id, "--digest", text(&held, "/action_digest"), "--json"])
    };
    let id = text(&held, "/approval/id");
    assert_eq!(approve(id).exits(1).json()["code"], "role_missing");
    let lend = [
        "delegate",
        "refund_approver",
        "--to",
        "human:cat",
        "--for",
        "8h",
        "--surfaces",
        "payments.**",
        "--json",
    ];
    let lent = server.run_as(&bob, &lend).exits(0).json();
    let delegation = text(&lent, "/id");
    let listed = server.run_as(&cat, &["delegations"]).exits(0).out;
    for part in [delegation, "human:bob", "human:cat", "refund_approver", "payments.**", "in_force"]
    {
        assert!(listed.contains(part), "{part} in {listed}");
    }
    let approved = approve(id).exits(0).json();
    assert_eq!(
        (text(&approved, "/state"), text(&approved, "/votes/0/by")),
        ("approved", "human:cat")
    );
    let shown = server.run_as(&ann, &["approvals", "show", id]).exits(0).out;
    assert!(shown.contains("human:cat approved as refund_approver"), "{shown}");
    assert!(shown.contains("in the right of human:bob"), "{shown}");
    server.run_as(&bob, &["delegations", "end", delegation]).exits(0);
    let run = server.run_as(&bob, &["delegations", "end", delegation, "--json"]);
    assert_eq!(run.exits(0).json()["state"], "revoked", "ending it again changes nothing");
    let run = server.run_as(
        &cat,
        &["delegate", "refund_approver", "--to", "human:bob", "--for", "1h", "--json"],
    );
    assert_eq!(run.exits(1).json()["code"], "role_missing");
}

#[test]
fn every_command_of_the_inbox_has_help_and_completes() {
    for command in ["approvals", "approve", "reject", "withdraw", "delegate", "delegations"] {
        let help = placet(&[command, "--help"]).exits(0).out;
        assert!(help.contains("Examples:") && help.contains("--json"), "{command}: {help}");
        for shell in ["bash", "zsh", "fish"] {
            assert!(placet(&["completions", shell]).exits(0).out.contains(command));
        }
    }
    placet(&["delegate", "operator", "--to", "human:x"]).exits(2);
    placet(&["delegate", "--to", "human:x", "--for", "7d"]).exits(2);
    placet(&["delegate", "operator", "--to", "human:x", "--for", "7"]).exits(2);
    placet(&["delegate", "operator", "--to", "human:x", "--for", "7d", "--until", "x"]).exits(2);
    placet(&["approvals", "--after", "3"]).exits(2);
}

/// A server of approvals, one on each page, `pages` of them; the last names `after_last` as the next one.
fn pages(pages: usize, after_last: Option<usize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        // Each on a thread: a client may open a second connection and leave the first one idle.
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve_pages(BufReader::new(stream), pages, after_last));
        }
    });
    url
}

fn serve_pages(mut stream: BufReader<TcpStream>, pages: usize, after_last: Option<usize>) {
    loop {
        let (mut at, mut line) = (0, String::new());
        while stream.read_line(&mut line).unwrap_or(0) > 0 && line != "\r\n" {
            if let Some((_, cursor)) = line.split_once("cursor=apr_") {
                at = cursor.split(' ').next().unwrap().parse().unwrap();
            }
            line.clear();
        }
        if line.is_empty() {
            return;
        }
        let next = if at + 1 < pages { Some(at + 1) } else { after_last };
        let mut page = serde_json::json!({"approvals": [{"id": format!("apr_{at:06}")}]});
        if let Some(next) = next {
            page["next_cursor"] = format!("apr_{next:06}").into();
        }
        let page = page.to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
        let answer = format!("{head}: {}\r\n\r\n{page}", page.len());
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn a_long_list_is_whole_or_none() {
    let list = |url: &str| {
        finish(command(&["approvals", "--json"]).env("PLACET_URL", url).env("PLACET_KEY", "k.1"))
    };
    let all = list(&pages(700, None)).exits(0).json();
    let all = all["approvals"].as_array().unwrap();
    assert_eq!((all.len(), text(&all[699], "/id")), (700, "apr_000699"));
    let run = list(&pages(5, Some(2))).exits(1);
    assert_eq!(run.json()["code"], "failed");
    assert!(run.err.contains("twice") || run.out.contains("twice"), "{run:?}");
}
