//! One trip after the other under load, and how long each took to be the end of permits.

use super::super::server::Running;
use super::load::{AGENT, BRANCH, CAPABILITY, JOB, Load, MODEL, ROLE, RUN, SURFACE, Seen, wait};
use crate::client::Client;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Permits that have to come before a trip: the server is at work again.
const FLOW: u64 = 32;
/// How long permits are looked for after the last answer that was under way: none may come.
pub(super) const AFTER: Duration = Duration::from_millis(20);

/// How a stop is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A scope over HTTP.
    Scope(String),
    File,
    Signal,
}

impl Way {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let scopes = [
            ("actor", AGENT),
            ("alias", BRANCH),
            ("branch", BRANCH),
            ("capability", CAPABILITY),
            ("everything", ""),
            ("execution", RUN),
            ("job", JOB),
            ("model", MODEL),
            ("role", ROLE),
            ("surface", SURFACE),
            ("workspace", ""),
        ];
        let scopes = scopes.into_iter().map(|(kind, value)| match value {
            "" => Self::Scope(kind.to_owned()),
            value => Self::Scope(format!("{kind}:{value}")),
        });
        scopes.chain([Self::File, Self::Signal])
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Scope(scope) => {
                format!("{}, over HTTP", scope.split(':').next().unwrap_or(scope))
            }
            Self::File => "everything, by the file KILL".to_owned(),
            Self::Signal => "everything, by SIGUSR2".to_owned(),
        }
    }

    /// Asked beside HTTP and the store.
    pub(super) fn is_beside(&self) -> bool {
        matches!(self, Self::File | Self::Signal)
    }

    fn scope(&self) -> &str {
        match self {
            Self::Scope(scope) => scope,
            _ => "everything",
        }
    }
}

/// The times of one way, seconds from asking to the last permit.
pub(super) struct Times {
    pub(super) way: Way,
    pub(super) seconds: Vec<f64>,
    /// From asking until a gate was told, where everything stops.
    pub(super) told: Vec<f64>,
    /// Permits that came although the trip had been acknowledged, or long been asked for.
    pub(super) late: u64,
}

impl Times {
    pub(super) fn new(way: Way) -> Self {
        Self { way, seconds: Vec::new(), told: Vec::new(), late: 0 }
    }

    pub(super) fn add(&mut self, once: &Once) {
        self.seconds.push(once.seconds);
        self.told.extend(once.told);
        self.late += once.late;
    }
}

/// What one trip came to.
pub(super) struct Once {
    pub(super) seconds: f64,
    pub(super) told: Option<f64>,
    pub(super) late: u64,
}

/// Where a server lives.
pub(super) struct Place {
    pub(super) data: PathBuf,
    pub(super) bundle: PathBuf,
    /// Whether people ask at the operators' address.
    pub(super) beside: bool,
}

/// A server with its people, under load.
pub(super) struct Scene<'a> {
    pub(super) server: Running,
    pub(super) ann: Client,
    bob: Client,
    pub(super) load: Load,
    pub(super) data: &'a Path,
}

impl<'a> Scene<'a> {
    /// Makes the keys of a fresh server, and starts the load.
    pub(super) async fn start(
        server: Running,
        place: &'a Place,
        connections: usize,
    ) -> Result<Self> {
        let operators = server.operators.as_ref().filter(|_| place.beside);
        let address = operators.unwrap_or(&server.address);
        let ann = Client::new(&format!("http://{address}"), server.key.clone())?;
        let mut keys = Vec::new();
        for (actor, role) in [("human:bob", "operator"), (AGENT, ROLE), ("service:gate", "gate")] {
            let body = json!({"actor": actor, "environment": "production", "roles": [role]});
            let made = ann.post("/api/v1/keys", &body).await?;
            keys.push(made["key"].as_str().context("no key")?.to_owned());
        }
        let [bob, agent, gate] = keys.as_slice() else { anyhow::bail!("three keys") };
        let bob = ann.with_key(bob);
        let load = Load::start(&server.address, connections, agent, gate);
        Ok(Self { server, ann, bob, load, data: &place.data })
    }

