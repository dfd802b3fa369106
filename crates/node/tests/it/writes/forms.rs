//! Each statement in each format, on several shapes of cluster: the same rows come back.

use dunlin_corpus::compare;

use super::Lab;
use crate::cluster::Shape;

const SHAPES: [Shape; 3] = [
    Shape { partitions: 1, executors: 1, fine: false },
    Shape { partitions: 3, executors: 1, fine: true },
    Shape { partitions: 3, executors: 4, fine: true },
];

const FORMATS: [&str; 3] = ["parquet", "csv", "json"];

/// Numbers, exact numbers, dates and text, with NULL in some.
const ROWS: &str = "SELECT o_orderkey, o_custkey, o_totalprice, o_orderdate, o_clerk, \
     CASE WHEN o_orderkey % 3 = 0 THEN o_orderpriority END AS priority FROM orders";

#[test]
fn a_table_that_was_created_and_inserted_into_has_the_rows() {
    for shape in SHAPES {
        let lab = Lab::new(shape);
        let expected = lab.rows(ROWS).expect("rows");
        let twice = lab.rows(&format!("{ROWS} UNION ALL {ROWS}")).expect("rows");
        for format in FORMATS {
            let name = format!("t_{format}");
            let create = format!(
                "CREATE TABLE {name} WITH (format = '{format}', location = 'OUT/{name}') AS {ROWS}"
            );
            assert_eq!(lab.written(&create), 15_000, "{shape:?} {format}");
            let read = lab.rows(&format!("SELECT * FROM {name}")).expect("rows");
            compare::same_rows(&expected, &read)
                .unwrap_or_else(|e| panic!("{shape:?} {format}: {e}"));
            assert_eq!(lab.written(&format!("INSERT INTO {name} {ROWS}")), 15_000);
            let read = lab.rows(&format!("SELECT * FROM {name}")).expect("rows");
            compare::same_rows(&twice, &read).unwrap_or_else(|e| panic!("{shape:?} {format}: {e}"));
        }
        lab.assert_clean();
    }
}

#[test]
fn a_copy_has_the_rows() {
    // Types that text files keep without being told.
    let rows = "SELECT o_orderkey, o_custkey, o_clerk FROM orders";
    for shape in SHAPES {
        let lab = Lab::new(shape);
        let expected = lab.rows(rows).expect("rows");
        for format in FORMATS {
            for (table, target) in [("folder", "many/"), ("file", "one.EXT")] {
                let target = format!("OUT/{format}/{target}").replace("EXT", format);
                let copy = format!("COPY ({rows}) TO '{target}' STORED AS {format}");
                assert_eq!(lab.written(&copy), 15_000, "{copy}");
                let name = format!("{table}_{format}");
                lab.run(&format!(
                    "CREATE EXTERNAL TABLE {name} STORED AS {format} LOCATION '{target}'"
                ));
                let read = lab.rows(&rows.replace("orders", &name)).expect("rows");
                compare::same_rows(&expected, &read).unwrap_or_else(|e| panic!("{copy}: {e}"));
            }
        }
        lab.assert_clean();
    }
}

#[test]
fn executors_write_files_side_by_side() {
    let lab = Lab::new(Shape { partitions: 4, executors: 2, fine: true });
    lab.run("COPY (SELECT * FROM lineitem ORDER BY l_orderkey) TO 'OUT/l.csv'");
    lab.run("CREATE EXTERNAL TABLE l STORED AS CSV LOCATION 'OUT/l.csv'");
    lab.run("SET datafusion.optimizer.repartition_file_min_size = 100000");
    for (folder, rows) in [
        ("grouped/", "SELECT l_returnflag, l_comment, count(*) AS n FROM lineitem GROUP BY 1, 2"),
        ("scanned/", "SELECT l_comment, l_orderkey + 1 AS k FROM l WHERE l_linenumber < 4"),
    ] {
        lab.run(&format!("COPY ({rows}) TO 'OUT/{folder}' STORED AS PARQUET"));
        let files = lab.files().into_iter().filter(|file| file.starts_with(folder)).count();
        assert!(files > 1, "{folder} has {files} files");
    }
    lab.run("COPY (SELECT * FROM lineitem ORDER BY l_orderkey) TO 'OUT/sorted/' STORED AS PARQUET");
    let sorted = lab.files().into_iter().filter(|file| file.starts_with("sorted/")).count();
    assert_eq!(sorted, 1, "what is in order is one file");
}

#[test]
fn large_results_go_into_several_files_of_a_stream() {
    let lab = Lab::new(Shape { partitions: 1, executors: 1, fine: false });
    lab.run("SET dunlin.write_file_bytes = '100KiB'");
    lab.run("SET dunlin.batch_size = 1000");
    lab.run("SET datafusion.execution.parquet.max_row_group_size = 2000");
    for (format, least) in [("parquet", 2), ("csv", 5)] {
        let copy = format!("COPY orders TO 'OUT/{format}/' STORED AS {format}");
        assert_eq!(lab.written(&copy), 15_000);
        let files = lab.files().into_iter().filter(|file| file.starts_with(format)).count();
        assert!(files >= least, "{format}: {files} files");
        lab.run(&format!(
            "CREATE EXTERNAL TABLE t_{format} STORED AS {format} LOCATION 'OUT/{format}'"
        ));
        assert_eq!(lab.count(&format!("t_{format}")), 15_000);
    }
}

#[test]
fn no_rows_make_a_table_with_columns() {
    let lab = Lab::new(Shape { partitions: 3, executors: 1, fine: true });
    for format in FORMATS {
        let create = format!(
            "CREATE TABLE e_{format} WITH (format = '{format}') AS {ROWS} WHERE o_orderkey < 0"
        );
        assert_eq!(lab.written(&create), 0);
        assert_eq!(lab.count(&format!("e_{format}")), 0);
        let insert =
            format!("INSERT INTO e_{format} (o_orderkey, priority) VALUES (7, 'x'), (8, NULL)");
        assert_eq!(lab.written(&insert), 2);
        assert_eq!(lab.count(&format!("e_{format} WHERE o_clerk IS NULL")), 2);
    }
    assert_eq!(lab.written("COPY (SELECT 1 AS x WHERE false) TO 'OUT/none.csv'"), 0);
    assert_eq!(std::fs::read_to_string(lab.path("none.csv")).expect("a file"), "x\n");
}

#[test]
fn options_of_a_copy_and_of_a_table_are_kept() {
    let lab = Lab::new(Shape { partitions: 1, executors: 1, fine: false });
    let rows = "SELECT * FROM (VALUES (1, 'a;b'), (2, NULL)) AS v (n, s)";
    lab.run(&format!("COPY ({rows}) TO 'OUT/x.csv' OPTIONS (delimiter ';', has_header 'false')"));
    assert_eq!(std::fs::read_to_string(lab.path("x.csv")).expect("a file"), "1;\"a;b\"\n2;\n");
    std::fs::create_dir(lab.path("t")).expect("a folder");
    lab.run(
        "CREATE EXTERNAL TABLE t (n BIGINT, s VARCHAR) STORED AS CSV LOCATION 'OUT/t' \
         OPTIONS ('format.delimiter' '|', 'format.has_header' 'false')",
    );
    assert_eq!(lab.written(&format!("INSERT INTO t {rows}")), 2);
    assert_eq!(lab.count("t WHERE n = 1 AND s = 'a;b'"), 1);
    let file = lab.files().into_iter().find(|file| file.starts_with("t/")).expect("a file");
    assert_eq!(std::fs::read_to_string(lab.path(&file)).expect("a file"), "1|a;b\n2|\n");
}
