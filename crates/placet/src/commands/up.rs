//! `placet up`: opens the data directory, starts the plane and serves it until told to stop. Owns
//! the order of starting and stopping; refuses to know any handler.

use crate::exit::Fault;
use crate::local;
use anyhow::{Context, Result};
use clap::Args;
use placet_outbound::{Inside, Outbound};
use placet_runtime::crypto::Fast;
use placet_runtime::{Options, Plane, SnapshotPlan, Started, Stores};
use placet_server::open_stores;
use placet_server::{ChannelOptions, Listeners, Secrets, ServerOptions, WitnessPeer, bind, serve};
use placet_store::{Create, DataDir, Outbox};
use placet_tlog::CosignerKey;
use placet_types::event::KillSource;
use placet_types::ids::{ActorId, ActorKind, WorkspaceName};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Serve Placet with the embedded store
///
/// On the first start the data directory is made and the first admin's key is printed once.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  placet up --dev --bundle examples/bank\n  placet up --data /var/lib/placet --bundle policy/ --listen 127.0.0.1:8081\n  placet up --listen 0.0.0.0:8443 --tls-cert server.pem --tls-key server.key --client-ca people.pem"
)]
pub(crate) struct Up {
    /// Development: loopback only, callers need no key, marked in every log entry
    #[arg(long)]
    pub(crate) dev: bool,
    /// Data directory; made when it does not exist
    #[arg(long, default_value = "placet-data", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Second address of the same API, for those who stop what must stop: it has connections and a thread of
    /// its own, so that what saturates the first keeps no kill waiting
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen_operators: Option<SocketAddr>,
    /// Policy bundle; seeds a workspace that has none
    #[arg(long, value_name = "DIR")]
    pub(crate) bundle: Option<PathBuf>,
    /// Name of the first workspace
    #[arg(long, default_value = "default")]
    pub(crate) workspace: String,
    /// Found the workspace in solo mode: one person may lift, after a delay, marked in every entry
    #[arg(long)]
    pub(crate) solo: bool,
    /// First admin of a workspace that is founded now
    #[arg(long, default_value = "human:admin", value_name = "ACTOR")]
    pub(crate) admin: String,
    /// Requests per second admitted per key; 0 for no limit
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    pub(crate) admission: u32,
    /// Witness that cosigns published checkpoints, as its verifier key and its URL; repeatable
    #[arg(long, num_args = 2, value_names = ["VKEY", "URL"], action = clap::ArgAction::Append)]
    pub(crate) witness: Vec<String>,
    #[command(flatten)]
    pub(crate) tls: super::up_tls::TlsArgs,
    /// URL under which clients reach this server, for the metadata of AuthZEN
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// Directory with the secrets that channels of a bundle name, a file each that others cannot read
    #[arg(long, value_name = "DIR")]
    pub(crate) secrets: Option<PathBuf>,
    /// Base URL of Telegram's Bot API, for a server of one's own
    #[arg(long, default_value = ChannelOptions::TELEGRAM, value_name = "URL")]
    pub(crate) telegram_api: String,
    /// Base URL of Slack's API
    #[arg(long, default_value = ChannelOptions::SLACK, value_name = "URL", hide = true)]
    pub(crate) slack_api: String,
    /// Trust anchors besides those of the system for outgoing TLS, in PEM: for issuers of tokens
    #[arg(long, value_name = "FILE")]
    pub(crate) trust_roots: Option<PathBuf>,
    /// Host, address or network of this machine or its surroundings that a policy may name, for issuers of
    /// tokens and webhooks: 10.1.0.0/16, login.internal; repeatable. With --dev this machine is allowed
    #[arg(long, value_name = "HOST|CIDR")]
    pub(crate) allow_inside: Vec<String>,
    /// Serve checkpoints and tiles under /log/ to anybody: entries hold no personal data
    #[arg(long)]
    pub(crate) public_log: bool,
    /// Entries of a workspace after which its state is saved; what follows is folded at a start
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    pub(crate) snapshot_entries: u64,
    /// Seconds without a request after which the state of a workspace leaves memory; 0 for never
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub(crate) idle_after: u64,
}

/// Runs the server until SIGINT or SIGTERM.
pub(crate) async fn run(up: Up) -> Result<ExitCode> {
    run_over(up, |stores| stores).await
}

