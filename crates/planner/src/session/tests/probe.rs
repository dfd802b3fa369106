use super::*;

#[test]
fn probe() {
    let Ok(which) = std::env::var("PROBE") else { return };
    let n: usize = std::env::var("N").map_or(20, |n| n.parse().expect("a number"));
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let lab = Lab::new();
            let file = lab.text("t.csv", "x,b,s\n1,true,a\n2,false,b\n");
            lab.plan(&table("t", "csv", &file)).await.expect("created");
            let nest = |a: &str, x: &str, b: &str| format!("{}{x}{}", a.repeat(n), b.repeat(n));
            let join = |part: &str, sep: &str| vec![part; n].join(sep);
            let each = |f: &dyn Fn(usize) -> String, sep: &str| {
                (0..n).map(f).collect::<Vec<_>>().join(sep)
            };
            let sql = match which.as_str() {
                "cast" => format!("SELECT {} FROM t", nest("cast(", "x", ")")),
                "case" => format!("SELECT {} FROM t", nest("case + ", "x", "")),
                "coalesce" => format!("SELECT {} FROM t", nest("coalesce(", "s", ", 'a')")),
                "between" => format!(
                    "SELECT x{} FROM t",
                    " BETWEEN 1 AND 2".to_owned() + &" BETWEEN false AND true".repeat(n)
                ),
                "sub" => format!(
                    "SELECT {} FROM t",
                    each(&|i| format!("(SELECT max(x) FROM t) AS s{i}"), ", ")
                ),
                "casts" => format!("SELECT {} FROM t", nest("CAST(", "x", " AS BIGINT)")),
                "ceil" => format!("SELECT {} FROM t", nest("ceil(", "x x", ")")),
                "explain" => format!("{} SELECT 1", join("EXPLAIN", " ")),
                "insub" => {
                    format!("SELECT x FROM t WHERE {}", join("x IN (SELECT x FROM t)", " AND "))
                }
                "comma" => format!("SELECT 1 FROM {}", each(&|i| format!("t AS t{i}"), ", ")),
                "window" => format!(
                    "SELECT {} FROM t",
                    each(&|i| format!("sum(x) OVER (ORDER BY x + {i}) AS w{i}"), ", ")
                ),
                "double" => format!(
                    "SELECT 1 FROM {} WHERE x = 7",
                    nest("(SELECT x + x AS x FROM ", "t", ") AS q")
                ),
                "push" => format!(
                    "SELECT 1 FROM (SELECT repeat('x',1000000) AS s, s AS v FROM t) WHERE {}",
                    each(&|i| format!("(s||v) LIKE 'a{i}%'"), " OR ")
                ),
                "cte" => format!(
                    "WITH c AS (SELECT '{}' AS s) SELECT 1 FROM {}",
                    "y".repeat(1000000),
                    each(&|i| format!("c AS c{i}"), " CROSS JOIN ")
                ),
                "having" => format!(
                    "SELECT '{}' AS s FROM t GROUP BY s HAVING s IN ({})",
                    "y".repeat(1000000),
                    join("s", ", ")
                ),
                "list" => format!(
                    "SELECT 1 FROM (SELECT '{}' AS s, s AS v FROM t) WHERE v IN ({})",
                    "y".repeat(1000000),
                    join("s", ", ")
                ),
                "hex" => format!("SELECT {}", nest("encode(", "'abcdefgh'", ", 'hex')")),
                "fixed" => "SELECT arrow_cast(NULL, 'FixedSizeBinary(2000000000)') AS x".to_owned(),
                "fixedlist" => {
                    "SELECT arrow_cast(NULL, 'FixedSizeList(500000000, Int64)') AS x".to_owned()
                }
                other => format!("SELECT x{} FROM t", format!(" {other}").repeat(n)),
            };
            let start = std::time::Instant::now();
            let planned = lab.plan(&sql).await;
            let said = match &planned {
                Ok(Planned::Query(_)) => "a plan".to_owned(),
                Ok(_) => "other".to_owned(),
                Err(e) => e.to_string().replace('\n', " ").chars().take(100).collect(),
            };
            eprintln!("{which} {n}: planned {said} in {:?}, peak {}", start.elapsed(), peak());
            if let Ok(Planned::Query(q)) = planned {
                let bytes = ProtoCodec.encode(&q.physical).map(|b| b.len());
                eprintln!("{which} {n}: encoded {bytes:?}, peak {}", peak());
            }
        });
    };
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(run)
        .expect("a thread")
        .join()
        .expect("no panic");
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn tpch_times() {
    use std::time::{Duration, Instant};
    use crate::rules::{expanded, weight};
    if std::env::var("TPCH").is_err() { return }
    let lab = Lab::new();
    let root = tempfile::tempdir().expect("a folder");
    let path = dunlin_corpus::tpch::cached(root.path(), 0.01).expect("data");
    for name in dunlin_corpus::tpch::TABLES {
        lab.plan(&table(name, "parquet", &path.join(format!("{name}.parquet")))).await.expect("created");
    }
    let (mut all, mut ours, mut opt) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for round in 0..4 {
        for (name, sql) in dunlin_corpus::tpch::QUERIES {
            let statement = lab.session.prepare(sql).expect("it parses").pop().expect("one");
            let scope = lab.session.scope().await.expect("a scope");
            let state = scope.state();
            let start = Instant::now();
            let logical = query::unbound(&scope, &state, &statement, &statement.ast).await.expect("planned");
            let first = start.elapsed();
            let start = Instant::now();
            let (r, b) = (weight::repeated(&logical).expect("r"), weight::constants(&logical).expect("c"));
            let mut mine = start.elapsed();
            let start = Instant::now();
            let optimized = state.optimize(&logical).expect("optimized");
            let second = start.elapsed();
            let start = Instant::now();
            let after = weight::constants(&optimized).expect("c");
            expanded::check(&optimized, 8192).expect("few");
            mine += start.elapsed();
            let start = Instant::now();
            state.query_planner().create_physical_plan(&optimized, &state).await.expect("physical");
            let third = start.elapsed();
            if round > 0 { all += first + second + third; ours += mine; opt += second; }
            if round == 3 { eprintln!("{name}: sql {first:?} optimize {second:?} physical {third:?} ours {mine:?} (repeated {r}, constants {b} {after})"); }
        }
    }
    eprintln!("all {all:?}, optimize {opt:?}, ours {ours:?}");
}
