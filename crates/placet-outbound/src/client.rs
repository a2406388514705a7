//! Connections of a client to one server that its user chose: how the server proves who it is, and how the
//! client does. Refuses to know what is asked.

use crate::{OutboundError, add_anchors, trust_anchors};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, WantsVerifier};
use std::fmt;
use std::sync::Arc;

/// Opens connections over TLS or without it, as the address says.
pub type Connector = HttpsConnector<HttpConnector>;

/// TLS as a client speaks it.
#[derive(Clone, Default)]
pub struct ClientTls {
    /// Trust anchors in PEM, in place of those of the system.
    pub authorities: Option<Vec<u8>>,
    /// The client's certificate, with those above it, and its private key, both in PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("identity", &self.identity.is_some())
            .finish_non_exhaustive()
    }
}

impl ClientTls {
    /// For plain HTTP, without looking for the trust anchors of the system: over TLS it would trust nobody.
    ///
    /// # Errors
    /// Only where the library does not know itself.
    pub fn plain() -> Result<Connector, OutboundError> {
        let builder = builder()?.with_root_certificates(rustls::RootCertStore::empty());
        Ok(wrapped(builder.with_no_client_auth()))
    }

    /// With TLS to addresses that begin with `https`.
    ///
    /// # Errors
    /// [`OutboundError::Roots`], [`OutboundError::Identity`].
    pub fn connector(&self) -> Result<Connector, OutboundError> {
        let roots = match &self.authorities {
            None => trust_anchors(None)?,
            Some(pem) => {
                let mut roots = rustls::RootCertStore::empty();
                add_anchors(&mut roots, pem)?;
                roots
            }
        };
        let builder = builder()?.with_root_certificates(roots);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let bad = |why: String| OutboundError::Identity { why };
                let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
                    .collect::<Result<_, _>>()
                    .map_err(|error| bad(format!("no certificate in PEM: {error}")))?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|error| bad(format!("no private key in PEM: {error}")))?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|error| bad(format!("it does not go with its key: {error}")))?
            }
        };
        Ok(wrapped(config))
    }
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, OutboundError> {
    // Named explicitly: a default of the process would depend on what else is linked in.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| OutboundError::Roots { why: error.to_string() })
}

fn wrapped(config: ClientConfig) -> Connector {
    let mut plain = HttpConnector::new();
    plain.set_nodelay(true);
    plain.enforce_http(false);
    HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(plain)
}
