//! What a table says about its store, and under which name a store is known.

use dunlin_base::{Error, Result};
use dunlin_proto::catalog::v1;
use url::{Position, Url};

/// How to reach one store: what a table definition says about it. It goes into plan headers so that
/// executors reach the same stores. Holds secrets: `Debug` shows only the names of its options.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreSpec {
    /// Scheme and authority, such as `s3://bucket`.
    pub url: String,
    /// Options as the table gives them, such as `aws.endpoint`, sorted.
    pub options: Vec<(String, String)>,
}

impl std::fmt::Debug for StoreSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.options.iter().map(|(name, _)| name).collect();
        f.debug_struct("StoreSpec").field("url", &self.url).field("options", &names).finish()
    }
}

impl StoreSpec {
    /// The record of it.
    pub fn to_proto(&self) -> v1::Store {
        let option =
            |(key, value): &(String, String)| v1::Option { key: key.clone(), value: value.clone() };
        v1::Store { url: self.url.clone(), options: self.options.iter().map(option).collect() }
    }

    /// The store of a record.
    pub fn from_proto(store: v1::Store) -> Self {
        let options = store.options.into_iter().map(|o| (o.key, o.value)).collect();
        Self { url: store.url, options }
    }
}

/// Whether an option of a table is about its store, not about its format.
pub(crate) fn is_store_option(key: &str) -> bool {
    !key.starts_with("format.")
}

/// The name of a store: scheme and authority, without a password.
pub(crate) fn store_key(url: &Url) -> String {
    let user = match url.username() {
        "" => String::new(),
        user => format!("{user}@"),
    };
    format!("{}://{user}{}", url.scheme(), &url[Position::BeforeHost..Position::AfterPort])
}

/// A URL of a store or of something in it.
pub(super) fn parse(url: &str) -> Result<Url> {
    Url::parse(url).map_err(|e| Error::invalid(format!("'{url}' is not a URL: {e}")))
}
