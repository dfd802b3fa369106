//! How many bytes may be on their way to one worker: a window that opens while the worker keeps up,
//! and closes when it says that its memory fills faster than it empties.
//!
//! [`Window`] is the rule, as a pure step function; [`Flow`] applies it to the pushes of one writer to
//! one worker.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What an answer to a push says about its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// So many bytes are stored.
    Stored(usize),
    /// They are, and the next ones should come more slowly.
    Slow(usize),
    /// Nothing is stored: there is no memory.
    Full,
    /// One waits, until something has left the memory of the worker or of its peer.
    Waits,
}

/// The window of one worker, in bytes.
///
/// *Slow start*: from the smallest size on it doubles with each window of bytes that is acknowledged,
/// up to the threshold. *Congestion avoidance*: beyond that it grows by the smallest size with each
/// window. *Back-off*: told to be slow, that a push waits, or that memory is full, it starts from the smallest size
/// again, with half of its size as the threshold. What was on its way then says nothing new, so it
/// backs off once for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) size: usize,
    threshold: usize,
    /// Bytes whose answers are old news.
    stale: usize,
    min: usize,
    max: usize,
}

impl Window {
    /// A window that is never smaller than `min` and never larger than `max`.
    pub(crate) fn new(min: usize, max: usize) -> Self {
        let min = min.max(1);
        let max = max.max(min);
        Self { size: min.saturating_mul(2).min(max), threshold: max, stale: 0, min, max }
    }

    /// The window after an answer.
    #[must_use]
    pub(crate) fn step(self, told: Told) -> Self {
        match told {
            Told::Stored(bytes) => self.heard(bytes).opened(bytes),
            Told::Slow(bytes) => self.heard(bytes).closed(),
            Told::Full | Told::Waits => self.closed(),
        }
    }

    fn heard(self, bytes: usize) -> Self {
        Self { stale: self.stale.saturating_sub(bytes), ..self }
    }

    fn opened(self, bytes: usize) -> Self {
        let Self { size, threshold, min, max, .. } = self;
        let size = if size < threshold {
            size.saturating_add(bytes).min(threshold)
        } else {
            size + bytes.min(size).saturating_mul(min).div_ceil(size)
        };
        Self { size: size.min(max), ..self }
    }

    fn closed(self) -> Self {
        if self.stale > 0 {
            return self;
        }
        let Self { size, min, .. } = self;
        Self { size: min, threshold: (size / 2).max(min), stale: size, ..self }
    }
}

/// The pushes to one worker.
pub(crate) struct Flow {
    state: Mutex<State>,
    /// Woken when a push has ended.
    ended: Notify,
    /// Who waits next, in order.
    turn: tokio::sync::Mutex<()>,
}

struct State {
    window: Window,
    in_flight: usize,
    /// Pushes of these that were told to wait.
    paused: usize,
}

impl Flow {
    pub(crate) fn new(window: Window) -> Self {
        let state = Mutex::new(State { window, in_flight: 0, paused: 0 });
        Self { state, ended: Notify::new(), turn: tokio::sync::Mutex::new(()) }
    }

    /// Waits until the window has room, and no push is paused; a push that is larger than it goes alone.
    /// Bounded by the deadlines of the pushes that are under way. Who drops the future leaves the queue.
    pub(crate) async fn enter(&self, bytes: usize) -> Pass<'_> {
        let _turn = self.turn.lock().await;
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            // Registered before the look, so that what ends after it is not missed.
            ended.as_mut().enable();
            {
                let mut state = self.state.lock();
                if state.lets_in(bytes) {
                    state.in_flight += bytes;
                    return Pass { flow: self, bytes };
                }
            }
            ended.await;
        }
    }

    /// A push that is under way waits at the worker: nothing more goes there before it has ended.
    pub(crate) fn pause(&self) {
        self.state.lock().paused += 1;
        self.told(Told::Waits);
    }

    /// A push that was paused has ended.
    pub(crate) fn go_on(&self) {
        self.state.lock().paused -= 1;
        self.ended.notify_waiters();
    }

    /// Takes an answer into account.
    pub(crate) fn told(&self, told: Told) {
        let mut state = self.state.lock();
        let before = state.window;
        state.window = before.step(told);
        if state.window.size < before.size {
            let (from, to) = (before.size, state.window.size);
            tracing::debug!(from, to, ?told, "a shuffle writer pushes more slowly");
        }
    }
}

