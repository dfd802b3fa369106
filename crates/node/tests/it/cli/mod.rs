//! The binary as people use it: real processes on tiny files. Every run is bounded in time.

mod bad_input;
mod config;
mod faults;
pub(crate) mod lab;
mod output;
mod state;
