//! Our rules over logical plans, run after DataFusion's own analysis, and limits on what its optimizer
//! makes of them.

mod constants;
pub(crate) mod expanded;
mod pushing;
mod subqueries;
mod sums;
pub(crate) mod weight;

pub(crate) use self::constants::CheckedConstants;
pub(crate) use self::pushing::optimizer_rules;
pub(crate) use self::subqueries::{LiftSubqueries, OneRowSubqueries};
pub(crate) use self::sums::CheckedSums;
