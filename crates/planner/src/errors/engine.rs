//! Errors of DataFusion, Arrow and Parquet by their type.

use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;
use datafusion::sql::sqlparser::parser::ParserError;
use dunlin_base::Error;

use super::{damage, did_you_mean, find, storage, suggest::nearest};

/// Maps an error that holds none of ours.
pub(super) fn map(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => map(inner),
        DataFusionError::Shared(inner) => map(inner),
        DataFusionError::Collection(all) => {
            all.first().map_or_else(|| Error::bug("an empty collection of errors"), map)
        }
        DataFusionError::ArrowError(error, _) => arrow(error),
        DataFusionError::ParquetError(error) => parquet(error),
        DataFusionError::ObjectStore(error) => storage::from_object_store(error),
        DataFusionError::IoError(error) => storage::io(error),
        DataFusionError::SQL(error, _) => parser(error),
        DataFusionError::SchemaError(error, _) => schema(error),
        DataFusionError::ResourcesExhausted(text) => exhausted(text),
        DataFusionError::NotImplemented(text) => not_supported(text),
        DataFusionError::Plan(text)
        | DataFusionError::Configuration(text)
        | DataFusionError::Execution(text) => said("", text),
        DataFusionError::External(inner) => external(inner.as_ref()),
        DataFusionError::ExecutionJoin(error) => {
            Error::bug(format!("an operator stopped without an answer: {error}"))
        }
        DataFusionError::Internal(text)
        | DataFusionError::Substrait(text)
        | DataFusionError::Ffi(text) => Error::bug(sentence(first_line(text))),
    }
}

/// An error that DataFusion only passes on.
fn external(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(error) = find::<ArrowError>(error) {
        return arrow(error);
    }
    if let Some(error) = find::<ParquetError>(error) {
        return parquet(error);
    }
    if let Some(error) = find::<object_store::Error>(error) {
        return storage::from_object_store(error);
    }
    if let Some(error) = find::<std::io::Error>(error) {
        return storage::io(error);
    }
    if let Some(error) = find::<DataFusionError>(error) {
        return map(error);
    }
    Error::invalid(sentence(&error.to_string()))
}

/// Arrow's errors: arithmetic and casts are the caller's data, the rest is damage or a bug.
pub(super) fn arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => Error::invalid("division by zero")
            .with_hint("guard the divisor, such as a / NULLIF(b, 0)"),
        ArrowError::ArithmeticOverflow(text) => {
            Error::invalid(format!("arithmetic overflow: {}", sentence(text)))
                .with_hint("cast an operand to a wider type, such as DECIMAL(38, 0) or DOUBLE")
        }
        ArrowError::CastError(text) => Error::invalid(sentence(text))
            .with_hint("TRY_CAST gives NULL for values that do not fit"),
        ArrowError::ParseError(text) => damage::unreadable("a value", &sentence(text)),
        ArrowError::ExternalError(inner) => external(inner.as_ref()),
        ArrowError::IoError(_, error) => storage::io(error),
        ArrowError::MemoryError(text) => exhausted(text),
        ArrowError::CsvError(text) => damaged("CSV", text),
        ArrowError::JsonError(text) => damaged("JSON", text),
        ArrowError::IpcError(text) => damaged("Arrow", text),
        ArrowError::AvroError(text) => damaged("Avro", text),
        ArrowError::ParquetError(text) => damaged("Parquet", text),
        ArrowError::NotYetImplemented(text) => not_supported(text),
        ArrowError::ComputeError(text)
        | ArrowError::InvalidArgumentError(text)
        | ArrowError::SchemaError(text) => said("", text),
        other => Error::invalid(sentence(&other.to_string())),
    }
}

fn parquet(error: &ParquetError) -> Error {
    if let ParquetError::External(inner) = error {
        return external(inner.as_ref());
    }
    let text = match error {
        ParquetError::General(text) | ParquetError::EOF(text) | ParquetError::NYI(text) => {
            text.clone()
        }
        ParquetError::ArrowError(text) => text.clone(),
        other => other.to_string(),
    };
    damaged("Parquet", &text)
}

fn damaged(format: &str, text: &str) -> Error {
    damage::damaged(format, &sentence(first_line(text)))
}

fn parser(error: &ParserError) -> Error {
    match error {
        ParserError::RecursionLimitExceeded => too_deep(),
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => {
            Error::invalid(format!("syntax error: {}", sentence(text)))
        }
    }
}

