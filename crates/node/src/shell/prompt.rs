//! The interactive shell. Errors are shown and the prompt comes back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::AsArray;
use parking_lot::RwLock;
use reedline::Signal;

use super::complete::Names;
use super::editor::{Sign, editor};
use super::runner::{Place, Runner};
use super::slash::{self, Slash};
use crate::commands::list_queries;
use crate::config::Config;
use crate::output::Output;
use crate::report::{Failure, note};

/// Names of tables and columns for completion.
const NAMES: &str = "SELECT table_name AS name FROM information_schema.tables \
     UNION SELECT column_name FROM information_schema.columns \
     WHERE table_schema <> 'information_schema' ORDER BY name";

/// Queries that `\queries` lists.
const QUERIES: usize = 20;

/// Reads statements from the terminal until its end.
pub(crate) fn prompt(mut runner: Runner<'_>, config: &Config) -> Result<(), Failure> {
    let names: Names = Arc::new(RwLock::new(Vec::new()));
    let mut editor = editor(history_file(config), Arc::clone(&names));
    note(&format!("Dunlin {}. \\? lists commands, \\q leaves.", env!("CARGO_PKG_VERSION")));
    loop {
        refresh(&runner, &names);
        let line = match editor.read_line(&Sign) {
            Ok(Signal::Success(line)) => line,
            Ok(Signal::CtrlD) => return Ok(()),
            // Ctrl-C drops what was typed.
            Ok(_) => continue,
            Err(error) => return Err(Failure::reading("the terminal", &error)),
        };
        match step(&mut runner, config, &line) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(Failure::OutputClosed) => return Err(Failure::OutputClosed),
            Err(failure) => failure.report(),
        }
    }
}

/// Runs one input; `false` leaves.
fn step(runner: &mut Runner<'_>, config: &Config, line: &str) -> Result<bool, Failure> {
    let mut output = Output::open(config.format, None, config.max_rows)?;
    if !line.trim_start().starts_with('\\') {
        runner.run(line, &mut output)?;
        return Ok(true);
    }
    match slash::parse(line) {
        Slash::Sql(sql) => runner.run(&sql, &mut output)?,
        Slash::Include(file) => {
            let text = std::fs::read_to_string(&file).map_err(|e| Failure::reading(&file, &e))?;
            runner.run(&text, &mut output)?;
        }
        Slash::Queries => match runner.place() {
            Place::Here(engine, _) => output.line(&list_queries(engine, QUERIES)?)?,
            Place::There(_) => note("\\queries lists the queries of a state folder of one's own"),
        },
        Slash::Timing => {
            runner.display.timing = !runner.display.timing;
            output.line(if runner.display.timing { "timing is on" } else { "timing is off" })?;
        }
        Slash::Help => output.line(slash::HELP)?,
        Slash::Quit => return Ok(false),
        Slash::Unknown(why) => note(&why),
    }
    Ok(true)
}

/// Reads the names again: statements may have changed them. Without them there is less to complete.
fn refresh(runner: &Runner<'_>, names: &Names) {
    match runner.query(NAMES) {
        Ok(batches) => {
            let mut found = Vec::new();
            for batch in batches {
                let column =
                    arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8);
                if let Ok(column) = column {
                    found.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
                }
            }
            *names.write() = found;
        }
        Err(failure) => tracing::debug!(?failure, "no names to complete"),
    }
}

/// In the state folder, or where the user's data are.
fn history_file(config: &Config) -> Option<PathBuf> {
    if let Some(state) = &config.state {
        return Some(state.join("prompt-history"));
    }
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let data = folder("XDG_DATA_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(Path::new(".local/share"))))?;
    Some(data.join("dunlin").join("prompt-history"))
}
