//! Lifts beside a disk that hangs or is full: nothing is let through without its certificate, and nothing stays stopped
//! that was lifted.

use crate::watching::{How, lift, tripped, until};
use crate::world::{World, at};
use placet_runtime::Stores;
use placet_runtime::ports::{Lookout, PortError, Safety};
use placet_types::event::KillSource;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What stands beside the store, whose disk can be made to hang.
struct Slow(Option<Box<dyn Safety>>, Arc<How>);

impl Slow {
    fn wrap(stores: &mut Stores, how: &Arc<How>) {
        let safety = std::mem::replace(&mut stores.safety, Box::new(Self(None, how.clone())));
        stores.safety = Box::new(Self(Some(safety), how.clone()));
    }

    fn own(&self) -> &dyn Safety {
        self.0.as_deref().unwrap()
    }
}

impl Safety for Slow {
    fn kill_requested(&self) -> bool {
        self.own().kill_requested()
    }

    fn read_armed(&self) -> Result<Option<Vec<u8>>, PortError> {
        self.own().read_armed()
    }

    fn write_armed(&self, bytes: &[u8]) -> Result<(), PortError> {
        if self.1.full.load(Ordering::SeqCst) {
            return Err(PortError::new("no space left on device"));
        }
        self.own().write_armed(bytes)
    }

    fn disarm(&self) -> Result<(), PortError> {
        self.own().disarm()
    }

    fn read_disarmed(&self) -> Result<Option<Vec<u8>>, PortError> {
        self.own().read_disarmed()
    }

    fn write_disarmed(&self, bytes: &[u8]) -> Result<(), PortError> {
        self.own().write_disarmed(bytes)
    }

    fn sync(&self) -> Result<(), PortError> {
        let hangs = self.1.hangs.lock().unwrap();
        self.1.caught.store(*hangs, Ordering::SeqCst);
        drop(self.1.woken.wait_while(hangs, |hangs| *hangs).unwrap());
        self.own().sync()
    }

    fn lookout(&self) -> Option<Box<dyn Lookout>> {
        self.own().lookout()
    }

    fn clear_kill_request(&self) -> Result<(), PortError> {
        self.own().clear_kill_request()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lift_that_comes_while_the_rest_of_a_kill_waits_for_the_disk_lifts() {
    let how = Arc::new(How::default());
    let given = how.clone();
    let world = World::over(move |stores| Slow::wrap(stores, &given)).await;
    let bot = world.key("agent:bot", &[]).await;
    let olga = world.key("human:olga", &["operator"]).await;
    how.hang(true);
    world.plane.trip_at_once(KillSource::Signal);
    assert_eq!(tripped(&world).await["source"], "signal");
    until(|| how.caught.load(Ordering::SeqCst));
    lift(&world, &olga).await;
    // What is founded after the lift is free, and the rest of the kill is not of it.
    let late = r#"{"name":"late","admin":"human:lea"}"#;
    let late = world.post("/api/v1/workspaces", &world.admin, late).await;
    assert_eq!(late.status, 201, "{late:?}");
    let late = at(&late.json(), "/key").to_owned();
    how.hang(false);
    let began = Instant::now();
    until(|| !world.root().is_killed() || began.elapsed() > Duration::from_secs(60));
    let decided = world.decide(&bot, "a", "").await;
    assert_eq!(at(&decided, "/outcome"), "PERMIT", "{decided}");
    until(|| world.data().join("armed").exists() || began.elapsed() > Duration::from_secs(60));
    // The same cause again is another kill.
    world.plane.trip_at_once(KillSource::Signal);
    assert_eq!(tripped(&world).await["source"], "signal");
    lift(&world, &olga).await;
    until(|| !world.root().is_killed() || began.elapsed() > Duration::from_secs(60));
    let world = world.restart().await;
    let decided = world.decide(&bot, "b", "").await;
    assert_eq!(at(&decided, "/outcome"), "PERMIT", "{decided}");
    let trips = world.get("/api/v1/audit?type=kill.tripped", &late).await.ok();
    assert_eq!(trips["entries"].as_array().map(Vec::len), Some(1), "{trips}");
}

/// Nobody tampered with anything, and nothing is let through without its certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lift_whose_certificate_cannot_be_written_leaves_everything_stopped() {
    for restarts in [false, true] {
        let how = Arc::new(How::default());
        let given = how.clone();
        let mut world = World::over(move |stores| Slow::wrap(stores, &given)).await;
        let bot = world.key("agent:bot", &[]).await;
        let olga = world.key("human:olga", &["operator"]).await;
        let scope = r#"{"scope":"everything"}"#;
        world.post("/api/v1/kill", &world.admin, scope).await.ok();
        world.post("/api/v1/lift", &world.admin, scope).await.ok();
        how.full.store(true, Ordering::SeqCst);
        let lifted = world.post("/api/v1/lift", &olga, scope).await;
        lifted.refused(503, "lift_unfinished");
        let denied = world.decide(&bot, "at once", "").await;
        assert_eq!(at(&denied, "/reasons/0/code"), "killed_everything");
        if restarts {
            world = world.restart().await;
        }
        assert_eq!(tripped(&world).await["source"], "interrupted");
        assert_eq!(world.get("/healthz", "").await.ok()["status"], "ok");
        let denied = world.decide(&bot, "a", "").await;
        assert_eq!(at(&denied, "/reasons/0/code"), "killed_everything");
        how.full.store(false, Ordering::SeqCst);
        lift(&world, &olga).await;
        let began = Instant::now();
        until(|| !world.root().is_killed() || began.elapsed() > Duration::from_secs(60));
        let decided = world.decide(&bot, "b", "").await;
        assert_eq!(at(&decided, "/outcome"), "PERMIT", "{decided}");
        let world = world.restart().await;
        let decided = world.decide(&bot, "c", "").await;
        assert_eq!(at(&decided, "/outcome"), "PERMIT", "{decided}");
    }
}
