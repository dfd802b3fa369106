//! The master: answers from the records and from what is known of workers, and keeps nothing itself.
//! Any number of them may run; any answers any request.

mod admin;
mod crew;
mod heartbeat;
mod requests;
mod slots;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::{ByteCount, Env, Result};
use dunlin_celeborn::frame::Limits;
use dunlin_metadata::StoreRef;
use parking_lot::Mutex;

use crate::auth::Keyring;
use crate::control::Control;
use crate::fleet::Fleet;
use crate::net::{Bound, Guard, Port, PortOptions, Tls};
use crate::records::Records;
use crate::timer::{Timer, Times};

pub use self::admin::Application;
pub use self::crew::Standing;
pub use self::slots::SlotPolicy;

/// Where a master listens, and what it allows.
#[derive(Clone, Debug)]
pub struct MasterOptions {
    /// `host:port`; port 0 is any free one.
    pub listen: String,
    /// Encryption; `None` is plain TCP.
    pub tls: Option<Tls>,
    /// How long an application lives after its last heartbeat, which come every ten seconds. All masters
    /// have to agree. Default: 300 s, as with Celeborn's.
    pub application_ttl: Duration,
    /// How partitions are dealt out to workers.
    pub slots: SlotPolicy,
    /// Clients have to prove which application they are. All masters and workers have to agree.
    pub auth: bool,
}

impl MasterOptions {
    /// The defaults, listening there without TLS, for anybody.
    pub fn new(listen: impl Into<String>) -> Self {
        let application_ttl = Duration::from_secs(300);
        let (listen, slots) = (listen.into(), SlotPolicy::default());
        Self { listen, tls: None, application_ttl, slots, auth: false }
    }
}

/// A master that answers at its port until it is dropped.
pub struct Master {
    address: SocketAddr,
    port: Port,
    desk: Arc<Desk>,
}

/// What a master knows of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MasterStats {
    /// Applications that are alive.
    pub applications: u64,
    /// Shuffles that have slots.
    pub shuffles: u64,
    /// Workers that are alive.
    pub workers: u64,
    /// Those of them that are given partitions.
    pub available: u64,
    /// Those that are to go, but were not decommissioned.
    pub going: u64,
    /// Those that were decommissioned.
    pub decommissioning: u64,
    /// Those that take nothing now: full, sick, or excluded by hand.
    pub excluded: u64,
}

/// What answers.
pub(crate) struct Desk {
    records: Records,
    fleet: Arc<dyn Fleet>,
    env: Env,
    policy: SlotPolicy,
    /// When applications said something last, in milliseconds since 1970: for who looks, decides nothing.
    heard: Mutex<HashMap<String, u64>>,
    /// Choices of workers.
    offers: Timer,
}

impl Master {
    /// Listens and answers. `Invalid` if the address cannot be used.
    pub async fn start(
        env: &Env,
        options: MasterOptions,
        store: StoreRef,
        fleet: Arc<dyn Fleet>,
    ) -> Result<Self> {
        let MasterOptions { listen, tls, application_ttl, slots, auth } = options;
        let bound = Bound::bind(env, &listen).await?;
        let address = bound.address();
        let records = Records::new(store, env.clone(), application_ttl);
        let keys = Keyring::of_master(records.clone(), env.clone());
        let guard = if auth { Guard::Proof(Arc::new(keys)) } else { Guard::Open };
        let (env, policy) = (env.clone(), slots);
        let (heard, offers) = (Mutex::default(), Timer::default());
        let desk = Desk { records, fleet, env, policy, heard, offers };
        let desk = Arc::new(desk);
        let options = PortOptions {
            name: "master",
            limits: Limits::CONTROL,
            connections_max: 20_000,
            requests_max: 256,
            room: ByteCount(256 << 20),
            tls,
            guard,
        };
        let port = bound.open(&options, Arc::new(Control(Arc::clone(&desk))));
        Ok(Self { address, port, desk })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is so now, whoever of the masters did it. `Retry`: the store does not answer.
    pub async fn stats(&self) -> Result<MasterStats> {
        let records = &self.desk.records;
        let crew = self.desk.crew().await?;
        let count = |which: fn(&&Standing) -> bool| crew.iter().filter(which).count() as u64;
        Ok(MasterStats {
            applications: records.apps().await?.len() as u64,
            shuffles: records.queries().await?.len() as u64,
            workers: crew.len() as u64,
            available: count(|one| one.takes_slots()),
            going: count(|one| one.is_leaving() && !one.is_decommissioning()),
            decommissioning: count(|one| one.is_decommissioning()),
            excluded: count(|one| one.is_unwell() || one.excluded.is_some()),
        })
    }

    /// How long things take, by the names that Celeborn's masters have for them.
    pub fn timers(&self) -> Vec<(&'static str, Times)> {
        vec![("OfferSlotsTime", self.desk.offers.times(self.desk.env.now()))]
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.port.connections()
    }
}
