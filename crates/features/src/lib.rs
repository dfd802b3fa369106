//! No code: this crate's dependencies are the union of the features that the workspace asks of its
//! dependencies. The crates that build DataFusion depend on it, so that `cargo test -p one-crate`
//! finds the same build of DataFusion that `cargo build --workspace` made.
//!
//! `Cargo.toml` is written by `cargo hakari generate`.
