//! The demo and the benchmarks: the engine beside plain DataFusion, on the same files.
//!
//! `main` is the command line; [`engine`] is where the engine is put in; [`measure`] times;
//! [`report`] writes what was found, with the conditions under which it was found. Data, queries
//! and the comparison of results come from `dunlin_corpus`.

pub mod apart;
pub mod celeborn;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod commands;
pub mod demo;
pub mod engine;
pub mod loss;
pub mod machine;
pub mod measure;
pub mod peers;
pub mod plans;
pub mod report;
pub mod short;
pub mod shuffle;
pub mod suite;

pub use dunlin_corpus::{compare, oracle, tpcds, tpch};
