//! The place that rows are written to, and one result on its way there.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use dunlin_base::Error;
use tempfile::NamedTempFile;

use super::encode::{Csv, Json};
use super::parquet::ParquetFile;
use super::table::TableBuffer;
use crate::cli::Format;
use crate::report::Failure;

/// Rows of one statement, batch by batch.
pub(crate) trait Sink {
    /// Takes a batch. What it writes may be visible at once.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure>;

    /// The end of the rows. A sink that is dropped without it leaves its result unfinished.
    fn finish(self: Box<Self>) -> Result<(), Failure>;
}

/// Where the rows of all statements go.
pub(crate) struct Output {
    format: Format,
    max_rows: Option<usize>,
    target: Target,
    results: usize,
}

enum Target {
    Stdout,
    /// Written beside its destination and renamed at the end.
    File {
        temporary: NamedTempFile,
        destination: PathBuf,
    },
}

impl Output {
    /// Opens the place. `Usage`: Parquet without a file; `Invalid`: the file cannot be made.
    pub(crate) fn open(
        format: Format,
        file: Option<&Path>,
        max_rows: u32,
    ) -> Result<Self, Failure> {
        let target = match file {
            None if format == Format::Parquet => {
                let error = Error::invalid("Parquet needs a file");
                return Err(Failure::Usage(error.with_hint("add --output FILE")));
            }
            None => Target::Stdout,
            Some(file) => Target::beside(file)?,
        };
        let shown = matches!(target, Target::Stdout) && io::stdout().is_terminal();
        let max_rows = (shown && max_rows > 0).then_some(max_rows as usize);
        Ok(Self { format, max_rows, target, results: 0 })
    }

    /// A sink for the next result.
    pub(crate) fn sink(&mut self, schema: SchemaRef) -> Result<Box<dyn Sink + '_>, Failure> {
        self.results += 1;
        if self.format == Format::Parquet && self.results > 1 {
            let error = Error::invalid("a Parquet file holds the rows of one statement only");
            return Err(error.with_hint("run the statements one by one").into());
        }
        let max_rows = self.max_rows;
        let out = self.target.writer()?;
        Ok(match self.format {
            Format::Table => Box::new(TableBuffer::new(out, schema, max_rows)),
            Format::Csv => Box::new(Csv::new(out, &schema)?),
            Format::Json => Box::new(Json::new(out)),
            Format::Parquet => Box::new(ParquetFile::new(out, schema)?),
        })
    }

    /// A line between results, for people.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.target.writer()?.put(format!("{text}\n").as_bytes())
    }

    /// Makes the file visible under its name. Without this call there is no file.
    pub(crate) fn commit(self) -> Result<(), Failure> {
        let Target::File { temporary, destination } = self.target else { return Ok(()) };
        let what = destination.display().to_string();
        temporary.as_file().sync_all().map_err(|e| Failure::writing(&what, e))?;
        temporary.persist(&destination).map_err(|e| Failure::writing(&what, e.error))?;
        Ok(())
    }
}

impl Target {
    fn beside(file: &Path) -> Result<Self, Failure> {
        let failed = |e| Failure::writing(&file.display().to_string(), e);
        if file.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".dunlin-").suffix(".partial");
        #[cfg(unix)]
        {
            // What an ordinary new file has; the default here is for the owner only.
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(folder).map_err(failed)?;
        Ok(Self::File { temporary, destination: file.to_owned() })
    }

    fn writer(&self) -> Result<Out, Failure> {
        match self {
            Self::Stdout => Ok(Out { name: "standard output".to_owned(), to: To::Stdout }),
            Self::File { temporary, destination } => {
                let name = destination.display().to_string();
                let file = temporary.as_file().try_clone();
                let file = file.map_err(|e| Failure::writing(&name, e))?;
                Ok(Out { name, to: To::File(file) })
            }
        }
    }
}

/// Bytes to the place, with its name in errors.
pub(super) struct Out {
    pub(super) name: String,
    to: To,
}

enum To {
    Stdout,
    File(File),
}

impl Out {
    /// Writes all bytes, or says which place refused them.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.write_all(bytes)
            .and_then(|()| self.flush())
            .map_err(|e| Failure::writing(&self.name, e))
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.to {
            To::Stdout => io::stdout().lock().write(bytes),
            To::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Stdout => io::stdout().lock().flush(),
            To::File(file) => file.flush(),
        }
    }
}
