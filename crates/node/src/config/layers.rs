//! Where values come from: the layers, and what is wrong in them.

use std::path::{Path, PathBuf};

use dunlin_base::Error;
use dunlin_planner::errors::nearest;
use figment::providers::{Env, Format as _, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};
use serde::Serialize;

use super::schema::{Config, KEYS, keys_of};
use crate::report::Failure;

/// The file that is read when none is named.
const FILE: &str = "dunlin.toml";

/// What a test of faults arms ([`dunlin_base::fail`]), without the prefix.
const FAIL_POINTS: &str = "fail_points";

/// A configuration with the origin of every value.
pub(crate) struct Loaded {
    /// The values.
    pub(crate) config: Config,
    /// One sentence for each key that does not exist.
    pub(crate) unknown: Vec<Error>,
    pub(super) layers: Figment,
}

impl Loaded {
    /// Whether somebody has set a key, wherever.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.layers.find_metadata(key).is_some_and(|metadata| metadata.name != DEFAULT)
    }
}

/// The name of the layer that nobody has set.
const DEFAULT: &str = "default";

/// Values by key, with a name for the place they come from.
struct Layer {
    name: &'static str,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// Values of the command line.
#[derive(Default)]
pub(crate) struct Flags(Dict);

impl Flags {
    /// Notes a value if the option was given.
    pub(crate) fn set(&mut self, key: &str, value: Option<impl Serialize>) {
        if let Some(value) = value.and_then(|value| Value::serialize(value).ok()) {
            self.0.insert(key.to_owned(), value);
        }
    }
}

/// Reads all layers. `Usage` for a file that is named and cannot be read, and for values that do
/// not fit; unknown keys are listed in the result.
pub(crate) fn load(file: Option<&Path>, flags: Flags) -> Result<Loaded, Failure> {
    let usage = |e: figment::Error| Failure::Usage(describe(e));
    let defaults = match Value::serialize(Config::default()).map_err(usage)? {
        Value::Dict(_, values) => values,
        _ => Dict::new(),
    };
    let mut layers = Figment::from(Layer { name: DEFAULT, values: defaults });
    if let Some(file) = choose(file)? {
        layers = layers.merge(Toml::file_exact(file));
    }
    let layers = layers.merge(environment()).merge(Layer { name: "command line", values: flags.0 });
    let config: Config = layers.extract().map_err(usage)?;
    config.validate().map_err(Failure::Usage)?;
    let values: Dict = layers.extract().map_err(usage)?;
    let mut unknown = unknown_keys(&layers, "", &values, &KEYS);
    for (section, value) in &values {
        let (keys, Value::Dict(_, entries)) = (keys_of(section), value) else { continue };
        if !keys.is_empty() {
            unknown.extend(unknown_keys(&layers, &format!("{section}."), entries, keys));
        }
    }
    Ok(Loaded { config, unknown, layers })
}

/// The file to read, if any.
fn choose(file: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let Some(file) = file else {
        return Ok(Path::new(FILE).is_file().then(|| PathBuf::from(FILE)));
    };
    match std::fs::File::open(file) {
        Ok(_) => Ok(Some(file.to_owned())),
        Err(e) => Err(Failure::reading(&format!("configuration {}", file.display()), &e)),
    }
}

/// `DUNLIN_MAX_ROWS` is `max-rows`; `DUNLIN_LOG` is short for `DUNLIN_LOG_LEVEL`. Variables that
/// belong to options of a command are no configuration.
fn environment() -> Env {
    let options = crate::cli::variables();
    let options = options.iter().filter_map(|name| name.strip_prefix("DUNLIN_"));
    let mut options: Vec<String> = options.map(str::to_ascii_lowercase).collect();
    options.push(FAIL_POINTS.to_owned());
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    Env::prefixed("DUNLIN_").ignore(&options).map(|key| match key.as_str() {
        "log" => "log-level".into(),
        key => key.replace('_', "-").into(),
    })
}

/// The place a value comes from, for people.
pub(super) fn origin(layers: &Figment, value: &Value) -> String {
    layers.get_metadata(value.tag()).map_or_else(|| DEFAULT.to_owned(), place)
}

fn place(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(Source::File(path)) => path.display().to_string(),
        _ if metadata.name.contains("environment") => "environment".to_owned(),
        _ => metadata.name.to_string(),
    }
}

/// What is wrong with the keys of a section that are not among those that it has.
fn unknown_keys(
    layers: &Figment,
    section: &str,
    values: &Dict,
    known: &'static [(&str, &str)],
) -> Vec<Error> {
    let of = |(key, value): (&String, &Value)| {
        let from = origin(layers, value);
        let text = format!("there is no configuration key '{section}{key}' (from {from})");
        match nearest(key, known.iter().map(|(known, _)| *known)) {
            Some(near) => Error::invalid(text).with_hint(format!("did you mean '{near}'?")),
            None => Error::invalid(text).with_hint("dunlin config dump lists the keys"),
        }
    };
    let strange = |(key, _): &(&String, &Value)| !known.iter().any(|(known, _)| known == key);
    values.iter().filter(strange).map(of).collect()
}

/// The first thing that is wrong, with key and place.
fn describe(error: figment::Error) -> Error {
    let first = error.into_iter().next();
    let Some(error) = first else { return Error::invalid("the configuration cannot be read") };
    let place = error.metadata.as_ref().map(place);
    let place = place.map(|place| format!(" (from {place})")).unwrap_or_default();
    match error.path.last() {
        Some(_) => Error::invalid(format!("{}: {}{place}", error.path.join("."), error.kind)),
        None => Error::invalid(format!("{}{place}", error.kind.to_string().trim())),
    }
}
