//! Tables, views and schemas: their definitions, where they are kept, and how they become
//! DataFusion tables.
//!
//! A statement sees one [`snapshot::Snapshot`] of the catalog; a table's files are listed anew for
//! every statement ([`table`]), so that a file that came or changed is seen.

mod access;
mod change;
mod definition;
mod files;
mod folder;
mod format;
mod memory;
mod rights;
mod schema;
mod scope;
mod snapshot;
mod store;
mod table;

pub(crate) use table::{Reading, decode_schema, encode_schema, fingerprint, resolve, store_spec};

pub use access::Access;
pub(crate) use access::{Privilege, Privileges};
pub use change::schema_gone;
pub(crate) use change::{
    ATTEMPTS, Existing, check_may_create, drop_object, drop_schema, missing, no_schema, put,
};
pub(crate) use definition::{CATALOG, PUBLIC};
pub use definition::{Definition, Name, Object};
pub(crate) use files::Location;
pub(crate) use folder::{Overlay, tables_in};
pub(crate) use format::Format;
pub use memory::MemoryCatalog;
pub(crate) use rights::Rights;
pub use rights::Who;
pub(crate) use scope::{Scope, ScopeParts, Used, rename};
pub(crate) use snapshot::{CatalogCache, Entry, Snapshot};
pub use store::{CatalogStore, CatalogStoreRef, Loaded, Stored, Swapped};

#[cfg(test)]
mod tests;
