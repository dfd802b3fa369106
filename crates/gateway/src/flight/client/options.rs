//! Where a client connects to, and as whom.

use std::fmt;
use std::time::Duration;

use dunlin_base::ByteCount;

/// As whom a client comes.
#[derive(Clone)]
pub enum Credentials {
    /// The gateway asks nobody.
    None,
    /// A user with a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that some gateway gave.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Password { user, .. } => write!(f, "Password of {user}"),
            Self::Token(_) => f.write_str("Token"),
        }
    }
}

/// How a client checks the gateway.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// The authority that signed its certificate, PEM.
    pub authority: String,
    /// The name that the certificate is for, where it is not the address.
    pub name: Option<String>,
}

/// Where a client connects to, as whom, and how long it tries.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// `HOST:PORT` of the gateways; any is as good as the others.
    pub addresses: Vec<String>,
    /// As whom.
    pub credentials: Credentials,
    /// Encryption.
    pub tls: Option<ClientTls>,
    /// Longest wait for a connection to one gateway.
    pub connect_timeout: Duration,
    /// How long a result that broke off is tried to be resumed without a row that comes.
    pub resume_for: Duration,
    /// Longest message that it takes.
    pub message_max: ByteCount,
}

impl ClientOptions {
    /// A client of these gateways.
    pub fn new(addresses: Vec<String>, credentials: Credentials) -> Self {
        Self {
            addresses,
            credentials,
            tls: None,
            connect_timeout: Duration::from_secs(5),
            resume_for: Duration::from_secs(30),
            message_max: ByteCount::mib(128),
        }
    }
}
