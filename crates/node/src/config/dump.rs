//! `dunlin config dump`: the effective configuration as a file that can be used as one.

use std::fmt::Write as _;

use figment::value::{Dict, Value};

use super::layers::{Loaded, origin};
use super::schema::{KEYS, keys_of};

/// TOML with a comment on what each key is for and where its value comes from.
pub(crate) fn dump(loaded: &Loaded) -> String {
    let values: Dict = loaded.layers.extract().unwrap_or_default();
    let mut text = String::new();
    for (key, about) in KEYS {
        let _ = match values.get(key) {
            Some(Value::Dict(_, entries)) if !keys_of(key).is_empty() => {
                let lines =
                    keys_of(key).iter().map(|(key, about)| line(loaded, entries, key, about));
                write!(text, "\n# {about}\n[{key}]\n{}", lines.collect::<String>())
            }
            Some(Value::Dict(_, entries)) => {
                let lines = entries.iter().map(|(name, value)| {
                    let origin = origin(&loaded.layers, value);
                    format!("# {origin}\n\"{name}\" = {}\n", toml(value))
                });
                write!(text, "\n# {about}\n[{key}]\n{}", lines.collect::<String>())
            }
            _ => write!(text, "{}", line(loaded, &values, key, about)),
        };
    }
    text
}

/// One key with its value, or without if it is not set.
fn line(loaded: &Loaded, values: &Dict, key: &str, about: &str) -> String {
    match values.get(key) {
        Some(value) => {
            let origin = origin(&loaded.layers, value);
            format!("# {about} [{origin}]\n{key} = {}\n", toml(value))
        }
        None => format!("# {about} [not set]\n# {key} =\n"),
    }
}

fn toml(value: &Value) -> String {
    // Every value came from TOML, or from types that TOML has.
    toml::Value::try_from(value).map_or_else(|_| "\"\"".to_owned(), |value| value.to_string())
}
