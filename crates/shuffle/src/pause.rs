//! What a writer hears of one push that waits at its worker: the window of that worker closes, nothing
//! more is sent there, and the pause is counted. Told by the transport, ended by whoever pushed.

use std::sync::Arc;

use dunlin_base::ProcessId;
use dunlin_proto::block::ShuffleId;
use dunlin_proto::shuffle::{Hear, Wait};
use parking_lot::Mutex;

use crate::congestion::Flow;
use crate::traffic::{PausedPush, Traffic};

/// The ear of one push. Words that come after its end count for nothing.
pub(crate) struct Ear {
    worker: ProcessId,
    shuffle: ShuffleId,
    flow: Arc<Flow>,
    traffic: Option<Arc<Traffic>>,
    heard: Mutex<Heard>,
}

enum Heard {
    Nothing,
    /// It waits, and since when for the counters.
    Pause(Option<PausedPush>),
    Over,
}

/// A push that may be told to wait, until this is dropped.
pub(crate) struct Listening(Arc<Ear>);

impl Listening {
    pub(crate) fn new(
        worker: ProcessId,
        shuffle: ShuffleId,
        flow: Arc<Flow>,
        traffic: Option<Arc<Traffic>>,
    ) -> Self {
        let heard = Mutex::new(Heard::Nothing);
        Self(Arc::new(Ear { worker, shuffle, flow, traffic, heard }))
    }

    pub(crate) fn ear(&self) -> Arc<Ear> {
        Arc::clone(&self.0)
    }
}

impl Hear for Ear {
    fn waits(&self, why: Wait) {
        let mut heard = self.heard.lock();
        // Words after the first say that it goes on.
        if matches!(*heard, Heard::Nothing) {
            let Self { worker, shuffle, flow, traffic, .. } = self;
            flow.pause();
            let counted = traffic.as_ref().map(|traffic| traffic.pause(*worker, *shuffle, why));
            *heard = Heard::Pause(counted);
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let Ear { worker, flow, traffic, heard, .. } = self.0.as_ref();
        let Heard::Pause(counted) = std::mem::replace(&mut *heard.lock(), Heard::Over) else {
            return;
        };
        flow.go_on();
        if let (Some(traffic), Some(counted)) = (traffic, counted) {
            traffic.go_on(*worker, counted);
        }
    }
}
