//! Object stores by URL, made when first used, from the environment and the options of tables.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::ObjectStore;
use url::Url;

/// How to reach one store: what a table definition says about it. Serialisable: it goes into plan
/// headers so that executors reach the same stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSpec {
    /// Scheme and host, such as `s3://bucket`.
    pub url: String,
    /// Options as the table gives them, such as `aws.endpoint`.
    pub options: Vec<(String, String)>,
}

/// The registry of object stores of one process; gateway and executor share its code.
#[derive(Debug, Default)]
pub struct ObjectStores {}

impl ObjectStores {
    /// Takes over what another process exported.
    pub fn import(&self, _specs: &[StoreSpec]) {}

    /// What this process knows beyond its environment.
    pub fn export(&self) -> Vec<StoreSpec> {
        Vec::new()
    }
}

impl ObjectStoreRegistry for ObjectStores {
    fn register_store(
        &self,
        _url: &Url,
        _store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, DataFusionError> {
        Err(DataFusionError::Configuration(format!("no store for {url}")))
    }
}
