//! DataFusion's errors as Dunlin's, and back. Every crate that calls DataFusion maps here, so that
//! the same failure has the same kind and the same words wherever it happens.
//!
//! The one thing to know: the kind follows from the error's *type*, never from its text; text is
//! only trimmed and, with the SQL at hand, given its place ([`place`]).

mod damage;
mod engine;
mod place;
mod storage;
mod suggest;

pub use damage::name_files;
pub(crate) use engine::too_deep;
pub(crate) use storage::{no_permission, not_stored};

use std::error::Error as StdError;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;
use dunlin_base::Error;

pub(crate) use place::{Span, at, in_text, syntax};
pub use storage::{from_object_store, name_spill};
pub(crate) use suggest::did_you_mean;
pub use suggest::nearest;

/// The error of ours for an error of DataFusion's. One of ours that travelled inside comes back as
/// it was, however deep it was wrapped.
pub fn from_datafusion(error: DataFusionError) -> Error {
    from_datafusion_ref(&error)
}

/// [`from_datafusion`] for an error that is still needed.
pub fn from_datafusion_ref(error: &DataFusionError) -> Error {
    if let Some(ours) = find_ours(error) {
        return ours.clone();
    }
    engine::map(error)
}

/// Our error as DataFusion's, for code that DataFusion calls; [`from_datafusion`] finds it again.
pub fn into_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The error of ours for an error of Arrow's.
pub fn from_arrow(error: &ArrowError) -> Error {
    find_ours(error).cloned().unwrap_or_else(|| engine::arrow(error))
}

/// The first error of ours in a chain of causes.
fn find_ours<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    // Causes form a list; the bound only guards against one that cites itself.
    for _ in 0..64 {
        let error = next?;
        if let Some(ours) = error.downcast_ref::<Error>() {
            return Some(ours);
        }
        next = inner(error).or_else(|| error.source());
    }
    None
}

/// Causes that `source()` does not show, because the wrapper shows the inner error's own cause.
fn inner<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    if let Some(error) = error.downcast_ref::<DataFusionError>() {
        return match error {
            DataFusionError::External(inner) => Some(inner.as_ref()),
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                Some(inner.as_ref())
            }
            DataFusionError::Shared(inner) => Some(inner.as_ref()),
            DataFusionError::Collection(all) => all.first().map(|e| e as _),
            _ => None,
        };
    }
    if let Some(ArrowError::ExternalError(inner)) = error.downcast_ref::<ArrowError>() {
        return Some(inner.as_ref());
    }
    if let Some(ParquetError::External(inner)) = error.downcast_ref::<ParquetError>() {
        return Some(inner.as_ref());
    }
    // `io::Error` passes the cause of its payload on, not the payload.
    let io = error.downcast_ref::<std::io::Error>()?;
    io.get_ref().map(|inner| inner as _)
}

/// The first error of type `T` in a chain of causes.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    for _ in 0..64 {
        let error = next?;
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = inner(error).or_else(|| error.source());
    }
    None
}

#[cfg(test)]
mod tests;
