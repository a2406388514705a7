//! Checkpoints and their witnesses: one that does not answer holds up nobody.

use crate::world::{BUNDLE, World};
use placet_runtime::crypto::{MemorySigner, SystemClock};
use placet_runtime::ports::Signer;
use placet_server::{ServerOptions, Witness, WitnessPeer, serve_router, witness_router};
use placet_store::WitnessStore;
use placet_tlog::trust::TrustKey;
use placet_tlog::verify::PortableHasher;
use placet_tlog::{CosignerKey, Note, Trust};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A witness that has its place but does not answer before it is told to.
struct Silent {
    listener: TcpListener,
    store: WitnessStore,
    signer: MemorySigner,
    peer: WitnessPeer,
    _dir: TempDir,
}

impl Silent {
    async fn new(name: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let store = WitnessStore::open(dir.path()).unwrap();
        let signer = MemorySigner::from_seed(&store.seed()).unwrap();
        let key = CosignerKey::new::<PortableHasher>(name, signer.public_key()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, store, signer, peer: WitnessPeer { key, url }, _dir: dir }
    }

    /// From here on it answers.
    fn speak(self, world: &World) -> TempDir {
        let logs = Trust::new(vec![TrustKey::active(world.root().vkey())]).unwrap();
        let clock = Arc::new(SystemClock::default());
        let signer = Arc::new(self.signer);
        let witness = Witness::new(logs, self.peer.key, signer, self.store, clock).unwrap();
        let router = witness_router(Arc::new(witness));
        tokio::spawn(async move {
            let options = ServerOptions::default();
            serve_router(self.listener, router, &options, std::future::pending()).await
        });
        self._dir
    }
}

/// Waits for a checkpoint of the whole log that these have cosigned, and nobody else.
async fn cosigned_by(world: &World, peers: &[&WitnessPeer]) {
    let mut note = String::new();
    for _ in 0..600 {
        note = world.get("/log/main/checkpoint", &world.admin).await.text;
        if let Ok(read) = Note::parse(&note) {
            let by = |peer: &&WitnessPeer| read.signatures().iter().any(|s| peer.key.made(s));
            let whole = note.lines().nth(1) == Some(world.size().to_string().as_str());
            if whole && peers.iter().all(by) {
                assert_eq!(read.signatures().len(), peers.len() + 1, "{note}");
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} did not all cosign {note}", peers.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_answer_holds_up_nobody_and_is_heard_when_it_does() {
    let (dead, good) = (Silent::new("dead.example").await, Silent::new("good.example").await);
    let (dead_peer, good_peer) = (dead.peer.clone(), good.peer.clone());
    let witnesses = vec![dead_peer.clone(), good_peer.clone()];
    let options = ServerOptions { witnesses, ..ServerOptions::default() };
    let world = World::with(Some(BUNDLE), false, options).await;
    let _good = good.speak(&world);
    for round in 0..3 {
        world.decide(&world.admin, &format!("round {round}"), "").await;
        cosigned_by(&world, &[&good_peer]).await;
    }
    // What is published already gets the cosignature of the one that was away.
    let size = world.size();
    let _dead = dead.speak(&world);
    cosigned_by(&world, &[&good_peer, &dead_peer]).await;
    assert_eq!(world.size(), size);
}
