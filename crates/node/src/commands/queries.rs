//! `dunlin queries`, and the same list for the prompt.

use comfy_table::presets::ASCII_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use dunlin_base::{Error, QueryId};
use dunlin_queue::Phase;

use crate::cli::{Format, Queries};
use crate::config::{Config, Flags, Shuffle};
use crate::engine::Engine;
use crate::output::Output;
use crate::place::Place;
use crate::report::Failure;

/// Letters of SQL in a list.
const SQL_SHOWN: usize = 60;

pub(super) fn flags(options: &Queries) -> Flags {
    let mut flags = Flags::default();
    flags.set("state", options.state.as_ref());
    flags
}

/// Prints the list of a state folder. The folder must exist and be nobody else's at the time.
pub(super) fn run(options: &Queries, config: &Config) -> Result<(), Failure> {
    let Some(state) = &config.state else {
        let error = Error::invalid("there is no state folder to look into");
        return Err(Failure::Usage(error.with_hint("add --state DIR")));
    };
    if !state.join("metadata").is_dir() {
        let message = format!("{} is not a state folder", state.display());
        return Err(Error::invalid(message).into());
    }
    // Tables and shuffled data are of no concern here, and no query shall go on while we look.
    let shuffle = Shuffle::default();
    let config = Config { data: None, executors: 0, shuffle, ..config.clone() };
    let place = Place::open(&config)?;
    let mut output = Output::open(Format::Table, None, 0)?;
    let listed = list_queries(place.engine(), options.limit).and_then(|text| output.line(&text));
    place.close();
    listed
}

struct Line {
    query: QueryId,
    phase: Phase,
    rows: Option<u64>,
    ms: u64,
    sql: String,
}

/// Running and recent queries as a table, the newest first.
pub(crate) fn list_queries(engine: &Engine, limit: usize) -> Result<String, Failure> {
    let mut lines = engine.block_on(lines(engine, limit))?;
    lines.sort_by_key(|line| std::cmp::Reverse(line.query));
    lines.dedup_by_key(|line| line.query);
    lines.truncate(limit);
    let mut table = Table::new();
    table.load_style(ASCII_FULL_CONDENSED);
    table.set_header(["query", "phase", "rows", "seconds", "sql"]);
    let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    for line in lines {
        table.add_row([
            Cell::new(line.query),
            Cell::new(word(line.phase)),
            number(line.rows.map(|rows| rows.to_string()).unwrap_or_default()),
            number(format!("{:.3}", line.ms as f64 / 1000.0)),
            Cell::new(shorten(&line.sql)),
        ]);
    }
    Ok(table.to_string())
}

async fn lines(engine: &Engine, limit: usize) -> Result<Vec<Line>, Failure> {
    let (queue, now) = (engine.queue(), engine.env().unix_ms());
    let mut lines = Vec::new();
    for query in queue.running().await? {
        let end = if query.ended_unix_ms == 0 { now } else { query.ended_unix_ms };
        lines.push(Line {
            query: query.query,
            phase: query.phase,
            rows: None,
            ms: end.saturating_sub(query.created_unix_ms),
            sql: query.sql,
        });
    }
    for query in queue.history(limit).await? {
        lines.push(Line {
            query: query.query,
            phase: query.phase,
            rows: (query.phase == Phase::Done).then_some(query.rows),
            ms: query.ended_unix_ms.saturating_sub(query.created_unix_ms),
            sql: query.sql,
        });
    }
    Ok(lines)
}

fn word(phase: Phase) -> String {
    format!("{phase:?}").to_lowercase()
}

/// One line of SQL, not too long.
fn shorten(sql: &str) -> String {
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SQL_SHOWN) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}
