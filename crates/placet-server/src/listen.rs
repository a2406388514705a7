//! Listening: connections within bounds of number and time, and an orderly end. Owns sockets;
//! refuses to know what is served.

use crate::certificate::ClientCertificate;
use crate::patient::Patient;
use crate::places::Told;
use crate::problem::Problem;
use crate::routes::router_of;
use crate::server::{Server, ServerOptions};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use hyper_util::service::TowerToHyperService;
use placet_runtime::Plane;
use placet_types::ids::TimeMs;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot};
use tower::ServiceExt;

/// Address of the other end, within the extensions of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Connections that may wait to be accepted; the system may allow fewer. A whole fleet that comes back
/// at once would otherwise be told nothing and try again a second later.
const BACKLOG: u32 = 4096;

/// Listens on `address`.
///
/// # Errors
/// As the system has it: in use, not ours.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart need not wait for connections of the one before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Where a server listens.
#[derive(Debug)]
pub struct Listeners {
    /// For everybody.
    pub all: TcpListener,
    /// The same API for those who stop what must stop: with connections and a thread of its own, so that what is
    /// asked there waits behind nothing that saturates the other.
    pub operators: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(all: TcpListener) -> Self {
        Self { all, operators: None }
    }
}

/// Serves the API on `listeners` until `shutdown`; then nothing new is accepted, and calls in flight
/// have [`ServerOptions::drain_time`].
///
/// # Errors
/// Only what makes listening impossible; a single connection that fails is that client's.
pub async fn serve(
    listeners: impl Into<Listeners>,
    plane: Arc<Plane>,
    options: ServerOptions,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let Listeners { all, operators } = listeners.into();
    let server = Arc::new(Server::new(plane, options.clone()));
    let beside =
        operators.map(|listener| serve_operators(listener, &server, &options)).transpose()?;
    let minutes = tokio::spawn(record_refused(server.clone()));
    let publishing = tokio::spawn(crate::publishing::publish(server.clone()));
    let channels = tokio::spawn(crate::channels::run(server.clone()));
    let keys = tokio::spawn(refresh_keys(server.clone()));
    let files = options.tls.clone().map(|tls| tokio::spawn(async move { tls.watch().await }));
    let stopping = server.stopping.clone();
    let done = serve_router(all, router_of(server.clone()), &options, async move {
        shutdown.await;
        stopping.send_replace(true);
    });
    let done = done.await;
    // It was told at the same time, and takes no longer.
    if let Some(ended) = beside {
        let _ = tokio::time::timeout(options.drain_time, ended).await;
    }
    server.worked_off(options.drain_time).await;
    minutes.abort();
    publishing.abort();
    channels.abort();
    keys.abort();
    if let Some(files) = files {
        files.abort();
    }
    done
}

/// Serves the API at a second address on a thread of its own, until the server stops; when that has ended.
fn serve_operators(
    listener: TcpListener,
    server: &Arc<Server>,
    options: &ServerOptions,
) -> io::Result<oneshot::Receiver<()>> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("operators")
        .enable_all()
        .build()?;
    let listener = {
        let _within = runtime.enter();
        TcpListener::from_std(listener.into_std()?)?
    };
    let (server, options) = (server.clone(), options.clone());
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new().name("operators".into()).spawn(move || {
        let served = runtime.block_on(async {
            let done =
                serve_router(listener, router_of(server.clone()), &options, server.stopped());
            let done = done.await;
            server.worked_off(options.drain_time).await;
            done
        });
        if let Err(error) = served {
            eprintln!("placet: the operators' address is not served: {error}");
        }
        // Whoever waits may have gone; what blocks on this runtime is not waited for.
        let _ = end.send(());
        runtime.shutdown_background();
    })?;
    Ok(ended)
}

/// Keeps the key sets of issuers fresh, beside the calls.
async fn refresh_keys(server: Arc<Server>) {
    let mut looks = tokio::time::interval(crate::identity::LOOK_EVERY);
    loop {
        looks.tick().await;
        server.tokens.refresh(&server.plane, server.elapsed_ms()).await;
    }
}

