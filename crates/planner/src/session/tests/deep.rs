//! SQL that is deep or long: a result or one clear error, on a thread of the default stack, never
//! an overflow.

use super::*;

/// Plans `sql` on a thread with the 2 MiB that tokio's workers have.
fn on_a_small_stack(sql: String) -> Result<String> {
    let plan = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let lab = Lab::new();
            let file = lab.text("t.csv", "x,b\n1,true\n2,false\n");
            lab.plan(&table("t", "csv", &file)).await.expect("created");
            match lab.plan(&sql).await? {
                Planned::Query(_) => Ok("a plan".to_owned()),
                other => Ok(format!("{other:?}")),
            }
        })
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(plan).expect("a thread");
    thread.join().expect("no panic")
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
