//! What the catalog keeps: schemas, external tables, views. Data only.

use std::fmt;

/// The name of an object of the catalog; the name of a schema has no `object`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The schema.
    pub schema: String,
    /// The table or view; `None` names the schema itself.
    pub object: Option<String>,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Some(object) => write!(f, "{}.{object}", self.schema),
            None => f.write_str(&self.schema),
        }
    }
}

/// One object of the catalog.
#[derive(Clone, Debug, PartialEq)]
pub enum Definition {
    /// A schema.
    Schema,
    /// Files somewhere.
    Table(Box<dunlin_proto::catalog::ExternalTable>),
    /// A query by name.
    View(dunlin_proto::catalog::View),
}
