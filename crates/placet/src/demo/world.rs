//! The demo's world: a scratch directory with bundle and data, a server, and a key for everybody.
//! Owns starting and stopping; refuses to know the story.

use super::{Teller, deviation};
use crate::client::Client;
use crate::commands::up::{Up, start};
use crate::commands::up_tls::TlsArgs;
use anyhow::{Context, Result};
use placet_runtime::Started;
use placet_server::{ServerOptions, bind, serve};
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The documents of both examples: together they are the demo's bundle.
const BUNDLE: [(&str, &str); 6] = [
    ("bank-rules.yaml", include_str!("../../../../examples/bank/rules.yaml")),
    ("bank-floor.yaml", include_str!("../../../../examples/bank/floor.yaml")),
    ("bank-surfaces.yaml", include_str!("../../../../examples/bank/surfaces.yaml")),
    ("code-rules.yaml", include_str!("../../../../examples/coding-agent/rules.yaml")),
    ("code-floor.yaml", include_str!("../../../../examples/coding-agent/floor.yaml")),
    ("code-surfaces.yaml", include_str!("../../../../examples/coding-agent/surfaces.yaml")),
];
const PREFERRED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

/// A running server and everybody's way to it.
pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) ann: Client,
    pub(crate) bob: Client,
    pub(crate) support: Client,
    pub(crate) coder: Client,
    pub(crate) ledger: Client,
    keys: Vec<(&'static str, String)>,
    scratch: PathBuf,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
    housekeeping: JoinHandle<()>,
    started: Started,
}

impl World {
    /// Starts the server and makes the keys, over HTTP.
    pub(crate) async fn open(listen: Option<SocketAddr>, teller: Teller) -> Result<Self> {
        let scratch = scratch()?;
        let opened = Self::serve(&scratch, listen, teller).await;
        if opened.is_err() {
            // What stays behind is a nuisance and no failure.
            let _ = std::fs::remove_dir_all(&scratch);
        }
        opened
    }

    async fn serve(scratch: &Path, listen: Option<SocketAddr>, teller: Teller) -> Result<Self> {
        let policy = scratch.join("policy");
        std::fs::create_dir(&policy)?;
        for (name, text) in BUNDLE {
            std::fs::write(policy.join(name), text)?;
        }
        let listener = listen_on(listen, teller)?;
        let address = listener.local_addr()?;
        let started = start(&Up {
            dev: false,
            data: scratch.join("data"),
            listen: address,
            listen_operators: None,
            bundle: Some(policy),
            workspace: "demo".to_owned(),
            solo: false,
            admin: "human:ann".to_owned(),
            admission: 20_000,
            witness: Vec::new(),
            secrets: None,
            telegram_api: String::new(),
            slack_api: String::new(),
            public_log: false,
            tls: TlsArgs::default(),
            trust_roots: None,
            allow_inside: Vec::new(),
            public_url: None,
            snapshot_entries: 100_000,
            idle_after: 0,
        })
        .await?;
        let key = started.bootstrap.as_ref().map(|key| key.reveal().as_str().to_owned());
        let ann_key = key.ok_or_else(|| deviation("a fresh workspace gave no admin key"))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let housekeeping = tokio::spawn(started.plane.clone().housekeeping());
        let plane = started.plane.clone();
        let serving = tokio::spawn(async move {
            let stopped = async move {
                // A sender that is gone means stop as well.
                let _ = stopped.await;
            };
            serve(listener, plane, ServerOptions::default(), stopped).await
        });
        let url = format!("http://{address}");
        let ann = Client::new(&url, Some(ann_key.clone()))?;
        let mut keys = vec![("human:ann", ann_key)];
        let wanted: [(&str, &[&str]); 4] = [
            ("human:bob", &["operator", "refund_approver"]),
            ("agent:support", &["support"]),
            ("agent:coder", &["coder"]),
            ("service:ledger", &["ledger"]),
        ];
        let mut clients = Vec::new();
        for (actor, roles) in wanted {
            let body = json!({"actor": actor, "environment": "production", "roles": roles});
            let made = ann
                .post("/api/v1/keys", &body)
                .await
                .with_context(|| format!("a key for {actor}"))?;
            let key = made["key"].as_str().ok_or_else(|| deviation("no key was made"))?;
            clients.push(ann.with_key(key));
            keys.push((actor, key.to_owned()));
        }
        let [bob, support, coder, ledger] =
            clients.try_into().map_err(|_| deviation("not everybody has a key"))?;
        teller.part("A server, its log, and five keys");
        teller.say(&format!(
            "{url} serves workspace demo; every answer follows a durable, signed entry"
        ));
        let scratch = scratch.to_owned();
        Ok(Self {
            url,
            ann,
            bob,
            support,
            coder,
            ledger,
            keys,
            scratch,
            stop,
            serving,
            housekeeping,
            started,
        })
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.scratch.join("data")
    }

    /// Everything it has written.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.scratch.clone()
    }

    /// Who has which key, for people who go on.
    pub(crate) fn keys_line(&self) -> String {
        let lines: Vec<String> =
            self.keys.iter().map(|(actor, key)| format!("  {actor:<15} {key}")).collect();
        lines.join("\n")
    }

    /// Waits for Ctrl-C.
    pub(crate) async fn stay(&self) -> Result<()> {
        Ok(tokio::signal::ctrl_c().await?)
    }

    /// Stops the server in order: no new requests, everything taken is durable, files closed.
    pub(crate) async fn stop(self) -> Result<()> {
        // The server may have ended by itself, which shows below.
        let _ = self.stop.send(());
        let served = self.serving.await;
        self.housekeeping.abort();
        let started = self.started;
        tokio::task::spawn_blocking(move || started.stop()).await?;
        served?.context("the server stopped")
    }
}

fn scratch() -> Result<PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let path = std::env::temp_dir().join(format!("placet-demo-{}-{now}", std::process::id()));
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .with_context(|| format!("{} cannot be made", path.display()))?;
    Ok(path)
}

fn listen_on(listen: Option<SocketAddr>, teller: Teller) -> Result<TcpListener> {
    if let Some(address) = listen {
        return bind(address).with_context(|| format!("{address} cannot be listened on"));
    }
    match bind(PREFERRED) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            teller.say(&format!("{PREFERRED} is in use: a free port is taken instead"));
            Ok(bind(SocketAddr::from(([127, 0, 0, 1], 0)))?)
        }
        Err(error) => Err(error).context(PREFERRED.to_string()),
    }
}
