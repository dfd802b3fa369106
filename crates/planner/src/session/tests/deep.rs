//! SQL that is deep or long: a result or one clear error, on a thread of the default stack, never
//! an overflow.

use super::*;

/// Plans `sql` on a thread with the 2 MiB that tokio's workers have.
fn on_a_small_stack(sql: String) -> Result<String> {
    on_small(move || {
        let (lab, runtime) = (Lab::new(), runtime());
        runtime.block_on(async {
            created(&lab).await;
            match lab.plan(&sql).await? {
                Planned::Query(_) => Ok("a plan".to_owned()),
                other => Ok(format!("{other:?}")),
            }
        })
    })
}

/// Describes it there, which is planning without optimizing.
fn described_on_a_small_stack(sql: String) -> Result<()> {
    on_small(move || {
        let (lab, runtime) = (Lab::new(), runtime());
        runtime.block_on(async {
            created(&lab).await;
            let statement = lab.session.prepare(&sql)?.pop().expect("a statement");
            lab.session.describe(&statement).await.map(drop)
        })
    })
}

fn on_small<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(work).expect("a thread");
    thread.join().expect("no panic")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn created(lab: &Lab) {
    let file = lab.text("t.csv", "x,b\n1,true\n2,false\n");
    lab.plan(&table("t", "csv", &file)).await.expect("created");
}

fn chain(term: &str, operator: &str, times: usize) -> String {
    vec![term; times].join(&format!(" {operator} "))
}

#[test]
fn long_expressions_are_planned() {
    // Planning them is quadratic and slow without optimisation: 2000 once is enough.
    let terms = |operator: &str| chain("x", operator, 500);
    let conditions = |operator: &str, times| {
        let all: Vec<_> = (0..times).map(|i| format!("x = {i}")).collect();
        all.join(&format!(" {operator} "))
    };
    let list: Vec<_> = (0..20_000).map(|i| i.to_string()).collect();
    let cases = [
        format!("SELECT {} FROM t", terms("+")),
        format!("SELECT x FROM t WHERE {}", conditions("OR", 2000)),
        format!("SELECT x FROM t WHERE {}", conditions("AND", 500)),
        format!("SELECT x FROM t WHERE x IN ({})", list.join(", ")),
        format!("SELECT CASE {} END FROM t", "WHEN x = 1 THEN 2 ".repeat(2000)),
    ];
    for sql in cases {
        let shown: String = sql.chars().take(60).collect();
        assert_eq!(on_a_small_stack(sql).expect(&shown), "a plan", "{shown}");
    }
}

#[test]
fn what_is_too_deep_is_refused_in_one_sentence() {
    let nested = |open: &str, inside: &str, close: &str, times: usize| {
        format!("SELECT {}{inside}{} FROM t", open.repeat(times), close.repeat(times))
    };
    let deep = "the statement is nested too deeply";
    let long = "an expression has more than 5000 operators in a row";
    let many = "the statement has 2000 joins and set operations, more than 1000";
    let cases = [
        (nested("(", "x", ")", 10_000), deep),
        (nested("abs(", "x", ")", 10_000), deep),
        (nested("CASE WHEN b THEN ", "x", " END", 5000), deep),
        (nested("NOT ", "b", "", 5000), deep),
        (format!("SELECT x FROM {}t{}", "(SELECT x FROM ".repeat(3000), ")".repeat(3000)), deep),
        (format!("SELECT {} FROM t", chain("x", "+", 12_001)), long),
        (chain("SELECT x FROM t", "UNION ALL", 2001), many),
        (format!("SELECT 1 FROM {}", chain("t", "CROSS JOIN", 2001)), many),
        (nested("- ", "x", "", 100_000), deep),
        (
            format!(
                "SELECT CAST(x AS {}INT{}) FROM t",
                "ARRAY<".repeat(100_000),
                ">".repeat(100_000)
            ),
            deep,
        ),
        (nested("[", "x", "]", 100_000), deep),
    ];
    for (sql, message) in cases {
        let shown: String = sql.chars().take(60).collect();
        let error = on_a_small_stack(sql).expect_err(&shown);
        assert!(error.message().starts_with(message), "{shown}: {}", error.message());
    }
}

