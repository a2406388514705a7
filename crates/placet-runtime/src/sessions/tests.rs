//! The table of sessions while bundles come into force beside it.

use super::*;

#[test]
fn a_session_that_is_narrowed_while_it_is_opened_is_open_nevertheless() {
    let key = KeyId::from_bytes([7; 16]);
    let durable: Arc<AtomicBool> = Arc::default();
    let record = SessionRecord {
        record: KeyRecord {
            key,
            workspace: WorkspaceNo(0),
            actor: ActorId::parse("human:ann").unwrap(),
            environment: "production".to_owned(),
            roles: ["operator".to_owned()].into(),
            hash: Digest([1; 32]),
            revoked: false,
        },
        issuer: None,
        chain: Vec::new(),
        expires: TimeMs(10),
        parent: None,
        token: None,
        bearer: Some(Digest([2; 32])),
        said: None,
        durable: durable.clone(),
    };
    let table = SessionTable::default();
    table.insert(Arc::new(record), TimeMs(0));
    // Whoever opened it holds the flag when the bundle that came after replaces the record.
    table.replace(key, |it| it.with(KeyRecord { roles: BTreeSet::new(), ..it.record.clone() }));
    durable.store(true, Ordering::SeqCst);
    let after = table.of_token(&Digest([2; 32])).unwrap();
    assert!(after.record.roles.is_empty());
    assert!(after.durable.load(Ordering::SeqCst), "it stays shut for ever");
}
