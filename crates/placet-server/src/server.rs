//! What all calls share: the plane, the options, admission, counters, and texts of rules. Refuses
//! to know single endpoints.

use crate::channels::{ChannelOptions, Channels};
use crate::identity::Tokens;
use crate::metrics::Counters;
use crate::operations::OPERATIONS;
use crate::places::Authoring;
use crate::publishing::WitnessPeer;
use crate::tls::Tls;
use arc_swap::ArcSwap;
use placet_outbound::Inside;
use placet_policy::Bundle;
use placet_runtime::{Admission, Plane};
use placet_types::Digest;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// How the server behaves towards its clients.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Largest body in bytes.
    pub body_max: usize,
    /// Bytes that the bodies of all calls may hold together; a call that finds no place is told to
    /// come back. A body counts by its declared length, or as the largest one.
    pub bodies_max: usize,
    /// Decisions on their way at once; a call that finds no place is told to come back. What has a
    /// place is answered within so many decisions' time.
    pub deciding_max: usize,
    /// Decisions per second and key, with a burst of one second's worth; 0 admits everything.
    pub admission_per_second: u32,
    /// Connections at once; beyond it they are told to come back.
    pub connections_max: usize,
    /// How long the head of a request may take.
    pub header_time: Duration,
    /// How long a write to a client may make no progress.
    pub write_time: Duration,
    /// How long a call may compare bundles, or decide a log again; what is left then is left out.
    pub comparing_time: Duration,
    /// How long calls in flight may take once the server is told to stop.
    pub drain_time: Duration,
    /// Who cosigns published checkpoints.
    pub witnesses: Vec<WitnessPeer>,
    /// The URL under which clients reach the server, for metadata; the host they name, if absent.
    pub public_url: Option<String>,
    /// How people and programs are told; `None`: nobody is.
    pub channels: Option<ChannelOptions>,
    /// Trust anchors besides those of the system for outgoing TLS, in PEM: for issuers of a company.
    pub trust_roots: Option<Vec<u8>>,
    /// Addresses of this machine and its networks at which issuers may be that a bundle names.
    pub inside: Inside,
    /// TLS of the server itself; `None`: plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// Whether the logs' tiles and checkpoints are served to anybody, without a key.
    pub public_log: bool,
}

/// Half of the leaves that a tree keeps whole: the receipt of what was just decided reads no old tile.
const DECIDING_MAX: usize = 2048;

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            body_max: 1 << 20,
            bodies_max: 256 << 20,
            deciding_max: DECIDING_MAX,
            admission_per_second: 0,
            connections_max: 16_384,
            header_time: Duration::from_secs(10),
            write_time: Duration::from_secs(30),
            comparing_time: Duration::from_secs(45),
            drain_time: Duration::from_secs(10),
            witnesses: Vec::new(),
            public_url: None,
            channels: None,
            trust_roots: None,
            inside: Inside::default(),
            tls: None,
            public_log: false,
        }
    }
}

/// Texts of rules by id.
pub(crate) type Texts = HashMap<String, String>;

pub(crate) struct Server {
    pub(crate) plane: Arc<Plane>,
    pub(crate) options: ServerOptions,
    pub(crate) admission: Admission,
    pub(crate) counters: Counters,
    /// Where people and programs are told what happens.
    pub(crate) channels: Option<Arc<Channels>>,
    /// True once the server is told to stop: waits and streams end.
    pub(crate) stopping: watch::Sender<bool>,
    /// Places of calls whose work outlives their connections.
    pub(crate) working: Arc<Semaphore>,
    /// Places of decisions on their way.
    pub(crate) deciding: Arc<Semaphore>,
    /// Places of calls that read the store.
    pub(crate) reading: Arc<Semaphore>,
    /// Places of calls that compile, lint and try policies.
    pub(crate) authoring: Authoring,
    /// Signing in with tokens.
    pub(crate) tokens: Tokens,
    /// KiB of bodies that calls may hold together.
    pub(crate) bodies: Arc<Semaphore>,
    /// Texts of the bundles that were in force, by digest.
    texts: ArcSwap<HashMap<Digest, Arc<Texts>>>,
    filling: Mutex<()>,
    /// What bundles declare.
    pub(crate) censuses: crate::measures::Censuses,
    started: Instant,
}

/// Most calls at once whose work outlives their connections.
const WORKING_MAX: u32 = 1 << 16;

/// Most calls that read the store at once: each may hold about a megabyte of it, and its thread
/// keeps some more.
const READING_MAX: usize = 16;

/// Bundles whose texts are kept.
const TEXTS_MAX: usize = 64;

impl Server {
    pub(crate) fn new(plane: Arc<Plane>, options: ServerOptions) -> Self {
        Self {
            admission: Admission::new(options.admission_per_second),
            tokens: Tokens::new(options.trust_roots.clone(), options.inside.clone()),
            counters: Counters::new(OPERATIONS.len()),
            channels: options.channels.clone().map(|it| Arc::new(Channels::new(it))),
            stopping: watch::Sender::new(false),
            working: Arc::new(Semaphore::new(WORKING_MAX as usize)),
            deciding: Arc::new(Semaphore::new(options.deciding_max)),
            reading: Arc::new(Semaphore::new(READING_MAX)),
            authoring: Authoring::new(),
            bodies: Arc::new(Semaphore::new(options.bodies_max >> 10)),
            texts: ArcSwap::default(),
            filling: Mutex::new(()),
            censuses: crate::measures::Censuses::default(),
            started: Instant::now(),
            plane,
            options,
        }
    }

    /// Milliseconds since the start, for admission.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns once the server is told to stop.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives as long as the server does.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// Returns once no work is left whose client has gone, or after `time`.
    pub(crate) async fn worked_off(&self, time: Duration) {
        // What takes longer is cut off, as calls are whose clients still wait.
        let _ = tokio::time::timeout(time, self.working.acquire_many(WORKING_MAX)).await;
    }

    /// Texts of the rules of a bundle: found when it is in force, or was since the start.
    pub(crate) fn texts(&self, digest: Digest, in_force: Option<&Bundle>) -> Option<Arc<Texts>> {
        if let Some(texts) = self.texts.load().get(&digest) {
            return Some(texts.clone());
        }
        let bundle = in_force.filter(|bundle| bundle.digest() == digest)?;
        let _filling = self.filling.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let texts: Texts = bundle
            .rules()
            .filter_map(|rule| Some((rule.id.clone(), rule.reason.clone()?)))
            .collect();
        let texts = Arc::new(texts);
        let mut all = HashMap::clone(&self.texts.load());
        if all.len() >= TEXTS_MAX {
            all.clear();
        }
        all.insert(digest, texts.clone());
        self.texts.store(Arc::new(all));
        Some(texts)
    }
}
