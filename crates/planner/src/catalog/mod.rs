//! Tables, views and schemas: their definitions, where they are kept, and how they become
//! DataFusion tables.

mod definition;
mod store;

pub use definition::{Definition, Name};
pub use store::{CatalogStore, CatalogStoreRef, Loaded, Stored, Swapped};
