//! Statements that write files: what each means, and what it may not do. Nothing is written here.
//!
//! Called by the dispatch of statements. Each kind finds the rows' plan, the target and the layout
//! of its files; [`Draft::plan`] puts the writing operator on top.

mod copy;
mod create;
mod ingest;
mod insert;

pub use self::ingest::{Ingest, IngestPlan};

use std::collections::HashMap;
use std::path::Path as FsPath;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::config::ConfigOptions;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use dunlin_base::{ByteCount, Error, QueryId, Result};
use dunlin_proto::plan::WriteFiles;
use dunlin_proto::write::{self as v1, Target, target::Kind};
use object_store::path::Path;
use prost::Message;

use super::query::{self, ShowLogical};
use super::{Planned, QueryPlan, Session, Statement, View};
use crate::catalog::{Format, Location, encode_schema};
use crate::errors::from_datafusion;
use crate::nodes::WriteFilesExec;
use crate::object_stores::StoreSpec;
use crate::write::{Landing, Layout, WritePlan, manifest_schema, staging, table_options};

/// What a statement writes, before its plan is put together.
struct Draft {
    rows: QueryPlan,
    place: Place,
}

/// Where files go, and what they are.
struct Place {
    id: QueryId,
    /// The files' columns.
    schema: SchemaRef,
    target: Target,
    format: Format,
    /// `format.*` options.
    options: HashMap<String, String>,
    /// A line break in a value of a CSV file is an error.
    one_line: bool,
}

impl Session {
    /// The plan of the rows that are to be written.
    async fn rows_of(
        &self,
        logical: &LogicalPlan,
        state: &SessionState,
        statement: &Statement,
        view: &View,
    ) -> Result<QueryPlan> {
        if query::reads_information(logical, &statement.text)? {
            return Err(Error::invalid("what information_schema shows cannot be written to files"));
        }
        query::physical(state, logical, statement, &view.settings, ShowLogical::No).await
    }
}

impl Place {
    /// How files are written there, and one without rows. `Invalid`: columns or options that the
    /// format does not have.
    fn files(&self, wanted: ByteCount, state: &SessionState) -> Result<(WriteFiles, Vec<u8>)> {
        let config = state.config_options();
        let options = complete(self.format, self.options.clone(), state)?;
        let folder = parsed(&self.target.folder)?;
        let required = self.schema.fields().iter().zip(0..);
        let required = required.filter(|(field, _)| !field.is_nullable()).map(|(_, i)| i).collect();
        let layout = v1::Layout {
            format: self.format.name().to_owned(),
            options,
            schema: encode_schema(&self.schema)?,
            required,
            one_line: self.one_line,
            file_bytes: file_bytes(&self.target, wanted),
            one_file: !self.target.file.is_empty(),
        };
        let empty = Layout::new(&layout, config)?.empty_file()?;
        let files = WriteFiles {
            store: self.target.store.clone(),
            folder: staging(&folder, self.id).to_string(),
            ending: self.target.ending.clone(),
            layout: Some(layout),
        };
        Ok((files, empty))
    }
}

impl Draft {
    /// The whole plan. `Invalid`: columns or options that the format does not have.
    fn plan(self, state: &SessionState) -> Result<Planned> {
        let Self { rows, place } = self;
        let (files, empty) = place.files(rows.settings.write_file_bytes, state)?;
        let one_file = !place.target.file.is_empty();
        let mut physical = widened(&rows.physical, state.config_options())?;
        if one_file && physical.output_partitioning().partition_count() > 1 {
            physical = Arc::new(CoalescePartitionsExec::new(physical));
        }
        let query = QueryPlan {
            physical: Arc::new(WriteFilesExec::new(physical, Arc::new(files))),
            schema: manifest_schema(),
            ..rows
        };
        Ok(Planned::Write(Box::new(WritePlan { id: place.id, query, target: place.target, empty })))
    }
}

/// Object stores publish by a copy, which they do not make of larger files in one request.
const REMOTE_FILE_MAX: ByteCount = ByteCount::mib(4096);

/// How large a file may become.
fn file_bytes(target: &Target, wanted: ByteCount) -> u64 {
    let most = if target.store.starts_with("file:") { u64::MAX } else { REMOTE_FILE_MAX.0 };
    if target.file.is_empty() { wanted.0.min(most) } else { most }
}

