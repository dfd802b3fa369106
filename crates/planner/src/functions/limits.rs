//! How much calls may make: while a statement is planned, and for the rows of a batch.
//!
//! Planning is done in the gateway and in no pool. The one thing to know: what is left of its
//! limit belongs to the thread for as long as it polls [`Planning`], since neither DataFusion's
//! functions nor its rules are told which statement they work for.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use datafusion::error::{DataFusionError, Result};
use dunlin_base::{ByteCount, Error};

use crate::errors::into_datafusion;

/// What all calls may become that are computed while one statement is planned, with what its
/// conditions grow by.
const PLANNING_MAX: ByteCount = ByteCount::mib(64);

/// What one call with constant arguments may become.
pub(super) const CONSTANT_MAX: ByteCount = ByteCount::mib(64);

/// What a constant may be that takes the place of a call in a plan: as much as a batch of 8,192 rows
/// can have in each. Rules copy constants to wherever they are used, write them into names, and each
/// is sent to executors. A longer one stays a call, and is computed there.
const FOLDED_MAX: ByteCount = ByteCount(128 << 10);

/// What a value may take of a type that gives all of its values, and NULL, the same length.
const WIDTH_MAX: ByteCount = ByteCount(64 << 10);

/// What one call may become for the rows of a batch together, and all constants of one SELECT.
pub(crate) const BATCH_MAX: ByteCount = ByteCount::mib(1024);

thread_local! {
    /// What is left of [`PLANNING_MAX`] while this thread plans a statement.
    static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    /// Whether results take the place of their calls.
    static FOLDING: Cell<bool> = const { Cell::new(false) };
}

/// A future in which [`PLANNING_MAX`] holds: on whichever threads it is polled.
pub(crate) struct Planning<F> {
    work: F,
    left: u64,
}

impl<F> Planning<F> {
    pub(crate) fn new(work: F) -> Self {
        Self { work, left: PLANNING_MAX.0 }
    }
}

impl<F: Future + Unpin> Future for Planning<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let before = Before(&LEFT, LEFT.replace(Some(self.left)));
        let polled = Pin::new(&mut self.work).poll(context);
        self.left = LEFT.get().unwrap_or_default();
        drop(before);
        polled
    }
}

/// Does work that puts the results of calls in their place.
pub(crate) fn folding<T>(work: impl FnOnce() -> T) -> T {
    let _before = Before(&FOLDING, FOLDING.replace(true));
    work()
}

/// What held on this thread, to be put back even if planning panics: the thread has other work.
struct Before<T: Copy + 'static>(&'static std::thread::LocalKey<Cell<T>>, T);

impl<T: Copy> Drop for Before<T> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// What a call makes.
pub(super) struct Made {
    pub(super) bytes: u64,
    /// Of constants, and how often the result is copied then.
    pub(super) constant: Option<usize>,
}

/// Refuses what the call named `name` would make, or takes it from what is left.
pub(super) fn take(name: &str, made: &Made) -> Result<()> {
    let copies = made.constant.unwrap_or(1).max(1) as u64;
    let one = match made.constant {
        Some(_) if FOLDING.get() => FOLDED_MAX,
        Some(_) => CONSTANT_MAX,
        None => BATCH_MAX,
    };
    let all = made.bytes.saturating_mul(copies);
    if made.bytes > one.0 {
        return Err(too_much(name, made.bytes, one));
    }
    if all > BATCH_MAX.0 {
        return Err(too_much(name, all, BATCH_MAX));
    }
    let Some(left) = LEFT.get() else { return Ok(()) };
    let rest = left.checked_sub(all).ok_or_else(|| too_much(name, all, PLANNING_MAX))?;
    LEFT.set(Some(rest));
    Ok(())
}

fn too_much(name: &str, bytes: u64, most: ByteCount) -> DataFusionError {
    let error =
        Error::exhausted(format!("{name} would make {}, more than {most}", ByteCount(bytes)));
    into_datafusion(error.with_hint("ask for fewer or shorter values"))
}

/// Refuses a type whose values are so many bytes wide.
pub(super) fn check_width(name: &str, bytes: u64) -> Result<()> {
    if bytes <= WIDTH_MAX.0 { Ok(()) } else { Err(too_much(name, bytes, WIDTH_MAX)) }
}

/// Takes what a rule adds to the plan from what is left.
pub(crate) fn charge(bytes: u64) -> Result<()> {
    let Some(left) = LEFT.get() else { return Ok(()) };
    LEFT.set(Some(left.checked_sub(bytes).ok_or_else(|| grown(bytes))?));
    Ok(())
}

/// Refuses a plan that has so many bytes more than the one that it was made from.
pub(crate) fn check_added(bytes: u64) -> Result<()> {
    if bytes > PLANNING_MAX.0 { Err(grown(bytes)) } else { Ok(()) }
}

fn grown(bytes: u64) -> DataFusionError {
    let error = Error::exhausted(format!(
        "the plan would grow by {}, and may by no more than {PLANNING_MAX} in all",
        ByteCount(bytes)
    ));
    into_datafusion(error.with_hint(
        "conditions on computed columns repeat what these are: use shorter expressions, or make a \
         table of them first",
    ))
}
