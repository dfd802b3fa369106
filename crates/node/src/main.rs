//! The binary `dunlin`; everything is in the library, where tests reach it.

use std::process::ExitCode;

use dunlin_node::allocator;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::ALLOCATOR;

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    dunlin_node::run()
}
