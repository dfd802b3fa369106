//! A stack that is deep enough: DataFusion and the parser recurse over expressions, and cloning,
//! comparing and dropping them is not guarded in them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Polls a future on a stack of its own when the thread's has less than this left.
const ENOUGH: usize = 8 << 20;

/// The stack that is then made; only what is used of it costs memory.
const DEEP: usize = 64 << 20;

/// Runs `work` with a deep stack.
pub(super) fn deep<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(ENOUGH, DEEP, work)
}

/// A future that is polled, and dropped, with a deep stack.
pub(super) struct Deep<F>(Option<F>);

impl<F: Future + Unpin> Deep<F> {
    pub(super) fn new(future: F) -> Self {
        Self(Some(future))
    }
}

impl<F: Future + Unpin> Future for Deep<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = self.0.as_mut() else { return Poll::Pending };
        deep(|| Pin::new(future).poll(context))
    }
}

impl<F> Drop for Deep<F> {
    fn drop(&mut self) {
        let future = self.0.take();
        deep(|| drop(future));
    }
}
