//! `dunlin-chaos`: faults at random moments over TPC-H, and whether all was right in the end.
//! `./dev chaos` calls it. With `--simulated` the cluster is simulated. Called as `dunlin-chaos dunlin ...` it is `dunlin` itself, so that a test
//! has the processes of its own build.

mod cli;
mod matrix;
mod simulated;

use std::ffi::OsString;
use std::process::ExitCode;

use dunlin_node::allocator;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::ALLOCATOR;

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|word| word == cli::AS_DUNLIN) {
        arguments.remove(0);
        return dunlin_node::run_with(arguments);
    }
    cli::main()
}
