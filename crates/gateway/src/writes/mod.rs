//! Statements that write files, from their plan to the files under their final names.
//!
//! A write is a query with a record beside it; the record's phase is what counts. Whoever looks at
//! a record may take its next step ([`drive`]): the gateway that has the statement, a retry with the
//! same id, a reader of the target, the sweeper. The protocol is in `design/2026-11-21-writes.md`.

mod begin;
mod drive;
mod follow;
mod readers;
mod records;
mod sweep;
mod upload;

pub(crate) use readers::{View, none_since};
pub(crate) use sweep::LostWrites;
