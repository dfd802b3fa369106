//! `dunlin sql`: where the SQL comes from, and the engine it runs on.

use std::io::{self, IsTerminal, Read as _};
use std::path::Path;

use crate::cli::{EngineArgs, Format, Sql};
use crate::config::{Config, Flags};
use crate::output::Output;
use crate::place::Place;
use crate::report::Failure;
use crate::shell::{Display, Remote, Runner, prompt};

/// The options that are configuration keys.
pub(super) fn flags(options: &Sql) -> Flags {
    let display = &options.display;
    let mut flags = engine_flags(&options.engine);
    flags.set("format", display.format);
    flags.set("timing", display.timing.then_some(true));
    flags.set("progress", display.progress);
    flags.set("max-rows", display.max_rows);
    flags
}

/// Those about the process.
pub(super) fn engine_flags(engine: &EngineArgs) -> Flags {
    let mut flags = Flags::default();
    flags.set("data", engine.data.as_ref());
    flags.set("state", engine.state.as_ref());
    flags.set("allow", (!engine.allow.is_empty()).then_some(&engine.allow));
    flags.set("threads", engine.threads);
    flags.set("memory", engine.memory.map(|bytes| format!("{}B", bytes.0)));
    flags.set("executors", engine.executors);
    flags.set("lease-ttl", engine.lease_ttl.as_ref());
    flags
}

/// Runs the SQL. All texts are read before the engine starts: a file that is not there costs
/// nothing.
pub(super) fn run(options: &Sql, config: &Config) -> Result<(), Failure> {
    let texts = texts(options)?;
    let output = match &texts {
        Some(_) => Some(Output::open(config.format, options.output.as_deref(), config.max_rows)?),
        None => None,
    };
    let display = Display {
        timing: config.timing,
        progress: config.progress,
        done: config.format == Format::Table && options.output.is_none(),
    };
    if !options.connect.is_empty() {
        let remote = Remote::connect(options)?;
        return run_on(Runner::remote(&remote, display), options, config, texts, output);
    }
    let place = Place::open(config)?;
    let runner = Runner::new(place.engine(), display);
    let done = runner.and_then(|runner| run_on(runner, options, config, texts, output));
    place.close();
    done
}

fn run_on(
    runner: Runner<'_>,
    options: &Sql,
    config: &Config,
    texts: Option<Vec<String>>,
    output: Option<Output>,
) -> Result<(), Failure> {
    for (key, value) in &options.settings {
        runner.set(key, value)?;
    }
    let (Some(texts), Some(mut output)) = (texts, output) else { return prompt(runner, config) };
    for text in texts {
        runner.run(&text, &mut output)?;
    }
    output.commit()
}

/// The texts to run; `None` asks for them at a prompt.
fn texts(options: &Sql) -> Result<Option<Vec<String>>, Failure> {
    let mut texts = options.commands.clone();
    match &options.file {
        Some(file) if file == Path::new("-") => texts.push(standard_input()?),
        Some(file) => {
            let read = std::fs::read_to_string(file);
            texts.push(read.map_err(|e| Failure::reading(&file.display().to_string(), &e))?);
        }
        None if texts.is_empty() && io::stdin().is_terminal() => return Ok(None),
        None if texts.is_empty() => texts.push(standard_input()?),
        None => {}
    }
    Ok(Some(texts))
}

fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    let read = io::stdin().read_to_string(&mut text);
    read.map_err(|e| Failure::reading("standard input", &e))?;
    Ok(text)
}