/// Runs the server over stores that somebody has had in hand: a measurement of how it is when they are ill.
pub(crate) async fn run_over(up: Up, change: impl FnOnce(Stores) -> Stores) -> Result<ExitCode> {
    let addresses = [("--listen", Some(up.listen)), ("--listen-operators", up.listen_operators)];
    for (flag, address) in addresses {
        if let Some(address) = address.filter(|it| up.dev && !it.ip().is_loopback()) {
            let detail = format!(
                "--dev serves callers without a key, so it listens on loopback only; {flag} {address} is not"
            );
            return Err(Fault::usage(detail)
                .next("listen on 127.0.0.1, or leave --dev out")
                .into());
        }
    }
    let names = names(&up)?;
    let options = options(&up)?;
    // Before the start: a first start that then cannot listen would have made a key for nobody.
    let listener = bind(up.listen).with_context(|| format!("listen on {}", up.listen))?;
    let address = listener.local_addr()?;
    let operators = up
        .listen_operators
        .map(|address| bind(address).with_context(|| format!("listen on {address} for operators")));
    let operators = operators.transpose()?;
    let beside = operators.as_ref().map(TcpListener::local_addr).transpose()?;
    let (started, outbox) = start_as(&up, names, change).await?;
    let options = ServerOptions { channels: Some(channels(&up, outbox)?), ..options };
    if let Some(key) = &started.bootstrap {
        show_key(&up.admin, key.reveal().as_str());
    }
    for notice in &started.notices {
        eprintln!("placet: {notice}");
    }
    if up.dev {
        eprintln!("development mode: no key needed, every log entry says so");
    }
    let open = [Some(address), beside].into_iter().flatten().find(|it| !it.ip().is_loopback());
    if let Some(address) = open.filter(|_| options.tls.is_none()) {
        eprintln!(
            "placet: on {address} keys and answers travel in clear text: give --tls-cert and --tls-key, or let \
             nobody reach it but what ends TLS before it"
        );
    }
    // Whoever reads that it listens may send it any signal: none that means something else ends it.
    kill_on_signal(&started.plane)?;
    if let Some(tls) = &options.tls {
        super::up_tls::reload_on_signal(tls)?;
    }
    let stopped = stop_signal()?;
    // Programs wait for this line; it is the last one before requests are served.
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    if let Some(address) = beside {
        println!("operators at {scheme}://{address}");
    }
    println!("listening on {scheme}://{address}");
    let plane = started.plane.clone();
    let housekeeping = tokio::spawn(plane.clone().housekeeping());
    let served = serve(Listeners { all: listener, operators }, plane, options, stopped).await;
    housekeeping.abort();
    tokio::task::spawn_blocking(move || started.stop()).await?;
    served.context("the server stopped")?;
    Ok(ExitCode::SUCCESS)
}

/// How the command line wants the server to behave.
pub(crate) fn options(up: &Up) -> Result<ServerOptions> {
    let (pairs, _) = up.witness.as_chunks::<2>();
    let witnesses = pairs.iter().map(|[vkey, url]| {
        let key = CosignerKey::parse::<Fast>(vkey).map_err(|error| {
            Fault::usage(format!("--witness {vkey:?}: {error}"))
                .next("take the line that `placet witness --show` prints")
        })?;
        if !url.starts_with("http://") {
            let fault = Fault::usage(format!("--witness {url:?} is not an http:// URL"));
            return Err(fault.next("a cosignature proves itself; TLS is for a proxy").into());
        }
        Ok(WitnessPeer { key, url: url.clone() })
    });
    Ok(ServerOptions {
        admission_per_second: up.admission,
        witnesses: witnesses.collect::<Result<_>>()?,
        public_log: up.public_log,
        tls: up.tls.load()?,
        trust_roots: up.trust_roots.as_deref().map(trust_roots).transpose()?,
        inside: inside(up)?,
        public_url: up.public_url.as_deref().map(public_url).transpose()?,
        ..ServerOptions::default()
    })
}

/// What of its surroundings a policy may have the server call.
fn inside(up: &Up) -> Result<Inside> {
    let mut inside = if up.dev { Inside::loopback() } else { Inside::default() };
    for text in &up.allow_inside {
        inside = inside.allow(text).map_err(|why| {
            Fault::usage(format!("--allow-inside {text:?}: {why}"))
                .next("name a host (login.internal), an address, or a network (10.1.0.0/16)")
        })?;
    }
    Ok(inside)
}

/// Certificates in PEM; found to be some before anything needs them.
fn trust_roots(file: &std::path::Path) -> Result<Vec<u8>> {
    let pem = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    placet_outbound::Outbound::new(Some(&pem)).map_err(|error| {
        Fault::usage(format!("--trust-roots {}: {error}", file.display()))
            .next("name a file of certificates in PEM")
    })?;
    Ok(pem)
}

