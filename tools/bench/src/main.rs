//! `dunlin-bench`: makes data, runs the demo and the benchmarks. `./dev demo` and `./dev bench`
//! call it.

use std::process::ExitCode;

use clap::Parser;
use dunlin_bench::{cli::Cli, commands};
use dunlin_node::allocator;

/// That of the engine's binary, for both engines.
#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::ALLOCATOR;

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    match commands::run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("dunlin-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}
