//! The operator on top of a statement that writes: each stream writes its rows to files in the
//! staging folder of the target and yields a row for each finished file.
//!
//! The executor binds it to the names of one attempt before it runs: no two attempts write the same
//! file, so the manifest of the attempt that counts names just the files that count.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning,
    PlanProperties, ReplaceChildrenOptions,
};
use dunlin_base::{ByteCount, Env, Error, Result as OurResult, fail};
use dunlin_proto::plan::WriteFiles;
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use crate::errors::{from_datafusion, into_datafusion};
use crate::write::{Encoder, Layout, Upload, manifest_row, manifest_schema, shown};

/// A row group that takes more memory is ended, whatever its number of rows.
const HELD_MAX: ByteCount = ByteCount::mib(64);

/// Writes files.
#[derive(Debug, Clone)]
pub struct WriteFilesExec {
    input: Arc<dyn ExecutionPlan>,
    files: Arc<WriteFiles>,
    bound: Option<Bound>,
    properties: Arc<PlanProperties>,
}

/// The attempt that runs it.
#[derive(Clone)]
struct Bound {
    /// What its files' names begin with.
    prefix: String,
    /// Uploads that are dropped are aborted there.
    env: Env,
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prefix)
    }
}

impl WriteFilesExec {
    /// Writes the rows of `input`.
    pub fn new(input: Arc<dyn ExecutionPlan>, files: Arc<WriteFiles>) -> Self {
        let streams = input.properties().partitioning.partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(manifest_schema()),
            Partitioning::UnknownPartitioning(streams),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { input, files, bound: None, properties: Arc::new(properties) }
    }

    /// What it writes.
    pub fn files(&self) -> &Arc<WriteFiles> {
        &self.files
    }
}

/// Binds the operator, if the plan has it on top, to an attempt: `prefix` must be of no other attempt of
/// the query. Uploads that are dropped are aborted in the background, on `env`.
pub fn bind_files(plan: Arc<dyn ExecutionPlan>, prefix: &str, env: &Env) -> Arc<dyn ExecutionPlan> {
    let Some(write) = plan.downcast_ref::<WriteFilesExec>() else { return plan };
    let bound = Some(Bound { prefix: prefix.to_owned(), env: env.clone() });
    Arc::new(WriteFilesExec { bound, ..write.clone() })
}

impl DisplayAs for WriteFilesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = self.files.layout.as_ref().map_or("", |layout| layout.format.as_str());
        write!(f, "WriteFilesExec: format={format}")
    }
}

impl ExecutionPlan for WriteFilesExec {
    fn name(&self) -> &str {
        "WriteFilesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.pop()) {
            (Some(input), None) => {
                let fresh = Self::new(input, Arc::clone(&self.files));
                Ok(Arc::new(Self { bound: self.bound.clone(), ..fresh }))
            }
            _ => internal_err!("a write has one input"),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, recompute)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let Some(bound) = &self.bound else {
            return internal_err!("a write was executed before it was bound");
        };
        let rows = self.input.execute(partition, Arc::clone(&context))?;
        let prefix = format!("{}-{partition:03}", bound.prefix);
        write_stream(&self.files, rows, prefix, &bound.env, &context)
    }
}

/// Writes the rows of one stream; the result yields a row of the manifest for each finished file.
/// `prefix` is what their names begin with. Uploads that are dropped are aborted on `env`.
pub(crate) fn write_stream(
    files: &Arc<WriteFiles>,
    rows: SendableRecordBatchStream,
    prefix: String,
    env: &Env,
    context: &Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let Some(layout) = &files.layout else {
        return internal_err!("a write without a layout");
    };
    let layout = Layout::new(layout, context.session_config().options());
    let url = ObjectStoreUrl::parse(&files.store)?;
    let stream = FileStream {
        rows: Some(rows),
        layout: layout.map_err(into_datafusion)?,
        store: context.runtime_env().object_store(&url)?,
        files: Arc::clone(files),
        prefix,
        env: env.clone(),
        memory: MemoryConsumer::new("WriteFiles").register(context.memory_pool()),
        next: 0,
    };
    let rows = futures::stream::try_unfold(stream, |mut stream| async move {
        let row = stream.next_file().await.map_err(into_datafusion)?;
        Ok::<_, DataFusionError>(row.map(|row| (row, stream)))
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(manifest_schema(), rows)))
}

/// One stream of rows on its way into files.
struct FileStream {
    /// `None`: at its end.
    rows: Option<SendableRecordBatchStream>,
    layout: Layout,
    store: Arc<dyn ObjectStore>,
    files: Arc<WriteFiles>,
    prefix: String,
    env: Env,
    memory: MemoryReservation,
    /// Number of the next file.
    next: u32,
}

/// The file that is being written.
struct OpenFile {
    name: String,
    encoder: Encoder,
    upload: Upload,
    rows: u64,
    bytes: u64,
}

