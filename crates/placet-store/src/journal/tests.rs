//! What needs the inside of the handle: a full disk and a dead handle.

use super::*;

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
    for first in [0, 4, 8, 12] {
        journal.append(&[batch(no, first, 1 << 20)]).unwrap();
    }
    assert!(journal.pending < 3 << 20, "a passive checkpoint has run");
    assert!(size(&wal) < 4 << 20, "the WAL began anew: {}", size(&wal));
    for first in [16, 20, 24, 28] {
        journal.append(&[batch(no, first, 1 << 20)]).unwrap();
    }
    assert!(size(&wal) > 4 << 20);
    journal.idle();
    assert_eq!(size(&wal), 0);
}
