//! INSERT INTO: more files for a table that is one folder.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::common::TableReference;
use datafusion::datasource::TableProvider;
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::source_as_provider;
use datafusion::execution::SessionState;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{LogicalPlan, WriteOp};
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::{Insert, ObjectName, Query, TableObject, visit_relations};
use dunlin_base::{Error, QueryId, Result};
use dunlin_proto::catalog::v1::ExternalTable;
use dunlin_proto::write::target::Kind;

use super::{Draft, Place, target_at};
use crate::catalog::{Definition, Format, Location, Name, Privilege, Scope};
use crate::errors::from_datafusion;
use crate::object_stores::is_store_option;
use crate::session::ddl::unsupported;
use crate::session::{Planned, Session, Statement, query};
use crate::write::not_written;

impl Session {
    /// Plans an INSERT. `Invalid`: a table that is not one folder of files that can be written,
    /// columns that do not fit.
    pub(in crate::session) async fn insert(
        &self,
        statement: &Statement,
        insert: &Insert,
    ) -> Result<Planned> {
        if insert.overwrite || insert.replace_into || insert.on.is_some() {
            return Err(unsupported("INSERT that replaces rows"));
        }
        let view = self.view().await?;
        let scope = self.scope_of(&view);
        let scope = may_insert(&scope, insert)?;
        let state = scope.state();
        let planned = query::logical(&scope, &state, statement, &statement.ast).await?;
        let LogicalPlan::Dml(dml) = planned else {
            return Err(unsupported("this INSERT"));
        };
        if dml.op != WriteOp::Insert(InsertOp::Append) {
            return Err(unsupported("INSERT that replaces rows"));
        }
        let name = query::name_of(&state, &dml.table_name)?;
        let entry = scope.find(&name.schema, name.object.as_deref().unwrap_or_default());
        if let Some(entry) = entry {
            scope.rights().check_entry(Privilege::Insert, entry)?;
        }
        let table = match entry.map(|entry| &entry.definition) {
            Some(Definition::Table(table)) => table,
            _ => return Err(Error::invalid(format!("'{name}' is a view: it has no files"))),
        };
        let provider = source_as_provider(&dml.target).map_err(from_datafusion)?;
        let place = self.place_in(&name, table, provider.as_ref())?;
        let rows = self.rows_of(&dml.input, &state, statement, &view).await?;
        Draft { rows, place }.plan(&state)
    }

    /// Where more files of a table go. `Invalid`: a table that is not one folder of files that can
    /// be written.
    pub(super) fn place_in(
        &self,
        name: &Name,
        table: &ExternalTable,
        provider: &dyn TableProvider,
    ) -> Result<Place> {
        let listing = provider
            .downcast_ref::<ListingTable>()
            .ok_or_else(|| Error::bug(format!("table '{name}' is not made of files")))?;
        let format = Format::parse(&table.format)?;
        let location = only_folder(name, table, listing)?;
        let ending = &listing.options().file_extension;
        check_ending(name, format, ending)?;
        let mut target = target_at(Kind::Insert, &location, ending, false)?;
        target.access = self.access(&location, None)?;
        let about_format = table.options.iter().filter(|o| !is_store_option(&o.key));
        Ok(Place {
            id: QueryId::generate(&self.planner.env),
            schema: listing.schema(),
            target,
            format,
            options: about_format
                .map(|o| (o.key.clone(), o.value.clone()))
                .collect::<HashMap<_, _>>(),
            one_line: true,
        })
    }
}

/// The scope in which the INSERT is planned: its target need not be readable, unless its rows come
/// from there.
fn may_insert(scope: &Scope, insert: &Insert) -> Result<Scope> {
    let state = scope.state();
    let TableObject::TableName(target) = &insert.table else { return Ok(scope.clone()) };
    let target = query::name_of(&state, &TableReference::parse_str(&target.to_string()))?;
    let Some(entry) = scope.find(&target.schema, target.object.as_deref().unwrap_or_default())
    else {
        return Ok(scope.clone());
    };
    scope.rights().check_entry(Privilege::Insert, entry)?;
    if let Some(source) = &insert.source
        && names(source, &target, &state)?
    {
        scope.rights().check_entry(Privilege::Select, entry)?;
    }
    Ok(scope.writing(&target))
}

/// Whether a query names a table anywhere, be it only as a CTE of the same name: which of the two a
/// name means is the planner's to say, and where WITH RECURSIVE is not recursive it is the table.
fn names(query: &Query, table: &Name, state: &SessionState) -> Result<bool> {
    let normalize = state.config_options().sql_parser.enable_ident_normalization;
    let found = visit_relations(query, |name: &ObjectName| {
        let reference = object_name_to_table_reference(name.clone(), normalize);
        match reference.map_err(from_datafusion).and_then(|r| query::name_of(state, &r)) {
            Ok(name) if name == *table => ControlFlow::Break(Ok(())),
            Ok(_) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Err(error)),
        }
    });
    match found {
        ControlFlow::Continue(()) => Ok(false),
        ControlFlow::Break(found) => found.map(|()| true),
    }
}

/// The one folder of a table. `Invalid`: more, or something else.
fn only_folder(name: &Name, table: &ExternalTable, listing: &ListingTable) -> Result<Location> {
    let refuse = |what: &str| {
        Err(Error::invalid(format!("rows cannot be inserted into table '{name}': {what}"))
            .with_hint("INSERT adds files to tables that are one folder of Parquet, CSV or JSON"))
    };
    let ([text], [url]) = (table.locations.as_slice(), listing.table_paths().as_slice()) else {
        return refuse("it is made of several locations");
    };
    if url.get_glob().is_some() {
        return refuse("its files are named by a wildcard");
    }
    if !url.is_collection() {
        return refuse("it is one file");
    }
    if !listing.options().table_partition_cols.is_empty() {
        return refuse("it has columns in the names of folders");
    }
    if !table.orders.is_empty() {
        return refuse("its files are declared to be in order");
    }
    Location::parse(text)
}

fn check_ending(name: &Name, format: Format, ending: &str) -> Result<()> {
    match format {
        Format::Parquet | Format::Csv | Format::Json => {}
        Format::Avro | Format::Arrow => return Err(not_written(format)),
    }
    let compressed = [".gz", ".bz2", ".xz", ".zst"];
    if compressed.iter().any(|end| ending.ends_with(end)) {
        return Err(Error::invalid(format!(
            "rows cannot be inserted into table '{name}': its files are compressed ({ending})"
        )));
    }
    Ok(())
}
