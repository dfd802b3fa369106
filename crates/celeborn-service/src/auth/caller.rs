//! Who asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use dunlin_base::{Error, Result};
use dunlin_celeborn::sasl::Key;

/// Who asks on a connection.
#[derive(Clone, Debug, Default)]
pub(crate) enum Caller {
    /// Somebody who has to say who he is, and has not.
    #[default]
    Stranger,
    /// Nobody is asked here.
    Anybody,
    /// An application that has proved it.
    Application(Arc<Identity>),
}

/// An application, by the key that was proved.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) application: Arc<str>,
    pub(crate) key: Key,
    /// The application has ended, or has another key: a later one of the same name.
    ended: AtomicBool,
}

impl Identity {
    pub(crate) fn new(application: &str, key: Key) -> Arc<Self> {
        Arc::new(Self { application: application.into(), key, ended: AtomicBool::new(false) })
    }

    /// Whoever proved it may do nothing more.
    pub(super) fn end(&self) {
        self.ended.store(true, Relaxed);
    }

    /// True after [`Identity::end`].
    pub(crate) fn is_over(&self) -> bool {
        self.ended.load(Relaxed)
    }
}

impl Caller {
    /// Whether it may ask for something of this application. `Invalid`: no; the text is for the client.
    pub(crate) fn may(&self, application: &str) -> Result<()> {
        match self {
            Self::Anybody => Ok(()),
            Self::Stranger => Err(stranger()),
            Self::Application(own) if *own.application != *application => {
                let own = &own.application;
                let text = format!("this connection is of application {own}");
                Err(Error::invalid(format!("{text}, and not of {application}")))
            }
            Self::Application(own) if own.is_over() => Err(over(application)),
            Self::Application(_) => Ok(()),
        }
    }

    /// The key that it proved.
    pub(crate) fn key(&self) -> Option<Key> {
        match self {
            Self::Application(identity) => Some(identity.key),
            Self::Stranger | Self::Anybody => None,
        }
    }
}

/// What a client is told that asks for anything before it has said who it is.
pub(crate) fn stranger() -> Error {
    Error::invalid("clients have to prove which application they are, and this one did not")
        .with_hint("set spark.celeborn.auth.enabled to true")
}

/// What a connection is told whose application is another one by now.
pub(super) fn over(application: &str) -> Error {
    Error::invalid(format!("application {application} that this connection was of has ended"))
}
