//! `dunlin-bench`: makes data, runs the demo and the benchmarks. `./dev demo` and `./dev bench`
//! call it.

use std::process::ExitCode;

use clap::Parser;
use dunlin_bench::{cli::Cli, commands};

/// The binary's own, for both engines.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("dunlin-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}
