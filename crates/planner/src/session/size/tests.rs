//! Depths as they are reckoned: nothing is parsed or planned here.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::Tokenizer;

use super::*;

fn judged(sql: &str) -> Result<()> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location();
    check(&tokens.expect("it is made of tokens"))
}

fn depth(sql: &str) -> usize {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize();
    let tokens = tokens.expect("it is made of tokens");
    let mut reader = Reader::new();
    let mut deepest = 0;
    for token in tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))) {
        reader.read(token).expect("not too deep");
        deepest = deepest.max(reader.levels.depth());
    }
    deepest
}

#[test]
fn every_operator_makes_a_level() {
    let infix = [
        "+",
        "-",
        "*",
        "/",
        "%",
        "||",
        "&",
        "|",
        "^",
        "<<",
        ">>",
        "=",
        "<>",
        "!=",
        "<",
        ">",
        "<=",
        ">=",
        "->",
        "->>",
        "~",
        "~*",
        "!~",
        "!~*",
        "~~",
        "~~*",
        "!~~",
        "&&",
        "^@",
        ":=",
        "=>",
        "<=>",
        "==",
        "//",
        "AND",
        "OR",
        "XOR",
        "LIKE",
        "NOT LIKE",
        "ILIKE",
        "RLIKE",
        "REGEXP",
        "SIMILAR TO",
        "IS DISTINCT FROM",
        "IS NOT DISTINCT FROM",
        "DIV",
        "OVERLAPS",
        "OPERATOR(+)",
        "AT TIME ZONE",
        "COLLATE",
        "= and =",
        "+ when +",
        "+ end +",
    ];
    for operator in infix {
        let sql = format!("SELECT {}", vec!["x"; 1001].join(&format!(" {operator} ")));
        assert!((1000..=3000).contains(&depth(&sql)), "{operator}: {}", depth(&sql));
        let sql = format!("SELECT {}", vec!["x"; 5002].join(&format!(" {operator} ")));
        assert!(judged(&sql).is_err(), "{operator}");
    }
    let postfix = [
        "IS NULL",
        "IS NOT NULL",
        "IS TRUE",
        "NOT NULL",
        "BETWEEN 1 AND 2",
        "NOT BETWEEN 1 AND 2",
        "IN (1, 2)",
        "NOT IN (1)",
        "::INT",
        "::STRUCT<a INT, b INT>",
        "[1]",
        "[1:2]",
        ".f",
        ":f",
        "LIKE 'a' ESCAPE 'b'",
        "MEMBER OF (x)",
        "COLLATE \"c\"",
        "AT TIME ZONE 'UTC'",
    ];
    for operator in postfix {
        let sql = format!("SELECT (x) {}", format!("{operator} ").repeat(1000));
        assert!((1000..=4000).contains(&depth(&sql)), "{operator}: {}", depth(&sql));
        assert!(judged(&format!("SELECT (x) {}", format!("{operator} ").repeat(5001))).is_err());
    }
}

#[test]
fn levels_count_together() {
    let terms = |operator: &str, times| format!(" {operator} x").repeat(times);
    // From the left, all that is in brackets gets deeper by what follows them.
    let left = format!("SELECT {}x{}", "(".repeat(50), format!("{})", terms("+", 101)).repeat(50));
    let right =
        format!("SELECT {}x{}", format!("x{} + (", terms("+", 101)).repeat(50), ")".repeat(50));
    let functions = format!("SELECT {}x{}", "f(y, x + (".repeat(40), ", z))".repeat(40));
    assert!(judged(&left).is_err());
    assert!(judged(&right).is_err());
    assert_eq!(depth(&functions), 40);
    let both = format!("SELECT (x{}){}", terms("&", 2600), terms("|", 2600));
    assert!(judged(&both).is_err());
    let beside = format!("SELECT (x{}), (x{})", terms("&", 2600), terms("|", 2600));
    assert_eq!(depth(&beside), 2600);
    let case =
        format!("SELECT CASE WHEN x = 1 THEN x{} ELSE 2 END{}", terms("+", 2600), terms("+", 2600));
    assert!(judged(&case).is_err());
}