/// The one answer to SQL that is nested beyond what a stack can hold.
pub(crate) fn too_deep() -> Error {
    Error::invalid("the statement is nested too deeply")
        .with_hint("use WITH for inner queries, and IN (...) for long lists of OR")
}

fn exhausted(text: &str) -> Error {
    Error::exhausted(format!("the query is over its memory limit: {}", sentence(first_line(text))))
        .with_hint(
            "raise it with SET dunlin.memory_limit = '4GiB', or SET dunlin.partitions to a larger \
             number so that each task holds less",
        )
}

fn schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let mut names: Vec<String> = Vec::new();
            for name in valid_fields.iter().map(|f| f.name.clone()) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            let error = Error::invalid(format!("unknown column '{}'", field.flat_name()));
            let same_table = field.relation.as_ref().and_then(|wrong| {
                let tables = valid_fields.iter().filter_map(|f| f.relation.as_ref());
                let tables: Vec<_> = tables.map(|t| t.table().to_owned()).collect();
                if tables.iter().any(|t| t == wrong.table()) || tables.is_empty() {
                    return None;
                }
                nearest(wrong.table(), tables.iter().map(String::as_str))
                    .map(|t| format!("did you mean '{t}.{}'?", field.name))
            });
            match same_table.or_else(|| did_you_mean(&field.name, "there are", &names)) {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        }
        SchemaError::AmbiguousReference { field } => {
            Error::invalid(format!("column '{}' is in more than one table", field.flat_name()))
                .with_hint("write the table before it, such as t.x")
        }
        SchemaError::DuplicateQualifiedField { qualifier, name } => {
            Error::invalid(format!("column '{name}' of '{qualifier}' is there twice"))
                .with_hint("name one of them with AS")
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            Error::invalid(format!("two columns are called '{name}'"))
                .with_hint("name one of them with AS")
        }
    }
}

/// DataFusion's longest messages in our words; which words does not change the kind.
fn reworded(text: &str) -> Option<Error> {
    let between = |before: &str, after: char| {
        let rest = &text[text.find(before)? + before.len()..];
        Some(&rest[..rest.find(after)?])
    };
    if let Some(call) = between("No function matches the given name and argument types '", '\'') {
        let error = Error::invalid(format!("no function takes {call}"));
        let candidates = text.split("Candidate functions:").nth(1).unwrap_or_default();
        let candidates: Vec<&str> = candidates.split_whitespace().collect();
        return Some(match candidates.is_empty() {
            true => error,
            false => error.with_hint(format!("there are: {}", candidates.join(" "))),
        });
    }
    if text.contains("must appear in the GROUP BY clause") {
        let column = between("olumn \"", '"').unwrap_or("a column");
        return Some(
            Error::invalid(format!("'{column}' is neither in GROUP BY nor in an aggregate"))
                .with_hint(format!("add it to GROUP BY, or take any of its values: min({column})")),
        );
    }
    if text.contains("Column count doesn't match insert query") {
        return Some(
            Error::invalid("the query has another number of columns than the table takes")
                .with_hint("name the columns that it has: INSERT INTO t (a, b) SELECT ..."),
        );
    }
    if text.contains("ScalarSubquery(") {
        return Some(
            Error::invalid("a subquery that is used as a value is not supported in this place")
                .with_hint("put it in WITH, and join that"),
        );
    }
    None
}

/// An error that comes as text: its first line is the sentence, the rest the hint.
fn said(prefix: &str, text: &str) -> Error {
    if let Some(error) = reworded(text) {
        return error;
    }
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let error = Error::invalid(format!("{prefix}{}", sentence(first)));
    let rest = rest.trim();
    if rest.is_empty() { error } else { error.with_hint(sentence_with_end(rest)) }
}

fn not_supported(text: &str) -> Error {
    let says_so = text.to_lowercase().contains("support");
    said(if says_so { "" } else { "not supported: " }, text)
}

fn first_line(text: &str) -> &str {
    text.split('\n').next().unwrap_or_default()
}

/// Text as a sentence of ours: no full stop at the end, a small letter first unless the first word
/// is a name.
pub(super) fn sentence(text: &str) -> String {
    sentence_with_end(text.trim().trim_end_matches('.'))
}

fn sentence_with_end(text: &str) -> String {
    let text = text.trim();
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}