/// As [`serve`] for any router, without what belongs to a plane: what the benchmark's constant
/// server listens with.
///
/// # Errors
/// As [`serve`].
pub async fn serve_router(
    listener: TcpListener,
    router: Router,
    options: &ServerOptions,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(options.connections_max));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors or a connection that is gone already: neither ends the server.
                if !is_of_connection(&error) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            // What cannot be said in plain text is not said at all.
            if options.tls.is_none() {
                tokio::spawn(turn_away(stream));
            }
            continue;
        };
        // Answers are small and written at once; a failure here costs latency alone.
        let _ = stream.set_nodelay(true);
        let stream = Patient::new(stream, options.write_time);
        let Some(tls) = &options.tls else {
            let connection = graceful.watch(connection(stream, &router, options, peer, None));
            tokio::spawn(async move {
                // What a client breaks off is no failure of the server.
                let _ = connection.await;
                drop(place);
            });
            continue;
        };
        let (handshake, watcher) = (tls.handshake(stream, options.header_time), graceful.watcher());
        let (router, options) = (router.clone(), options.clone());
        tokio::spawn(async move {
            if let Some((stream, certificate)) = handshake.await {
                let connection = connection(stream, &router, &options, peer, certificate);
                let _ = watcher.watch(connection).await;
            }
            drop(place);
        });
    }
    drop(listener);
    // What has not finished by then is cut off: its client treats it as a lost connection.
    let _ = tokio::time::timeout(options.drain_time, graceful.shutdown()).await;
    Ok(())
}

/// Serves what comes over one connection, on which the client may have proven a certificate.
fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: &Router,
    options: &ServerOptions,
    peer: SocketAddr,
    certificate: Option<ClientCertificate>,
) -> impl GracefulConnection + Send + 'static {
    let told = Told::default();
    let service = router.clone().map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(told.clone());
        if let Some(certificate) = certificate {
            request.extensions_mut().insert(certificate);
        }
        request.map(Body::new)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_time)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Beyond the bound: an early refusal instead of a place in a queue.
async fn turn_away(mut stream: TcpStream) {
    let problem = Problem::overloaded("too many connections; come back later");
    let (head, body) = problem.into_response().into_parts();
    let body = axum::body::to_bytes(body, 1 << 16).await.unwrap_or_default();
    let mut text = format!("HTTP/1.1 {}\r\nconnection: close\r\n", head.status);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&body);
    let write = async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), write).await;
}

/// Writes down every minute how much was refused before the log.
async fn record_refused(server: Arc<Server>) {
    let mut minute = tokio::time::interval(Duration::from_secs(60));
    minute.tick().await;
    loop {
        minute.tick().await;
        flush_refused(&server).await;
    }
}

/// One entry per workspace whose keys were refused since the last call.
pub(crate) async fn flush_refused(server: &Server) {
    let refused = server.admission.drain(server.elapsed_ms());
    if refused.is_empty() {
        return;
    }
    let plane = &server.plane;
    let minute = TimeMs(plane.now().0 / 60_000 * 60_000);
    let mut owners = HashMap::new();
    for workspace in plane.all_workspaces() {
        for record in plane.keys_of(&workspace) {
            owners.insert(record.key, workspace.no);
        }
    }
    let root = plane.root().map(|root| root.no);
    let mut sums: HashMap<_, (u64, u64)> = HashMap::new();
    for (key, count) in refused {
        // Callers without a key are those of development mode, in the first workspace.
        let of_session = |key| plane.session(key).map(|session| session.record.workspace);
        let owner = key.map_or(root, |key| owners.get(&key).copied().or_else(|| of_session(key)));
        if let Some(no) = owner {
            let sum = sums.entry(no).or_default();
            *sum = (sum.0 + count, sum.1 + 1);
        }
    }
    for (no, (count, keys)) in sums {
        let Some(workspace) = plane.workspace_no(no) else { continue };
        if let Err(error) = plane.record_refused(&workspace, minute, count, keys).await {
            eprintln!("placet: {count} refusals of {} are not recorded: {error}", workspace.name);
        }
    }
}
