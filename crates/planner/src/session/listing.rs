//! Lists of schemas and tables for doors, with columns where they are asked for. Each has what the
//! session's user may use.

use arrow::datatypes::SchemaRef;
use dunlin_base::Result;

use super::Session;
use crate::catalog::{CATALOG, Definition};

/// A table or view, without its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// It is a view.
    pub view: bool,
}

impl Session {
    /// The name of the one catalog.
    pub fn catalog_name(&self) -> &'static str {
        CATALOG
    }

    /// All schemas, sorted.
    pub async fn schemas(&self) -> Result<Vec<String>> {
        let mut names = self.scope().await?.snapshot().schemas();
        names.sort();
        Ok(names)
    }

    /// All tables and views, by schema and name. No file is looked into.
    pub async fn tables(&self) -> Result<Vec<TableEntry>> {
        let scope = self.scope().await?;
        let mut schemas = scope.snapshot().schemas();
        schemas.sort();
        let mut tables = Vec::new();
        for schema in schemas {
            for name in scope.names_in(&schema) {
                let Some(entry) = scope.find(&schema, &name) else { continue };
                let view = matches!(entry.definition, Definition::View(_));
                tables.push(TableEntry { schema: schema.clone(), name, view });
            }
        }
        Ok(tables)
    }

    /// The columns of a table or view; `None` if there is none. `Invalid`: the user may not
    /// read it; errors name what cannot be read.
    pub async fn columns(&self, schema: &str, name: &str) -> Result<Option<SchemaRef>> {
        let scope = self.scope().await?;
        let Some(entry) = scope.find(schema, name) else { return Ok(None) };
        let provider = super::stack::Deep::new(Box::pin(scope.readable(entry))).await?;
        Ok(Some(provider.schema()))
    }
}
