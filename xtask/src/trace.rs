//! The flush trace: lone requests against a server under `strace`, and a judgement over its system
//! calls. Each answer must begin after the flush of the journal that followed the request. Owns the
//! reading of traces; knows nothing of what was decided.

use crate::http::Client;
use crate::server::{Scratch, Server};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The file whose flush makes a batch durable.
const WAL: &str = "/journal.db-wal>";
const CALLS: &str = "read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,pwritev,\
                     fsync,fdatasync";
/// Smallest write that is a page and no header of the WAL.
const PAGE_BYTES_MIN: i64 = 512;
const BUNDLE: &str = "version: v1\nrules:\n  - id: allow-read\n    match: { surfaces: [\"trace.read\"] }\n    decision: allow\n";

/// Traces `requests` lone requests and judges them.
///
/// # Errors
/// When `strace` is missing, or an answer did not follow the flush of its batch.
pub(crate) fn run(binary: &Path, requests: u64) -> Result<()> {
    let mut version = Command::new("strace");
    version.arg("-V").stdout(Stdio::null()).stderr(Stdio::null());
    if !version.status().is_ok_and(|status| status.success()) {
        bail!("strace is missing; install it (`apt-get install strace`), the trace needs it");
    }
    let mut scratch = Scratch::new("trace", false)?;
    let result = trace(binary, requests, &scratch);
    if result.is_err() {
        scratch.keep();
    }
    let count = result.with_context(|| format!("trace kept in {}", scratch.path().display()))?;
    println!("trace: {count} lone requests, each answered after the flush of its batch");
    Ok(())
}

