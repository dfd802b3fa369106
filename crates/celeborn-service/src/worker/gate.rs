//! What lets pushes to a location in until it is committed. Whoever closes it waits for those inside.

use parking_lot::Mutex;
use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    empty: Notify,
}

#[derive(Default)]
struct State {
    inside: usize,
    closed: bool,
}

/// A push inside; it leaves on drop.
pub(crate) struct Inside<'a>(&'a Gate);

impl Gate {
    /// A gate that is closed from the beginning: nothing ever comes in.
    pub(crate) fn closed() -> Self {
        let state = Mutex::new(State { inside: 0, closed: true });
        Self { state, empty: Notify::new() }
    }

    /// Lets a push in. `None`: it is closed.
    pub(crate) fn enter(&self) -> Option<Inside<'_>> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        state.inside += 1;
        Some(Inside(self))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Lets nothing more in, at once, and waits for what is inside. May be repeated; dropping the
    /// future leaves it closed.
    pub(crate) async fn close(&self) {
        loop {
            let mut empty = std::pin::pin!(self.empty.notified());
            empty.as_mut().enable();
            {
                let mut state = self.state.lock();
                state.closed = true;
                if state.inside == 0 {
                    return;
                }
            }
            empty.await;
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.inside -= 1;
        if state.inside == 0 {
            self.0.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_close_waits_for_who_is_inside_and_lets_nobody_in() {
        let gate = Gate::default();
        let (one, two) = (gate.enter().expect("open"), gate.enter().expect("open"));
        let mut closing = Box::pin(gate.close());
        assert!((&mut closing).now_or_never().is_none());
        assert!(gate.enter().is_none() && gate.is_closed());
        drop(one);
        assert!((&mut closing).now_or_never().is_none());
        drop(two);
        assert!((&mut closing).now_or_never().is_some());
        assert!(gate.close().now_or_never().is_some(), "twice is once");
    }
}
