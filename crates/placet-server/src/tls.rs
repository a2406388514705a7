//! TLS of the server itself: its certificate, whose clients' certificates count, and both taken up again when
//! their files change. Owns the files and the handshake; refuses to know who a client is.

use crate::certificate::ClientCertificate;
use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Bytes of a file of certificates or keys.
const FILE_MAX: u64 = 1 << 20;
/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where certificates and keys are, in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate, and those between it and an authority that clients know.
    pub certificate: PathBuf,
    /// Its private key; others must not be able to read it.
    pub key: PathBuf,
    /// Whose certificates clients show; `None`: none are asked for.
    pub clients: Option<Clients>,
}

/// Certificates of clients.
#[derive(Clone, Debug)]
pub struct Clients {
    /// The authorities that sign them.
    pub authorities: PathBuf,
    /// Whether a client may come without one: then it shows a key, or is a channel that proves itself.
    pub optional: bool,
}

/// Why TLS cannot be spoken so.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    Unreadable {
        /// Which.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file is not what it should be.
    Malformed {
        /// Which.
        file: PathBuf,
        /// What it should be, and is not.
        why: String,
    },
    /// Others can read the private key.
    Exposed {
        /// Which file.
        file: PathBuf,
    },
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, error } => {
                write!(f, "{} cannot be read: {error}", file.display())
            }
            Self::Malformed { file, why } => write!(f, "{}: {why}", file.display()),
            Self::Exposed { file } => write!(
                f,
                "others can read {}, which holds a private key; `chmod o-rwx` it",
                file.display()
            ),
        }
    }
}

impl std::error::Error for TlsError {}

/// What a file was when it was read: another one under its name differs in one of these.
type Seen = (PathBuf, Option<(u64, u64, i64, i64, u64)>);

/// TLS, as the files say at the moment.
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<ServerConfig>,
    /// The files as they were looked at last, whether they were good or not.
    seen: Mutex<Vec<Seen>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let seen = Mutex::new(seen(&files));
        let current = ArcSwap::from_pointee(read(&files)?);
        Ok(Self { files, current, seen })
    }

    /// Reads the files again: new connections are made under what they say now. What is open stays open.
    ///
    /// # Errors
    /// [`TlsError`]; then everything stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen(&self.files);
        self.current.store(Arc::new(read(&self.files)?));
        Ok(())
    }

    /// Reads the files again if one of them has changed since they were last looked at; whether it was so.
    ///
    /// # Errors
    /// As [`reload`](Self::reload); once for each change.
    pub fn look(&self) -> Result<bool, TlsError> {
        let changed =
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != seen(&self.files);
        if changed {
            self.reload()?;
        }
        Ok(changed)
    }

    /// Looks at the files for ever. A pair of which one half is there already is not good; the other half is
    /// a change of its own.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let tls = self.clone();
            match tokio::task::spawn_blocking(move || tls.look()).await {
                Ok(Ok(true)) => eprintln!("placet: certificates were read again"),
                Ok(Err(error)) => eprintln!("placet: certificates stay as they were: {error}"),
                Ok(Ok(false)) | Err(_) => {}
            }
        }
    }

    /// The handshake of one connection, within a time, under what the files say now. `None` where it fails:
    /// what a client breaks off, or cannot prove, is told to that client alone.
    pub(crate) fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        within: Duration,
    ) -> impl Future<Output = Option<(TlsStream<S>, Option<ClientCertificate>)>> + use<S> {
        let acceptor = TlsAcceptor::from(self.current.load_full());
        async move {
            let accepted = tokio::time::timeout(within, acceptor.accept(stream)).await;
            let stream = accepted.ok()?.ok()?;
            let proven = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let certificate = match proven {
                None => None,
                // One that was believed and cannot be read is nobody's: the connection ends.
                Some(der) => Some(ClientCertificate::of(der)?),
            };
            Some((stream, certificate))
        }
    }
}

fn seen(files: &TlsFiles) -> Vec<Seen> {
    let authorities = files.clients.as_ref().map(|clients| &clients.authorities);
    let all = [Some(&files.certificate), Some(&files.key), authorities];
    let look = |file: &PathBuf| {
        let about = fs::metadata(file).ok();
        let about = about.map(|it| (it.dev(), it.ino(), it.mtime(), it.mtime_nsec(), it.size()));
        (file.clone(), about)
    };
    all.into_iter().flatten().map(look).collect()
}

fn read(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let malformed = |file: &Path, why: String| TlsError::Malformed { file: file.to_owned(), why };
    let chain = certificates(&files.certificate)?;
    let key = private_key(&files.key)?;
    // Named explicitly: a default of the process would depend on what else is linked in.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| malformed(&files.certificate, error.to_string()))?;
    let builder = match &files.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(&clients.authorities)? {
                roots
                    .add(authority)
                    .map_err(|error| malformed(&clients.authorities, error.to_string()))?;
            }
            let mut verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            if clients.optional {
                verifier = verifier.allow_unauthenticated();
            }
            let verifier = verifier
                .build()
                .map_err(|error| malformed(&clients.authorities, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        let why = format!("certificate and key do not go together: {error}");
        malformed(&files.certificate, why)
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A session that is taken up again would not look at the client's certificate again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let malformed = |why: String| TlsError::Malformed { file: file.to_owned(), why };
    let (pem, _) = bytes(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| malformed(format!("no certificates in PEM: {error}")))?;
    if found.is_empty() {
        return Err(malformed("there is no certificate in it".to_owned()));
    }
    Ok(found)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let (pem, mode) = bytes(file)?;
    let pem = zeroize::Zeroizing::new(pem);
    if mode & 0o007 != 0 {
        return Err(TlsError::Exposed { file: file.to_owned() });
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let why = format!("there is no private key in PEM in it: {error}");
        TlsError::Malformed { file: file.to_owned(), why }
    })
}

fn bytes(file: &Path) -> Result<(Vec<u8>, u32), TlsError> {
    let unreadable = |error: io::Error| TlsError::Unreadable { file: file.to_owned(), error };
    let opened = File::open(file).map_err(unreadable)?;
    let mode = opened.metadata().map_err(unreadable)?.mode();
    let mut bytes = Vec::new();
    opened.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX {
        let why = format!("it has more than {FILE_MAX} bytes");
        return Err(TlsError::Malformed { file: file.to_owned(), why });
    }
    Ok((bytes, mode))
}
