//! A text as statements, each with its place.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{CopyToStatement, DFParserBuilder, Statement as Ast};
use datafusion::sql::sqlparser::ast::Value;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use dunlin_base::{ByteCount, Error, Result};

use super::dialect::Counting;
use super::parameters::{self, Parameters};
use super::stack::deep;
use crate::errors::{Span, at, in_text, syntax, too_deep};
use crate::object_stores::is_store_option;

/// Longest text.
const TEXT_MAX: ByteCount = ByteCount::mib(8);

/// One statement of a text, with its place in it.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The whole text that it was part of; positions in errors count from its start.
    pub text: Arc<str>,
    /// The bytes of the text that are this statement.
    pub range: Range<usize>,
    pub(super) ast: DeepAst,
    pub(super) parameters: Parameters,
}

impl Statement {
    /// The statement's own text.
    pub fn sql(&self) -> &str {
        self.text.get(self.range.clone()).unwrap_or_default().trim()
    }

    /// The text as it may be kept and shown to others: what COPY says of its store is masked, for
    /// keys are among it.
    pub fn shown(&self) -> Cow<'_, str> {
        let Ast::CopyTo(copy) = &*self.ast else { return Cow::Borrowed(self.sql()) };
        if !copy.options.iter().any(|(key, _)| is_secret(key)) {
            return Cow::Borrowed(self.sql());
        }
        Cow::Owned(deep(self.range.len(), || masked(copy)))
    }
}

/// An option of COPY that may be a key. Names without a dot are the format's.
fn is_secret(key: &str) -> bool {
    key.contains('.') && is_store_option(&key.to_lowercase())
}

/// The statement, written anew.
fn masked(copy: &CopyToStatement) -> String {
    let option = |(key, value): &(String, Value)| match is_secret(key) {
        true => format!("'{key}' '***'"),
        false => format!("'{key}' {value}"),
    };
    let options: Vec<_> = copy.options.iter().map(option).collect();
    let target = copy.target.replace('\'', "''");
    let format = copy.stored_as.as_ref().map(|format| format!(" STORED AS {format}"));
    let (format, options) = (format.unwrap_or_default(), options.join(", "));
    format!("COPY {} TO '{target}'{format} OPTIONS ({options})", copy.source)
}

/// A shared syntax tree; the last owner drops it with a deep stack.
#[derive(Clone, Debug)]
pub(super) struct DeepAst {
    ast: Option<Arc<Ast>>,
    text_len: usize,
}

impl std::ops::Deref for DeepAst {
    type Target = Ast;

    fn deref(&self) -> &Ast {
        self.ast.as_ref().expect("only drop takes the tree")
    }
}

impl Drop for DeepAst {
    fn drop(&mut self) {
        let ast = self.ast.take();
        deep(self.text_len, || drop(ast));
    }
}

/// Splits a text into statements and parses them all, as [`super::Session::prepare`] does.
pub fn prepare(sql: &str) -> Result<Vec<Statement>> {
    if sql.len() as u64 > TEXT_MAX.0 {
        return Err(Error::invalid(format!("the text is longer than {TEXT_MAX}")));
    }
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize_with_location()
        .map_err(|e| syntax(&ParserError::from(e), sql))?;
    let text: Arc<str> = sql.into();
    let pieces = split(tokens);
    let ends: Vec<Location> = pieces.iter().map(|piece| piece.end).collect();
    let offsets = offsets(sql, &ends);
    let mut statements = Vec::new();
    let mut start = 0;
    for (mut piece, end) in pieces.into_iter().zip(offsets) {
        let range = start..end;
        start = (end + 1).min(sql.len());
        if piece.tokens.iter().all(|t| matches!(t.token, Token::Whitespace(_) | Token::EOF)) {
            continue;
        }
        super::size::check(&piece.tokens)?;
        let text_len = range.len();
        let parameters = parameters::number(&mut piece.tokens, sql)?;
        super::grants::take_catalog(&mut piece.tokens);
        let ast = deep(text_len, || parse(piece.tokens, sql))?;
        let ast = DeepAst { ast: Some(ast), text_len };
        let statement = Statement { text: Arc::clone(&text), range, ast, parameters };
        parameters::check_place(&statement)?;
        statements.push(statement);
    }
    Ok(statements)
}

