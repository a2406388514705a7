//! The data directory and its stores from outside: what is refused and with which code, what a
//! crash may leave, and that workspaces do not see each other.

use placet_runtime::ports::{
    AppendError, Batch, Head, Journal, JournalReader, SlotReader, Slots, WorkspaceNo,
};
use placet_store::{Create, DataDir, HighWater, MasterKey, OpenError, kill};
use placet_types::ids::WorkspaceName;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

struct Place {
    _temp: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("state/data");
        Self { _temp: temp, path }
    }

    fn open(&self, create: Create) -> Result<DataDir, OpenError> {
        DataDir::open_with_key(&self.path, create, None)
    }

    fn create(&self) -> DataDir {
        self.open(Create::Yes).unwrap()
    }

    fn read_only(&self) -> DataDir {
        DataDir::open_read_only_with_key(&self.path, None).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.path).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn alter(&self, name: &str, sql: &str) {
        let conn = rusqlite::Connection::open(self.file(name)).unwrap();
        conn.execute_batch(sql).unwrap();
    }

    fn blob(&self, name: &str, sql: &str) -> Vec<u8> {
        let conn = rusqlite::Connection::open(self.file(name)).unwrap();
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

#[track_caller]
fn refused<T>(result: Result<T, OpenError>, code: &str, text: &str) {
    let Err(error) = result else { panic!("not refused, {code} was expected") };
    let line = error.to_string();
    assert_eq!(error.code(), code, "{line}");
    assert!(line.contains(text), "{line:?} does not contain {text:?}");
    assert!(!line.contains('\n') && !line.ends_with('.'), "{line:?}");
}

fn name(text: &str) -> WorkspaceName {
    WorkspaceName::parse(text).unwrap()
}

fn key(pair: &str) -> MasterKey {
    MasterKey::parse(&pair.repeat(32), "test").unwrap()
}

fn batch(workspace: WorkspaceNo, first_index: u64, count: u32, epoch: u64) -> Batch {
    let text = format!("{}:{first_index}", workspace.0);
    Batch {
        workspace,
        first_index,
        count,
        epoch,
        frames: text.clone().into_bytes().repeat(100),
        tree_state: text.into_bytes(),
    }
}

#[test]
fn a_new_directory_has_its_files_and_modes() {
    let place = Place::new();
    let dir = place.create();
    drop((dir.journal().unwrap(), dir.slots().unwrap(), dir.identity().unwrap()));
    drop((dir.read_model_writer().unwrap(), dir.high_water().unwrap()));
    let files = ["FORMAT", "LOCK", "highwater", "identity.db", "journal.db", "keys.db"];
    let names = place.names();
    for wanted in files.into_iter().chain(["master.key", "read.db"]) {
        assert!(names.iter().any(|have| have == wanted), "{wanted} of {names:?}");
    }
    for have in &names {
        let mode = fs::metadata(place.file(have)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{have}");
    }
    assert_eq!(fs::metadata(&place.path).unwrap().permissions().mode() & 0o777, 0o700);
    let format = fs::read_to_string(place.file("FORMAT")).unwrap();
    assert_eq!(format, r#"{"format":1,"written_by":"placet 0.1.0"}"#);
    assert_eq!(fs::read_to_string(place.file("highwater")).unwrap(), r#"{"sizes":{},"v":1}"#);
    let key = fs::read_to_string(place.file("master.key")).unwrap();
    assert!(key.trim_end().len() == 64 && key.trim_end().bytes().all(|b| b.is_ascii_hexdigit()));
}

#[test]
fn one_process_writes_and_others_may_read() {
    let place = Place::new();
    let dir = place.create();
    let mut journal = dir.journal().unwrap();
    refused(place.open(Create::Yes), "data_dir_in_use", &std::process::id().to_string());
    let beside = place.read_only();
    let no = journal.create_workspace(&name("bank")).unwrap();
    journal.append(&[batch(no, 0, 3, 1)]).unwrap();
    assert_eq!(beside.journal_reader().unwrap().head(no).unwrap().next_index, 3);
    refused(beside.journal().map(drop), "data_dir_read_only", "reading only");
    refused(beside.slots().map(drop), "data_dir_read_only", "reading only");
    refused(beside.read_model_writer().map(drop), "data_dir_read_only", "reading only");
    drop(dir);
    refused(place.open(Create::Yes), "data_dir_in_use", "stop it first");
    // Whoever takes the file for a remainder and deletes it starts no second writer.
    fs::remove_file(place.file("LOCK")).unwrap();
    refused(place.open(Create::Yes), "data_dir_in_use", "stop it first");
    drop(journal);
    place.open(Create::No).unwrap();
}

#[test]
fn what_is_not_ours_or_newer_or_damaged_is_refused_untouched() {
    let place = Place::new();
    refused(place.open(Create::No), "data_dir_missing", "placet up");
    refused(
        DataDir::open_read_only_with_key(&place.path, None),
        "data_dir_missing",
        "no data directory",
    );
    assert!(!place.path.exists());

    fs::create_dir_all(&place.path).unwrap();
    fs::write(place.file("notes.txt"), "mine").unwrap();
    refused(place.open(Create::Yes), "data_dir_foreign", "no FORMAT");
    assert_eq!(place.names(), ["notes.txt"]);
    fs::remove_file(place.file("notes.txt")).unwrap();
    fs::create_dir(place.file("lost+found")).unwrap();

    drop(place.create());
    let good = fs::read(place.file("FORMAT")).unwrap();
    fs::write(place.file("FORMAT"), r#"{"format":2,"written_by":"placet 9","more":[]}"#).unwrap();
    refused(place.open(Create::Yes), "data_dir_newer_format", "format 2");
    for bad in ["", "{}", "{\"format\":1", r#"{"format":"1","written_by":"x"}"#, r#"{"format":1}"#]
    {
        fs::write(place.file("FORMAT"), bad).unwrap();
        refused(place.open(Create::Yes), "data_dir_damaged", "FORMAT is damaged");
    }
    fs::remove_file(place.file("FORMAT")).unwrap();
    refused(place.open(Create::Yes), "data_dir_foreign", "restore FORMAT");
    fs::write(place.file("FORMAT"), good).unwrap();
    place.open(Create::No).unwrap();
}

#[test]
fn an_interrupted_first_start_is_repeated() {
    let order = ["LOCK", "FORMAT.new", "master.key", "identity.db", "keys.db", "journal.db"];
    for made in 0..=order.len() {
        let place = Place::new();
        let dir = place.create();
        let before = dir.identity().unwrap().instance().to_owned();
        drop(dir);
        fs::rename(place.file("FORMAT"), place.file("FORMAT.new")).unwrap();
        for name in place.names() {
            if !order.iter().take(made).any(|kept| *kept == name) {
                fs::remove_file(place.file(&name)).unwrap();
            }
        }
        if made == order.len() {
            // The last one was cut off in the middle.
            fs::write(place.file("journal.db"), b"SQLite format 3").unwrap();
        }
        refused(place.open(Create::No), "data_dir_missing", "placet up");
        let dir = place.create();
        assert_ne!(dir.identity().unwrap().instance(), before);
        let mut journal = dir.journal().unwrap();
        let no = journal.create_workspace(&name("bank")).unwrap();
        journal.append(&[batch(no, 0, 1, 1)]).unwrap();
        assert!(!place.file("FORMAT.new").exists());
    }
}

#[test]
fn a_missing_or_damaged_part_is_never_made_anew() {
    for part in ["journal.db", "keys.db", "identity.db"] {
        let place = Place::new();
        drop(place.create());
        let all = |place: &Place| {
            let dir = place.open(Create::Yes)?;
            dir.journal()?;
            dir.journal_reader()?;
            dir.slots()?;
            dir.slot_reader()?;
            dir.identity().map(drop)
        };
        all(&place).unwrap();
        let bytes = fs::read(place.file(part)).unwrap();
        let put = |bytes: &[u8]| {
            for suffix in ["-wal", "-shm"] {
                let _ = fs::remove_file(place.file(&format!("{part}{suffix}")));
            }
            fs::write(place.file(part), bytes).unwrap();
        };
        fs::remove_file(place.file(part)).unwrap();
        refused(all(&place), "data_dir_damaged", "is missing");
        assert!(!place.file(part).exists());
        put(b"");
        refused(all(&place), "data_dir_damaged", part);
        put(&bytes[..bytes.len() / 2]);
        refused(all(&place), "data_dir_damaged", part);
        let mut flipped = bytes.clone();
        flipped[..16].fill(b'x');
        put(&flipped);
        refused(all(&place), "data_dir_damaged", part);
        let mut flipped = bytes.clone();
        flipped[100..].fill(0xff);
        put(&flipped);
        refused(all(&place), "data_dir_damaged", part);
        put(&bytes);
        place.alter(part, "PRAGMA user_version=7");
        refused(all(&place), "data_dir_newer_format", "format 7");
        put(&bytes);
        all(&place).unwrap();
    }
}

#[test]
fn master_keys_are_checked_before_anything_is_wrapped() {
    let place = Place::new();
    drop(place.create());
    let file = place.file("master.key");
    let good = fs::read(&file).unwrap();
    let open = || place.open(Create::Yes);
    refused(
        DataDir::open_with_key(&place.path, Create::No, Some(key("ab"))),
        "master_key_wrong",
        "created with",
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    refused(open(), "master_key_exposed", "chmod 600");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    refused(open(), "master_key_exposed", "0604");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    open().unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    for bad in [&good[..60], b"", b"\xff\xfe", &[b'g'; 64]] {
        fs::write(&file, bad).unwrap();
        refused(open(), "master_key_malformed", "64 hex digits");
    }
    fs::remove_file(&file).unwrap();
    refused(open(), "master_key_missing", "PLACET_MASTER_KEY");
    // What only reads the log needs no key.
    let beside = place.read_only();
    beside.journal_reader().unwrap();
    refused(beside.slot_reader().map(drop), "master_key_missing", "master.key");
    let text = String::from_utf8(good).unwrap();
    let given = MasterKey::parse(&text.to_uppercase(), "test").unwrap();
    DataDir::open_with_key(&place.path, Create::No, Some(given)).unwrap();

    let other = Place::new();
    drop(DataDir::open_with_key(&other.path, Create::Yes, Some(key("ab"))).unwrap());
    assert!(!other.file("master.key").exists(), "a key from elsewhere is not written down");
    refused(other.open(Create::No), "master_key_missing", "restore");
}

#[test]
fn an_identity_stays_and_its_rows_cannot_be_altered_or_exchanged() {
    let place = Place::new();
    let dir = place.create();
    let identity = dir.identity().unwrap();
    let (id, seed) = (identity.instance().to_owned(), identity.signing_seeds().unwrap());
    assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    let bank = identity.workspace_key(&name("bank")).unwrap().unwrap();
    let shop = identity.workspace_key(&name("shop")).unwrap().unwrap();
    assert!(bank != shop && !seed.contains(&bank));
    let beside = place.read_only().identity().unwrap();
    assert_eq!(beside.workspace_key(&name("bank")).unwrap(), Some(bank.clone()));
    assert_eq!(beside.workspace_key(&name("none")).unwrap(), None);
    drop((identity, dir, beside));

    let dir = place.open(Create::No).unwrap();
    let identity = dir.identity().unwrap();
    assert_eq!((identity.instance(), identity.signing_seeds().unwrap()), (id.as_str(), seed));
    assert_eq!(identity.workspace_key(&name("bank")).unwrap(), Some(bank));
    drop((identity, dir));

    let of = |name: &str| format!("(SELECT wrapped FROM secret WHERE name='workspace/{name}')");
    place.alter(
        "identity.db",
        &format!("UPDATE secret SET wrapped={} WHERE name='workspace/bank'", of("shop")),
    );
    let dir = place.open(Create::No).unwrap();
    assert!(dir.identity().unwrap().workspace_key(&name("bank")).is_err());
    assert!(dir.identity().unwrap().workspace_key(&name("shop")).unwrap().is_some());
    drop(dir);
    place.alter("identity.db", "UPDATE secret SET wrapped=zeroblob(48) WHERE name='signing'");
    refused(place.open(Create::No), "data_dir_damaged", "wrapped key");
    place.alter("identity.db", "DELETE FROM secret WHERE name='signing'");
    refused(place.open(Create::No), "data_dir_damaged", "wrapped key");
}

#[test]
fn signing_seeds_come_and_go_and_what_goes_leaves_no_trace() {
    let place = Place::new();
    let identity = place.create().identity().unwrap();
    let [first] = &identity.signing_seeds().unwrap()[..] else { panic!("one seed") };
    let first = first.clone();
    let second = identity.add_signing_seed().unwrap();
    let third = identity.add_signing_seed().unwrap();
    let all = vec![first, second.clone(), third.clone()];
    assert_eq!(identity.signing_seeds().unwrap(), all);
    drop(identity);
    let dir = place.open(Create::No).unwrap();
    let identity = dir.identity().unwrap();
    assert_eq!(identity.signing_seeds().unwrap(), all);
    let wrapped = place.blob("identity.db", "SELECT wrapped FROM secret WHERE name='signing'");
    identity.keep_signing_seeds(|_| false).unwrap();
    assert_eq!(identity.signing_seeds().unwrap(), all, "without any that stays, none goes");
    identity.keep_signing_seeds(|seed| *seed == second || *seed == third).unwrap();
    assert_eq!(identity.signing_seeds().unwrap(), [second.clone(), third.clone()]);
    for file in ["identity.db", "identity.db-wal"] {
        let bytes = std::fs::read(place.file(file)).unwrap_or_default();
        assert!(!bytes.windows(wrapped.len()).any(|window| window == wrapped), "{file}");
    }
    let fourth = identity.add_signing_seed().unwrap();
    identity.keep_signing_seeds(|seed| *seed == fourth).unwrap();
    assert_eq!(identity.signing_seeds().unwrap(), std::slice::from_ref(&fourth));
    let beside = place.read_only().identity().unwrap();
    assert_eq!(beside.signing_seeds().unwrap(), [fourth]);
    assert!(beside.add_signing_seed().is_err() && beside.keep_signing_seeds(|_| true).is_err());
    drop((identity, dir, beside));
    place.alter("identity.db", "DELETE FROM secret WHERE name LIKE 'signing%'");
    refused(place.open(Create::No), "data_dir_damaged", "wrapped key");
}

#[test]
fn slots_survive_reopening_and_read_beside_the_server() {
    let place = Place::new();
    let dir = place.create();
    let secrets: Vec<_> = (0..100_u8).map(|n| zeroize::Zeroizing::new([n; 32])).collect();
    assert_eq!(dir.slots().unwrap().create(&secrets).unwrap(), 0);
    assert_eq!(dir.slots().unwrap().create(&secrets[..7]).unwrap(), 100);
    let reader = place.read_only().slot_reader().unwrap();
    assert_eq!(*reader.secret(99).unwrap().unwrap(), [99; 32]);
    assert_eq!(*reader.secret(106).unwrap().unwrap(), [6; 32]);
    assert!(reader.secret(107).is_err());
    dir.slots().unwrap().erase(WorkspaceNo(0), 1, &[106]).unwrap();
    assert_eq!(reader.secret(106).unwrap(), None);
    place.alter("keys.db", "UPDATE block SET wrapped=randomblob(length(wrapped)) WHERE first=0");
    assert!(reader.secret(0).is_err(), "altered bytes are an error, not a secret");
}

#[test]
fn the_log_appends_by_compare_and_set() {
    let place = Place::new();
    let dir = place.create();
    let mut journal = dir.journal().unwrap();
    let reader = dir.journal_reader().unwrap();
    let bank = journal.create_workspace(&name("bank")).unwrap();
    let shop = journal.create_workspace(&name("shop")).unwrap();
    assert_eq!(journal.create_workspace(&name("bank")).unwrap(), bank);
    assert_eq!(reader.workspaces().unwrap(), [(bank, name("bank")), (shop, name("shop"))]);
    assert_eq!(reader.head(bank).unwrap(), Head::default());
    assert_eq!(reader.read(bank, 0, 1).unwrap(), []);

    let first = [batch(bank, 0, 5, 1), batch(shop, 0, 2, 3), batch(bank, 5, 1, 1)];
    journal.append(&first).unwrap();
    journal.append(&[]).unwrap();
    let head = |no| {
        let head = reader.head(no).unwrap();
        (head.next_index, head.epoch, String::from_utf8(head.tree_state).unwrap())
    };
    assert_eq!(head(bank), (6, 1, "0:5".into()));
    assert_eq!(head(shop), (2, 3, "1:0".into()));

    // All of an append or nothing of it.
    for (second, fenced) in [
        (batch(shop, 1, 1, 3), false),
        (batch(shop, 3, 1, 3), false),
        (batch(shop, 0, 2, 3), false),
        (batch(shop, 2, 1, 2), true),
    ] {
        match journal.append(&[batch(bank, 6, 1, 1), second]) {
            Err(AppendError::Fenced) => assert!(fenced),
            Err(AppendError::Conflict) => assert!(!fenced),
            other => panic!("{other:?}"),
        }
        assert_eq!(head(bank).0, 6);
    }
    journal.append(&[batch(bank, 6, 4, 2), batch(shop, 2, 1, 3)]).unwrap();
    assert!(matches!(journal.append(&[batch(bank, 10, 1, 1)]), Err(AppendError::Fenced)));

    let firsts = |no, index, bytes| {
        let batches = reader.read(no, index, bytes).unwrap();
        batches.iter().map(|batch| batch.first_index).collect::<Vec<_>>()
    };
    assert_eq!(firsts(bank, 0, usize::MAX), [0, 5, 6]);
    assert_eq!(firsts(bank, 4, 0), [0]);
    assert_eq!(firsts(bank, 5, 301), [5, 6]);
    assert_eq!(firsts(bank, 9, 1), [6]);
    assert_eq!(firsts(bank, 10, 1), [0; 0]);
    assert_eq!(firsts(shop, 0, usize::MAX), [0, 2]);
    assert_eq!(firsts(WorkspaceNo(7), 0, 1), [0; 0]);
    assert_eq!(firsts(bank, u64::MAX, 1), [0; 0]);
    assert_eq!(reader.read(bank, 0, 1).unwrap(), [batch(bank, 0, 5, 1)]);

    journal.put_bundle(&[9; 32], b"bundle").unwrap();
    journal.put_bundle(&[9; 32], b"bundle").unwrap();
    assert_eq!(reader.bundle(&[9; 32]).unwrap().unwrap(), b"bundle");
    assert_eq!(reader.bundle(&[8; 32]).unwrap(), None);

    drop(journal);
    let mut journal = dir.journal().unwrap();
    assert_eq!(head(bank), (10, 2, "0:6".into()));
    journal.append(&[batch(bank, 10, 1, 2)]).unwrap();
    assert!(matches!(journal.append(&[batch(bank, 11, 0, 2)]), Err(AppendError::Unknown(_))));
    assert!(matches!(journal.append(&[batch(bank, 11, 1, 2)]), Err(AppendError::Unknown(_))));
    drop(journal);
    place.alter("journal.db", "DELETE FROM batch WHERE id=5");
    assert!(reader.read(bank, 0, usize::MAX).is_err(), "a hole is an error");
    assert!(reader.read(bank, 5, usize::MAX).is_err());
}

#[test]
fn a_journal_with_damaged_pages_gives_errors_not_entries() {
    let place = Place::new();
    let dir = place.create();
    let mut journal = dir.journal().unwrap();
    let no = journal.create_workspace(&name("bank")).unwrap();
    for first in 0..200 {
        journal.append(&[batch(no, first, 1, 1)]).unwrap();
    }
    drop((journal, dir));
    let file = place.file("journal.db");
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.len() > 10 * 8192);
    fs::write(&file, &bytes[..bytes.len() - 3 * 8192]).unwrap();
    refused(place.open(Create::No).unwrap().journal().map(drop), "data_dir_damaged", "journal.db");
    let mut holed = bytes.clone();
    holed[4 * 8192..bytes.len() - 8192].fill(0);
    fs::write(&file, holed).unwrap();
    let dir = place.open(Create::No).unwrap();
    if let Ok(reader) = dir.journal_reader() {
        assert!(reader.read(no, 0, usize::MAX).is_err());
    }
}

fn sizes(bank: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([("bank".into(), bank)])
}

#[test]
fn a_store_behind_its_high_water_mark_is_refused() {
    let place = Place::new();
    let dir = place.create();
    let mut journal = dir.journal().unwrap();
    let no = journal.create_workspace(&name("bank")).unwrap();
    journal.append(&[batch(no, 0, 5, 1)]).unwrap();
    let mut marks = dir.high_water().unwrap();
    marks.raise(&sizes(5)).unwrap();
    marks.raise(&sizes(3)).unwrap();
    assert_eq!(dir.high_water().unwrap().sizes(), &sizes(5));
    marks.check("bank", 5).unwrap();
    refused(marks.check("bank", 4), "store_behind_high_water", "has 4 entries but 5 were signed");
    marks.check("shop", 0).unwrap();
    marks.raise(&sizes(6)).unwrap();
    refused(dir.high_water(), "store_behind_high_water", "5 entries but 6");
    // A log that is gone altogether.
    fs::write(place.file("highwater"), r#"{"v":1,"sizes":{"bank":5,"shop":1}}"#).unwrap();
    refused(dir.high_water(), "store_behind_high_water", "shop has 0 entries but 1");

    for bad in ["", "{}", r#"{"v":2,"sizes":{}}"#, r#"{"v":1,"sizes":{"bank":-1}}"#] {
        fs::write(place.file("highwater"), bad).unwrap();
        refused(dir.high_water(), "data_dir_damaged", "highwater is damaged");
    }
    fs::remove_file(place.file("highwater")).unwrap();
    refused(dir.high_water(), "data_dir_damaged", "highwater is missing");

    let empty = Place::new();
    let dir = empty.create();
    fs::remove_file(empty.file("highwater")).unwrap();
    assert!(dir.high_water().unwrap().sizes().is_empty());
    assert!(HighWater::load(&empty.path).unwrap().is_none());
}

#[test]
fn whatever_hides_the_kill_file_counts_as_killed() {
    let place = Place::new();
    let dir = place.create();
    let file = place.file("KILL");
    assert!(!dir.kill_requested());
    fs::write(&file, "").unwrap();
    assert!(dir.kill_requested());
    fs::remove_file(&file).unwrap();
    symlink("/nowhere", &file).unwrap();
    assert!(dir.kill_requested(), "a dangling link is a file KILL, too");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(dir.kill_requested());
    fs::remove_dir(&file).unwrap();
    assert!(!dir.kill_requested());
    assert!(kill::kill_requested(&place.path.join("gone")), "no directory");
    assert!(kill::kill_requested(&place.file("FORMAT")), "no directory but a file");

    assert_eq!(dir.read_armed().unwrap(), None);
    let [one, two, three] =
        ["one", "two", "three"].map(|text| format!("{}}}", text.repeat(50)).into_bytes());
    dir.write_armed(&one).unwrap();
    dir.write_armed(&two).unwrap();
    assert_eq!(dir.read_armed().unwrap().unwrap(), two);
    assert_eq!(fs::metadata(place.file("armed")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(dir.read_disarmed().unwrap(), None);
    dir.disarm().unwrap();
    assert_eq!(dir.read_armed().unwrap(), None);
    let cut = &two[..two.len() - kill::CUT_BYTES];
    assert_eq!(dir.read_disarmed().unwrap().unwrap(), cut);
    dir.disarm().unwrap();
    assert_eq!(dir.read_disarmed().unwrap().unwrap(), cut, "there was nothing to set aside");
    dir.write_armed(&two).unwrap();
    assert_eq!(dir.read_disarmed().unwrap(), None, "the same words, and another file");
    kill::write_disarmed(&place.path, &one).unwrap();
    assert_eq!(dir.read_disarmed().unwrap().unwrap(), one[..one.len() - kill::CUT_BYTES]);
    dir.write_armed(&three).unwrap();
    assert_eq!(dir.read_disarmed().unwrap(), None, "another one is armed");
    // Where it cannot be renamed, it goes all the same, and the next one can be written.
    fs::create_dir(place.file("disarmed")).unwrap();
    dir.disarm().unwrap();
    assert_eq!(dir.read_armed().unwrap(), None);
    dir.write_armed(&one).unwrap();
    assert_eq!(dir.read_armed().unwrap().unwrap(), one);
}

/// What the test below runs under strace.
#[test]
#[ignore = "run by each_append_is_flushed_before_it_returns"]
fn child_appends() {
    use std::io::Write;
    let mark = |text: &str| std::io::stderr().write_all(text.as_bytes()).unwrap();
    let place = Place::new();
    let mut journal = place.create().journal().unwrap();
    let no = journal.create_workspace(&name("bank")).unwrap();
    for first in 0..20 {
        mark("MARK begin\n");
        journal.append(&[batch(no, first, 1, 1)]).unwrap();
        mark("MARK end\n");
    }
}

#[test]
fn each_append_is_flushed_before_it_returns() {
    let strace = |out: &Path, command: &[&str]| {
        let mut strace = std::process::Command::new("strace");
        strace.args(["-f", "-y", "-e", "trace=fdatasync,fsync,write", "-o"]).arg(out);
        strace.args(command).output().is_ok_and(|output| output.status.success())
    };
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("trace");
    if !strace(&out, &["true"]) {
        eprintln!("skipped: strace is missing or may not trace here");
        return;
    }
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    assert!(strace(&out, &[own, "--ignored", "--exact", "child_appends"]));
    let trace = fs::read_to_string(&out).unwrap();
    let (mut appends, mut flushes) = (0, None);
    for line in trace.lines() {
        let flush = line.contains("fdatasync(") || line.contains("fsync(");
        if line.contains("MARK begin") {
            flushes = Some(0);
        } else if flush && line.contains("journal.db-wal") {
            flushes = flushes.map(|count| count + 1);
        } else if line.contains("MARK end") {
            assert!(flushes.take().unwrap() >= 1, "an append without a flush:\n{trace}");
            appends += 1;
        }
    }
    assert_eq!(appends, 20);
}
