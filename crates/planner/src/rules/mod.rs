//! Our rules over plans: logical ones, run after DataFusion's own analysis, with limits on what its
//! optimizer makes of them, and physical ones.

mod constants;
pub(crate) mod expanded;
mod pushing;
mod semi;
mod subqueries;
mod sums;
pub(crate) mod weight;

pub(crate) use self::constants::CheckedConstants;
pub(crate) use self::pushing::optimizer_rules;
pub use self::semi::physical_rules;
pub(crate) use self::subqueries::{LiftSubqueries, OneRowSubqueries};
pub(crate) use self::sums::CheckedSums;
