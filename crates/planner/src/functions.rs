//! Functions that our plans use beside DataFusion's own. Executors must register them before they
//! decode a plan: they travel by name.

use datafusion::error::DataFusionError;
use datafusion::execution::FunctionRegistry;

/// Registers every function of ours. Doing it twice is once.
pub fn register(_registry: &mut dyn FunctionRegistry) -> Result<(), DataFusionError> {
    Ok(())
}
