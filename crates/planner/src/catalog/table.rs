//! From a definition to a DataFusion table: list the files, look into those that are new, agree on
//! a schema.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::common::TableReference;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, SortExpr};
use dunlin_base::{Error, Result};
use dunlin_proto::catalog::v1::ExternalTable;
use object_store::ObjectMeta;

use super::files::{Listing, LocalFile, unchanged};
use super::schema::{FileSchemas, Reader, reconcile};
use super::{Definition, Entry, Format, Location};
use crate::errors::from_datafusion;
use crate::object_stores::{ObjectStores, StoreSpec, is_store_option};

/// A table as its files were when they were last listed.
#[derive(Debug)]
pub(crate) struct Resolved {
    fingerprint: u64,
    /// The session's engine options: some change how types are read.
    engine: Vec<(String, String)>,
    schemas: FileSchemas,
    table: Arc<ListingTable>,
    /// The files, if each location is one local file.
    files: Option<Vec<LocalFile>>,
}

/// What resolving needs of the session and the process.
pub(crate) struct Reading<'a> {
    pub(crate) state: &'a SessionState,
    pub(crate) stores: &'a ObjectStores,
    pub(crate) engine: &'a [(String, String)],
}

/// The table of an entry, with the files that are there now. Errors name the file or the folder.
pub(crate) async fn resolve(entry: &Entry, reading: &Reading<'_>) -> Result<Arc<ListingTable>> {
    let Definition::Table(table) = &entry.definition else {
        return Err(Error::bug(format!("'{}' is not a table", entry.name)));
    };
    let format = Format::parse(&table.format)?;
    let locations = locations(table, reading)?;
    let known = entry.resolved.lock().clone().filter(|known| known.engine == reading.engine);
    if let Some(files) = known.as_ref().and_then(|known| known.files.as_ref())
        && unchanged(files).await
        && let Some(known) = &known
    {
        return Ok(Arc::clone(&known.table));
    }
    let declared = declared_schema(table)?;
    let mut listings = Vec::with_capacity(locations.len());
    for location in &locations {
        listings.push(location.list(format, reading.state, declared.is_some()).await?);
    }
    let fingerprint = fingerprint(listings.iter().flat_map(|l| &l.files));
    if let Some(known) = known.as_ref().filter(|known| known.fingerprint == fingerprint) {
        return Ok(Arc::clone(&known.table));
    }
    let files = locations.iter().zip(&listings).map(|(l, listing)| l.local_file(listing)).collect();
    let found = Found { table, format, locations, listings, declared };
    let no_schemas = FileSchemas::new();
    let schemas = known.as_ref().map_or(&no_schemas, |known| &known.schemas);
    let (table, schemas) = found.build(entry, reading, schemas).await?;
    let engine = reading.engine.to_vec();
    let resolved = Resolved { fingerprint, engine, schemas, table: Arc::clone(&table), files };
    *entry.resolved.lock() = Some(Arc::new(resolved));
    Ok(table)
}

