//! What single tokens are to the parser.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

pub(super) fn keyword(token: &Token) -> Keyword {
    match token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// Operators that are words, but for AND, OR and BETWEEN.
pub(super) fn is_operator(word: Keyword) -> bool {
    use Keyword as K;
    matches!(
        word,
        K::IS
            | K::NOT
            | K::IN
            | K::LIKE
            | K::ILIKE
            | K::RLIKE
            | K::REGEXP
            | K::MATCH
            | K::SIMILAR
            | K::MEMBER
            | K::OVERLAPS
            | K::OPERATOR
            | K::DIV
            | K::XOR
            | K::AT
            | K::COLLATE
            | K::NOTNULL
            | K::PRIOR
            | K::INTERVAL
    )
}

/// What makes a level of the plan.
pub(super) fn is_relation(word: Keyword) -> bool {
    use Keyword as K;
    matches!(
        word,
        K::JOIN
            | K::STRAIGHT_JOIN
            | K::APPLY
            | K::UNION
            | K::EXCEPT
            | K::INTERSECT
            | K::MINUS
            | K::PIVOT
            | K::UNPIVOT
            | K::MATCH_RECOGNIZE
    )
}

/// What stands before the SELECT of a set operation.
pub(super) fn starts_query(word: Keyword) -> bool {
    use Keyword as K;
    matches!(word, K::UNION | K::EXCEPT | K::INTERSECT | K::MINUS | K::ALL | K::DISTINCT)
}

/// What stands before an operand, any number of times.
pub(super) fn is_sign(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            matches!(word.keyword, Keyword::NOT | Keyword::PRIOR | Keyword::INTERVAL)
        }
        Token::Minus | Token::Plus | Token::Tilde | Token::ExclamationMark => true,
        _ => false,
    }
}

pub(super) fn is_nested_type(token: &Token) -> bool {
    use Keyword as K;
    matches!(token, Token::Word(word)
        if matches!(word.keyword, K::ARRAY | K::STRUCT | K::MAP | K::NULLABLE))
}

/// Whether it may be the name of something. Values of rows are none, however many there are.
pub(super) fn is_name(word: Keyword) -> bool {
    use Keyword as K;
    let value = matches!(word, K::NULL | K::TRUE | K::FALSE | K::DEFAULT | K::ROW);
    !value && !matches!(word, K::DATE | K::TIME | K::TIMESTAMP | K::INTERVAL)
}

/// The text of a token that is one, as long as it may be.
pub(super) fn token_text(token: &Token) -> &str {
    match token {
        Token::SingleQuotedString(text)
        | Token::DoubleQuotedString(text)
        | Token::TripleSingleQuotedString(text)
        | Token::TripleDoubleQuotedString(text)
        | Token::SingleQuotedByteStringLiteral(text)
        | Token::DoubleQuotedByteStringLiteral(text)
        | Token::SingleQuotedRawStringLiteral(text)
        | Token::DoubleQuotedRawStringLiteral(text)
        | Token::NationalStringLiteral(text)
        | Token::EscapedStringLiteral(text)
        | Token::UnicodeStringLiteral(text)
        | Token::HexStringLiteral(text)
        | Token::Number(text, _) => text,
        Token::DollarQuotedString(text) => &text.value,
        Token::QuoteDelimitedStringLiteral(text)
        | Token::NationalQuoteDelimitedStringLiteral(text) => &text.value,
        _ => "",
    }
}

pub(super) fn is_literal(token: &Token) -> bool {
    matches!(
        token,
        Token::Number(..)
            | Token::Placeholder(_)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::TripleSingleQuotedString(_)
            | Token::TripleDoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DoubleQuotedByteStringLiteral(_)
            | Token::TripleSingleQuotedByteStringLiteral(_)
            | Token::TripleDoubleQuotedByteStringLiteral(_)
            | Token::SingleQuotedRawStringLiteral(_)
            | Token::DoubleQuotedRawStringLiteral(_)
            | Token::TripleSingleQuotedRawStringLiteral(_)
            | Token::TripleDoubleQuotedRawStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::QuoteDelimitedStringLiteral(_)
            | Token::NationalQuoteDelimitedStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
    )
}
