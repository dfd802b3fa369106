//! Clients that ask TPC-H while faults strike, and what is to be said of it.
//!
//! ```text
//! plan(seed) ─► strikes ──► cluster ◄── load (clients, each answer judged)
//!                              │ heal
//!                              ▼
//!                  progress ─► leftovers ─► drain ─► report
//! ```
//!
//! [`FAULTS`] is the list of everything that can be done, each with what clients may then be told;
//! [`plan`] draws strikes from a seed; [`run()`] does them and judges. A scenario is a run with one
//! fault or a few: there is one path.

mod around;
mod expected;
mod faults;
mod load;
mod plan;
mod report;
mod run;
mod strike;
mod verdict;
mod writes;

pub use expected::{Expected, Query};
pub use faults::{Act, FAULTS, Fault, LOST_MAY_BE, Link, Point, find, needs};
pub use plan::{Strike, plan};
pub use report::Report;
pub use run::{Options, run};
pub use verdict::{Outcome, Verdict};
