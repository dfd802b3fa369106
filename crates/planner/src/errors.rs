//! DataFusion's errors as Dunlin's, and back. Every crate that calls DataFusion maps here, so that
//! the same failure has the same kind and words wherever it happens.

use datafusion::error::DataFusionError;
use dunlin_base::Error;

/// The error of ours for an error of DataFusion's; one of ours that travelled inside comes back
/// as it was.
pub fn from_datafusion(error: DataFusionError) -> Error {
    if let DataFusionError::External(inner) = &error
        && let Some(ours) = inner.downcast_ref::<Error>()
    {
        return ours.clone();
    }
    Error::invalid(error.strip_backtrace())
}

/// Our error as DataFusion's, for code that DataFusion calls; [`from_datafusion`] finds it again.
pub fn into_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
