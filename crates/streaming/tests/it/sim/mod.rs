//! A simulated job: sources with known rows, keyed stages, several executors, a store and a network that
//! delays, drops, doubles and reorders; executors that die, stand still, come and go. The protocol's
//! decisions are the crate's; only the loops around them are made here.
//!
//! `DUNLIN_STREAMING_SEEDS=17` runs one seed and prints its course, `0..20000` a range.

mod broken;
mod executor;
mod judge;
mod operator;
mod rows;
mod runs;
mod setup;
mod store;
mod wire;
mod world;
