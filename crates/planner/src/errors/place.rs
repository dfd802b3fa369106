//! Where in the SQL text an error is: line, column and an excerpt with a caret.

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer;
use dunlin_base::{Error, Kind};

use super::engine::sentence;
use super::from_datafusion_ref;

/// A stretch of the text; lines and columns count characters from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) line: u64,
    pub(crate) column: u64,
    pub(crate) end_line: u64,
    pub(crate) end_column: u64,
}

impl Span {
    pub(crate) fn from_parser(span: tokenizer::Span) -> Option<Self> {
        Self::new(span.start.line, span.start.column, span.end.line, span.end.column)
    }

    fn new(line: u64, column: u64, end_line: u64, end_column: u64) -> Option<Self> {
        (line > 0 && column > 0).then_some(Self { line, column, end_line, end_column })
    }
}

/// An error of planning `text`, with its place when DataFusion knows it.
pub(crate) fn in_text(error: &DataFusionError, text: &str) -> Error {
    if let DataFusionError::SQL(parser, _) = error.find_root() {
        return syntax(parser, text);
    }
    let ours = from_datafusion_ref(error);
    // Errors of ours (a table that cannot be read) say where the trouble is; it is not in the text.
    if super::find_ours(error).is_some() || ours.kind() != Kind::Invalid {
        return ours;
    }
    let span = error.diagnostic().and_then(|d| d.span);
    match span.and_then(|s| Span::new(s.start.line, s.start.column, s.end.line, s.end.column)) {
        Some(span) => at(ours, text, span),
        None => ours,
    }
}

/// An error of the parser or the tokenizer.
pub(crate) fn syntax(error: &ParserError, text: &str) -> Error {
    let (ParserError::ParserError(said) | ParserError::TokenizerError(said)) = error else {
        return super::engine::too_deep();
    };
    let (said, span) = split_position(said);
    let error = Error::invalid(format!("syntax error: {}", reworded(said)));
    let end = || {
        let (line, last) = text.lines().enumerate().last().unwrap_or((0, ""));
        Span::new(line as u64 + 1, last.chars().count() as u64 + 1, 0, 0)
    };
    // "found: EOF" carries no position: it is the end of the text.
    match span.or_else(|| said.ends_with("EOF").then(end).flatten()) {
        Some(span) => at(error, text, span),
        None => error,
    }
}

fn reworded(said: &str) -> String {
    let said = sentence(said.trim());
    let said = said.replace("expected: ", "expected ").replace("found: ", "found ");
    said.replace("found EOF", "found the end of the text")
}

/// Splits `... at Line: 1, Column: 8` off, as the parser writes it.
fn split_position(said: &str) -> (&str, Option<Span>) {
    let Some((before, after)) = said.rsplit_once(" at Line: ") else { return (said, None) };
    let Some((line, column)) = after.split_once(", Column: ") else { return (said, None) };
    let column: String = column.chars().take_while(char::is_ascii_digit).collect();
    match (line.parse(), column.parse()) {
        (Ok(line), Ok(column)) => (before, Span::new(line, column, 0, 0)),
        _ => (said, None),
    }
}

/// The error with `line:column` and the line itself, the place marked below it.
pub(crate) fn at(error: Error, text: &str, span: Span) -> Error {
    let line_index = usize::try_from(span.line - 1).unwrap_or(usize::MAX);
    let Some(line) = text.lines().nth(line_index) else { return error };
    let message = format!(
        "{} (line {}, column {})\n{}",
        error.message(),
        span.line,
        span.column,
        excerpt(line, span)
    );
    let moved = Error::new(error.kind(), message);
    match error.hint() {
        Some(hint) => moved.with_hint(hint),
        None => moved,
    }
}

/// Longest part of a line that is shown: generated SQL may be one line of a megabyte.
const WIDTH: usize = 100;

fn excerpt(line: &str, span: Span) -> String {
    let column = usize::try_from(span.column - 1).unwrap_or(0);
    let length = line.chars().count();
    let first = if column < WIDTH { 0 } else { column - WIDTH / 2 };
    let cut: String = line.chars().skip(first).take(WIDTH).collect();
    // A tab would shift the caret.
    let cut = cut.replace('\t', " ");
    let end = if span.end_line == span.line { span.end_column } else { span.column + 1 };
    let marked = usize::try_from(end).unwrap_or(0).saturating_sub(column + 1).max(1);
    let marked = marked.min(WIDTH.saturating_sub(column - first).max(1));
    let dots = |there: bool| if there { "..." } else { "" };
    let gutter = format!("  {} | {}", span.line, dots(first > 0));
    let indent = " ".repeat(gutter.chars().count() + column - first);
    let tail = dots(first + WIDTH < length);
    format!("{gutter}{cut}{tail}\n{indent}{}", "^".repeat(marked))
}
