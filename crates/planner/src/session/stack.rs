//! A stack that is deep enough: DataFusion and the parser recurse over expressions, and cloning,
//! comparing and dropping them is not guarded in them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The stack that any statement may need; only what is used of it costs memory.
const DEEP: usize = 64 << 20;

/// What is enough for a long statement before a stack of its own is made.
const ENOUGH_MAX: usize = 8 << 20;

/// What is enough for an empty one, and for each byte of text more: how deep an expression is, is
/// bounded by its length. A stack of its own costs a system call each way, so short queries must
/// not need one.
const ENOUGH_MIN: usize = 512 << 10;
const ENOUGH_A_BYTE: usize = 4 << 10;

/// Runs `work` on a statement of so many bytes with a stack that is deep enough for it.
pub(super) fn deep<T>(text_len: usize, work: impl FnOnce() -> T) -> T {
    let enough = text_len.saturating_mul(ENOUGH_A_BYTE).saturating_add(ENOUGH_MIN);
    stacker::maybe_grow(enough.min(ENOUGH_MAX), DEEP, work)
}

/// A future that is polled, and dropped, with a deep stack.
pub(super) struct Deep<F> {
    future: Option<F>,
    text_len: usize,
}

impl<F: Future + Unpin> Deep<F> {
    /// For a future that works on a statement of so many bytes.
    pub(super) fn new(text_len: usize, future: F) -> Self {
        Self { future: Some(future), text_len }
    }
}

impl<F: Future + Unpin> Future for Deep<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let text_len = self.text_len;
        let Some(future) = self.future.as_mut() else { return Poll::Pending };
        deep(text_len, || Pin::new(future).poll(context))
    }
}

impl<F> Drop for Deep<F> {
    fn drop(&mut self) {
        let future = self.future.take();
        deep(self.text_len, || drop(future));
    }
}
