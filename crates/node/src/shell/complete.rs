//! Completion at the prompt: keywords, tables, columns and `\` commands by their beginning.

use std::sync::Arc;

use parking_lot::RwLock;
use reedline::{Completer, CompletionResult, Span, Suggestion};

use super::slash;

/// Most suggestions at once.
const SUGGESTIONS_MAX: usize = 100;

const KEYWORDS: &str = "\
    ALL ANALYZE AND AS ASC BETWEEN BY CASE CAST CREATE CROSS CUBE DATE DESC DESCRIBE \
    DISTINCT DROP ELSE END EXCEPT EXISTS EXPLAIN EXTERNAL EXTRACT FALSE FIRST FROM FULL \
    GROUP GROUPING HAVING ILIKE IN INNER INTERSECT INTERVAL IS JOIN LAST LEFT LIKE LIMIT \
    LOCATION NOT NULL NULLS OFFSET ON OR ORDER OUTER OVER PARTITION RESET RIGHT ROLLUP ROWS \
    SCHEMA SELECT SET SHOW STORED TABLE THEN TRUE UNION USING VALUES VIEW WHEN WHERE WITH";

/// Names of tables and columns, shared with the prompt, which keeps them up to date.
pub(super) type Names = Arc<RwLock<Vec<String>>>;

/// The completer of the prompt.
pub(super) struct Words {
    pub(super) names: Names,
}

impl Completer for Words {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let before = line.get(..pos).unwrap_or_default();
        let start = word_start(before);
        let word = &before[start..];
        let found = if before.trim_start().starts_with('\\') && start <= first(before) {
            matching(word, slash::NAMES.iter().copied())
        } else if word.is_empty() {
            Vec::new()
        } else {
            let names = self.names.read();
            let mut found = matching(word, names.iter().map(String::as_str));
            // Keywords in the case that the word was begun in.
            let lower = word.chars().all(|c| !c.is_ascii_uppercase());
            found.extend(
                matching(word, KEYWORDS.split(' '))
                    .into_iter()
                    .map(|keyword| if lower { keyword.to_ascii_lowercase() } else { keyword }),
            );
            found
        };
        let suggestions: Vec<Suggestion> = found
            .into_iter()
            .take(SUGGESTIONS_MAX)
            .map(|value| Suggestion { value, span: Span::new(start, pos), ..Suggestion::default() })
            .collect();
        CompletionResult::fresh(suggestions)
    }
}

fn first(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

fn word_start(text: &str) -> usize {
    let part = |c: char| c.is_alphanumeric() || "_\\$".contains(c);
    text.rfind(|c| !part(c))
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8))
}

fn matching<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let begins =
        |name: &&str| name.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
    names.into_iter().filter(begins).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(line: &str) -> Vec<String> {
        let names = vec!["orders".to_owned(), "o_key".to_owned()];
        let mut words = Words { names: Arc::new(RwLock::new(names)) };
        let result = words.complete(line, line.len());
        result.suggestions().iter().map(|s| s.value.clone()).collect()
    }

    #[test]
    fn words_are_completed_by_their_beginning() {
        assert_eq!(values("SELECT * FROM ord"), ["orders", "order"]);
        assert_eq!(values("sel"), ["select"]);
        assert_eq!(values("SEL"), ["SELECT"]);
        assert_eq!(values("select o_"), ["o_key"]);
        assert_eq!(values("\\ti"), ["\\timing"]);
        assert!(values("SELECT ").is_empty());
    }
}
