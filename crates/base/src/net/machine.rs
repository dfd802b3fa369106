//! Connections between processes of one machine and one user, through a socket in the file system.
//! A byte costs half of what it costs through TCP on the loopback device.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

use super::Stream;
use crate::{Env, Error, Result};

/// Takes connections of the same user at one path, which is removed when this is dropped.
#[derive(Debug)]
pub struct MachineListener {
    listener: UnixListener,
    path: PathBuf,
}

impl MachineListener {
    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection; those of other users are turned away. `Retry` if the system cannot take
    /// one now: wait before the next call. Dropping the future loses no connection.
    pub async fn accept(&self) -> Result<Stream> {
        loop {
            let accepted = self.listener.accept().await;
            let (stream, _) = accepted.map_err(|e| {
                Error::retry(format!("cannot accept a connection: {e}")).with_source(e)
            })?;
            if is_own(&stream) {
                return Ok(Box::new(stream));
            }
            tracing::warn!(path = %self.path.display(), "another user's process was turned away");
        }
    }
}

impl Drop for MachineListener {
    fn drop(&mut self) {
        // A path without a listener refuses connections, so one that stays does no harm.
        drop(std::fs::remove_file(&self.path));
    }
}

impl Env {
    /// Listens at a path that does not exist yet, for processes of the same user. `Invalid` if it
    /// cannot be used: it may be too long (some 100 bytes), or its folder not writable. To be
    /// called on the runtime that will use the listener.
    pub fn listen_on_machine(&self, path: &Path) -> Result<MachineListener> {
        let listener = bind(path).map_err(|e| {
            Error::invalid(format!("cannot listen at {}: {e}", path.display())).with_source(e)
        })?;
        Ok(MachineListener { listener, path: path.to_owned() })
    }

    /// Connects to who listens at `path`. `Retry` if nobody of the same user does. To be called on
    /// the runtime that will use the stream.
    pub async fn connect_on_machine(&self, path: &Path, limit: Duration) -> Result<Stream> {
        let at = path.display();
        let Some(connected) = self.timeout(limit, connect(path)).await else {
            return Err(Error::retry(format!("no answer at {at} within {} ms", limit.as_millis())));
        };
        let stream = connected
            .map_err(|e| Error::retry(format!("cannot connect to {at}: {e}")).with_source(e))?;
        if is_own(&stream) {
            return Ok(Box::new(stream));
        }
        Err(Error::retry(format!("another user listens at {at}")))
    }
}

/// What tells this machine, since its last start, from others; `None` if the system does not say.
pub fn machine() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

fn is_own(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own)
}

#[expect(clippy::disallowed_methods, reason = "this is the seam")]
fn bind(path: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(path)
}

#[expect(clippy::disallowed_methods, reason = "this is the seam")]
async fn connect(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(path).await
}
