//! Where rows go: a place (standard output, or a file that appears only when all went well) and a
//! format. Statements share the place; each result gets a [`Sink`].

mod encode;
mod parquet;
mod place;
mod table;

pub(crate) use place::Output;
