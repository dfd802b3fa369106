//! Tables, views and schemas: their definitions, where they are kept, and how they become
//! DataFusion tables.
//!
//! A statement sees one [`snapshot::Snapshot`] of the catalog; a table's files are listed anew for
//! every statement ([`table`]), so that a file that came or changed is seen.

mod change;
mod definition;
mod files;
mod folder;
mod format;
mod memory;
mod schema;
mod scope;
mod snapshot;
mod store;
mod table;

pub(crate) use table::{Reading, decode_schema, encode_schema, fingerprint, resolve, store_spec};

pub(crate) use change::{Existing, drop_object, drop_schema, no_schema, put};
pub use definition::{Definition, Name};
pub(crate) use files::Location;
pub(crate) use folder::{Overlay, tables_in};
pub(crate) use format::Format;
pub use memory::MemoryCatalog;
pub(crate) use scope::{CATALOG, Scope, ScopeParts, Used, rename};
pub(crate) use snapshot::{CatalogCache, Entry, Snapshot};
pub use store::{CatalogStore, CatalogStoreRef, Loaded, Stored, Swapped};

#[cfg(test)]
mod tests;
