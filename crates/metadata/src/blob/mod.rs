//! Immutable blobs: what is too big for a record.
//!
//! The queue writes plans and slice lists here before it writes the records that name them. Start
//! at [`open`]: a URL picks a local folder, an object store, or memory. The one thing to know: a
//! returned `put` is durable, also in a folder, where the file and its directories are synced.

mod contract;
mod folder;
mod object;
mod open;
mod synced;
mod unfinished;

pub use contract::{Blobs, BlobsRef};
pub use folder::FolderBlobs;
pub use object::ObjectBlobs;
pub use open::{ObjectPlace, open, open_objects};
pub use unfinished::{Begun, Unfinished};
