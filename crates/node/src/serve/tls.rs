//! Certificates of a process: one chain and key for all its listeners and connections, one authority
//! whose certificates are believed, on both sides.

use std::path::Path;
use std::sync::Arc;

use dunlin_base::{Error, Result};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::cli::Serve;
use crate::engine::WireTls;

/// PEM texts, read once.
pub(super) struct Material {
    certificate: String,
    key: String,
    authority: String,
}

impl Material {
    /// `None` if no certificate was named. `Invalid`: a file that cannot be read.
    pub(super) fn load(options: &Serve) -> Result<Option<Self>> {
        let (Some(certificate), Some(key), Some(authority)) =
            (&options.tls_cert, &options.tls_key, &options.tls_ca)
        else {
            return Ok(None);
        };
        let material =
            Self { certificate: read(certificate)?, key: read(key)?, authority: read(authority)? };
        material.wire()?;
        Ok(Some(material))
    }

    /// For people and tools: they need no certificate of their own.
    pub(super) fn door(&self) -> dunlin_gateway::flight::Tls {
        dunlin_gateway::flight::Tls {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            client_authority: None,
        }
    }

    /// For clients of Celeborn, which need no certificate of their own, and from worker to worker.
    pub(super) fn celeborn(&self) -> Result<dunlin_celeborn_service::Tls> {
        let bad = |e: tokio_rustls::rustls::Error| {
            Error::invalid(format!("the TLS certificate or key cannot be used: {e}")).with_source(e)
        };
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(bad)?
            .with_no_client_auth()
            .with_single_cert(self.chain()?, self.private_key()?)
            .map_err(bad)?;
        let WireTls { server: mutual, client } = self.wire()?;
        Ok(dunlin_celeborn_service::Tls { server: Arc::new(server), mutual, client })
    }

    /// Between processes: both sides show a certificate of the authority.
    pub(super) fn wire(&self) -> Result<WireTls> {
        let bad = |e: tokio_rustls::rustls::Error| {
            Error::invalid(format!("the TLS certificate or key cannot be used: {e}")).with_source(e)
        };
        let roots = Arc::new(self.roots()?);
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let verifier = verifier
            .build()
            .map_err(|e| Error::invalid(format!("--tls-ca cannot be used: {e}")).with_source(e))?;
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(bad)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain()?, self.private_key()?)
            .map_err(bad)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(bad)?
            .with_root_certificates(roots)
            .with_client_auth_cert(self.chain()?, self.private_key()?)
            .map_err(bad)?;
        Ok(WireTls { server: Arc::new(server), client: Arc::new(client) })
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("--tls-ca", &self.authority)? {
            roots.add(certificate).map_err(|e| {
                Error::invalid(format!("--tls-ca cannot be used: {e}")).with_source(e)
            })?;
        }
        Ok(roots)
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>> {
        certificates("--tls-cert", &self.certificate)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|e| Error::invalid(format!("--tls-key holds no private key: {e}")))
    }
}

fn certificates(option: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Error::invalid(format!("{option} holds no certificate"))),
        Err(e) => Err(Error::invalid(format!("{option} holds no certificate: {e}"))),
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|e| Error::invalid(format!("cannot read {}: {e}", path.display())).with_source(e))
}
