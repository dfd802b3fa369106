//! temporary
use datafusion::error::DataFusionError;
use dunlin_base::Error;
pub fn from_datafusion(e: DataFusionError) -> Error { Error::bug(e.to_string()).with_source(e) }
pub fn into_datafusion(e: Error) -> DataFusionError { DataFusionError::External(Box::new(e)) }
