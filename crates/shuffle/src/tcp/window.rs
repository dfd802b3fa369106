//! The credit of one read, from the reader's side. Pure.

use dunlin_base::{Error, Result};

/// What was granted, what came of it, and what waits to be consumed. At any time
/// `unspent + buffered` is at most the window, or one block that is larger than it.
#[derive(Debug)]
pub(super) struct Window {
    /// What the read may take in all.
    size: u64,
    /// Granted, not yet received.
    unspent: u64,
    /// Received, not yet consumed.
    buffered: u64,
    /// The next block, if the worker said that it needs more than it was granted.
    want: u64,
}

impl Window {
    /// All of `size` is granted at once, with the request.
    pub(super) fn new(size: u64) -> Self {
        Self { size, unspent: size, buffered: 0, want: 0 }
    }

    /// Blocks came. `Invalid` if they are more than was granted.
    pub(super) fn receive(&mut self, bytes: u64) -> Result<()> {
        let Some(unspent) = self.unspent.checked_sub(bytes) else {
            let granted = self.unspent;
            return Err(Error::invalid(format!(
                "{bytes} bytes of blocks for a credit of {granted}"
            )));
        };
        self.unspent = unspent;
        self.buffered += bytes;
        self.want = 0;
        Ok(())
    }

    /// The worker's next block is this large.
    pub(super) fn want(&mut self, bytes: u64) {
        self.want = bytes;
    }

    /// A block was consumed.
    pub(super) fn consume(&mut self, bytes: u64) {
        self.buffered = self.buffered.saturating_sub(bytes);
    }

    /// What is to be granted now; 0 for nothing. Small amounts are saved up, so that credits are
    /// few. A block larger than the window is let in only when nothing else is held.
    pub(super) fn grant(&mut self) -> u64 {
        let large = self.buffered == 0 && self.want > self.unspent;
        let goal = if large { self.size.max(self.want) } else { self.size };
        let missing = goal.saturating_sub(self.unspent + self.buffered);
        if missing == 0 || (!large && missing < self.size.div_ceil(4)) {
            return 0;
        }
        self.unspent += missing;
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_window_is_out_and_small_grants_are_saved_up() {
        let mut window = Window::new(100);
        assert_eq!(window.grant(), 0);
        window.receive(60).expect("granted");
        window.receive(40).expect("granted");
        assert!(window.receive(1).is_err(), "not granted");
        window.consume(20);
        assert_eq!(window.grant(), 0, "saved up");
        window.consume(5);
        assert_eq!(window.grant(), 25);
        assert_eq!(window.grant(), 0, "granted once");
        window.consume(75);
        assert_eq!(window.grant(), 75);
    }

    #[test]
    fn a_block_larger_than_the_window_comes_alone() {
        let mut window = Window::new(100);
        window.receive(70).expect("granted");
        window.want(500);
        assert_eq!(window.grant(), 0, "something is held");
        window.consume(70);
        assert_eq!(window.grant(), 470);
        window.receive(500).expect("granted");
        assert_eq!(window.grant(), 0);
        window.consume(500);
        assert_eq!(window.grant(), 100, "back to the window");
    }

    #[test]
    fn any_history_keeps_the_bound() {
        let mut state = 7_u64;
        let mut next = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % bound
        };
        for _ in 0..2000 {
            let size = 1 + next(200);
            let mut window = Window::new(size);
            let (mut credit, mut held) = (size, Vec::new());
            for _ in 0..50 {
                // The worker: sends what it may, and says what it cannot.
                let block = 1 + next(300);
                if block <= credit {
                    window.receive(block).expect("within the credit");
                    credit -= block;
                    held.push(block);
                } else {
                    window.want(block);
                    held.drain(..).for_each(|bytes| window.consume(bytes));
                    credit += window.grant();
                    assert!(credit >= block, "the wanted block may come");
                    window.receive(block).expect("granted");
                    credit -= block;
                    held.push(block);
                }
                assert!(held.len() == 1 || held.iter().sum::<u64>() + credit <= size);
                if next(2) == 0 {
                    held.drain(..).for_each(|bytes| window.consume(bytes));
                }
                credit += window.grant();
            }
        }
    }
}