    /// Asks for a stop; when, by the clock of the load.
    pub(super) async fn ask(&self, way: &Way) -> Result<u64> {
        let seen = &self.load.seen;
        Ok(match way {
            Way::Scope(scope) => {
                let mode = if scope.starts_with("role:") { "revoke" } else { "kill" };
                let asked = seen.now();
                let body = json!({"scope": scope, "mode": mode});
                self.ann.post("/api/v1/overrides", &body).await?;
                asked
            }
            Way::File => {
                drop(File::create(self.data.join("KILL"))?);
                seen.now()
            }
            Way::Signal => {
                let asked = seen.now();
                let pid = rustix::process::Pid::from_raw(i32::try_from(self.server.pid()?)?);
                let pid = pid.context("the server has ended")?;
                rustix::process::kill_process(pid, rustix::process::Signal::USR2)?;
                asked
            }
        })
    }

    /// Waits until a stop from beside is recorded: a lift would be refused before.
    pub(super) async fn recorded(&self) -> Result<()> {
        wait(async || {
            let kill = self.ann.get("/api/v1/kill").await?;
            Ok(!kill["everything"].is_null())
        })
        .await
    }

    /// What became of a trip that was asked for at `asked`, and is recorded.
    pub(super) async fn settled(&self, way: &Way, asked: u64) -> Result<Once> {
        let seen: &Seen = &self.load.seen;
        self.load.turns().await?;
        let settled = seen.permits.load(Ordering::SeqCst);
        tokio::time::sleep(AFTER).await;
        let late = seen.permits.load(Ordering::SeqCst) - settled;
        let told = seen.told.load(Ordering::SeqCst);
        let wide = way.scope() == "everything";
        let told = (wide && told > asked).then(|| (told - asked) as f64 / 1e9);
        Ok(Once { seconds: seen.last_after(asked), told, late })
    }

    pub(super) async fn lift(&self, way: &Way) -> Result<()> {
        let scope = json!({"scope": way.scope()});
        self.ann.post("/api/v1/overrides:lift", &scope).await?;
        let lifted = self.bob.post("/api/v1/overrides:lift", &scope).await?;
        ensure!(lifted["lifted"] == true, "not lifted: {lifted}");
        Ok(())
    }

    /// Waits until the server is at work.
    pub(super) async fn works(&self) -> Result<()> {
        self.load.flows(FLOW).await
    }

    pub(super) async fn end(self) -> Result<()> {
        self.load.stop().await?;
        self.server.stop().await
    }
}

/// All ways in turn under load of so many connections, and how many permits a second there were.
pub(super) async fn part(
    place: &Place,
    connections: usize,
    trips: usize,
) -> Result<(Vec<Times>, f64)> {
    let server = Running::placet(&place.data, &place.bundle).await?;
    let scene = Scene::start(server, place, connections).await?;
    let seen = scene.load.seen.clone();
    scene.load.flows(connections as u64 + FLOW).await?;
    let (began, before) = (Instant::now(), seen.permits.load(Ordering::SeqCst));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let rate =
        (seen.permits.load(Ordering::SeqCst) - before) as f64 / began.elapsed().as_secs_f64();
    let mut all = super::ways(false);
    let count = all.len();
    for trip in 0..trips.max(count) {
        let times = all.get_mut(trip % count).context("no way")?;
        scene.works().await?;
        let asked = scene.ask(&times.way).await?;
        if times.way.is_beside() {
            scene.recorded().await?;
        }
        let once = scene.settled(&times.way, asked).await?;
        times.add(&once);
        scene.lift(&times.way).await?;
    }
    scene.end().await?;
    Ok((all, rate))
}