impl FileStream {
    /// Writes the next file; `None` when there are no more rows.
    async fn next_file(&mut self) -> OurResult<Option<RecordBatch>> {
        let mut open: Option<OpenFile> = None;
        while let Some(rows) = &mut self.rows {
            let Some(batch) = rows.try_next().await.map_err(from_datafusion)? else {
                self.rows = None;
                break;
            };
            if batch.num_rows() == 0 {
                continue;
            }
            let file = match &mut open {
                Some(file) => file,
                None => open.insert(self.begin()?),
            };
            let bytes = file.encoder.write(&batch)?;
            file.rows += batch.num_rows() as u64;
            file.send(bytes).await?;
            let held = file.encoder.memory();
            if held > HELD_MAX.as_usize() || self.memory.try_resize(held).is_err() {
                let bytes = file.encoder.flush()?;
                file.send(bytes).await?;
            }
            if file.bytes + file.encoder.pending() >= self.layout.file_bytes {
                if self.layout.one_file {
                    let most = ByteCount(self.layout.file_bytes);
                    return Err(Error::invalid(format!("one file would be larger than {most}"))
                        .with_hint("write to a folder: end the target with a slash"));
                }
                break;
            }
        }
        let row = match open {
            Some(file) => {
                let row = file.finish().await?;
                fail::point(&self.env, fail::IN_WRITE).await?;
                Some(row)
            }
            None => None,
        };
        self.memory.free();
        Ok(row)
    }

    fn begin(&mut self) -> OurResult<OpenFile> {
        let name = format!("{}-{:04}{}", self.prefix, self.next, self.files.ending);
        self.next += 1;
        let folder = Path::parse(&self.files.folder)
            .map_err(|e| Error::bug("a staging folder is no path").with_source(e))?;
        let path = folder.join(name.as_str());
        let shown = shown(&self.files.store, &path);
        let upload = Upload::new(Arc::clone(&self.store), path, shown, self.env.clone());
        let encoder = Encoder::new(&self.layout)?;
        Ok(OpenFile { name, encoder, upload, rows: 0, bytes: 0 })
    }
}

impl OpenFile {
    async fn send(&mut self, bytes: bytes::Bytes) -> OurResult<()> {
        self.bytes += bytes.len() as u64;
        self.upload.put(bytes).await
    }

    /// The row of the finished file.
    async fn finish(mut self) -> OurResult<RecordBatch> {
        let Self { name, encoder, rows, .. } = self;
        let last = encoder.finish()?;
        self.bytes += last.len() as u64;
        self.upload.put(last).await?;
        self.upload.finish().await?;
        manifest_row(&name, rows, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::parquet::file::reader::{FileReader, SerializedFileReader};
    use datafusion::prelude::{SessionConfig, SessionContext};
    use dunlin_proto::write;

    use super::*;
    use crate::catalog::encode_schema;
    use crate::write::manifest_file;

    #[tokio::test]
    async fn little_memory_makes_more_row_groups_and_not_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let schema = Arc::new(Schema::new(vec![Field::new("s", DataType::Utf8, false)]));
        let batch = |n: usize| {
            let text = |i| format!("{n}-{i}-{}", "x".repeat(64));
            let words = StringArray::from_iter_values((0..1000).map(text));
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(words)]).expect("a batch")
        };
        let batches: Vec<_> = (0..20).map(batch).collect();
        let input = MemorySourceConfig::try_new_exec(&[batches], Arc::clone(&schema), None);
        let layout = write::Layout {
            format: "parquet".to_owned(),
            schema: encode_schema(&schema).expect("a schema"),
            file_bytes: u64::MAX,
            ..write::Layout::default()
        };
        let files = WriteFiles {
            store: "file:///".to_owned(),
            folder: Path::from_absolute_path(folder.path()).expect("a path").to_string(),
            ending: ".parquet".to_owned(),
            layout: Some(layout),
        };
        let write = WriteFilesExec::new(input.expect("an input"), Arc::new(files));
        let env = Env::real(Some(tokio::runtime::Handle::current()));
        let plan = bind_files(Arc::new(write), "0-00000-1", &env);
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(400_000, 1.0).build_arc();
        let config = SessionConfig::new();
        let context = SessionContext::new_with_config_rt(config, runtime.expect("a runtime"));
        let stream = plan.execute(0, context.task_ctx()).expect("a stream");
        let rows: Vec<_> = stream.try_collect().await.expect("written");
        let [file] = manifest_file(&rows[0]).expect("a manifest").try_into().expect("one file");
        assert_eq!((file.name.as_str(), file.rows), ("0-00000-1-000-0000.parquet", 20_000));
        let written = std::fs::File::open(folder.path().join(&file.name)).expect("the file");
        assert_eq!(written.metadata().expect("its size").len(), file.bytes);
        let reader = SerializedFileReader::new(written).expect("a Parquet file");
        assert!(reader.num_row_groups() > 1, "{} row groups", reader.num_row_groups());
    }
}