/// The plan with its scan in several partitions, if it does nothing but scan, filter and project:
/// DataFusion leaves the scan of one file whole when no operator above gains by it, but several
/// writers do.
fn widened(
    plan: &Arc<dyn ExecutionPlan>,
    config: &ConfigOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    let (streams, wanted) =
        (plan.output_partitioning().partition_count(), config.execution.target_partitions);
    let ordered = plan.properties().output_ordering().is_some();
    if streams > 1 || wanted < 2 || ordered || plan.fetch().is_some() {
        return Ok(Arc::clone(plan));
    }
    if plan.is::<DataSourceExec>() {
        let split = plan.repartitioned(wanted, config).map_err(from_datafusion)?;
        return Ok(split.unwrap_or_else(|| Arc::clone(plan)));
    }
    let row_by_row = plan.is::<FilterExec>() || plan.is::<ProjectionExec>();
    let children = plan.children();
    let [child] = children.as_slice() else { return Ok(Arc::clone(plan)) };
    if !row_by_row {
        return Ok(Arc::clone(plan));
    }
    crate::cut::with_children(plan, vec![widened(child, config)?])
}

/// The options with what would otherwise follow from settings that do not travel.
fn complete(
    format: Format,
    mut options: HashMap<String, String>,
    state: &SessionState,
) -> Result<Vec<v1::Setting>> {
    let config = state.config_options();
    if format == Format::Csv {
        let tables = table_options(format, &options, config)?;
        let header = tables.csv.has_header.unwrap_or(config.catalog.has_header);
        options.insert("format.has_header".to_owned(), header.to_string());
    }
    let mut options: Vec<_> =
        options.into_iter().map(|(key, value)| v1::Setting { key, value }).collect();
    options.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(options)
}

fn parsed(path: &str) -> Result<Path> {
    Path::parse(path).map_err(|e| Error::bug("a target is no path").with_source(e))
}

/// The target at a location: a folder, or the file `file` in it. `Invalid`: a wildcard, a store that
/// is not written to.
fn target_at(kind: Kind, location: &Location, ending: &str, one_file: bool) -> Result<Target> {
    check_writable(location)?;
    let prefix = location.url.prefix();
    let (folder, file) = match (one_file, prefix.filename()) {
        (true, Some(file)) => {
            let parts: Vec<_> = prefix.parts().collect();
            let above = parts.len().saturating_sub(1);
            (Path::from_iter(parts.into_iter().take(above)), file.to_owned())
        }
        _ => (prefix.clone(), String::new()),
    };
    let local = FsPath::new("/").join(folder.as_ref());
    let fresh = location.url.scheme() == "file" && !local.exists();
    Ok(Target {
        kind: kind.into(),
        store: location.url.object_store().to_string(),
        folder: folder.to_string(),
        file,
        ending: ending.to_owned(),
        fresh,
        ..Target::default()
    })
}

fn check_writable(location: &Location) -> Result<()> {
    if location.url.get_glob().is_some() {
        return Err(Error::invalid(format!("{location} is a wildcard: files need one folder")));
    }
    match location.url.scheme() {
        "http" | "https" => Err(Error::invalid(format!("{location} is read-only"))
            .with_hint("write to a local folder, S3, Google Cloud Storage or Azure")),
        _ => Ok(()),
    }
}

impl Session {
    /// Refuses a target that is not allowed or not empty, and tells the stores how to reach it.
    async fn check_free(&self, location: &Location, target: &Target, id: QueryId) -> Result<()> {
        location.check_allowed(self.planner.stores.allowed())?;
        Landing::new(&self.planner.stores, target, id)?.check_free().await
    }

    /// How the store of a target is reached, to be kept with it: as this statement says, else as this
    /// process knows.
    fn access(&self, location: &Location, said: Option<StoreSpec>) -> Result<bytes::Bytes> {
        let known = self.planner.stores.options_for(location.url.object_store().as_ref());
        let Some(spec) = said else {
            return Ok(known.map(|s| s.to_proto().encode_to_vec().into()).unwrap_or_default());
        };
        if known.is_some_and(|known| known.options != spec.options) {
            return Err(Error::invalid(format!("{} is reached with other options", spec.url))
                .with_hint(
                    "all statements on one store share its options: give the same, or none",
                ));
        }
        Ok(spec.to_proto().encode_to_vec().into())
    }
}

/// What a statement says about the store of a location, if anything.
fn spec_of(location: &Location, options: Vec<(String, String)>) -> Option<StoreSpec> {
    let url = location.url.object_store().to_string();
    let url = url.trim_end_matches('/').to_owned();
    // `file://` has lost all three slashes.
    let url = if url.ends_with(':') { format!("{url}//") } else { url };
    (!options.is_empty()).then_some(StoreSpec { url, options })
}

/// The columns as files have them: names that are unique and not empty.
fn named(schema: &SchemaRef) -> Result<SchemaRef> {
    let mut seen = std::collections::HashSet::new();
    for field in schema.fields() {
        if !seen.insert(field.name().as_str()) {
            return Err(Error::invalid(format!("two columns are called '{}'", field.name()))
                .with_hint("name one of them with AS"));
        }
    }
    if schema.fields().is_empty() {
        return Err(Error::invalid("the query has no columns"));
    }
    // Any later file may have NULL.
    let fields = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}
