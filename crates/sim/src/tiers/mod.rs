//! Each combination of places for shuffled data, with memory for a tenth of them: TPC-H and a skewed
//! shuffle on a cluster of processes, answers compared with plain DataFusion's.
//!
//! ```text
//! matrix ──► configuration ──► cluster ◄── skew, then TPC-H (one client)
//!                                 │ metrics of the workers
//!                                 ▼
//!                      judge: rows, tiers that held bytes, budget ──► report
//! ```
//!
//! [`matrix`] is the list, and what each combination is to do; [`run()`] does them one by one. The
//! verb `dunlin-chaos tiers` is the command line.

mod data;
mod held;
mod judge;
mod matrix;
mod report;
mod run;
mod s3;

pub use data::{Asked, Question};
pub use held::Held;
pub use judge::judge;
pub use matrix::{Budget, Combination, Place, Sizes, Store, matrix};
pub use report::Report;
pub use run::{Answer, Found, Options, run};