/// Hash over path, size and time of every file.
pub(crate) fn fingerprint<'a>(files: impl Iterator<Item = &'a ObjectMeta>) -> u64 {
    let mut hash = blake3::Hasher::new();
    for file in files {
        let path = file.location.as_ref();
        hash.update(&(path.len() as u64).to_le_bytes());
        hash.update(path.as_bytes());
        hash.update(&file.size.to_le_bytes());
        hash.update(&file.last_modified.timestamp_micros().to_le_bytes());
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// How the store of a table is reached, if the table says so.
pub(crate) fn store_spec(table: &ExternalTable) -> Result<Option<StoreSpec>> {
    let about_store = table.options.iter().filter(|o| is_store_option(&o.key));
    let mut options: Vec<_> = about_store.map(|o| (o.key.clone(), o.value.clone())).collect();
    if options.is_empty() {
        return Ok(None);
    }
    options.sort();
    let first = table.locations.first().map_or("", String::as_str);
    let url = Location::parse(first)?.url.object_store().to_string();
    let url = url.trim_end_matches('/').to_owned();
    // `file://` has lost all three slashes.
    let url = if url.ends_with(':') { format!("{url}//") } else { url };
    Ok(Some(StoreSpec { url, options }))
}

fn locations(table: &ExternalTable, reading: &Reading<'_>) -> Result<Vec<Location>> {
    let locations: Vec<Location> =
        table.locations.iter().map(|text| Location::parse(text)).collect::<Result<_>>()?;
    let first = locations.first().ok_or_else(|| Error::invalid("a table needs a location"))?;
    for location in &locations {
        location.check_allowed(reading.stores.allowed())?;
        if location.url.object_store() != first.url.object_store() {
            return Err(Error::invalid(format!(
                "a table's files are in one store, but {first} and {location} are in two"
            )));
        }
    }
    // All on the store share what is said here: only who may open the table says it.
    if let Some(spec) = store_spec(table)? {
        reading.stores.configure(&spec)?;
    }
    Ok(locations)
}

fn declared_schema(table: &ExternalTable) -> Result<Option<SchemaRef>> {
    if table.schema.is_empty() {
        return Ok(None);
    }
    decode_schema(&table.schema).map(Some)
}

/// A schema from its stored form.
pub(crate) fn decode_schema(bytes: &[u8]) -> Result<SchemaRef> {
    let lost = || Error::lost("a stored schema cannot be read");
    let mut bytes = arrow::buffer::Buffer::from(bytes.to_vec());
    let mut decoder = arrow::ipc::reader::StreamDecoder::new();
    decoder.decode(&mut bytes).map_err(|e| lost().with_source(e))?;
    decoder.schema().ok_or_else(lost)
}

/// The stored form of a declared schema.
pub(crate) fn encode_schema(schema: &Schema) -> Result<bytes::Bytes> {
    let bug = |e| Error::bug("a schema cannot be encoded").with_source(e);
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(Vec::new(), schema).map_err(bug)?;
    writer.flush().map_err(bug)?;
    Ok(writer.into_inner().map_err(bug)?.into())
}

/// A definition with the files that were found.
struct Found<'a> {
    table: &'a ExternalTable,
    format: Format,
    locations: Vec<Location>,
    listings: Vec<Listing>,
    declared: Option<SchemaRef>,
}

impl Found<'_> {
    async fn build(
        &self,
        entry: &Entry,
        reading: &Reading<'_>,
        known: &FileSchemas,
    ) -> Result<(Arc<ListingTable>, FileSchemas)> {
        let reader = self.reader(reading)?;
        let (inferred, schemas) = self.schemas(&reader, reading, known).await?;
        let partitions = self.partitions()?;
        let whole = self.declared.clone().unwrap_or(inferred);
        let not_a_folder = |i: &usize| {
            let name = whole.field(*i).name();
            !partitions.iter().any(|(partition, _)| partition == name)
        };
        let in_files: Vec<usize> = (0..whole.fields().len()).filter(not_a_folder).collect();
        let in_files = whole.project(&in_files).map_err(|e| crate::errors::from_arrow(&e))?;
        let endings: Vec<_> = self.listings.iter().map(|l| l.ending.clone()).collect();
        let ending = if endings.iter().all(|e| *e == endings[0]) { &endings[0] } else { "" };
        let orders = self.orders(&in_files)?;
        let options = ListingOptions::new(reader)
            .with_file_extension(ending)
            .with_table_partition_cols(partitions)
            .with_file_sort_order(orders);
        let name = TableReference::partial(
            entry.name.schema.as_str(),
            entry.name.object.as_deref().unwrap_or_default(),
        );
        let urls = self.listings.iter().map(|l| l.url.clone().with_table_ref(name.clone()));
        let config = ListingTableConfig::new_with_multi_paths(urls.collect())
            .with_listing_options(options)
            .with_schema(Arc::new(in_files));
        let cache = reading.state.runtime_env().cache_manager.get_file_statistic_cache();
        let table = ListingTable::try_new(config).map_err(from_datafusion)?;
        let table = table.with_cache(cache).with_definition(Some(self.table.sql.clone()));
        Ok((Arc::new(table), schemas))
    }

    fn reader(&self, reading: &Reading<'_>) -> Result<Arc<dyn FileFormat>> {
        let about_format = self.table.options.iter().filter(|o| !is_store_option(&o.key));
        let options: HashMap<_, _> =
            about_format.map(|o| (o.key.clone(), o.value.clone())).collect();
        let first = self.listings.iter().flat_map(|l| &l.files).next();
        let ending = first.map_or("", |file| file.location.as_ref());
        self.format.reader(reading.state, &options, ending)
    }

    /// The inferred schema (empty when one is declared), and that of every file. Binary formats are
    /// looked into even then: a damaged file is found now, by name.
    async fn schemas(
        &self,
        reader: &Arc<dyn FileFormat>,
        reading: &Reading<'_>,
        known: &FileSchemas,
    ) -> Result<(SchemaRef, FileSchemas)> {
        let text = matches!(self.format, Format::Csv | Format::Json);
        if self.declared.is_some() && text {
            return Ok((Arc::new(Schema::empty()), FileSchemas::new()));
        }
        let mut all = Vec::new();
        let mut schemas = FileSchemas::new();
        for (location, listing) in self.locations.iter().zip(&self.listings) {
            let store = reading.state.runtime_env().object_store(&location.url);
            let reader = Reader {
                format: self.format,
                reader: Arc::clone(reader),
                state: reading.state,
                store: store.map_err(from_datafusion)?,
                location,
            };
            let found = reader.schemas(&listing.files, known).await?;
            let paths: HashMap<String, _> =
                listing.files.iter().map(|f| (location.shown(&f.location), &f.location)).collect();
            for (shown, file) in found {
                if let Some(path) = paths.get(&shown) {
                    schemas.insert((*path).clone(), file.clone());
                }
                all.push((shown, file.schema));
            }
        }
        if self.declared.is_some() {
            return Ok((Arc::new(Schema::empty()), schemas));
        }
        Ok((reconcile(self.format, &all)?, schemas))
    }

    /// Columns in the names of folders: those declared, else those found.
    fn partitions(&self) -> Result<Vec<(String, DataType)>> {
        let mut first: Option<(String, Vec<(String, String)>)> = None;
        let mut numeric: Vec<bool> = Vec::new();
        for (location, listing) in self.locations.iter().zip(&self.listings) {
            for file in &listing.files {
                let found = folders(listing, file);
                let names = |all: &[(String, String)]| -> Vec<String> {
                    all.iter().map(|(name, _)| name.clone()).collect()
                };
                let shown = location.shown(&file.location);
                match &first {
                    None => {
                        numeric = vec![true; found.len()];
                        first = Some((shown, found.clone()));
                    }
                    Some((other, known)) if names(known) != names(&found) => {
                        return Err(Error::invalid(format!(
                            "'{other}' and '{shown}' are in different kinds of folders: ({}) and \
                             ({})",
                            names(known).join(", "),
                            names(&found).join(", ")
                        )));
                    }
                    Some(_) => {}
                }
                for (flag, (_, value)) in numeric.iter_mut().zip(&found) {
                    *flag &= is_number(value);
                }
            }
        }
        let found = first.map(|(_, found)| found).unwrap_or_default();
        self.declared_partitions(&found, &numeric)
    }

    fn declared_partitions(
        &self,
        found: &[(String, String)],
        numeric: &[bool],
    ) -> Result<Vec<(String, DataType)>> {
        let typed = |at: usize, name: &str| {
            let declared = self.declared.as_ref().and_then(|s| s.field_with_name(name).ok());
            let number = numeric.get(at).copied().unwrap_or(false);
            let inferred = if number { DataType::Int64 } else { DataType::Utf8 };
            declared.map_or(inferred, |field| field.data_type().clone())
        };
        let declared = &self.table.partition_columns;
        if declared.is_empty() {
            return Ok(found
                .iter()
                .enumerate()
                .map(|(i, (n, _))| (n.clone(), typed(i, n)))
                .collect());
        }
        let matches = declared.iter().zip(found).all(|(d, (f, _))| d == f);
        if !found.is_empty() && (!matches || declared.len() > found.len()) {
            let found: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::invalid(format!(
                "PARTITIONED BY ({}) does not fit the folders, which are by ({})",
                declared.join(", "),
                found.join(", ")
            )));
        }
        Ok(declared.iter().enumerate().map(|(i, name)| (name.clone(), typed(i, name))).collect())
    }

    fn orders(&self, schema: &Schema) -> Result<Vec<Vec<SortExpr>>> {
        let mut orders = Vec::new();
        for order in &self.table.orders {
            let mut columns = Vec::new();
            for by in &order.columns {
                if schema.field_with_name(&by.column).is_err() {
                    return Err(Error::invalid(format!(
                        "WITH ORDER names '{}', which is no column of the files",
                        by.column
                    )));
                }
                let column = Expr::Column(Column::new_unqualified(&by.column));
                columns.push(SortExpr::new(column, !by.descending, by.nulls_first));
            }
            orders.push(columns);
        }
        Ok(orders)
    }
}

/// The `name=value` folders between a table's folder and a file.
fn folders(listing: &Listing, file: &ObjectMeta) -> Vec<(String, String)> {
    let Some(parts) = listing.url.strip_prefix(&file.location) else { return Vec::new() };
    let parts: Vec<&str> = parts.collect();
    let (_, parents) = parts.split_last().unwrap_or((&"", &[]));
    let pair = |part: &&str| part.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()));
    parents.iter().filter_map(pair).collect()
}

fn is_number(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    !digits.is_empty() && digits.len() <= 18 && digits.bytes().all(|b| b.is_ascii_digit())
}
