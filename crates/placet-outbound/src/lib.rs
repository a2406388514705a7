//! Outgoing HTTP and HTTPS, for key sets of issuers, for channels, and for the command line. Owns trust anchors,
//! certificates of clients, the time an answer may take and the size it may have; refuses to know who is asked and
//! what an answer means.
//!
//! There are no redirects, no proxies from the environment, no cookies and no retries: each of them
//! would send a request, and the secrets in its headers, where the caller did not say.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod client;
mod inside;

pub use client::{ClientTls, Connector};
pub use inside::Inside;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::http::uri::Scheme;
use hyper::http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::error::Error as StdError;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::Service;

/// Connections to one peer that are kept for the next request.
const IDLE_CONNECTIONS_MAX: usize = 4;
/// How long they are kept.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Bytes of head that an answer may have.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What an answer may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From the call to the last byte of the answer, name resolution and handshake included.
    pub within: Duration,
    /// Bytes of body.
    pub answer_max: usize,
}

/// Why there is no answer. Each says who can do something about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutboundError {
    /// The address is not `http://host…` or `https://host…`, or holds a user name.
    Address,
    /// The additional trust anchors are not certificates in PEM.
    Roots {
        /// What is wrong with them.
        why: String,
    },
    /// The client's certificate, or its key, is none in PEM, or they do not go together.
    Identity {
        /// What is wrong with them.
        why: String,
    },
    /// No connection: no such name, nobody listens, no way there.
    Unreachable {
        /// What the system said.
        why: String,
    },
    /// The peer's certificate is not good for its name under the trust anchors.
    Untrusted {
        /// What is wrong with it.
        why: String,
    },
    /// The host stands for addresses of this machine or its networks alone, which are not allowed.
    Inside,
    /// Nothing complete within the bound.
    TimedOut,
    /// The answer is larger than the bound.
    TooLarge {
        /// The bound in bytes.
        answer_max: usize,
    },
    /// The connection broke, or what came is not HTTP.
    Broken {
        /// What the library said.
        why: String,
    },
}

impl fmt::Display for OutboundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("the address is no http:// or https:// URL of a host"),
            Self::Roots { why } => write!(f, "the trust anchors cannot be read: {why}"),
            Self::Identity { why } => write!(f, "the client's certificate cannot be shown: {why}"),
            Self::Unreachable { why } => write!(f, "no connection: {why}"),
            Self::Untrusted { why } => write!(f, "the certificate is not trusted: {why}"),
            Self::Inside => f.write_str(
                "the address is inside; the operator allows those with `placet up --allow-inside`",
            ),
            Self::TimedOut => f.write_str("no complete answer in time"),
            Self::TooLarge { answer_max } => {
                write!(f, "the answer is larger than {answer_max} bytes")
            }
            Self::Broken { why } => write!(f, "the exchange broke: {why}"),
        }
    }
}

impl StdError for OutboundError {}

/// A client with a few kept connections. Cloning shares them.
#[derive(Clone)]
pub struct Outbound {
    client: Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
    inside: Option<Arc<Inside>>,
}

/// Names to addresses, of which only those stay that may be reached: what is checked is what is connected
/// to.
#[derive(Clone)]
struct Resolver(Option<Arc<Inside>>);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let inside = self.0.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = GaiResolver::new().call(name).await?;
            let found = match inside {
                None => found.collect(),
                Some(inside) => inside.admitted(&host, found)?,
            };
            Ok(found.into_iter())
        })
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").finish_non_exhaustive()
    }
}

impl Outbound {
    /// To any address: for those that an operator chose. With the trust anchors of the system and those in `extra_roots_pem`. A system without any is no
    /// error: plain HTTP works there, and HTTPS to peers under the additional anchors.
    ///
    /// # Errors
    /// [`OutboundError::Roots`] when `extra_roots_pem` holds no certificate, or something that is none.
    pub fn new(extra_roots_pem: Option<&[u8]>) -> Result<Self, OutboundError> {
        Self::to(extra_roots_pem, None)
    }

    /// To addresses of the world and those inside that are allowed: for addresses that others chose. What a
    /// name stands for is looked at when it is connected to.
    ///
    /// # Errors
    /// As [`Outbound::new`].
    pub fn outside(extra_roots_pem: Option<&[u8]>, inside: Inside) -> Result<Self, OutboundError> {
        Self::to(extra_roots_pem, Some(Arc::new(inside)))
    }

