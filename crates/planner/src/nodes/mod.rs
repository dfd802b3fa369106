//! The plan nodes that Dunlin adds to DataFusion's: the two kinds of leaf that a stage template
//! has in place of what is cut off or chosen later, and the operator that writes files.

mod bundle;
mod exchange_read;
mod slice_scan;
mod write_files;

pub(crate) use bundle::BundleExec;
pub use exchange_read::{ExchangeReadExec, ExchangeSource, Part};
pub use slice_scan::SliceScanExec;
pub(crate) use write_files::write_stream;
pub use write_files::{WriteFilesExec, bind_files};
