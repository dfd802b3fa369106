//! Encryption under the same frames, as Celeborn has it: no greeting, no negotiation of protocols.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use dunlin_base::net::Stream;
use dunlin_base::{Error, Result};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The certificates of a process.
#[derive(Clone)]
pub struct Tls {
    /// For connections that come in. Clients of Celeborn usually show no certificate.
    pub server: Arc<ServerConfig>,
    /// For connections of other workers that come in: these show a certificate.
    pub mutual: Arc<ServerConfig>,
    /// For connections to the workers of second copies.
    pub client: Arc<ClientConfig>,
}

impl Debug for Tls {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// `Invalid`: the other side speaks something else, or does not believe the certificate.
    pub(super) async fn accept(&self, stream: Stream) -> Result<Stream> {
        let secured = TlsAcceptor::from(Arc::clone(&self.server)).accept(stream).await;
        let secured = secured.map_err(|e| {
            Error::invalid(format!("a client's TLS handshake failed: {e}")).with_source(e)
        })?;
        Ok(Box::new(secured))
    }

    /// The same towards `host:port`, whose certificate has to name the host.
    pub(super) async fn connect(&self, address: &str, stream: Stream) -> Result<Stream> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host)
            .map_err(|e| Error::invalid(format!("{address} cannot be in a certificate: {e}")))?;
        let secured = TlsConnector::from(Arc::clone(&self.client)).connect(name, stream).await;
        let secured = secured.map_err(|e| {
            Error::invalid(format!("the TLS handshake with {address} failed: {e}")).with_source(e)
        })?;
        Ok(Box::new(secured))
    }
}
