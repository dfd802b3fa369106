//! The executor role: claim slices, bind them to their stage's plan, run it under a memory budget,
//! push the rows to the shuffle, commit.
//!
//! It never decides which stage comes next: committing the last slice of a stage makes the queue
//! call the decision function. CPU work runs on a runtime of its own; claims, leases and wake-ups
//! run where the process's control work runs.

mod claim_loop;
mod executor;
mod fair;
mod leaving;
mod looks;
mod memory;
mod options;
mod partition;
mod placement;
mod recover;
mod slots;
mod source;
mod stats;
mod task;
mod upgrade;

pub use executor::{Executor, Parts};
pub use options::ExecutorOptions;
