//! The outbox over real files: nothing lost, nothing doubled, everything bounded.

use super::*;
use crate::{Create, DataDir};
use std::path::Path;

const W: WorkspaceNo = WorkspaceNo(0);

fn open(path: &Path) -> Outbox {
    DataDir::open_with_key(path, Create::Yes, None).unwrap().outbox().unwrap()
}

fn letter(index: u64, channel: &str) -> Letter {
    let approval = Some(ApprovalId::from_bytes([u8::try_from(index % 200).unwrap(); 16]));
    Letter { index, channel: channel.to_owned(), told: "approval.opened".to_owned(), approval }
}

#[test]
fn nothing_is_made_before_something_is_kept_and_everything_survives() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    let outbox = open(&path);
    assert_eq!(outbox.cursor(W).unwrap(), None);
    assert!(outbox.waiting().unwrap().is_empty());
    assert!(!outbox.replay(W, 1).unwrap());
    assert!(!path.join("outbox.db").exists());
    outbox.follow(W, 5, &[letter(3, "a"), letter(3, "b")], TimeMs(9)).unwrap();
    // Looked at again after a crash of the machine: nothing doubles.
    outbox.follow(W, 6, &[letter(3, "a"), letter(5, "a")], TimeMs(10)).unwrap();
    drop(outbox);
    let outbox = open(&path);
    assert_eq!(outbox.lost(), None);
    assert_eq!(outbox.cursor(W).unwrap(), Some(6));
    assert_eq!(outbox.list(W, false, 0, 10).unwrap().len(), 3);
    assert!(outbox.list(WorkspaceNo(1), false, 0, 10).unwrap().is_empty());
    let waiting = outbox.waiting().unwrap();
    assert_eq!(waiting[0].pending, 2);
    assert_eq!(waiting[0].oldest, Some(TimeMs(9)));
    assert_eq!(outbox.showing(W, ApprovalId::from_bytes([3; 16])).unwrap(), ["a", "b"]);
}

#[test]
fn the_oldest_goes_first_until_it_has_failed_too_often() {
    let home = tempfile::tempdir().unwrap();
    let outbox = open(&home.path().join("data"));
    outbox.follow(W, 9, &[letter(1, "a"), letter(2, "a")], TimeMs(0)).unwrap();
    let next = |others, now| outbox.head(W, "a", 2, others, TimeMs(now)).unwrap();
    let head = |now| next(false, now).map(|it| it.letter.index);
    assert_eq!(next(true, 0).unwrap().letter.index, 1, "it has not failed often");
    assert_eq!(head(0), Some(1));
    outbox.failed_attempt(1, Some(TimeMs(10)), "503").unwrap();
    assert_eq!(head(9), None, "the second waits for the first");
    assert_eq!(head(10), Some(1));
    outbox.failed_attempt(1, Some(TimeMs(30)), "503").unwrap();
    assert_eq!(head(10), Some(2), "now the first waits alone");
    assert_eq!(head(30), Some(1), "and is tried when it is due");
    assert_eq!(next(true, 30).unwrap().letter.index, 2, "or another one in its place");
    // What came of the first's approval later is not told before it.
    outbox.follow(W, 10, &[Letter { index: 9, ..letter(1, "a") }], TimeMs(0)).unwrap();
    assert_eq!(next(true, 30).unwrap().letter.index, 2);
    let last = outbox.list(W, false, 2, 1).unwrap()[0].id;
    outbox.done(last).unwrap();
    outbox.done(2).unwrap();
    assert_eq!(head(29), None);
    assert_eq!(outbox.due(W, "a", 2).unwrap(), Some(TimeMs(30)));
    // What is about its approval waits for it, and is no reason to look before; what is not is.
    outbox.follow(W, 12, &[Letter { index: 11, ..letter(1, "a") }], TimeMs(0)).unwrap();
    assert_eq!(head(29), None);
    assert_eq!(outbox.due(W, "a", 2).unwrap(), Some(TimeMs(30)));
    assert_eq!(
        outbox.due(W, "a", 3).unwrap(),
        Some(TimeMs(30)),
        "nobody passes it before its third"
    );
    outbox.follow(W, 14, &[letter(13, "a")], TimeMs(0)).unwrap();
    assert_eq!(outbox.due(W, "a", 2).unwrap(), Some(TimeMs(0)));
    assert_eq!(outbox.due(W, "a", 3).unwrap(), Some(TimeMs(30)));
    assert_eq!(outbox.due(W, "b", 2).unwrap(), None);
    for later in outbox.list(W, false, 1, 10).unwrap() {
        outbox.done(later.id).unwrap();
    }
    outbox.failed_attempt(1, None, &"é".repeat(400)).unwrap();
    assert_eq!(head(99), None);
    let dead = outbox.list(W, true, 0, 10).unwrap();
    assert_eq!((dead[0].attempts, dead[0].dead), (3, true));
    assert!(dead[0].error.as_ref().unwrap().len() <= 300);
    assert!(!outbox.replay(WorkspaceNo(1), 1).unwrap(), "it belongs to another workspace");
    assert!(outbox.replay(W, 1).unwrap());
    assert_eq!(head(0), Some(1));
}

