//! Whether what was typed is a whole input: the prompt goes on until it is.

/// True if the text is empty, a `\` command, or ends with `;` outside of quotes and comments.
pub(super) fn ended(text: &str) -> bool {
    let trimmed = text.trim();
    trimmed.is_empty() || trimmed.starts_with('\\') || ends_with_semicolon(trimmed)
}

fn ends_with_semicolon(text: &str) -> bool {
    let mut last = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = match c {
            '\'' | '"' => rest[1..].find(c).map(|end| end + 2),
            '-' if rest.starts_with("--") => Some(rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => rest[2..].find("*/").map(|end| end + 4),
            _ => Some(c.len_utf8()),
        };
        // An open quote or comment.
        let Some(skip) = skip else { return false };
        if !(c.is_whitespace() || rest.starts_with("--") || rest.starts_with("/*")) {
            last = Some(c);
        }
        rest = &rest[skip..];
    }
    last == Some(';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_semicolon_ends_unless_quoted() {
        let whole = ["", "  ", "\\d", "SELECT 1;", "SELECT ';' ; -- x", "SELECT 1; /* y */", "é;"];
        for text in whole {
            assert!(ended(text), "{text}");
        }
        let open =
            ["SELECT 1", "SELECT ';", "SELECT 1 -- ;", "SELECT /* ;", "SELECT 1; SELECT", "'a';b"];
        for text in open {
            assert!(!ended(text), "{text}");
        }
    }
}