#[test]
fn what_ends_an_expression_starts_anew() {
    let many = |part: &str, between: &str| vec![part; 3000].join(between);
    for (sql, least, most) in [
        (format!("SELECT {}", many("a.b.c.d + 1", ", ")), 1, 1),
        (format!("SELECT x IN ({})", many("'a' || 'b'", ", ")), 2, 2),
        (format!("VALUES {}", many("(1 + 1, -2, 'x')", ", ")), 1, 1),
        (format!("SELECT {}", many("ARRAY[1, 2]", ", ")), 1, 1),
        (format!("SELECT 1 WHERE {}", many("t.a = 1", " OR ")), 3000, 3000),
        (format!("SELECT 1 WHERE {}", many("t.a + t.b * 2 <> 1", " AND ")), 3000, 3010),
        (format!("SELECT 1 WHERE {}", many("x BETWEEN 1 AND 2", " OR ")), 3000, 3002),
        (format!("SELECT 1 WHERE {}", many("x IS NOT NULL", " AND ")), 3000, 3003),
        (format!("SELECT 1 WHERE {}", many("d > x - INTERVAL '1' DAY", " AND ")), 3000, 3005),
        (format!("SELECT 1 WHERE {}", many("key = value", " AND ")), 3000, 3005),
        (format!("SELECT 1 WHERE {}", many("(x = 1 AND y = 2)", " OR ")), 3000, 3005),
        (format!("SELECT CASE {} END", many("WHEN t.a = 1 AND b > 2 THEN c + 1", " ")), 2, 4),
        (format!("SELECT {}", many("CASE WHEN x THEN date ELSE name END", ", ")), 0, 0),
    ] {
        let (depth, shown) = (depth(&sql), &sql[..60]);
        assert!((least..=most).contains(&depth), "{shown}: {depth}");
    }
    let selects = many("SELECT a FROM t WHERE b = 1 AND c = 2 AND d = 3", " UNION ALL ");
    assert!(judged(&selects).expect_err("many").message().contains("2999 joins"));
    let selects = vec!["SELECT a FROM t WHERE b = 1 AND c = 2 AND d = 3"; 999].join(" UNION ALL ");
    assert!(depth(&selects) < 10);
    assert!(judged(&selects).is_ok());
}

#[test]
fn long_texts_and_names_that_may_stand_for_them_are_few() {
    let text = "x".repeat(1 << 20);
    let having = |times| {
        let names = vec!["s"; times].join(", ");
        format!("SELECT '{text}' AS s FROM t GROUP BY s HAVING s IN ({names})")
    };
    assert!(judged(&having(500)).is_ok());
    assert!(judged(&having(1500)).is_err());
    let rows = vec![format!("(1, NULL, DATE '2026-01-01', '{}')", "x".repeat(20_000)); 300];
    assert!(judged(&format!("INSERT INTO t (a, b, c, d) VALUES {}", rows.join(", "))).is_ok());
}

#[test]
fn names_that_are_keywords_end_nothing() {
    for name in ["case", "end", "when", "then", "else", "and", "or", "select", "union", "on", "as"]
    {
        for sql in [
            format!("SELECT {}", vec![format!("x + t.{name}"); 5001].join(" + ")),
            format!("SELECT {}", vec![format!("x + {name}"); 5001].join(" + ")),
            format!("SELECT {}", vec![format!("x = {name} = y"); 5001].join(" = ")),
        ] {
            assert!(judged(&sql).is_err(), "{}", &sql[..40]);
        }
    }
    // The END is a name, so that ELSE is of the same CASE.
    let ends = "= CASE WHEN x THEN end AND y ELSE end END = x ".repeat(2000);
    assert!(judged(&format!("SELECT x {}", ends.repeat(2))).is_err());
}

#[test]
fn what_recurses_without_brackets_is_counted() {
    for word in ["NOT ", "- ", "~ ", "INTERVAL ", "EXPLAIN ", "EXPLAIN ANALYZE ", "x::ARRAY<"] {
        assert!(judged(&format!("{}1", word.repeat(101))).is_err(), "{word}");
    }
    let casts = format!("SELECT {}", vec!["x::ARRAY<INT>"; 1000].join(", "));
    assert!(judged(&casts).is_ok(), "types side by side are not nested");
    let tables = vec!["t"; 1002].join(", ");
    let columns = vec!["x"; 1002].join(", ");
    assert!(judged(&format!("SELECT {columns} FROM {tables}")).is_err());
    let few = format!(
        "SELECT {columns}, a IS DISTINCT FROM b FROM t GROUP BY {columns} ORDER BY {columns}"
    );
    assert!(judged(&few).is_ok());
    assert!(judged(&format!("SELECT {}", vec!["f(x) OVER ()"; 1001].join(", "))).is_err());
    for word in ["MINUS SELECT 1", "|> WHERE x", "PIVOT (x)", "CROSS APPLY t", "STRAIGHT_JOIN t"] {
        assert!(judged(&format!("SELECT 1 FROM t {}", format!("{word} ").repeat(1001))).is_err());
    }
}
