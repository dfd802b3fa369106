//! Catalogs, schemas, tables: metadata as rows.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use arrow_flight::sql::{
    Command, CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables,
};
use dunlin_base::{Error, Kind, Result};
use dunlin_planner::Session;

use super::caller::Caller;
use super::fault::{Fault, Outcome, unsupported};
use super::plain::plain_schema;
use super::service::Door;
use super::{facts, keys, types};

const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

impl Door {
    /// The rows of a metadata command.
    pub(super) async fn metadata(&self, caller: &Caller, command: Command) -> Outcome<RecordBatch> {
        let session = Arc::clone(self.sessions.shared(caller)?.planned());
        let listing = async move {
            match command {
                Command::CommandGetCatalogs(get) => catalogs(&session, get),
                Command::CommandGetDbSchemas(get) => schemas(&session, get).await,
                Command::CommandGetTables(get) => tables(&session, get).await,
                Command::CommandGetTableTypes(get) => table_types(get),
                Command::CommandGetSqlInfo(get) => facts::sql_info(get),
                Command::CommandGetXdbcTypeInfo(get) => types::xdbc_types(get),
                other => match keys::columns(&other) {
                    Some(schema) => Ok(RecordBatch::new_empty(schema)),
                    None => Err(unsupported(other.type_url())),
                },
            }
        };
        // Columns of many tables are many footers: not on the control runtime.
        let listed = self.gateway.parts().cpu.spawn("list", listing).join().await;
        listed.unwrap_or_else(|panic| Err(Error::bug(format!("listing panicked: {panic}")).into()))
    }
}

fn catalogs(session: &Session, get: CommandGetCatalogs) -> Outcome<RecordBatch> {
    let mut builder = get.into_builder();
    builder.append(session.catalog_name());
    Ok(builder.build()?)
}

async fn schemas(session: &Session, get: CommandGetDbSchemas) -> Outcome<RecordBatch> {
    let mut builder = get.into_builder();
    for schema in session.schemas().await? {
        builder.append(session.catalog_name(), schema);
    }
    Ok(builder.build()?)
}

fn table_types(get: CommandGetTableTypes) -> Outcome<RecordBatch> {
    let mut builder = get.into_builder();
    builder.append(TABLE);
    builder.append(VIEW);
    Ok(builder.build()?)
}

/// With columns, only the tables that pass the filters are looked into.
async fn tables(session: &Session, get: CommandGetTables) -> Outcome<RecordBatch> {
    let wanted = CommandGetTables { include_schema: false, ..get.clone() };
    let mut builder = wanted.into_builder();
    let all = session.tables().await?;
    for table in &all {
        let kind = if table.view { VIEW } else { TABLE };
        builder.append(
            session.catalog_name(),
            &table.schema,
            &table.name,
            kind,
            &Schema::empty(),
        )?;
    }
    let names = builder.build()?;
    if !get.include_schema {
        return Ok(names);
    }
    let mut builder = get.into_builder();
    for row in 0..names.num_rows() {
        let text = |column: usize| text_at(&names, column, row);
        let (catalog, schema, name, kind) = (text(0)?, text(1)?, text(2)?, text(3)?);
        let columns = columns(session, &schema, &name).await?;
        builder.append(catalog, schema, name, kind, &columns)?;
    }
    Ok(builder.build()?)
}

/// A table that cannot be read is listed without columns: one bad file must not hide the others.
async fn columns(session: &Session, schema: &str, name: &str) -> Result<Schema> {
    match session.columns(schema, name).await {
        Ok(Some(columns)) => Ok(Schema::clone(&plain_schema(&columns))),
        Ok(None) => Ok(Schema::empty()),
        Err(error) if error.kind() == Kind::Retry => Err(error),
        Err(error) => {
            tracing::debug!(%schema, %name, %error, "listed without columns");
            Ok(Schema::empty())
        }
    }
}

fn text_at(batch: &RecordBatch, column: usize, row: usize) -> Result<String, Fault> {
    use arrow::util::display::array_value_to_string;
    Ok(array_value_to_string(batch.column(column), row)?)
}