/// The longest that is let through of what a chain can be made of. Not all of it is an expression
/// that can be planned, and most of what can takes minutes without optimisation, so that only a few
/// go all the way.
#[test]
fn the_longest_chains_end_in_a_plan_or_an_error() {
    let chains = [
        " IS NULL",
        " IS NOT NULL",
        "[1]",
        ".f",
        ":f",
        "::INT",
        " COLLATE \"c\"",
        " LIKE 'a'",
        " AT TIME ZONE 'UTC'",
        " BETWEEN 1 AND 2",
        " IN (1)",
        " & 1",
        " | 1",
        " ^ 1",
        " << 1",
        " >> 1",
        " = 1",
        " <> 1",
        " <= 1",
        " || 'a'",
        " % 2",
        " XOR b",
        " AND b",
        " OR b",
        " ~ 'a'",
        " -> 'a'",
        " IS DISTINCT FROM 1",
        " OPERATOR(+) 1",
        "::INT[]",
        " NOT IN (1)",
    ];
    for term in chains {
        let chain = |times: usize| format!("SELECT (x){} FROM t", term.repeat(times));
        let operators = if term.contains("NOT") || term == "::INT[]" { 2 } else { 1 };
        let longest = chain(4990 / operators);
        let parsed = on_small(move || prepare(&longest).map(drop));
        if let Err(error) = parsed {
            assert!(!error.message().contains("operators in a row"), "{term}: {error}");
        }
        let error = described_on_a_small_stack(chain(20_000)).expect_err(term);
        let said = "an expression has more than 5000 operators in a row";
        assert_eq!(error.message(), said, "{term}");
    }
    assert!(on_small(|| prepare(&format!("SELECT 1{}", " & 1".repeat(300_000))).is_err()));
    for term in [" IS NOT NULL", "[1]", ".f", " LIKE 'a'", " IN (1)", " BETWEEN 1 AND 2"] {
        let _ = described_on_a_small_stack(format!("SELECT (x){} FROM t", term.repeat(2450)));
    }
    for (term, times) in [(" IS NULL", 4990), (" & 1", 200), (" || 'a'", 200)] {
        let sql = format!("SELECT x{} FROM t", term.repeat(times));
        assert_eq!(on_a_small_stack(sql).expect(term), "a plan", "{term}");
    }
    let nested = |operators: usize| {
        let inside = format!("{} + ", chain("x", "+", operators));
        format!("SELECT {}x{} FROM t", format!("({inside}").repeat(90), ")".repeat(90))
    };
    assert!(described_on_a_small_stack(nested(50)).is_ok());
    let error = described_on_a_small_stack(nested(5000)).expect_err("450,000 deep");
    assert!(error.message().ends_with("5000 operators in a row"), "{error}");
}

#[test]
fn long_lists_of_values_and_tables() {
    let rows: Vec<_> = (0..5000).map(|i| format!("({i}, -{i}, 'a' || 'b')")).collect();
    let sql = format!("SELECT * FROM (VALUES {})", rows.join(", "));
    assert_eq!(on_a_small_stack(sql).expect("5000 rows"), "a plan");
    let tables: Vec<_> = (0..2001).map(|i| format!("t AS t{i}")).collect();
    let error = on_a_small_stack(format!("SELECT 1 FROM {}", tables.join(", ")));
    let error = error.expect_err("a join for each comma");
    assert!(error.message().starts_with("the statement has 2000 joins"), "{error}");
}

/// Each was read twice at each level: this would not end.
#[test]
fn what_fails_deep_inside_is_not_read_again_and_again() {
    for (open, inside, close) in [
        ("cast(", "x", ")"),
        ("ceil(", "x x", ")"),
        ("substring(", "x FROM", ")"),
        ("case + ", "x", ""),
        ("NOT (", "x x", ")"),
    ] {
        let sql = format!("SELECT {}{inside}{} FROM t", open.repeat(60), close.repeat(60));
        let error = on_a_small_stack(sql).expect_err(open);
        assert_eq!(error.kind(), dunlin_base::Kind::Invalid, "{error}");
    }
}

#[test]
fn moderate_nesting_is_planned() {
    let cases = [
        format!("SELECT {}x{} FROM t", "(".repeat(60), ")".repeat(60)),
        format!("SELECT {}x{} FROM t", "abs(".repeat(60), ")".repeat(60)),
        format!("SELECT x FROM {}t{}", "(SELECT x FROM ".repeat(30), ")".repeat(30)),
        chain("SELECT x FROM t", "UNION ALL", 200),
        (0..50).fold("SELECT 1 FROM t".to_owned(), |sql, i| format!("{sql} CROSS JOIN t AS t{i}")),
        format!("SELECT {}b FROM t", "NOT ".repeat(60)),
        format!("SELECT x{} FROM t", "::BIGINT".repeat(1000)),
    ];
    for sql in cases {
        let shown: String = sql.chars().take(60).collect();
        assert_eq!(on_a_small_stack(sql).expect(&shown), "a plan", "{shown}");
    }
}

#[test]
fn a_text_that_is_too_long_is_refused() {
    let lab = Lab::new();
    let error = lab.session.prepare(&" ".repeat(9 << 20)).expect_err("too long");
    assert_eq!(error.message(), "the text is longer than 8MiB");
}
