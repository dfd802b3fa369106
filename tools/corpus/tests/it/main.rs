//! The corpus itself: the data are complete, and the oracle can answer what we ask the engine.

mod tpcds;
mod tpch;

use std::path::Path;

/// Where generated data are kept between runs: a folder inside cargo's target folder.
fn data_root() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}