fn trace(binary: &Path, requests: u64, scratch: &Scratch) -> Result<usize> {
    let file = scratch.path().join("strace.txt");
    let (data, bundle) = (scratch.path().join("data"), scratch.path().join("bundle"));
    std::fs::create_dir_all(&bundle)?;
    std::fs::write(bundle.join("rules.yaml"), BUNDLE)?;
    let up = Server::command(binary, &data, &bundle);
    // -D: the tracer stands aside, so the server is our own child and is killed as such.
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-y", "-ttt", "-s", "64", "-e", &format!("trace={CALLS}"), "-o"]);
    command.arg(&file).arg(up.get_program()).args(up.get_args());
    let mut server = Server::start(command)?;
    let mut client = Client::new(server.address());
    for number in 0..requests {
        let body = format!(
            "{{\"surface\":\"trace.read\",\"action\":\"get\",\"idempotency_key\":\"trace-{number}\"}}"
        );
        let answer = client.request("POST", "/api/v1/decisions", Some(&body))?;
        if answer.status != 200 {
            bail!("status {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
    }
    server.kill()?;
    let text = settled(&file)?;
    let count = judge(&calls(&text))?;
    if count as u64 != requests {
        bail!("{requests} requests were made, {count} are in the trace");
    }
    Ok(count)
}

/// The trace once its writer has said that the server is gone.
pub(crate) fn settled(file: &Path) -> Result<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let text = std::fs::read_to_string(file).context("no trace was written")?;
        let ended = text.lines().last().is_some_and(|line| line.contains("+++ "));
        if ended || Instant::now() > deadline {
            return Ok(text);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A system call: its name, all that was printed of it, and the lines on which it began and ended.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) text: String,
    begun: usize,
    ended: Option<usize>,
    result: Option<i64>,
}

/// The calls of a trace in the order in which they began. Halves of interrupted lines are joined.
pub(crate) fn calls(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: Vec<(&str, usize)> = Vec::new();
    for (number, line) in trace.lines().enumerate() {
        let mut words = line.splitn(2, char::is_whitespace);
        let (Some(thread), Some(rest)) = (words.next(), words.next()) else { continue };
        let Some((_, rest)) = rest.trim_start().split_once(' ') else { continue };
        if let Some(rest) = rest.strip_prefix("<... ") {
            let Some(at) = open.iter().position(|(other, _)| *other == thread) else { continue };
            let call = &mut calls[open.remove(at).1];
            call.text.push_str(rest.split_once("resumed>").map_or("", |(_, rest)| rest));
            call.ended = Some(number);
            call.result = result(rest);
            continue;
        }
        let Some((name, arguments)) = rest.split_once('(') else { continue };
        let unfinished = arguments.contains("<unfinished ...>");
        if unfinished {
            open.push((thread, calls.len()));
        }
        calls.push(Call {
            name: name.to_owned(),
            text: arguments.to_owned(),
            begun: number,
            ended: (!unfinished).then_some(number),
            result: if unfinished { None } else { result(rest) },
        });
    }
    calls
}

fn result(text: &str) -> Option<i64> {
    text.rsplit_once(") = ")?.1.split_whitespace().next()?.parse().ok()
}

/// Number of requests whose answer followed the flush of their batch.
///
/// # Errors
/// The first for which it did not.
fn judge(calls: &[Call]) -> Result<usize> {
    let of = |call: &Call, names: &[&str]| names.contains(&call.name.as_str());
    let reads = ["read", "readv", "recvfrom", "recvmsg"];
    let sends = ["write", "writev", "sendto", "sendmsg"];
    let requests = calls.iter().filter(|call| {
        of(call, &reads) && call.text.contains("\"POST /api/v1/decisions") && call.ended.is_some()
    });
    let mut count = 0;
    for request in requests {
        count += 1;
        let read = request.ended.unwrap_or(request.begun);
        let answer = calls.iter().find(|call| {
            call.begun > read && of(call, &sends) && call.text.contains("\"HTTP/1.1 200")
        });
        let Some(answer) = answer else { bail!("request {count} has no answer in the trace") };
        // Ended before another began: the order of the lines is the order of the events.
        let pages = calls.iter().filter(|call| {
            of(call, &["pwrite64", "pwritev", "write", "writev"])
                && call.text.contains(WAL)
                && call.begun > read
                && call.begun < answer.begun
                && call.result.is_some_and(|bytes| bytes >= PAGE_BYTES_MIN)
        });
        let written = pages.filter_map(|call| call.ended).next_back();
        let Some(written) = written else {
            bail!("request {count}: nothing was written to the journal after it was read");
        };
        let flushed = calls.iter().any(|call| {
            of(call, &["fsync", "fdatasync"])
                && call.text.contains(WAL)
                && call.begun > written
                && call.result == Some(0)
                && call.ended.is_some_and(|ended| ended < answer.begun)
        });
        if !flushed {
            bail!("request {count} was answered before its batch was flushed");
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::{calls, judge};

    const READ: &str = "11 1.0 recvfrom(9<socket:[1]>, \"POST /api/v1/decisions HTTP/1.1\\r\\n\"..., 8192, 0, NULL, NULL) = 210";
    const PAGE: &str = "12 1.1 pwrite64(7</d/journal.db-wal>, \"\\0\"..., 8192, 56) = 8192";
    const HEADER: &str = "12 1.1 pwrite64(7</d/journal.db-wal>, \"\\0\"..., 32, 0) = 32";
    const FLUSH: &str = "12 1.2 fdatasync(7</d/journal.db-wal>) = 0";
    const ANSWER: &str = "11 1.3 sendto(9<socket:[1]>, \"HTTP/1.1 200 OK\\r\\n\"..., 900, MSG_NOSIGNAL, NULL, 0) = 900";
    const BEGIN: &str = "12 1.2 fdatasync(7</d/journal.db-wal> <unfinished ...>";
    const END: &str = "12 1.4 <... fdatasync resumed>) = 0";

    #[track_caller]
    fn check(lines: &[&str], wanted: Result<usize, &str>) {
        let judged = judge(&calls(&lines.join("\n"))).map_err(|error| error.to_string());
        match (&judged, wanted) {
            (Ok(count), Ok(wanted)) => assert_eq!(*count, wanted),
            (Err(error), Err(wanted)) => assert!(error.contains(wanted), "{error}"),
            _ => panic!("{judged:?} for {wanted:?}"),
        }
    }

    #[test]
    fn the_flush_stands_between_request_and_answer() {
        check(&[READ, HEADER, PAGE, FLUSH, ANSWER, READ, PAGE, BEGIN, END, ANSWER], Ok(2));
        check(&[READ, PAGE, ANSWER, FLUSH], Err("before its batch"));
        check(&[READ, PAGE, BEGIN, ANSWER, END], Err("before its batch"));
        check(&[READ, FLUSH, PAGE, ANSWER], Err("before its batch"));
        check(&[READ, PAGE, FLUSH, PAGE, ANSWER], Err("before its batch"));
        check(&[READ, HEADER, FLUSH, ANSWER], Err("nothing was written"));
        check(&[PAGE, FLUSH, READ, ANSWER], Err("nothing was written"));
        check(&[READ, PAGE, &FLUSH.replace("= 0", "= -1 EIO"), ANSWER], Err("before its batch"));
        check(&[READ, PAGE, &FLUSH.replace("journal", "read"), ANSWER], Err("before its batch"));
        check(&[READ, PAGE, FLUSH], Err("no answer"));
        check(&[PAGE, FLUSH], Ok(0));
    }

    #[test]
    fn a_request_whose_line_was_interrupted_is_seen() {
        let begin = "11 1.0 recvfrom(9<socket:[1]>,  <unfinished ...>";
        let end = "11 1.0 <... recvfrom resumed>\"POST /api/v1/decisions HTTP/1.1\"..., 8192, 0, NULL, NULL) = 210";
        check(&[begin, "12 1.0 read(3, \"\", 1) = 0", end, PAGE, FLUSH, ANSWER], Ok(1));
        check(&[begin, PAGE, FLUSH, end, ANSWER], Err("nothing was written"));
    }
}