impl State {
    /// What is paused is in flight, so a worker that was left alone is always tried.
    fn lets_in(&self, bytes: usize) -> bool {
        let Self { window, in_flight, paused } = *self;
        in_flight == 0 || (paused == 0 && in_flight + bytes <= window.size)
    }
}

/// Room in a window, until it is dropped.
pub(crate) struct Pass<'a> {
    flow: &'a Flow,
    bytes: usize,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.flow.state.lock().in_flight -= self.bytes;
        self.flow.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn after(window: Window, told: impl IntoIterator<Item = Told>) -> Window {
        told.into_iter().fold(window, Window::step)
    }

    #[test]
    fn a_window_doubles_up_to_its_threshold_and_then_grows_by_the_smallest_size() {
        let window = Window::new(MIB, 64 * MIB);
        assert_eq!(window.size, 2 * MIB);
        let doubled = after(window, [Told::Stored(MIB); 2]);
        assert_eq!(doubled.size, 4 * MIB);
        assert_eq!(after(window, [Told::Stored(MIB); 100]).size, 64 * MIB, "and no more than this");

        let slowed = after(window, [Told::Stored(MIB); 30]).step(Told::Slow(MIB));
        assert_eq!(slowed.size, MIB, "back to the start");
        let again = after(slowed, [Told::Stored(MIB); 15]);
        assert_eq!(again.size, 16 * MIB, "half of what was too much");
        let later = after(again, [Told::Stored(MIB); 16]);
        let more = later.size - again.size;
        assert!((MIB * 9 / 10..=MIB).contains(&more), "one more with each window: {later:?}");
    }

    #[test]
    fn a_window_closes_once_for_all_that_was_on_its_way() {
        let wide = after(Window::new(MIB, 64 * MIB), [Told::Stored(MIB); 30]);
        let slowed = after(wide, [Told::Slow(MIB); 32]);
        assert_eq!((slowed.size, slowed.threshold), (MIB, 16 * MIB), "32 answers, one back-off");
        let again = slowed.step(Told::Slow(MIB));
        assert_eq!((again.size, again.threshold), (MIB, MIB), "but this one is news");
        assert_eq!(wide.step(Told::Full).size, MIB);
        let waits = after(wide, [Told::Waits; 3]);
        assert_eq!((waits.size, waits.threshold), (MIB, 16 * MIB), "three of them wait");
    }

    #[tokio::test]
    async fn nothing_goes_to_a_worker_at_which_a_push_waits() {
        let flow = Flow::new(Window::new(MIB, 64 * MIB));
        let first = flow.enter(10).await;
        flow.pause();
        let mut next = std::pin::pin!(flow.enter(10));
        assert!(futures::poll!(&mut next).is_pending(), "though there is room for it");
        flow.pause();
        flow.go_on();
        assert!(futures::poll!(&mut next).is_pending(), "another one still waits");
        flow.go_on();
        let _second = next.await;
        flow.pause();
        flow.go_on();
        drop(first);
        flow.enter(MIB - 10).await;
    }

    #[test]
    fn any_history_keeps_the_bounds() {
        let mut state = 11_u64;
        let mut next = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 33) % bound) as usize
        };
        for _ in 0..500 {
            let (min, max) = (1 + next(2000), next(100_000));
            let mut window = Window::new(min, max);
            for _ in 0..200 {
                let bytes = next(5000);
                window = window.step(match next(10) {
                    0 => Told::Slow(bytes),
                    1 => Told::Full,
                    2 => Told::Waits,
                    _ => Told::Stored(bytes),
                });
                assert!((min..=max.max(min)).contains(&window.size), "{window:?}");
            }
        }
    }
}
