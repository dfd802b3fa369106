//! How deep and how long a statement may be, judged by its tokens before anything recurses.

mod levels;
mod words;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use dunlin_base::{ByteCount, Error, Result};

use self::levels::{Levels, Opener};
use self::words::{
    is_literal, is_name, is_nested_type, is_operator, is_relation, is_sign, keyword, starts_query,
    token_text,
};
use crate::errors::too_deep;

/// Most levels of parentheses, brackets, CASE, nested types and signs in a row.
const NESTING_MAX: usize = 100;

/// Most operators above each other in one expression, those around its brackets included: each is a
/// level of the syntax tree and of the plan's expressions.
const CHAIN_MAX: usize = 5000;

/// Most joins and set operations in one statement: each is a level of the plan.
const RELATIONS_MAX: usize = 1000;

/// Most windows of functions, each of which may be a level of the plan.
const WINDOWS_MAX: usize = 1000;

/// What long texts may become: a name in WITH, and the alias of a column in HAVING and ORDER BY, are
/// replaced by what they stand for before there is a plan that could be weighed.
const TEXTS_MAX: ByteCount = ByteCount::mib(1024);

/// Shorter texts do not count.
const LONG: usize = 16 << 10;

/// Names of a table and its column: this many periods of a name are no level each.
const NAME_PERIODS: usize = 3;

/// Refuses what would be parsed or planned into a tree too deep for its stack.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut reader = Reader::new();
    let words = tokens.iter().map(|t| &t.token).filter(|t| !matches!(t, Token::Whitespace(_)));
    for token in words {
        reader.read(token)?;
    }
    reader.check_texts()?;
    let (relations, windows) = (reader.relations, reader.windows);
    if windows > WINDOWS_MAX {
        let error =
            Error::invalid(format!("the statement has {windows} OVER, more than {WINDOWS_MAX}"));
        return Err(error.with_hint("split it into views"));
    }
    if relations > RELATIONS_MAX {
        return Err(Error::invalid(format!(
            "the statement has {relations} joins and set operations, more than {RELATIONS_MAX}"
        ))
        .with_hint("split it into views, or read many files as one table"));
    }
    Ok(())
}

/// What has been read of a statement.
struct Reader<'a> {
    levels: Levels,
    relations: usize,
    windows: usize,
    /// Bytes of long texts, and names that may stand for them.
    long: u64,
    names: u64,
    /// Signs and the like in a row, and EXPLAINs.
    signs: usize,
    explains: usize,
    /// Periods of the name that is being read.
    periods: usize,
    previous: &'a Token,
    /// The previous token ends an operand, for certain: a word that follows it is no name in the
    /// same expression.
    operand: bool,
}

impl<'a> Reader<'a> {
    fn new() -> Self {
        Self {
            levels: Levels::new(),
            relations: 0,
            windows: 0,
            long: 0,
            names: 0,
            signs: 0,
            explains: 0,
            periods: 0,
            previous: &Token::EOF,
            operand: false,
        }
    }

    fn read(&mut self, token: &'a Token) -> Result<()> {
        self.signs = if is_sign(token) { self.signs + 1 } else { 0 };
        let mut operand = false;
        let mut types = 0;
        match token {
            Token::LParen if keyword(self.previous) == Keyword::OPERATOR => {
                self.levels.open(Opener::Operator);
            }
            Token::LBracket => {
                // Each subscript is a level, and so is each dimension of a type.
                self.levels.operator();
                self.levels.open(Opener::Bracket);
            }
            Token::LParen | Token::LBrace => self.levels.open(Opener::Bracket),
            Token::RParen | Token::RBracket | Token::RBrace => {
                operand = self.levels.close() != Some(Opener::Operator);
            }
            Token::Comma => self.relations += usize::from(self.levels.comma()),
            Token::Period => self.period(),
            Token::Word(word) => operand = self.word(word.keyword),
            Token::EOF | Token::SemiColon => {}
            token if is_literal(token) => {
                let bytes = token_text(token).len();
                self.long += if bytes >= LONG { bytes as u64 } else { 0 };
                operand = true;
            }
            // Whatever else there is may be an operator, or will be one in a later parser.
            token => {
                types = self.symbol(token);
                self.levels.operator();
            }
        }
        self.operand = operand;
        self.previous = token;
        self.limit(types)
    }

