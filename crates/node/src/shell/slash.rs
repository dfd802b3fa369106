//! The `\` commands of the prompt.

/// Their names, for completion.
pub(super) const NAMES: [&str; 8] =
    ["\\?", "\\d", "\\dn", "\\dv", "\\i", "\\q", "\\queries", "\\timing"];

/// What `\?` prints.
pub(super) const HELP: &str = "\
\\d            tables and views
\\d TABLE      columns of a table
\\dn           schemas
\\dv           views
\\i FILE       run the SQL in a file
\\queries      running and recent queries
\\timing       say how long statements take, or stop it
\\?            this list
\\q            leave (also Ctrl-D)
A statement ends with ; and Ctrl-C cancels it. Tab completes names.";

/// A `\` command, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Slash {
    /// Statements that answer it.
    Sql(String),
    /// The SQL in a file.
    Include(String),
    /// Queries of this process and before.
    Queries,
    /// Timing on or off.
    Timing,
    /// The list of commands.
    Help,
    /// Leave.
    Quit,
    /// None of these; what to say.
    Unknown(String),
}

/// Reads a line that begins with `\`. A `;` at its end is a habit, not an argument.
pub(super) fn parse(line: &str) -> Slash {
    let line = line.trim().trim_end_matches(';').trim_end();
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match (name, argument.trim()) {
        ("\\d", "") => Slash::Sql("SHOW TABLES".to_owned()),
        ("\\d", table) => Slash::Sql(format!("DESCRIBE {table}")),
        ("\\dn", "") => Slash::Sql("SHOW SCHEMAS".to_owned()),
        ("\\dv", "") => Slash::Sql(
            "SELECT table_schema, table_name FROM information_schema.tables \
             WHERE table_type = 'VIEW' AND table_schema <> 'information_schema' ORDER BY 1, 2"
                .to_owned(),
        ),
        ("\\i", "") => Slash::Unknown("\\i needs a file".to_owned()),
        ("\\i", file) => Slash::Include(file.to_owned()),
        ("\\queries", "") => Slash::Queries,
        ("\\timing", "") => Slash::Timing,
        ("\\?", "") => Slash::Help,
        ("\\q", "") => Slash::Quit,
        (name, _) if NAMES.contains(&name) => Slash::Unknown(format!("{name} takes no argument")),
        (name, _) => Slash::Unknown(format!("there is no command {name}; \\? lists them")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        assert_eq!(parse("\\d"), Slash::Sql("SHOW TABLES".into()));
        assert_eq!(parse("\\d orders;"), Slash::Sql("DESCRIBE orders".into()));
        assert_eq!(parse(" \\i a b.sql "), Slash::Include("a b.sql".into()));
        assert_eq!(parse("\\q;"), Slash::Quit);
        assert!(matches!(parse("\\x"), Slash::Unknown(text) if text.contains("\\x")));
        assert!(matches!(parse("\\q now"), Slash::Unknown(_)));
    }
}
