//! What needs the inside of the handle: a full disk and a dead handle.

use super::*;
use std::time::{Duration, Instant};

fn batch(workspace: WorkspaceNo, first_index: u64, bytes: usize) -> Batch {
    Batch {
        workspace,
        first_index,
        count: 4,
        epoch: 1,
        frames: vec![7; bytes],
        tree_state: vec![1; 40],
    }
}

#[test]
fn a_full_disk_is_unknown_ends_the_handle_and_leaves_a_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    SqliteJournal::create(&path).unwrap();
    let mut journal = SqliteJournal::open(path.clone(), None).unwrap();
    let no = journal.create_workspace(&WorkspaceName::parse("bank").unwrap()).unwrap();
    journal.append(&[batch(no, 0, 1000)]).unwrap();
    journal.conn.as_ref().unwrap().execute_batch("PRAGMA max_page_count=20").unwrap();
    journal.append(&[batch(no, 4, 1000)]).unwrap();

    let both = [batch(no, 8, 10), batch(no, 12, 1 << 20)];
    assert!(matches!(journal.append(&both), Err(AppendError::Unknown(_))));
    assert!(matches!(journal.append(&[batch(no, 8, 10)]), Err(AppendError::Unknown(_))));
    assert!(journal.put_bundle(&[1; 32], b"x").is_err());
    assert!(journal.create_workspace(&WorkspaceName::parse("shop").unwrap()).is_err());
    journal.idle();
    drop(journal);

    let mut journal = SqliteJournal::open(path.clone(), None).unwrap();
    let reader = SqliteJournalReader::open(path).unwrap();
    assert_eq!(reader.head(no).unwrap().next_index, 8);
    assert_eq!(reader.read(no, 0, usize::MAX).unwrap().len(), 2);
    journal.append(&[batch(no, 8, 10)]).unwrap();
    assert_eq!(reader.head(no).unwrap().next_index, 12);
}

/// Waits until the helper has copied what there was; it says so itself, the limit is for a hang.
fn helper_done(journal: &SqliteJournal) {
    let helper = journal.helper.as_ref().unwrap();
    let begun = Instant::now();
    while helper.progress() != Progress::Done {
        assert_ne!(helper.progress(), Progress::Idle, "nobody asked the helper");
        assert!(begun.elapsed() < Duration::from_secs(60), "the helper hangs");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn checkpoints_run_after_commits_and_when_idle() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let wal = dir.path().join("journal.db-wal");
    SqliteJournal::create(&path).unwrap();
    let mut journal = SqliteJournal::open(path, None).unwrap();
    let no = journal.create_workspace(&WorkspaceName::parse("bank").unwrap()).unwrap();
    let size = |path: &Path| std::fs::metadata(path).unwrap().len();
    journal.checkpoint_at = 3 << 20;
    for first in [0, 4, 8] {
        journal.append(&[batch(no, first, 1 << 20)]).unwrap();
    }
    helper_done(&journal);
    journal.append(&[batch(no, 12, 1 << 20)]).unwrap();
    assert_eq!(journal.pending, 0, "the writer has finished what the helper began");
    journal.append(&[batch(no, 16, 1 << 20)]).unwrap();
    let anew = size(&wal);
    assert!(anew < 4 << 20, "five appends of a MiB, and the WAL never held all of them: {anew}");

    // Without the helper, whose turn is not yet.
    journal.checkpoint_at = 16 << 20;
    for first in [20, 24, 28, 32] {
        journal.append(&[batch(no, first, 1 << 20)]).unwrap();
    }
    assert!(size(&wal) > 4 << 20);
    journal.idle();
    assert_eq!(size(&wal), 0);
}

#[test]
fn an_idle_writer_waits_for_the_helper_and_then_empties_the_wal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let wal = dir.path().join("journal.db-wal");
    SqliteJournal::create(&path).unwrap();
    let mut journal = SqliteJournal::open(path, None).unwrap();
    let no = journal.create_workspace(&WorkspaceName::parse("bank").unwrap()).unwrap();
    journal.checkpoint_at = 3 << 20;
    for first in [0, 4, 8, 12, 16] {
        journal.append(&[batch(no, first, 1 << 20)]).unwrap();
    }
    let begun = Instant::now();
    while std::fs::metadata(&wal).unwrap().len() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "idle never emptied the WAL");
        journal.idle();
    }
    assert_eq!(journal.pending, 0);
}
