//! The plan nodes that Dunlin adds to DataFusion's: the two kinds of leaf that a stage template
//! has in place of what is cut off or chosen later.

mod bundle;
mod exchange_read;
mod slice_scan;

pub(crate) use bundle::BundleExec;
pub use exchange_read::{ExchangeReadExec, ExchangeSource, Part};
pub use slice_scan::SliceScanExec;
