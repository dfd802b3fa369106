//! What a door is opened with, and its limits.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dunlin_base::ByteCount;

use super::password::Cost;
use super::users::UserStore;

/// Who may come in.
#[derive(Clone)]
pub enum Auth {
    /// Everybody, and all are the same user: one machine, one person.
    Off {
        /// The user that all are.
        user: String,
    },
    /// Users with a password, and whoever holds a token that a gateway gave for one.
    Users(Arc<dyn UserStore>),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off { user } => write!(f, "off, all are '{user}'"),
            Self::Users(_) => f.write_str("users"),
        }
    }
}

/// A certificate for the door.
#[derive(Clone)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub certificate: String,
    /// Its private key, PEM.
    pub key: String,
    /// Only clients with a certificate of this authority (PEM) are let in; `None`: all.
    pub client_authority: Option<String>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// A door's address and limits.
#[derive(Clone, Debug)]
pub struct DoorOptions {
    /// Where it listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Who may come in.
    pub auth: Auth,
    /// Encryption; without it passwords travel in the clear.
    pub tls: Option<Tls>,
    /// Longest message that it takes.
    pub message_in_max: ByteCount,
    /// Longest message that it sends.
    pub message_out_max: ByteCount,
    /// Connections at a time; more wait to be accepted.
    pub connections_max: usize,
    /// Calls at a time, streams included; more are `Exhausted`.
    pub calls_max: usize,
    /// Calls at a time of one connection; more wait.
    pub connection_calls_max: u32,
    /// Passwords checked at a time; more wait. Each takes 19 MiB. They are no calls: strangers, who
    /// may log in as often as they like, take no place from those who are in.
    pub logins_max: usize,
    /// Logins that wait; more are `Exhausted`.
    pub logins_waiting_max: usize,
    /// Longest wait of a login.
    pub login_wait_max: Duration,
    /// What a guess at an unknown user's password costs: as much as that at a known one's.
    pub password_cost: Cost,
    /// Uploads of rows at a time; more are `Exhausted`. Each takes up to 512 MiB, mostly far less.
    pub uploads_max: usize,
    /// Longest silence of a client that uploads rows.
    pub upload_silence_max: Duration,
    /// Longest silence of a client that has begun a DoPut: before its first message, and among the
    /// values for a statement.
    pub put_silence_max: Duration,
    /// How long a client may leave a result that it reads untouched; then its stream ends.
    pub result_silence_max: Duration,
    /// Longest wait of one poll.
    pub poll_wait_max: Duration,
    /// Longest time of a query.
    pub query_time_max: Duration,
    /// How long a token is valid.
    pub token_ttl: Duration,
    /// How long a user that was found is not looked up again.
    pub user_recheck: Duration,
    /// How often an idle connection is probed. One from which nothing comes at all, no answer to a
    /// probe and no greeting, is cut after twice this and the next time together.
    pub keep_alive: Duration,
    /// How long the answer to a probe may take.
    pub keep_alive_timeout: Duration,
    /// Send view types as they are; several drivers know only the plain ones.
    pub view_types: bool,
    /// URIs of all gateways, told to clients with every result; empty: the one that was asked.
    pub locations: Vec<String>,
}

impl DoorOptions {
    /// A door on the loopback interface with production's limits.
    pub fn new(auth: Auth) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            auth,
            tls: None,
            message_in_max: ByteCount::mib(16),
            message_out_max: ByteCount::mib(64),
            connections_max: 1024,
            calls_max: 256,
            connection_calls_max: 64,
            logins_max: 4,
            logins_waiting_max: 64,
            login_wait_max: Duration::from_secs(10),
            password_cost: Cost::Full,
            uploads_max: 4,
            upload_silence_max: Duration::from_secs(300),
            put_silence_max: Duration::from_secs(30),
            result_silence_max: Duration::from_secs(1800),
            poll_wait_max: Duration::from_secs(10),
            query_time_max: Duration::from_secs(24 * 3600),
            token_ttl: Duration::from_secs(12 * 3600),
            user_recheck: Duration::from_secs(10),
            keep_alive: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(10),
            view_types: false,
            locations: Vec::new(),
        }
    }
}
