//! Writes generated tables as Parquet files; called by `tpch` and `tpcds`.
//!
//! A file appears under its name only when it is whole (write beside it, then rename), so a folder
//! that an interrupted run left behind is completed by the next, and two processes that fill the
//! same folder do not disturb each other.

use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};
use arrow::record_batch::RecordBatchReader;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

/// Rows per row group: several groups per file already at scale 0.1, so that splitting a file into
/// slices is exercised, and close to what the common TPC-H generators write.
const ROW_GROUP_ROWS: usize = 128 * 1024;

/// Starts the generation of one table.
pub(crate) type Start = Box<dyn FnOnce() -> Result<Box<dyn RecordBatchReader>> + Send>;

/// Writes each table to `dir/<name>.parquet` unless that file exists, on as many threads as the
/// machine has cores. Put the longest tables first.
pub(crate) fn write_tables(dir: &Path, tables: Vec<(&'static str, Start)>) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let todo = Mutex::new(tables.into_iter());
    let next = || todo.lock().expect("no thread panics while it holds this lock").next();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    while let Some((name, start)) = next() {
                        write_table(dir, name, start)
                            .with_context(|| format!("cannot write table {name}"))?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a generator thread panicked"))??;
        }
        Ok(())
    })
}

fn write_table(dir: &Path, name: &str, start: Start) -> Result<()> {
    let path = dir.join(format!("{name}.parquet"));
    if path.exists() {
        return Ok(());
    }
    let batches = start()?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let file = tempfile::Builder::new().prefix(".writing-").tempfile_in(dir)?;
    let mut writer = ArrowWriter::try_new(file.as_file(), batches.schema(), Some(properties))?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    writer.close()?;
    file.persist(&path)?;
    Ok(())
}
