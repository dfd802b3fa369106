//! The binary `dunlin`; everything is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    dunlin_node::run()
}
