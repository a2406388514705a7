//! What needs the wrapped bytes: that erasing leaves them nowhere.

use super::*;

const NO: WorkspaceNo = WorkspaceNo(0);

fn contains(dir: &Path, wanted: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(wanted.len()).any(|window| window == wanted)
    })
}

#[test]
fn erased_slots_are_nowhere_and_their_neighbours_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let master = MasterKey::parse(&"ab".repeat(32), "test").unwrap();
    SqliteSlots::create_file(&path).unwrap();
    let mut slots = SqliteSlots::open(path.clone(), &master, None).unwrap();
    let reader = SqliteSlotReader::open(path.clone(), &master).unwrap();
    let secrets: Vec<Secret> = (0..1000).map(|_| SystemEntropy.secret()).collect();
    assert_eq!(slots.create(&secrets[..400]).unwrap(), 0);
    assert_eq!(slots.create(&secrets[400..]).unwrap(), 400);
    assert!(slots.create(&[]).is_err());

    let wrapped = |slot: usize| {
        let mut wrapped = secrets[slot].to_vec();
        crypto::seal(&master.derive(LABEL), nonce(slot as u64), CONTEXT, &mut wrapped);
        wrapped
    };
    // Slots that do not cross a page, so that they can be looked for as one string of bytes.
    let erased = [10, 399, 400, 401, 777];
    for slot in erased {
        assert!(contains(dir.path(), &wrapped(slot)), "slot {slot} is not found before");
    }
    assert!(slots.erase(NO, 7, &[10, 1000]).is_err(), "one of them never existed");
    assert_eq!(reader.secret(10).unwrap(), Some(secrets[10].clone()));

    assert_eq!(slots.erased_upto(NO).unwrap(), None, "none of it was done");
    slots.erase(NO, 7, &erased.map(|slot| slot as u64)).unwrap();
    slots.erase(NO, 3, &[]).unwrap();
    assert_eq!(slots.erased_upto(NO).unwrap(), Some(7), "it never goes back");
    assert_eq!(slots.erased_upto(WorkspaceNo(1)).unwrap(), None);
    for (slot, secret) in secrets.iter().enumerate() {
        let kept = (!erased.contains(&slot)).then(|| secret.clone());
        assert_eq!(reader.secret(slot as u64).unwrap(), kept, "slot {slot}");
    }
    for slot in erased {
        assert!(!contains(dir.path(), &wrapped(slot)), "slot {slot} is still found");
    }
    assert!(contains(dir.path(), &wrapped(11)));
    assert!(reader.secret(1000).is_err());
    assert!(reader.secret(u64::MAX).is_err());

    drop(slots);
    let mut slots = SqliteSlots::open(path.clone(), &master, None).unwrap();
    assert_eq!(slots.create(&secrets[..1]).unwrap(), 1000, "erased numbers are not given again");
    let other = MasterKey::parse(&"cd".repeat(32), "test").unwrap();
    assert!(SqliteSlotReader::open(path, &other).unwrap().secret(0).is_err());
}

#[test]
fn restored_keys_give_out_no_number_twice_and_forget_how_far_erasing_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.db");
    let master = MasterKey::parse(&"ab".repeat(32), "test").unwrap();
    SqliteSlots::create_file(&path).unwrap();
    let secrets: Vec<Secret> = (0..10).map(|_| SystemEntropy.secret()).collect();
    let mut slots = SqliteSlots::open(path.clone(), &master, None).unwrap();
    slots.create(&secrets).unwrap();
    slots.erase(NO, 5, &[3]).unwrap();
    drop(slots);
    let mut taken = vec![10];
    for _ in 0..3 {
        let copy = dir.path().join(format!("restored-{}.db", taken.len()));
        std::fs::copy(&path, &copy).unwrap();
        assert_eq!(renew(&copy).unwrap(), Renewed { end: 10, erased: vec![(NO, 5)] });
        let mut slots = SqliteSlots::open(copy.clone(), &master, None).unwrap();
        assert_eq!(slots.erased_upto(NO).unwrap(), None);
        let first = slots.create(&secrets).unwrap();
        assert!(taken.iter().all(|other| first.abs_diff(*other) > 1000), "{first} {taken:?}");
        taken.push(first);
        let reader = SqliteSlotReader::open(copy, &master).unwrap();
        let mut cache = reader.cache();
        for (slot, wanted) in [(0, Some(0)), (3, None), (9, Some(9)), (first + 2, Some(2))] {
            let wanted = wanted.map(|at: usize| secrets[at].clone());
            assert_eq!(reader.secret(slot).unwrap(), wanted, "{slot}");
            assert_eq!(cache.secret(slot).unwrap(), wanted, "{slot}");
        }
        assert!(reader.secret(10).is_err() && cache.secret(10).is_err(), "nothing in between");
        // What the log names is destroyed again.
        slots.erase(NO, 5, &[3, 4]).unwrap();
        assert_eq!(reader.secret(4).unwrap(), None);
    }
}
