//! The master: answers from the records and from what is known of workers, and keeps nothing itself.
//! Any number of them may run; any answers any request.

mod heartbeat;
mod requests;
mod slots;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{ByteCount, Env, Result};
use dunlin_celeborn::frame::Limits;
use dunlin_metadata::StoreRef;

use crate::control::Control;
use crate::fleet::Fleet;
use crate::net::{Bound, Port, PortOptions};
use crate::records::Records;

/// How long an application lives after its last heartbeat, which come every ten seconds. As with
/// Celeborn's master.
pub const APPLICATION_TTL: Duration = Duration::from_secs(300);

const PORT: PortOptions = PortOptions {
    name: "master",
    limits: Limits::CONTROL,
    connections_max: 20_000,
    requests_max: 256,
    room: ByteCount(256 << 20),
};

/// A master that answers at its port until it is dropped.
pub struct Master {
    address: SocketAddr,
    port: Port,
}

/// What answers.
pub(crate) struct Desk {
    records: Records,
    fleet: Arc<dyn Fleet>,
    env: Env,
}

impl Master {
    /// Listens at `host:port` (port 0 is any free one) and answers. `Invalid` if the address cannot be
    /// used.
    pub async fn start(
        env: &Env,
        listen: &str,
        store: StoreRef,
        fleet: Arc<dyn Fleet>,
    ) -> Result<Self> {
        let bound = Bound::bind(env, listen).await?;
        let address = bound.address();
        let records = Records::new(store, env.clone(), APPLICATION_TTL);
        let desk = Desk { records, fleet, env: env.clone() };
        let port = bound.open(&PORT, Arc::new(Control(Arc::new(desk))));
        Ok(Self { address, port })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.port.connections()
    }
}