/// A URL that names this server to its clients: they compare it with the one they asked.
fn public_url(text: &str) -> Result<String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let good = rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with('/')
            && rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"\\<>".contains(&b))
    });
    if !good {
        let fault = Fault::usage(format!("--public-url {text:?} is no URL of a server"));
        return Err(fault.next("write https://host, without query and fragment").into());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Shows the first key the one time it can be shown; where standard output is gone, on standard
/// error.
fn show_key(admin: &str, key: &str) {
    let mut out = std::io::stdout().lock();
    let shown = writeln!(out, "admin key: {key}").and_then(|()| out.flush());
    drop(out);
    if shown.is_err() {
        eprintln!("admin key: {key}");
    }
    eprintln!("first start: this is the key of {admin}; keep it, it is not shown again");
}

/// The first workspace and its admin as the command line names them.
fn names(up: &Up) -> Result<(WorkspaceName, ActorId)> {
    let workspace = WorkspaceName::parse(&up.workspace).ok_or_else(|| {
        Fault::usage(format!("--workspace {:?} is no name of a workspace", up.workspace))
            .next("take 1 to 63 of a-z, 0-9 and '-'")
    })?;
    let admin = ActorId::parse(&up.admin)
        .filter(|actor| actor.kind() == ActorKind::Human)
        .ok_or_else(|| {
            Fault::usage(format!("--admin {:?} is not a person", up.admin))
                .next("name a person, such as human:ann: only people approve and lift")
        })?;
    Ok((workspace, admin))
}

/// Opens the data directory and starts a plane over it.
pub(crate) async fn start(up: &Up) -> Result<Started> {
    Ok(start_as(up, names(up)?, |stores| stores).await?.0)
}

/// How the command line wants people and programs to be told.
fn channels(up: &Up, outbox: Outbox) -> Result<ChannelOptions> {
    if let Some(dir) = up.secrets.as_deref().filter(|dir| !dir.is_dir()) {
        let fault = Fault::usage(format!("--secrets {} is no directory", dir.display()));
        return Err(fault.next("make it, and put a file for each secret into it").into());
    }
    for (option, url) in [("--telegram-api", &up.telegram_api), ("--slack-api", &up.slack_api)] {
        if !url.starts_with("https://") && !url.starts_with("http://") {
            let fault = Fault::usage(format!("{option} {url:?} is no http:// or https:// URL"));
            return Err(fault.next("leave it out to use the service itself").into());
        }
    }
    let roots = up.trust_roots.as_deref().map(trust_roots).transpose()?;
    let outbound = Outbound::new(roots.as_deref()).context("the trust anchors of this system")?;
    let outside = Outbound::outside(roots.as_deref(), inside(up)?)
        .context("the trust anchors of this system")?;
    Ok(ChannelOptions {
        outbox: Arc::new(outbox),
        outside,
        secrets: Secrets::new(up.secrets.clone()),
        outbound,
        telegram: up.telegram_api.trim_end_matches('/').to_owned(),
        slack: up.slack_api.trim_end_matches('/').to_owned(),
    })
}

async fn start_as(
    up: &Up,
    (workspace, admin): (WorkspaceName, ActorId),
    change: impl FnOnce(Stores) -> Stores,
) -> Result<(Started, Outbox)> {
    let bundle = up.bundle.as_deref().map(local::compile_in_force).transpose()?.map(Arc::new);
    let dir = DataDir::open(&up.data, Create::Yes)?;
    let (stores, outbox) = (open_stores(&dir)?, dir.outbox()?);
    let snapshots = SnapshotPlan { entries: up.snapshot_entries.max(1), ..SnapshotPlan::default() };
    let idle = (up.idle_after > 0).then(|| Duration::from_secs(up.idle_after));
    let options = Options { dev: up.dev, solo: up.solo, bundle, workspace, admin, snapshots, idle };
    Ok((Plane::start(change(stores), options).await?, outbox))
}

pub(super) fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// SIGUSR2 trips the kill switch of everything: no HTTP, no key, no network. Heard on a thread of its
/// own, so that no request keeps it waiting.
fn kill_on_signal(plane: &Arc<Plane>) -> Result<()> {
    let plane = Arc::downgrade(plane);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let mut asked = signal(SignalKind::user_defined2())?;
    drop(entered);
    let hear = async move {
        while asked.recv().await.is_some() {
            let Some(plane) = plane.upgrade() else { return };
            plane.trip_at_once(KillSource::Signal);
            eprintln!("placet: the kill switch of everything is tripped (signal)");
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(hear))?;
    Ok(())
}
