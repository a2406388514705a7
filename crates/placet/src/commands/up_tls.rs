//! TLS of `placet up`: what the command line says of it, and SIGHUP. Refuses to know what is served.

use crate::exit::Fault;
use anyhow::Result;
use clap::{Args, ValueEnum};
use placet_server::{Clients, Tls, TlsFiles};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Whether every client shows a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientAuth {
    /// No connection without one.
    #[default]
    Required,
    /// Who has none shows a key; channels that call in prove themselves as before.
    Optional,
}

/// TLS.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TlsArgs {
    /// Speak TLS: the server's certificate and those above it, in PEM; read again on SIGHUP and when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, in PEM, which others cannot read
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Authorities that sign certificates of clients, in PEM; an admin says who a certificate stands for
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// Whether every client has to show a certificate
    #[arg(
        long,
        value_enum,
        default_value = "required",
        requires = "client_ca",
        value_name = "HOW"
    )]
    client_auth: ClientAuth,
}

impl TlsArgs {
    /// What the files hold; `None` for plain HTTP.
    ///
    /// # Errors
    /// When they are not good.
    pub(super) fn load(&self) -> Result<Option<Arc<Tls>>> {
        let Some((certificate, key)) = self.tls_cert.clone().zip(self.tls_key.clone()) else {
            return Ok(None);
        };
        let optional = self.client_auth == ClientAuth::Optional;
        let clients = self.client_ca.clone().map(|authorities| Clients { authorities, optional });
        let files = TlsFiles { certificate, key, clients };
        let tls = Tls::load(files).map_err(|error| {
            Fault::usage(error.to_string())
                .next("--tls-cert, --tls-key and --client-ca name files in PEM")
        })?;
        Ok(Some(Arc::new(tls)))
    }
}

/// SIGHUP: certificates are read again. Where there are none, it ends the process as it always does.
pub(super) fn reload_on_signal(tls: &Arc<Tls>) -> Result<()> {
    let tls = Arc::downgrade(tls);
    let mut asked = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            let Some(tls) = tls.upgrade() else { return };
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(())) => eprintln!("placet: certificates were read again"),
                Ok(Err(error)) => eprintln!("placet: certificates stay as they were: {error}"),
                Err(_) => {}
            }
        }
    });
    Ok(())
}
