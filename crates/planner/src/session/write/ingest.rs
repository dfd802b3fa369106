//! Bulk ingest: rows that a client sends become files of a table, without a query.
//!
//! Called by gateways, which have the rows. What they become is planned here, as for INSERT and
//! CREATE TABLE AS; [`IngestPlan::write`] makes the files, in the process of the caller.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::config::SessionConfig;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use dunlin_base::{ByteCount, Env, Error, QueryId, Result};
use dunlin_proto::plan::WriteFiles;
use dunlin_proto::write::{File, Target};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::create::{New, With};
use super::{Place, View, named};
use crate::catalog::{Definition, Name, Privilege, Scope, check_may_create, no_schema};
use crate::context::{Contexts, header};
use crate::errors::{from_datafusion, into_datafusion};
use crate::nodes::write_stream;
use crate::session::Session;
use crate::session::ddl::refuse_folder_table;
use crate::write::{Fit, manifest_file};

/// Memory for the rows of one upload that are not in a file yet.
const MEMORY_MAX: ByteCount = ByteCount::mib(96);

/// What the names of the files begin with: there is one stream, and it is not tried again.
const PREFIX: &str = "upload";

/// What is to become of rows that a client sends.
#[derive(Clone, Debug)]
pub struct Ingest {
    /// The table's schema; `None`: the session's.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
    /// Make the table if there is none; else that is an error.
    pub create: bool,
    /// Add to the table if there is one; else that is an error.
    pub append: bool,
}

/// An ingest that nobody has begun.
pub struct IngestPlan {
    /// The id of the write: the names of its files have it.
    pub id: QueryId,
    /// Where the files go.
    pub target: Target,
    /// A file without rows, for a target that must have one.
    pub empty: Vec<u8>,
    files: Arc<WriteFiles>,
    fit: Fit,
    config: SessionConfig,
}

impl fmt::Debug for IngestPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestPlan").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Session {
    /// Whether the user may do this, as far as it can be told without the rows: before anything is
    /// taken from a client. Errors as for [`Session::ingest`].
    pub async fn check_ingest(&self, ingest: &Ingest) -> Result<()> {
        let scope = self.scope().await?;
        let state = scope.state();
        let default = &state.config_options().catalog.default_schema;
        let schema = ingest.schema.as_ref().unwrap_or(default);
        match scope.find(schema, &ingest.table) {
            Some(entry) if ingest.append => scope.rights().check_entry(Privilege::Insert, entry),
            None if ingest.create => {
                check_may_create(scope.rights(), &Name::object(schema, &ingest.table))
            }
            // Planning says what is wrong.
            _ => Ok(()),
        }
    }

    /// Plans an ingest of rows with these columns. `Invalid`: the user may not, the table is there,
    /// or is not, and should not or should be; columns that do not fit; a table to which no rows can be added.
    pub async fn ingest(&self, ingest: &Ingest, columns: &SchemaRef) -> Result<IngestPlan> {
        let view = self.view().await?;
        let scope = self.scope_of(&view);
        let state = scope.state();
        let default = &state.config_options().catalog.default_schema;
        let schema = ingest.schema.as_ref().unwrap_or(default);
        let name = Name::object(schema, &ingest.table);
        if !scope.snapshot().has_schema(schema) {
            return Err(no_schema(schema, scope.snapshot()));
        }
        let (place, fit) = match scope.find(schema, &ingest.table) {
            Some(entry) if ingest.append => {
                scope.rights().check_entry(Privilege::Insert, entry)?;
                self.more_rows(&scope, &name, columns).await?
            }
            Some(there) => {
                let kind = there.definition.kind();
                return Err(Error::invalid(format!("{kind} '{name}' already exists"))
                    .with_hint("append to it, or drop it first"));
            }
            None if ingest.create => {
                check_may_create(scope.rights(), &name)?;
                self.new_table(&scope, &view, name, columns).await?
            }
            None => {
                return Err(Error::invalid(format!("there is no table '{name}'"))
                    .with_hint("have it created, or create it first"));
            }
        };
        let (files, empty) = place.files(view.settings.write_file_bytes, &state)?;
        let (files, config) = (Arc::new(files), state.config().clone());
        Ok(IngestPlan { id: place.id, target: place.target, empty, files, fit, config })
    }

    async fn more_rows(
        &self,
        scope: &Scope,
        name: &Name,
        columns: &SchemaRef,
    ) -> Result<(Place, Fit)> {
        let entry = scope.find(&name.schema, name.object.as_deref().unwrap_or_default());
        let entry = entry.ok_or_else(|| Error::bug("a table that was just found"))?;
        let Definition::Table(table) = &entry.definition else {
            return Err(Error::invalid(format!("'{name}' is a view: it has no files")));
        };
        let provider = scope.provider(entry).await?;
        let place = self.place_in(name, table, provider.as_ref())?;
        let fit = Fit::into(Arc::clone(&place.schema), columns);
        let fit = fit.map_err(|error| error.context(format!("table '{name}'")))?;
        Ok((place, fit))
    }

    async fn new_table(
        &self,
        scope: &Scope,
        view: &View,
        name: Name,
        columns: &SchemaRef,
    ) -> Result<(Place, Fit)> {
        refuse_folder_table(scope, &name)?;
        let schema = named(&Fit::kept(columns)?)?;
        let fit = Fit::into(Arc::clone(&schema), columns)?;
        let (with, warehouse) = (With::default(), view.settings.warehouse.as_str());
        let rights = scope.rights();
        if warehouse != self.planner.settings.warehouse {
            // A place of its own choice may be in another table's folder.
            rights.check_create()?;
        }
        let new = New { name, with, warehouse, rights, sql: "-- made by bulk ingest" };
        Ok((self.place_for(new, schema).await?, fit))
    }
}

impl IngestPlan {
    /// Writes rows into files of the staging folder; yields each when it is there. To be polled on
    /// the CPU runtime. Dropping the stream aborts the file that is being written, on `env`.
    ///
    /// `Invalid`: a value that does not fit; else the errors of `rows`, and of the store as for any
    /// write.
    pub fn write(
        &self,
        rows: BoxStream<'static, Result<RecordBatch>>,
        contexts: &Contexts,
        env: &Env,
    ) -> Result<BoxStream<'static, Result<File>>> {
        let pool = Arc::new(GreedyMemoryPool::new(MEMORY_MAX.as_usize()));
        let context = contexts.for_header(&header(&self.config, Vec::new()), pool)?.run;
        let fit = self.fit.clone();
        let pieces = rows.map(move |batch| {
            let pieces = fit.pieces(&batch?)?;
            Ok::<_, Error>(stream::iter(pieces))
        });
        let pieces = pieces.try_flatten().map_err(into_datafusion);
        let rows = RecordBatchStreamAdapter::new(Arc::clone(self.fit.schema()), pieces);
        let files = write_stream(&self.files, Box::pin(rows), PREFIX.to_owned(), env, &context);
        let files = files.map_err(from_datafusion)?.map(|row| {
            let files = manifest_file(&row.map_err(from_datafusion)?)?;
            Ok::<_, Error>(stream::iter(files.into_iter().map(Ok)))
        });
        Ok(files.try_flatten().boxed())
    }
}
