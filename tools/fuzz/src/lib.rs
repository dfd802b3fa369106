//! Fuzzing of decoders as ordinary tests: valid inputs are changed by chance, from a seed, and given
//! to a check that panics if the decoder breaks a promise. Needs no nightly compiler and no library.
//!
//! A short run is part of every `cargo test`; `./dev fuzz` makes long ones of the same tests. A
//! failure says how to see it again: every case has a number, and is a function of seed and number.
//!
//! [`Counting`] is an allocator for test binaries: with it a check can say how much memory a decoder
//! took.

mod chance;
mod memory;
mod mutate;
mod quiet;
mod run;

pub use chance::Chance;
pub use memory::{Counting, peak_of};
pub use quiet::quietly;
pub use run::fuzz;