#[test]
fn messages_calls_and_polls_are_remembered() {
    let home = tempfile::tempdir().unwrap();
    let outbox = open(&home.path().join("data"));
    let approval = ApprovalId::from_bytes([1; 16]);
    let message = Message { place: "17".to_owned(), shown: [3; 32] };
    outbox.keep_message(W, "a", approval, Some(&message)).unwrap();
    assert_eq!(outbox.message(W, "a", approval).unwrap(), Some(message));
    assert_eq!(outbox.message(W, "b", approval).unwrap(), None);
    assert_eq!(outbox.showing(W, approval).unwrap(), ["a"]);
    outbox.keep_message(W, "a", approval, None).unwrap();
    assert_eq!(outbox.message(W, "a", approval).unwrap(), None);
    assert!(outbox.take(W, "a", b"1", TimeMs(5), TimeMs(0)).unwrap());
    assert!(!outbox.take(W, "a", b"1", TimeMs(6), TimeMs(0)).unwrap());
    assert!(outbox.take(W, "b", b"1", TimeMs(6), TimeMs(0)).unwrap());
    assert!(outbox.is_taken(W, "a", b"1").unwrap());
    assert!(outbox.take(W, "a", b"2", TimeMs(9), TimeMs(6)).unwrap());
    assert!(!outbox.is_taken(W, "a", b"1").unwrap(), "it is older than what is remembered");
    assert_eq!(outbox.polled(W, "a").unwrap(), None);
    outbox.set_polled(W, "a", 8).unwrap();
    assert_eq!(outbox.polled(W, "a").unwrap(), Some(8));
    outbox.forget_polled(W, "a").unwrap();
    assert_eq!(outbox.polled(W, "a").unwrap(), None);
    outbox.forget(W).unwrap();
    assert_eq!(outbox.cursor(W).unwrap(), None);
}

#[test]
fn a_file_that_is_damaged_is_thrown_away() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    open(&path).follow(W, 5, &[letter(3, "a")], TimeMs(9)).unwrap();
    std::fs::remove_file(path.join("outbox.db-wal")).unwrap();
    std::fs::write(path.join("outbox.db"), b"no database at all").unwrap();
    let outbox = open(&path);
    assert!(outbox.lost().is_some());
    assert_eq!(outbox.cursor(W).unwrap(), None);
    outbox.follow(W, 6, &[letter(5, "a")], TimeMs(9)).unwrap();
    assert_eq!(outbox.list(W, false, 0, 10).unwrap().len(), 1);
}

#[test]
fn dead_letters_are_bounded() {
    let home = tempfile::tempdir().unwrap();
    let outbox = open(&home.path().join("data"));
    let letters: Vec<Letter> = (0..DEAD_MAX + 3).map(|index| letter(index, "a")).collect();
    outbox.follow(W, 1 << 20, &letters, TimeMs(0)).unwrap();
    outbox.write(|write| write.execute("UPDATE delivery SET dead = 1 WHERE id > 1", [])).unwrap();
    outbox.failed_attempt(1, None, "410").unwrap();
    assert_eq!(outbox.waiting().unwrap()[0].dead, DEAD_MAX);
    assert!(!outbox.is_full(W).unwrap());
}
