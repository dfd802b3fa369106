//! Calls of one kind that are under way, so that somebody can wait for their end and have no more of
//! them begin.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The calls. Kept by the worker, one for each kind.
#[derive(Default)]
pub(crate) struct Calls {
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Default)]
struct State {
    closed: bool,
    under_way: usize,
}

/// A call that is under way until this is dropped.
pub(crate) struct Call<'a>(&'a Calls);

impl Calls {
    /// Begins one; `None` once they are closed.
    pub(crate) fn enter(&self) -> Option<Call<'_>> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        state.under_way += 1;
        Some(Call(self))
    }

    /// None begins from now on.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Returns when none is under way.
    pub(crate) async fn ended(&self) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.state.lock().under_way == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.under_way -= 1;
        if state.under_way == 0 {
            drop(state);
            self.0.ended.notify_waiters();
        }
    }
}
