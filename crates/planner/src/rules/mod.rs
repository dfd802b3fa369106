//! Our rules over logical plans, run after DataFusion's own analysis.

mod constants;
mod subqueries;
mod sums;

pub(crate) use self::constants::CheckedConstants;
pub(crate) use self::subqueries::{LiftSubqueries, OneRowSubqueries};
pub(crate) use self::sums::CheckedSums;
