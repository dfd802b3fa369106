//! Small tables, the questions about them, and the right answers: by plain DataFusion, once.

use std::sync::Arc;

use arrow::array::{Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use datafusion::datasource::MemTable;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::prelude::SessionContext;
use dunlin_base::{Error, Result};

/// A table: its name and a batch for each of its files.
struct Table {
    name: &'static str,
    files: Vec<RecordBatch>,
}

/// What clients ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) sql: &'static str,
    /// The order of the rows is a part of the answer.
    pub(crate) ordered: bool,
}

/// A hash shuffle; a join whose build side is broadcast or hashed; an ordered gather of many rows;
/// a query of one stage.
pub(crate) const QUESTIONS: [Question; 4] = [
    Question {
        sql: "SELECT k, count(*) AS n, sum(v) AS total FROM item GROUP BY k",
        ordered: false,
    },
    Question {
        sql: "SELECT p.name, count(*) AS n, sum(i.v) AS total \
              FROM item i JOIN part p ON i.k = p.k GROUP BY p.name ORDER BY p.name",
        ordered: true,
    },
    Question { sql: "SELECT v, k, word FROM item WHERE v % 3 <> 0 ORDER BY v", ordered: true },
    Question { sql: "SELECT count(*) AS n, max(k) AS top FROM part", ordered: false },
];

/// What a new table is made of, and what is asked of it then.
pub(crate) const WRITTEN: &str = "SELECT k, sum(v) AS total FROM item WHERE v > 100 GROUP BY k";

/// Rows as text, so that they can be compared and shown.
pub(crate) type Rows = Vec<String>;

/// The tables and all right answers. One serves any number of worlds.
#[derive(Debug)]
pub struct Oracle {
    /// Files of the tables: path in the store, content.
    pub(crate) files: Vec<(String, Bytes)>,
    /// `CREATE EXTERNAL TABLE` for each table.
    pub(crate) tables: Vec<String>,
    /// Bytes of the smaller table: what reads no more runs as one stage.
    pub(crate) small_bytes: u64,
    answers: Vec<Rows>,
    written: Rows,
}

/// Where tables are.
pub(crate) const LAKE: &str = "mem://lake";

impl Oracle {
    /// Makes the tables and asks plain DataFusion all questions.
    pub async fn compute() -> Result<Self> {
        let failed = |e: datafusion::error::DataFusionError| {
            Error::bug("plain DataFusion does not answer").with_source(e)
        };
        let tables = [item(), part()];
        let context = SessionContext::new();
        let (mut files, mut small_bytes) = (Vec::new(), u64::MAX);
        for table in &tables {
            let parts = table.files.iter().map(|file| vec![file.clone()]).collect();
            let memory = MemTable::try_new(table.files[0].schema(), parts).map_err(failed)?;
            context.register_table(table.name, Arc::new(memory)).map_err(failed)?;
            let mut total = 0;
            for (number, batch) in table.files.iter().enumerate() {
                let bytes = parquet(batch)?;
                total += bytes.len() as u64;
                files.push((format!("{}/{number}.parquet", table.name), bytes));
            }
            small_bytes = small_bytes.min(total);
        }
        let ask = async |sql: &str| -> Result<Rows> {
            let frame = context.sql(sql).await.map_err(failed)?;
            let batches = frame.collect().await.map_err(failed)?;
            batches.iter().map(rows).collect::<Result<Vec<_>>>().map(|rows| rows.concat())
        };
        let mut answers = Vec::new();
        for question in QUESTIONS {
            answers.push(ask(question.sql).await?);
        }
        let written = ask(WRITTEN).await?;
        let create = |table: &Table| {
            let name = table.name;
            format!("CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{LAKE}/{name}/'")
        };
        Ok(Self {
            files,
            tables: tables.iter().map(create).collect(),
            small_bytes,
            answers,
            written,
        })
    }

    /// What is wrong with an answer to question number `question`; `None`: nothing.
    pub(crate) fn judge(&self, question: usize, found: Rows) -> Option<String> {
        differ(&self.answers[question], found, QUESTIONS[question].ordered)
    }

    /// How many rows a new table has.
    pub(crate) fn written_rows(&self) -> u64 {
        self.written.len() as u64
    }

    /// What is wrong with the rows of a new table.
    pub(crate) fn judge_written(&self, found: Rows) -> Option<String> {
        differ(&self.written, found, false)
    }
}

fn differ(right: &Rows, mut found: Rows, ordered: bool) -> Option<String> {
    let mut right = right.clone();
    if !ordered {
        right.sort();
        found.sort();
    }
    let at = (0..right.len().max(found.len())).find(|n| right.get(*n) != found.get(*n))?;
    let (expected, got) = (right.get(at), found.get(at));
    let counts = format!("{} rows, not {}", found.len(), right.len());
    Some(format!("{counts}; row {at} is {got:?}, not {expected:?}"))
}

/// The rows of a batch as text.
pub(crate) fn rows(batch: &RecordBatch) -> Result<Rows> {
    let shown = |row: usize| {
        let cells = batch.columns().iter().map(|column| array_value_to_string(column, row));
        let cells = cells.collect::<std::result::Result<Vec<_>, _>>();
        cells.map(|cells| cells.join("|"))
    };
    (0..batch.num_rows())
        .map(|row| shown(row).map_err(|e| Error::bug("a row cannot be shown").with_source(e)))
        .collect()
}

fn parquet(batch: &RecordBatch) -> Result<Bytes> {
    let failed = |e| Error::bug("a table cannot be written").with_source(e);
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).map_err(failed)?;
    writer.write(batch).map_err(failed)?;
    writer.close().map_err(failed)?;
    Ok(bytes.into())
}

fn batch(columns: Vec<(&str, Column)>) -> RecordBatch {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns
        .into_iter()
        .map(|(name, column)| match column {
            Column::Numbers(numbers) => {
                let array: arrow::array::ArrayRef = Arc::new(Int64Array::from(numbers));
                (Field::new(name, DataType::Int64, false), array)
            }
            Column::Texts(texts) => {
                let array: arrow::array::ArrayRef = Arc::new(StringArray::from(texts));
                (Field::new(name, DataType::Utf8, false), array)
            }
        })
        .unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length")
}

enum Column {
    Numbers(Vec<i64>),
    Texts(Vec<String>),
}

const ITEM_FILES: i64 = 4;
const ITEM_ROWS: i64 = 70;

/// `v` is another number in each row, so that an order by it is the only one.
fn item() -> Table {
    let file = |file: i64| {
        let numbers = file * ITEM_ROWS..(file + 1) * ITEM_ROWS;
        let numbers: Vec<i64> = numbers.map(|n| (n * 191) % (ITEM_FILES * ITEM_ROWS)).collect();
        batch(vec![
            ("k", Column::Numbers(numbers.iter().map(|n| n * n % 23).collect())),
            ("v", Column::Numbers(numbers.clone())),
            ("word", Column::Texts(numbers.iter().map(|n| format!("word {n:04}")).collect())),
        ])
    };
    Table { name: "item", files: (0..ITEM_FILES).map(file).collect() }
}

fn part() -> Table {
    let file = |keys: std::ops::Range<i64>| {
        batch(vec![
            ("k", Column::Numbers(keys.clone().collect())),
            ("name", Column::Texts(keys.map(|k| format!("part {}", k % 9)).collect())),
        ])
    };
    Table { name: "part", files: vec![file(0..12), file(12..20)] }
}
