//! Writing files: what a statement writes where, how rows become bytes, and how files that count
//! come to their names.
//!
//! Sessions make a [`WritePlan`]; executors run its plan, whose top operator
//! ([`crate::nodes::WriteFilesExec`]) encodes rows and uploads files to the target's staging
//! folder; gateways publish those that count through [`Landing`]. The protocol and its failure
//! cases are in `design/2026-11-21-writes.md`.

mod encode;
mod fit;
mod landing;
mod layout;
mod plan;
mod unpacked;
mod upload;

pub(crate) use encode::Encoder;
pub(crate) use fit::Fit;
pub use landing::Landing;
pub(crate) use landing::{shown, staging};
pub(crate) use layout::{Layout, not_written, table_options};
pub(crate) use plan::manifest_row;
pub use plan::{WritePlan, manifest_file, manifest_schema};
pub(crate) use upload::Upload;