struct Piece {
    tokens: Vec<TokenWithSpan>,
    /// Where its semicolon is; line 0 is the end of the text.
    end: Location,
}

fn split(tokens: Vec<TokenWithSpan>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut tokens_of_one = Vec::new();
    for token in tokens {
        if token.token == Token::SemiColon {
            let end = token.span.start;
            pieces.push(Piece { tokens: std::mem::take(&mut tokens_of_one), end });
        } else {
            tokens_of_one.push(token);
        }
    }
    pieces.push(Piece { tokens: tokens_of_one, end: Location { line: 0, column: 0 } });
    pieces
}

/// Bytes at which the places are, which are in order.
fn offsets(sql: &str, places: &[Location]) -> Vec<usize> {
    let mut found = Vec::with_capacity(places.len());
    let (mut line, mut column) = (1, 1);
    for (offset, letter) in sql.char_indices() {
        while places.get(found.len()).is_some_and(|p| (p.line, p.column) == (line, column)) {
            found.push(offset);
        }
        if letter == '\n' {
            (line, column) = (line + 1, 1);
        } else {
            column += 1;
        }
    }
    found.resize(places.len(), sql.len());
    found
}

fn parse(mut tokens: Vec<TokenWithSpan>, sql: &str) -> Result<Arc<Ast>> {
    // The parser reports the end of its tokens without a place.
    let last = tokens.iter().rev().find(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF));
    let end = last.map(|t| t.span.end);
    if tokens.last().is_none_or(|t| t.token != Token::EOF) {
        tokens.push(TokenWithSpan::wrap(Token::EOF));
    }
    let failed = |e: DataFusionError| match e.find_root() {
        DataFusionError::SQL(error, _) => match (error.as_ref(), end) {
            (ParserError::RecursionLimitExceeded, _) => too_deep(),
            (ParserError::ParserError(said), Some(end)) if said.ends_with("found: EOF") => {
                let error = syntax(error, "");
                match Span::from_parser(datafusion::sql::sqlparser::tokenizer::Span::new(end, end))
                {
                    Some(span) => at(error, sql, span),
                    None => error,
                }
            }
            (error, _) => syntax(error, sql),
        },
        _ => in_text(&e, sql),
    };
    let dialect = Counting::new(tokens.len());
    let mut parser = DFParserBuilder::new(tokens)
        .with_dialect(&dialect)
        .with_recursion_limit(RECURSION_MAX)
        .build()
        .map_err(failed)?;
    let mut statements = parser.parse_statements().map_err(failed)?;
    match statements.pop_front() {
        Some(ast) if statements.is_empty() => Ok(Arc::new(ast)),
        _ => Err(Error::bug("a statement without a semicolon was parsed as several")),
    }
}

/// How deep the parser may recurse: enough for the nesting that `size` lets through.
pub(crate) const RECURSION_MAX: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_copy_says_of_its_store_is_masked() {
        let shown = |sql: &str| prepare(sql).expect(sql)[0].shown().into_owned();
        let with_a_key = "copy (select 'it''s' AS x) to 's3://lake/it''s/' stored as csv options \
             ('AWS.Secret_Access_Key' 'abc', 'aws.region' 'eu', format.delimiter ';', header true)";
        let masked = shown(with_a_key);
        assert!(!masked.contains("abc"), "{masked}");
        assert_eq!(shown(&masked), masked, "it is a statement still");
        for kept in ["(SELECT 'it''s' AS x)", "'s3://lake/it''s/'", "CSV", "';'", "***"] {
            assert!(masked.to_uppercase().contains(&kept.to_uppercase()), "{kept}: {masked}");
        }
        let without = "copy t  to '/nowhere/t' stored as csv options ('format.delimiter' ';')";
        assert_eq!(shown(without), without, "as it was written");
        assert_eq!(shown("select  1"), "select  1");
    }
}
