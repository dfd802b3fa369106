//! The door itself: opened on a gateway, closed in good order or at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use dunlin_base::env::Task;
use dunlin_base::{Env, Error, Result};
use dunlin_planner::Planner;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use super::connection::{Limits, incoming};
use super::options::{Auth, DoorOptions, Tls};
use super::service::{Door, Service};
use crate::gateway::Gateway;

/// What streams that must end are given to say so.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// An open Flight SQL door. Dropping it closes it at once.
pub struct FlightDoor {
    env: Env,
    gateway: Gateway,
    local_addr: SocketAddr,
    closing: CancellationToken,
    leave: CancellationToken,
    cut: CancellationToken,
    /// Cancelled when the last call has ended.
    empty: CancellationToken,
    serving: Mutex<Option<Task<()>>>,
}

impl FlightDoor {
    /// Opens a door on a gateway. `Invalid`: an address that cannot be listened on, a certificate
    /// that is none. `Retry`: the metadata store is out of reach.
    pub async fn start(
        gateway: Gateway,
        planner: Arc<Planner>,
        options: DoorOptions,
    ) -> Result<Self> {
        let env = gateway.parts().env.clone();
        let bad = |e: std::io::Error| {
            Error::invalid(format!("cannot listen on {}: {e}", options.listen)).with_source(e)
        };
        let listener = bind(options.listen).await.map_err(bad)?;
        let local_addr = listener.local_addr().map_err(bad)?;
        if options.tls.is_none() && matches!(options.auth, Auth::Users(_)) {
            tracing::warn!(%local_addr, "passwords travel in the clear: the door has no certificate");
        }
        let mut server = server(&options)?;
        let [closing, leave, cut, empty] = std::array::from_fn(|_| CancellationToken::new());
        let limits = Limits {
            connections_max: options.connections_max,
            // One that speaks HTTP/2 answers a probe long before.
            silence_max: (options.keep_alive + options.keep_alive_timeout) * 2,
        };
        let connections = incoming(listener, limits, cut.clone(), env.clone());
        let (most_in, most_out) = (options.message_in_max, options.message_out_max);
        let door = Door::new(gateway.clone(), planner, options, leave.clone()).await?;
        let service = FlightServiceServer::new(Service::new(Arc::new(door)))
            .max_decoding_message_size(most_in.as_usize())
            // Rows are measured before they are sent; what surrounds them is small.
            .max_encoding_message_size(most_out.as_usize().saturating_add(1 << 20));
        let serve = server
            .add_service(service)
            .serve_with_incoming_shutdown(connections, closing.clone().cancelled_owned());
        let done = empty.clone();
        let task = env.spawn("flight door", async move {
            let _done = done.drop_guard();
            if let Err(error) = serve.await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the door has failed");
            }
        });
        let serving = Mutex::new(Some(task));
        Ok(Self { env, gateway, local_addr, closing, leave, cut, empty, serving })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Takes no more calls, waits until those that there are have ended, at most `deadline`; then
    /// ends them with `Retry`. Queries of readers that are sent away go on: their clients find them
    /// at other gateways. (From the start of it no reader that leaves cancels its query, whichever
    /// door of the gateway it came by.)
    pub async fn shutdown(&self, deadline: Duration) {
        self.gateway.hand_over();
        self.closing.cancel();
        let Some(task) = self.serving.lock().take() else { return };
        if self.env.timeout(deadline, self.empty.cancelled()).await.is_none() {
            self.leave.cancel();
            self.env.timeout(LAST_WORDS, self.empty.cancelled()).await;
        }
        self.cut.cancel();
        task.abort();
    }

    /// Closes it as a crash would: connections break, nobody is told, no query is cancelled.
    pub fn kill(&self) {
        self.gateway.hand_over();
        self.close();
    }

    fn close(&self) {
        self.closing.cancel();
        self.cut.cancel();
        if let Some(task) = self.serving.lock().take() {
            task.abort();
        }
    }
}

impl Drop for FlightDoor {
    fn drop(&mut self) {
        self.close();
    }
}

#[expect(clippy::disallowed_methods, reason = "tonic takes tokio's listener only")]
async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

fn server(options: &DoorOptions) -> Result<Server> {
    let server = Server::builder()
        .max_concurrent_streams(options.connection_calls_max)
        .http2_keepalive_interval(Some(options.keep_alive))
        .http2_keepalive_timeout(Some(options.keep_alive_timeout));
    let Some(tls) = &options.tls else { return Ok(server) };
    server
        .tls_config(tls_config(tls))
        .map_err(|e| Error::invalid("the door's certificate or key cannot be used").with_source(e))
}

fn tls_config(tls: &Tls) -> ServerTlsConfig {
    let config = ServerTlsConfig::new().identity(Identity::from_pem(&tls.certificate, &tls.key));
    match &tls.client_authority {
        Some(authority) => config.client_ca_root(Certificate::from_pem(authority)),
        None => config,
    }
}
