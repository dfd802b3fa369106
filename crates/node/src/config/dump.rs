//! `dunlin config dump`: the effective configuration as a file that can be used as one.

use std::fmt::Write as _;

use figment::value::{Dict, Value};

use super::layers::{Loaded, origin};
use super::schema::KEYS;

/// TOML with a comment on what each key is for and where its value comes from.
pub(crate) fn dump(loaded: &Loaded) -> String {
    let values: Dict = loaded.layers.extract().unwrap_or_default();
    let mut text = String::new();
    for (key, about) in KEYS {
        let _ = match values.get(key) {
            Some(Value::Dict(_, entries)) => {
                let lines = entries.iter().map(|(name, value)| {
                    let origin = origin(&loaded.layers, value);
                    format!("# {origin}\n\"{name}\" = {}\n", toml(value))
                });
                write!(text, "\n# {about}\n[{key}]\n{}", lines.collect::<String>())
            }
            Some(value) => {
                let origin = origin(&loaded.layers, value);
                writeln!(text, "# {about} [{origin}]\n{key} = {}", toml(value))
            }
            None => writeln!(text, "# {about} [not set]\n# {key} ="),
        };
    }
    text
}

fn toml(value: &Value) -> String {
    // Every value came from TOML, or from types that TOML has.
    toml::Value::try_from(value).map_or_else(|_| "\"\"".to_owned(), |value| value.to_string())
}