    fn check_texts(&self) -> Result<()> {
        let bytes = self.long.saturating_mul(self.names);
        if bytes <= TEXTS_MAX.0 {
            return Ok(());
        }
        let (long, names) = (ByteCount(self.long), self.names);
        Err(Error::exhausted(format!(
            "the statement has {names} names, and long texts of {long}: if each stood for all of \
             them, that would be more than {TEXTS_MAX}"
        ))
        .with_hint("bind long texts as parameters, or put them into a table"))
    }

    fn limit(&self, types: usize) -> Result<()> {
        let nested = self.levels.open_count().max(self.signs).max(self.explains).max(types);
        if nested > NESTING_MAX {
            return Err(too_deep());
        }
        if self.levels.depth() > CHAIN_MAX {
            return Err(Error::invalid(format!(
                "an expression has more than {CHAIN_MAX} operators in a row"
            ))
            .with_hint("use IN (...) for long lists of OR, and a table for long lists of values"));
        }
        Ok(())
    }

    /// How many types are open within each other.
    fn symbol(&mut self, token: &Token) -> usize {
        match token {
            Token::VerticalBarRightAngleBracket => {
                self.levels.set_from(false);
                self.relations += 1;
            }
            Token::Lt if is_nested_type(self.previous) => return self.levels.angle(true, 0),
            Token::Gt => return self.levels.angle(false, 1),
            Token::ShiftRight => return self.levels.angle(false, 2),
            _ => {}
        }
        0
    }

    fn period(&mut self) {
        if matches!(self.previous, Token::Word(_)) && self.periods < NAME_PERIODS {
            self.periods += 1;
        } else {
            self.periods = NAME_PERIODS;
            self.levels.operator();
        }
    }

    /// Whether the word ends an operand for certain.
    fn word(&mut self, word: Keyword) -> bool {
        use Keyword as K;
        let previous = keyword(self.previous);
        if *self.previous == Token::Period {
            return true;
        }
        self.periods = 0;
        self.names += u64::from(is_name(word));
        match word {
            K::NoKeyword | K::NULL | K::TRUE | K::FALSE => return true,
            K::CASE if previous != K::AS => self.levels.open(Opener::Case),
            // Where an operand is due, it is the name of one.
            K::END if !self.expects_operand() => {
                self.levels.end_case();
                return true;
            }
            K::AND | K::OR => self.levels.loose(word == K::AND, self.operand),
            K::BETWEEN => self.levels.between(),
            K::FROM if previous == K::DISTINCT => self.levels.distinct_from(),
            K::FROM => self.levels.set_from(true),
            K::WHERE | K::BY | K::HAVING | K::WINDOW | K::QUALIFY | K::VALUES => {
                self.levels.set_from(false)
            }
            K::WHEN | K::THEN | K::ELSE if self.operand => self.levels.branch(),
            // Two words that are no operators are never next to each other in an expression.
            K::SELECT => {
                self.levels.set_from(false);
                if starts_query(previous) {
                    self.levels.separate();
                }
            }
            K::EXPLAIN => self.explains += 1,
            K::OVER => self.windows += 1,
            word if is_relation(word) => self.relations += 1,
            word if is_operator(word) => self.levels.operator(),
            word => return self.is_name_or_unit(word),
        }
        false
    }

    /// A keyword where only a name can be, as in `= date`, or after a number, as in `'1' DAY`.
    fn is_name_or_unit(&self, word: Keyword) -> bool {
        use Keyword as K;
        match self.previous {
            Token::Word(_) | Token::Comma | Token::LParen | Token::LBracket | Token::LBrace => {
                false
            }
            previous if is_literal(previous) => true,
            _ => !matches!(word, K::CASE | K::ANY | K::ALL | K::SOME),
        }
    }

    /// Only for END: a word that is taken for one of these keeps a CASE open, which is no harm.
    fn expects_operand(&self) -> bool {
        use Keyword as K;
        match self.previous {
            Token::RParen | Token::RBracket | Token::RBrace => false,
            Token::Word(word) => {
                let word = word.keyword;
                is_operator(word)
                    || is_sign(self.previous)
                    || matches!(word, K::CASE | K::WHEN | K::THEN | K::ELSE | K::AND | K::OR)
                    || matches!(word, K::BETWEEN | K::FROM | K::TO | K::ZONE | K::ESCAPE | K::AS)
            }
            token => !is_literal(token),
        }
    }
}

#[cfg(test)]
mod tests;