    fn to(
        extra_roots_pem: Option<&[u8]>,
        inside: Option<Arc<Inside>>,
    ) -> Result<Self, OutboundError> {
        let unreadable = |why: String| OutboundError::Roots { why };
        let roots = trust_anchors(extra_roots_pem)?;
        // Named explicitly: a default of the process would depend on what else is linked in.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unreadable(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut plain = HttpConnector::new_with_resolver(Resolver(inside.clone()));
        plain.set_nodelay(true);
        plain.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(plain);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(connector);
        Ok(Self { client, inside })
    }

    /// Sends one request once and reads the whole answer, whatever its status: a redirect is an answer
    /// like any other. Needs a Tokio runtime with time and network.
    ///
    /// # Errors
    /// [`OutboundError`]. After [`OutboundError::TimedOut`] and [`OutboundError::Broken`] the peer may
    /// have acted on the request.
    pub async fn send(
        &self,
        mut request: Request<Bytes>,
        bounds: Bounds,
    ) -> Result<Response<Bytes>, OutboundError> {
        check(request.uri())?;
        // An address is not looked up, so it is looked at here.
        if let (Some(inside), Some(host)) = (&self.inside, request.uri().host())
            && let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>()
            && !inside.admits(host, address)
        {
            return Err(OutboundError::Inside);
        }
        announce(request.headers_mut());
        let exchange = async {
            let answer = self.client.request(request.map(Full::new)).await.map_err(refused)?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, bounds.answer_max).collect().await;
            let body = body.map_err(|error| {
                if error.downcast_ref::<LengthLimitError>().is_some() {
                    return OutboundError::TooLarge { answer_max: bounds.answer_max };
                }
                OutboundError::Broken { why: innermost(error.as_ref()) }
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(bounds.within, exchange).await.unwrap_or(Err(OutboundError::TimedOut))
    }
}

/// The trust anchors of the system and those in `extra_pem`.
fn trust_anchors(extra_pem: Option<&[u8]>) -> Result<rustls::RootCertStore, OutboundError> {
    let mut roots = rustls::RootCertStore::empty();
    // Single anchors of the system that cannot be parsed are left out, as browsers do.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = extra_pem {
        add_anchors(&mut roots, pem)?;
    }
    Ok(roots)
}

fn add_anchors(roots: &mut rustls::RootCertStore, pem: &[u8]) -> Result<(), OutboundError> {
    let unreadable = |why: String| OutboundError::Roots { why };
    let mut count = 0_usize;
    for found in CertificateDer::pem_slice_iter(pem) {
        let found = found.map_err(|error| unreadable(error.to_string()))?;
        roots.add(found).map_err(|error| unreadable(error.to_string()))?;
        count = count.saturating_add(1);
    }
    if count == 0 {
        return Err(unreadable("there is no certificate in them".to_owned()));
    }
    Ok(())
}

/// A user name in an address would be sent nowhere and shown in every log.
fn check(address: &Uri) -> Result<(), OutboundError> {
    let known = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&address.scheme());
    let host = address.host().is_some_and(|host| !host.is_empty());
    let user = address.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if known && host && !user { Ok(()) } else { Err(OutboundError::Address) }
}

fn announce(headers: &mut HeaderMap) {
    if !headers.contains_key(header::USER_AGENT) {
        let name = HeaderValue::from_static(concat!("placet/", env!("CARGO_PKG_VERSION")));
        headers.insert(header::USER_AGENT, name);
    }
}

fn refused(error: hyper_util::client::legacy::Error) -> OutboundError {
    let why = innermost(&error);
    let certificate = |it: &(dyn StdError + 'static)| {
        matches!(it.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
    };
    if is_caused(&error, certificate) {
        OutboundError::Untrusted { why }
    } else if is_caused(&error, |it| it.is::<inside::IsInside>()) {
        OutboundError::Inside
    } else if error.is_connect() {
        OutboundError::Unreachable { why }
    } else {
        OutboundError::Broken { why }
    }
}

fn is_caused(
    error: &(dyn StdError + 'static),
    by: impl Fn(&(dyn StdError + 'static)) -> bool,
) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if by(error) {
            return true;
        }
        // An I/O error's source is that of what it wraps; what it wraps is the one looked for.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}

/// The last cause says what happened; those above it say where.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
