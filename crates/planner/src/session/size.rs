//! How deep and how long a statement may be, judged by its tokens before anything recurses.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use dunlin_base::{Error, Result};

use crate::errors::too_deep;

/// Most levels of parentheses, brackets, CASE, nested types and signs in a row.
const NESTING_MAX: usize = 100;

/// Most operators in one expression without parentheses: each is a level of the plan's expressions.
const CHAIN_MAX: usize = 5000;

/// Most joins and set operations in one statement: each is a level of the plan.
const RELATIONS_MAX: usize = 1000;

/// Refuses what would be parsed or planned into a tree too deep for its stack.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    // Operators of the expression that is open at each level.
    let mut levels = vec![0_usize];
    let mut relations = 0_usize;
    let mut signs = 0_usize;
    let mut types = 0_usize;
    let mut previous = &Token::EOF;
    let words = tokens.iter().map(|t| &t.token).filter(|t| !matches!(t, Token::Whitespace(_)));
    for token in words {
        signs = if is_sign(token) { signs + 1 } else { 0 };
        if *token == Token::Lt && is_nested_type(previous) {
            types += 1;
        }
        match role(token) {
            Role::Open => levels.push(0),
            Role::Close if levels.len() > 1 => drop(levels.pop()),
            Role::Close | Role::Other => {}
            Role::Operator => count(&mut levels)?,
            Role::Separator => reset(&mut levels),
            Role::Relation => {
                relations += 1;
                reset(&mut levels);
            }
        }
        if levels.len().max(signs).max(types) > NESTING_MAX {
            return Err(too_deep());
        }
        previous = token;
    }
    if relations > RELATIONS_MAX {
        return Err(Error::invalid(format!(
            "the statement has {relations} joins and set operations, more than {RELATIONS_MAX}"
        ))
        .with_hint("split it into views, or read many files as one table"));
    }
    Ok(())
}

fn count(levels: &mut [usize]) -> Result<()> {
    let Some(operators) = levels.last_mut() else { return Ok(()) };
    *operators += 1;
    if *operators <= CHAIN_MAX {
        return Ok(());
    }
    Err(Error::invalid(format!("an expression has more than {CHAIN_MAX} operators in a row"))
        .with_hint("use IN (...) for long lists of OR, and a table for long lists of values"))
}

fn reset(levels: &mut [usize]) {
    if let Some(operators) = levels.last_mut() {
        *operators = 0;
    }
}

enum Role {
    Open,
    Close,
    Operator,
    /// Ends an expression.
    Separator,
    Relation,
    Other,
}

fn role(token: &Token) -> Role {
    use Keyword as K;
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => Role::Open,
        Token::RParen | Token::RBracket | Token::RBrace => Role::Close,
        Token::Comma => Role::Separator,
        Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod => Role::Operator,
        Token::StringConcat | Token::DoubleColon | Token::Arrow | Token::LongArrow => {
            Role::Operator
        }
        Token::Word(word) => match word.keyword {
            K::CASE => Role::Open,
            K::END => Role::Close,
            K::AND | K::OR => Role::Operator,
            K::JOIN | K::UNION | K::EXCEPT | K::INTERSECT => Role::Relation,
            K::SELECT | K::FROM | K::WHERE | K::ON | K::GROUP | K::HAVING | K::ORDER => {
                Role::Separator
            }
            K::WHEN | K::THEN | K::ELSE | K::AS => Role::Separator,
            _ => Role::Other,
        },
        _ => Role::Other,
    }
}

fn is_sign(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.keyword == Keyword::NOT,
        Token::Minus | Token::Plus | Token::Tilde | Token::ExclamationMark => true,
        _ => false,
    }
}

fn is_nested_type(token: &Token) -> bool {
    use Keyword as K;
    matches!(token, Token::Word(word)
        if matches!(word.keyword, K::ARRAY | K::STRUCT | K::MAP | K::NULLABLE))
}
