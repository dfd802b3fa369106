//! What the catalog keeps: schemas, external tables, views. Data only.

use std::fmt;

use bytes::Bytes;
use dunlin_base::{Error, Result};
use dunlin_proto::catalog::v1;
use prost::Message;

/// The schema that always exists.
pub(crate) const PUBLIC: &str = "public";

/// The name of an object of the catalog; the name of a schema has no `object`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The schema.
    pub schema: String,
    /// The table or view; `None` names the schema itself.
    pub object: Option<String>,
}

impl Name {
    /// The name of a schema.
    pub fn schema(schema: impl Into<String>) -> Self {
        Self { schema: schema.into(), object: None }
    }

    /// The name of a table or view.
    pub fn object(schema: impl Into<String>, object: impl Into<String>) -> Self {
        Self { schema: schema.into(), object: Some(object.into()) }
    }
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
    Table(Box<v1::ExternalTable>),
    /// A query by name.
    View(v1::View),
}

impl Definition {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Table(_) => "table",
            Self::View(_) => "view",
        }
    }

    /// The stored form. Stable: later builds read it.
    pub fn encode(&self) -> Bytes {
        let kind = match self.clone() {
            Self::Schema => v1::definition::Kind::Schema(v1::Schema {}),
            Self::Table(table) => v1::definition::Kind::Table(*table),
            Self::View(view) => v1::definition::Kind::View(view),
        };
        v1::Definition { kind: Some(kind) }.encode_to_vec().into()
    }

    /// Reads the stored form. `Lost`: damaged, or written by a later build.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let lost = || Error::lost("a definition in the catalog cannot be read");
        let definition = v1::Definition::decode(bytes).map_err(|e| lost().with_source(e))?;
        Ok(match definition.kind.ok_or_else(lost)? {
            v1::definition::Kind::Schema(_) => Self::Schema,
            v1::definition::Kind::Table(table) => Self::Table(Box::new(table)),
            v1::definition::Kind::View(view) => Self::View(view),
        })
    }
}
