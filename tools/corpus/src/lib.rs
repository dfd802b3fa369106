//! The material that the engine is tested and measured with: data sets, query texts, an oracle
//! (plain DataFusion) and the comparison of two results.
//!
//! Tests of `planner`, `executor` and `node` use it, and `dunlin-bench` does. It depends on none of
//! our crates, so that any of them may have it as a dev-dependency, and so that the oracle cannot
//! share a defect with the engine.
//!
//! Everything is deterministic: the same scale gives the same files, byte for byte.

pub mod compare;
mod files;
pub mod oracle;
pub mod tpcds;
pub mod tpch;
