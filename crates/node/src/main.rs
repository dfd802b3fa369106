//! The binary `dunlin`; everything is in the library, where tests reach it.

use std::process::ExitCode;

/// Planning allocates much and briefly; the system's allocator gives that back to the kernel each
/// time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    dunlin_node::run()
}
