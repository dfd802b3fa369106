//! Has the client of a push know that it waits, until the push has ended: no word follows the last one.

use std::sync::Arc;

use dunlin_proto::shuffle::{Hear, Wait};
use dunlin_proto::wire::{Answer, RequestId};
use parking_lot::Mutex;

use super::connection::Connection;

/// A push under way whose client understands [`Answer::Waiting`]. Dropped before its end is answered.
pub(super) struct Telling(Arc<Mouth>);

/// What the worker calls. A copy of the push may be under way for longer than the push.
pub(super) struct Mouth {
    connection: Arc<Connection>,
    id: RequestId,
    /// Held while a word goes out, so that none is on its way when the end is.
    ended: Mutex<bool>,
}

impl Telling {
    pub(super) fn of(connection: &Arc<Connection>, id: RequestId) -> Self {
        let (connection, ended) = (Arc::clone(connection), Mutex::new(false));
        Self(Arc::new(Mouth { connection, id, ended }))
    }

    pub(super) fn mouth(&self) -> Arc<Mouth> {
        Arc::clone(&self.0)
    }
}

impl Hear for Mouth {
    fn waits(&self, why: Wait) {
        let ended = self.ended.lock();
        if !*ended {
            // A connection that has ended does not want it.
            drop(self.connection.post(self.id, Answer::Waiting(why)));
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        *self.0.ended.lock() = true;
    }
}
