//! What seeds found, as stories of their own: a seed is another story after every change.

use crate::clock::SimClock;
use crate::disk::Disks;
use crate::random::{Random, SeededEntropy};
use crate::stores::stores;
use placet_policy::{Bundle, Source};
use placet_runtime::crypto::Fast;
use placet_runtime::driver::{Driver, Part};
use placet_runtime::host::Host;
use placet_runtime::{Options, PermitState, PlaneError, Principal, SnapshotPlan, nonce_hash};
use placet_types::event::{KillScope, KillSource};
use placet_types::ids::{ActorId, WorkspaceName};
use placet_types::json::{Object, Value};
use placet_types::{Caller, Request};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

struct Case {
    disks: Disks,
    driver: Driver,
}

impl Case {
    fn start() -> Self {
        let (disks, clock) = (Disks::default(), SimClock::default());
        let source = Source { name: "simulated.yaml".into(), text: crate::workload::BUNDLE.into() };
        let options = || Options {
            dev: true,
            solo: false,
            bundle: Some(Arc::new(Bundle::compile::<Fast>(std::slice::from_ref(&source)).unwrap())),
            workspace: WorkspaceName::parse("main").unwrap(),
            admin: ActorId::parse("human:ann").unwrap(),
            snapshots: SnapshotPlan::default(),
            idle: None,
        };
        let host = Host {
            entropy: Some(Arc::new(SeededEntropy::new(Random::new(1, 1)))),
            single_thread: true,
            slots: 8,
            ..Host::default()
        };
        disks.lock().seeds.push([7; 32]);
        let (driver, _) = Driver::assemble(stores(&disks, &clock), &options(), host).unwrap();
        let mut case = Self { disks, driver };
        let settled = case.driver.settle(options());
        case.finish(pin!(settled)).unwrap();
        case
    }

    fn turns(&mut self) {
        for part in [Part::Slots, Part::Slots, Part::Sequencer, Part::Flush, Part::Answers] {
            self.driver.turn(part, usize::MAX, false);
        }
    }

    fn finish<T>(&mut self, mut future: Pin<&mut impl Future<Output = T>>) -> T {
        for _ in 0..100 {
            self.driver.turn(Part::Slots, 1, false);
            if let Poll::Ready(value) = poll(future.as_mut()) {
                return value;
            }
            self.turns();
        }
        panic!("it comes to no end");
    }

    fn somebody(actor: &str, roles: &[&str]) -> Principal {
        let roles: BTreeSet<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        let caller = Caller {
            workspace: WorkspaceName::parse("main").unwrap(),
            environment: "production".to_owned(),
            actor: ActorId::parse(actor).unwrap(),
            roles,
            chain: Vec::new(),
        };
        Principal { caller, key: None }
    }
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn request(key: &str, principal: &Principal) -> Request {
    let body = Object::new()
        .with("surface", "pay.small")
        .with("action", "create")
        .with("idempotency_key", key)
        .with("audience", "service:gate");
    Request::read(Value::Object(body), &principal.caller).unwrap()
}

/// The entry of a consumption is durable, and a kill is acknowledged before its answer is put
/// together: the permit must not leave any more.
#[test]
fn a_kill_that_overtakes_a_consumption_withholds_the_permit() {
    let mut case = Case::start();
    let plane = case.driver.plane().clone();
    let workspace = plane.root().unwrap();
    let bot = Case::somebody("agent:bot", &[]);
    let gate = Case::somebody("service:gate", &[]);
    let person = Case::somebody("human:otto", &["operator"]);
    let asked = request("key-1", &bot);
    let decided = case.finish(pin!(plane.decide(&workspace, &bot, &asked))).unwrap();
    let permit = decided.answer.permit.unwrap();
    assert_eq!(permit.state, PermitState::Open);
    let nonce = Some(nonce_hash("attempt"));
    let mut consuming =
        pin!(plane.consume(&workspace, &gate, decided.answer.event.decision, nonce));
    assert!(poll(consuming.as_mut()).is_pending());
    case.turns();
    let everything = KillScope::Everything;
    let trip = plane.trip(None, everything, KillSource::Api, Some(&person));
    case.finish(pin!(trip)).unwrap();
    let answer = case.finish(consuming).unwrap();
    let permit = answer.permit.unwrap();
    assert_eq!(permit.state, PermitState::Revoked);
    assert!(permit.permit.is_none());
}

/// Without payload slots nothing can be recorded until a restart: whoever asks for readiness is
/// told.
#[test]
fn an_instance_without_slots_is_not_ready() {
    let mut case = Case::start();
    let plane = case.driver.plane().clone();
    let workspace = plane.root().unwrap();
    let bot = Case::somebody("agent:bot", &[]);
    assert!(plane.not_ready().is_none());
    case.disks.lock().slots_fail = true;
    let refused = (0..100).find_map(|at| {
        let asked = request(&format!("key-{at}"), &bot);
        case.finish(pin!(plane.decide(&workspace, &bot, &asked))).err()
    });
    assert!(matches!(refused, Some(PlaneError::StoreFailed(_))), "{refused:?}");
    assert!(matches!(plane.not_ready(), Some(PlaneError::StoreFailed(_))));
}
