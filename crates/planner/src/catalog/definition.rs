//! What the catalog keeps: schemas, external tables, views, and who may use them. Data only.

use std::fmt;

use bytes::Bytes;
use dunlin_base::{Error, Result};
use dunlin_proto::catalog::v1;
use prost::Message;

use super::Access;

/// The one catalog.
pub(crate) const CATALOG: &str = "dunlin";

/// The schema that always exists.
pub(crate) const PUBLIC: &str = "public";

/// The name of an object of the catalog; the name of a schema has no `object`, that of the catalog
/// itself no schema either.
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

    /// The name of the catalog itself.
    pub fn catalog() -> Self {
        Self::schema("")
    }

    /// Whether it is the catalog's own name.
    pub fn is_catalog(&self) -> bool {
        self.schema.is_empty() && self.object.is_none()
    }

    /// The name of a table or view.
    pub fn object(schema: impl Into<String>, object: impl Into<String>) -> Self {
        Self { schema: schema.into(), object: Some(object.into()) }
    }

    /// The record that must be there for an object of this name to be made: its schema's. Schemas
    /// need none, nor do objects in `public`, which is always there.
    pub fn needs(&self) -> Option<Self> {
        let needs = self.object.is_some() && self.schema != PUBLIC;
        needs.then(|| Self::schema(self.schema.clone()))
    }

    /// Whether this is a schema, and the other one an object in it.
    pub fn holds(&self, other: &Self) -> bool {
        self.object.is_none() && other.object.is_some() && self.schema == other.schema
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Some(object) => write!(f, "{}.{object}", self.schema),
            None if self.is_catalog() => f.write_str(CATALOG),
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
    /// The catalog itself.
    Catalog,
}

/// An object of the catalog as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What it is.
    pub definition: Definition,
    /// Who may use it.
    pub access: Access,
}

impl From<Definition> for Object {
    fn from(definition: Definition) -> Self {
        Self { definition, access: Access::default() }
    }
}

impl Definition {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Table(_) => "table",
            Self::View(_) => "view",
            Self::Catalog => "catalog",
        }
    }
}

impl Object {
    /// The stored form. Stable: later builds read it.
    pub fn encode(&self) -> Bytes {
        let kind = match self.definition.clone() {
            Definition::Schema => v1::definition::Kind::Schema(v1::Schema {}),
            Definition::Table(table) => v1::definition::Kind::Table(*table),
            Definition::View(view) => v1::definition::Kind::View(view),
            Definition::Catalog => v1::definition::Kind::Catalog(v1::Catalog {}),
        };
        let access = self.access.to_proto();
        v1::Definition { kind: Some(kind), access }.encode_to_vec().into()
    }

    /// Reads the stored form. `Lost`: damaged, or written by a later build.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let lost = || Error::lost("a definition in the catalog cannot be read");
        let stored = v1::Definition::decode(bytes).map_err(|e| lost().with_source(e))?;
        let definition = match stored.kind.ok_or_else(lost)? {
            v1::definition::Kind::Schema(_) => Definition::Schema,
            v1::definition::Kind::Table(table) => Definition::Table(Box::new(table)),
            v1::definition::Kind::View(view) => Definition::View(view),
            v1::definition::Kind::Catalog(_) => Definition::Catalog,
        };
        Ok(Self { definition, access: Access::from_proto(stored.access) })
    }
}
