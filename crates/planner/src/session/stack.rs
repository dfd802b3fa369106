//! A stack that is deep enough: DataFusion and the parser recurse over expressions, and cloning,
//! comparing and dropping them is not guarded in them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The stack that any statement may need; only what is used of it costs memory.
const DEEP: usize = 64 << 20;

/// What planning must have left, or it gets a stack of its own: how deep it goes, a short text does
/// not tell, since views stand behind names. Threads that plan have more from the start: a stack of
/// its own costs system calls, a tenth of a short query.
const ENOUGH: usize = 8 << 20;

/// What is enough for the syntax tree of an empty text, and for each byte more: how deep it is, is
/// bounded by its length.
const ENOUGH_MIN: usize = 512 << 10;
const ENOUGH_A_BYTE: usize = 4 << 10;

/// Runs `work` on the syntax tree of a text of so many bytes with a stack that is deep enough.
pub(super) fn deep<T>(text_len: usize, work: impl FnOnce() -> T) -> T {
    let enough = text_len.saturating_mul(ENOUGH_A_BYTE).saturating_add(ENOUGH_MIN);
    stacker::maybe_grow(enough.min(ENOUGH), DEEP, work)
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
        stacker::maybe_grow(ENOUGH, DEEP, || Pin::new(future).poll(context))
    }
}

impl<F> Drop for Deep<F> {
    fn drop(&mut self) {
        let future = self.0.take();
        stacker::maybe_grow(ENOUGH, DEEP, || drop(future));
    }
}
